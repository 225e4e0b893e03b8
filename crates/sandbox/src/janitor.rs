//! Takes away what a sandbox leaves on the host, also when its supervisor is killed by what cannot be caught.
//!
//! A janitor is a process that is forked before anything exists that it could have to remove. It waits until its
//! supervisor ends, which it sees at the end of a socket; then it ends the sandbox, waits for that, removes what is left, and
//! ends. In the ordinary case the supervisor has removed everything itself by then. It leaves the caller's session and
//! holds no descriptor of it. It does not outlive the pid namespace of its supervisor.
//!
//! Only forked when there is something to remove. After the fork the rules of [`crate::child`] hold: no allocation, no
//! lock.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use palisade_sys::process::{self, Forked, ForkedChild};
use palisade_sys::signal::{self, SIGKILL, SignalSet};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, CWD, unlinkat};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Signal, pidfd_send_signal};

use crate::{placeholder, registry};

/// Something on the host that goes with a sandbox.
#[derive(Debug)]
pub(crate) enum Leftover {
    /// A directory; a cgroup's can be removed when the last process in it is gone.
    Directory(CString),
    /// A placeholder, by the directory that it is in and its name there, and since when it may have been made, in seconds
    /// since 1970.
    Placeholder { parent: CString, name: CString, since: i64 },
    /// The record of a named sandbox, by the directory of names, and its socket. Whoever supervises a sandbox of this name
    /// has the record locked (flock(2)); `own` is how the one of this janitor's supervisor begins.
    Name { directory: CString, record: CString, socket: CString, own: CString },
}

impl Leftover {
    /// Removes it, as far as that is possible now. What is gone already is as good.
    fn remove(&self) -> Result<(), Errno> {
        match self {
            Self::Directory(path) => match unlinkat(CWD, path.as_c_str(), AtFlags::REMOVEDIR) {
                Err(Errno::NOENT) => Ok(()),
                removed => removed,
            },
            Self::Placeholder { parent, name, since } => placeholder::take_away(parent, name, *since),
            Self::Name { directory, record, socket, own } => registry::free(directory, record, socket, own),
        }
    }
}

/// How long to wait for what is still in use, by how it gets longer: about ten seconds in all.
const PAUSES: [Duration; 10] = {
    let mut pauses = [Duration::ZERO; 10];
    let mut index = 0;
    while index < pauses.len() {
        pauses[index] = Duration::from_millis(10 << index);
        index += 1;
    }
    pauses
};

/// Removes everything, waiting a while for what is still in use: a killed process stays in its group until it has been
/// torn down.
fn sweep(leftovers: &[Leftover]) {
    for leftover in leftovers {
        let mut pauses = PAUSES.iter();
        while leftover.remove() == Err(Errno::BUSY) {
            let Some(pause) = pauses.next() else { break };
            std::thread::sleep(*pause);
        }
    }
}

/// A janitor at work. Dropping this removes everything and ends it.
#[derive(Debug)]
pub(crate) struct Janitor {
    pid: i32,
    socket: Option<OwnedFd>,
    leftovers: Vec<Leftover>,
}

impl Janitor {
    /// Starts one for what is going to be made at these places; none when there is nothing.
    ///
    /// # Errors
    /// What socketpair(2) and clone(2) say.
    pub(crate) fn start(leftovers: Vec<Leftover>) -> Result<Option<Self>, Errno> {
        if leftovers.is_empty() {
            return Ok(None);
        }
        let kind = SocketType::SEQPACKET;
        let (socket, janitors) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        // The janitor keeps this mask: only SIGKILL ends it.
        let mask = signal::block(&SignalSet::all());
        let forked = process::fork_unnoticed();
        if let Ok(Forked::Child(proof)) = &forked {
            serve(proof, &janitors, &leftovers);
        }
        signal::set_mask(&mask);
        drop(janitors);
        match forked {
            Ok(Forked::Parent(pid)) => {
                let janitor = Self { pid, socket: Some(socket), leftovers };
                // Before it has left this process's group, a signal to that would end both, and nothing may be made.
                janitor.ready()?;
                Ok(Some(janitor))
            }
            Ok(Forked::Child(_)) => process::exit(1),
            Err(errno) => Err(Errno::from_raw_os_error(errno.0)),
        }
    }

    fn ready(&self) -> Result<(), Errno> {
        let Some(socket) = &self.socket else { return Ok(()) };
        loop {
            match rustix::io::read(socket, &mut [0]) {
                Ok(1) => return Ok(()),
                Ok(_) => return Err(Errno::PIPE),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Tells it which process has to end first.
    ///
    /// # Errors
    /// What sendmsg(2) says; EPIPE when somebody has killed the janitor.
    pub(crate) fn watch(&self, sandbox: BorrowedFd<'_>) -> Result<(), Errno> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let sandbox = [sandbox];
        control.push(SendAncillaryMessage::ScmRights(&sandbox));
        sendmsg(socket, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL).map(drop)
    }
}

impl Janitor {
    /// There is nothing left to remove.
    pub(crate) fn dismiss(mut self) {
        self.leftovers.clear();
        // It has not been waited for, so that the number is still its own.
        let _ = process::kill(self.pid, SIGKILL);
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        sweep(&self.leftovers);
        // It finds nothing left to do.
        drop(self.socket.take());
        let _ = process::wait_for(self.pid);
    }
}

/// The janitor's own process.
fn serve(proof: &ForkedChild, socket: &OwnedFd, leftovers: &[Leftover]) -> ! {
    // Not in the caller's session: what is sent to its process group is not meant for the janitor.
    let _ = rustix::process::setsid();
    let _ = process::close_except(proof, 0, std::iter::once(socket.as_raw_fd()));
    // Where nobody reads it any more, the end of the socket is read next.
    let _ = rustix::io::write(socket, &[0]);
    let mut sandbox = None;
    loop {
        match receive(socket.as_fd()) {
            Ok(Some(told)) => sandbox = Some(told),
            Ok(None) => break,
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    if let Some(sandbox) = sandbox {
        // Its end is the end of everything in its pid namespace (pid_namespaces(7)).
        let _ = pidfd_send_signal(&sandbox, Signal::KILL);
        while poll(&mut [PollFd::new(&sandbox, PollFlags::IN)], None) == Err(Errno::INTR) {}
    }
    sweep(leftovers);
    process::exit(0)
}

/// The next descriptor; `None` when the supervisor has gone.
fn receive(socket: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let read = recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if read.bytes == 0 {
        return Ok(None);
    }
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    received.map(Some).ok_or(Errno::BADMSG)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    fn directory(path: &Path) -> Leftover {
        Leftover::Directory(CString::new(path.as_os_str().as_bytes()).expect("no zero byte"))
    }

    #[test]
    fn without_anything_to_remove_there_is_no_process() {
        assert!(Janitor::start(Vec::new()).expect("nothing fails").is_none());
    }

    #[test]
    fn dropping_removes_everything_and_leaves_no_process() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let (made, never_made) = (parent.path().join("made"), parent.path().join("never"));
        let janitor =
            Janitor::start(vec![directory(&made), directory(&never_made)]).expect("started").expect("one");
        std::fs::create_dir(&made).expect("made");
        let pid = janitor.pid;
        drop(janitor);
        assert!(!made.exists());
        assert!(process::wait_for(pid).is_err(), "it was waited for");
    }

    /// The socket's end is what the janitor of a killed supervisor sees.
    #[test]
    fn an_abandoned_janitor_ends_the_sandbox_first_and_then_cleans_up() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let made = parent.path().join("made");
        let mut janitor = Janitor::start(vec![directory(&made)]).expect("started").expect("one");
        std::fs::create_dir(&made).expect("made");
        let mut child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep starts");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("not 0");
        let sandbox = pidfd_open(pid, PidfdFlags::empty()).expect("a pidfd");
        janitor.watch(sandbox.as_fd()).expect("told");
        janitor.leftovers.clear();
        drop(janitor.socket.take());
        process::wait_for(janitor.pid).expect("the janitor ends");
        assert!(!made.exists());
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(child.wait().expect("it ended").signal(), Some(9));
        std::mem::forget(janitor);
    }

    /// What is in the way stays: a directory with something in it is no empty cgroup.
    #[test]
    fn what_is_not_empty_stays() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let made = parent.path().join("made");
        let janitor = Janitor::start(vec![directory(&made)]).expect("started").expect("one");
        std::fs::create_dir_all(made.join("inner")).expect("made");
        drop(janitor);
        assert!(made.join("inner").exists());
    }
}

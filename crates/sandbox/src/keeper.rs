//! A program that runs beside a sandbox, and does not outlive its supervisor, at whatever moment that is killed.
//!
//! A keeper is a process that is forked for it and is the program's parent: it starts it, and ends it when the supervisor lets
//! go of the lifeline or is gone. So there is no moment at which the program runs and nobody would end it. When the
//! program ends, the keeper does. It leaves the caller's session, and holds no descriptor of it.
//!
//! After the fork the rules of [`crate::child`] hold: no allocation, no lock.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use palisade_sys::exec::{self, StringArray};
use palisade_sys::process::{self, Forked, ForkedChild, WaitStatus};
use palisade_sys::signal::{self, SIGKILL, SignalSet};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// What the keeper ends with when it cannot do its part, and the program when it cannot be executed (bash(1), EXIT STATUS).
const NOT_DONE: i32 = 127;

/// A program, with everything that its start needs.
#[derive(Debug)]
pub(crate) struct Program {
    /// The program, opened.
    pub(crate) file: OwnedFd,
    pub(crate) arguments: StringArray,
    pub(crate) environment: StringArray,
    /// Its standard descriptors.
    pub(crate) standard: [OwnedFd; 3],
}

/// A program at work. Dropping this ends it.
#[derive(Debug)]
pub(crate) struct Keeper {
    pid: i32,
    /// Readable when the program has ended.
    pidfd: OwnedFd,
    lifeline: Option<OwnedFd>,
}

impl Keeper {
    /// Starts the program.
    ///
    /// # Errors
    /// What pipe(2), clone(2) and pidfd_open(2) say. That the program cannot be executed is told by its end.
    pub(crate) fn start(program: &Program) -> Result<Self, Errno> {
        let (waiting, lifeline) = pipe_with(PipeFlags::CLOEXEC)?;
        // The keeper keeps this mask: only SIGKILL ends it.
        let mask = signal::block(&SignalSet::all());
        let forked = process::fork_unnoticed();
        if let Ok(Forked::Child(proof)) = &forked {
            serve(proof, &waiting, program);
        }
        signal::set_mask(&mask);
        let pid = match forked {
            Ok(Forked::Parent(pid)) => pid,
            Ok(Forked::Child(_)) => process::exit(NOT_DONE),
            Err(errno) => return Err(Errno::from_raw_os_error(errno.0)),
        };
        match Pid::from_raw(pid).ok_or(Errno::SRCH).and_then(|pid| pidfd_open(pid, PidfdFlags::empty())) {
            Ok(pidfd) => Ok(Self { pid, pidfd, lifeline: Some(lifeline) }),
            Err(errno) => {
                drop(lifeline);
                let _ = process::wait_for(pid);
                Err(errno)
            }
        }
    }

    /// What is readable when the program has ended.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Whether it has ended, or ends within this time.
    pub(crate) fn ends_within(&self, time: &Timespec) -> bool {
        matches!(poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(time)), Ok(1))
    }

    /// Waits until it has ended. With which exit status; a signal counts as one.
    pub(crate) fn wait(mut self) -> i32 {
        match process::wait_for(std::mem::take(&mut self.pid)).ok().and_then(WaitStatus::from_raw) {
            Some(WaitStatus::Exited(code)) => code,
            _ => NOT_DONE,
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        if self.pid > 0 {
            let _ = process::wait_for(self.pid);
        }
    }
}

/// The keeper's own process.
fn serve(proof: &ForkedChild, waiting: &OwnedFd, program: &Program) -> ! {
    // Not in the caller's session: what is sent to its process group is not meant for these two.
    let _ = rustix::process::setsid();
    let [input, output, error] = &program.standard;
    let kept = [waiting, &program.file, input, output, error].map(|descriptor| descriptor.as_raw_fd());
    let mut kept = kept;
    kept.sort_unstable();
    if process::close_except(proof, 0, kept.into_iter()).is_err() {
        process::exit(NOT_DONE);
    }
    let pid = match process::fork() {
        Ok(None) => {
            let _ = become_it(program);
            process::exit(NOT_DONE)
        }
        Ok(Some(pid)) => pid,
        Err(_) => process::exit(NOT_DONE),
    };
    if let Some(pid) = Pid::from_raw(pid)
        && let Ok(ended) = pidfd_open(pid, PidfdFlags::empty())
    {
        let mut sources = [PollFd::new(waiting, PollFlags::IN), PollFd::new(&ended, PollFlags::IN)];
        while poll(&mut sources, None) == Err(Errno::INTR) {}
    }
    // One that has ended already takes no signal.
    let _ = process::kill(pid, SIGKILL);
    match process::wait_for(pid).ok().and_then(WaitStatus::from_raw) {
        Some(WaitStatus::Exited(code)) => process::exit(code),
        _ => process::exit(NOT_DONE),
    }
}

/// Becomes the program. Returns only when that failed.
fn become_it(program: &Program) -> Result<std::convert::Infallible, Errno> {
    let [input, output, error] = &program.standard;
    dup2_stdin(input)?;
    dup2_stdout(output)?;
    dup2_stderr(error)?;
    signal::reset_dispositions();
    signal::set_mask(&SignalSet::of(&[]));
    let errno = exec::execveat(program.file.as_fd(), program.arguments.words(), program.environment.words());
    Err(Errno::from_raw_os_error(errno.0))
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::fs::File;
    use std::io::Read;

    use rustix::fs::{CWD, Mode, OFlags, openat};

    use super::*;

    /// A shell that says its pid, and a keeper of it.
    fn shell(script: &str) -> (Keeper, File) {
        let words = ["sh", "-c", script].map(|word| CString::new(word).expect("no zero byte"));
        let null = || OwnedFd::from(File::open("/dev/null").expect("a null device"));
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        let program = Program {
            file: openat(CWD, "/bin/sh", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("a shell"),
            arguments: StringArray::new(words.into()),
            environment: StringArray::new(Vec::new()),
            standard: [null(), write, null()],
        };
        (Keeper::start(&program).expect("started"), File::from(read))
    }

    fn pid(output: &mut File) -> i32 {
        let mut bytes = [0; 32];
        let read = output.read(&mut bytes).expect("it says its pid");
        String::from_utf8_lossy(&bytes[..read]).trim().parse().expect("a pid")
    }

    fn is_alive(pid: i32) -> bool {
        process::kill(pid, 0).is_ok()
    }

    #[test]
    fn it_ends_with_the_program_and_as_the_program_does() {
        let (keeper, _) = shell("exit 42");
        assert!(keeper.ends_within(&Timespec { tv_sec: 60, tv_nsec: 0 }));
        assert_eq!(keeper.wait(), 42);
        assert_eq!(shell("kill -TERM $$").0.wait(), NOT_DONE);
    }

    #[test]
    fn dropping_it_ends_the_program() {
        let (keeper, mut output) = shell("echo $$; exec sleep 600");
        let program = pid(&mut output);
        assert!(is_alive(program));
        drop(keeper);
        assert!(!is_alive(program));
    }

    /// The lifeline's end is what the keeper of a killed supervisor sees.
    #[test]
    fn an_abandoned_keeper_ends_the_program() {
        let (mut keeper, mut output) = shell("trap '' TERM INT; echo $$; while :; do sleep 1; done");
        let program = pid(&mut output);
        assert!(is_alive(program));
        drop(keeper.lifeline.take());
        assert_eq!(keeper.wait(), NOT_DONE);
        assert!(!is_alive(program));
    }
}

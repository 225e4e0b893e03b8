//! Takes a group that is only tried away when its maker is killed in between.
//!
//! A process that is forked before the group exists, and waits for the end of its maker, which it sees at the end of a pipe.
//! After the fork it allocates nothing and takes no lock.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use palisade_sys::process::{self, Forked, ForkedChild};
use palisade_sys::signal::{self, SignalSet};
use rustix::fs::{AtFlags, CWD, unlinkat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

/// The process. Dropping this ends it, and the group with it.
pub(super) struct Keeper {
    pid: i32,
    end: Option<OwnedFd>,
}

impl Keeper {
    /// Starts one for a group that is going to be made at `path`.
    pub(super) fn start(path: &Path) -> Result<Self, Errno> {
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
        let (waiting, end) = pipe_with(PipeFlags::CLOEXEC)?;
        // It keeps this mask: only SIGKILL ends it.
        let mask = signal::block(&SignalSet::all());
        let forked = process::fork_unnoticed();
        if let Ok(Forked::Child(proof)) = &forked {
            keep(proof, &waiting, &path);
        }
        signal::set_mask(&mask);
        match forked {
            Ok(Forked::Parent(pid)) => Ok(Self { pid, end: Some(end) }),
            Ok(Forked::Child(_)) => process::exit(1),
            Err(errno) => Err(Errno::from_raw_os_error(errno.0)),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.end.take());
        let _ = process::wait_for(self.pid);
    }
}

/// The keeper's own process.
fn keep(proof: &ForkedChild, waiting: &OwnedFd, path: &CStr) -> ! {
    // What is sent to the caller's process group is not meant for it.
    let _ = rustix::process::setsid();
    // With its own copy of the other end it would wait for ever.
    let _ = process::close_except(proof, 0, std::iter::once(waiting.as_raw_fd()));
    while rustix::io::read(waiting, &mut [0]) == Err(Errno::INTR) {}
    let _ = unlinkat(CWD, path, AtFlags::REMOVEDIR);
    process::exit(0)
}

//! Children of an operation: made, ended and reaped within the statement. One that waits ends by itself, should
//! its parent be killed.

use crate::kernel::{self, EPROTO, Errno, Status};
use crate::raw;

const SIGKILL: usize = 9;
const SIGSYS: u8 = 31;

/// How long a waiting child waits at most, in milliseconds.
const LONGEST_WAIT: u64 = 10_000;

/// Forks a child that runs `body` and exits. Returns its pid.
pub(crate) fn fork_with(body: impl FnOnce()) -> Result<usize, Errno> {
    match kernel::fork()? {
        0 => {
            body();
            raw::exit(0)
        }
        child => Ok(child),
    }
}

/// A child that does nothing until it is ended.
pub(crate) fn waiting() -> Result<usize, Errno> {
    fork_with(|| {
        let _ = kernel::sleep(LONGEST_WAIT);
    })
}

/// Kills and reaps a child.
pub(crate) fn end(child: usize) {
    if kernel::kill(child, SIGKILL).is_ok() {
        let _ = kernel::wait(child, 0);
    }
}

/// Runs `body` in a child and returns its error, so that what it changes (namespaces, session, tracer)
/// ends with it. Errors travel as the exit code: the kernel's that matter are below 256.
pub(crate) fn run(body: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    let child = fork_with(|| {
        if let Err(error) = body() {
            raw::exit(i32::from(error.0).min(255));
        }
    })?;
    match kernel::wait(child, 0)? {
        Status::Exited(0) => Ok(()),
        Status::Exited(error) => Err(Errno(u16::from(error))),
        Status::Signaled(signal) | Status::Stopped(signal) => {
            share_fate(signal);
            Err(EPROTO)
        }
    }
}

/// Where a filter kills, the child dies instead of the attempt: the attempt dies of the same signal, so that
/// the engine reports it.
pub(crate) fn share_fate(signal: u8) {
    if signal == SIGSYS {
        let _ = kernel::kill(kernel::getpid(), usize::from(signal));
    }
}

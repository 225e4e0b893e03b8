//! Trials in a process of their own each: what they do to it ends with it.

use std::os::fd::{AsFd, OwnedFd};

use palisade_sys::process::{self, Forked, ForkedChild, WaitStatus};
use palisade_sys::seccomp::{self, SockFilter};
use palisade_sys::signal::{self, SignalSet};
use palisade_sys::{Errno, surface};
use rustix::process::{DumpableBehavior, ioctl_tiocsctty, set_dumpable_behavior, setsid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

use super::{Answer, Trial, errno};

/// A filter that lets every call pass (linux/filter.h, BPF_RET; SECCOMP_RET_ALLOW).
const PASS: [SockFilter; 1] = [SockFilter { code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000 }];

/// Children that try one thing each, or why there is none.
pub(super) struct Alone([(Trial, Result<i32, Errno>); 6]);

/// Starts them.
pub(super) fn start() -> Alone {
    Alone([
        (Trial::Ia32, attempt(|proof| surface::ia32_getpid(proof).map(drop))),
        (Trial::X32, attempt(|_| surface::x32_getpid())),
        (Trial::IoUring, attempt(|_| surface::io_uring().map(drop))),
        (Trial::Tiocsti, attempt(push_input)),
        (Trial::SeccompNotify, attempt(|_| listener().map(drop))),
        (Trial::SeccompAddfdSend, attempt(|_| seccomp::addfd_send_available(listener()?.as_fd()))),
    ])
}

impl Alone {
    /// What became of each, when it has ended.
    pub(super) fn trials(self) -> [(Trial, Answer); 6] {
        self.0.map(|(trial, child)| (trial, child.map_or_else(Answer::Refused, ended)))
    }
}

/// Has a child do something, which tells by its exit status. What it does may not allocate.
fn attempt(what: impl FnOnce(&ForkedChild) -> Result<(), Errno>) -> Result<i32, Errno> {
    match process::fork_unnoticed()? {
        Forked::Parent(child) => Ok(child),
        Forked::Child(proof) => {
            // Where a signal ends it, nothing is dumped, to no file and to no program (core(5)).
            let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
            process::exit(what(&proof).err().map_or(0, |errno| errno.0.clamp(1, 255)))
        }
    }
}

fn ended(child: i32) -> Answer {
    match process::wait_for(child).ok().and_then(WaitStatus::from_raw) {
        Some(WaitStatus::Exited(0)) => Answer::Done,
        Some(WaitStatus::Exited(code)) => Answer::Refused(Errno(code)),
        Some(WaitStatus::Signaled(signal)) => Answer::Killed(signal),
        None => Answer::Untried("its process was lost"),
    }
}

fn listener() -> Result<OwnedFd, Errno> {
    errno(set_no_new_privs(true))?;
    seccomp::set_mode_filter_with_listener(&PASS)
}

/// Types a byte into a terminal that the child makes for itself, in a session of its own, with no more rights than a workload has.
fn push_input(proof: &ForkedChild) -> Result<(), Errno> {
    let none = CapabilitySet::empty();
    errno(set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none }))?;
    errno(setsid())?;
    // Its terminal goes before it does, and hangs up.
    let _ = signal::block(&SignalSet::all());
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = errno(openpt(flags))?;
    errno(unlockpt(&master))?;
    let terminal = errno(ioctl_tiocgptpeer(&master, flags))?;
    errno(ioctl_tiocsctty(&terminal))?;
    surface::push_input(proof, terminal.as_fd())
}

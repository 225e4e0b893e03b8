//! What a workload was refused, as far as its filter tells: each refused system call is asked about, counted, and refused.
//!
//! The supervisor never lets a call go on: it only answers what the filter would have answered by itself. Refusals by the
//! other layers (mounts, modes, Landlock, routes, capabilities) are the kernel's own, and it tells nobody about them who is
//! not its administrator.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use palisade_policy::syscalls;
use palisade_sys::seccomp;

/// Different calls that are told apart. A workload can make up numbers; the native ones that have names are fewer.
const MOST: usize = 1024;

/// AUDIT_ARCH_X86_64 of linux/audit.h.
const NATIVE: u32 = 0xc000_003e;

/// What is refused but cannot be seen by the supervisor.
pub const UNSEEN: &[&str] = &[
    "files refused by mounts, modes or Landlock",
    "destinations refused by the network namespace",
    "operations refused for want of a capability or by the user namespace",
    "system calls that fail with another error than EPERM, such as ENOSYS",
];

/// And this where nobody could listen.
pub(crate) const UNHEARD: &str =
    "system calls: nobody listened, or could, since the caller is itself under a filter with a listener";

/// A refused system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Its name; of another entry than the native one, its number there.
    pub call: String,
    /// How often.
    pub times: u64,
}

/// Counts refused calls.
#[derive(Debug, Default)]
pub(crate) struct Denials {
    listener: Option<OwnedFd>,
    heard: bool,
    counts: BTreeMap<(u32, i32), u64>,
    /// Calls beyond those that are told apart.
    others: u64,
}

impl Denials {
    /// The filter is in place.
    pub(crate) fn listen(&mut self, listener: OwnedFd) {
        self.listener = Some(listener);
        self.heard = true;
    }

    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(|listener| listener.as_fd())
    }

    /// Answers one call that waits; its name if it is the first of its kind.
    pub(crate) fn answer(&mut self) -> Option<String> {
        let listener = self.listener.as_ref()?;
        // A caller that was killed meanwhile needs no answer.
        let asked = seccomp::next_asked(listener.as_fd()).ok()?;
        let _ = seccomp::refuse(listener.as_fd(), asked);
        let kind = (asked.arch, asked.number);
        let full = self.counts.len() >= MOST;
        match self.counts.get_mut(&kind) {
            Some(count) => *count += 1,
            None if full => self.others += 1,
            None => {
                self.counts.insert(kind, 1);
                return Some(name(kind));
            }
        }
        None
    }

    /// Everything that was refused, by name; nobody is left who could ask. `None` when nothing could be heard of.
    pub(crate) fn told(self) -> Option<Vec<Denied>> {
        if !self.heard {
            return None;
        }
        let mut denied: Vec<Denied> =
            self.counts.into_iter().map(|(kind, times)| Denied { call: name(kind), times }).collect();
        denied.sort_by(|a, b| a.call.cmp(&b.call));
        if self.others > 0 {
            denied.push(Denied { call: "others".to_owned(), times: self.others });
        }
        Some(denied)
    }
}

fn name((arch, number): (u32, i32)) -> String {
    let native = u32::try_from(number).ok().filter(|_| arch == NATIVE).and_then(syscalls::name);
    match native {
        Some(name) => name.to_owned(),
        None if arch == NATIVE => format!("call {number}"),
        None => format!("call {number} of architecture {arch:#x}"),
    }
}

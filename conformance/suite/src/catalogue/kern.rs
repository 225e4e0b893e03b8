//! Interfaces of the kernel with a history of holes: programs in the kernel, events, faults served by user space.

use palisade_policy::Policy;

use super::call::{args, refused, row};
use super::prelude::*;
use crate::lab::World;

/// Entries of the group `kern`.
pub(super) fn probes(_world: &World, policy: &Policy) -> Vec<Probe> {
    const UFFD_USER_MODE_ONLY: i32 = 1;
    let rows = vec![
        row("kern/bpf-badcmd", High, "bpf", args![9999, BAD, 0], [EINVAL, EFAULT]),
        row("kern/bpf-map-create", High, "bpf", args![0, BAD, 72], [EFAULT]),
        row("kern/perf-event", High, "perf_event_open", args![BAD, 0, 0, -1, 0], [EFAULT]),
        row("kern/userfaultfd-full", Medium, "userfaultfd", args![0], Succeeds),
        row("kern/userfaultfd-user-mode-only", Medium, "userfaultfd", args![UFFD_USER_MODE_ONLY], Succeeds),
    ];
    refused(policy, "SYS-6", "interfaces of the kernel with a history of holes are closed", rows).collect()
}

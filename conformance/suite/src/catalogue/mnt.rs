//! Mounts: the workload cannot change the tree of mounts that the policy made.

use palisade_policy::Policy;
use palisade_probe::script::Statement;

use super::prelude::*;
use crate::lab::World;

/// Entries of the group `mnt`.
///
/// Every operand is a bad pointer or descriptor: the kernel answers EFAULT or EBADF when the call is not refused before.
pub(super) fn probes(_world: &World, _policy: &Policy) -> Vec<Probe> {
    vec![
        sentinel(
            "mnt/mount",
            "mount(2) with bad pointers",
            attempt!("sys", SYS_mount, BAD, BAD, BAD, 0, BAD),
        ),
        sentinel("mnt/umount2", "umount2(2) with a bad pointer", attempt!("sys", SYS_umount2, BAD, 0)),
        sentinel("mnt/chroot", "chroot(2) with a bad pointer", attempt!("sys", SYS_chroot, BAD)),
    ]
}

fn sentinel(id: &str, operation: &str, statement: Statement) -> Probe {
    Probe::denies(id, High)
        .serves("process.syscalls", "MNT-1")
        .requires("the workload cannot change the mounts that the policy made")
        .operation(operation)
        .script([statement])
        .expect(Denied)
        .outside(Outside::fails([EFAULT]))
}

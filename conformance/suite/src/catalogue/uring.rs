//! io_uring: calls that a filter does not see, because a ring carries them out.

use palisade_policy::Policy;

use super::call::{allowed_by_name, args, refused, row};
use super::prelude::*;
use crate::lab::World;

/// Entries of the group `uring`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let requirement = "no ring can be made or used";
    let rows = vec![
        row("uring/setup-bad-pointer", High, "io_uring_setup", args![1, BAD], [EFAULT]),
        row("uring/enter", High, "io_uring_enter", args![-1, 0, 0, 0, NULL, 0], [EBADF]),
        row("uring/register", High, "io_uring_register", args![-1, 0, NULL, 0], [EBADF, EINVAL]),
    ];
    let mut probes: Vec<Probe> = refused(policy, "SYS-6", requirement, rows).collect();
    if allowed_by_name(policy, "io_uring_setup") {
        return probes;
    }
    let [service, _] = world.host_service();
    let ring = |id: &str, statement| {
        Probe::denies(id, High)
            .serves("process.syscalls", "SYS-6")
            .requires(requirement)
            .script([control!("read_file", "/proc/self/comm"), statement])
            .outside(Outside::succeeds())
    };
    probes.extend([
        ring("uring/setup", attempt!("io_uring_setup")),
        ring("uring/op-openat", attempt!("uring_openat", "/proc/self/comm")),
        ring("uring/op-socket", attempt!("uring_socket", libc::AF_NETLINK, libc::SOCK_RAW, 15)),
        ring("uring/op-connect", attempt!("uring_connect", service.ip().to_string(), service.port()))
            .canary(Canary::tcp(service.ip(), service.port())),
    ]);
    probes
}

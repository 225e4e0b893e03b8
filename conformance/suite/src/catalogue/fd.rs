//! Descriptors: the workload starts with the three standard ones, whatever a careless caller had open.

use palisade_policy::Policy;
use palisade_probe::script::Statement;

use super::prelude::*;
use crate::lab::World;
use crate::lab::world::LeakKind;

/// Entries of the group `fd`.
pub(super) fn probes(world: &World, _policy: &Policy) -> Vec<Probe> {
    let mut probes = vec![
        entry("fd/only-stdio", "list the descriptors in /proc/self/fd", attempt!("scan_fds"))
            .expect(Returns(0)),
        entry("fd/no-directory", "look for descriptors that are directories", attempt!("fd_dirs"))
            .expect(Returns(0)),
    ];
    probes.extend(world.leaks.iter().map(|leak| leaked(world, leak.fd, leak.kind)));
    probes
}

/// What each leaked descriptor is good for.
fn leaked(world: &World, fd: i32, kind: LeakKind) -> Probe {
    let closed = || Expect::fails([EBADF]);
    match kind {
        LeakKind::RootDirectory => {
            let outside = world.secret("outside-readable").path.clone();
            let relative = outside.strip_prefix("/").unwrap_or(&outside).to_owned();
            let statement = attempt!("sys", SYS_openat, fd, relative.as_path(), O_RDONLY, 0);
            entry("fd/leaked-directory", "openat(2) from a directory that the caller had open", statement)
                .expect(closed())
        }
        LeakKind::SecretFile => {
            let statement = attempt!("sys", SYS_pread64, fd, buffer(128), 128, 0);
            let marker = &world.secret("outside-private").marker;
            entry("fd/leaked-file", "pread(2) of a file that the caller had open", statement)
                .expect(closed())
                .outside(Outside::Shows(Expect::data_contains(marker)))
        }
        LeakKind::ConnectedSocket => {
            let statement = attempt!("sys", SYS_sendto, fd, NONCE, 16, 0, NULL, 0);
            entry("fd/leaked-socket", "send(2) on a socket that the caller had open", statement)
                .expect(closed())
                .outside(Outside::succeeds())
        }
    }
}

fn entry(id: &str, operation: &str, statement: Statement) -> Probe {
    Probe::denies(id, Critical)
        .serves("filesystem.base", "FD-1")
        .requires("the workload starts with its standard descriptors and no other")
        .operation(operation)
        .script([control!("sys", SYS_getpid), statement])
}

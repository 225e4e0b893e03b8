//! Descriptors: the workload starts with the three standard ones, whatever a careless caller had open, and these lead to no more
//! than they are.

use palisade_policy::Policy;
use palisade_probe::script::Statement;

use super::prelude::*;
use super::{BEFORE, Stream};
use crate::lab::World;
use crate::lab::world::{Leak, LeakKind};

/// Entries of the group `fd`.
pub(super) fn probes(world: &World, _policy: &Policy) -> Vec<Probe> {
    let mut probes = vec![
        entry("fd/only-stdio", "list the descriptors in /proc/self/fd", attempt!("scan_fds"))
            .expect(Returns(0)),
        entry("fd/no-directory", "look for descriptors that are directories", attempt!("fd_dirs"))
            .expect(Returns(0)),
    ];
    for (id, operation, prefix) in [
        ("fd/no-socket", "look for descriptors that are sockets", "socket:"),
        ("fd/no-anonymous", "look for descriptors without a file (epoll, io_uring, ...)", "anon_inode:"),
        ("fd/no-namespace", "look for descriptors that are namespaces", "net:["),
        ("fd/no-terminal-master", "look for descriptors that are the master of a terminal", "ptmx"),
    ] {
        probes.push(entry(id, operation, attempt!("scan_fds")).expect(Expect::data_lacks(prefix)));
    }
    probes.extend(reopened());
    probes.extend(world.leaks.iter().map(|leak| leaked(world, leak).needs_planted(&leak.presence)));
    probes
}

/// The files behind the standard descriptors, reached by their links in /proc with other access than the descriptor has.
///
/// A runtime may put pipes of its own in between, which can be opened anew and lead nowhere: then a success shows nothing,
/// and the file outside decides.
fn reopened() -> Vec<Probe> {
    let through = |id: &str, stream: Stream, link: &str, flags: i32, then: Vec<Statement>| {
        Probe::denies(id, High)
            .serves("filesystem.base", "FD-2")
            .requires("a standard descriptor that is a file does not lead to more access than it has")
            .operation(format!("open {link} anew with flags {flags:#o}"))
            .script([control!("read_file", "/proc/self/cmdline"), attempt!("open", link, flags)])
            .script(then)
            .expect(Denied.or(Absent).or(Succeeds).or(Expect::fails([ESPIPE])))
            .outside(Outside::succeeds())
            .canary(Canary::Stream(stream))
            .on_files()
    };
    let write = || vec![attempt!("sys", SYS_write, result(1), bytes("x"), 1)];
    let overwrite = || vec![attempt!("sys", libc::SYS_pwrite64, result(1), bytes("x"), 1, 0)];
    let read = attempt!("sys", SYS_read, result(1), buffer(64), 64);
    vec![
        through("fd/stdin-reopen-write", Stream::Input, "/proc/self/fd/0", O_WRONLY, write()),
        through(
            "fd/stdin-reopen-truncate",
            Stream::Input,
            "/proc/thread-self/fd/0",
            O_WRONLY | O_TRUNC,
            vec![],
        ),
        through("fd/stdin-device-write", Stream::Input, "/dev/stdin", O_WRONLY, write()),
        through("fd/stdout-reopen-write", Stream::Output, "/proc/self/fd/1", O_WRONLY, overwrite()),
        through("fd/stdout-device-write", Stream::Output, "/dev/stdout", O_RDWR, overwrite()),
        // What is printed to standard output is the transcript, so the other one is emptied and read.
        through("fd/stderr-reopen-truncate", Stream::Errors, "/proc/self/fd/2", O_WRONLY | O_TRUNC, vec![]),
        through(
            "fd/stderr-reopen-read",
            Stream::Errors,
            "/proc/self/fd/2",
            O_RDONLY | O_NONBLOCK,
            vec![read],
        )
        .expect(Denied.or(Absent).or(Expect::fails([EAGAIN])).or(Expect::data_lacks(BEFORE)))
        .outside(Outside::Shows(Expect::data_contains(BEFORE))),
    ]
}

/// What each leaked descriptor is good for.
fn leaked(world: &World, leak: &Leak) -> Probe {
    let fd = leak.fd;
    let closed = || Expect::fails([EBADF]);
    let private = world.secret("outside-private");
    match leak.kind {
        LeakKind::RootDirectory => {
            let outside = world.secret("outside-readable").path.clone();
            let relative = outside.strip_prefix("/").unwrap_or(&outside).to_owned();
            let statement = attempt!("sys", SYS_openat, fd, relative.as_path(), O_RDONLY, 0);
            entry("fd/leaked-directory", "openat(2) from a directory that the caller had open", statement)
                .expect(closed())
        }
        LeakKind::SecretFile => {
            let statement = attempt!("sys", SYS_pread64, fd, buffer(128), 128, 0);
            entry("fd/leaked-file", "pread(2) of a file that the caller had open", statement)
                .expect(closed())
                .outside(Outside::Shows(Expect::data_contains(&private.marker)))
        }
        LeakKind::ConnectedSocket => {
            let statement = attempt!("sys", SYS_sendto, fd, NONCE, 16, 0, NULL, 0);
            entry("fd/leaked-socket", "send(2) on a socket that the caller had open", statement)
                .expect(closed())
                .outside(Outside::succeeds())
        }
        LeakKind::ServiceSocket => {
            let statement = attempt!("sys", SYS_sendto, fd, NONCE, 23, 0, NULL, 0);
            entry("fd/leaked-service", "send(2) to a service that the caller had a connection to", statement)
                .expect(closed())
                .outside(Outside::succeeds())
                .canary(Canary::service(world.service("outside-dgram")))
        }
        LeakKind::PathDirectory => {
            let name = private.path.file_name().unwrap_or_default();
            let statement = attempt!("sys", SYS_openat, fd, std::path::Path::new(name), O_RDONLY, 0);
            entry(
                "fd/leaked-path",
                "openat(2) from a directory that the caller had open as a path",
                statement,
            )
            .expect(closed())
            .outside(Outside::succeeds())
        }
        LeakKind::Process => {
            let statement = attempt!("read_file", format!("/proc/self/fdinfo/{fd}"));
            entry("fd/leaked-process", "read which process the caller's pidfd leads to", statement)
                .expect(Absent)
                .outside(Outside::Shows(Expect::data_contains(format!("Pid:\t{}\n", world.decoy.pid))))
        }
        LeakKind::Namespace => {
            let statement = attempt!("sys", libc::SYS_fcntl, fd, libc::F_GETFD);
            entry("fd/leaked-namespace", "look for a namespace that the caller had open", statement)
                .expect(closed())
                .outside(Outside::succeeds())
        }
        LeakKind::Terminal => {
            let statement = attempt!("sys", SYS_ioctl, fd, bits(TIOCGPTN), buffer(16));
            entry("fd/leaked-terminal", "TIOCGPTN on a terminal whose master the caller had open", statement)
                .expect(closed())
                .outside(Outside::succeeds())
        }
        LeakKind::Anonymous => {
            let statement = attempt!("sys", SYS_write, fd, bytes([1, 0, 0, 0, 0, 0, 0, 0]), 8);
            entry("fd/leaked-eventfd", "write to an eventfd that the caller had open", statement)
                .expect(closed())
                .outside(Outside::succeeds())
        }
    }
}

/// Which pseudo-terminal a master belongs to.
const TIOCGPTN: u64 = 0x8004_5430;

fn entry(id: &str, operation: &str, statement: Statement) -> Probe {
    Probe::denies(id, Critical)
        .serves("filesystem.base", "FD-1")
        .requires("the workload starts with its standard descriptors and no other")
        .operation(operation)
        .script([control!("sys", SYS_getpid), statement])
}

//! Inter-process communication: objects of the host are absent, and what no namespace holds is refused.

use palisade_policy::{Policy, SyscallProfile};

use super::prelude::*;
use crate::lab::Endpoint;
use crate::lab::World;
use crate::lab::world::UnixService;

const IDENTITY: &str = "process.identity";

/// Entries of the group `ipc`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let mut probes = objects(world, policy);
    for (id, service) in [
        ("ipc/abstract-unix-stream", "abstract-stream"),
        ("ipc/abstract-unix-dgram", "abstract-dgram"),
        ("ipc/x11-abstract", "x11-abstract"),
    ] {
        probes.push(abstract_socket(id, world.service(service)));
    }
    probes.extend(counts(world, policy));
    probes.extend(vsock());
    probes
}

/// System V and POSIX objects that the lab keeps on its host, open to everybody.
fn objects(world: &World, policy: &Policy) -> Vec<Probe> {
    let ipc = &world.ipc;
    // Where the profile leaves the calls, having none of them would look like having nothing of the host's.
    let own_objects = policy.process.syscalls.profile == SyscallProfile::Standard;
    let host = |id: &str, what: &str, statement| {
        let control = if own_objects {
            control!("sys", SYS_semget, libc::IPC_PRIVATE, 1, 0o600)
        } else {
            control!("sys", SYS_getpid)
        };
        Probe::denies(id, Medium)
            .serves(IDENTITY, "IPC-1")
            .requires(format!("{what} of the host is absent"))
            .script([control, statement])
            .expect(Denied.or(Absent))
            .outside(Outside::succeeds())
    };
    let queue = ipc.mq_name.trim_start_matches('/');
    vec![
        host("ipc/sysv-shm", "shared memory", attempt!("sys", SYS_shmget, ipc.shm_key, 0, 0))
            .needs_planted(&ipc.sysv),
        host("ipc/sysv-msg", "a message queue", attempt!("sys", SYS_msgget, ipc.msg_key, 0))
            .needs_planted(&ipc.sysv),
        host("ipc/sysv-sem", "a semaphore", attempt!("sys", SYS_semget, ipc.sem_key, 0, 0))
            .needs_planted(&ipc.sysv),
        host("ipc/posix-mq", "a POSIX message queue", attempt!("sys", SYS_mq_open, queue, O_RDONLY, 0, NULL))
            .needs_planted(&ipc.posix),
        host(
            "ipc/posix-mq-write",
            "a POSIX message queue",
            attempt!("sys", SYS_mq_open, queue, O_WRONLY | O_NONBLOCK, 0, NULL),
        )
        .needs_planted(&ipc.posix),
    ]
}

/// What the kernel tells about all System V objects of a namespace, without a key.
fn counts(world: &World, policy: &Policy) -> Vec<Probe> {
    const SHM_STAT: i32 = 13;
    const SHM_INFO: i32 = 14;
    const MSG_STAT: i32 = 11;
    const MSG_INFO: i32 = 12;
    const SEM_STAT: i32 = 18;
    const SEM_INFO: i32 = 19;
    // Where the profile refuses them, there is nothing to count.
    if policy.process.syscalls.profile != SyscallProfile::Standard {
        return Vec::new();
    }
    let told = |id: &str, what: &str, statement, expect: Expect| {
        Probe::denies(id, Low)
            .serves(IDENTITY, "IPC-1")
            .requires(format!("the kernel tells nothing of {what} of the host"))
            .script([control!("sys", SYS_getpid), statement])
            .expect(expect)
            .needs_planted(&world.ipc.sysv)
    };
    let none_first: fn(&[u8]) -> bool = |info| info.get(..4) == Some(&[0; 4]);
    // struct seminfo tells the number of sets in its eighth word (semctl(2), SEM_INFO).
    let none_eighth: fn(&[u8]) -> bool = |info| info.get(28..32) == Some(&[0; 4]);
    let no_index = || Expect::fails([EINVAL]).or(Denied);
    vec![
        told(
            "ipc/sysv-shm-count",
            "shared memory",
            attempt!("sys", libc::SYS_shmctl, 0, SHM_INFO, buffer(48)),
            DataPasses("no segment in use", none_first),
        ),
        told(
            "ipc/sysv-msg-count",
            "message queues",
            attempt!("sys", libc::SYS_msgctl, 0, MSG_INFO, buffer(32)),
            DataPasses("no queue in use", none_first),
        ),
        told(
            "ipc/sysv-sem-count",
            "semaphores",
            attempt!("sys", libc::SYS_semctl, 0, 0, SEM_INFO, buffer(48)),
            DataPasses("no set in use", none_eighth),
        ),
        told(
            "ipc/sysv-shm-by-index",
            "shared memory",
            attempt!("sys", libc::SYS_shmctl, 0, SHM_STAT, buffer(128)),
            no_index(),
        ),
        told(
            "ipc/sysv-msg-by-index",
            "message queues",
            attempt!("sys", libc::SYS_msgctl, 0, MSG_STAT, buffer(128)),
            no_index(),
        ),
        told(
            "ipc/sysv-sem-by-index",
            "semaphores",
            attempt!("sys", libc::SYS_semctl, 0, 0, SEM_STAT, buffer(128)),
            no_index(),
        ),
    ]
}

/// Names that are files in no file system: only a network namespace or Landlock keeps them apart.
fn abstract_socket(id: &str, service: &UnixService) -> Probe {
    let name = match &service.endpoint {
        Endpoint::Abstract(name) => format!("\0{name}"),
        other => other.to_string(),
    };
    let kind = if service.proto == crate::lab::Proto::UnixDgram { "dgram" } else { "stream" };
    Probe::denies(id, Critical)
        .serves("network.mode", "IPC-2")
        .requires("an abstract Unix socket of the host cannot be reached")
        .operation(format!("connect a {kind} socket to {}", service.endpoint))
        .script([control!("socketpair_pass"), attempt!("unix_connect", name, kind, NONCE)])
        .expect(Denied.or(Expect::fails([ECONNREFUSED])))
        .outside(Outside::succeeds())
        .canary(Canary::service(service))
        .needs_planted(&service.presence)
}

/// The socket alone: a connection would leave every namespace and reach the hypervisor.
fn vsock() -> impl Iterator<Item = Probe> {
    let kinds = [
        ("ipc/vsock-stream", libc::SOCK_STREAM),
        ("ipc/vsock-dgram", libc::SOCK_DGRAM),
        ("ipc/vsock-seqpacket", libc::SOCK_SEQPACKET),
    ];
    kinds.into_iter().map(|(id, kind)| {
        Probe::denies(id, High)
            .serves("network.mode", "IPC-3")
            .requires("no socket to the hypervisor can be made")
            .operation(format!("socket(AF_VSOCK, {kind}), never connected"))
            .script([control!("socketpair_pass"), attempt!("sys", SYS_socket, libc::AF_VSOCK, kind, 0)])
            // What firejail's filter of families says. No socket is made either.
            .expect(NoFamily.or(Expect::fails([EOPNOTSUPP])))
            .outside(Outside::succeeds())
    })
}

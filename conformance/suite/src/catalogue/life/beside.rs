//! Two sandboxes of the same runtime, policy and user at once: neither has anything of the other.
//!
//! The second one makes something and waits; the workload looks for it. Names are those of the entry, so that entries that
//! run at the same time do not meet outside, where nothing keeps them apart.

use palisade_policy::{Policy, SyscallProfile};
use palisade_probe::script::Statement;

use crate::catalogue::prelude::*;
use crate::lab::World;

/// On every loopback, whoever it belongs to.
const TCP_PORT: u16 = 7421;
const UDP_PORT: u16 = 7422;
/// Families as an address begins with them (`sa_family_t`).
const UNIX: u16 = 1;
const INET: u16 = 2;
const SHM_KEY: i32 = 0x504c_5311;
const MSG_KEY: i32 = 0x504c_5312;
const SEM_KEY: i32 = 0x504c_5313;

pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let mut probes = vec![processes(world)];
    probes.extend(files());
    probes.extend(sockets());
    if policy.process.syscalls.profile == SyscallProfile::Standard {
        probes.extend(objects());
    }
    probes
}

fn beside(id: &str, what: &str, other: Vec<Statement>, attempt: Statement) -> Probe {
    let wait = || attempt!("sleep_ms", 5000);
    Probe::denies(format!("life/beside/{id}"), High)
        .serves("process.identity", "LIFE-3")
        .requires(format!("{what} of another sandbox cannot be reached"))
        .beside(other.into_iter().chain([wait(), wait()]))
        .script([control!("sys", SYS_getpid), attempt])
        .expect(Denied.or(Absent))
        .outside(Outside::succeeds())
}

fn processes(world: &World) -> Probe {
    let marker = format!("PLSD-{}-beside", world.run);
    let named = setup!("env_has", &marker);
    beside("process", "a process", vec![named], attempt!("find_pid_by_cmdline", marker))
        .operation("look for the arguments of a process of the other sandbox")
        .expect(Returns(0))
        .outside(Outside::Shows(AtLeast(1)))
}

/// The other's files have names of their own: what one left outside, nobody could write again.
fn files() -> Vec<Probe> {
    let file = |id: &str, directory: &str| {
        let name = format!("palisade-beside-{id}-");
        let path = text([Piece::from(&*format!("{directory}/{name}")), Piece::Nonce]);
        let make = setup!("write_file", path, "beside");
        beside(id, "a private file", vec![make], attempt!("list_dir", directory))
            .operation(format!("look in {directory} for what the other sandbox has written"))
            .expect(Expect::data_lacks(&name))
            .outside(Outside::Shows(Expect::data_contains(&name)))
    };
    vec![file("tmp", "/tmp"), file("var-tmp", "/var/tmp"), file("dev-shm", "/dev/shm")]
}

/// `sockaddr_in` of 127.0.0.1.
fn loopback(port: u16) -> Vec<u8> {
    [&INET.to_ne_bytes()[..], &port.to_be_bytes(), &[127, 0, 0, 1], &[0; 8]].concat()
}

fn sockets() -> Vec<Probe> {
    let made = |family: i32, kind: i32| setup!("sys", SYS_socket, family, kind, 0);
    let bound = |address: Vec<u8>| {
        let length = u32::try_from(address.len()).unwrap_or(u32::MAX);
        setup!("sys", SYS_bind, result(0), bytes(address), length)
    };
    let listening = setup!("sys", SYS_listen, result(0), 8);
    // `sockaddr_un` of an abstract name: the family, NUL, the name to the end.
    let name = "palisade-beside";
    let unix = [&UNIX.to_ne_bytes()[..], b"\0", name.as_bytes()].concat();
    vec![
        beside(
            "abstract-socket",
            "an abstract socket",
            vec![made(libc::AF_UNIX, libc::SOCK_STREAM), bound(unix), listening.clone()],
            attempt!("unix_connect", format!("\0{name}"), "stream", NONCE, 1),
        )
        .expect(Denied.or(Expect::fails([ECONNREFUSED]))),
        beside(
            "loopback-tcp",
            "a port",
            vec![made(libc::AF_INET, libc::SOCK_STREAM), bound(loopback(TCP_PORT)), listening],
            attempt!("tcp", "127.0.0.1", TCP_PORT, NONCE, 100),
        )
        .expect(Unreachable),
        // Nobody answers, which is what shows that somebody is there: the kernel would refuse at once.
        beside(
            "loopback-udp",
            "a port",
            vec![made(libc::AF_INET, libc::SOCK_DGRAM), bound(loopback(UDP_PORT))],
            attempt!("udp", "127.0.0.1", UDP_PORT, NONCE, 100),
        )
        .expect(Unreachable)
        .outside(Outside::fails([ETIMEDOUT])),
    ]
}

/// Not a POSIX message queue: their directory has an owner that is not mapped inside, so that none can be made there.
fn objects() -> Vec<Probe> {
    let make = libc::IPC_CREAT | 0o666;
    vec![
        beside(
            "sysv-shm",
            "shared memory",
            vec![setup!("sys", SYS_shmget, SHM_KEY, 4096, make)],
            attempt!("sys", SYS_shmget, SHM_KEY, 0, 0),
        ),
        beside(
            "sysv-msg",
            "a message queue",
            vec![setup!("sys", SYS_msgget, MSG_KEY, make)],
            attempt!("sys", SYS_msgget, MSG_KEY, 0),
        ),
        beside(
            "sysv-sem",
            "a semaphore",
            vec![setup!("sys", SYS_semget, SEM_KEY, 1, make)],
            attempt!("sys", SYS_semget, SEM_KEY, 0, 0),
        ),
    ]
}

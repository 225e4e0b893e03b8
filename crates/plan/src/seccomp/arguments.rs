//! The calls whose answer depends on their arguments.
//!
//! Owns every rule that looks at an argument. The width of each comparison is what the kernel's handler declares
//! (`SYSCALL_DEFINE` in its source): `int`, `unsigned int` and `umode_t` are read from the low half of the
//! register, whatever the high half holds.

use palisade_policy::{NetworkMode, SyscallProfile};

use super::condition::{Condition, Width};
use super::profile::{Action, Case, Check, Errno};

/// What the argument rules depend on besides the arguments.
#[derive(Clone, Copy)]
pub(super) struct Circumstances {
    /// The table to start from.
    pub(super) profile: SyscallProfile,
    /// The general rule about the network.
    pub(super) network: NetworkMode,
    /// Whether the workload may have namespaces of its own.
    pub(super) nested_namespaces: bool,
    /// Whether the policy allows `seccomp`, and so both ways to install a filter.
    pub(super) own_filters: bool,
}

/// Makes the check of one call.
type MakeCheck = fn(Circumstances) -> Check;

/// The checked calls.
pub(super) const CHECKED: &[(&str, MakeCheck)] = &[
    ("chmod", |_| mode_without_set_id(1)),
    ("clone", |_| no_namespace_flags(Width::U32, CLONE_NEW_ANY)),
    ("creat", |_| mode_without_set_id(1)),
    ("execveat", |_| execveat()),
    ("fchmod", |_| mode_without_set_id(1)),
    ("fchmodat", |_| mode_without_set_id(2)),
    ("fchmodat2", |_| mode_without_set_id(2)),
    ("ioctl", ioctl),
    ("mkdir", |_| mode_without_set_id(1)),
    ("mkdirat", |_| mode_without_set_id(2)),
    ("mknod", |_| mknod(1)),
    ("mknodat", |_| mknod(2)),
    ("open", |_| open(1)),
    ("openat", |_| open(2)),
    ("personality", |_| personality()),
    ("prctl", prctl),
    ("sched_setscheduler", |_| sched_setscheduler()),
    ("socket", socket),
    ("socketpair", |_| socketpair()),
    // ksys_unshare takes an unsigned long, and refuses the bits that it does not know.
    ("unshare", |_| no_namespace_flags(Width::U64, CLONE_NEW_ANY | CLONE_NEWTIME)),
];

/// `CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET` of `linux/sched.h`.
const CLONE_NEW_ANY: u64 = 0x7e02_0000;
/// Only `unshare` and `clone3` know it; in `clone` the bit is part of the exit signal.
const CLONE_NEWTIME: u64 = 0x80;

const S_ISUID_OR_S_ISGID: u64 = 0o6000;
const S_IFMT: u64 = 0o170_000;
const S_IFIFO: u64 = 0o010_000;
const S_IFREG: u64 = 0o100_000;
const S_IFSOCK: u64 = 0o140_000;

const O_CREAT_OR_TMPFILE: u64 = 0o100 | 0o20_000_000;

const AT_EMPTY_PATH: u64 = 0x1000;

const SCHED_OTHER: u64 = 0;
const SCHED_BATCH: u64 = 3;
const SCHED_IDLE: u64 = 5;
const SCHED_RESET_ON_FORK: u64 = 0x4000_0000;

const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const AF_NETLINK: u64 = 16;
const SOCK_TYPE_MASK: u64 = 0xf;
const SOCK_STREAM: u64 = 1;
const SOCK_DGRAM: u64 = 2;
const SOCK_RAW: u64 = 3;
/// An alias of the past: `socket(AF_INET, SOCK_PACKET, 0)` makes a packet socket.
const SOCK_PACKET: u64 = 10;
const IPPROTO_ICMP: u64 = 1;
const IPPROTO_TCP: u64 = 6;
const IPPROTO_UDP: u64 = 17;
const IPPROTO_ICMPV6: u64 = 58;
const NETLINK_ROUTE: u64 = 0;

/// A file that runs with its owner's rights outlives the sandbox and serves whoever meets it outside.
fn mode_without_set_id(argument: u8) -> Check {
    Check {
        cases: vec![case("no setuid, no setgid", [mode_lacks_set_id(argument)], Action::Allow)],
        otherwise: DENY,
    }
}

fn open(flags: u8) -> Check {
    Check {
        cases: vec![
            case("no setuid, no setgid", [mode_lacks_set_id(flags + 1)], Action::Allow),
            case(
                "neither O_CREAT nor O_TMPFILE: the mode means nothing",
                [masked(flags, O_CREAT_OR_TMPFILE, [0])],
                Action::Allow,
            ),
        ],
        otherwise: DENY,
    }
}

/// Devices are not made inside, not even the whiteouts of overlayfs, which are character devices.
fn mknod(mode: u8) -> Check {
    Check {
        cases: vec![case(
            "a file, pipe or socket without setuid and setgid",
            [masked(mode, S_IFMT, [0, S_IFIFO, S_IFREG, S_IFSOCK]), mode_lacks_set_id(mode)],
            Action::Allow,
        )],
        otherwise: DENY,
    }
}

fn no_namespace_flags(width: Width, flags: u64) -> Check {
    let condition = condition(0, width, Some(flags), [0]);
    Check { cases: vec![case("no CLONE_NEW flag", [condition], Action::Allow)], otherwise: DENY }
}

/// `fexecve` falls back to `/proc/self/fd` on ENOSYS, where the mount of the file decides.
fn execveat() -> Check {
    Check {
        cases: vec![case(
            "AT_EMPTY_PATH: execute a descriptor, by no path",
            [masked(4, AT_EMPTY_PATH, [AT_EMPTY_PATH])],
            Action::Fail(Errno::Enosys),
        )],
        otherwise: Action::Allow,
    }
}

fn ioctl(circumstances: Circumstances) -> Check {
    let mut cases = vec![
        case(
            "TIOCSTI, TIOCLINUX, TIOCCONS, TIOCSETD, TIOCVHANGUP: act on a terminal for its other users",
            [is(1, [0x5412, 0x541c, 0x541d, 0x5423, 0x5437])],
            DENY,
        ),
        case("SIOCGSKNS: the network namespace of a socket", [is(1, [0x894c])], DENY),
    ];
    if !circumstances.nested_namespaces {
        cases.push(case(
            "every request of nsfs: owners, parents and numbers of namespaces",
            [masked(1, 0xff00, [0xb700])],
            DENY,
        ));
        cases.push(case(
            "PIDFD_GET_*_NAMESPACE: the namespaces of a process",
            [masked(1, 0xffff_fff0, [0xff00])],
            DENY,
        ));
    }
    Check { cases, otherwise: Action::Allow }
}

/// The values that other runtimes allow: what `setarch` needs, and the question. Not `ADDR_NO_RANDOMIZE` and
/// `READ_IMPLIES_EXEC`, which disarm defences.
fn personality() -> Check {
    Check {
        cases: vec![case(
            "PER_LINUX, PER_LINUX32, each with or without UNAME26, and the question",
            [is(0, [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff])],
            Action::Allow,
        )],
        otherwise: DENY,
    }
}

/// Options of `linux/prctl.h` that act on the caller alone. Not `PR_SET_MEMORY_MERGE`: merged pages tell, by the time
/// that a write takes, what other tenants of the host hold in memory.
#[rustfmt::skip]
const PRCTL_OPTIONS: &[(&str, u64)] = &[
    ("PR_SET_PDEATHSIG", 1), ("PR_GET_PDEATHSIG", 2), ("PR_GET_DUMPABLE", 3), ("PR_SET_DUMPABLE", 4),
    ("PR_GET_KEEPCAPS", 7), ("PR_SET_KEEPCAPS", 8), ("PR_GET_TIMING", 13), ("PR_SET_TIMING", 14),
    ("PR_SET_NAME", 15), ("PR_GET_NAME", 16), ("PR_GET_SECCOMP", 21), ("PR_CAPBSET_READ", 23),
    ("PR_CAPBSET_DROP", 24), ("PR_GET_TSC", 25), ("PR_SET_TSC", 26), ("PR_GET_SECUREBITS", 27),
    ("PR_SET_SECUREBITS", 28), ("PR_SET_TIMERSLACK", 29), ("PR_GET_TIMERSLACK", 30),
    ("PR_SET_CHILD_SUBREAPER", 36), ("PR_GET_CHILD_SUBREAPER", 37), ("PR_SET_NO_NEW_PRIVS", 38),
    ("PR_GET_NO_NEW_PRIVS", 39), ("PR_GET_TID_ADDRESS", 40), ("PR_SET_THP_DISABLE", 41), ("PR_GET_THP_DISABLE", 42),
    ("PR_CAP_AMBIENT", 47), ("PR_GET_SPECULATION_CTRL", 52), ("PR_SET_SPECULATION_CTRL", 53),
    ("PR_SET_SYSCALL_USER_DISPATCH", 59), ("PR_SET_MDWE", 65), ("PR_GET_MDWE", 66), ("PR_FUTEX_HASH", 78),
    ("PR_RSEQ_SLICE_EXTENSION", 79), ("PR_GET_AUXV", 0x4155_5856), ("PR_SET_VMA", 0x5356_4d41),
    ("PR_SET_PTRACER", 0x5961_6d61),
];
const PR_SET_SECCOMP: u64 = 22;
const PR_SET_MM: u64 = 35;

/// The options that are neither allowed nor forbidden by name answer as on a kernel that lacks them.
fn prctl(circumstances: Circumstances) -> Check {
    let mut options: Vec<_> = PRCTL_OPTIONS.iter().map(|&(_, option)| option).collect();
    let mut forbidden = vec![PR_SET_MM];
    if circumstances.own_filters { &mut options } else { &mut forbidden }.push(PR_SET_SECCOMP);
    Check {
        cases: vec![
            case("options that act on the caller alone", [is(0, options)], Action::Allow),
            case("PR_SET_SECCOMP (as seccomp), PR_SET_MM", [is(0, forbidden)], DENY),
        ],
        otherwise: Action::Fail(Errno::Einval),
    }
}

fn sched_setscheduler() -> Check {
    Check {
        cases: vec![case(
            "SCHED_OTHER, SCHED_BATCH, SCHED_IDLE",
            [masked(1, 0xffff_ffff & !SCHED_RESET_ON_FORK, [SCHED_OTHER, SCHED_BATCH, SCHED_IDLE])],
            Action::Allow,
        )],
        otherwise: DENY,
    }
}

/// Families that no network namespace confines (vsock), whose kernel code few programs use (all the others), or
/// that see packets (packet): absent.
fn socket(circumstances: Circumstances) -> Check {
    let mut cases = vec![case("AF_UNIX", [is(0, [AF_UNIX])], Action::Allow)];
    let declared_only = circumstances.profile == SyscallProfile::Strict;
    if !(declared_only && circumstances.network == NetworkMode::None) {
        cases.extend(internet_cases(circumstances));
        cases.extend([
            case(
                "netlink, to read addresses and routes",
                [
                    is(0, [AF_NETLINK]),
                    masked(1, SOCK_TYPE_MASK, [SOCK_DGRAM, SOCK_RAW]),
                    is(2, [NETLINK_ROUTE]),
                ],
                Action::Allow,
            ),
            case("netlink to any other part of the kernel", [is(0, [AF_NETLINK])], DENY),
        ]);
    }
    Check { cases, otherwise: Action::Fail(Errno::Eafnosupport) }
}

fn internet_cases(circumstances: Circumstances) -> Vec<Case> {
    let internet = || is(0, [AF_INET, AF_INET6]);
    let of_type = |kind| masked(1, SOCK_TYPE_MASK, [kind]);
    let ping = match circumstances.network {
        NetworkMode::Open => Action::Allow,
        // The kernel's own answer where ping sockets are off.
        NetworkMode::None | NetworkMode::Allowlist => Action::Fail(Errno::Eacces),
    };
    vec![
        case("TCP", [internet(), of_type(SOCK_STREAM), is(2, [0, IPPROTO_TCP])], Action::Allow),
        case("UDP", [internet(), of_type(SOCK_DGRAM), is(2, [0, IPPROTO_UDP])], Action::Allow),
        case("ping", [internet(), of_type(SOCK_DGRAM), is(2, [IPPROTO_ICMP, IPPROTO_ICMPV6])], ping),
        case("raw", [internet(), masked(1, SOCK_TYPE_MASK, [SOCK_RAW, SOCK_PACKET])], DENY),
        case(
            "MPTCP, SCTP, UDP-Lite and others: programs fall back to TCP and UDP",
            [internet()],
            Action::Fail(Errno::Eprotonosupport),
        ),
    ]
}

fn socketpair() -> Check {
    Check {
        cases: vec![case("AF_UNIX", [is(0, [AF_UNIX])], Action::Allow)],
        otherwise: Action::Fail(Errno::Eafnosupport),
    }
}

const DENY: Action = Action::Fail(Errno::Eperm);

fn case(about: &str, conditions: impl Into<Vec<Condition>>, then: Action) -> Case {
    Case { about: about.to_owned(), conditions: conditions.into(), then }
}

fn mode_lacks_set_id(argument: u8) -> Condition {
    masked(argument, S_ISUID_OR_S_ISGID, [0])
}

/// The low half of the argument is one of `values`.
fn is(argument: u8, values: impl Into<Vec<u64>>) -> Condition {
    condition(argument, Width::U32, None, values)
}

/// The bits `mask` of the low half of the argument are one of `values`.
fn masked(argument: u8, mask: u64, values: impl Into<Vec<u64>>) -> Condition {
    condition(argument, Width::U32, Some(mask), values)
}

fn condition(argument: u8, width: Width, mask: Option<u64>, values: impl Into<Vec<u64>>) -> Condition {
    Condition::new(argument, width, mask, values).expect("a test builds every check of this file")
}

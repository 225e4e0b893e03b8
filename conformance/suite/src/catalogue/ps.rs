//! Processes: those outside cannot be signalled, limited or rescheduled, and the workload cannot lift its own limits.

use palisade_policy::{Clause, Policy};
use palisade_probe::script::Statement;

use super::call::{args, refused, row};
use super::prelude::*;
use crate::lab::World;

const IDENTITY: &str = "process.identity";
const CAPABILITIES: &str = "process.capabilities";

/// Entries of the group `ps`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let mut probes = outside(world);
    probes.extend(outside_besides(world));
    let rows = vec![
        row("ps/pidfd/open", Medium, "pidfd_open", args![-1, 0], [EINVAL]),
        row("ps/pidfd/send-signal", Medium, "pidfd_send_signal", args![-1, 0, NULL, 0], [EBADF]),
        row("ps/pidfd/getfd", High, "pidfd_getfd", args![-1, -1, 0], [EBADF]),
    ];
    probes.extend(refused(policy, "PS-1", "no process can be taken hold of by a descriptor", rows));
    probes.extend(raising(policy));
    probes.extend(limits(policy));
    probes.push(session());
    probes
}

/// Calls that act on the decoy, a process of the lab's host with the caller's user. None of them hurts it: signal 0, a
/// lower priority for a process that sleeps.
fn outside(world: &World) -> Vec<Probe> {
    let pid = world.decoy.pid;
    let decoy = |id: &str, requirement: &str, severity, statement: Statement| {
        Probe::denies(id, severity)
            .serves(IDENTITY, "PS-1")
            .requires(requirement)
            .script([control!("kill_check", 0, 0), statement])
            .expect(Denied.or(Absent))
            .outside(Outside::succeeds())
            .canary(Canary::Process(pid))
    };
    let signal = "no process outside can be signalled";
    let limit = "the limits of no process outside can be read or set";
    let schedule = "no process outside can be rescheduled";
    // The owner of a descriptor is sent SIGIO on its behalf: F_SETOWN takes only pids that can be seen.
    let owner = [
        setup!("open", "/dev/null", O_RDONLY),
        attempt!("sys", libc::SYS_fcntl, result(0), libc::F_SETOWN, pid),
    ];
    let zero = bytes([0; 4]);
    vec![
        decoy("ps/kill/host-pid", signal, High, attempt!("kill_check", pid, 0)),
        decoy("ps/kill/tgkill", signal, High, attempt!("sys", SYS_tgkill, pid, pid, 0)),
        Probe::denies("ps/kill/sigio-owner", High)
            .serves(IDENTITY, "PS-1")
            .requires(signal)
            .operation("fcntl(F_SETOWN) with a process outside")
            .script(owner)
            .expect(Denied.or(Absent))
            .outside(Outside::succeeds()),
        decoy("ps/prlimit-outside", limit, Medium, attempt!("sys", SYS_prlimit64, pid, 7, NULL, buffer(16))),
        decoy("ps/getpriority-outside", schedule, Low, attempt!("sys", libc::SYS_getpriority, 0, pid)),
        decoy("ps/setpriority-outside", schedule, Medium, attempt!("sys", SYS_setpriority, 0, pid, 19)),
        decoy("ps/ioprio-outside", schedule, Medium, attempt!("sys", SYS_ioprio_set, 1, pid, 0)),
        decoy("ps/sched-outside", schedule, Medium, attempt!("sys", SYS_sched_setscheduler, pid, 0, zero)),
        decoy(
            "ps/affinity-outside",
            schedule,
            Low,
            attempt!("sys", libc::SYS_sched_getaffinity, pid, 128, buffer(128)),
        ),
        decoy("ps/pgid-outside", signal, Low, attempt!("sys", libc::SYS_getpgid, pid)),
    ]
}

/// More ways to the same decoy, of which each has its own look-up of a process in the kernel.
fn outside_besides(world: &World) -> Vec<Probe> {
    const SETOWN_EX: i32 = 15;
    const OWNER_PROCESS: u32 = 1;
    const SIOCSPGRP: u64 = 0x8902;
    let pid = world.decoy.pid;
    let decoy = |id: &str, requirement: &str, operation: &str, script: Vec<Statement>| {
        Probe::denies(id, Low)
            .serves(IDENTITY, "PS-1")
            .requires(requirement)
            .operation(format!("{operation} of a process outside"))
            .script([control!("kill_check", 0, 0)])
            .script(script)
            .expect(Denied.or(Absent))
            .outside(Outside::succeeds())
            .canary(Canary::Process(pid))
    };
    let signal = "no process outside can be signalled";
    let schedule = "how a process outside is scheduled can neither be read nor set";
    let look = "no process outside can be looked at";
    let owner = [OWNER_PROCESS, pid].map(u32::to_ne_bytes).concat();
    // struct siginfo: signal 0, no error, SI_QUEUE.
    let queued = [0_i32, 0, libc::SI_QUEUE].map(i32::to_ne_bytes).concat();
    let queued = [queued, vec![0; 116]].concat();
    // The clock of a process: its pid, inverted, above three bits that say which of its clocks (2: scheduled).
    let clock = (!i64::from(pid) << 3) | 2;
    let rows: Vec<(&str, &str, &str, Vec<Statement>)> = vec![
        (
            "ps/kill/sigqueue",
            signal,
            "rt_sigqueueinfo(2)",
            vec![attempt!("sys", libc::SYS_rt_sigqueueinfo, pid, 0, bytes(queued))],
        ),
        (
            "ps/kill/sigio-owner-ex",
            signal,
            "fcntl(F_SETOWN_EX) in favour",
            vec![
                setup!("open", "/dev/null", O_RDONLY),
                attempt!("sys", libc::SYS_fcntl, result(1), SETOWN_EX, bytes(owner)),
            ],
        ),
        (
            "ps/kill/socket-owner",
            signal,
            "ioctl(SIOCSPGRP) in favour",
            vec![
                setup!("sys", SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0),
                attempt!("sys", SYS_ioctl, result(1), bits(SIOCSPGRP), bytes(pid.to_ne_bytes())),
            ],
        ),
        ("ps/session-outside", look, "getsid(2)", vec![attempt!("sys", libc::SYS_getsid, pid)]),
        (
            "ps/prlimit-write-outside",
            "the limits of no process outside can be read or set",
            "prlimit(2) that sets no core dumps",
            vec![attempt!("sys", SYS_prlimit64, pid, libc::RLIMIT_CORE, bytes([0; 16]), NULL)],
        ),
        (
            "ps/sched-policy-outside",
            schedule,
            "sched_getscheduler(2)",
            vec![attempt!("sys", libc::SYS_sched_getscheduler, pid)],
        ),
        (
            "ps/sched-param-outside",
            schedule,
            "sched_getparam(2)",
            vec![attempt!("sys", libc::SYS_sched_getparam, pid, buffer(16))],
        ),
        (
            "ps/sched-attr-outside",
            schedule,
            "sched_getattr(2)",
            vec![attempt!("sys", libc::SYS_sched_getattr, pid, buffer(64), 64, 0)],
        ),
        (
            "ps/sched-interval-outside",
            schedule,
            "sched_rr_get_interval(2)",
            vec![attempt!("sys", libc::SYS_sched_rr_get_interval, pid, buffer(16))],
        ),
        (
            "ps/ioprio-read-outside",
            schedule,
            "ioprio_get(2)",
            vec![attempt!("sys", libc::SYS_ioprio_get, 1, pid)],
        ),
        (
            "ps/affinity-write-outside",
            schedule,
            "sched_setaffinity(2) to every processor",
            vec![attempt!("sys", libc::SYS_sched_setaffinity, pid, 128, bytes([0xff; 128]))],
        ),
    ];
    let mut probes: Vec<Probe> = rows
        .into_iter()
        .map(|(id, requirement, operation, script)| decoy(id, requirement, operation, script))
        .collect();
    probes.push(
        decoy(
            "ps/cpu-clock-outside",
            look,
            "clock_gettime(2) on the clock",
            vec![attempt!("sys", libc::SYS_clock_gettime, clock, buffer(16))],
        )
        .expect(Denied.or(Absent).or(Expect::fails([EINVAL]))),
    );
    probes
}

/// What a process may only lower.
fn raising(policy: &Policy) -> Vec<Probe> {
    const REAL_TIME: i32 = 1;
    const DEADLINE: i32 = 6;
    let rows = vec![
        row("ps/rt-sched", Medium, "sched_setscheduler", args![0, REAL_TIME, BAD], [EFAULT]),
        row("ps/deadline-sched", Medium, "sched_setscheduler", args![0, DEADLINE, BAD], [EFAULT]),
    ];
    let mut probes: Vec<Probe> =
        refused(policy, "PS-2", "the workload cannot become a real-time process", rows).collect();
    let raise = |id: &str, clause: &'static str, requirement: &str, statement| {
        Probe::denies(id, Medium)
            .serves(clause, "PS-2")
            .requires(requirement)
            .script([statement])
            .outside(Outside::succeeds())
    };
    let unlimited = || bytes([0xff; 16]);
    probes.push(raise(
        "ps/nice-raise",
        CAPABILITIES,
        "the workload cannot raise its priority",
        attempt!("sys", SYS_setpriority, 0, 0, -10),
    ));
    probes.push(raise(
        "ps/ioprio-raise",
        CAPABILITIES,
        "the workload cannot raise its priority of input and output",
        // Class real-time (1), level 4.
        attempt!("sys", SYS_ioprio_set, 1, 0, (1 << 13) | 4),
    ));
    for (id, clause, resource) in [
        ("ps/rlimit-raise/processes", "resources.processes", libc::RLIMIT_NPROC),
        ("ps/rlimit-raise/file-size", "resources.file_size", libc::RLIMIT_FSIZE),
        ("ps/rlimit-raise/core", "resources", libc::RLIMIT_CORE),
    ] {
        probes.push(raise(
            id,
            clause,
            "the workload cannot raise its own limits",
            attempt!("sys", SYS_setrlimit, resource, unlimited()),
        ));
    }
    probes
}

/// The limits that the policy names, soft and hard. A caller with less has less inside too.
fn limits(policy: &Policy) -> Vec<Probe> {
    let resources = &policy.resources;
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    // The sandbox's first process counts, and one more is no breach by itself (RES-1).
    let processes = i64::from(resources.processes) + 2;
    let limit = |id: &str, clause: &'static str, resource: u32, most: i64, what: &str, spec| {
        Probe::denies(id, Medium)
            .serves_rule(&Clause::new(clause), spec)
            .requires(format!("{what} limited as the policy says"))
            .script([attempt!("getrlimit", resource)])
            .expect(AtMost(most))
    };
    vec![
        limit(
            "ps/limit/processes",
            "resources.processes",
            libc::RLIMIT_NPROC,
            processes,
            "the number of processes is",
            "PS-2",
        ),
        limit(
            "ps/limit/open-files",
            "resources.open_files",
            libc::RLIMIT_NOFILE,
            i64::from(resources.open_files),
            "the number of open files is",
            "PS-2",
        ),
        limit(
            "ps/limit/file-size",
            "resources.file_size",
            libc::RLIMIT_FSIZE,
            number(resources.file_size.bytes()),
            "the size of files is",
            "PS-2",
        ),
        // A core dump is written by the kernel outside of every rule, or piped to a program of the host.
        limit("ps/coredump-disabled", "resources", libc::RLIMIT_CORE, 0, "core dumps are", "PS-3")
            .expect(Expect::data_is("0 0")),
    ]
}

/// The session decides whose terminal and whose job control a process is part of.
fn session() -> Probe {
    Probe::denies("ps/session-own", Medium)
        .serves("process.terminal", "TTY-1")
        .requires("the workload is not in the session of the caller")
        .operation("read the session of the process in /proc/self/stat")
        .script([attempt!("read_file", "/proc/self/stat")])
        .expect(DataPasses("a session whose leader is inside, without a terminal", |stat| {
            // Behind the name in parentheses: state, parent, group, session, terminal. A leader outside shows as 0.
            let text = String::from_utf8_lossy(stat);
            let fields = text.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
            let mut fields = fields.split(' ').skip(3);
            matches!((fields.next(), fields.next()), (Some(session), Some("0")) if session != "0")
        }))
        .behind_terminal()
}

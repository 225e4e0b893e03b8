//! Limits of the whole sandbox: memory, processes, processor time and share, wall time. Each probe exists where the policy
//! names the limit, and only where running past it is something that a machine bears.

use std::time::Duration;

use nix::sys::signal::Signal;
use palisade_policy::{Policy, SyscallProfile};
use palisade_probe::script::Statement;

use super::{HEAVY, HEAVY_PROCESSES, MOST_PROCESSES};
use crate::catalogue::prelude::*;

/// Limits beyond these are not run into: the unsandboxed control has to bear it too.
const MOST_MEMORY: u64 = 256 << 20;
/// Up to here only where it is asked for; the probe program takes no more than 1 GiB, which is half as much again.
const HEAVY_MEMORY: u64 = 640 << 20;
const MOST_CPU_TIME: Duration = Duration::from_secs(3);
const MOST_WALL_TIME: Duration = Duration::from_secs(7);

/// How far past its limit of processes a probe goes.
const PAST: u32 = 64;

/// What a runtime may take from SIGTERM to the kill, and then some.
const GRACE: Duration = Duration::from_secs(3);

/// The longest that one statement sleeps.
const LONGEST_SLEEP: u128 = 5_000;

/// Entries for the limits that `policy` names.
pub(super) fn probes(policy: &Policy) -> Vec<Probe> {
    let resources = &policy.resources;
    let mut probes = processes(resources.processes);
    if let Some(most) = resources.memory.map(palisade_policy::ByteSize::bytes)
        && most <= HEAVY_MEMORY
    {
        let heavy = |probe: Probe| if most > MOST_MEMORY { probe.destructive(3 * most) } else { probe };
        probes.extend(all_of_memory(policy, most).into_iter().map(heavy));
    }
    if let Some(limit) = resources.cpu_time.filter(|limit| *limit <= MOST_CPU_TIME) {
        probes.extend(cpu_time(limit));
    }
    probes.extend(resources.millicpus.map(share));
    if let Some(limit) = resources.wall_time.filter(|limit| *limit <= MOST_WALL_TIME) {
        probes.extend(wall_time(limit));
    }
    probes
}

fn all_of_memory(policy: &Policy, most: u64) -> Vec<Probe> {
    let tmp = policy.filesystem.tmp.bytes();
    let file_size = policy.resources.file_size.bytes();
    let mut probes = memory(most);
    // A file system or a file that is smaller would answer instead; that of the lab, which the run without a sandbox meets, too.
    if tmp >= 2 * most && file_size >= most && most <= MOST_MEMORY {
        probes.extend([files_in_memory("tmp", "/tmp", most), files_in_memory("shm", "/dev/shm", most)]);
    }
    if file_size >= most {
        probes.push(memfd(most));
    }
    if policy.process.syscalls.profile == SyscallProfile::Standard {
        probes.push(segment(most));
    }
    probes
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// An entry whose attempt, at this place among the statements, runs into a limit that ends it, or everything.
fn runs_into(id: String, clause: &'static str, statements: Vec<Statement>) -> Probe {
    let last = statements.len() - 1;
    Probe::denies(id, High)
        .serves(clause, "RES-4")
        .script(statements)
        .interfere(last, Action::AwaitLimit)
        .outside(Outside::succeeds())
}

fn processes(most: u32) -> Vec<Probe> {
    let many = most + PAST;
    if many > HEAVY_PROCESSES {
        return Vec::new();
    }
    let bomb = |name: &str, requirement: &str, operation: String, statements: [Statement; 2]| {
        let probe = Probe::denies(format!("res/{name}"), High)
            .serves("resources.processes", "RES-3")
            .requires(requirement)
            .operation(operation)
            .script(statements)
            .expect(AtMost(most.into()))
            .outside(Outside::Shows(Returns(many.into())));
        if many > MOST_PROCESSES { probe.destructive(HEAVY) } else { probe }
    };
    vec![
        bomb(
            "threads",
            "threads count as processes do, and half of the limit works",
            format!("make {many} threads"),
            [control!("thread_many", most / 2), attempt!("thread_many", many)],
        ),
        bomb(
            "zombies",
            "processes that nobody waits for count until somebody does",
            format!("fork {many} children and wait for none"),
            [control!("fork_many", most / 2, "zombies"), attempt!("fork_many", many, "zombies")],
        ),
    ]
}

fn memory(most: u64) -> Vec<Probe> {
    let more = most + most / 2;
    let one = |kind: &'static str, requirement: &'static str| {
        let statements =
            vec![control!("touch", signed(most / 2), kind), attempt!("touch", signed(more), kind)];
        runs_into(format!("res/memory/{kind}"), "resources.memory", statements)
            .requires(requirement)
            .operation(format!("write to {more} bytes of {kind} memory"))
            .expect(Expect::fails([ENOMEM]).or(Killed(Signal::SIGKILL)).or(CutShort))
    };
    vec![
        one("private", "a process gets no more memory than the limit, and half of it works"),
        one("shared", "memory without a file that processes share counts too"),
        runs_into(
            "res/memory/many".to_owned(),
            "resources.memory",
            vec![control!("touch_many", 2, signed(most / 8)), attempt!("touch_many", 3, signed(most / 2))],
        )
        .requires("the limit is for all processes together")
        .operation(format!("three processes, each with {} bytes", most / 2))
        .expect(AtMost(1).or(Killed(Signal::SIGKILL)).or(CutShort))
        .outside(Outside::Shows(Returns(3))),
    ]
}

/// A file in memory holds it as a process does.
fn files_in_memory(name: &str, directory: &'static str, most: u64) -> Probe {
    let open = || setup!("open", directory, O_RDWR | libc::O_TMPFILE, 0o600);
    let allocate = |file: usize, bytes: u64| (result(file), signed(bytes));
    let (first, half) = allocate(0, most / 2);
    let (second, all) = allocate(1, most);
    let statements = vec![
        open(),
        open(),
        control!("sys", libc::SYS_fallocate, first, 0, 0, half),
        attempt!("sys", libc::SYS_fallocate, second, 0, 0, all),
    ];
    runs_into(format!("res/memory/{name}"), "resources.memory", statements)
        .requires("files that are kept in memory count, and half of the limit works")
        .operation(format!("allocate half of the limit in {directory}, then all of it again"))
        .expect(Expect::fails([ENOMEM]).or(Killed(Signal::SIGKILL)).or(CutShort))
}

/// A file without a place.
fn memfd(most: u64) -> Probe {
    let make = || setup!("sys", SYS_memfd_create, "palisade", 0);
    let allocate = |file: usize, bytes: u64| (result(file), signed(bytes));
    let ((first, half), (second, all)) = (allocate(0, most / 2), allocate(1, most));
    let statements = vec![
        make(),
        make(),
        control!("sys", libc::SYS_fallocate, first, 0, 0, half),
        attempt!("sys", libc::SYS_fallocate, second, 0, 0, all),
    ];
    runs_into("res/memory/memfd".to_owned(), "resources.memory", statements)
        .requires("files that have no name count, and half of the limit works")
        .operation("allocate half of the limit in a memfd, then all of it in another")
        .expect(Expect::fails([ENOMEM]).or(Killed(Signal::SIGKILL)).or(CutShort))
}

/// A segment of System V belongs to a namespace and not to a process. The kernel itself writes to it here: read(2) of zeros.
fn segment(most: u64) -> Probe {
    let more = most + most / 2;
    let zeros = || result(0);
    let segment = |bytes: u64| (libc::IPC_PRIVATE, signed(bytes), libc::IPC_CREAT | 0o600);
    let ((key, half, flags), (_, all, _)) = (segment(most / 2), segment(more));
    let statements = vec![
        setup!("open", "/dev/zero", O_RDONLY),
        setup!("sys", SYS_shmget, key, half, flags),
        setup!("sys", libc::SYS_shmat, result(1), NULL, 0),
        // It goes with the last process that has it.
        setup!("sys", libc::SYS_shmctl, result(1), libc::IPC_RMID, NULL),
        control!("sys", SYS_read, zeros(), result(2), half),
        attempt!("sys", SYS_shmget, key, all, flags),
        attempt!("sys", libc::SYS_shmat, result(5), NULL, 0),
        attempt!("sys", libc::SYS_shmctl, result(5), libc::IPC_RMID, NULL),
        // Where the address space is what is limited, there is no address to read to, and that is the answer.
        attempt!("sys", SYS_read, zeros(), result(6), all),
    ];
    runs_into("res/memory/sysv-shm".to_owned(), "resources.memory", statements)
        .requires("shared memory of System V counts, and half of the limit works")
        .operation(format!("have zeros read into a segment of {more} bytes"))
        .expect(Expect::fails([ENOMEM]).or(Killed(Signal::SIGKILL)).or(CutShort))
        .outside(Outside::Shows(Returns(signed(more))))
}

fn cpu_time(limit: Duration) -> Vec<Probe> {
    let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let control = || control!("burn", millis(limit / 5));
    let ended = || Killed(Signal::SIGKILL).or(Killed(Signal::SIGXCPU)).or(CutShort);
    let each = limit * 3 / 10;
    let one = |name: &str, requirement: &'static str, statements: Vec<Statement>| {
        runs_into(format!("res/cpu-time/{name}"), "resources.cpu_time", statements)
            .requires(requirement)
            .expect(ended())
            // The wall-time limit must not be what ends it.
            .serial()
    };
    vec![
        one(
            "one",
            "a process that computes longer than the limit is ended",
            vec![control(), attempt!("burn", millis(limit * 3 / 2))],
        )
        .operation("compute for half as long again as the limit"),
        one(
            "ignored",
            "a process that ignores the warning is ended all the same",
            vec![control(), ignore(Signal::SIGXCPU), attempt!("burn", millis(limit * 3 / 2))],
        )
        .operation("ignore SIGXCPU, then compute for longer than the limit"),
        one(
            "many",
            "the limit is for all processes together",
            vec![control(), attempt!("burn", millis(each), 5)],
        )
        .operation("five processes that compute for three tenths of the limit each"),
    ]
}

/// rt_sigaction(2) with SIG_IGN.
fn ignore(signal: Signal) -> Statement {
    let mut action = [0; 32];
    action[0] = 1;
    attempt!("sys", libc::SYS_rt_sigaction, signal as i32, bytes(action), NULL, 8)
}

/// Many processes, so that they would get more than the share beside whatever else a machine does.
fn share(millicpus: u32) -> Probe {
    // What is measured is never exact: shares are given for a tenth of a second, and once more at the end.
    let most = millicpus + millicpus / 5 + 50;
    Probe::denies("res/cpus", Medium)
        .serves("resources.cpus", "RES-4")
        .requires("all processes together get no more of the processors than the limit")
        .operation("forty processes that compute for six tenths of a second")
        .script([control!("burn", 50), attempt!("burn_share", 600, 40)])
        // A limit of the processor time may come first.
        .interfere(1, Action::AwaitLimit)
        .expect(AtMost(most.into()).or(CutShort))
        .serial()
}

fn wall_time(limit: Duration) -> Vec<Probe> {
    let late = limit + GRACE;
    let sleeps = |mut statements: Vec<Statement>| {
        let mut left = late.as_millis();
        while left > 0 {
            let part = left.min(LONGEST_SLEEP);
            statements.push(attempt!("sleep_ms", i64::try_from(part).unwrap_or(0)));
            left -= part;
        }
        statements
    };
    let one = |name: &str, requirement: &'static str, first: Vec<Statement>| {
        let mut statements = vec![control!("sys", SYS_getpid)];
        statements.extend(first);
        let after = statements.len();
        let statements = sleeps(statements);
        Probe::denies(format!("res/wall-time/{name}"), High)
            .serves("resources.wall_time", "RES-5")
            .requires(requirement)
            .script(statements)
            .interfere(after, Action::AwaitLimit)
            .expect(OutOfTime)
            .outside(Outside::succeeds())
    };
    let stopped = attempt!("kill_check", 0, Signal::SIGSTOP as i32);
    vec![
        one("asleep", "a run is ended when its time is up", Vec::new())
            .operation("sleep for longer than the limit"),
        one(
            "ignored",
            "a process that ignores the warning is ended all the same",
            vec![ignore(Signal::SIGTERM)],
        )
        .operation("ignore SIGTERM, then sleep for longer than the limit"),
        one(
            "orphan",
            "what has left the workload's session is ended too",
            vec![attempt!("double_fork_setsid", "/tmp/palisade-orphan", 15, "keep")],
        )
        .operation("leave an orphan in a session of its own that holds the output, then sleep")
        .outside(Outside::NotRun("without a limit the orphan outlives the attempt")),
        Probe::denies("res/wall-time/stopped", High)
            .serves("resources.wall_time", "RES-5")
            .requires("a tree of stopped processes is ended")
            .operation("stop every process of the group")
            .script([control!("sys", SYS_getpid), stopped])
            .interfere(1, Action::AwaitLimit)
            .expect(OutOfTime)
            .outside(Outside::NotRun("without a limit it would be stopped for ever")),
    ]
}

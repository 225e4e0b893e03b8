//! The end of things: nothing outlives the supervisor, nothing is left, and endings are told as they were; and two sandboxes
//! that live at once are nothing to each other.

mod beside;
mod leftovers;
mod time;

use nix::sys::signal::Signal;
use palisade_policy::Policy;
use palisade_probe::script::Statement;

use super::prelude::*;
use crate::lab::World;

const CLAUSE: &str = "process.identity";

/// Entries of the group `life`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let orphan = |keep: bool| {
        let statement = attempt!("double_fork_setsid", "/tmp/palisade-orphan", 15);
        if keep { statement.arg("keep") } else { statement }
    };
    let wait = || attempt!("sleep_ms", 5000);
    let mut probes = vec![
        killed("life/supervisor-killed", "kill the supervisor while the workload sleeps", vec![wait()]),
        killed(
            "life/double-fork",
            "kill the supervisor after a double fork with setsid",
            vec![orphan(false), wait()],
        ),
        killed(
            "life/orphan-holds-output",
            "kill the supervisor while an orphan holds the output open",
            vec![orphan(true), wait()],
        ),
        killed(
            "life/no-death-signal",
            "kill the supervisor of a workload without a parent-death signal",
            vec![attempt!("sys", SYS_prctl, libc::PR_SET_PDEATHSIG, 0), wait()],
        ),
        killed(
            "life/ignores-signals",
            "kill the supervisor of a workload that ignores SIGTERM and SIGHUP",
            vec![ignore(Signal::SIGTERM), ignore(Signal::SIGHUP), wait()],
        ),
    ];
    probes.extend(trees());
    probes.extend(early());
    probes.extend(endings(world));
    probes.extend(beside::probes(world, policy));
    probes.extend(leftovers::probes(world, policy));
    probes.extend(time::probes(policy));
    probes
}

/// Trees that do not end by themselves, and ends that are not the supervisor's.
fn trees() -> Vec<Probe> {
    let orphan = |keep: bool| {
        let statement = attempt!("double_fork_setsid", "/tmp/palisade-orphan", 15);
        if keep { statement.arg("keep") } else { statement }
    };
    let wait = |milliseconds: u32| attempt!("sleep_ms", milliseconds);
    let stop = || attempt!("kill_check", result(0), Signal::SIGSTOP as i32);
    let ends = |id: &str, requirement: &str, operation: &str, script: Vec<Statement>, action: Action| {
        let last = script.len() - 1;
        Probe::denies(id, High)
            .serves(CLAUSE, "LIFE-1")
            .requires(requirement)
            .operation(operation)
            .script(script)
            .interfere(last, action)
            .expect(NothingSurvives)
            .outside(Outside::NotRun("there is no supervisor"))
    };
    let many = |last: Statement| (0..8).map(|_| orphan(false)).chain([last]).collect::<Vec<_>>();
    let with_supervisor = "no process of the sandbox outlives its supervisor";
    let with_workload = "no process of the sandbox outlives the workload";
    vec![
        ends(
            "life/stopped-orphan",
            with_supervisor,
            "kill the supervisor after an orphan has been stopped",
            vec![orphan(false), stop(), wait(5000)],
            Action::KillRuntime,
        ),
        ends(
            "life/first-process-killed",
            "no process of the sandbox, nor its supervisor, outlives the sandbox's first process",
            "kill the sandbox's first process while the workload sleeps",
            vec![wait(5000)],
            Action::KillFirst,
        ),
        ends(
            "life/many-orphans",
            with_supervisor,
            "kill the supervisor after eight orphans in sessions of their own have been left",
            many(wait(5000)),
            Action::KillRuntime,
        ),
        ends(
            "life/many-orphans-at-end",
            with_workload,
            "leave eight orphans in sessions of their own and end",
            many(wait(0)),
            Action::LetEnd,
        ),
        ends(
            "life/orphan-at-end",
            with_workload,
            "leave an orphan and end",
            vec![orphan(false), wait(0)],
            Action::LetEnd,
        ),
        ends(
            "life/stopped-orphan-at-end",
            with_workload,
            "leave a stopped orphan and end",
            vec![orphan(false), stop(), wait(0)],
            Action::LetEnd,
        ),
        ends(
            "life/orphan-at-end-holds-output",
            with_workload,
            "leave an orphan that holds the output open, and end",
            vec![orphan(true), wait(0)],
            Action::LetEnd,
        ),
    ]
}

/// The supervisor is killed at every moment of a start.
fn early() -> Vec<Probe> {
    let early = |id: &str, rounds: u32| {
        Probe::denies(id, High)
            .serves(CLAUSE, "LIFE-1")
            .requires("no process of the sandbox outlives its supervisor, at whatever moment that is killed")
            .operation(format!(
                "kill the supervisor {rounds} times, each time somewhat later after its start"
            ))
            .script([attempt!("sleep_ms", 5000)])
            .interfere(0, Action::KillEarly(rounds))
            .expect(NothingSurvives)
            .outside(Outside::NotRun("there is no supervisor to kill"))
            .canary(Canary::Mounts)
            .serial()
    };
    vec![early("life/early-kill", 24), early("life/early-kill-often", 1000).soak()]
}

/// rt_sigaction(2) with SIG_IGN.
fn ignore(signal: Signal) -> Statement {
    let mut action = [0; 32];
    action[0] = 1;
    attempt!("sys", libc::SYS_rt_sigaction, signal as i32, bytes(action), NULL, 8)
}

/// The runtime is killed once the last attempt has been announced.
fn killed(id: &str, operation: &str, attempts: Vec<Statement>) -> Probe {
    let last = attempts.len() - 1;
    Probe::denies(id, High)
        .serves(CLAUSE, "LIFE-1")
        .requires("no process of the sandbox outlives its supervisor")
        .operation(operation)
        .script(attempts)
        .interfere(last, Action::KillRuntime)
        .expect(NothingSurvives)
        .outside(Outside::NotRun("there is no supervisor to kill"))
}

fn endings(world: &World) -> Vec<Probe> {
    let ends = |id: &str, script: &str, code: i32, outside: Expect| {
        Probe::allows(id, Medium)
            .serves(CLAUSE, "LIFE-2")
            .requires("the exit code is the workload's own, or 128 and the signal that ended it")
            .command(["/bin/sh", "-c", script])
            .expect(ExitCode(code))
            .outside(Outside::Shows(outside))
    };
    let forwarded = |id: &str, signal: Signal| {
        Probe::allows(id, Medium)
            .serves(CLAUSE, "LIFE-2")
            .requires("a signal that the supervisor gets ends the workload")
            .operation(format!("send {signal} to the supervisor"))
            .script([attempt!("sleep_ms", 5000)])
            .interfere(0, Action::Signal(signal))
            .expect(ExitCode(128 + signal as i32))
            .outside(Outside::Shows(Killed(signal)))
    };
    vec![
        ends("life/exit-code", "exit 7", 7, ExitCode(7)),
        ends("life/exit-code-large", "exit 255", 255, ExitCode(255)),
        ends("life/signal-code", "kill -9 $$", 137, Killed(Signal::SIGKILL)),
        forwarded("life/sigterm-forwarded", Signal::SIGTERM),
        forwarded("life/sigint-forwarded", Signal::SIGINT),
        forwarded("life/sighup-forwarded", Signal::SIGHUP),
        Probe::allows("life/orphans-reaped", Low)
            .serves(CLAUSE, "LIFE-2")
            .requires("an orphan that has ended is reaped")
            .operation("leave an orphan that ends at once, then count processes")
            .script([
                attempt!("double_fork_setsid", "/tmp/palisade-orphan", 0),
                attempt!("sleep_ms", 300),
                attempt!("list_pids"),
            ])
            .expect(AtMost(world.few_processes()))
            .outside(Outside::NotRun("outside there are the processes of others too")),
    ]
}

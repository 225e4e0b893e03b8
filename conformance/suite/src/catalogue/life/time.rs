//! The end of the time that a policy gives: everything ends, and the exit code says why.

use std::time::Duration;

use palisade_policy::Policy;

use crate::catalogue::prelude::*;

/// Long enough for a program to start and to print on a loaded machine.
const TIME: Duration = Duration::from_millis(700);

/// What runs would run for so many seconds if nobody kept the time, and not for ever: that would be no answer.
const OTHERWISE: u32 = 5;

/// Exit code of a run that its time ended.
const OUT_OF_TIME: i32 = 124;

pub(super) fn probes(policy: &Policy) -> Vec<Probe> {
    // A run can only narrow its policy.
    if policy.resources.wall_time.is_some_and(|time| time < TIME) {
        return Vec::new();
    }
    let ends = |id: &str, requirement: &str, script: &str| {
        Probe::denies(format!("life/time/{id}"), Medium)
            .serves("resources.wall_time", "LIFE-5")
            .requires(requirement)
            .command(["/bin/sh", "-c", script])
            .expect(ExitCode(OUT_OF_TIME))
            .outside(Outside::NotRun("nobody keeps the time"))
            .within(TIME)
    };
    let sleep = format!("sleep {OTHERWISE}");
    let mut kept = ends(
        "output-kept",
        "what was printed before the end of the time is passed on",
        &format!("echo printed before; {sleep}"),
    );
    kept.expect = Expect::all_of([kept.expect, Prints(b"printed before".to_vec())]);
    // Whoever only asks for the end may well say afterwards that it was the time.
    let mut ignores = ends(
        "ignores-signals",
        "a workload that ignores signals ends with its time too",
        &format!("trap '' TERM INT HUP; for i in $(seq {OTHERWISE}); do sleep 1; done; echo too late"),
    );
    ignores.expect = Expect::all_of([ignores.expect, PrintsNot(b"too late".to_vec())]);
    vec![
        ends("sleeps", "the workload ends with its time, and the exit code says so", &sleep),
        ignores,
        kept,
        Probe::denies("life/time/tree", High)
            .serves("resources.wall_time", "LIFE-5")
            .requires("no process of the sandbox outlives its time")
            .operation("leave an orphan and sleep until the time ends")
            .script([
                attempt!("double_fork_setsid", "/tmp/palisade-orphan", 15, "keep"),
                attempt!("sleep_ms", 5000),
            ])
            .interfere(1, Action::LetEnd)
            .expect(NothingSurvives)
            .outside(Outside::NotRun("nobody keeps the time"))
            .within(TIME),
    ]
}

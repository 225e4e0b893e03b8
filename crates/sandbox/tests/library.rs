//! The runtime as a library: from threads, many at once, and when steps fail.

mod support;

use std::thread;

use palisade::{Command, Ending, launch, prepare};
use palisade_plan::Step;
use support::{plan, run};

#[test]
fn many_threads_start_sandboxes_at_once() {
    let plan = plan();
    thread::scope(|scope| {
        // Threads that allocate all the time, so that a child that did would soon meet a held lock.
        for _ in 0..4 {
            scope.spawn(|| (0..200_000u32).map(|n| n.to_string()).filter(|text| text.len() > 9).count());
        }
        let runs: Vec<_> = (0u8..16)
            .map(|code| {
                let plan = &plan;
                scope.spawn(move || (code, run(plan, "sh", &["-c", &format!("exit {code}")])))
            })
            .collect();
        for run in runs {
            let (code, outcome) = run.join().expect("no panic");
            assert_eq!(outcome.ending, Ending::Exited(code));
        }
    });
}

#[test]
fn dropping_a_launched_sandbox_kills_it() {
    let command = Command { program: "sleep".into(), arguments: vec!["600".into()] };
    let launched = launch(prepare(&plan(), &command).expect("prepared"), None).expect("launched");
    let pid = rustix::process::Pid::from_raw(launched.pid()).expect("a pid");
    assert!(rustix::process::test_kill_process(pid).is_ok(), "it runs");
    drop(launched);
    // The first process is this process's child: waiting for it ends only when it has ended.
    let status = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
    assert!(matches!(status, Ok(Some(_))), "{status:?}");
}

/// When the caller's side fails, the child, which waits for its ids, ends too.
#[test]
fn ids_that_cannot_be_mapped_are_told_and_leave_nothing_waiting() {
    let mut plan = plan();
    for planned in &mut plan.steps {
        if let Step::MapIds { gid, .. } = &mut planned.step {
            // The last id is (gid_t) -1, which no map may hold (user_namespaces(7)).
            gid.outside = u32::MAX;
        }
    }
    let command = Command { program: "true".into(), arguments: Vec::new() };
    let failure = launch(prepare(&plan, &command).expect("prepared"), None).expect_err("no such id");
    assert_eq!((failure.step, failure.action.as_str()), (2, "map ids"));
}

/// An error at any step ends the run before the workload exists, and is told with the step's number.
#[test]
fn a_failing_step_runs_nothing_wherever_it_stands() {
    let plan = plan();
    let marker = "the workload ran";
    let first =
        plan.steps.iter().position(|planned| matches!(planned.step, Step::NewRoot { .. })).expect("a root");
    let mut tried = 0;
    // From the new root to the last step: a step in between that cannot work, at every place.
    for place in first + 1..=plan.steps.len() {
        let mut broken = plan.clone();
        let mut bad = plan.steps[first].clone();
        // A link in a directory that does not exist; once the filter is in place it is refused in another way.
        bad.step = Step::MakeLink { path: "/no/such/directory/link".into(), target: marker.into() };
        broken.steps.insert(place, bad);
        let outcome = run(&broken, "sh", &["-c", "exit 99"]);
        match outcome.ending {
            Ending::NotStarted(failure) => assert_eq!(failure.step, place + 1, "{failure}"),
            other => panic!("step {} failed, but: {other:?}", place + 1),
        }
        tried += 1;
    }
    assert!(tried > 50, "only {tried} places were tried");
}

#[test]
fn what_is_not_found_and_what_cannot_be_executed_differ() {
    let plan = plan();
    assert_eq!(run(&plan, "no-such-program", &[]).exit_code(), 127);
    assert_eq!(run(&plan, "/etc/passwd", &[]).exit_code(), 126);
}

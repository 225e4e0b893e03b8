//! The runtime as a library: from threads, many at once, and when steps fail.

mod support;

use std::thread;

use palisade::{Command, Ending, Error, Event, Sandbox, Stdio};
use palisade_plan::{PlannedStep, Step};
use palisade_policy::{Clause, Document};
use support::{DIRECTORY, plan, run};

fn sandbox() -> Sandbox {
    Sandbox::new(Document::builtin("default").expect("built in").policy)
}

fn shell(script: &str) -> Command {
    Command::new("sh").args(["-c", script]).current_dir(DIRECTORY).stdin(Stdio::Null)
}

#[test]
fn many_threads_start_sandboxes_at_once() {
    let sandbox = sandbox();
    thread::scope(|scope| {
        // Threads that allocate all the time, so that a child that did would soon meet a held lock.
        for _ in 0..4 {
            scope.spawn(|| (0..200_000u32).map(|n| n.to_string()).filter(|text| text.len() > 9).count());
        }
        let runs: Vec<_> = (0u8..16)
            .map(|code| {
                let sandbox = &sandbox;
                scope.spawn(move || (code, sandbox.status(shell(&format!("exit {code}"))).expect("started")))
            })
            .collect();
        for run in runs {
            let (code, outcome) = run.join().expect("no panic");
            assert_eq!(outcome.ending, Ending::Exited(code));
        }
    });
}

/// A parent's end is told to children by thread (PR_SET_PDEATHSIG in prctl(2)): that one is gone must not look like that.
#[test]
fn a_sandbox_outlives_the_thread_that_started_it() {
    let starts = || sandbox().spawn(shell("read line; exit 7").stdin(Stdio::Piped)).expect("started");
    let mut child = thread::spawn(starts).join().expect("no panic");
    thread::sleep(std::time::Duration::from_millis(200));
    assert!(child.try_wait().is_none(), "it runs on");
    drop(child.stdin.take());
    assert_eq!(child.wait().ending, Ending::Exited(7));
}

#[test]
fn a_child_is_killed_with_everything_in_it() {
    let mut child = sandbox().spawn(shell("sleep 600 & sleep 600")).expect("started");
    assert!(child.try_wait().is_none(), "it runs");
    let pid = rustix::process::Pid::from_raw(child.id() as i32).expect("a pid");
    assert!(rustix::process::test_kill_process(pid).is_ok(), "it runs");
    child.kill().expect("killed");
    assert_eq!(child.wait().ending, Ending::Lost);
    assert!(child.kill().is_ok(), "killing twice is no error");
    assert!(rustix::process::test_kill_process(pid).is_err(), "it is gone");
}

#[test]
fn pipes_lead_to_the_program_and_back() {
    use std::io::Write as _;
    let command = shell("cat; echo done >&2").stdin(Stdio::Piped).stdout(Stdio::Piped).stderr(Stdio::Piped);
    let mut child = sandbox().spawn(command).expect("started");
    // More than a pipe holds, so that nothing works unless both directions are served.
    let sent = vec![b'x'; 300_000];
    let mut stdin = child.stdin.take().expect("piped");
    let writer = thread::spawn(move || stdin.write_all(&sent).map(|()| sent));
    let outcome = child.wait_with_output().expect("read");
    let sent = writer.join().expect("no panic").expect("written");
    assert_eq!(outcome.ending, Ending::Exited(0));
    let output = outcome.output;
    assert_eq!(output.stdout.expect("piped").captured.as_deref(), Some(sent.as_slice()));
    assert_eq!(output.stderr.expect("piped").captured.as_deref(), Some(&b"done\n"[..]));
}

#[test]
fn output_is_kept_and_signals_arrive() {
    let outcome = sandbox().output(shell("echo out; echo err >&2; exit 3")).expect("started");
    assert_eq!(outcome.exit_code(), 3);
    assert_eq!(outcome.output.stdout.expect("kept").captured.as_deref(), Some(&b"out\n"[..]));
    assert_eq!(outcome.output.stderr.expect("kept").captured.as_deref(), Some(&b"err\n"[..]));

    let mut child = sandbox()
        .spawn(shell("trap 'exit 7' USR1; echo ready; while :; do sleep 1; done").stdout(Stdio::Piped));
    let child = child.as_mut().expect("started");
    let mut ready = [0; 6];
    use std::io::Read as _;
    child.stdout.as_mut().expect("piped").read_exact(&mut ready).expect("ready");
    child.signal(rustix::process::Signal::USR1).expect("sent");
    assert_eq!(child.wait().ending, Ending::Exited(7));
}

#[test]
fn a_future_is_ready_when_the_sandbox_has_ended() {
    use std::future::Future as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Poll, Wake, Waker};
    struct Woken(AtomicBool, thread::Thread);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
            self.1.unpark();
        }
    }
    let child = sandbox().spawn(shell("exit 5")).expect("started");
    let woken = Arc::new(Woken(AtomicBool::new(false), thread::current()));
    let waker = Waker::from(Arc::clone(&woken));
    let mut ended = std::pin::pin!(child.ended());
    loop {
        match ended.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => break assert_eq!(outcome.ending, Ending::Exited(5)),
            Poll::Pending => {
                while !woken.0.swap(false, Ordering::SeqCst) {
                    thread::park();
                }
            }
        }
    }
}

#[test]
fn a_policy_that_cannot_be_enforced_starts_nothing() {
    let policy = Document::parse("p", "filesystem: {read_only: [/no/such/path]}").expect("valid").policy;
    let refused = Sandbox::new(policy).spawn(shell("exit 0"));
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
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
    match palisade::run(&plan, Command::new("true"), None, None) {
        Err(Error::Launch(failure)) => {
            let step = plan.steps.iter().position(|planned| matches!(planned.step, Step::MapIds { .. }));
            assert_eq!((Some(failure.step), failure.action.as_str()), (step.map(|at| at + 1), "map ids"));
        }
        other => panic!("no such id, but: {other:?}"),
    }
}

/// A plan given as data may stop anywhere; it goes on when its caller has heard of it, or nobody listens.
#[test]
fn a_checkpoint_is_told_and_passed() {
    let mut plan = plan();
    let steps = plan.steps.len();
    for place in (0..=steps).rev() {
        let checkpoint = PlannedStep { serves: Clause::new("test"), step: Step::Checkpoint {} };
        plan.steps.insert(place, checkpoint);
    }
    let mut heard = Vec::new();
    let mut hear = |event: Event| {
        if let Event::Checkpoint { step, .. } = event {
            heard.push(step);
        }
    };
    let outcome = palisade::run(&plan, Command::new("true"), None, Some(&mut hear)).expect("started");
    assert_eq!(outcome.ending, Ending::Exited(0));
    assert_eq!(heard, (0..=steps).map(|place| 2 * place + 1).collect::<Vec<_>>());
    assert_eq!(run(&plan, "true", &[]).ending, Ending::Exited(0));
}

#[test]
fn what_is_not_found_and_what_cannot_be_executed_differ() {
    let plan = plan();
    assert_eq!(run(&plan, "no-such-program", &[]).exit_code(), 127);
    assert_eq!(run(&plan, "/etc/passwd", &[]).exit_code(), 126);
}

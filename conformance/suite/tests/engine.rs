//! The runner, tested in a lab with probes whose result is known, without a sandbox.
//!
//! This program enters a lab with itself inside, as `palisade verify` does, and the trials run there. Listing needs no lab.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use palisade_conformance::adapters::None as NoSandbox;
use palisade_conformance::catalogue::prelude::*;
use palisade_conformance::lab::world::LeakKind;
use palisade_conformance::lab::{self, Lab, LabOptions};
use palisade_conformance::observation::{Observation, Seen, Unseen};
use palisade_conformance::run::{Runner, case::Outcome, place::Place};
use palisade_conformance::verify;
use palisade_policy::Document;

type Check = fn(&Runner<'_>) -> Result<(), String>;

const CHECKS: &[(&str, Check)] = &[
    ("a command's exit code and output are seen", command_is_seen),
    ("a missing command is not a success", missing_command),
    ("a command that does not end times out", no_end),
    ("output without end is bounded", flood),
    ("a background process that holds the output open does not hang the case", held_open),
    ("a workspace is fresh for every case", fresh_workspace),
    ("what was planted is there", planted),
    ("the lab's leaks and secrets reach the runtime", leaks),
    ("a canary file that was written is noticed", canary_file),
    ("a path that came into existence is noticed", canary_missing),
    ("a listener that was reached is noticed, and no other case's", canary_listener),
    ("a process that was killed is noticed", canary_process),
    ("what survives a killed runtime is counted and killed", survivors),
    ("what outlives a run that ended by itself is counted", outlived),
    ("what outlives many early ends is counted, whatever its arguments", early),
    ("a second sandbox waits beside the first and is gone after", beside),
    ("a second sandbox that fails or ends is no evidence", beside_fails),
    ("files are given where they are asked for, and a change of what stood in them is noticed", files),
    ("a mount that is made meanwhile is seen by an unsandboxed probe, and gone after", mount_meanwhile),
    ("a mount or a name that is left over is noticed", left_over),
    ("a signal to the runtime is seen as its end", signal),
    ("a terminal is given only where it is asked for", terminal),
    ("side by side and one by one give the same", same_order),
    ("a slow answer is not a prompt one", slow),
];

fn main() -> ExitCode {
    if let Some(status) = verify::hidden_main() {
        return status.into();
    }
    let (inner, words) = verify::arguments();
    let arguments = Arguments::from_iter(words);
    if !inner && !arguments.list {
        return match lab::enter(lab::inner_arguments(verify::SUITE)) {
            Ok(status) => status.into(),
            Err(error) => {
                eprintln!("error: {error}\nhint: {}", error.hint().unwrap_or("none"));
                ExitCode::FAILURE
            }
        };
    }
    let lab: Arc<OnceLock<Result<Lab, String>>> = Arc::default();
    if inner {
        // While there is one thread; the trials have threads of their own.
        let _ = lab.set(lab::build(&LabOptions::default()).map_err(|error| error.to_string()));
    }
    let trial = |(name, check): &(&str, Check)| {
        let (lab, check) = (Arc::clone(&lab), *check);
        Trial::test(name.replace(' ', "-").replace(['\'', ','], ""), move || match lab.get() {
            Some(Ok(lab)) => {
                let document = Document::builtin("default").ok_or("no built-in policy")?;
                let mut runner = Runner::new(lab, "default", &document.policy);
                runner.limit = Duration::from_secs(5);
                check(&runner).map_err(Failed::from)
            }
            Some(Err(why)) => Err(Failed::from(why)),
            None => Err("outside of a lab".into()),
        })
    };
    libtest_mimic::run(&arguments, CHECKS.iter().map(trial).collect()).exit_code()
}

fn probe() -> Probe {
    Probe::allows("engine/test", Medium)
}

/// Runs the probes one after the other without a sandbox. While one that is serial runs, nothing else does in the lab: to it every
/// new process is one that it has left behind.
fn run(runner: &Runner<'_>, probes: &[Probe]) -> Result<Vec<Outcome>, String> {
    static LAB: RwLock<()> = RwLock::new(());
    let alone =
        probes.iter().any(|probe| probe.serial).then(|| LAB.write().unwrap_or_else(PoisonError::into_inner));
    let _together = alone.is_none().then(|| LAB.read().unwrap_or_else(PoisonError::into_inner));
    let one = |place: &mut Place<'_>, probe: &Probe| runner.inside(place, &NoSandbox, probe);
    let outcomes = runner.each(probes, |_| true, one).map_err(|error| error.to_string())?;
    outcomes.into_iter().collect::<Result<_, _>>().map_err(|why| why.to_string())
}

fn observe(runner: &Runner<'_>, probe: Probe) -> Result<Observation, String> {
    let outcome = run(runner, &[probe])?.pop().ok_or("no outcome")?;
    Ok(outcome.observation)
}

fn equal<T: PartialEq + std::fmt::Debug>(seen: T, expected: T) -> Result<(), String> {
    if seen == expected { Ok(()) } else { Err(format!("saw {seen:?}\nnot {expected:?}")) }
}

fn exited(code: i32, stdout: &str) -> Result<Seen, Unseen> {
    Ok(Seen::Exited { code, stdout: stdout.as_bytes().to_vec() })
}

fn command_is_seen(runner: &Runner<'_>) -> Result<(), String> {
    let seen = observe(runner, probe().command(["/bin/sh", "-c", "echo out; echo err >&2; exit 7"]))?;
    equal(seen.attempt, exited(7, "out\n"))?;
    equal(seen.stderr, "err".to_owned())
}

fn missing_command(runner: &Runner<'_>) -> Result<(), String> {
    match observe(runner, probe().command(["/nonexistent"]))?.attempt {
        Err(Unseen::Harness(why)) if why.contains("No such file") => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

fn no_end(runner: &Runner<'_>) -> Result<(), String> {
    let seen = observe(runner, probe().command(["/bin/sleep", "1000"]))?;
    equal(seen.attempt, Err(Unseen::TimedOut))?;
    equal(seen.took < Duration::from_secs(15), true)
}

fn flood(runner: &Runner<'_>) -> Result<(), String> {
    let command = ["/bin/sh", "-c", "head -c 5000000 /dev/zero; exit 3"];
    match observe(runner, probe().command(command))?.attempt {
        Ok(Seen::Exited { code: 3, stdout }) => equal(stdout.len(), 1 << 20),
        other => Err(format!("{other:?}")),
    }
}

fn held_open(runner: &Runner<'_>) -> Result<(), String> {
    let seen = observe(runner, probe().command(["/bin/sh", "-c", "sleep 3 & echo done"]))?;
    equal(seen.attempt, exited(0, "done\n"))?;
    equal(seen.took < Duration::from_secs(2), true)
}

fn fresh_workspace(runner: &Runner<'_>) -> Result<(), String> {
    let writes = || {
        probe().script([
            control!("read_file", "allowed.txt"),
            attempt!("create_excl", "left-behind"),
            attempt!("write_file", "allowed.txt", "changed"),
        ])
    };
    let cases: Vec<Probe> = (0..3).map(|_| writes()).collect();
    for outcome in run(runner, &cases)? {
        equal(outcome.observation.attempt.map(|seen| seen.errno()), Ok(None))?;
        equal(outcome.observation.control, Ok(()))?;
    }
    Ok(())
}

fn planted(runner: &Runner<'_>) -> Result<(), String> {
    let probe = probe().plant("a/b.txt", "planted").script([attempt!("read_file", "a/b.txt")]);
    let seen = observe(runner, probe)?.attempt.map_err(|unseen| format!("{unseen:?}"))?;
    equal(seen.output(), Some(b"planted".as_slice()))
}

fn leaks(runner: &Runner<'_>) -> Result<(), String> {
    let world = runner.lab.world();
    let marker = &world.secret("outside-private").marker;
    let open = world.leaks.iter().find(|leak| leak.kind == LeakKind::SecretFile);
    let number = i64::from(open.ok_or("no secret leaks")?.fd);
    let leak = attempt!("sys", SYS_read, number, buffer(64), 64);
    let secret = attempt!("find_in_environ", world.env_secret("AWS_SECRET_ACCESS_KEY"));
    let seen = observe(runner, probe().script([leak]))?.attempt.map_err(|unseen| format!("{unseen:?}"))?;
    let data = String::from_utf8_lossy(seen.output().unwrap_or_default()).into_owned();
    equal(data.contains(marker.as_str()), true)?;
    let seen = observe(runner, probe().script([secret]))?.attempt.map_err(|unseen| format!("{unseen:?}"))?;
    equal(seen.errno(), None)
}

fn heard(runner: &Runner<'_>, probe: Probe) -> Result<Option<String>, String> {
    let outcome = run(runner, &[probe])?.pop().ok_or("no outcome")?;
    let report = outcome.canary.ok_or("no report of the canary")?;
    report.alive?;
    Ok(report.heard)
}

fn canary_file(runner: &Runner<'_>) -> Result<(), String> {
    let with = |statement| probe().script([statement]).canary(Canary::File("allowed.txt".into()));
    equal(heard(runner, with(attempt!("read_file", "allowed.txt")))?, None)?;
    equal(heard(runner, with(attempt!("append", "allowed.txt", NONCE)))?.is_some(), true)?;
    equal(heard(runner, with(attempt!("unlink", "allowed.txt")))?.is_some(), true)
}

fn canary_missing(runner: &Runner<'_>) -> Result<(), String> {
    let with = |path: &str| {
        probe().script([attempt!("create_excl", path)]).canary(Canary::Missing("nested/new".into()))
    };
    equal(heard(runner, with("other"))?, None)?;
    equal(heard(runner, with("nested/new"))?.is_some(), true)
}

fn canary_listener(runner: &Runner<'_>) -> Result<(), String> {
    let address = [203, 0, 113, 10];
    let with = |statement| probe().script([statement]).canary(Canary::tcp(address, 80));
    let other = with(attempt!("tcp", "203.0.113.10", 80, "not the nonce", 2000));
    equal(heard(runner, other)?, None)?;
    let own = with(attempt!("tcp", "203.0.113.10", 80, NONCE, 2000));
    equal(heard(runner, own)?.is_some(), true)
}

fn canary_process(runner: &Runner<'_>) -> Result<(), String> {
    let with = |pid| probe().script([attempt!("sys", SYS_getpid)]).canary(Canary::Process(pid));
    equal(heard(runner, with(std::process::id()))?, None)?;
    // A pid that the kernel will not have given out here.
    equal(heard(runner, with(4_000_000))?.is_some(), true)
}

fn survivors(runner: &Runner<'_>) -> Result<(), String> {
    let sleeps = || probe().script([attempt!("sleep_ms", 5_000)]);
    let left = observe(runner, sleeps().interfere(0, Action::KillRuntime))?;
    equal(left.attempt, Ok(Seen::Survivors(1)))?;
    // The one that was counted was killed: with a nonce of its own the next case begins from none.
    let left = observe(runner, sleeps().interfere(0, Action::KillRuntime))?;
    equal(left.attempt, Ok(Seen::Survivors(1)))
}

fn outlived(runner: &Runner<'_>) -> Result<(), String> {
    let daemon = || probe().script([attempt!("double_fork_setsid", "late", 20, "keep")]);
    let left = observe(runner, daemon().interfere(0, Action::LetEnd))?;
    equal(left.attempt, Ok(Seen::Survivors(1)))?;
    let nobody = probe().script([attempt!("sys", SYS_getpid)]).interfere(0, Action::LetEnd);
    equal(observe(runner, nobody)?.attempt, Ok(Seen::Survivors(0)))
}

fn early(runner: &Runner<'_>) -> Result<(), String> {
    let early = |script: Vec<_>| {
        let last = script.len() - 1;
        probe().script(script).interfere(last, Action::KillEarly(6)).serial()
    };
    let daemon = attempt!("double_fork_setsid", "/tmp/palisade-early", 4);
    let left = observe(runner, early(vec![daemon, attempt!("sleep_ms", 5_000)]))?;
    // The first round ends at once, the last one well after the orphan was made.
    match left.attempt {
        Ok(Seen::Survivors(1..)) => {}
        other => return Err(format!("{other:?}")),
    }
    equal(observe(runner, early(vec![attempt!("sleep_ms", 0)]))?.attempt, Ok(Seen::Survivors(0)))
}

fn beside(runner: &Runner<'_>) -> Result<(), String> {
    let finds = || attempt!("find_pid_by_cmdline", "palisade-engine-beside");
    let waits = || attempt!("sleep_ms", 5_000);
    let with = probe().beside([setup!("env_has", "palisade-engine-beside"), waits()]).script([finds()]);
    match observe(runner, with)?.attempt {
        Ok(Seen::Returned { ret: 1.., errno: 0, .. }) => {}
        other => return Err(format!("{other:?}")),
    }
    equal(
        observe(runner, probe().script([finds()]))?.attempt.map(|seen| Returns(0).contains(&seen)),
        Ok(true),
    )
}

fn beside_fails(runner: &Runner<'_>) -> Result<(), String> {
    let other = |script: [_; 2]| probe().beside(script).script([attempt!("sleep_ms", 300)]);
    let fails = other([setup!("open", "/nonexistent", O_RDONLY), attempt!("sleep_ms", 5_000)]);
    let ends = other([setup!("sys", SYS_getpid), attempt!("sleep_ms", 0)]);
    // Where its set-up fails, the runtime has no means for the probe, as where the probe's own fails.
    let seen = observe(runner, fails)?;
    match (&seen.setup, &seen.attempt) {
        (Err(why), Err(Unseen::NotAttempted(_))) if why.contains("the other sandbox") => {}
        _ => return Err(format!("{seen:?}")),
    }
    match observe(runner, ends)?.attempt {
        Err(Unseen::Harness(why)) if why.contains("the other sandbox") => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

fn files(runner: &Runner<'_>) -> Result<(), String> {
    use palisade_conformance::catalogue::Stream;
    let with = |stream, path: &str, flags| {
        let script = [attempt!("open", path, flags), attempt!("sys", SYS_write, result(0), bytes("x"), 1)];
        probe().script(script).on_files().canary(Canary::Stream(stream))
    };
    equal(heard(runner, with(Stream::Output, "/dev/null", O_WRONLY))?, None)?;
    equal(heard(runner, with(Stream::Input, "/proc/self/fd/0", O_WRONLY))?.is_some(), true)?;
    equal(heard(runner, with(Stream::Errors, "/proc/self/fd/2", O_WRONLY))?.is_some(), true)?;
    let command = probe().command(["/bin/sh", "-c", "read line; echo got $line; echo err >&2"]).on_files();
    let seen = observe(runner, command)?;
    equal(seen.stderr, "err".to_owned())?;
    match seen.attempt {
        Ok(Seen::Exited { code: 0, stdout }) => equal(stdout.starts_with(b"got before-"), true),
        other => Err(format!("{other:?}")),
    }
}

fn mount_meanwhile(runner: &Runner<'_>) -> Result<(), String> {
    let reads =
        || probe().script([setup!("sleep_ms", 500), attempt!("find_in_file", "mountpoint/planted", NONCE)]);
    let seen = observe(runner, reads().interfere(0, Action::PlantMount).canary(Canary::Mounts))?;
    if seen.attempt.is_err() {
        return Err(format!("{seen:?}"));
    }
    equal(seen.attempt.map(|seen| seen.errno()), Ok(None))?;
    equal(observe(runner, reads())?.attempt.map(|seen| seen.errno()), Ok(Some(ENOENT)))
}

fn left_over(runner: &Runner<'_>) -> Result<(), String> {
    let with = |statement, canary| probe().script([statement]).canary(canary);
    equal(heard(runner, with(attempt!("sys", SYS_getpid), Canary::Mounts))?, None)?;
    equal(heard(runner, with(attempt!("create_excl", "new"), Canary::Names(".".into())))?.is_some(), true)?;
    if runner.lab.world().rootless {
        // An ordinary user cannot mount, so nothing can be left over.
        return Ok(());
    }
    let mount = attempt!("sys", SYS_mount, "x", "mountpoint", "tmpfs", 0, NULL);
    equal(heard(runner, with(mount, Canary::Mounts))?.is_some(), true)
}

fn signal(runner: &Runner<'_>) -> Result<(), String> {
    let probe = probe().script([attempt!("sleep_ms", 5_000)]);
    let seen = observe(runner, probe.interfere(0, Action::Signal(nix::sys::signal::Signal::SIGTERM)))?;
    equal(seen.attempt, Ok(Seen::Signalled(15)))
}

fn terminal(runner: &Runner<'_>) -> Result<(), String> {
    let command = || probe().command(["/bin/sh", "-c", "test -t 0 && : </dev/tty && echo tty"]);
    equal(observe(runner, command().on_terminal())?.attempt, exited(0, "tty\r\n"))?;
    match observe(runner, command())?.attempt {
        Ok(Seen::Exited { code: 1 | 2, .. }) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

fn same_order(runner: &Runner<'_>) -> Result<(), String> {
    let cases: Vec<Probe> = (0..24)
        .map(|n| probe().command(["/bin/sh".to_owned(), "-c".to_owned(), format!("echo {n}")]))
        .collect();
    let one = |place: &mut Place<'_>, probe: &Probe| {
        runner.inside(place, &NoSandbox, probe).map(|outcome| outcome.observation.attempt)
    };
    let serial = runner.each(&cases, |_| true, one).map_err(|error| error.to_string())?;
    let parallel = runner.each(&cases, |_| false, one).map_err(|error| error.to_string())?;
    for (n, seen) in serial.iter().enumerate() {
        equal(seen.clone(), Ok(exited(0, &format!("{n}\n"))))?;
    }
    equal(serial, parallel)
}

fn slow(runner: &Runner<'_>) -> Result<(), String> {
    let seen = observe(runner, probe().script([attempt!("sleep_ms", 700)]))?;
    match seen.attempt {
        Ok(Seen::Returned { took, .. }) => equal(took >= Duration::from_millis(600), true),
        other => Err(format!("{other:?}")),
    }
}

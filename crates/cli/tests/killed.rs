//! A supervisor that is killed before each of its system calls, from the reading of the policy to the end: whatever stood by
//! then, nothing is left. Seen and done from outside, by strace.

#[path = "../../sandbox/tests/support/apart.rs"]
mod apart;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use apart::{apart, everything, nothing_is_left};

/// Namespaces of a kind that may exist at a time. The kernel takes its time to free those of a dead process.
const NAMESPACES: u32 = 50;

/// Rules of every kind, and limits by control groups where there are any.
const POLICY: &str = "
on_unavailable: degrade
filesystem:
  read_write: [., vendor/patches]
  read_only: [vendor]
  hidden: [.env, late.txt, late/deep/secret]
resources:
  open_files: 100
  wall_time: 60s
  memory: 1GiB
  cpu_time: 60s
";

/// A supervisor under strace with these flags, in `place`.
fn supervisor(place: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command
        .args(flags)
        .args([env!("CARGO_BIN_EXE_palisade"), "run", "--name", "killed", "--policy", "policy.yaml", "--"])
        .args(["sh", "-c", "echo > marker; exit 9"])
        .current_dir(place.join("work"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[test]
fn a_supervisor_killed_before_any_of_its_calls_leaves_nothing() {
    if !support::strace() {
        eprintln!("skipped: strace is not installed");
        return;
    }
    apart("a_supervisor_killed_before_any_of_its_calls_leaves_nothing", NAMESPACES, |place| {
        let work = place.join("work");
        fs::create_dir_all(work.join("vendor/patches")).expect("made");
        fs::write(work.join(".env"), "secret").expect("written");
        fs::write(work.join("policy.yaml"), POLICY).expect("written");
        let all = calls(place);
        // Every tenth of the calls that come many times, unless all are asked for; whatever comes once is always one.
        let every = std::env::var("PALISADE_KILL_EVERY").map_or(10, |text| text.parse().expect("a number"));
        let calls: Vec<_> = all.into_iter().filter(|(_, number)| (number - 1) % every == 0).collect();
        let before = everything(place);
        let (mut killed, mut ran) = (0, 0);
        for (call, number) in &calls {
            let inject = format!("inject={call}:signal=SIGKILL:when={number}");
            let what = format!("a supervisor killed before {call} number {number}");
            let status =
                supervisor(place, &["-o", "/dev/null", "-e", &inject]).status().expect("strace starts");
            killed += usize::from(status.signal() == Some(9));
            apart::reap_all();
            ran += usize::from(fs::remove_file(work.join("marker")).is_ok());
            nothing_is_left(place, &before, &what);
        }
        println!(
            "killed before {killed} of {} system calls, {ran} times with the workload running",
            calls.len()
        );
        // How often it waits is not always the same; and it is killed before and after there is a workload.
        assert!(killed * 10 >= calls.len() * 9, "only {killed} of {}", calls.len());
        assert!(ran > 0 && ran < killed, "the workload ran {ran} of {killed} times");
        assert!(calls.iter().any(|(call, _)| call == "clone3"), "{calls:?}");
    });
}

/// The calls that a supervisor makes from the reading of its policy on, each with its number among those of its name.
fn calls(place: &Path) -> Vec<(String, usize)> {
    let trace = place.join("trace");
    let status = supervisor(place, &["-o", trace.to_str().expect("UTF-8")]).status().expect("strace starts");
    assert_eq!(status.code(), Some(9), "without a kill it runs to its end");
    let text = fs::read_to_string(&trace).expect("a trace");
    fs::remove_file(trace).expect("removed");
    fs::remove_file(place.join("work/marker")).expect("the workload ran");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut begun = false;
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((name, _)) = line.split_once('(') else { continue };
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let count = counts.entry(name).or_default();
        *count += 1;
        begun |= line.contains("policy.yaml\"") && name.starts_with("open");
        if begun {
            calls.push((name.to_owned(), *count));
        }
    }
    assert!(calls.len() > 50, "a short trace:\n{text}");
    calls
}

//! Output that passes through the supervisor: budget, capture, events.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{output, palisade, status, stderr};
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// Runs `script` with `output: 1KiB`, and reads the report.
fn limited(directory: &Path, flags: &[&str], script: &str) -> (Output, Value) {
    fs::write(directory.join("policy.yaml"), "resources: {output: 1KiB}\n").expect("written");
    let mut command = palisade(directory);
    command.args(["run", "--policy", "policy.yaml", "--report", "report.json"]).args(flags);
    let output = output(command.args(["--", "sh", "-c", script]).stdin(Stdio::null()));
    let report = fs::read_to_string(directory.join("report.json")).expect("a report");
    (output, serde_json::from_str(&report).expect("JSON"))
}

fn hits(report: &Value) -> Vec<&str> {
    let hits = report["limits_hit"].as_array().expect("a list");
    hits.iter().filter_map(|hit| hit["clause"].as_str()).collect()
}

#[test]
fn an_exact_fit_passes_and_one_byte_more_is_dropped_and_told() {
    let directory = directory();
    let script = |bytes| format!("head -c {bytes} /dev/zero | tr '\\0' x; exit 3");
    let (fits, report) = limited(directory.path(), &[], &script(1024));
    assert_eq!((fits.stdout.len(), status(&fits)), (1024, 3));
    assert!(hits(&report).is_empty(), "{report}");
    assert_eq!(report["output"]["stdout"]["truncated"], false);

    let (more, report) = limited(directory.path(), &[], &script(1025));
    assert_eq!((more.stdout.len(), status(&more)), (1024, 3), "the program runs on to its own end");
    assert_eq!(hits(&report), ["resources.output"]);
    assert_eq!(report["output"]["stdout"]["truncated"], true);
    assert_eq!(report["output"]["stdout"]["bytes"], 1025);
    assert_eq!(report["output"]["stderr"]["truncated"], false);
    assert!(stderr(&more).contains("limits hit: resources.output"), "{}", stderr(&more));
}

#[test]
fn a_flood_on_both_streams_is_contained() {
    let directory = directory();
    let script = "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2";
    let (flooded, report) = limited(directory.path(), &[], script);
    assert_eq!(status(&flooded), 0);
    assert!(flooded.stdout.len() == 1024, "{}", flooded.stdout.len());
    assert_eq!(report["output"]["stderr"]["truncated"], true);
    assert_eq!(report["output"]["stderr"]["bytes"], 3_000_000);
}

#[test]
fn what_is_captured_is_in_the_report_whatever_bytes_it_has() {
    let directory = directory();
    let (_, report) = limited(directory.path(), &["--capture"], "echo grün; printf '\\377\\000' >&2");
    assert_eq!(report["output"]["stdout"]["text"], "grün\n");
    assert_eq!(report["output"]["stderr"]["base64"], "/wA=");
    // The report is the supervisor's: whatever the workload prints is a string in it.
    let (_, report) = limited(directory.path(), &["--capture"], "echo '\"}, \"exit_code\": 0'; exit 9");
    assert_eq!(report["exit_code"], 9);
}

#[test]
fn events_are_told_as_they_happen() {
    let directory = directory();
    fs::write(directory.path().join("policy.yaml"), "resources: {output: 10B}\n").expect("written");
    let palisade = env!("CARGO_BIN_EXE_palisade");
    let line =
        format!("{palisade} run --policy policy.yaml --json-events 7 -- sh -c 'seq 100; exit 6' 7> events");
    let run = output(Command::new("sh").args(["-c", &line]).current_dir(directory.path()));
    assert_eq!(status(&run), 6, "{}", stderr(&run));
    let events = fs::read_to_string(directory.path().join("events")).expect("written");
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let names: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(names, ["started", "limit_hit", "ended"]);
    assert_eq!(events[2]["exit_code"], 6);
    assert!(events[0]["pid"].as_i64().is_some_and(|pid| pid > 0));

    let closed = output(palisade_with(directory.path(), &["--json-events", "9"]).stdin(Stdio::null()));
    assert_eq!(status(&closed), 125);
    assert!(stderr(&closed).contains("--json-events 9"), "{}", stderr(&closed));
}

fn palisade_with(directory: &Path, flags: &[&str]) -> Command {
    let mut command = palisade(directory);
    command.arg("run").args(flags).args(["--", "true"]);
    command
}

#[test]
fn refused_system_calls_are_listed_and_refused_all_the_same() {
    let directory = directory();
    let script = "import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for _ in range(3):
    print(libc.ptrace(0, 0, 0, 0), os.strerror(ctypes.get_errno()))
print(libc.unshare(0x10000000), os.strerror(ctypes.get_errno()))";
    let script = format!("python3 - <<'END'\n{script}\nEND");
    let (run, report) = limited(directory.path(), &["--capture"], &script);
    assert_eq!(status(&run), 0, "{}", stderr(&run));
    let text = "-1 Operation not permitted\n".repeat(4);
    assert_eq!(report["output"]["stdout"]["text"], text.as_str());
    let calls = &report["denials"]["system_calls"];
    assert_eq!((&calls["ptrace"], &calls["unshare"]), (&Value::from(3), &Value::from(1)), "{report}");
    assert!(calls["read"].is_null(), "what is allowed is not listed: {calls}");
    assert!(report["denials"]["unseen"].as_array().is_some_and(|kinds| !kinds.is_empty()));
}

/// A reader that stops reading does not keep the wall-time limit from acting.
#[test]
fn a_reader_that_does_not_read_does_not_stop_the_clock() {
    let directory = directory();
    let policy = "resources: {output: 5MiB, wall_time: 1s}\n";
    fs::write(directory.path().join("policy.yaml"), policy).expect("written");
    let mut command = palisade(directory.path());
    command.args(["run", "--policy", "policy.yaml", "--report", "report.json", "--", "sh", "-c", "yes"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started");
    // Nothing is read until the workload is gone; then the rest comes, and the end.
    let report = directory.path().join("report.json");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let mut rest = Vec::new();
    use std::io::Read as _;
    child.stdout.take().expect("piped").read_to_end(&mut rest).expect("read");
    assert_eq!(child.wait().expect("ended").code(), Some(124));
    let report: Value = serde_json::from_str(&fs::read_to_string(report).expect("a report")).expect("JSON");
    assert_eq!(report["ending"], "wall_time");
    assert_eq!(hits(&report), ["resources.wall_time"]);
}

/// What the supervisor reads only after the program's end counts against the budget as well.
#[test]
fn output_that_is_read_after_the_end_is_told_too() {
    let directory = directory();
    let policy = "filesystem: {read_write: [.]}\nresources: {output: 10B}\n";
    fs::write(directory.path().join("policy.yaml"), policy).expect("written");
    let flag = directory.path().join("flag");
    let script = "touch flag; while [ -e flag ]; do sleep 0.01; done; seq 100; exit 6";
    let mut command = palisade(directory.path());
    command.args(["run", "--policy", "policy.yaml", "--report", "report.json", "--", "sh", "-c", script]);
    let mut supervisor = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
    let until = |condition: &dyn Fn() -> bool| {
        while !condition() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    until(&|| flag.exists());
    let pid = Pid::from_child(&supervisor);
    kill_process(pid, Signal::STOP).expect("stopped");
    fs::remove_file(&flag).expect("removed");
    let number = pid.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{number}/task/{number}/children")).expect("read");
    let first = children.split_whitespace().next().expect("the first process").to_owned();
    until(&|| fs::read_to_string(format!("/proc/{first}/stat")).is_ok_and(|stat| stat.contains(") Z ")));
    kill_process(pid, Signal::CONT).expect("continued");
    assert_eq!(supervisor.wait().expect("ended").code(), Some(6));
    let report = fs::read_to_string(directory.path().join("report.json")).expect("a report");
    assert_eq!(hits(&serde_json::from_str(&report).expect("JSON")), ["resources.output"]);
}

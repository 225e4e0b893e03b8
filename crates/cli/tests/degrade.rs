//! Abilities of this host really taken away, by namespaces, mounts and filters around `palisade`: what is lost is told in
//! the report and on standard error, and where the policy says so nothing runs.

mod support;

use std::fs;
use std::path::Path;
use std::process::Output;

use palisade_sys::seccomp::{set_mode_filter, set_mode_filter_with_listener};
use rstest::rstest;
use support::{less, output, palisade, status, stderr, stdout};
use tempfile::TempDir;

/// Asks for limits that need control groups.
fn policy(mode: &str) -> String {
    format!(
        "on_unavailable: {mode}\nfilesystem: {{read_write: [.]}}\nresources: {{memory: 64MiB, cpus: 0.5}}\n"
    )
}

/// A workspace with a policy of each mode.
fn workspace() -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for mode in ["refuse", "degrade"] {
        fs::write(directory.path().join(format!("{mode}.yaml")), policy(mode)).expect("written");
    }
    fs::write(directory.path().join("plain.yaml"), "filesystem: {read_write: [.]}\n").expect("written");
    directory
}

/// Runs `palisade run` on `policy` after `script` in namespaces of its own, with the privilege to take something away.
fn after(script: &str, directory: &Path, policy: &str) -> Output {
    let words =
        ["run", "--report", "report.json", "--policy", policy, "--", "sh", "-c", "echo ran; echo > marker"];
    output(less::after(script).args(words).current_dir(directory))
}

fn report(directory: &Path) -> serde_json::Value {
    let text = fs::read_to_string(directory.join("report.json")).expect("a report");
    serde_json::from_str(&text).expect("JSON")
}

/// The report's entry for a clause.
fn covered(directory: &Path, clause: &str) -> serde_json::Value {
    let report = report(directory);
    let coverage = report["coverage"].as_array().expect("coverage");
    let found = coverage.iter().find(|coverage| coverage["clause"] == clause);
    found.unwrap_or_else(|| panic!("{clause} is not in {report}")).clone()
}

fn nothing_ran(directory: &Path, output: &Output) {
    assert_eq!((stdout(output).as_str(), status(output)), ("", 125), "{}", stderr(output));
    assert!(!directory.join("marker").exists(), "the workload left a mark");
}

#[test]
fn without_control_groups_each_limit_that_is_lost_is_told() {
    let directory = workspace();
    let hide = "mount -t tmpfs none /sys/fs/cgroup";
    let refused = after(hide, directory.path(), "refuse.yaml");
    nothing_ran(directory.path(), &refused);
    for (clause, line) in [("resources.memory", 3), ("resources.cpus", 3)] {
        let told = stderr(&refused);
        assert!(told.contains(&format!("refuse.yaml:{line}:")) && told.contains(clause), "{told}");
    }

    let degraded = after(hide, directory.path(), "degrade.yaml");
    assert_eq!((stdout(&degraded).as_str(), status(&degraded)), ("ran\n", 0), "{}", stderr(&degraded));
    for clause in ["resources.memory", "resources.cpus"] {
        assert!(stderr(&degraded).contains(&format!("{clause} (")), "{}", stderr(&degraded));
        let reason = covered(directory.path(), clause)["status"]["downgraded"].as_str().map(str::to_owned);
        assert!(reason.is_some_and(|reason| !reason.is_empty()), "{clause}");
    }
    // What is not lost is not told as lost.
    assert!(!stderr(&degraded).contains("resources.processes"), "{}", stderr(&degraded));
    assert_eq!(covered(directory.path(), "resources.processes")["status"], "enforced");
}

/// Without namespaces there is no sandbox, whatever the policy says.
#[rstest]
#[case::user("max_user_namespaces", "clone3")]
#[case::network("max_net_namespaces", "make the network namespace")]
fn without_namespaces_nothing_runs(#[case] limit: &str, #[case] call: &str) {
    let directory = workspace();
    let inner = |policy: &str| {
        let run = less::after_in_user_namespace(&format!("echo 0 > /proc/sys/user/{limit}"));
        let words = ["run", "--policy", policy, "--", "sh", "-c", "echo ran; echo > marker"];
        run.output(|command| command.args(words).current_dir(directory.path()))
    };
    fs::write(directory.path().join("look.yaml"), "on_unavailable: degrade\n").expect("written");
    for policy in ["default", "look.yaml"] {
        let told = inner(policy);
        nothing_ran(directory.path(), &told);
        assert!(stderr(&told).contains("ENOSPC"), "{}", stderr(&told));
        assert!(stderr(&told).contains(call), "{}", stderr(&told));
        assert!(stderr(&told).contains("hint: "), "{}", stderr(&told));
    }
}

/// Runs `palisade run` from a thread that has done `first`, whose filters it inherits.
fn under(first: impl FnOnce() + Send, directory: &Path, policy: &str) -> Output {
    let words = ["run", "--report", "report.json", "--policy", policy, "--", "sh", "-c", "echo ran"];
    less::under(first, palisade(directory).args(words))
}

#[test]
fn without_landlock_the_second_layer_is_told_to_be_absent() {
    let directory = workspace();
    let no_landlock = || {
        set_mode_filter(&less::filter(less::LANDLOCK_CREATE_RULESET, less::NO_SUCH_CALL)).expect("installed")
    };
    let run = under(no_landlock, directory.path(), "plain.yaml");
    assert_eq!((stdout(&run).as_str(), status(&run)), ("ran\n", 0), "{}", stderr(&run));
    let absent = |base: &serde_json::Value| {
        let notes = base["notes"].as_array().cloned().unwrap_or_default();
        notes.iter().any(|note| note.as_str().is_some_and(|note| note.contains("second layer is absent")))
    };
    assert!(absent(&covered(directory.path(), "filesystem.base")));

    // The control: with Landlock it is not.
    let run = under(|| {}, directory.path(), "plain.yaml");
    assert_eq!(status(&run), 0, "{}", stderr(&run));
    let has_landlock = palisade_sys::landlock::abi().is_ok_and(|abi| abi > 0);
    assert_eq!(absent(&covered(directory.path(), "filesystem.base")), !has_landlock);
}

/// As on Linux 5.10, which `scripts/kernels` really boots: trees cannot be made read-only at once, so nothing runs.
#[test]
fn without_mount_attributes_nothing_runs() {
    let directory = workspace();
    let old = || set_mode_filter(&less::filter(less::MOUNT_SETATTR, less::NO_SUCH_CALL)).expect("installed");
    let run = under(old, directory.path(), "default");
    nothing_ran(directory.path(), &run);
    let told = stderr(&run);
    assert!(told.contains("mount_setattr: ENOSYS") && told.contains("older than Linux 5.12"), "{told}");

    // The control.
    let run = under(|| {}, directory.path(), "default");
    assert_eq!((stdout(&run).as_str(), status(&run)), ("ran\n", 0), "{}", stderr(&run));
}

/// The kernel allows one filter with a listener for each process: where somebody has put one around `palisade`, what is
/// refused cannot be heard of, and that is told; the run is none the worse.
#[test]
fn under_a_filter_with_a_listener_of_its_own_it_runs() {
    let directory = workspace();
    let mut listener = None;
    let watched = || {
        // Asks about a call that nobody makes: SECCOMP_RET_USER_NOTIF.
        let program = less::filter(0xffff_fff0, 0x7fc0_0000);
        listener = Some(set_mode_filter_with_listener(&program).expect("installed"));
    };
    let unheard = || {
        let denials = &report(directory.path())["denials"];
        let unseen = denials["unseen"].as_array().expect("a list").iter().filter_map(|kind| kind.as_str());
        (denials["system_calls"].is_null(), unseen.filter(|kind| kind.contains("nobody listened")).count())
    };
    let run = under(watched, directory.path(), "plain.yaml");
    assert_eq!((stdout(&run).as_str(), status(&run)), ("ran\n", 0), "{}", stderr(&run));
    assert_eq!(unheard(), (true, 1));
    // The control.
    let run = under(|| {}, directory.path(), "plain.yaml");
    assert_eq!(status(&run), 0, "{}", stderr(&run));
    assert_eq!(unheard(), (false, 0));
}

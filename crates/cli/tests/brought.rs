//! A runtime that a user brings along: the walk-through is true as it is written, and mistakes are told before anything runs.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{output, palisade, status, stderr, stdout};

/// What stands between the outputs of two commands.
const MARK: char = '\u{1}';

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/runtimes")
}

/// A copy of the shipped files, as in the root of a clone, so that whoever runs this can read it and write beside it.
fn clone() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let copied = directory.path().join("fixtures/runtimes");
    fs::create_dir_all(&copied).expect("made");
    for entry in fs::read_dir(shipped()).expect("the examples") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, copied.join(path.file_name().expect("a name"))).expect("copied");
    }
    directory
}

/// The commands of a page with the lines that it shows after each.
fn commands(page: &str) -> Vec<(&str, Vec<&str>)> {
    let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("    ")) {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command, Vec::new())),
            (None, Some((_, shown))) => shown.push(line),
            (None, None) => panic!("no command before {line:?}"),
        }
    }
    commands
}

/// Each command, one after the other in one shell, prints the lines that the page shows, in this order.
#[test]
fn the_walk_through_is_true() {
    let directory = clone();
    let bin = directory.path().join("bin");
    fs::create_dir(&bin).expect("made");
    symlink(env!("CARGO_BIN_EXE_palisade"), bin.join("palisade")).expect("linked");
    let page = fs::read_to_string(shipped().join("README.md")).expect("the page");
    let commands = commands(&page);
    assert!(commands.len() >= 12, "{commands:?}");
    // The mark is printed where `$?` of the command before is not lost.
    let mark = format!("{{ set -- $?; printf '{MARK}\\n'; (exit $1); }}");
    let script: Vec<String> = commands.iter().map(|(command, _)| format!("{command}\n{mark}")).collect();
    let path = std::env::var("PATH").expect("a PATH");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script.join("\n")]).current_dir(directory.path()).stdin(Stdio::null());
    shell.env("PATH", format!("{}:{path}", bin.display()));
    let output = output(&mut shell);
    let printed = stdout(&output);
    let outputs: Vec<&str> = printed.split(&format!("{MARK}\n")).collect();
    assert_eq!(outputs.len(), commands.len() + 1, "{printed} {}", stderr(&output));
    for ((command, shown), printed) in commands.iter().zip(outputs) {
        let mut lines = printed.lines();
        for shown in shown {
            let found = lines.any(|line| line.starts_with(shown));
            assert!(found, "{command}: {shown:?} is not in {printed} {}", stderr(&output));
        }
    }
}

/// A longer file: values of the policy, paths, the time.
#[test]
fn a_command_with_values_of_the_policy() {
    let directory = clone();
    let mut command = palisade(&directory.path().join("fixtures/runtimes"));
    command.args(["verify", "--runtime", "./bubblewrap.yaml", "--format", "json"]);
    let output = output(command.args(["--only", "posture/namespace/*"]));
    assert_eq!(status(&output), 0, "{} {}", stderr(&output), stdout(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["subject"]["runtime"], "bubblewrap-by-hand");
    assert_eq!(report["subject"]["runtime_file"], "./bubblewrap.yaml");
    assert!(
        report["subject"]["runtime_version"].as_str().is_some_and(|said| said.starts_with("bubblewrap ")),
        "{}",
        report["subject"]
    );
}

#[test]
fn the_time_is_kept_by_what_the_file_names() {
    let directory = clone();
    let mut command = palisade(&directory.path().join("fixtures/runtimes"));
    command.args(["verify", "--runtime", "bubblewrap.yaml", "--only", "life/time/*", "--format", "json"]);
    let output = output(&mut command);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let probes = report["probes"].as_array().expect("a list");
    assert!(
        !probes.is_empty() && probes.iter().any(|probe| probe["verdict"] == "held"),
        "{} {}",
        stderr(&output),
        stdout(&output)
    );
}

#[test]
fn mistakes_are_told_with_their_place() {
    let directory = clone();
    let runtimes = directory.path().join("fixtures/runtimes");
    let text = fs::read_to_string(runtimes.join("wrapper.yaml")).expect("the file");
    fs::write(runtimes.join("wrong.yaml"), text.replace("{command...}", "{comand...}")).expect("written");
    let wrong = output(palisade(&runtimes).args(["verify", "--runtime", "wrong.yaml"]));
    assert_eq!(status(&wrong), 2);
    let said = stderr(&wrong);
    assert!(said.contains("wrong.yaml:6:29: nothing has the name {comand...}"), "{said}");
    assert!(said.contains("hint: did you mean {command...}?"), "{said}");
    let missing = output(palisade(&runtimes).args(["verify", "--runtime", "missing.yaml"]));
    assert_eq!((status(&missing), stdout(&missing).as_str()), (2, ""), "{}", stderr(&missing));
    let unknown = output(palisade(&runtimes).args(["verify", "--runtime", "wraper"]));
    assert_eq!(status(&unknown), 2);
    assert!(stderr(&unknown).contains("FILE.yaml"), "{}", stderr(&unknown));
}

/// What is not there is said, and is no verdict.
#[test]
fn one_that_is_not_there_is_not_probed() {
    let directory = clone();
    let runtimes = directory.path().join("fixtures/runtimes");
    let text = fs::read_to_string(runtimes.join("wrapper.yaml")).expect("the file");
    fs::write(runtimes.join("none.yaml"), text.replace("[unshare, --version]", "[/nonexistent/tool]"))
        .expect("written");
    let output = output(palisade(&runtimes).args([
        "verify",
        "--runtime",
        "none.yaml",
        "--only",
        "posture/capabilities",
    ]));
    assert_eq!(status(&output), 2, "{}", stdout(&output));
    assert!(stderr(&output).contains("/nonexistent/tool"), "{}", stderr(&output));
}

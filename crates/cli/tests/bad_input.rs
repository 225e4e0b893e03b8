//! Bad input: one clear message, the documented exit status, nothing run, nothing left behind.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rstest::rstest;
use support::{output, palisade, status, stderr, stdout};
use tempfile::TempDir;

/// Exit statuses as the documentation gives them.
const PALISADE: i32 = 125;
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// A marker that a workload would leave in its working directory if it ran.
const MARKER: &str = "ran";

fn run_with_policy(directory: &Path, policy: &str) -> std::process::Output {
    output(palisade(directory).args(["run", "--policy", policy, "--", "sh", "-c", "echo ran >&2"]))
}

#[rstest]
#[case::nothing(&["run"], PALISADE, "no command")]
#[case::nothing_after_the_dashes(&["run", "--"], PALISADE, "no command")]
#[case::empty_command(&["run", "--", ""], PALISADE, "no command")]
#[case::unknown_flag(&["run", "--frobnicate", "--", "true"], PALISADE, "--frobnicate")]
#[case::unknown_verb(&["frobnicate"], PALISADE, "frobnicate")]
#[case::unknown_verify_flag(&["verify", "--frobnicate"], 2, "--frobnicate")]
#[case::not_found(&["run", "--", "palisade-no-such-command"], NOT_FOUND, "palisade-no-such-command")]
#[case::path_not_found(&["run", "--", "/no/such/command"], NOT_FOUND, "/no/such/command")]
#[case::not_executable(&["run", "--", "/etc/passwd"], NOT_EXECUTABLE, "/etc/passwd")]
#[case::a_directory(&["run", "--", "/usr"], NOT_EXECUTABLE, "/usr")]
#[case::no_policy(&["run", "--policy", "no-such.yaml", "--", "true"], PALISADE, "no-such.yaml")]
#[case::policy_is_a_directory(&["run", "--policy", ".", "--", "true"], PALISADE, "directory")]
#[case::endless_policy(&["run", "--policy", "/dev/zero", "--", "true"], PALISADE, "longer than")]
#[case::no_plan(&["run", "--plan", "no-such.json", "--", "true"], PALISADE, "no-such.json")]
#[case::verify_no_policy(&["verify", "--policy", "no-such.yaml"], 2, "no-such.yaml")]
#[case::verify_nothing_selected(&["verify", "--only", "no/such/probe"], 3, "no/such/probe")]
#[case::shard_zero(&["verify", "--shard", "0/4"], 2, "0/4")]
#[case::shard_beyond(&["verify", "--list", "--shard", "5/4"], 2, "1 <= I <= N <= 256")]
#[case::shard_of_too_many(&["verify", "--shard", "1/257"], 2, "1 <= I <= N <= 256")]
#[case::shard_no_number(&["verify", "--shard", "half"], 2, "half")]
#[case::shard_of_mutants(&["verify", "--mutants", "--shard", "1/2"], 2, "--shard")]
#[case::shard_nothing_selected(&["verify", "--only", "no/such/probe", "--shard", "1/2"], 3, "no/such/probe")]
#[case::no_baseline(&["verify", "--against", "no-such.json"], 2, "no-such.json")]
#[case::baseline_is_a_directory(&["verify", "--against", "."], 2, "not a regular file")]
#[case::baseline_is_a_device(&["verify", "--against", "/dev/zero"], 2, "not a regular file")]
#[case::baseline_is_text(&["verify", "--against", "/etc/passwd"], 2, "not a report")]
#[case::baseline_of_several(&["verify", "--backend", "all", "--against", "x.json"], 2, "one backend")]
#[case::baseline_of_a_list(&["verify", "--list", "--against", "x.json"], 2, "--against")]
#[case::no_such_probe(&["probes", "show", "no/such/probe"], 2, "no/such/probe")]
#[case::no_probe_matches(&["probes", "list", "--only", "no/such/*"], 3, "no/such/*")]
#[case::probes_no_policy(&["probes", "list", "--policy", "no-such.yaml"], 2, "no-such.yaml")]
#[case::probes_unknown_flag(&["probes", "list", "--frobnicate"], 2, "--frobnicate")]
#[case::report_of_no_form(&["verify", "--out", "r.pdf"], 2, ".json")]
#[case::report_that_cannot_be(&["verify", "--out", "no/such/r.json"], 2, "no/such/r.json")]
#[case::report_of_a_list(&["verify", "--list", "--out", "r.json"], 2, "--out")]
#[case::report_of_several(&["verify", "--backend", "gateway,pasta", "--out", "r.json"], 2, "one backend")]
#[case::report_without_policy(&["verify", "--policy", "no-such.yaml", "--out", "r.json"], 2, "no-such.yaml")]
#[case::report_of_nothing(&["verify", "--only", "no/such/probe", "--out", "r.json"], 3, "no/such/probe")]
#[case::check_no_policy(&["policy", "check", "no-such.yaml"], 2, "no-such.yaml")]
fn bad_arguments_are_told(#[case] arguments: &[&str], #[case] code: i32, #[case] says: &str) {
    let directory = directory();
    let output = output(palisade(directory.path()).args(arguments));
    assert_eq!(status(&output), code, "{}", stderr(&output));
    assert!(stderr(&output).contains(says), "{:?} in {:?}", says, stderr(&output));
    assert_eq!(stdout(&output), "");
    assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 0, "something was left behind");
}

#[rstest]
#[case::typo_in_a_key("filesystm: {}\n", ":1:1", "filesystem")]
#[case::typo_in_an_enum("network:\n  mode: nome\n", ":2:9", "none")]
#[case::bad_unit("filesystem:\n  tmp: 12MX\n", ":2:8", "MiB")]
#[case::missing_path("filesystem:\n  read_only:\n    - no/such/path\n", ":3:7", "no/such/path")]
#[case::alias_bomb("a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: [*b,*b,*b,*b]\n", ":1:1", "unknown key")]
#[case::not_yaml("a: [", ":1:", "")]
#[case::no_such_backend("network: {mode: open, backend: veth}\n", ":1:", "network.backend")]
fn a_bad_policy_is_told_with_its_place(#[case] text: &str, #[case] place: &str, #[case] says: &str) {
    let directory = directory();
    let file = directory.path().join("policy.yaml");
    fs::write(&file, text).expect("written");
    let output = run_with_policy(directory.path(), "policy.yaml");
    assert_eq!(status(&output), PALISADE, "{}", stderr(&output));
    assert!(stderr(&output).contains(&format!("policy.yaml{place}")), "{}", stderr(&output));
    assert!(stderr(&output).contains(says), "{}", stderr(&output));
    assert!(!stderr(&output).lines().any(|line| line == MARKER), "the workload ran");
}

#[test]
fn an_unreadable_policy_is_told() {
    if rustix::process::geteuid().is_root() {
        // Root reads every file; the ordinary user's half of CI covers this.
        return;
    }
    let directory = directory();
    let file = directory.path().join("policy.yaml");
    fs::write(&file, "name: x\n").expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).expect("changed");
    let output = run_with_policy(directory.path(), "policy.yaml");
    assert_eq!(status(&output), PALISADE);
    assert!(stderr(&output).contains("ermission denied"), "{}", stderr(&output));
}

#[test]
fn a_policy_of_10_megabytes_is_refused() {
    let directory = directory();
    fs::write(directory.path().join("policy.yaml"), "# filler\n".repeat(10 << 17)).expect("written");
    let output = run_with_policy(directory.path(), "policy.yaml");
    assert_eq!(status(&output), PALISADE);
    assert!(stderr(&output).contains("longer than"), "{}", stderr(&output));
}

/// A flag that cannot act is an error: the plan has decided already.
#[test]
fn a_plan_takes_no_flags_that_narrow_a_policy() {
    let directory = directory();
    let plan = output(palisade(directory.path()).args(["plan", "--format", "json"]));
    fs::write(directory.path().join("plan.json"), &plan.stdout).expect("written");
    let run = |flags: &[&str]| {
        output(
            palisade(directory.path()).args(["run", "--plan", "plan.json"]).args(flags).args(["--", "true"]),
        )
    };
    assert_eq!(status(&run(&[])), 0);
    for flags in [["--wall-time", "1s"], ["--hide", "x"], ["--network", "none"]] {
        let refused = run(&flags);
        assert_eq!(status(&refused), 125, "{flags:?}");
        assert!(stderr(&refused).contains("--plan takes no flags that narrow"), "{}", stderr(&refused));
    }
}

#[test]
fn an_empty_policy_is_the_strictest() {
    let directory = directory();
    fs::write(directory.path().join("policy.yaml"), "").expect("written");
    let script = format!("pwd; ls {}; touch /x", directory.path().display());
    let output = output(palisade(directory.path()).args([
        "run",
        "--policy",
        "policy.yaml",
        "--",
        "sh",
        "-c",
        &script,
    ]));
    assert_eq!(stdout(&output), "/\n");
    assert_ne!(status(&output), 0);
    assert!(stderr(&output).contains("Read-only file system"), "{}", stderr(&output));
}

#[test]
fn a_rule_list_of_4096_entries_works() {
    let directory = directory();
    let mut text = "filesystem:\n  read_only:\n".to_owned();
    for index in 0..4096 {
        fs::create_dir(directory.path().join(index.to_string())).expect("made");
        text += &format!("    - '{index}'\n");
    }
    fs::write(directory.path().join("policy.yaml"), text).expect("written");
    let script = format!("ls {} | wc -l", directory.path().display());
    let output = output(palisade(directory.path()).args([
        "run",
        "--policy",
        "policy.yaml",
        "--",
        "sh",
        "-c",
        &script,
    ]));
    assert_eq!((stdout(&output).trim(), status(&output)), ("4096", 0), "{}", stderr(&output));
}

/// Runs `palisade run -- sh -c SCRIPT` under a shell that closes a descriptor first.
fn with_closed(descriptor: &str, script: &str) -> std::process::Output {
    let line = format!("exec \"$0\" run -- sh -c '{script}' {descriptor}");
    let directory = directory();
    let mut command = Command::new("sh");
    command
        .args(["-c", &line, env!("CARGO_BIN_EXE_palisade")])
        .current_dir(directory.path())
        .stdin(Stdio::null());
    output(&mut command)
}

#[test]
fn a_closed_standard_input_reads_as_empty() {
    let output = with_closed("<&-", "cat; echo end");
    assert_eq!((stdout(&output).as_str(), status(&output)), ("end\n", 0), "{}", stderr(&output));
}

#[test]
fn a_closed_standard_output_reaches_nothing_else() {
    // What takes the number of the closed descriptor must not be a file of the sandbox or of palisade.
    let output = with_closed(">&-", "echo lost; exit 7");
    assert_eq!((stdout(&output).as_str(), status(&output)), ("", 7), "{}", stderr(&output));
}

#[test]
fn a_reader_that_goes_away_ends_the_workload_by_sigpipe() {
    let directory = directory();
    let line = "{ \"$0\" run -- yes; echo $? >&2; } | head -c 4";
    let mut command = Command::new("sh");
    command.args(["-c", line, env!("CARGO_BIN_EXE_palisade")]).current_dir(directory.path());
    let output = output(&mut command);
    assert_eq!(stdout(&output), "y\ny\n");
    assert_eq!(stderr(&output).trim(), (128 + 13).to_string());
}

#[test]
fn a_deleted_current_directory_is_told() {
    let directory = directory();
    let line = "mkdir gone && cd gone && rmdir ../gone && exec \"$0\" run -- true";
    let mut command = Command::new("sh");
    command.args(["-c", line, env!("CARGO_BIN_EXE_palisade")]).current_dir(directory.path());
    let output = output(&mut command);
    assert_eq!(status(&output), PALISADE);
    assert!(stderr(&output).contains("current directory"), "{}", stderr(&output));
}

#[test]
fn escape_sequences_in_names_do_not_reach_the_terminal() {
    let directory = directory();
    let output = output(palisade(directory.path()).args(["run", "--", "\u{1b}[2Jx"]));
    assert_eq!(status(&output), NOT_FOUND);
    assert!(!stderr(&output).contains('\u{1b}'), "{:?}", stderr(&output));
}

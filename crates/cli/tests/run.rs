//! `palisade run` as a careful user expects it, as whoever runs the tests: root or an ordinary user.

mod support;

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rstest::rstest;
use support::{output, palisade, status, stderr, stdout};
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn shell(directory: &Path, policy: &str, script: &str) -> Output {
    output(palisade(directory).args(["run", "--policy", policy, "--", "sh", "-c", script]))
}

#[rstest]
#[case::own_code("exit 3", 3)]
#[case::success("true", 0)]
#[case::killed("kill -9 $$", 128 + 9)]
#[case::terminated("kill -15 $$", 128 + 15)]
#[case::child_of_a_shell("sh -c 'exit 9'", 9)]
fn the_exit_status_is_the_workloads(#[case] script: &str, #[case] code: i32) {
    let directory = directory();
    let output = shell(directory.path(), "default", script);
    assert_eq!(status(&output), code, "{}", stderr(&output));
}

#[test]
fn the_workload_is_an_unprivileged_user_in_a_world_of_its_own() {
    let directory = directory();
    let script =
        "id -u; id -g; hostname; ls /; ps ax | wc -l; cat /proc/1/environ; cat /etc/shadow; unshare -U true";
    let output = shell(directory.path(), "default", script);
    let told = stdout(&output);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[..3], ["1000", "1000", "palisade"]);
    for shown in ["bin", "dev", "etc", "proc", "tmp", "usr"] {
        assert!(lines.contains(&shown), "{shown} in {told}");
    }
    for absent in ["root", "home", "sys", "boot", "mnt"] {
        assert!(!lines.contains(&absent), "{absent} in {told}");
    }
    let errors = stderr(&output);
    assert!(errors.contains("/proc/1/environ: Permission denied"), "{errors}");
    assert!(errors.contains("/etc/shadow: No such file"), "{errors}");
    assert!(errors.contains("unshare failed: Operation not permitted"), "{errors}");
}

#[test]
fn nothing_of_the_callers_environment_gets_in() {
    let directory = directory();
    let output = output(
        palisade(directory.path())
            .env("PALISADE_TEST_SECRET", "hunter2")
            .env("LD_PRELOAD_NOT_REALLY", "x")
            .args(["run", "--", "env"]),
    );
    let mut names: Vec<String> =
        stdout(&output).lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect();
    names.sort();
    assert_eq!(names, ["HOME", "PATH"]);
}

#[test]
fn the_working_directory_is_read_only_by_default_and_writable_for_an_agent() {
    let directory = directory();
    fs::write(directory.path().join("input"), "in").expect("written");
    let script = "cat input; echo out > output";
    let denied = shell(directory.path(), "default", script);
    assert_eq!(stdout(&denied), "in");
    assert!(stderr(&denied).contains("Read-only file system"), "{}", stderr(&denied));
    assert!(!directory.path().join("output").exists());

    let allowed = shell(directory.path(), "agent", script);
    assert_eq!((stdout(&allowed).as_str(), status(&allowed)), ("in", 0), "{}", stderr(&allowed));
    let made = directory.path().join("output");
    assert_eq!(fs::read_to_string(&made).expect("made by the workload"), "out\n");
    // The file belongs to whoever owns the directory, though the workload never ran under that id as root.
    use std::os::unix::fs::MetadataExt;
    let owner = |path: &Path| fs::metadata(path).expect("exists").uid();
    assert_eq!(owner(&made), owner(directory.path()));
}

#[test]
fn no_set_user_id_file_can_be_made() {
    let directory = directory();
    let output = shell(directory.path(), "agent", "cp /bin/true t && chmod 4755 t");
    assert_ne!(status(&output), 0);
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(directory.path().join("t")).expect("copied").permissions().mode();
    assert_eq!(mode & 0o6000, 0);
}

/// The metadata address of every cloud, dialled from a network namespace without any link: were the sandbox to let it
/// pass, no packet could leave. The far side of this is `palisade verify`, which has listeners at these addresses.
#[test]
fn nothing_can_be_dialled() {
    let directory = directory();
    let script = "echo > /dev/tcp/169.254.169.254/80";
    let mut command = std::process::Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-current-user");
    }
    command.args(["--net", "--", env!("CARGO_BIN_EXE_palisade"), "run", "--", "bash", "-c", script]);
    let output = output(command.current_dir(directory.path()).stdin(Stdio::null()));
    assert_ne!(status(&output), 0);
    assert!(stderr(&output).contains("Network is unreachable"), "{}", stderr(&output));
}

#[test]
fn nothing_can_be_traced() {
    let directory = directory();
    // PTRACE_TRACEME (0) on itself, which every unconfined process may do.
    let script = "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\nprint(libc.ptrace(0, 0, 0, 0), os.strerror(ctypes.get_errno()))";
    let output = output(palisade(directory.path()).args(["run", "--", "python3", "-c", script]));
    if status(&output) == 127 {
        assert!(
            std::env::var_os("PALISADE_MUST_WORK").is_none_or(|value| value != "1"),
            "python3 is missing"
        );
        eprintln!("skipped: there is no python3 in /usr");
        return;
    }
    assert_eq!(stdout(&output), "-1 Operation not permitted\n", "{}", stderr(&output));
}

#[test]
fn the_wall_time_limit_cannot_be_ignored() {
    let directory = directory();
    fs::write(directory.path().join("p.yaml"), "resources: {wall_time: 300ms}\n").expect("written");
    let output = shell(directory.path(), "p.yaml", "trap '' TERM; echo begun; while :; do sleep 1; done");
    assert_eq!((stdout(&output).as_str(), status(&output)), ("begun\n", 124), "{}", stderr(&output));
    assert!(stderr(&output).contains("wall-time"), "{}", stderr(&output));
}

#[rstest]
#[case::term("TERM")]
#[case::interrupt("INT")]
#[case::hangup("HUP")]
#[case::user("USR1")]
fn signals_are_passed_on(#[case] name: &str) {
    let directory = directory();
    let script = format!("trap 'echo got {name}; exit 5' {name}; echo ready; while :; do sleep 0.05; done");
    let mut child = palisade(directory.path())
        .args(["run", "--", "sh", "-c", &script])
        .stdout(Stdio::piped())
        .spawn()
        .expect("palisade can be started");
    let mut out = child.stdout.take().expect("piped");
    let mut ready = [0; 6];
    out.read_exact(&mut ready).expect("the workload says that it is ready");
    let signal = match name {
        "TERM" => rustix::process::Signal::TERM,
        "INT" => rustix::process::Signal::INT,
        "HUP" => rustix::process::Signal::HUP,
        _ => rustix::process::Signal::USR1,
    };
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).expect("sent");
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("readable");
    assert_eq!(rest, format!("got {name}\n"));
    assert_eq!(child.wait().expect("ends").code(), Some(5));
}

#[test]
fn everything_dies_with_a_supervisor_that_is_killed() {
    let directory = directory();
    let mut child = palisade(directory.path())
        .args([
            "run",
            "--policy",
            "agent",
            "--",
            "sh",
            "-c",
            "setsid sh -c 'while :; do echo >> beat; sleep 0.05; done' & echo ready; wait",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("palisade can be started");
    let mut ready = [0; 6];
    child.stdout.take().expect("piped").read_exact(&mut ready).expect("the workload says that it is ready");
    let beat = directory.path().join("beat");
    let length = || fs::metadata(&beat).map(|file| file.len()).unwrap_or(0);
    wait_until(|| length() > 0, "the orphan beats");
    child.kill().expect("killed");
    child.wait().expect("reaped");
    // The control above shows that the orphan beats; now it must stop for good.
    wait_until(
        || {
            let before = length();
            sleep(Duration::from_millis(300));
            length() == before
        },
        "the orphan is dead",
    );
}

fn wait_until(mut condition: impl FnMut() -> bool, what: &str) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        sleep(Duration::from_millis(20));
    }
}

/// A host without control groups: something else is mounted over them, in a mount namespace of the test's own.
fn without_cgroups(directory: &Path, policy: &str, script: &str) -> Output {
    let mut command = std::process::Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "--propagation", "private", "--", "sh", "-c"]);
    command.args(["mount -t tmpfs none /sys/fs/cgroup && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_palisade")]);
    command.args(["run", "--policy", policy, "--report", "report.json", "--", "sh", "-c", script]);
    output(command.current_dir(directory).stdin(Stdio::null()))
}

#[test]
fn a_refusal_runs_nothing_and_a_degraded_run_says_so() {
    let directory = directory();
    let limits = "resources: {memory: 64MiB, cpus: 1, cpu_time: 1s}";
    let policy = |mode: &str| format!("on_unavailable: {mode}\n{limits}\n");
    fs::write(directory.path().join("p.yaml"), policy("refuse")).expect("written");
    let refused = without_cgroups(directory.path(), "p.yaml", "echo ran");
    assert_eq!((stdout(&refused).as_str(), status(&refused)), ("", 125), "{}", stderr(&refused));
    for clause in ["resources.memory", "resources.cpus", "resources.cpu_time"] {
        let told = stderr(&refused);
        let line = told.lines().find(|line| line.contains(clause)).unwrap_or_default();
        assert!(line.contains("p.yaml:2:") && line.contains("no cgroup for it"), "{told}");
    }

    fs::write(directory.path().join("p.yaml"), policy("degrade")).expect("written");
    // What is left of the limit of memory is one of each process.
    let script = "ulimit -v; while :; do :; done";
    let degraded = without_cgroups(directory.path(), "p.yaml", script);
    assert_eq!((stdout(&degraded).as_str(), status(&degraded)), ("65536\n", 137), "{}", stderr(&degraded));
    assert!(stderr(&degraded).contains("degraded: resources.memory"), "{}", stderr(&degraded));
    let report = fs::read_to_string(directory.path().join("report.json")).expect("written");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let status = |clause: &str| {
        let all = report["coverage"].as_array().expect("a list");
        let found = all.iter().find(|covered| covered["clause"] == clause).expect("covered");
        (found["status"]["downgraded"].is_string(), found["mechanism"].as_str().expect("told").to_owned())
    };
    assert_eq!(status("resources.memory"), (true, "RLIMIT_AS, per process".into()));
    assert_eq!(status("resources.cpus"), (true, "none".into()));
    assert_eq!(status("resources.cpu_time"), (true, "RLIMIT_CPU, per process".into()));
    assert!(!status("resources.processes").0);
    assert!(report["usage"]["cpu_user_ms"].as_u64().expect("counted") >= 500, "{report}");
}

#[test]
fn the_report_tells_the_ending_and_the_coverage() {
    let directory = directory();
    let report = directory.path().join("report.json");
    let output = output(palisade(directory.path()).args([
        "run",
        "--report",
        report.to_str().expect("UTF-8"),
        "--",
        "sh",
        "-c",
        "exit 4",
    ]));
    assert_eq!(status(&output), 4);
    let report: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(report).expect("written")).expect("JSON");
    assert_eq!(report["schema"], "palisade.run/1");
    assert_eq!(report["ending"]["exited"]["code"], 4);
    let clauses = report["coverage"].as_array().expect("coverage");
    assert!(
        clauses.iter().any(|clause| clause["clause"] == "network.mode" && clause["status"] == "enforced")
    );
}

#[test]
fn a_plan_can_be_printed_and_run_as_data() {
    let directory = directory();
    let printed = output(palisade(directory.path()).args(["plan", "--format", "json"]));
    assert_eq!(status(&printed), 0, "{}", stderr(&printed));
    let file = directory.path().join("plan.json");
    fs::write(&file, &printed.stdout).expect("written");
    let run = output(palisade(directory.path()).args(["run", "--plan", "plan.json", "--", "hostname"]));
    assert_eq!((stdout(&run).as_str(), status(&run)), ("palisade\n", 0), "{}", stderr(&run));
    // A step that fails is named with its number, its operand and the errno, and nothing runs.
    let mut plan: serde_json::Value = serde_json::from_slice(&printed.stdout).expect("JSON");
    let steps = plan["steps"].as_array_mut().expect("steps");
    let root = steps.iter().position(|step| step["step"].get("new_root").is_some()).expect("a new root");
    steps.insert(
        root + 1,
        serde_json::json!({"serves": "test", "step": {"make_link": {"path": "/a/b", "target": "c"}}}),
    );
    fs::write(&file, plan.to_string()).expect("written");
    let failed = output(palisade(directory.path()).args(["run", "--plan", "plan.json", "--", "hostname"]));
    assert_eq!((stdout(&failed).as_str(), status(&failed)), ("", 125));
    let expected = format!("palisade: step {}, make link /a/b -> c: ENOENT", root + 2);
    assert!(stderr(&failed).starts_with(&expected), "{}", stderr(&failed));
}

#[test]
fn descriptors_of_the_caller_do_not_get_in() {
    let directory = directory();
    let line = "exec 7</etc/passwd 8</; exec \"$0\" run -- sh -c 'ls /proc/self/fd'";
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", line, env!("CARGO_BIN_EXE_palisade")])
        .current_dir(directory.path())
        .stdin(Stdio::null());
    let output = output(&mut command);
    // 0, 1, 2 and the one with which `ls` reads the directory.
    assert_eq!(stdout(&output), "0\n1\n2\n3\n", "{}", stderr(&output));
}

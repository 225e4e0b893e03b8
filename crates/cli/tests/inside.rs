//! `palisade probe --inside` in a plain shell, in bubblewrap, and in a sandbox of Palisade.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::{output, palisade, status, stderr, stdout};
use tempfile::TempDir;

/// A name like that of a secret, and what it holds: which must not be told.
const SECRET: (&str, &str) = ("INSIDE_TEST_API_KEY", "palisade-inside-value");

/// The program in a directory that every sandbox can show.
fn stage() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("opened");
    let program = directory.path().join("palisade");
    fs::copy(env!("CARGO_BIN_EXE_palisade"), &program).expect("copied");
    fs::create_dir(directory.path().join("probes.d")).expect("made");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/probes.d");
    for name in ["docker-socket.yaml", "mount-pointer.yaml", "tmp-round-trip.yaml"] {
        fs::copy(shipped.join(name), directory.path().join("probes.d").join(name)).expect("copied");
    }
    (directory, program)
}

/// Starts what follows as a careless caller does: with a secret in the environment and a file left open.
fn carelessly(directory: &TempDir) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec 7</etc/passwd; exec \"$@\"", "sh"]);
    command.current_dir(directory.path()).env(SECRET.0, SECRET.1).stdin(Stdio::null());
    command
}

const INSIDE: [&str; 6] = ["./palisade", "probe", "--inside", "--json", "--probes", "probes.d"];

/// The findings of a report, by id.
fn findings(output: &Output) -> BTreeMap<String, Value> {
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", stdout(output), stderr(output)));
    assert_eq!(
        (&report["schema"], &report["evidence"]),
        (&"palisade.inside/1".into(), &"inside_only".into())
    );
    assert!(!stdout(output).contains(SECRET.1), "only the names of variables are told");
    let findings = report["findings"].as_array().expect("a list");
    findings.iter().map(|one| (one["id"].as_str().expect("an id").to_owned(), one.clone())).collect()
}

fn in_plain_shell(directory: &TempDir) -> Output {
    output(carelessly(directory).args(INSIDE))
}

fn in_palisade(directory: &TempDir) -> Output {
    output(carelessly(directory).args(["./palisade", "run", "--"]).args(INSIDE))
}

/// Nothing where bubblewrap is not installed.
fn in_bubblewrap(directory: &TempDir) -> Option<Output> {
    let found =
        Command::new("bwrap").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    let must = std::env::var_os("PALISADE_MUST_WORK").is_some_and(|value| value == "1");
    assert!(found || !must, "bwrap is missing and PALISADE_MUST_WORK=1");
    if !found {
        eprintln!("skipped: bwrap is not installed");
        return None;
    }
    let here = directory.path().to_str().expect("text");
    let bwrap = [
        "bwrap",
        "--unshare-all",
        "--ro-bind",
        "/",
        "/",
        "--dev",
        "/dev",
        "--proc",
        "/proc",
        "--tmpfs",
        "/tmp",
    ];
    let show = ["--ro-bind", here, here, "--chdir", here, "--"];
    Some(output(carelessly(directory).args(bwrap).args(show).args(INSIDE)))
}

/// What each of these is, in the order of the ids.
fn verdicts<'f>(findings: &'f BTreeMap<String, Value>, ids: &[&str]) -> Vec<&'f str> {
    ids.iter().map(|id| findings[*id]["verdict"].as_str().expect("text")).collect()
}

/// Attempts and readings whose answer is another in a sandbox that does its part.
const TOLD_APART: [&str; 8] = [
    "ns/user-by-clone",
    "sys/filter",
    "sys/mount",
    "sys/keyring",
    "sys/io-uring",
    "cap/no-new-privs",
    "fd/inherited",
    "env/secrets",
];

#[test]
fn what_a_plain_shell_leaves_open_is_closed_in_a_sandbox() {
    let (directory, _) = stage();
    let plain = in_plain_shell(&directory);
    assert_eq!(status(&plain), 1, "{}", stderr(&plain));
    let plain = findings(&plain);
    assert_eq!(verdicts(&plain, &TOLD_APART), ["open"; 8]);
    assert!(plain["fd/inherited"]["seen"].as_str().is_some_and(|seen| seen.contains("7 -> /etc/passwd")));
    assert!(plain["env/secrets"]["seen"].as_str().is_some_and(|seen| seen.contains(SECRET.0)));

    let inside = in_palisade(&directory);
    assert_eq!(status(&inside), 0, "{} {}", stdout(&inside), stderr(&inside));
    let inside = findings(&inside);
    assert_eq!(verdicts(&inside, &TOLD_APART), ["closed"; 8]);
    let more = ["ns/user", "ns/pid", "ns/ipc", "cap/held", "net/interfaces", "mnt/root"];
    assert_eq!(verdicts(&inside, &more), ["closed"; 6]);
    assert_eq!(
        plain.keys().collect::<Vec<_>>(),
        inside.keys().collect::<Vec<_>>(),
        "the same is looked at everywhere"
    );
}

#[test]
fn bubblewrap_is_told_from_both() {
    let (directory, _) = stage();
    let Some(output) = in_bubblewrap(&directory) else { return };
    assert_eq!(status(&output), 1, "{}", stderr(&output));
    let inside = findings(&output);
    // Its namespaces, and no_new_privs.
    let closed = [
        "ns/user",
        "ns/pid",
        "ns/ipc",
        "ns/uts",
        "cap/no-new-privs",
        "net/interfaces",
        "net/default-route",
        "dev/disks",
    ];
    assert_eq!(verdicts(&inside, &closed), ["closed"; 8]);
    // It filters nothing that it is not told to, and passes on what its caller left.
    let open = ["sys/filter", "sys/mount", "ns/user-by-clone", "fd/inherited", "env/secrets"];
    assert_eq!(verdicts(&inside, &open), ["open"; 5]);
}

/// A reviewer's own probe, where it cannot act; what could act waits for a lab.
#[test]
fn own_probes_are_told_where_they_cannot_act() {
    let (directory, _) = stage();
    let own = ["own/mount", "own/docker-socket", "own/tmp-round-trip"];
    let of = |output: Output| {
        verdicts(&findings(&output), &own).iter().map(|one| (*one).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(in_plain_shell(&directory)), ["open", "unknown", "unknown"]);
    assert_eq!(of(in_palisade(&directory)), ["closed", "unknown", "unknown"]);
    if let Some(output) = in_bubblewrap(&directory) {
        assert_eq!(of(output), ["open", "unknown", "unknown"]);
    }
}

/// What cannot be told is not told, and a refusal that everybody gets is nobody's merit.
#[test]
fn the_evidence_is_not_made_better_than_it_is() {
    let (directory, _) = stage();
    let inside = findings(&in_palisade(&directory));
    for id in ["proc/landlock", "ps/dumpable"] {
        assert_eq!(inside[id]["verdict"], "unknown", "{id}");
    }
    let note = |id: &str| inside[id]["note"].as_str().unwrap_or_default().to_owned();
    assert_eq!(note("sys/fsopen"), "refused to every process without CAP_SYS_ADMIN, mount(2)");
    // Where the kernel would have looked at the operands first, the refusal is the filter's.
    assert_eq!((inside["sys/mount"]["verdict"].as_str(), note("sys/mount").as_str()), (Some("closed"), ""));
}

/// Whoever runs it, and wherever: by all that the kernel is asked for.
#[test]
fn nothing_is_sent_written_or_done() {
    if !support::strace() {
        eprintln!("skipped: strace is not installed");
        return;
    }
    let (directory, program) = stage();
    let traced = output(
        Command::new("strace")
            .args(["-ff", "-qq", "-s", "0", "-o", "trace"])
            .arg(program)
            .args(["probe", "--inside", "--probes", "probes.d"])
            .current_dir(directory.path())
            .stdin(Stdio::null()),
    );
    assert!([0, 1].contains(&status(&traced)), "{}", stderr(&traced));
    // A file for each process: in one of all, a line of one may stand within that of another.
    let mut trace = String::new();
    for entry in fs::read_dir(directory.path()).expect("the directory") {
        let entry = entry.expect("an entry");
        if entry.file_name().to_string_lossy().starts_with("trace.") {
            trace.push_str(&fs::read_to_string(entry.path()).expect("a trace"));
        }
    }
    let calls = || trace.lines();
    let has = |call: &str| calls().any(|line| line.starts_with(call));
    // The trace sees what is tried.
    assert!(has("socket(AF_INET") && has("mount(") && has("bpf(") && has("clone("), "{trace}");
    let never = [
        "connect(",
        "bind(",
        "listen(",
        "sendto(",
        "sendmsg(",
        "sendmmsg(",
        "kill(",
        "tkill(",
        "tgkill(",
        "unlink",
        "rename",
        "mkdir",
        "mknod",
        "symlink",
        "link",
        "chmod",
        "chown",
        "ftruncate",
        "truncate",
        "sethostname",
        "reboot(",
        "kexec",
        "swapo",
        "acct(",
        "settimeofday(",
        "clock_settime(",
        "ioctl(0, TIOCSTI",
    ];
    for line in calls() {
        assert!(!never.iter().any(|call| line.starts_with(call)), "{line}");
        let opens = line.starts_with("open")
            && !line.starts_with("open_tree")
            && !line.starts_with("open_by_handle_at");
        let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|flag| line.contains(flag));
        assert!(!(opens && writes) || line.contains("/dev/null"), "{line}");
        // Every mount that is tried has an operand that cannot be read.
        assert!(!line.starts_with("mount(") || line.contains("= -1"), "{line}");
    }
}

#[test]
fn the_bare_program_is_handed_out() {
    let (directory, _) = stage();
    let extract = || output(palisade(directory.path()).args(["probe", "--extract", "bare"]));
    let first = extract();
    assert_eq!((status(&first), stdout(&first).as_str()), (0, ""), "{}", stderr(&first));
    let run = output(Command::new(directory.path().join("bare")).args([
        "n",
        "c:sys 39",
        "a:sys 165 bad bad bad 0 bad",
    ]));
    assert!(stdout(&run).contains("PALISADE n OBSERVED 1 a ret=-1 errno=14 data=-\n"), "{}", stdout(&run));
    let again = extract();
    assert_eq!(status(&again), 3);
    assert!(stderr(&again).contains("File exists"), "{}", stderr(&again));
}

#[test]
fn what_is_asked_for_must_be_said() {
    let (directory, _) = stage();
    let of = |arguments: &[&str]| status(&output(palisade(directory.path()).arg("probe").args(arguments)));
    assert_eq!(of(&[]), 2);
    assert_eq!(of(&["--json"]), 2);
    assert_eq!(of(&["--inside", "--extract", "x"]), 2);
    assert_eq!(of(&["--inside", "--only", "no/such*"]), 2);
    assert_eq!(of(&["--inside", "--only", "proc/landlock"]), 3, "nothing could be told");
}

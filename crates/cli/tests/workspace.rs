//! Workspaces that keep changes apart, and taking the changes out, as whoever runs the tests: root or an ordinary user.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use rstest::rstest;
use support::{output, palisade, status, stderr, stdout};
use tempfile::TempDir;

struct Case {
    directory: TempDir,
    work: PathBuf,
    policy: String,
}

fn case(kind: &str, more: &str) -> Case {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let work = fs::canonicalize(directory.path()).expect("it exists").join("work");
    for made in ["", "below/deep", "gone", "kept"] {
        fs::create_dir_all(work.join(made)).expect("made");
    }
    for (name, content) in [
        ("below/deep/file", "one"),
        ("gone/file", "two"),
        ("kept/file", "three"),
        ("top", "four"),
        (".env", "secret"),
    ] {
        fs::write(work.join(name), content).expect("written");
    }
    symlink("top", work.join("link")).expect("linked");
    let policy = directory.path().join("policy.yaml");
    let text = format!(
        "filesystem:\n  read_write: [.]\n  read_only: [kept]\n  hidden: [.env, late/late]\n  workspace: {kind}\n  disk: 2MiB\n{more}"
    );
    fs::write(&policy, text).expect("written");
    let policy = policy.to_str().expect("UTF-8").to_owned();
    Case { directory, work, policy }
}

impl Case {
    fn run(&self, flags: &[&str], script: &str) -> Output {
        output(
            palisade(&self.work)
                .args(["run", "--policy", &self.policy])
                .args(flags)
                .args(["--", "sh", "-c", script]),
        )
    }

    fn list(&self, script: &str) -> Vec<String> {
        let output = self.run(&["--changes", "-"], script);
        assert_eq!(status(&output), 0, "{}", stderr(&output));
        let prefix = format!("{}/", self.work.display());
        stdout(&output).lines().map(|line| line.replacen(&prefix, "", 1)).collect()
    }
}

/// Every path below a directory with what it holds, its mode and its owner.
fn snapshot(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("readable") {
            let path = entry.expect("an entry").path();
            let metadata = fs::symlink_metadata(&path).expect("there");
            let what = if metadata.is_symlink() {
                fs::read_link(&path).expect("a link").display().to_string()
            } else if metadata.is_dir() {
                open.push(path.clone());
                String::new()
            } else {
                String::from_utf8_lossy(&fs::read(&path).expect("readable")).into_owned()
            };
            all.insert(path, format!("{what} {:o} {}", metadata.mode(), metadata.uid()));
        }
    }
    all
}

#[rstest]
fn nothing_reaches_the_real_directory(#[values("overlay", "copy")] kind: &str) {
    let case = case(kind, "");
    let before = snapshot(&case.work);
    let script = "echo x > new; echo x >> top; rm -r gone; mv below moved; chmod 600 top; ln -sf other link; cat new moved/deep/file";
    let output = case.run(&[], script);
    assert_eq!((status(&output), stdout(&output).as_str()), (0, "x\none"), "{}", stderr(&output));
    assert_eq!(snapshot(&case.work), before);
}

#[rstest]
fn rules_inside_hold(#[values("overlay", "copy")] kind: &str) {
    let case = case(kind, "");
    let script = "cat kept/file; cat .env; echo x > kept/file; echo x > late/late; mv late early; mkdir -p late; echo x > late/late
                  rm -rf .env; echo x > .env; cat .env late/late; echo done";
    assert_eq!(stdout(&case.run(&[], script)), "threedone\n");
}

#[rstest]
fn changes_are_listed(#[values("overlay", "copy")] kind: &str) {
    let case = case(kind, "");
    let script = "echo x > new; echo x >> top; rm -r gone; ln -sfn other link; touch below/deep/file; mkdir made; chmod 700 below
                  rm -r below/deep; mkdir below/deep; echo one > below/deep/again; echo > \"$(printf 'a\\nD etc')\"";
    let lines = case.list(script);
    let expected = [
        "A a\\nD etc",
        "M below",
        "A below/deep/again",
        "D below/deep/file",
        "D gone",
        "M link",
        "A made",
        "A new",
        "M top",
    ];
    assert_eq!(lines, expected);
}

#[rstest]
fn what_was_only_touched_is_no_change(#[values("overlay", "copy")] kind: &str) {
    let case = case(kind, "");
    let script = "touch top; chmod 600 below/deep/file; chmod 644 below/deep/file; echo x > t; rm t; mv gone away; mv away gone; mkdir late/x; rmdir late/x";
    assert_eq!(case.list(script), Vec::<String>::new());
}

#[rstest]
fn changes_are_written_back(#[values("overlay", "copy")] kind: &str) {
    let case = case(kind, "");
    let script = "echo x > new; chmod 751 new; echo x > top; rm -r gone; rm link; ln -s /etc/passwd link; mkdir -p made/deep; chmod 500 made
                  rm -r below/deep; echo file > below/deep; rm -f \"$(printf x)\"";
    let owner = fs::metadata(&case.work).expect("there").uid();
    let output = case.run(&["--apply"], script);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let read = |name: &str| fs::read_to_string(case.work.join(name)).expect("written");
    assert_eq!(
        (read("new").as_str(), read("top").as_str(), read("below/deep").as_str()),
        ("x\n", "x\n", "file\n")
    );
    assert_eq!(fs::read_link(case.work.join("link")).expect("a link"), Path::new("/etc/passwd"));
    assert!(!case.work.join("gone").exists());
    let mode = |name: &str| fs::metadata(case.work.join(name)).expect("there").permissions().mode() & 0o7777;
    assert_eq!((mode("new"), mode("made")), (0o751, 0o500));
    for name in ["new", "made", "made/deep"] {
        assert_eq!(fs::metadata(case.work.join(name)).expect("there").uid(), owner, "{name}");
    }
    assert_eq!(read(".env"), "secret");
    assert!(!case.work.join("late").exists(), "what the sandbox made for itself is no change");
}

/// Between the run and the end of it something on the host replaces a directory by a link.
#[test]
fn nothing_is_written_through_a_link() {
    let case = case("overlay", "");
    let outside = case.directory.path().join("outside");
    fs::create_dir(&outside).expect("made");
    let mut run = palisade(&case.work)
        .args(["run", "--policy", &case.policy, "--apply", "--", "sh", "-c"])
        .arg("echo x > below/deep/new; rm below/deep/file; echo ready; cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    // An overlay does not have to see what changes below it, so the signals go through pipes.
    let mut ready = [0; 6];
    run.stdout.as_mut().expect("a pipe").read_exact(&mut ready).expect("told");
    fs::write(outside.join("file"), "precious").expect("written");
    fs::rename(case.work.join("below/deep"), case.work.join("below/away")).expect("moved");
    symlink(&outside, case.work.join("below/deep")).expect("linked");
    drop(run.stdin.take());
    assert_eq!(run.wait().expect("ends").code(), Some(0));
    assert_eq!(fs::read_to_string(outside.join("file")).expect("still there"), "precious");
    assert!(!outside.join("new").exists());
    let place = fs::symlink_metadata(case.work.join("below/deep")).expect("there");
    assert!(
        place.is_dir() && case.work.join("below/deep/new").exists(),
        "the link gave way to what the workload had"
    );
}

#[rstest]
fn an_export_has_the_files_and_the_list(#[values("overlay", "copy")] kind: &str) {
    let case = case(kind, "");
    let place = case.directory.path().join("out");
    let output =
        case.run(&["--changes", place.to_str().expect("UTF-8")], "echo x > below/new; rm top; mkfifo pipe");
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("pipe is left out: it is a socket, fifo or device"),
        "{}",
        stderr(&output)
    );
    let files = place.join("files").join(case.work.strip_prefix("/").expect("absolute"));
    assert_eq!(fs::read_to_string(files.join("below/new")).expect("exported"), "x\n");
    let list = fs::read_to_string(place.join("changes")).expect("a list");
    assert_eq!(list, format!("A {0}/below/new\nD {0}/top\n", case.work.display()));
    assert!(case.work.join("top").exists());
}

#[rstest]
fn the_private_file_system_is_bounded(#[values("overlay", "copy")] kind: &str) {
    let case = case(kind, "");
    let output = case.run(&[], "head -c 1048576 /dev/zero > half && head -c 3145728 /dev/zero > more");
    assert!(stderr(&output).contains("No space left"), "{}", stderr(&output));
}

#[test]
fn a_copy_that_does_not_fit_is_refused() {
    let case = case("copy", "");
    fs::write(case.work.join("big"), vec![1; 3 << 20]).expect("written");
    let output = case.run(&[], "echo ran");
    assert_eq!((status(&output), stdout(&output).as_str()), (125, ""));
    assert!(
        stderr(&output).contains("mount copy") && stderr(&output).contains("ENOSPC"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn flags_that_could_do_nothing_are_refused() {
    let case = case("overlay", "");
    let refused = |flags: &[&str]| {
        let output =
            output(palisade(&case.work).args(["run", "--policy", "agent"]).args(flags).args(["--", "true"]));
        assert_eq!(status(&output), 125, "{flags:?}");
        stderr(&output)
    };
    assert!(refused(&["--apply"]).contains("the workspace is direct"));
    assert!(refused(&["--changes", "-"]).contains("the workspace is direct"));
    assert!(refused(&["--disk", "1MiB"]).contains("cannot act"));
    let narrowed = ["run", "--policy", "agent", "--workspace", "overlay", "--", "sh", "-c", "echo x > new"];
    assert_eq!(status(&output(palisade(&case.work).args(narrowed))), 0);
    assert!(!case.work.join("new").exists());
}

/// A tree that an earlier workload may have left: the copy neither follows, waits for, nor stumbles over anything in it.
#[test]
fn a_hostile_tree_is_copied() {
    use std::os::unix::ffi::OsStrExt as _;

    let case = case("copy", "");
    let work = &case.work;
    rustix::fs::mknodat(rustix::fs::CWD, work.join("fifo"), rustix::fs::FileType::Fifo, 0o644.into(), 0)
        .expect("made");
    let _socket = std::os::unix::net::UnixListener::bind(work.join("socket")).expect("bound");
    symlink("loop", work.join("loop")).expect("linked");
    symlink("/proc/self/mem", work.join("mem")).expect("linked");
    symlink("x".repeat(4095), work.join("long")).expect("linked");
    fs::write(work.join(std::ffi::OsStr::from_bytes(b"a\nb\xff\x1b[2J")), "odd").expect("written");
    let mut deep = work.join("below");
    for _ in 0..100 {
        deep.push("d");
        fs::create_dir(&deep).expect("made");
    }
    let output = case
        .run(&["--changes", "-"], "test -p fifo; test -L loop; test -L mem; ls | wc -l; find below | wc -l");
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let told = stdout(&output);
    assert_eq!(told.lines().last().map(str::trim), Some("103"), "nothing is a change: {told}");
}

/// A kernel that mounts no overlay in a user namespace, or on a tmpfs, is played by strace.
#[test]
fn an_overlay_that_the_host_cannot_mount_is_refused_before_anything_is_set_up() {
    if !support::strace() {
        eprintln!("skipped: strace is not installed");
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = |which: &str| {
        let mut command = std::process::Command::new("strace");
        // Each process counts for itself: the fourth mount of the one that tries it is the overlay.
        let inject = format!("inject=mount:error=EPERM:when={which}");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=mount", "-e", &inject]);
        command.args([env!("CARGO_BIN_EXE_palisade"), "run", "--policy", "agent", "--workspace", "overlay"]);
        command.args(["--", "sh", "-c", "echo ran"]).current_dir(directory.path());
        output(command.stdin(std::process::Stdio::null()))
    };
    let refused = run("4");
    assert_eq!((status(&refused), stdout(&refused).as_str()), (125, ""), "{}", stderr(&refused));
    for part in ["an overlay cannot be mounted", "mount overlay: EPERM", "workspace: copy"] {
        assert!(stderr(&refused).contains(part), "{}", stderr(&refused));
    }
    assert!(!stderr(&refused).contains("step "), "{}", stderr(&refused));
    let control = run("400");
    assert_eq!((status(&control), stdout(&control).as_str()), (0, "ran\n"), "{}", stderr(&control));
}

//! Every named operation natively, as whoever runs the tests: what it reports where nothing is confined.

mod native;

use std::process::Command;

use native::{NONCE_TEXT, execute, once, program, run, seen, succeeds};
use palisade_probe::script::{
    Cell, Ended, Phase, Piece, Script, Statement, bytes, memory, parse_output, result, text,
};
use palisade_probe::table::OPS;
use palisade_probe::{attempt, control, refusal, setup};

const ENOENT: u16 = 2;
const EPERM: u16 = 1;
const EINVAL: u16 = 22;
const ENOSYS: u16 = 38;
const ENODATA: u16 = 61;
const EPROTO: u16 = 71;
const ECONNREFUSED: u16 = 111;

#[test]
fn missing_operands_are_refused_everywhere() {
    let needy: Vec<&str> = OPS.iter().filter(|info| info.fewest() > 0).map(|info| info.name).collect();
    assert!(needy.len() > 40);
    let mut arguments = vec!["n".to_owned()];
    arguments.extend(needy.iter().map(|name| format!("a:{name}")));
    let transcript = parse_output(&execute(&arguments).stdout, "n");
    for (index, name) in needy.iter().enumerate() {
        assert_eq!(seen(&transcript, index).1, refusal::BAD_OPERAND, "{name}");
    }
}

#[test]
fn a_signal_ends_only_the_attempts() {
    let transcript =
        run([control!("sys", 39), attempt!("raise", 11), attempt!("sys", 39), control!("sys", 39)]);
    assert_eq!(transcript.ended, Some(Ended::Signal(11)));
    assert!(transcript.attempted.contains(&1) && !transcript.attempted.contains(&2));
    assert!(transcript.observed(1).is_none());
    assert_eq!(seen(&transcript, 0), seen(&transcript, 3));
}

#[test]
fn a_filter_that_kills_a_child_kills_the_attempt() {
    // struct sock_filter: load the call number; ptrace (101) kills the process, everything else goes on.
    let filter = bytes(b"\x20\0\0\0\0\0\0\0\x15\0\0\x01\x65\0\0\0\x06\0\0\0\0\0\0\x80\x06\0\0\0\0\0\xff\x7f");
    let program = memory([Cell::Bytes(vec![4, 0, 0, 0, 0, 0, 0, 0]), Cell::Word(filter)]);
    let transcript = run([
        attempt!("sys", 157, 38, 1, 0, 0, 0),
        attempt!("sys", 317, 1, 0, program),
        attempt!("ptrace_traceme"),
        control!("sys", 39),
    ]);
    assert_eq!((seen(&transcript, 0).1, seen(&transcript, 1).1), (0, 0));
    assert!(transcript.attempted.contains(&2) && transcript.observed(2).is_none());
    assert_eq!(transcript.ended, Some(Ended::Signal(31)));
}

#[test]
fn an_exit_code_is_reported() {
    let transcript = run([attempt!("exit", 3), attempt!("sys", 39)]);
    assert_eq!(transcript.ended, Some(Ended::Exit(3)));
    assert_eq!(transcript.observations, []);
}

#[test]
fn status_of_this_process() {
    let transcript = run([
        attempt!("sys", 39),
        attempt!("status_field", "self", "Pid"),
        attempt!("status_field", result(0), "Pid"),
        attempt!("status_field", "self", "CapBnd"),
        attempt!("status_field", "self", "Cap"),
        attempt!("self_pid_matches_proc"),
        attempt!("status_all", "Pid"),
        attempt!("status_all", "NoSuchLine"),
        attempt!("list_pids"),
    ]);
    let pid = seen(&transcript, 0).0;
    assert_eq!(seen(&transcript, 1), (pid, 0, pid.to_string()));
    assert_eq!(seen(&transcript, 2), (pid, 0, pid.to_string()));
    let (mask, _, digits) = seen(&transcript, 3);
    assert_eq!(i64::from_str_radix(&digits, 16), Ok(mask));
    assert_eq!(seen(&transcript, 4).1, ENODATA);
    assert_eq!(seen(&transcript, 5), (1, 0, pid.to_string()));
    let threads = seen(&transcript, 6).0;
    assert_eq!(seen(&transcript, 7).2, "missing");
    let (processes, _, list) = seen(&transcript, 8);
    assert!(threads >= processes, "{threads} threads, {processes} processes");
    if list.len() < 2048 {
        assert!(list.split(',').any(|item| item == pid.to_string()), "{list}");
        assert_eq!(list.split(',').count(), usize::try_from(processes).expect("count"));
    }
}

#[test]
fn processes_are_found_by_arguments_but_not_the_probe() {
    let marker = format!("palisade-probe-test-{}", std::process::id());
    let script =
        Script::from([attempt!("find_pid_by_cmdline", marker.as_str())]).argv(NONCE_TEXT).expect("script");
    let nobody = parse_output(&execute(&script).stdout, NONCE_TEXT);
    assert_eq!(seen(&nobody, 0).0, 0, "the probe found its own arguments");

    // The script is held by a shell whose arguments carry the marker and not the nonce.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "read line", &marker]).stdin(std::process::Stdio::piped());
    let mut child = shell.spawn().expect("start a shell");
    let found = parse_output(&execute(&script).stdout, NONCE_TEXT);
    drop(child.stdin.take());
    child.wait().expect("wait");
    assert_eq!(seen(&found, 0).0, i64::from(child.id()));
}

#[test]
fn text_is_found_wherever_the_pieces_end() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("long");
    let needle = "n".repeat(300) + "x";
    for ahead in [0, 4095, 4000, 3796, 8191, 100_000] {
        std::fs::write(&path, "n".repeat(ahead) + &needle + "tail").expect("write");
        assert_eq!(succeeds(attempt!("find_in_file", path.as_path(), needle.as_str())).0, 1, "{ahead}");
        assert_eq!(succeeds(attempt!("find_in_file", path.as_path(), "xx")).0, 0, "{ahead}");
    }
}

#[test]
fn the_first_process_is_searched_but_not_where_it_is_the_probe() {
    let word = "palisade-first-process";
    let script = Script::from([attempt!("find_in_first", word)]).argv(NONCE_TEXT).expect("script");
    let in_a_namespace = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]);
        let output = command.args(words).arg(program()).args(&script).output().expect("start unshare");
        let reason = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() && std::env::var_os("PALISADE_MUST_WORK").is_none() {
            eprintln!("skipped: no private pid namespace: {reason}");
            return None;
        }
        assert!(output.status.success(), "{reason}");
        Some(seen(&parse_output(&output.stdout, NONCE_TEXT), 0).0)
    };
    // A shell that stays, as a supervisor would, and hands on the probe's arguments, the word among them.
    let shell = ["sh", "-c", "\"$@\"; exit $?", "sh"];
    if let Some(found) = in_a_namespace(&shell) {
        assert_eq!(found, 1);
        assert_eq!(in_a_namespace(&[]), Some(0));
    }
}

#[test]
fn namespaces_are_told_by_inode() {
    let (inode, data) = succeeds(attempt!("ns_inode", "pid"));
    let link = std::fs::read_link("/proc/self/ns/pid").expect("readlink");
    assert_eq!(data, link.to_string_lossy());
    assert_eq!(data, format!("pid:[{inode}]"));
    assert_eq!(once(attempt!("ns_inode", "nope")).1, ENOENT);
}

#[test]
fn mounts() {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let (count, points) = succeeds(attempt!("mountinfo_points"));
    assert_eq!(usize::try_from(count), Ok(table.lines().count()));
    assert!(points.split('\n').any(|point| point == "/proc"), "{points}");
    assert_eq!(succeeds(attempt!("mountinfo_field", "/proc", "type")).1, "proc");
    assert_eq!(succeeds(attempt!("mountinfo_field", "/proc", "root")).1, "/");
    assert_eq!(once(attempt!("mountinfo_field", "/proc", "colour")).1, EINVAL);
    assert_eq!(once(attempt!("mountinfo_field", "/not/a/mount", "type")).1, ENOENT);

    let lacks = |line: &&str| !line.split(' ').nth(5).is_some_and(|options| options.contains("nosuid"));
    let lacking = table.lines().filter(lacks).count();
    let (count, _) = succeeds(attempt!("mountinfo_missing", "nosuid"));
    assert_eq!(usize::try_from(count), Ok(lacking));
    let (count, _) = succeeds(attempt!("mountinfo_missing", "colour", "/proc"));
    let (all_but_proc, _) =
        (table.lines().filter(|line| line.split(' ').nth(4) != Some("/proc")).count(), ());
    assert_eq!(usize::try_from(count), Ok(all_but_proc));
    let shared =
        table.lines().filter(|line| line.split(" - ").next().is_some_and(|head| head.contains(" shared:")));
    assert_eq!(usize::try_from(succeeds(attempt!("mountinfo_optional", "shared:")).0), Ok(shared.count()));
}

#[test]
fn descriptors() {
    let transcript = run([
        control!("scan_fds"),
        control!("fd_dirs"),
        setup!("open", "/", 0),
        setup!("open", "/dev/null", 0),
        control!("scan_fds"),
        control!("fd_dirs"),
        control!("cwd"),
    ]);
    // Whoever runs the tests may leak descriptors into them: only the difference counts.
    assert_eq!(seen(&transcript, 4).0, seen(&transcript, 0).0 + 2);
    assert_eq!(seen(&transcript, 5).0, seen(&transcript, 1).0 + 1);
    let (root, null) = (seen(&transcript, 2).0, seen(&transcript, 3).0);
    let list = seen(&transcript, 4).2;
    assert!(!list.split('\n').any(|line| line.ends_with("/fd")), "its own descriptor: {list}");
    for entry in [format!("{root}->/"), format!("{null}->/dev/null")] {
        assert!(list.split('\n').any(|line| line == entry), "{list}");
    }
    let here = std::env::current_dir().expect("cwd");
    assert_eq!(seen(&transcript, 6).2, here.to_string_lossy());
}

#[test]
fn environment() {
    let script = Script::from([
        attempt!("environ"),
        attempt!("environ", "names"),
        attempt!("env_has", "TWO"),
        attempt!("env_has", "TW"),
        attempt!("find_in_environ", "secret"),
        attempt!("find_in_environ", "absent"),
    ]);
    let mut command = Command::new(program());
    let output = command
        .args(script.argv(NONCE_TEXT).expect("script"))
        .env_clear()
        .envs([("ONE", "a secret"), ("TWO", "x=y")])
        .output()
        .expect("start");
    let transcript = parse_output(&output.stdout, NONCE_TEXT);
    assert_eq!(seen(&transcript, 0), (2, 0, "ONE=a secret\nTWO=x=y".to_owned()));
    assert_eq!(seen(&transcript, 1), (2, 0, "ONE\nTWO".to_owned()));
    assert_eq!(seen(&transcript, 2), (1, 0, "x=y".to_owned()));
    assert_eq!(seen(&transcript, 3), (0, 0, String::new()));
    assert_eq!(seen(&transcript, 4), (1, 0, "ONE".to_owned()));
    assert_eq!(seen(&transcript, 5), (0, 0, String::new()));
}

#[test]
fn links() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = |name: &str| directory.path().join(name).into_os_string().into_string().expect("utf-8");
    for name in ["a", "b"] {
        std::fs::create_dir(path(name)).expect("mkdir");
        std::fs::write(path(&format!("{name}/file")), name).expect("write");
    }
    assert_eq!(
        succeeds(attempt!("link_and_read", "hard", path("a/file"), path("hard"))),
        (1, "a".to_owned())
    );
    assert_eq!(succeeds(attempt!("link_and_read", "sym", path("b/file"), path("sym"))), (1, "b".to_owned()));
    assert_eq!(
        once(attempt!("link_and_read", "sym", path("nothing"), path("dangling"))),
        (-1, ENOENT, "open".to_owned())
    );
    assert_eq!(once(attempt!("link_and_read", "sym", "x", path("sym"))), (-1, 17, "link".to_owned()));
    succeeds(attempt!("rename", path("hard"), path("moved")));
    succeeds(attempt!("unlink", path("moved")));
    assert_eq!(once(attempt!("unlink", path("moved"))).1, ENOENT);
    assert_eq!(succeeds(attempt!("suid_bits", path("suid"))).0, 0o4755);
    assert_eq!(once(attempt!("suid_bits", path("suid"))), (-1, 17, "create".to_owned()));

    let race = |forbidden: &str| {
        attempt!("symlink_race", path("link"), "a", forbidden, path("link/file"), 5000)
            .in_phase(Phase::Attempt)
    };
    // One turn may be over before the swapping child has run at all, on a machine with other things to do.
    let (won, data) =
        (0..50).map(|_| succeeds(race("b"))).find(|(won, _)| *won > 0).expect("a race that is won");
    assert!(data.ends_with("\nb"), "{won} {data}");
    assert!(!std::path::Path::new(&path("link.next")).exists());
    let (won, data) = succeeds(race("nowhere"));
    assert!(won == 0 && data.ends_with(" other=0"), "{won} {data}");
}

#[test]
fn processes_and_threads() {
    assert_eq!(succeeds(attempt!("fork_exit", 7)).0, 7);
    assert_eq!(succeeds(attempt!("clone_flags", 0)).0, 0);
    assert_eq!(succeeds(attempt!("clone3_flags", 0)).0, 0);
    assert_eq!(once(attempt!("clone_flags", 0x100)).1, refusal::BAD_OPERAND);
    // CLONE_NEWNS without CLONE_FS allowed together: EINVAL from the kernel, whoever asks.
    assert_eq!(once(attempt!("clone_flags", 0x0002_0200)).1, EINVAL);
    assert_eq!(once(attempt!("clone3_flags", 0x0002_0200)).1, EINVAL);
    assert_eq!(once(attempt!("unshare_flags", 0x0100_0001)).1, EINVAL);
    assert_eq!(succeeds(attempt!("unshare_flags", 0x200)).0, 0);
    let (ret, data) = succeeds(attempt!("thread_spawn"));
    assert!(ret == 0 && (data == "clone3" || data == "clone"), "{data}");
    let transcript = run([attempt!("sys", 39), attempt!("kill_check", result(0), 0)]);
    assert_eq!(seen(&transcript, 1).0, 0);
    assert_eq!(once(attempt!("kill_check", i32::MAX, 0)).1, 3);
}

#[test]
fn children_of_operations_are_reaped() {
    let transcript = run([
        attempt!("ptrace_sibling"),
        attempt!("vm_readv_sibling"),
        attempt!("fork_exit"),
        attempt!("exec", "/bin/true"),
        attempt!("tiocsti_own_pty"),
        // wait4(-1, NULL, WNOHANG, NULL)
        attempt!("sys", 61, -1, 0, 1, 0),
    ]);
    assert_eq!(seen(&transcript, 5).1, 10, "ECHILD");
}

#[test]
fn an_orphan_lives_on_for_its_time() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("beat");
    let transcript = run([
        attempt!("double_fork_setsid", path.as_path(), 1),
        attempt!("sleep_ms", 350),
        attempt!("status_field", result(0), "PPid"),
        attempt!("sys", 124, result(0)),
        attempt!("read_file", path.as_path()),
        attempt!("readlink", text([Piece::from("/proc/"), Piece::Result(0), Piece::from("/fd/1")])),
    ]);
    assert!(seen(&transcript, 0).0 > 1);
    assert_eq!(seen(&transcript, 5).1, ENOENT, "it holds the output open");
    assert_ne!(seen(&transcript, 2).0, 0);
    assert_ne!(seen(&transcript, 3).0, seen(&transcript, 0).0, "a session of the middle process");
    assert!(seen(&transcript, 4).0 >= 2, "{}", seen(&transcript, 4).2);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while std::fs::read(&path).expect("read").len() < 10 {
        assert!(std::time::Instant::now() < until, "the orphan stopped too early");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn reaching_into_a_child() {
    assert_eq!(succeeds(attempt!("ptrace_sibling")).0, 0);
    assert_eq!(succeeds(attempt!("ptrace_seize_sibling")).0, 0);
    assert_eq!(succeeds(attempt!("ptrace_traceme")).0, 0);
    let length = i64::try_from(NONCE_TEXT.len()).expect("length");
    assert_eq!(succeeds(attempt!("vm_readv_sibling")), (length, NONCE_TEXT.to_owned()));
    assert_eq!(succeeds(attempt!("vm_writev_sibling")).0, length);
    assert_eq!(succeeds(attempt!("proc_mem_sibling")), (length, NONCE_TEXT.to_owned()));
    assert_eq!(succeeds(attempt!("pidfd_getfd_sibling")).0, 0);
}

#[test]
fn execution() {
    let directory = tempfile::tempdir().expect("temporary directory");
    assert_eq!(succeeds(attempt!("exec", "/bin/echo", "a b", "c")), (0, "a b c\n".to_owned()));
    assert_eq!(
        succeeds(attempt!("exec", "/bin/sh", "-c", "echo oops >&2; exit 3")),
        (3, "oops\n".to_owned())
    );
    assert_eq!(succeeds(attempt!("exec", "/bin/sh", "-c", "kill -9 $$")).0, 128 + 9);
    assert_eq!(succeeds(attempt!("exec_ok", "/bin/echo", "a")), (0, "a\n".to_owned()));
    assert_eq!(
        once(attempt!("exec_ok", "/bin/sh", "-c", "echo oops; exit 3")),
        (-1, EPROTO, "oops\n".to_owned())
    );
    assert_eq!(once(attempt!("exec_ok", "/nonexistent")), (-1, ENOENT, "exec".to_owned()));
    let nine = (0..9).fold(attempt!("exec", "/bin/echo"), Statement::arg);
    assert_eq!(once(nine).1, refusal::BAD_OPERAND, "no argument is dropped silently");
    assert_eq!(once(attempt!("exec", "/nonexistent")), (-1, ENOENT, "exec".to_owned()));
    assert_eq!(once(attempt!("exec", directory.path())), (-1, 13, "exec".to_owned()));
    let own = (0, "PALISADE x DONE\n".to_owned());
    assert_eq!(succeeds(attempt!("memfd_exec")), own);
    assert_eq!(succeeds(attempt!("execveat_empty")), own);
    assert_eq!(succeeds(attempt!("execveat_empty", "/bin/true")).0, 0);
    assert_eq!(succeeds(attempt!("copy_exec", directory.path().join("copy").as_path())), own);
}

#[test]
fn terminals() {
    let (number, path) = succeeds(attempt!("openpty"));
    assert_eq!(path, format!("/dev/pts/{number}"));
    // dev.tty.legacy_tiocsti decides whether the kernel allows it at all (EIO where not).
    for statement in [attempt!("tiocsti_own_pty"), attempt!("tiocsti_own_pty", 1)] {
        let (_, errno, data) = once(statement);
        assert!(errno == 0 || (errno == 5 && data == "TIOCSTI"), "{errno} {data}");
    }
}

#[test]
fn system() {
    let transcript = run([
        attempt!("uname", "sysname"),
        attempt!("uname", "release"),
        attempt!("getrlimit", 7),
        attempt!("clock_delta", 1, 1),
        attempt!("print", "plain text\n"),
    ]);
    assert_eq!(seen(&transcript, 0), (5, 0, "Linux".to_owned()));
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("release");
    assert_eq!(seen(&transcript, 1).2, release.trim_end());
    let (soft, _, data) = seen(&transcript, 2);
    assert!(data.starts_with(&soft.to_string()) || data.starts_with("unlimited"), "{soft} {data}");
    assert!((-1000..=0).contains(&seen(&transcript, 3).0));
    assert_eq!(seen(&transcript, 4).0, 11);
}

#[test]
fn rings() {
    let (_, errno, _) = once(attempt!("io_uring_setup"));
    if errno != 0 {
        assert!([EPERM, ENOSYS].contains(&errno), "{errno}");
        eprintln!("skipped: this host refuses io_uring");
        return;
    }
    let transcript = run([
        attempt!("uring_openat", "/etc/passwd"),
        attempt!("readlink", text([Piece::from("/proc/self/fd/"), Piece::Result(0)])),
        attempt!("uring_openat", "/nonexistent"),
        attempt!("uring_socket", 1, 1),
        attempt!("uring_connect", "127.0.0.1", 1),
        attempt!("i386_socketcall", 1, 1, 0),
    ]);
    assert_eq!(seen(&transcript, 1).2, "/etc/passwd");
    assert_eq!(seen(&transcript, 2), (-1, ENOENT, String::new()));
    assert!(seen(&transcript, 3).0 > 2);
    assert_eq!(seen(&transcript, 4), (-1, ECONNREFUSED, String::new()));
    assert!(seen(&transcript, 5).0 > 2);
}

#[test]
fn limits_are_run_into_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let transcript = run([
        // prlimit64 of RLIMIT_NOFILE (7) to 64, soft and hard.
        attempt!("dup_many", 20),
        attempt!("sys", 302, 0, 7, bytes(b"\x40\0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0"), 0),
        attempt!("dup_many", 100),
        attempt!("dup_many", 20),
        attempt!("fork_many", 40),
        // epoll_create1
        attempt!("dup_many", 20, 291),
        attempt!("create_many", path, 30),
        attempt!("create_many", "/proc/self", 30),
    ]);
    assert_eq!(seen(&transcript, 0), (20, 0, String::new()));
    let (made, _, why) = seen(&transcript, 2);
    assert!((40..64).contains(&made), "{made} descriptors under a limit of 64");
    assert_eq!(why, "errno=24");
    assert_eq!(seen(&transcript, 3), (20, 0, String::new()));
    assert_eq!(seen(&transcript, 4), (40, 0, String::new()));
    assert_eq!(seen(&transcript, 5), (20, 0, String::new()));
    assert_eq!(seen(&transcript, 6), (30, 0, String::new()));
    assert_eq!(seen(&transcript, 7), (0, 0, "errno=2".to_owned()));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn other_processes_are_opened_but_not_this_one() {
    let mut other = Command::new("/bin/sleep").arg("60").spawn().unwrap();
    let transcript =
        run([attempt!("sys", 39), attempt!("open_others", "status"), attempt!("open_others", "nothing")]);
    other.kill().unwrap();
    other.wait().unwrap();
    let own = seen(&transcript, 0).0;
    let (count, _, pids) = seen(&transcript, 1);
    let pids: Vec<i64> = pids.split(',').filter_map(|pid| pid.parse().ok()).collect();
    assert!(count > 0 && !pids.contains(&own), "{own} {pids:?}");
    assert!(count > 100 || pids.contains(&i64::from(other.id())), "{pids:?}");
    assert_eq!(seen(&transcript, 2), (0, 0, String::new()));
}

#[test]
fn processes_threads_and_zombies_are_counted() {
    let transcript = run([
        attempt!("fork_many", 40, "zombies"),
        attempt!("thread_many", 40),
        // In a child with a limit of its own, prlimit64 of RLIMIT_NPROC (6): root is exempt, an ordinary user has more
        // processes than one already.
        attempt!("sys", 302, 0, 6, bytes(b"\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0"), 0),
        attempt!("thread_many", 40),
    ]);
    assert_eq!(seen(&transcript, 0), (40, 0, String::new()));
    assert_eq!(seen(&transcript, 1), (40, 0, String::new()));
    let (made, errno, data) = seen(&transcript, 3);
    let root =
        std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if root {
        assert_eq!((made, errno, data.as_str()), (40, 0, ""));
    } else {
        // Not even the child in which the threads were to be made.
        assert_eq!(errno, 11, "{made} {data}");
    }
}

#[test]
fn memory_is_written_to_until_it_is_refused() {
    let transcript = run([
        attempt!("touch", 1 << 20, "private"),
        attempt!("touch", 1 << 20, "shared"),
        attempt!("touch_many", 3, 1 << 20),
        attempt!("touch", 2_i64 << 30, "private"),
        attempt!("touch", 1 << 20, "else"),
        // prlimit64 of RLIMIT_AS (9) to 64 MiB.
        attempt!("sys", 302, 0, 9, bytes(b"\0\0\0\x04\0\0\0\0\0\0\0\x04\0\0\0\0"), 0),
        attempt!("touch", 128 << 20, "private"),
        attempt!("touch_many", 3, 128 << 20),
    ]);
    assert_eq!(seen(&transcript, 0), (1 << 20, 0, String::new()));
    assert_eq!(seen(&transcript, 1), (1 << 20, 0, String::new()));
    assert_eq!(seen(&transcript, 2), (3, 0, String::new()));
    assert_eq!(seen(&transcript, 3).1, refusal::BAD_OPERAND);
    assert_eq!(seen(&transcript, 4).1, refusal::BAD_OPERAND);
    assert_eq!(seen(&transcript, 6).1, 12);
    assert_eq!(seen(&transcript, 7), (0, 0, String::new()));
}

/// What is asked for is used: the clock of the attempts says so.
#[test]
fn processor_time_is_used_and_counted() {
    let transcript = run([
        attempt!("burn", 50),
        attempt!("burn", 50, 3),
        attempt!("burn_share", 200, 1),
        // clock_gettime of CLOCK_PROCESS_CPUTIME_ID (2).
        attempt!("sys", 228, 2, palisade_probe::script::buffer(16)),
    ]);
    assert_eq!((seen(&transcript, 0).0, seen(&transcript, 1).0), (1, 3));
    let (share, errno, _) = seen(&transcript, 2);
    // One process gets no more than one processor, and something at least.
    assert!(errno == 0 && (1..=1010).contains(&share), "{share} thousandths");
    let spent = transcript.observed(3).expect("observed").data.clone();
    let word = |at: usize| i64::from_ne_bytes(spent[at..at + 8].try_into().unwrap());
    let nanoseconds = word(0) * 1_000_000_000 + word(8);
    assert!(nanoseconds >= 50_000_000, "{nanoseconds} ns");
}

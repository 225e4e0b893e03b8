//! The engine, the language, generic system calls and files, with operations that harm nobody.

mod native;

use std::process::Command;

use native::{NONCE_TEXT, execute, program, run, seen};
use palisade_probe::script::{
    BAD, Cell, Ended, NONCE, Phase, Piece, Script, Statement, buffer, bytes, memory, parse_output, result,
    text,
};
use palisade_probe::{IMAGE, attempt, control, refusal, setup};

#[test]
fn image_is_small_and_static() {
    assert!(IMAGE.len() < 96 * 1024, "{} bytes", IMAGE.len());
    // ET_EXEC, not ET_DYN: nothing would relocate it.
    assert_eq!(&IMAGE[..6], b"\x7fELF\x02\x01");
    assert_eq!(&IMAGE[16..20], b"\x02\0\x3e\0");
}

#[test]
fn image_names_no_path_of_this_machine() {
    let path = env!("CARGO_MANIFEST_DIR").as_bytes();
    assert!(!IMAGE.windows(path.len()).any(|window| window == path));
}

#[test]
fn phases_run_in_their_processes() {
    let transcript = run([setup!("sys", 39), attempt!("sys", 39), attempt!("sys", 39), control!("sys", 39)]);
    let pids: Vec<i64> = (0..4).map(|index| seen(&transcript, index).0).collect();
    assert_eq!(pids[0], pids[3], "set-up and control share the main process");
    assert_eq!(pids[1], pids[2], "attempts share one child");
    assert_ne!(pids[0], pids[1]);
    assert_eq!(transcript.ended, Some(Ended::Exit(0)));
    assert_eq!(transcript.attempted.iter().copied().collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(transcript.last_attempt().map(|observed| observed.index), Some(2));
    assert_eq!(transcript.observed(3).map(|observed| observed.phase), Some(Phase::Control));
}

#[test]
fn without_attempts_nothing_is_forked() {
    let transcript = run([control!("sys", 39)]);
    assert_eq!(transcript.ended, None);
}

#[test]
fn both_entries_reach_the_same_kernel() {
    let transcript = run([attempt!("sys", 39), attempt!("sys32", 20)]);
    assert!(seen(&transcript, 0).0 > 0);
    assert_eq!(seen(&transcript, 0), seen(&transcript, 1));
}

#[test]
fn bad_pointers_are_bad() {
    const EFAULT: u16 = 14;
    // uname(2), and uname of i386.
    let transcript = run([attempt!("sys", 63, BAD), attempt!("sys32", 122, BAD)]);
    assert_eq!(seen(&transcript, 0), (-1, EFAULT, String::new()));
    assert_eq!(seen(&transcript, 1), (-1, EFAULT, String::new()));
}

#[test]
fn buffers_come_back_and_pointers_are_low() {
    // getcwd through both entries: the buffer must lie below 4 GiB.
    let transcript = run([attempt!("sys", 79, buffer(512), 512), attempt!("sys32", 183, buffer(512), 512)]);
    let here = std::env::current_dir().expect("cwd").into_os_string().into_string().expect("utf-8");
    for index in [0, 1] {
        let (length, errno, data) = seen(&transcript, index);
        assert_eq!((usize::try_from(length), errno), (Ok(here.len() + 1), 0));
        assert_eq!(data.trim_end_matches('\0'), here);
        assert_eq!(data.len(), 512);
    }
}

#[test]
fn six_operands_reach_both_entries() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = |name: &str| directory.path().join(name).into_os_string().into_string().expect("utf-8");
    std::fs::write(path("in"), "A".repeat(4096) + &"B".repeat(4096)).expect("write");
    let script = Script::from([
        setup!("open", path("in"), 0),
        setup!("open", path("out"), 0o101, 0o600),
        // mmap(0, 4096, PROT_READ, MAP_PRIVATE, in, 4096); mmap2 counts the offset in pages.
        control!("sys", 9, 0, 4096, 1, 2, result(0), 4096),
        control!("sys32", 192, 0, 4096, 1, 2, result(0), 1),
        control!("sys", 1, result(1), result(2), 2),
        control!("sys", 1, result(1), result(3), 3),
    ]);
    let transcript = run(script);
    assert_eq!((seen(&transcript, 4).0, seen(&transcript, 5).0), (2, 3));
    assert_eq!(std::fs::read_to_string(path("out")).expect("read"), "BBBBB");
}

#[test]
fn results_and_texts_reach_later_statements() {
    let transcript = run([
        setup!("open", "/proc/self/status", 0),
        attempt!("sys", 0, result(0), buffer(5), 5),
        attempt!("readlink", text([Piece::from("/proc/self/fd/"), Piece::Result(0)])),
        setup!("open", "/nonexistent/ %[]\u{e9}", 0),
        control!("sys", 3, result(3)),
    ]);
    assert_eq!(seen(&transcript, 1), (5, 0, "Name:".to_owned()));
    assert!(seen(&transcript, 2).2.ends_with("/status"));
    assert_eq!(seen(&transcript, 3).1, 2);
    assert_eq!(seen(&transcript, 4).1, refusal::DEPENDENCY);
}

#[test]
fn structures_hold_pointers() {
    // writev(1, {{"hello ", 6}, {nonce, 3}}, 2): what the program prints besides its own lines is ignored.
    let vector = memory([
        Cell::Word("hello ".into()),
        Cell::Bytes(6_u64.to_le_bytes().to_vec()),
        Cell::Word(NONCE),
        Cell::Bytes(3_u64.to_le_bytes().to_vec()),
    ]);
    let script =
        Script::from([attempt!("sys", 20, 1, vector, 2), attempt!("sys", 1, 1, bytes(b"\n\xff"), 2)]);
    let output = execute(&script.argv(NONCE_TEXT).expect("a script"));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("hello Zm9PALISADE"), "{stdout}");
    let transcript = parse_output(&output.stdout, NONCE_TEXT);
    assert_eq!(seen(&transcript, 0), (9, 0, String::new()));
    assert_eq!(seen(&transcript, 1), (2, 0, String::new()));
    assert!(transcript.done);
}

#[test]
fn unknown_operations_and_operands_are_named() {
    let lines =
        ["n", "a:nope 1", "a:sys", "a:sys x", "a:sys 39 #4097", "a:sys 1 2 3 4 5 6 7 8", "a:sys 39 =0"];
    let output = execute(&lines.map(str::to_owned));
    let transcript = parse_output(&output.stdout, "n");
    assert_eq!(seen(&transcript, 0), (-1, refusal::UNKNOWN_OPERATION, "unknown op".to_owned()));
    assert_eq!(seen(&transcript, 1), (-1, refusal::BAD_OPERAND, "missing operand 0".to_owned()));
    assert_eq!(seen(&transcript, 2), (-1, refusal::BAD_OPERAND, "malformed operand 0".to_owned()));
    for index in [3, 5] {
        assert_eq!(seen(&transcript, index), (-1, refusal::BAD_OPERAND, "malformed operand 1".to_owned()));
    }
    assert_eq!(seen(&transcript, 4).1, refusal::BAD_OPERAND);
    assert!(transcript.done);
}

#[test]
fn a_command_line_that_is_no_script_is_refused() {
    let lines: [&[&str]; 5] = [&[], &["a b"], &[""], &["n", "sys 39"], &["n", "s:sys 39", "x:sys 39"]];
    for arguments in lines {
        let output = execute(&arguments.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(output.stderr.starts_with(b"palisade-probe: "), "{arguments:?}");
    }
}

#[test]
fn files() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = |name: &str| directory.path().join(name).into_os_string().into_string().expect("utf-8");
    std::os::unix::fs::symlink("over there", path("link")).expect("symlink");
    let transcript = run([
        control!("write_file", path("a b%"), "one "),
        control!("append", path("a b%"), "two"),
        control!("read_file", path("a b%")),
        control!("read_file", path("a b%"), 2),
        control!("create_excl", path("new")),
        control!("create_excl", path("new")),
        control!("append", path("absent"), "x"),
        control!("list_dir", path("")),
        control!("stat_mode", path("a b%")),
        control!("readlink", path("link")),
        control!("statfs", "/proc"),
        control!("stat_mode", path("link")),
        control!("stat_mode", path("link"), "nofollow"),
        control!("read_file", "/dev/zero", 100_000),
    ]);
    assert_eq!(seen(&transcript, 0).0, 4);
    assert_eq!(seen(&transcript, 2), (7, 0, "one two".to_owned()));
    assert_eq!(seen(&transcript, 3), (2, 0, "on".to_owned()));
    assert_eq!((seen(&transcript, 4).1, seen(&transcript, 5).1, seen(&transcript, 6).1), (0, 17, 2));
    let (count, _, names) = seen(&transcript, 7);
    let mut names: Vec<&str> = names.split('\n').collect();
    names.sort_unstable();
    assert_eq!((count, names), (3, vec!["a b%", "link", "new"]));
    let (mode, _, data) = seen(&transcript, 8);
    assert_eq!(mode & 0o170_000, 0o100_000);
    assert!(data.ends_with(&format!(" {:04o} 7 1", mode & 0o7777)), "{data}");
    assert_eq!(seen(&transcript, 9), (10, 0, "over there".to_owned()));
    assert!(seen(&transcript, 10).2.starts_with("type=0x9fa0 flags=0x"), "{}", seen(&transcript, 10).2);
    assert_eq!(seen(&transcript, 11).1, 2);
    assert_eq!(seen(&transcript, 12).0 & 0o170_000, 0o120_000);
    let zeros = transcript.observed(13).expect("observed");
    assert_eq!((zeros.ret, zeros.data.len()), (100_000, 2048));
}

#[test]
fn a_large_directory_is_listed_whole() {
    let directory = tempfile::tempdir().expect("temporary directory");
    for number in 0..500 {
        std::fs::write(directory.path().join(format!("file-{number}")), "").expect("write");
    }
    let transcript = run([control!("list_dir", directory.path())]);
    assert_eq!(seen(&transcript, 0).0, 500);
}

#[test]
fn a_lone_attempt_costs_nine_calls() {
    let program = program();
    // The two processes are observed from outside: /proc/self/syscall would count nothing.
    let strace = Command::new("strace").arg("-V").output();
    if !strace.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("PALISADE_MUST_WORK").is_none(), "strace is missing");
        eprintln!("skipped: no strace on this machine");
        return;
    }
    let script = Script::from([attempt!("sys", 63, BAD)]);
    let output = Command::new("strace")
        .args(["-f", "-qq", "-e", "signal=none"])
        .arg(program)
        .args(script.argv(NONCE_TEXT).expect("a script"))
        .output()
        .expect("strace");
    let trace = String::from_utf8_lossy(&output.stderr);
    let calls: Vec<&str> = trace
        .lines()
        .map(|line| line.rsplit_once("] ").map_or(line, |(_, rest)| rest))
        .filter(|line| !line.starts_with("<...") && !line.starts_with("strace:"))
        .filter_map(|line| line.split('(').next())
        .collect();
    let mut sorted = calls.clone();
    sorted.sort_unstable();
    let expected =
        ["clone", "execve", "exit_group", "exit_group", "uname", "wait4", "write", "write", "write", "write"];
    assert_eq!(sorted, expected, "{trace}");
}

#[test]
fn statements_move_between_phases() {
    let statement: Statement = attempt!("sys", 39);
    assert_eq!(statement.clone().in_phase(Phase::Control), control!("sys", 39));
    assert_eq!(statement.to_string(), "a:sys 39");
}

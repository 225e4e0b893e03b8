//! Between clone and exec the child allocates nothing: seen from outside, by strace.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use rstest::rstest;

/// System calls by which an allocator gets memory, or gives it back.
const ALLOCATING: &[&str] = &["brk", "mmap", "munmap", "mremap", "mprotect", "madvise"];

/// The lines of a trace that belong to process `pid`, without the process id.
fn lines_of<'a>(trace: &'a str, pid: &str) -> Vec<&'a str> {
    trace.lines().filter_map(|line| line.strip_prefix(pid)?.strip_prefix(' ')).map(str::trim_start).collect()
}

#[rstest]
#[case::plain(&[])]
#[case::overlay(&["--policy", "agent", "--workspace", "overlay"])]
#[case::copy(&["--policy", "agent", "--workspace", "copy"])]
fn the_child_makes_no_allocating_call_before_it_executes(#[case] flags: &[&str]) {
    if !support::strace() {
        eprintln!("skipped: strace is not installed");
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("trace");
    // Something for a copy to walk: content, a directory, a link, and the trace, which grows with every call of the copy:
    // one that followed it would not end.
    std::fs::create_dir(directory.path().join("below")).expect("made");
    std::fs::write(directory.path().join("below/file"), "x").expect("written");
    std::os::unix::fs::symlink("file", directory.path().join("below/link")).expect("linked");
    let status = Command::new("strace")
        .args(["-f", "-o"])
        .arg(&file)
        .args([env!("CARGO_BIN_EXE_palisade"), "run"])
        .args(flags)
        .args(["--", "/bin/true"])
        .current_dir(directory.path())
        .status()
        .expect("strace starts");
    assert!(status.success());
    let trace = fs::read_to_string(&file).expect("a trace");

    // The sandbox's first process comes from the clone3 with the pid namespace; the workload is its child.
    let clone = trace.lines().find(|line| line.contains("clone3(") && line.contains("CLONE_NEWPID"));
    let clone = clone.expect("the trace shows the clone3");
    let supervisor = clone.split_whitespace().next().expect("a pid");
    let pids: BTreeSet<&str> = trace
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|pid| *pid != supervisor)
        .collect();
    let (mut children, mut executed) = (0, 0);
    for pid in pids {
        let lines = lines_of(&trace, pid);
        let first_exec = lines.iter().position(|line| line.starts_with("execve("));
        executed += usize::from(first_exec.is_some());
        let before = &lines[..first_exec.unwrap_or(lines.len())];
        children += usize::from(!before.is_empty());
        for line in before {
            let name = line.split('(').next().unwrap_or_default();
            assert!(!ALLOCATING.contains(&name), "process {pid} allocates before it executes: {line}");
        }
    }
    // Without this the test would pass on an empty trace.
    assert!(children >= 2 && executed == 1, "{children} children, {executed} of them executed something");
}

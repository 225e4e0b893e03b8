//! Nothing of a sandbox stays in the process that ran it. A program of its own, since it counts what the process has.

mod support;

use std::fs;

use support::{plan, run};

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("readable").count()
}

fn mounts() -> usize {
    fs::read_to_string("/proc/self/mountinfo").expect("readable").lines().count()
}

#[test]
fn fifty_runs_leave_no_descriptor_no_mount_and_no_child() {
    let plan = plan();
    let before = (descriptors(), mounts());
    for _ in 0..50 {
        assert_eq!(run(&plan, "true", &[]).exit_code(), 0);
    }
    assert_eq!((descriptors(), mounts()), before);
    let child = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
    assert!(matches!(child, Err(rustix::io::Errno::CHILD)), "a child is left: {child:?}");
}

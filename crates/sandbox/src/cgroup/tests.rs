//! Against directories with the files of a group, and, as root, against groups of this machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use palisade_plan::PlannedStep;
use palisade_policy::Clause;

use super::*;

/// A directory that looks like a group.
fn group(
    directory: &Path,
    version: CgroupVersion,
    controllers: &[Controller],
    files: &[(&str, &str)],
) -> Group {
    for (file, content) in files {
        fs::write(directory.join(file), content).expect("written");
    }
    let directory = fs::File::open(directory).expect("opened").into();
    Group { step: 1, version, controllers: controllers.to_vec(), directory }
}

fn cgroups(group: Group, cpu_time: Option<Duration>) -> Cgroups {
    Cgroups { groups: vec![group], cpu_time, processors: 4, janitor: None }
}

fn hit(clause: &'static str, times: u64) -> LimitHit {
    LimitHit { clause: Clause::new(clause), times: Some(times) }
}

#[test]
fn version_2_is_read_as_documented() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let files = [
        ("memory.peak", "104857600\n"),
        ("memory.events", "low 0\nhigh 0\nmax 31\noom 2\noom_kill 1\noom_group_kill 0\n"),
        ("pids.peak", "17\n"),
        ("pids.events", "max 5\n"),
        (
            "cpu.stat",
            "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_periods 40\nnr_throttled 9\n\
             throttled_usec 1234567\n",
        ),
    ];
    let groups = cgroups(
        group(directory.path(), CgroupVersion::V2, &Controller::ALL, &files),
        Some(Duration::from_secs(3)),
    );
    let usage = groups.usage(Usage::default());
    assert_eq!((usage.peak_memory, usage.peak_processes), (Some(104_857_600), Some(17)));
    assert_eq!((usage.cpu_user, usage.cpu_system), (Duration::from_secs(2), Duration::from_millis(500)));
    assert_eq!(usage.throttled, Some(Duration::from_micros(1_234_567)));
    assert_eq!(
        groups.hits(),
        [hit("resources.memory", 1), hit("resources.processes", 5), hit("resources.cpus", 9)]
    );
    // Half a second is left, and four processors could use it up in an eighth of one.
    assert_eq!(groups.look(), Some(Look::Again(Duration::from_millis(125))));
    assert!(groups.to_begin_in().is_some());
}

#[test]
fn version_1_is_read_as_documented() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let files = [
        ("memory.max_usage_in_bytes", "4096\n"),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
        ("pids.events", "max 0\n"),
        ("cpuacct.usage", "3000000000\n"),
        ("cpuacct.usage_user", "2000000000\n"),
        ("cpuacct.usage_sys", "1000000000\n"),
        ("cpu.stat", "nr_periods 1\nnr_throttled 0\nthrottled_time 0\n"),
    ];
    let groups = cgroups(
        group(directory.path(), CgroupVersion::V1, &Controller::ALL, &files),
        Some(Duration::from_secs(3)),
    );
    let usage = groups.usage(Usage::default());
    assert_eq!((usage.peak_memory, usage.peak_processes), (Some(4096), None));
    assert_eq!((usage.cpu_user, usage.cpu_system), (Duration::from_secs(2), Duration::from_secs(1)));
    assert_eq!(groups.hits(), [hit("resources.memory", 3)]);
    assert_eq!(groups.look(), Some(Look::UsedUp));
    assert!(groups.to_begin_in().is_none());
}

#[test]
fn what_cannot_be_read_is_not_known_and_a_watched_time_is_used_up() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let controllers = Controller::ALL;
    let watched = |limit| cgroups(group(directory.path(), CgroupVersion::V2, &controllers, &[]), limit);
    assert_eq!(watched(None).usage(Usage::default()), Usage::default());
    assert_eq!(watched(None).hits(), []);
    assert_eq!(watched(None).look(), None);
    assert_eq!(watched(Some(Duration::from_secs(1))).look(), Some(Look::UsedUp));
}

#[test]
fn looks_are_neither_idle_nor_rare() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let used = |micros: u64| {
        let stat = format!("usage_usec {micros}\nuser_usec 0\nsystem_usec 0\n");
        let files = [("cpu.stat", stat.as_str())];
        let group = group(directory.path(), CgroupVersion::V2, &[Controller::CpuAccounting], &files);
        cgroups(group, Some(Duration::from_secs(60))).look()
    };
    assert_eq!(used(0), Some(Look::Again(LONGEST_LOOK)));
    assert_eq!(used(59_999_999), Some(Look::Again(SHORTEST_LOOK)));
    assert_eq!(used(60_000_000), Some(Look::UsedUp));
}

/// A file that a plan names cannot lead out of the group.
#[test]
fn limits_are_written_into_the_group_only() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let inner = directory.path().join("group");
    fs::create_dir(&inner).expect("made");
    fs::write(directory.path().join("outside"), "as it was").expect("written");
    let group = group(&inner, CgroupVersion::V2, &[], &[("memory.max", "")]);
    group.write("memory.max", "4096").expect("a file of the group");
    assert_eq!(fs::read_to_string(inner.join("memory.max")).expect("readable"), "4096");
    let failed = group.write("../outside", "4096").expect_err("not in the group");
    assert_eq!((failed.what.as_str(), failed.errno), ("write ../outside", Errno::XDEV));
    assert_eq!(fs::read_to_string(directory.path().join("outside")).expect("readable"), "as it was");
}

fn plan(parent: &Path, limits: &[(&str, &str)]) -> Plan {
    let limits: BTreeMap<String, String> =
        limits.iter().map(|(file, value)| ((*file).to_owned(), (*value).to_owned())).collect();
    let step = Step::JoinCgroup {
        version: CgroupVersion::V1,
        controllers: vec![Controller::Pids],
        parent: parent.to_path_buf(),
        limits,
    };
    Plan {
        version: palisade_plan::plan::VERSION,
        policy: "test".into(),
        steps: vec![PlannedStep { serves: Clause::new("resources.processes"), step }],
        directory: "/".into(),
        environment: BTreeMap::new(),
        wall_time: None,
        output: None,
        terminal: false,
        coverage: Vec::new(),
    }
}

#[test]
fn what_cannot_be_made_is_told_with_its_step_and_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let made = Groups::of(&plan(directory.path(), &[("pids.max", "5")])).expect("a plan").make();
    // mkdir works in any directory, but only a hierarchy puts files into it.
    let failed = made.expect_err("no hierarchy");
    assert_eq!((failed.step, failed.what.as_str(), failed.errno), (1, "write pids.max", Errno::NOENT));
    assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 0);
}

/// As root, where this machine has version 1: the group exists with its limit, and goes.
#[test]
fn a_real_group_has_its_limit_and_goes() {
    let parent = Path::new("/sys/fs/cgroup/pids");
    if !rustix::process::geteuid().is_root() || !parent.join("cgroup.procs").exists() {
        eprintln!("skipped: not root, or no hierarchy of version 1 for pids");
        return;
    }
    let groups = Groups::of(&plan(parent, &[("pids.max", "5")])).expect("a plan");
    let directory = groups.planned[0].directory.clone();
    let path = Path::new(std::ffi::OsStr::from_bytes(directory.as_bytes()));
    let made = groups.make().expect("made");
    assert_eq!(fs::read_to_string(path.join("pids.max")).expect("a limit").trim(), "5");
    assert_eq!(made.hits(), []);
    drop(made);
    assert!(!path.exists());
}

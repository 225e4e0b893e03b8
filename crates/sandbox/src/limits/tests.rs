//! What is looked at follows from the plan alone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use palisade_plan::PlannedStep;
use palisade_plan::step::{CgroupVersion, MountAttributes};
use palisade_policy::ByteSize;

use super::*;

fn plan(steps: Vec<(Clause, Step)>) -> Plan {
    Plan {
        version: palisade_plan::plan::VERSION,
        policy: "test".into(),
        steps: steps.into_iter().map(|(serves, step)| PlannedStep { serves, step }).collect(),
        directory: PathBuf::from("/"),
        environment: BTreeMap::new(),
        wall_time: None,
        output: None,
        terminal: false,
        coverage: Vec::new(),
    }
}

fn tmpfs(path: &str) -> Step {
    Step::MountTmpfs {
        path: path.into(),
        size: ByteSize::from_mib(1),
        inodes: 256,
        mode: 0o1777,
        attributes: MountAttributes::SAFE,
    }
}

fn bind(path: &str) -> Step {
    Step::MountBind {
        source: path.into(),
        path: path.into(),
        attributes: MountAttributes::SAFE,
        recursive: true,
        idmap: None,
    }
}

fn processes() -> Step {
    Step::Limit { resource: LimitedResource::Processes, value: 8 }
}

fn group() -> Step {
    Step::JoinCgroup {
        version: CgroupVersion::V2,
        controllers: vec![Controller::Pids],
        parent: "/".into(),
        limits: Default::default(),
    }
}

/// Another's full file system is not the sandbox's limit.
#[test]
fn a_file_system_that_a_rule_covers_is_not_looked_at() {
    let shm = (TMP, tmpfs("/dev/shm"));
    let both = plan(vec![(TMP, tmpfs("/tmp")), shm.clone(), (Clause::new("filesystem.base"), tmpfs("/dev"))]);
    let paths = |plan: &Plan| -> Vec<CString> {
        Watched::of(plan).file_systems.into_iter().map(|(path, _)| path).collect()
    };
    assert_eq!(paths(&both), [c"/tmp".into(), CString::from(c"/dev/shm")]);
    let rule = Clause::new("filesystem.read_write[0]");
    let covered = plan(vec![(TMP, tmpfs("/tmp")), shm, (rule, bind("/tmp"))]);
    assert_eq!(paths(&covered), [CString::from(c"/dev/shm")]);
}

#[test]
fn processes_are_asked_about_only_where_nothing_counts_them() {
    assert!(Watched::of(&plan(vec![(PROCESSES, processes())])).processes);
    assert!(!Watched::of(&plan(vec![(PROCESSES, group()), (PROCESSES, processes())])).processes);
    assert!(!Watched::of(&plan(Vec::new())).processes);
}

#[test]
fn what_is_counted_and_not_hit_was_not_met_and_the_rest_is_unseen() {
    let counted = plan(vec![(PROCESSES, group()), (PROCESSES, processes()), (TMP, tmpfs("/tmp"))]);
    let names = |unseen: Vec<(Clause, &str)>| -> Vec<Clause> {
        unseen.into_iter().map(|(clause, _)| clause).collect()
    };
    let (not_met, unseen) = others(&counted, &[]);
    assert_eq!((not_met, names(unseen)), (vec![PROCESSES], vec![TMP]));
    let hits = [LimitHit { clause: TMP, times: None }];
    assert_eq!(others(&counted, &hits), (vec![PROCESSES], Vec::new()));
    let looked_at = plan(vec![(PROCESSES, processes())]);
    let (not_met, unseen) = others(&looked_at, &[]);
    assert_eq!((not_met, names(unseen)), (Vec::new(), vec![PROCESSES]));
}

/// A huge number of seconds in a plan that was given as data is no reason to panic.
#[test]
fn the_time_of_one_process_is_compared_without_overflow() {
    let watched = Watched { cpu_time: Some(Duration::from_secs(u64::MAX)), ..Watched::default() };
    assert!(!watched.is_cpu_time(Duration::from_secs(1)));
    let watched = Watched { cpu_time: Some(Duration::from_secs(1)), ..Watched::default() };
    assert!(watched.is_cpu_time(Duration::from_millis(950)));
    assert!(watched.is_cpu_time(Duration::from_millis(700)), "charged for ticks that others had most of");
    assert!(!watched.is_cpu_time(Duration::from_millis(500)));
}

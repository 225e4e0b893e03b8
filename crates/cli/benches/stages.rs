//! The pure stages: what is computed of a policy, a host and observations, without a sandbox.
//!
//! `cargo bench -p palisade-cli` times them. With `count STAGE TIMES` one stage runs so often and nothing else does, for whoever counts
//! instructions (`ci/instructions`); with PALISADE_BENCH_TWICE=STAGE that stage does its work twice, which such a count has to notice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use palisade_conformance::catalogue::{self, Probe};
use palisade_conformance::entry::Entry;
use palisade_conformance::judge::{Evidence, judge};
use palisade_conformance::lab::World;
use palisade_conformance::matrix::{self, Axis, Matrix};
use palisade_conformance::observation::{Observation, Seen};
use palisade_conformance::report::{CaseReport, Form, Report, Subject};
use palisade_plan::facts::{Ability, Kind, PathFact, Present};
use palisade_plan::seccomp::assemble;
use palisade_plan::{HostFacts, KERNEL_ID_BASE, Plan, Situation, Step, decide, named_paths};
use palisade_policy::{Document, Policy};

/// A stage by name: makes what it works on, and gives its work.
type Stage = (&'static str, fn() -> Box<dyn Fn()>);

const STAGES: &[Stage] = &[
    ("parse", parse),
    ("decide", deciding),
    ("assemble", assembling),
    ("judge", judging),
    ("report", reporting),
    ("matrix", reading),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["count", stage, times] => count(stage, times),
        ["list"] => {
            STAGES.iter().for_each(|(name, _)| println!("{name}"));
            ExitCode::SUCCESS
        }
        _ => {
            divan::main();
            ExitCode::SUCCESS
        }
    }
}

fn count(stage: &str, times: &str) -> ExitCode {
    let found = STAGES.iter().find(|(name, _)| *name == stage);
    let (Some((_, make)), Ok(times)) = (found, times.parse::<usize>()) else {
        eprintln!("count STAGE TIMES");
        return ExitCode::FAILURE;
    };
    let twice = std::env::var("PALISADE_BENCH_TWICE").is_ok_and(|slower| slower == stage);
    let work = make();
    (0..times * if twice { 2 } else { 1 }).for_each(|_| work());
    ExitCode::SUCCESS
}

#[divan::bench(args = STAGES.iter().map(|(name, _)| *name))]
fn stage(bencher: divan::Bencher<'_, '_>, name: &str) {
    let make = STAGES.iter().find(|(other, _)| *other == name).expect("a stage").1;
    let work = make();
    bencher.bench_local(work);
}

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(path)
}

/// A build that fetches dependencies.
fn text() -> String {
    fs::read_to_string(fixture("policies/valid/allowlist.yaml")).expect("a valid policy")
}

fn policy() -> Policy {
    Document::parse("allowlist", &text()).expect("a valid policy").policy
}

fn parse() -> Box<dyn Fn()> {
    let text = text();
    Box::new(move || {
        black_box(Document::parse("allowlist", black_box(&text)).expect("a valid policy"));
    })
}

/// A policy, a recorded host that has every path of it, and a run.
fn host() -> (Policy, HostFacts, Situation) {
    let (policy, directory) = (policy(), Path::new("/home/dev/project"));
    let text = fs::read_to_string(fixture("hosts/debian12-6.18-root.json")).expect("a recorded host");
    let mut facts: HostFacts = serde_json::from_str(&text).expect("a recorded host");
    for path in named_paths(&policy, directory) {
        let present = Present {
            canonical: path.clone(),
            kind: Kind::Directory,
            uid: 1001,
            gid: 1001,
            idmap: Some(Ability::Available),
            links: BTreeSet::new(),
            mounts: BTreeMap::new(),
            aliases: BTreeMap::new(),
        };
        facts.paths.insert(path, PathFact::Present(present));
    }
    let situation =
        Situation { directory: directory.into(), environment: BTreeMap::new(), kernel_id: KERNEL_ID_BASE };
    (policy, facts, situation)
}

fn planned() -> Plan {
    let (policy, facts, situation) = host();
    decide(&policy, &facts, &situation).expect("a plan")
}

fn deciding() -> Box<dyn Fn()> {
    let (policy, facts, situation) = host();
    Box::new(move || {
        black_box(decide(black_box(&policy), &facts, &situation).expect("a plan"));
    })
}

fn assembling() -> Box<dyn Fn()> {
    let profiles: Vec<_> = planned()
        .steps
        .into_iter()
        .filter_map(|planned| match planned.step {
            Step::InstallSeccomp { profile } => Some(profile),
            _ => None,
        })
        .collect();
    Box::new(move || {
        profiles.iter().for_each(|profile| {
            black_box(assemble(black_box(profile)).expect("a program"));
        });
    })
}

/// Every probe of the policy, all of which were refused inside and none outside.
fn observed() -> (Vec<Probe>, Observation, Observation) {
    let probes = catalogue::all(&World::described(), &policy());
    // EPERM.
    let refused = Seen::Returned { ret: -1, errno: 1, data: Vec::new(), took: Duration::ZERO };
    let refused = Observation::of(refused);
    (probes, refused, Observation::of(Seen::returned(0)))
}

fn judging() -> Box<dyn Fn()> {
    let (probes, inside, outside) = observed();
    Box::new(move || {
        for probe in &probes {
            black_box(judge(probe, Evidence { inside: &inside, outside: Some(&outside), canary: None }));
        }
    })
}

fn report() -> Report {
    let (probes, inside, outside) = observed();
    let case = |probe: &Probe| {
        let verdict = judge(probe, Evidence { inside: &inside, outside: Some(&outside), canary: None });
        let (inside, outside) = (Some(inside.clone()), Some(outside.clone()));
        CaseReport { inside, outside, ..CaseReport::new(probe, None, verdict) }
    };
    Report {
        subject: Subject {
            version: "0".into(),
            runtime: "palisade".into(),
            runtime_file: None,
            runtime_version: None,
            entry: Entry::Run,
            backend: None,
            policy: "allowlist".into(),
            policy_argument: "allowlist.yaml".into(),
            probes: Vec::new(),
            host: "Linux".into(),
            host_facts: serde_json::Value::Null,
            repeat: 1,
            shard: None,
        },
        // Enough of each kind; all of them would take valgrind minutes.
        cases: probes.iter().step_by(10).map(case).collect(),
        untested: BTreeMap::new(),
        lapsed: BTreeMap::new(),
        took: Duration::ZERO,
        against: None,
    }
}

fn written(form: Form, report: &Report) -> Vec<u8> {
    let mut bytes = Vec::new();
    form.write(&mut bytes, report).expect("a report in memory");
    bytes
}

fn reporting() -> Box<dyn Fn()> {
    let report = report();
    Box::new(move || {
        for form in [Form::Text, Form::Json] {
            black_box(written(form, black_box(&report)));
        }
    })
}

fn reading() -> Box<dyn Fn()> {
    let text = written(Form::Json, &report());
    Box::new(move || {
        let inputs =
            ["a", "b"].map(|host| matrix::read::parse(host, host, black_box(&text)).expect("a report"));
        black_box(Matrix::new(Axis::Host, inputs).expect("a matrix"));
    })
}

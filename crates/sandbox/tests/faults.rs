//! Whatever fails, and whenever the supervisor dies: no instruction of the workload has run that should not have, and
//! nothing is left. Systematic over the steps of several plans, as whoever runs the tests.

#[path = "support/apart.rs"]
mod apart;
#[path = "support/breakage.rs"]
mod breakage;
#[path = "support/plans.rs"]
mod plans;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Stdio};

use apart::{again, apart, everything, namespaces, nothing_is_left, processes, reap_all};
use palisade::{Command, Ending, Error, Event, Outcome};
use palisade_plan::{Plan, PlannedStep, Step};
use palisade_policy::Clause;

/// What a workload writes at once, if it runs.
const RAN: &str = "the workload ran";

/// Namespaces of a kind that may exist at a time. The kernel takes its time to free those of a dead process.
const NAMESPACES: u32 = 50;

/// The workload: leaves its mark where it may, and says so.
fn workload(rest: &str) -> [String; 2] {
    ["-c".into(), format!("echo {RAN}; echo > marker; {rest}")]
}

/// A step of no policy.
fn step(step: Step) -> PlannedStep {
    PlannedStep { serves: Clause::new("test"), step }
}

fn with(plan: &Plan, place: usize, extra: Step) -> Plan {
    let mut plan = plan.clone();
    plan.steps.insert(place, step(extra));
    plan
}

/// Runs the workload under `plan` in this process.
fn run(plan: &Plan) -> Result<Outcome, Error> {
    let command = Command::new("sh").args(workload("exit 9")).stdin(palisade::Stdio::Null);
    palisade::run(plan, command.stdout(palisade::Stdio::Capture).stderr(palisade::Stdio::Capture), None, None)
}

fn output(outcome: &Outcome) -> String {
    let captured = outcome.output.stdout.as_ref().and_then(|stream| stream.captured.clone());
    String::from_utf8(captured.expect("captured")).expect("UTF-8")
}

/// The control of every test here: without a fault each workload runs, says so, and leaves nothing but its mark.
fn plans_that_work(place: &Path) -> Vec<(&'static str, Plan)> {
    let workspace = plans::workspace(place);
    let plans = plans::plans(&workspace);
    let before = everything(place);
    for (name, plan) in &plans {
        let outcome = run(plan).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(outcome.ending, Ending::Exited(9), "{name}");
        assert_eq!(output(&outcome).trim_end(), RAN, "{name}");
        // The default policy has no place to write to.
        let marked = fs::remove_file(workspace.join("marker")).is_ok();
        assert_eq!(marked, *name != "default", "{name}");
        nothing_is_left(place, &before, name);
    }
    plans
}

#[test]
fn a_step_that_fails_runs_nothing_wherever_it_stands() {
    apart("a_step_that_fails_runs_nothing_wherever_it_stands", NAMESPACES, |place| {
        let plans = plans_that_work(place);
        let before = everything(place);
        let mut tried = 0;
        for (name, plan) in &plans {
            for at in 0..=plan.steps.len() {
                // In a directory that exists neither on the host nor in the sandbox.
                let path = "/no/such/directory/link".into();
                let broken = with(plan, at, Step::MakeLink { path, target: "nowhere".into() });
                let outcome = run(&broken).unwrap_or_else(|error| panic!("{name}, step {}: {error}", at + 1));
                match &outcome.ending {
                    Ending::NotStarted(failure) => {
                        let told = (failure.step, failure.action.as_str());
                        assert_eq!(told, (at + 1, "make link /no/such/directory/link -> nowhere"), "{name}");
                    }
                    other => panic!("{name}, step {} failed, but: {other:?}", at + 1),
                }
                assert_eq!(output(&outcome), "", "{name}, step {}", at + 1);
                nothing_is_left(place, &before, &format!("{name}, step {}", at + 1));
                tried += 1;
            }
        }
        println!("errors: {tried} (steps x {} plans)", plans.len());
    });
}

/// Operands with which a run may go on whatever they are, by step and field: sizes, modes and limits that the kernel takes,
/// what a file holds, where a link leads, which ids the caller may map.
const ANYTHING_GOES: &[(&str, &[&str])] = &[
    ("map ids", &["uid.inside", "uid.outside", "gid.inside", "gid.outside"]),
    ("set hostname", &["name"]),
    ("new root", &["size"]),
    ("make directory", &["mode"]),
    ("make file", &["mode", "content"]),
    ("make link", &["target"]),
    ("mount tmpfs", &["size", "inodes", "mode"]),
    ("mount bind", &["idmap.uid.inside", "idmap.uid.outside", "idmap.gid.inside", "idmap.gid.outside"]),
    ("limit", &["value"]),
    ("watch cpu time", &["limit.secs", "limit.nanos"]),
    ("restrict landlock", &["abi"]),
    // Names of clauses and of hosts: one that nobody has allows nothing.
    ("serve egress", &["network.allow.clause", "network.allow.peer.host"]),
];

#[test]
fn a_step_whose_operand_is_broken_runs_nothing() {
    apart("a_step_whose_operand_is_broken_runs_nothing", NAMESPACES, |place| {
        let plans = plans_that_work(place);
        let before = everything(place);
        let (mut tried, mut failed, mut went_on) = (0, BTreeSet::new(), BTreeSet::new());
        for (name, plan) in &plans {
            let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
            for (index, planned) in plan.steps.iter().enumerate() {
                let kind = planned.step.name();
                let times = seen.entry(kind).or_default();
                *times += 1;
                // The first two of a kind are broken in every way, the others, which are like them, in one.
                let ways = if *times > 2 { 1 } else { usize::MAX };
                let whole = serde_json::to_value(planned).expect("steps can be written");
                for broken in breakage::of(&whole).into_iter().take(ways) {
                    // What is not even a step is refused when the plan is read.
                    let Ok(step) = serde_json::from_value::<PlannedStep>(broken.step) else { continue };
                    let mut plan = plan.clone();
                    plan.steps[index] = step;
                    let what =
                        format!("{name}, step {}, {kind}, {} = {}", index + 1, broken.field, broken.value);
                    tried += 1;
                    match told(run(&plan), &what) {
                        Some(told) => {
                            let named = told.contains(&format!("step {}, {kind}", index + 1));
                            // Whether ids can be had, and are those that later steps need, is found out there.
                            assert!(named || kind == "map ids", "{what}: {told}");
                            failed.insert(kind);
                        }
                        None => {
                            let good = ANYTHING_GOES.iter().find(|(step, _)| *step == kind);
                            let good =
                                good.is_some_and(|(_, fields)| fields.contains(&broken.field.as_str()));
                            assert!(good, "{what}, but it ran");
                            let _ = fs::remove_file(place.join("work/marker"));
                            went_on.insert(kind);
                        }
                    }
                    nothing_is_left(place, &before, &what);
                }
            }
        }
        let never: Vec<_> = went_on.difference(&failed).collect();
        assert!(
            never.iter().all(|kind| ["new root", "limit", "watch cpu time", "serve egress"].contains(kind)),
            "nothing breaks {never:?}"
        );
        assert!(failed.len() > 12, "only {failed:?} were broken");
        println!("broken operands: {tried} ({} plans)", plans.len());
    });
}

/// Why a run did not begin; `None` for one whose workload ran.
fn told(result: Result<Outcome, Error>, what: &str) -> Option<String> {
    match result {
        Err(error) => Some(error.to_string()),
        Ok(Outcome { ending: Ending::NotStarted(failure), output, .. }) => {
            assert_eq!(output.stdout.and_then(|out| out.captured), Some(Vec::new()), "{what}");
            Some(failure.to_string())
        }
        // Without the link to its loader a program cannot be executed.
        Ok(Outcome { ending: Ending::Exited(9) | Ending::NotExecuted(_), .. }) => None,
        Ok(outcome) => panic!("{what}: {:?}", outcome.ending),
    }
}

#[test]
fn a_killed_supervisor_leaves_nothing_wherever_it_stands() {
    let name = "a_killed_supervisor_leaves_nothing_wherever_it_stands";
    if apart::role().as_deref() == Some("supervisor") {
        return supervise();
    }
    apart(name, NAMESPACES, |place| {
        let plans = plans_that_work(place);
        let mut tried = 0;
        for (name_of_plan, plan) in &plans {
            // The last place is that of the workload itself, which runs when its supervisor is killed.
            for at in 0..=plan.steps.len() + 1 {
                let stops = at <= plan.steps.len();
                let plan = if stops { with(plan, at, Step::Checkpoint {}) } else { plan.clone() };
                let file = place.join("plan.json");
                fs::write(&file, serde_json::to_vec(&plan).expect("plans can be written")).expect("written");
                let before = everything(place);
                let what = format!("{name_of_plan}, the supervisor killed at step {}", at + 1);

                let mut supervisor = start(name, &file);
                let told = heard(&mut supervisor);
                let expected = if stops { format!("at {}", at + 1) } else { RAN.to_owned() };
                assert_eq!(told, expected, "{what}");
                // The control: there is something that could be left.
                assert!(processes().len() > if stops { 1 } else { 2 }, "{what}: {:?}", processes());
                assert!(namespaces().len() > namespaces_of_this().len(), "{what}");
                supervisor.kill().expect("killed");
                supervisor.wait().expect("reaped");
                reap_all();
                let mut rest = String::new();
                supervisor.stdout.take().expect("piped").read_to_string(&mut rest).expect("readable");
                assert!(!rest.contains(RAN) || !stops, "{what}: the workload ran");
                drop(supervisor);
                let marked = fs::remove_file(place.join("work/marker")).is_ok();
                assert!(!(marked && stops), "{what}: the workload left a mark");
                nothing_is_left(place, &before, &what);
                tried += 1;
            }
        }
        println!("supervisors killed: {tried} (steps x {} plans)", plans.len());
    });
}

fn namespaces_of_this() -> Vec<std::path::PathBuf> {
    let links = fs::read_dir("/proc/self/ns").expect("readable");
    let mut all: Vec<_> = links.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
    all.sort();
    all.dedup();
    all
}

/// Starts a supervisor of the plan in `file`.
fn start(name: &str, file: &Path) -> Child {
    let words = again(name, "supervisor");
    std::process::Command::new(&words[0])
        .args(&words[1..])
        .env("PALISADE_TEST_PLAN", file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started")
}

/// What it tells first.
fn heard(supervisor: &mut Child) -> String {
    let mut out = BufReader::with_capacity(1, supervisor.stdout.as_mut().expect("piped"));
    loop {
        let mut line = String::new();
        assert!(out.read_line(&mut line).expect("readable") > 0, "it ended without having stood anywhere");
        // The test runner has its say too.
        if line.starts_with("at ") || line.trim_end() == RAN {
            return line.trim_end().to_owned();
        }
    }
}

/// The supervisor that is killed: runs the workload, and stands at a checkpoint for ever.
fn supervise() {
    let file = std::env::var_os("PALISADE_TEST_PLAN").expect("a plan");
    let plan: Plan = serde_json::from_slice(&fs::read(file).expect("readable")).expect("a plan");
    let command =
        Command::new("sh").args(workload("sleep 1000 & setsid sleep 1000")).stdin(palisade::Stdio::Null);
    let mut hear = |event: Event| {
        if let Event::Checkpoint { step, .. } = event {
            println!("at {step}");
            // Until somebody kills this process, or its own parent is gone.
            let _ = std::io::stdin().read(&mut [0]);
        }
    };
    let ended = palisade::run(&plan, command, None, Some(&mut hear));
    panic!("it was to be killed, but: {ended:?}");
}

//! What a host lacks is told clause by clause: over recorded hosts, with each of their abilities taken away in turn.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use palisade_plan::facts::{Ability, Kind, PathFact, Present};
use palisade_plan::{HostFacts, KERNEL_ID_BASE, Plan, Refusal, Situation, decide, named_paths};
use palisade_policy::{Document, OnUnavailable, Policy};
use rstest::rstest;

const DIRECTORY: &str = "/home/dev/project";

/// Asks for everything that a host may lack and a sandbox can do without.
const POLICY: &str = "
filesystem: {read_write: [.], hidden: [.env]}
resources: {memory: 1GiB, processes: 64, cpus: 0.5, cpu_time: 90s, wall_time: 5m, output: 1MiB}
";

fn host(name: &str, policy: &Policy) -> HostFacts {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fixtures/hosts/{name}.json"));
    let text = fs::read_to_string(file).expect("a recorded host");
    let mut facts: HostFacts = serde_json::from_str(&text).expect("valid facts");
    for path in named_paths(policy, Path::new(DIRECTORY)) {
        let present = Present {
            canonical: path.clone(),
            kind: Kind::Directory,
            uid: 1001,
            gid: 1001,
            idmap: facts.caller.privileged.then_some(Ability::Available),
            links: Default::default(),
            mounts: Default::default(),
            aliases: Default::default(),
        };
        facts.paths.insert(path, PathFact::Present(present));
    }
    facts
}

fn decided(facts: &HostFacts, mode: OnUnavailable) -> Result<Plan, Refusal> {
    let mut policy = Document::parse("test", POLICY).expect("valid").policy;
    policy.on_unavailable = mode;
    let situation = Situation {
        directory: DIRECTORY.into(),
        environment: Default::default(),
        kernel_id: KERNEL_ID_BASE + 4242,
    };
    decide(&policy, facts, &situation)
}

fn lost(plan: &Plan) -> BTreeSet<String> {
    plan.downgrades()
        .map(|(coverage, reason)| {
            assert!(!reason.is_empty(), "{}: lost without a reason", coverage.clause);
            coverage.clause.to_string()
        })
        .collect()
}

fn reasons(refusal: &Refusal) -> BTreeSet<String> {
    refusal.reasons.iter().map(|reason| reason.clause.to_string()).collect()
}

fn unavailable() -> Ability {
    Ability::Unavailable("the reason that the host gave".into())
}

/// Takes an ability away, by name.
fn without(ability: &str, facts: &mut HostFacts) {
    match ability {
        "nothing" => {}
        "landlock" => facts.landlock_abi = 0,
        "an own count of processes" => {
            facts.kernel = "5.10.0".into();
            facts.caller.privileged = false;
            facts.caller.kernel_root = false;
        }
        "namespaces" => facts.namespaces = unavailable(),
        "mount attributes" => facts.mount_attributes = unavailable(),
        "procfs" => facts.procfs = unavailable(),
        "seccomp" => facts.seccomp = unavailable(),
        "id-mapped mounts" => {
            for fact in facts.paths.values_mut() {
                if let PathFact::Present(Present { idmap: Some(idmap), .. }) = fact {
                    *idmap = unavailable();
                }
            }
        }
        other => panic!("no such ability: {other}"),
    }
}

/// With `degrade` every clause that gets less says so; with `refuse` the same clauses are why nothing runs.
#[rstest]
fn what_degrade_tells_is_what_refuse_refuses(
    #[values("debian12-6.18-root", "debian12-6.18-user", "debian12-6.1-user", "debian11-5.10-user")]
    name: &str,
    #[values("nothing", "landlock", "an own count of processes")] ability: &str,
) {
    let policy = Document::parse("test", POLICY).expect("valid").policy;
    let mut facts = host(name, &policy);
    without(ability, &mut facts);
    match (decided(&facts, OnUnavailable::Degrade), decided(&facts, OnUnavailable::Refuse)) {
        (Ok(plan), Ok(same)) => {
            assert!(lost(&plan).is_empty());
            assert_eq!(plan, same);
        }
        (Ok(plan), Err(refusal)) => {
            assert!(!lost(&plan).is_empty());
            assert_eq!(lost(&plan), reasons(&refusal));
            // Whatever was asked for is in the coverage, enforced or not.
            let asked = ["memory", "processes", "cpus", "cpu_time", "wall_time", "output"];
            for clause in asked.map(|key| format!("resources.{key}")) {
                let told = plan.coverage.iter().any(|coverage| coverage.clause.as_str() == clause);
                assert!(told, "{clause} is not told of");
            }
        }
        // This host lacks what no sandbox can do without.
        (Err(one), Err(other)) => assert!(reasons(&one).is_subset(&reasons(&other))),
        (Err(refusal), Ok(_)) => panic!("refused only when told to degrade: {refusal}"),
    }
}

/// What no sandbox can do without is refused whatever the policy says, and the host's own words are passed on.
#[rstest]
#[case::namespaces("namespaces", "process.identity")]
#[case::mount_attributes("mount attributes", "filesystem.base")]
#[case::procfs("procfs", "filesystem.base")]
#[case::seccomp("seccomp", "process.syscalls")]
#[case::id_mapped_mounts("id-mapped mounts", "filesystem.read_write[0]")]
fn what_cannot_be_done_without_is_refused(#[case] ability: &str, #[case] clause: &str) {
    let policy = Document::parse("test", POLICY).expect("valid").policy;
    let mut facts = host("debian12-6.18-root", &policy);
    assert!(decided(&facts, OnUnavailable::Degrade).is_ok(), "the control");
    without(ability, &mut facts);
    let refusal = decided(&facts, OnUnavailable::Degrade).expect_err("refused");
    let reason = refusal.reasons.iter().find(|reason| reason.clause.as_str().starts_with(clause));
    let reason = reason.unwrap_or_else(|| panic!("{refusal}"));
    assert!(reason.message.contains("the reason that the host gave"), "{}", reason.message);
}

/// Nothing that was asked for is lost without Landlock, but the second layer is: a note, on every kernel that lacks a part.
#[rstest]
#[case::none(0, Some("the second layer is absent"))]
#[case::first(1, Some("does not restrict moving files between directories, truncation, ioctl"))]
#[case::without_scopes(5, Some("does not restrict signals and abstract sockets"))]
#[case::complete(6, None)]
fn a_missing_second_layer_is_told(#[case] abi: u32, #[case] expected: Option<&str>) {
    let policy = Document::parse("test", POLICY).expect("valid").policy;
    let mut facts = host("debian12-6.18-user", &policy);
    facts.landlock_abi = abi;
    let plan = decided(&facts, OnUnavailable::Degrade).expect("a plan");
    let base = plan.coverage.iter().find(|coverage| coverage.clause.as_str() == "filesystem.base");
    let notes = &base.expect("covered").notes;
    let told = notes.iter().find(|note| note.contains("second layer"));
    match expected {
        None => assert_eq!(told, None),
        Some(expected) => assert!(told.expect("told").contains(expected), "{notes:?}"),
    }
}

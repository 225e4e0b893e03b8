//! What the host shows at two places: the stricter rule holds at both.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use palisade_plan::facts::{Ability, Alias, Kind, Missing, PathFact, Present, Reached};
use palisade_plan::{HostFacts, Plan, Refusal, Situation, Step, decide};
use palisade_policy::{Document, Policy};

const HOST: &str = include_str!("../../../fixtures/hosts/debian12-6.18-user.json");

/// A directory of the host, and where else it is seen: `+N` after a place for a part of it that begins N names below.
fn directory(path: &str, aliases: &[&str]) -> (PathBuf, PathFact) {
    let alias = |place: &&str| {
        let (place, above) = place.split_once('+').unwrap_or((*place, "0"));
        (PathBuf::from(place), Alias { kind: Kind::Directory, above: above.parse().expect("a number") })
    };
    let present = Present {
        canonical: path.into(),
        kind: Kind::Directory,
        uid: 1000,
        gid: 1000,
        idmap: None,
        links: BTreeSet::new(),
        mounts: BTreeMap::new(),
        aliases: aliases.iter().map(alias).collect(),
    };
    (path.into(), PathFact::Present(present))
}

fn missing(path: &str, below: &str, aliases: &[&str]) -> (PathBuf, PathFact) {
    let reached = Reached {
        path: below.into(),
        kind: Kind::Directory,
        rest: PathBuf::from(path).strip_prefix(below).expect("below it").into(),
        writable: Ability::Available,
        aliases: aliases.iter().map(PathBuf::from).collect(),
    };
    let missing = Missing { reason: "no such file".into(), reached: Some(reached), links: BTreeSet::new() };
    (path.into(), PathFact::Missing(missing))
}

fn decided(filesystem: &str, paths: Vec<(PathBuf, PathFact)>) -> Result<Plan, Refusal> {
    let policy: Policy =
        Document::parse("test", &format!("filesystem: {filesystem}\n")).expect("a policy").policy;
    let mut facts: HostFacts = serde_json::from_str(HOST).expect("facts");
    facts.paths = paths.into_iter().collect();
    let situation = Situation { directory: "/work".into(), environment: BTreeMap::new(), kernel_id: 0 };
    decide(&policy, &facts, &situation)
}

/// The steps that serve rules, in words, without the pins on the way.
fn steps(filesystem: &str, paths: Vec<(PathBuf, PathFact)>) -> Vec<String> {
    let plan = decided(filesystem, paths).expect("a plan");
    let rules = plan.steps.iter().filter(|planned| planned.serves.as_str().contains('['));
    let rules = rules.filter(|planned| match &planned.step {
        Step::MakeDirectory { .. } => false,
        Step::PinPath { attributes, .. } => attributes.noexec,
        _ => true,
    });
    let word = |name: &str| name.rsplit(['.']).next().unwrap_or_default().to_owned();
    rules
        .map(|planned| {
            format!("{}: {} {}", word(planned.serves.as_str()), planned.step.name(), planned.step.operand())
        })
        .collect()
}

#[test]
fn a_hidden_directory_is_hidden_at_its_other_place() {
    let paths = vec![directory("/work", &[]), directory("/work/secret", &["/work/view", "/elsewhere"])];
    let steps = steps("{read_write: [.], hidden: [secret]}", paths);
    assert_eq!(
        steps,
        [
            "read_write[0]: mount bind /work rw,nosuid,nodev recursive",
            "hidden[0]: mask path /work/secret",
            "hidden[0]: mask path /work/view",
        ]
    );
}

#[test]
fn what_is_not_shown_itself_is_hidden_where_a_rule_shows_it() {
    let paths = vec![directory("/work", &[]), directory("/data/secret", &["/work/data/secret"])];
    let steps = steps("{read_only: [.], hidden: [/data/secret]}", paths);
    assert!(steps.contains(&"hidden[0]: mask path /work/data/secret".to_owned()), "{steps:?}");
}

#[test]
fn a_read_only_directory_is_read_only_at_its_other_place() {
    let paths = vec![directory("/work", &[]), directory("/work/fixed", &["/work/view"])];
    let steps = steps("{read_write: [.], read_only: [fixed]}", paths);
    assert!(
        steps.contains(&"read_only[0]: mount bind /work/view ro,nosuid,nodev recursive".to_owned()),
        "{steps:?}"
    );
}

#[test]
fn a_part_of_a_hidden_directory_is_hidden_too() {
    let paths = vec![directory("/work", &[]), directory("/work/secret", &["/work/part+2"])];
    let steps = steps("{read_write: [.], hidden: [secret]}", paths);
    assert!(steps.contains(&"hidden[0]: mask path /work/part".to_owned()), "{steps:?}");
}

/// Whoever names exactly the place of a part says something more specific about those files.
#[test]
fn a_rule_for_the_other_place_is_more_specific_than_one_for_all_around_it() {
    let paths = vec![directory("/work", &["/data/work"]), directory("/data", &["/work+1"])];
    let steps = steps("{read_write: [.], read_only: [/data]}", paths);
    assert!(
        steps.contains(&"read_write[0]: mount bind /work rw,nosuid,nodev recursive".to_owned()),
        "{steps:?}"
    );
    assert!(!steps.iter().any(|step| step.contains("read_only[0]: mount bind /work ")), "{steps:?}");
    // But two rules for all of the same files are of equal depth, and deny wins.
    let paths = vec![directory("/work", &["/data"]), directory("/data", &["/work"])];
    let steps = equal(paths);
    assert!(
        steps.contains(&"read_only[0]: mount bind /work ro,nosuid,nodev recursive".to_owned()),
        "{steps:?}"
    );
}

fn equal(paths: Vec<(PathBuf, PathFact)>) -> Vec<String> {
    steps("{read_write: [.], read_only: [/data]}", paths)
}

#[test]
fn nothing_becomes_looser_and_nothing_is_shown_that_was_not() {
    // The other place of what may be written is read-only there, or not shown at all.
    let paths = vec![
        directory("/work", &["/elsewhere", "/fixed/view"]),
        directory("/fixed", &[]),
        directory("/usr/lib", &["/usr/view"]),
    ];
    let steps = steps("{read_write: [.], read_only: [/fixed, /usr/lib]}", paths);
    assert!(!steps.iter().any(|step| step.contains("view") || step.contains("elsewhere")), "{steps:?}");
}

#[test]
fn what_does_not_exist_yet_is_kept_from_appearing_at_both_places() {
    let paths = vec![directory("/work", &[]), missing("/work/a/late", "/work/a", &["/work/b"])];
    let steps = steps("{read_write: [.], hidden: [a/late]}", paths);
    for step in
        ["make placeholder /work/a/late file on the host", "make placeholder /work/b/late file on the host"]
    {
        assert!(steps.contains(&format!("hidden[0]: {step}")), "{steps:?}");
    }
    assert!(steps.contains(&"hidden[0]: mask path /work/b/late".to_owned()), "{steps:?}");
}

/// A mount goes along with the file that it covers, so only the names that the policy promises something about are pinned:
/// at the place that it names, or, where the sandbox shows that only under another name, there.
#[test]
fn names_are_kept_once() {
    let pins = |paths: Vec<(PathBuf, PathFact)>, hidden: &str| -> Vec<String> {
        let plan = decided(&format!("{{read_write: [.], hidden: [{hidden}]}}"), paths).expect("a plan");
        let pins = plan.steps.iter().filter(|planned| matches!(planned.step, Step::PinPath { .. }));
        pins.map(|planned| planned.step.operand()).collect()
    };
    let shown = vec![directory("/work", &[]), directory("/work/a/secret", &["/work/b/secret"])];
    assert_eq!(pins(shown, "a/secret"), ["/work/a"]);
    let not_shown = vec![directory("/work", &[]), directory("/data/a/secret", &["/work/b/secret"])];
    assert_eq!(pins(not_shown, "/data/a/secret"), ["/work/b"]);
}

#[test]
fn nothing_is_executed_at_either_place() {
    let paths = vec![directory("/work", &[]), directory("/work/data", &["/work/view", "/elsewhere"])];
    let steps = steps("{read_write: [.], no_execute: [data]}", paths);
    assert!(steps.contains(&"no_execute[0]: pin path /work/data noexec".to_owned()), "{steps:?}");
    assert!(steps.contains(&"no_execute[0]: pin path /work/view noexec".to_owned()), "{steps:?}");
    assert!(!steps.iter().any(|step| step.contains("elsewhere")), "{steps:?}");
}

#[test]
fn the_coverage_tells_which_files_they_are() {
    let paths = vec![directory("/work", &[]), directory("/work/secret", &["/work/view"])];
    let plan = decided("{read_write: [.], hidden: [secret]}", paths).expect("a plan");
    let told: Vec<&str> = plan
        .coverage
        .iter()
        .filter(|coverage| coverage.clause.as_str() == "filesystem.hidden[0]")
        .map(|coverage| coverage.requested.as_str())
        .collect();
    assert_eq!(told, ["hidden /work/secret", "hidden /work/view, the same files as /work/secret"]);
}

//! A name that a rule denies keeps its meaning: links on the way cannot be replaced, wherever they lie and whatever they lead to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use palisade_plan::facts::{Ability, Kind, Missing, PathFact, Present, Reached};
use palisade_plan::{HostFacts, Situation, Step, decide};
use palisade_policy::Document;
use rstest::rstest;

const HOST: &str = include_str!("../../../fixtures/hosts/debian12-6.18-user.json");

fn present(reached: &str, links: &[&str]) -> PathFact {
    PathFact::Present(Present {
        canonical: reached.into(),
        kind: Kind::Directory,
        uid: 1000,
        gid: 1000,
        idmap: None,
        links: links.iter().map(PathBuf::from).collect(),
        mounts: BTreeMap::new(),
        aliases: BTreeMap::new(),
    })
}

fn missing(below: &str, rest: &str, links: &[&str]) -> PathFact {
    let reached = Reached {
        path: below.into(),
        kind: Kind::Directory,
        rest: rest.into(),
        writable: Ability::Available,
        aliases: BTreeSet::new(),
    };
    let links = links.iter().map(PathBuf::from).collect();
    PathFact::Missing(Missing { reason: "no such file".into(), reached: Some(reached), links })
}

/// What is pinned under `filesystem`, where `denied` is what stands at /work/c/d/link.
fn pinned(filesystem: &str, denied: PathFact) -> Vec<String> {
    let text = format!("filesystem: {filesystem}\n");
    let policy = Document::parse("test", &text).expect("a policy").policy;
    let mut facts: HostFacts = serde_json::from_str(HOST).expect("facts");
    let plain = ["/work", "/work/a", "/work/c"].map(|path| (PathBuf::from(path), present(path, &[])));
    facts.paths = plain.into_iter().chain([("/work/c/d/link".into(), denied)]).collect();
    let situation = Situation { directory: "/work".into(), environment: BTreeMap::new(), kernel_id: 0 };
    let plan = decide(&policy, &facts, &situation).expect("a plan");
    let pins = plan.steps.iter().filter_map(|planned| match &planned.step {
        Step::PinPath { path, .. } => Some(path.display().to_string()),
        _ => None,
    });
    pins.collect()
}

/// A link that is made in the place of the hidden directory leads to what is below it, too: another link would be made through it.
#[test]
fn what_is_below_a_link_is_reached_by_it() {
    let policy = Document::parse("test", "filesystem: {hidden: [c], read_only: [c/l, c/l/x]}\n")
        .expect("a policy")
        .policy;
    let mut facts: HostFacts = serde_json::from_str(HOST).expect("facts");
    let link = &["/work/c/l"];
    let paths = [
        ("/work/c", present("/work/c", &[])),
        ("/work/c/l", present("/work/c/d", link)),
        ("/work/c/l/x", present("/work/c/d/x", link)),
    ];
    facts.paths = paths.into_iter().map(|(path, fact)| (path.into(), fact)).collect();
    let situation = Situation { directory: "/work".into(), environment: BTreeMap::new(), kernel_id: 0 };
    let plan = decide(&policy, &facts, &situation).expect("a plan");
    let made = plan.steps.iter().filter_map(|planned| match &planned.step {
        Step::MakeLink { path, .. } if path.starts_with("/work") => Some(path.as_path()),
        _ => None,
    });
    assert_eq!(made.collect::<Vec<_>>(), [Path::new("/work/c/l")]);
}

const LINK: &[&str] = &["/work/c/d/link"];

#[rstest]
// To what lies before the directory of the link in the order of the rules, and is read-only anyway.
#[case::read_only("{read_only: [., c/d/link], read_write: [c]}", present("/work/a", LINK))]
#[case::hidden("{read_only: [.], hidden: [c/d/link], read_write: [c]}", present("/work/a", LINK))]
#[case::hidden_in_hidden(
    "{read_only: [.], hidden: [a, c/d/link], read_write: [c]}",
    present("/work/a/b", LINK)
)]
#[case::hidden_and_missing(
    "{read_only: [.], hidden: [c/d/link], read_write: [c]}",
    missing("/work/a", "b", LINK)
)]
#[case::the_same_mount("{hidden: [c/d/link], read_write: [.]}", present("/work/c/e", LINK))]
fn a_link_that_is_denied_stays_where_it_is(#[case] filesystem: &str, #[case] denied: PathFact) {
    let pinned = pinned(filesystem, denied);
    for name in ["/work/c/d", "/work/c/d/link"] {
        assert!(pinned.iter().any(|pin| pin == name), "{name} is not among {pinned:?}");
    }
}

/// Where nothing is denied by that name, the workload may do with its directory what it likes.
#[test]
fn a_link_into_what_is_writable_anyway_is_the_workloads_own() {
    assert_eq!(pinned("{read_write: [., c/d/link]}", present("/work/a", LINK)), <[String; 0]>::default());
}

//! Table-wide tests: what every entry of every group must have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use palisade_policy::{Document, Policy};
use palisade_probe::script::Phase;

use super::*;
use crate::lab::World;

const SPEC: &str = include_str!("../../../SPEC.md");

/// One policy a class of entries: the strictest, and one with every kind of rule.
pub(crate) fn policies() -> Vec<Policy> {
    let rules = "version: 1
filesystem:
  read_write: [.]
  read_only: [vendor]
  hidden: [.env]
  no_execute: [/tmp]
";
    let hidden = include_str!("../../../../fixtures/policies/valid/hidden.yaml");
    let apart = include_str!("../../../../fixtures/policies/valid/workspace-overlay.yaml");
    let strict = "version: 1\nfilesystem: {read_only: [.]}\n";
    let limits = "version: 1
filesystem: {tmp: 192MiB}
resources: {memory: 96MiB, processes: 64, cpus: 0.5, cpu_time: 1s, wall_time: 6s, open_files: 64, output: 1MiB}
";
    let allowlist = include_str!("../../../../fixtures/policies/valid/allowlist.yaml");
    let open = include_str!("../../../../fixtures/policies/valid/open.yaml");
    let network = include_str!("../../../../fixtures/policies/valid/network.yaml");
    let parsed = [
        ("strict", strict),
        ("loose", rules),
        ("hidden", hidden),
        ("apart", apart),
        ("limits", limits),
        ("allowlist", allowlist),
        ("open", open),
        ("network", network),
        ("narrow", "version: 1\nprocess: {syscalls: strict, terminal: none}\n"),
        ("nested", "version: 1\nprocess: {nested_namespaces: true, syscalls: {allow: [ptrace]}}\n"),
    ]
    .map(|(name, text)| Document::parse(name, text).unwrap_or_else(|why| panic!("{name}: {why}")));
    parsed.map(|document| document.policy).to_vec()
}

pub(super) fn everything() -> Vec<Probe> {
    let world = World::described();
    policies().iter().flat_map(|policy| all(&world, policy)).collect()
}

/// The clauses of SPEC.md that probes can cite, with whether the clause says that nothing probes it yet.
fn spec_clauses() -> Vec<(String, bool)> {
    let clauses = SPEC.lines().filter_map(|line| {
        let (clause, text) = line.strip_prefix("- **")?.split_once("** ")?;
        Some((clause.to_owned(), text.ends_with("*Not probed yet.*")))
    });
    // What the files of reviewers cite is not of this catalogue.
    let apart = ["EV-", "OUT-", "OWN-"];
    clauses.filter(|(clause, _)| !apart.iter().any(|prefix| clause.starts_with(prefix))).collect()
}

#[test]
fn every_file_is_listed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/catalogue");
    let not_groups = ["mod", "prelude", "call", "entry", "expect", "canary", "narrowed", "tags", "tests"];
    let files: BTreeSet<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|stem| !not_groups.contains(&stem.as_str()))
        .collect();
    let listed: BTreeSet<String> = GROUPS.iter().map(|group| group.name.to_owned()).collect();
    assert_eq!(files, listed, "files of src/catalogue and the list GROUPS in mod.rs");
    assert_eq!(listed.len(), GROUPS.len(), "a group is listed twice");
}

#[test]
fn every_group_has_entries_of_its_own_name() {
    let world = World::described();
    for group in GROUPS {
        let probes: Vec<Probe> =
            policies().iter().flat_map(|policy| (group.probes)(&world, policy)).collect();
        assert!(!probes.is_empty(), "group {} is empty", group.name);
        for probe in probes {
            assert_eq!(probe.group(), group.name, "{} stands in the file of another group", probe.id);
        }
    }
}

#[test]
fn ids_are_unique_lower_case_words() {
    for policy in policies() {
        let mut seen = BTreeSet::new();
        for probe in all(&World::described(), &policy) {
            assert!(is_id(&probe.id), "{:?} is not lower-case words: group/.../name", probe.id);
            assert!(seen.insert(probe.id.clone()), "{} exists twice", probe.id);
        }
    }
}

#[test]
fn every_entry_says_what_it_tests() {
    for probe in everything() {
        let id = &probe.id;
        assert!(!probe.clause.as_str().is_empty(), "{id}: no policy clause");
        assert!(!probe.spec.is_empty(), "{id}: no clause of SPEC.md");
        assert!(!probe.requirement.is_empty(), "{id}: no requirement");
        assert!(!probe.requirement.ends_with('.'), "{id}: the requirement ends with a full stop");
        assert!(probe.requirement.is_ascii() && probe.requirement.len() < 160, "{id}: requirement too long");
        match &probe.workload {
            Workload::Script(script) => {
                let attempts = script.statements().iter().filter(|s| s.phase() == Phase::Attempt);
                assert!(attempts.count() > 0, "{id}: nothing is attempted");
                script.check().unwrap_or_else(|error| panic!("{id}: {error}"));
            }
            Workload::Command(argv) => assert!(!argv.is_empty(), "{id}: empty command"),
        }
        if probe.class == Class::Denied {
            assert!(
                !probe.expect.contains(&crate::observation::Seen::failed(nix::errno::Errno::EFAULT))
                    || matches!(probe.outside, Outside::NotRun(_)),
                "{id}: EFAULT would pass as a refusal"
            );
        }
    }
}

/// Without a sandbox all of them share one /tmp, and run side by side: one that removes or replaces what another has made
/// there would decide the other's verdict, now and then. Found by `fs/link/hardlink-out` and `fs/link/symlink-out`.
#[test]
fn no_two_entries_name_the_same_file_of_tmp() {
    /// Written whole, by whoever comes first or last, and never removed.
    const SHARED: &[&str] = &["/tmp/palisade-control"];
    for policy in policies() {
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for probe in all(&World::described(), &policy) {
            let Workload::Script(script) = &probe.workload else { continue };
            if matches!(probe.outside, Outside::NotRun(_)) {
                continue;
            }
            let text: Vec<String> = script.statements().iter().map(ToString::to_string).collect();
            let text = text.join(" ");
            let words = text.split([' ', '@']);
            for word in words.filter(|word| word.starts_with("/tmp/palisade-") && !SHARED.contains(word)) {
                let other = names.insert(word.to_owned(), probe.id.clone());
                let own = other.as_ref().is_none_or(|other| *other == probe.id);
                assert!(own, "{word} is named by {} and {}", probe.id, other.unwrap_or_default());
            }
        }
    }
}

#[test]
fn spec_and_catalogue_cite_each_other() {
    let clauses = spec_clauses();
    let known: BTreeSet<&str> = clauses.iter().map(|(clause, _)| clause.as_str()).collect();
    assert_eq!(known.len(), clauses.len(), "a clause of SPEC.md exists twice");
    let probes = everything();
    let cited: BTreeSet<&str> = probes.iter().map(|probe| probe.spec).collect();
    for probe in &probes {
        assert!(known.contains(probe.spec), "{} cites {}, which SPEC.md lacks", probe.id, probe.spec);
    }
    for (clause, not_probed_yet) in &clauses {
        let is_cited = cited.contains(clause.as_str());
        assert!(is_cited || *not_probed_yet, "nothing probes {clause}: add an entry or mark it in SPEC.md");
        assert!(!(is_cited && *not_probed_yet), "{clause} is probed: delete its mark \"Not probed yet\"");
    }
}

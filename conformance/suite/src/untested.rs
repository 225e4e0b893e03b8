//! Clauses of a policy that no probe is about.

use std::collections::BTreeSet;

use crate::catalogue::Probe;

/// What promises nothing by itself: words about the policy, and by which means it is to be kept.
const NO_PROMISE: &[&str] =
    &["version", "name", "description", "base", "on_unavailable", "network.backend", "network.link"];

/// Those of `written` that none of `probes` is about, in order; of a clause with others inside, only these.
///
/// `written` are names of clauses as the policy's file has them (`network.allow[2].ports`). A clause is tested by a probe that
/// serves it, or something inside it, or the item of a list that it is a part of.
pub(crate) fn untested<'a>(written: impl IntoIterator<Item = &'a str>, probes: &[Probe]) -> Vec<&'a str> {
    let served: BTreeSet<&str> = probes.iter().map(|probe| probe.clause.as_str()).collect();
    let written: BTreeSet<&str> = written.into_iter().collect();
    let is_inside =
        |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with(['.', '[']));
    let promises =
        |clause: &str| !NO_PROMISE.iter().any(|means| *means == clause || is_inside(clause, means));
    let is_leaf = |clause: &str| !written.iter().any(|other| is_inside(other, clause));
    let is_tested = |clause: &str| {
        served.iter().any(|served| {
            *served == clause
                || is_inside(served, clause)
                || (served.ends_with(']') && is_inside(clause, served))
        })
    };
    let clauses = written.iter().copied();
    clauses.filter(|clause| is_leaf(clause) && promises(clause) && !is_tested(clause)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use palisade_policy::Document;

    use super::*;
    use crate::catalogue::{Severity, all};
    use crate::lab::World;

    #[test]
    fn what_no_probe_is_about_is_known() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/policies/valid");
        let world = World::described();
        let of = |path: &Path| {
            let document = Document::parse("policy", &fs::read_to_string(path).unwrap()).unwrap();
            let probes = all(&world, &document.policy);
            let written = document.locations.keys().map(|clause| clause.as_str());
            untested(written, &probes).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let found: BTreeMap<String, Vec<String>> = paths
            .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), of(&path)))
            .filter(|(_, untested)| !untested.is_empty())
            .collect();
        let lines: Vec<String> =
            found.iter().map(|(file, clauses)| format!("{file}: {}", clauses.join(" "))).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn a_clause_is_tested_by_what_is_inside_it_or_around_its_rule() {
        let probe = |clause: &'static str| {
            Probe::allows("work/x", Severity::Low).serves(clause, "WRK-1").requires("x").script([])
        };
        let written =
            ["network", "network.allow", "network.allow[0]", "network.allow[0].ports", "network.mode", "tty"];
        let of = |served: &'static str| untested(written, &[probe(served)]);
        assert_eq!(of("network.allow[0]"), ["network.mode", "tty"]);
        assert_eq!(of("network.allow[0].ports[1]"), ["network.mode", "tty"]);
        assert_eq!(of("network.allow[01]"), ["network.allow[0].ports", "network.mode", "tty"]);
        assert_eq!(
            of("network"),
            ["network.allow[0].ports", "network.mode", "tty"],
            "a section is no test of what is in it"
        );
        assert_eq!(untested(["version", "network.link", "network.link.parent"], &[]), Vec::<&str>::new());
    }
}

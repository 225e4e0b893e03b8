//! A few probes for a look between two changes: the gravest of each kind, and of these only such that wait for nothing.

use std::collections::BTreeMap;

use crate::catalogue::{Class, Probe, Tier};
use crate::custom;

/// Of `probes`, which are sorted by id, at most one for each clause of SPEC.md and each way to fail it. A clause that only slow
/// probes are about has none: what this selection shows is a part of what the standard one does, and no proof for the rest.
pub(crate) fn smoke(probes: Vec<Probe>) -> Vec<Probe> {
    let mut chosen: BTreeMap<(&str, bool), Probe> = BTreeMap::new();
    // What somebody has brought along is about something else each time.
    let (own, probes): (Vec<Probe>, Vec<Probe>) =
        probes.into_iter().filter(is_quick).partition(|probe| probe.group() == custom::GROUP);
    for probe in probes {
        let kind = (probe.spec, probe.class == Class::Allowed);
        let is_graver = chosen.get(&kind).is_none_or(|known| known.severity < probe.severity);
        if is_graver {
            chosen.insert(kind, probe);
        }
    }
    let mut chosen: Vec<Probe> = chosen.into_values().chain(own).collect();
    chosen.sort_by(|a, b| a.id.cmp(&b.id));
    chosen
}

fn is_quick(probe: &Probe) -> bool {
    probe.tier == Tier::Standard
        && !probe.serial
        && probe.settle.is_zero()
        && probe.wall_time.is_none()
        && probe.interference.is_none()
        && probe.beside.is_none()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::catalogue::{all, tests::policies};
    use crate::lab::World;

    #[test]
    fn each_clause_with_a_quick_probe_has_its_gravest() {
        for policy in policies() {
            let probes = all(&World::described(), &policy);
            let few = smoke(probes.clone());
            assert!(few.is_sorted_by(|a, b| a.id < b.id), "by id, and each once");
            assert!(few.len() * 5 < probes.len(), "{} of {}", few.len(), probes.len());
            let clauses = |probes: &[Probe]| probes.iter().map(|probe| probe.spec).collect::<BTreeSet<_>>();
            let quick: Vec<Probe> = probes.into_iter().filter(is_quick).collect();
            assert_eq!(clauses(&few), clauses(&quick));
            for probe in &quick {
                let same = |other: &&Probe| (other.spec, other.class) == (probe.spec, probe.class);
                let chosen = few.iter().find(same).expect("one of its kind");
                assert!(chosen.severity >= probe.severity, "{} instead of {}", chosen.id, probe.id);
            }
        }
    }
}

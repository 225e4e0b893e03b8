//! Probes that notice no mutant, with reasons: a list that is checked whenever the probes are asked.

use crate::entry::Entry;

/// One reason, for the probes that match.
struct Reason {
    /// Patterns over their ids.
    probes: &'static [&'static str],
    /// Whether it holds for an ordinary user only, or for root only; for both where there is nothing.
    rootless: Option<bool>,
    /// The ways in for which it holds.
    entries: &'static [Entry],
    why: &'static str,
}

/// Every way in.
const ALL: &[Entry] = &[Entry::Run, Entry::Exec, Entry::Pty];

const LIST: &[Reason] = &[
    Reason {
        probes: &["res/wall-time/stopped"],
        rootless: None,
        entries: ALL,
        why: "whatever does not end a stopped tree leaves it stopped, and a time-out is no evidence (EV-6)",
    },
    Reason {
        probes: &["work/signalfd"],
        rootless: None,
        entries: ALL,
        why: "nothing starts without signalfd4(2), by which the first process of a sandbox hears of signals",
    },
];

/// Why the probe notices no mutant here, where that is listed.
pub(super) fn reason(probe: &str, entry: Entry, rootless: bool) -> Option<&'static str> {
    let here = |reason: &&Reason| {
        reason.rootless.is_none_or(|only| only == rootless)
            && reason.entries.contains(&entry)
            && reason.probes.iter().any(|pattern| crate::glob::matches(pattern, probe))
    };
    LIST.iter().find(here).map(|reason| reason.why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;
    use crate::lab::World;

    #[test]
    fn every_pattern_is_of_a_probe_and_every_reason_a_sentence() {
        let world = World::described();
        let policies = catalogue::tests::policies();
        let probes: Vec<_> = policies.iter().flat_map(|policy| catalogue::all(&world, policy)).collect();
        for reason in LIST {
            for pattern in reason.probes {
                let known = probes.iter().any(|probe| crate::glob::matches(pattern, &probe.id));
                assert!(known, "{pattern} is of no probe");
            }
            assert!(reason.why.len() > 20 && !reason.why.ends_with('.') && !reason.entries.is_empty());
        }
    }
}

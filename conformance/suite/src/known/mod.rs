//! Known deviations: what a runtime does other than it should, and somebody has accepted for a time.
//!
//! Each runtime has a file in `conformance/known/`, which is part of the program; `--known` names another one. An entry turns the
//! verdict that it names into a *known deviation*; it never hides one: an entry that has expired, that no probe matches, or whose
//! probe is held again, fails the run.

mod conditions;
mod day;
#[cfg(test)]
mod tests;
mod update;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use conditions::{Here, Range, Release, When};
pub use day::Day;
pub use update::{UpdateError, Words, added};

use crate::glob;
use crate::verdict::{Gap, Verdict};

/// One accepted deviation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviation {
    /// Pattern over probe ids.
    pub probe: String,
    /// Where it is known.
    #[serde(default)]
    pub when: When,
    /// What happens.
    pub outcome: Outcome,
    /// What happens instead, and why that is accepted.
    pub reason: String,
    /// Where it is tracked.
    pub issue: String,
    /// Who answers for it.
    pub owner: String,
    /// The last day on which it is accepted.
    pub expires: Day,
}

/// The verdict that an entry accepts. What is unsupported fails no run and needs no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "documented at Verdict")]
pub enum Outcome {
    Breached,
    OverBlocked,
    Inconclusive,
}

impl Outcome {
    /// Whether the verdict is this one. That the suite itself failed is nothing that a runtime does.
    fn covers(self, verdict: &Verdict) -> bool {
        match verdict {
            Verdict::Breached(_) => self == Self::Breached,
            Verdict::OverBlocked(_) => self == Self::OverBlocked,
            Verdict::Inconclusive(gap) => self == Self::Inconclusive && !matches!(gap, Gap::Harness(_)),
            _ => false,
        }
    }

    /// The word of files.
    const fn word(self) -> &'static str {
        match self {
            Self::Breached => "breached",
            Self::OverBlocked => "over_blocked",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// A file of deviations, as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What names it.
    pub name: String,
    /// What it holds.
    pub text: String,
}

impl Source {
    /// The file of a runtime that is part of the program. A runtime without one has no deviations.
    pub fn of_runtime(runtime: &str) -> Self {
        let text = match runtime {
            "palisade" => include_str!("../../../known/palisade.yaml"),
            _ => "",
        };
        Self { name: format!("known/{runtime}.yaml"), text: text.to_owned() }
    }
}

/// Reads a file of deviations. An empty one has none.
///
/// # Errors
/// An unknown or missing key, an empty value, a day that is none, conditions that nothing can meet.
pub fn parse(text: &str) -> Result<Vec<Deviation>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let entries: Vec<Deviation> = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    for entry in &entries {
        let values = [&entry.probe, &entry.reason, &entry.issue, &entry.owner];
        if values.iter().any(|value| value.trim().is_empty()) {
            return Err(format!("known deviation {:?}: a value is empty", entry.probe));
        }
        if !entry.when.is_possible() {
            return Err(format!("known deviation {:?}: nothing is in this range", entry.probe));
        }
    }
    Ok(entries)
}

/// Deviations on a host, on a day.
#[derive(Clone, Debug)]
pub struct Known {
    all: Vec<Deviation>,
    here: Here,
    today: Day,
}

impl Known {
    /// Those of `all` that are known `here`.
    pub fn new(all: Vec<Deviation>, here: Here, today: Day) -> Self {
        Self { all, here, today }
    }

    fn that_hold(&self) -> impl Iterator<Item = &Deviation> {
        self.all.iter().filter(|known| known.when.holds(&self.here))
    }

    /// Applies the deviations that cover the probe `id` to its verdict.
    pub fn apply(&self, verdict: Verdict, id: &str) -> Verdict {
        let about: Vec<&Deviation> =
            self.that_hold().filter(|known| glob::matches(&known.probe, id)).collect();
        let Some(first) = about.first() else { return verdict };
        let covering = || about.iter().filter(|known| known.outcome.covers(&verdict));
        if let Some(known) = covering().find(|known| known.expires >= self.today) {
            return Verdict::KnownDeviation(format!("{} ({}, {})", known.reason, known.owner, known.issue));
        }
        let note = match covering().next() {
            Some(known) => format!("its known deviation has expired on {}", known.expires),
            None => format!("its known deviation is another one: {}", first.outcome.word()),
        };
        match verdict {
            Verdict::Held => Verdict::UnexpectedPass(format!(
                "held, but known/ lists it ({}): delete the entry",
                first.reason
            )),
            Verdict::Breached(why) => Verdict::Breached(format!("{why}; {note}")),
            Verdict::OverBlocked(why) => Verdict::OverBlocked(format!("{why}; {note}")),
            other => other,
        }
    }

    /// The patterns of entries that have expired, wherever they hold, and of those that hold here and none of `ids`, which are
    /// all of the catalogue, matches; each with why it fails the run.
    pub fn lapsed(&self, ids: &[&str]) -> BTreeMap<String, String> {
        let expired = self.all.iter().filter(|known| known.expires < self.today);
        let expired = expired
            .map(|known| (known, format!("expired on {}, {} answers for it", known.expires, known.owner)));
        let stale = self.that_hold().filter(|known| !ids.iter().any(|id| glob::matches(&known.probe, id)));
        let stale = stale.map(|known| (known, "stale: no probe of this policy matches".to_owned()));
        stale.chain(expired).map(|(known, why)| (known.probe.clone(), why)).collect()
    }
}

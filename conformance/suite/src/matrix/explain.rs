//! Why the columns differ, clause by clause.

use crate::run::declare::{IN_PART, NO_MEANS};
use crate::verdict::Kind;

use super::{Axis, Cell, Subject};
use crate::adapters::CONTROL;

/// Ids of probes that are named before the rest is only counted.
const NAMED: usize = 3;

/// Something that a subject does not hold of a clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it comes to: the runtime does not express it, or declares it and does not keep it, and so on.
    pub what: &'static str,
    /// The reason, where all of these have the same, or nothing.
    pub why: String,
    /// The probes.
    pub probes: Vec<String>,
}

impl Difference {
    /// The first few of the probes, and how many more there are.
    pub fn named(&self) -> String {
        let names = self.probes.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        match self.probes.len().saturating_sub(NAMED) {
            0 => names,
            more => format!("{names} and {more} more"),
        }
    }
}

/// What of the cell is not held, in the order in which a reader wants to know it. What the host cannot show is left out where
/// runtimes are compared: no runtime can help it.
pub fn differences(by: Axis, subject: &Subject, cell: &Cell) -> Vec<Difference> {
    let mut all = Vec::new();
    let breached = match subject.key.runtime.as_str() {
        CONTROL => "is no sandbox: nothing prevents it",
        _ => "declares it and does not keep it",
    };
    for (kind, what) in [
        (Kind::Breached, breached),
        (Kind::OverBlocked, "prevents what the policy allows"),
        (Kind::UnexpectedPass, "passes unexpectedly"),
        (Kind::Inconclusive, "could not be told"),
        (Kind::KnownDeviation, "is a known deviation"),
    ] {
        let probes: Vec<String> =
            cell.by_reason(kind).flat_map(|(_, probes)| probes.iter().cloned()).collect();
        let mut reasons = cell.by_reason(kind).map(|(why, _)| why);
        let why = reasons.next().filter(|_| reasons.next().is_none()).unwrap_or_default().to_owned();
        if !probes.is_empty() {
            all.push(Difference { what, why, probes });
        }
    }
    for (why, probes) in cell.by_reason(Kind::Unsupported) {
        let what = match why {
            why if why.starts_with(NO_MEANS) => "does not express it",
            why if why.starts_with(IN_PART) => "says that it enforces it only in part here",
            _ if by == Axis::Runtime => continue,
            _ => "cannot be shown on this host",
        };
        let why = match what {
            "cannot be shown on this host" => why,
            _ => why.split_once(": ").map_or(why, |(_, reason)| reason),
        };
        all.push(Difference { what, why: why.to_owned(), probes: probes.iter().cloned().collect() });
    }
    all
}

/// One line about a subject: name, version, host, policy.
pub fn described(subject: &Subject) -> String {
    let key = &subject.key;
    let version = subject.runtime_version.as_deref().unwrap_or("version not told");
    format!("{version}; policy {}; {}; suite {}", key.policy, key.host, subject.version)
}

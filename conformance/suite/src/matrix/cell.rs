//! One clause under one subject.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::run::declare::{IN_PART, NO_MEANS};
use crate::verdict::Kind;

/// The probes by verdict, then by reason; a verdict without one has the empty reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cell(BTreeMap<Kind, BTreeMap<String, BTreeSet<String>>>);

/// What a cell comes to: the first of these that any of its probes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Something is breached.
    Breached,
    /// Something that is allowed is prevented, or passes unexpectedly.
    OverBlocked,
    /// Something could not be told.
    Inconclusive,
    /// A deviation is listed as known.
    Known,
    /// What could be asked is held, and for the rest the runtime has no means, or says that it has none here.
    InPart,
    /// The runtime has no means for any of it.
    NoMeans,
    /// All that this host can show is held.
    Held,
    /// This host can show nothing of it.
    Nothing,
}

impl Standing {
    /// The word of tables.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Breached => "breached",
            Self::OverBlocked => "over-blocked",
            Self::Inconclusive => "inconclusive",
            Self::Known => "known deviation",
            Self::InPart => "in part",
            Self::NoMeans => "no means",
            Self::Held => "held",
            Self::Nothing => "nothing to show",
        }
    }
}

impl Cell {
    /// Adds the verdict of a probe.
    pub fn put(&mut self, probe: String, kind: Kind, why: String) {
        self.0.entry(kind).or_default().entry(why).or_default().insert(probe);
    }

    /// Every probe with its verdict and reason.
    pub fn probes(&self) -> impl Iterator<Item = (&str, Kind, &str)> {
        self.0.iter().flat_map(|(kind, reasons)| {
            reasons.iter().flat_map(move |(why, probes)| {
                probes.iter().map(move |probe| (probe.as_str(), *kind, why.as_str()))
            })
        })
    }

    /// The probes with this verdict, by reason.
    pub fn by_reason(&self, kind: Kind) -> impl Iterator<Item = (&str, &BTreeSet<String>)> {
        self.0.get(&kind).into_iter().flatten().map(|(why, probes)| (why.as_str(), probes))
    }

    /// How many probes have this verdict.
    pub fn count(&self, kind: Kind) -> usize {
        self.by_reason(kind).map(|(_, probes)| probes.len()).sum()
    }

    /// How many probes the runtime has no means for, or says that it has none for here.
    pub fn without_means(&self) -> usize {
        let declared = |why: &str| why.starts_with(NO_MEANS) || why.starts_with(IN_PART);
        let reasons = self.by_reason(Kind::Unsupported).filter(|(why, _)| declared(why));
        reasons.map(|(_, probes)| probes.len()).sum()
    }

    /// How many probes there are, but for those that this host can show nothing by.
    pub fn asked(&self) -> usize {
        let all: usize = Kind::ALL.into_iter().map(|kind| self.count(kind)).sum();
        all - (self.count(Kind::Unsupported) - self.without_means())
    }

    /// What it comes to.
    pub fn standing(&self) -> Standing {
        let any = |kind| self.count(kind) > 0;
        match (any(Kind::Held), self.without_means() > 0) {
            _ if any(Kind::Breached) => Standing::Breached,
            _ if any(Kind::OverBlocked) || any(Kind::UnexpectedPass) => Standing::OverBlocked,
            _ if any(Kind::Inconclusive) => Standing::Inconclusive,
            _ if any(Kind::KnownDeviation) => Standing::Known,
            (true, true) => Standing::InPart,
            (false, true) => Standing::NoMeans,
            (true, false) => Standing::Held,
            (false, false) => Standing::Nothing,
        }
    }

    /// The cell in a few characters: how many are held of those asked, and what the others are. A letter stands for each:
    /// `b`reached, `o`ver-blocked, `?` inconclusive, `k`nown deviation, `-` no means.
    pub fn brief(&self) -> String {
        if self.asked() == 0 {
            return String::new();
        }
        let over = self.count(Kind::OverBlocked) + self.count(Kind::UnexpectedPass);
        let others = [
            (self.count(Kind::Breached), 'b'),
            (over, 'o'),
            (self.count(Kind::Inconclusive), '?'),
            (self.count(Kind::KnownDeviation), 'k'),
            (self.without_means(), '-'),
        ];
        let others = others.iter().filter(|(count, _)| *count > 0);
        let others: String = others.map(|(count, letter)| format!(" {count}{letter}")).collect();
        format!("{}/{}{others}", self.count(Kind::Held), self.asked())
    }

    /// Takes in the probes of another cell; the id of one that has another verdict here is the error.
    pub(super) fn take(&mut self, other: Self) -> Result<(), String> {
        let here: BTreeMap<String, Kind> =
            self.probes().map(|(probe, kind, _)| (probe.to_owned(), kind)).collect();
        for (kind, reasons) in other.0 {
            for (why, probes) in reasons {
                for probe in probes {
                    match here.get(&probe) {
                        None => self.put(probe, kind, why.clone()),
                        Some(same) if *same == kind => {}
                        Some(_) => return Err(probe),
                    }
                }
            }
        }
        Ok(())
    }
}

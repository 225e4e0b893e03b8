//! An earlier report, and what has changed since.
//!
//! [`Baseline::read`] takes what `palisade verify --format json` wrote; [`compare`] is pure and knows verdicts by probe id only.
//! Why a verdict changed it cannot tell: the runtime, the policy, the host and the suite may all be others, so the report names
//! those of both sides.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::entry::Entry;
use crate::report::json;
use crate::verdict::Kind;

/// Bytes of an earlier report, at most. One of a thousand probes has about two million.
const MOST: u64 = 64 << 20;

/// Why a file is no baseline. The text names the file, and may quote it: escape it for a terminal.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Unreadable(String, io::Error),
    /// It is a directory, a pipe or a device: it is read twice, so it must be a file.
    #[error("{0}: not a regular file")]
    NotAFile(String),
    /// It is longer than any report.
    #[error("{0}: longer than {MOST} bytes, which no report is")]
    TooLong(String),
    /// It is not JSON, or lacks what a report has.
    #[error("{0}: not a report: {1}")]
    NotAReport(String, serde_json::Error),
    /// It is a report of another version.
    #[error("{0}: its schema is \"{1}\", and this program reads \"{schema}\"", schema = json::SCHEMA)]
    OtherSchema(String, String),
    /// A probe has two verdicts.
    #[error("{0}: two verdicts of the probe {1}")]
    Twice(String, String),
    /// It is about something else than what is verified.
    #[error("{0}: it is about {1}, and this verification about {2}")]
    OtherSubject(String, String, String),
}

impl BaselineError {
    /// What would help.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::OtherSubject(..) => {
                "a breach of one does not excuse one of the other; compare like with like"
            }
            _ => "a baseline is the file that `palisade verify --format json >FILE` wrote",
        }
    }
}

/// Who was tested when the earlier report was written, as far as readers of a comparison want to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// Version of the suite.
    pub version: String,
    /// The runtime's adapter.
    pub runtime: String,
    /// The way by which the workloads came in; reports from before there were several have none.
    #[serde(default)]
    pub entry: Entry,
    /// What carried the network; reports without a network and from before this was told have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// The policy's name.
    pub policy: String,
    /// One line about the host.
    pub host: String,
}

/// An earlier report, as far as a comparison needs it.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// The file, as it was named.
    pub name: String,
    /// Who was tested.
    pub subject: Earlier,
    verdicts: BTreeMap<String, Kind>,
}

/// What is in the file of a report.
///
/// # Errors
/// When it is not a regular file, or longer than any report.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, BaselineError> {
    let name = path.display().to_string();
    let unreadable = |error| BaselineError::Unreadable(name.clone(), error);
    // Before it is opened: opening a pipe waits for its writer.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(BaselineError::NotAFile(name));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > MOST {
        return Err(BaselineError::TooLong(name));
    }
    Ok(bytes)
}

#[derive(Deserialize)]
struct Schema {
    schema: String,
}

#[derive(Deserialize)]
struct Document {
    subject: Earlier,
    probes: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    verdict: Kind,
}

impl Baseline {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is not a regular file with one report of the schema [`json::SCHEMA`].
    pub fn read(path: &Path) -> Result<Self, BaselineError> {
        Self::parse(&path.display().to_string(), &bytes(path)?)
    }

    /// Reads the text of a report.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(name: &str, text: &[u8]) -> Result<Self, BaselineError> {
        let broken = |error| BaselineError::NotAReport(name.to_owned(), error);
        // The version first: a report of another one need not have the same keys.
        let Schema { schema } = serde_json::from_slice(text).map_err(broken)?;
        if schema != json::SCHEMA {
            return Err(BaselineError::OtherSchema(name.to_owned(), schema));
        }
        let document: Document = serde_json::from_slice(text).map_err(broken)?;
        let mut verdicts = BTreeMap::new();
        for Case { id, verdict } in document.probes {
            let twice = BaselineError::Twice(name.to_owned(), id.clone());
            if verdicts.insert(id, verdict).is_some() {
                return Err(twice);
            }
        }
        Ok(Self { name: name.to_owned(), subject: document.subject, verdicts })
    }

    /// Refuses a report about another runtime, another way in or another means of carrying the network: its breaches are not this
    /// one's, and would excuse them. Where one of both has no network, or does not tell, `backend` says nothing.
    ///
    /// # Errors
    /// [`BaselineError::OtherSubject`].
    pub fn check(&self, runtime: &str, entry: Entry, backend: Option<&str>) -> Result<(), BaselineError> {
        let earlier = self.subject.backend.as_deref();
        let same_backend = earlier.is_none() || backend.is_none() || earlier == backend;
        if self.subject.runtime == runtime && self.subject.entry == entry && same_backend {
            return Ok(());
        }
        let about = |runtime: &str, entry, backend: Option<&str>| {
            let backend = backend.map_or(String::new(), |backend| format!(", backend {backend}"));
            format!("runtime {runtime}, entry {entry}{backend}")
        };
        let then = about(&self.subject.runtime, self.subject.entry, earlier);
        let now = about(runtime, entry, backend);
        Err(BaselineError::OtherSubject(self.name.clone(), then, now))
    }

    /// What has changed since. Of the probes that only the earlier report has, those are gone that `missing` says so of; the
    /// others were not asked for.
    pub fn comparison(&self, now: &BTreeMap<String, Kind>, missing: impl Fn(&str) -> bool) -> Comparison {
        let then = self.verdicts.iter().filter(|(id, _)| now.contains_key(*id) || missing(id));
        let then = then.map(|(id, verdict)| (id.clone(), *verdict)).collect::<BTreeMap<_, _>>();
        let changes = compare(&then, now);
        let mut as_before = BTreeMap::new();
        for (_, kind) in now.iter().filter(|(id, kind)| then.get(*id) == Some(kind)) {
            *as_before.entry(*kind).or_default() += 1;
        }
        Comparison { report: self.name.clone(), subject: self.subject.clone(), as_before, changes }
    }
}

/// What has changed since an earlier report.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The file, as it was named.
    pub report: String,
    /// Who was tested then.
    pub subject: Earlier,
    /// How many probes have the verdict that they had, by verdict.
    pub as_before: BTreeMap<Kind, usize>,
    /// Every other probe, ordered by id.
    pub changes: Vec<Change>,
}

/// A probe whose verdict is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The probe.
    pub id: String,
    /// What that means.
    pub change: What,
    /// The verdict in the earlier report; nothing where it has no such probe.
    pub was: Option<Kind>,
    /// The verdict now; nothing where there is no such probe any more.
    pub now: Option<Kind>,
}

/// What a change means. A probe has the first of these that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It fails (is breached, over-blocked, or passes unexpectedly), and did not in this way, or there was no such probe.
    New,
    /// It failed, and is held.
    Fixed,
    /// Another verdict than before, neither new nor fixed. What failed and is inconclusive, unsupported or accepted now is no
    /// more than changed.
    Changed,
    /// There was no such probe; it does not fail.
    Added,
    /// There is no such probe any more.
    Gone,
}

impl What {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::New, Self::Fixed, Self::Changed, Self::Added, Self::Gone];

    /// The word of reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Fixed => "fixed",
            Self::Changed => "changed",
            Self::Added => "added",
            Self::Gone => "gone",
        }
    }
}

/// The probes whose verdicts differ, ordered by id.
pub fn compare(then: &BTreeMap<String, Kind>, now: &BTreeMap<String, Kind>) -> Vec<Change> {
    let ids: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let changes = ids.into_iter().filter_map(|id| {
        let (was, now) = (then.get(id).copied(), now.get(id).copied());
        let change = match (was, now) {
            (was, now) if was == now => return None,
            (_, Some(now)) if now.fails() => What::New,
            (Some(was), Some(Kind::Held)) if was.fails() => What::Fixed,
            (Some(_), Some(_)) => What::Changed,
            (None, _) => What::Added,
            (_, None) => What::Gone,
        };
        Some(Change { id: id.clone(), change, was, now })
    });
    changes.collect()
}

impl Comparison {
    /// How many changes of each sort there are, those that do not occur too.
    pub fn counts(&self) -> BTreeMap<What, usize> {
        let count = |what| self.changes.iter().filter(|change| change.change == what).count();
        What::ALL.map(|what| (what, count(what))).into()
    }

    /// The changes in one line: how many there are of each sort that occurs.
    pub fn headline(&self) -> String {
        let counts = self.counts();
        let counts = counts.iter().filter(|(_, count)| **count > 0);
        let sorts = counts.map(|(what, count)| format!("{count} {}", what.word()));
        let as_before: usize = self.as_before.values().sum();
        sorts.chain([format!("{as_before} as before")]).collect::<Vec<_>>().join(", ")
    }

    /// The verdicts that count for the exit code: those that are not what they were.
    pub fn differing(&self) -> impl Iterator<Item = Kind> {
        self.changes.iter().filter_map(|change| change.now)
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! Files into what a matrix is made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::Deserialize;

use super::{Axis, Cell, Finding, Host, Key, Matrix, SCHEMA, Subject, family};
use crate::baseline::{self, BaselineError};
use crate::report::json;
use crate::verdict::Kind;

/// The schema of what `palisade host --format json` writes.
const HOST: &str = "palisade.host/1";

/// Why there is no matrix. The text may quote a file: escape it for a terminal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read, or is no report.
    #[error(transparent)]
    File(#[from] BaselineError),
    /// A file is of a schema that is none of the three.
    #[error("{0}: its schema is \"{1}\", and a matrix is made of {verify}, {HOST} and {SCHEMA}", verify = json::SCHEMA)]
    Schema(String, String),
    /// Two reports of one subject contradict each other.
    #[error("two reports of the runtime {0} on one host have different verdicts of the probe {1}")]
    Twice(String, String),
}

/// What one file has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// Those who were tested.
    pub subjects: Vec<Subject>,
    /// What hosts said of themselves, by label.
    pub hosts: BTreeMap<String, Host>,
    /// What was asked for and was not there.
    pub absent: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Schema {
    schema: String,
}

#[derive(Deserialize)]
struct Verified {
    subject: Told,
    probes: Vec<Probe>,
}

#[derive(Deserialize)]
struct Told {
    #[serde(flatten)]
    key: Key,
    runtime_version: Option<String>,
    version: String,
    policy_argument: String,
}

#[derive(Deserialize)]
struct Probe {
    id: String,
    verdict: Kind,
    #[serde(default)]
    why: String,
    clause: String,
}

#[derive(Deserialize)]
struct Surveyed {
    #[serde(default)]
    findings: Vec<Found>,
    #[serde(default)]
    policy: Option<Predicted>,
}

#[derive(Deserialize)]
struct Found {
    id: String,
    #[serde(flatten)]
    finding: Finding,
}

#[derive(Deserialize)]
struct Predicted {
    name: String,
    #[serde(default)]
    clauses: Vec<PredictedClause>,
}

#[derive(Deserialize)]
struct PredictedClause {
    clause: String,
    status: String,
}

/// Reads the files, side by side. The result is in their order.
///
/// # Errors
/// Of the first file, in their order, that is none of the three sorts.
pub fn all(paths: &[PathBuf]) -> Result<Vec<Input>, Error> {
    let next = AtomicUsize::new(0);
    let done: Vec<Mutex<Option<Result<Input, Error>>>> = paths.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(index) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|i| *i < paths.len())
                {
                    let read = one(&paths[index]);
                    if let Ok(mut slot) = done[index].lock() {
                        *slot = Some(read);
                    }
                }
            });
        }
    });
    done.into_iter().filter_map(|slot| slot.into_inner().ok().flatten()).collect()
}

/// Reads one file.
///
/// # Errors
/// See [`Error`].
pub fn one(path: &Path) -> Result<Input, Error> {
    let bytes = baseline::bytes(path)?;
    let name = path.display().to_string();
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let label = file.split('.').next().unwrap_or_default();
    parse(&name, label, &bytes)
}

/// Reads the text of a file about the host of this label.
///
/// # Errors
/// See [`Error`].
pub fn parse(name: &str, label: &str, text: &[u8]) -> Result<Input, Error> {
    let broken = |error| BaselineError::NotAReport(name.to_owned(), error);
    let schema = match opening(text) {
        Some(schema) => schema.to_owned(),
        None => serde_json::from_slice::<Schema>(text).map_err(broken)?.schema,
    };
    match schema.as_str() {
        json::SCHEMA => Ok(verified(label, serde_json::from_slice(text).map_err(broken)?)),
        HOST => Ok(surveyed(label, serde_json::from_slice(text).map_err(broken)?)),
        SCHEMA => {
            let Matrix { by, mut subjects, hosts, absent } = serde_json::from_slice(text).map_err(broken)?;
            if by == Axis::Runtime {
                subjects.iter_mut().for_each(|subject| label.clone_into(&mut subject.key.label));
            }
            Ok(Input { subjects, hosts, absent })
        }
        _ => Err(Error::Schema(name.to_owned(), schema)),
    }
}

/// The schema of a document that begins with it, as those of ours do: to look for it would be to read half a megabyte twice.
fn opening(text: &[u8]) -> Option<&str> {
    let rest = text.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start().strip_prefix(b"\"schema\"")?;
    let rest = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    std::str::from_utf8(&rest[..end]).ok().filter(|_| rest[end] == b'"')
}

fn verified(label: &str, document: Verified) -> Input {
    let Told { key, runtime_version, version, policy_argument } = document.subject;
    let mut clauses: BTreeMap<String, Cell> = BTreeMap::new();
    for Probe { id, verdict, why, clause } in document.probes {
        clauses.entry(family(&clause).to_owned()).or_default().put(id, verdict, why);
    }
    let key = Key { label: label.to_owned(), ..key };
    let subject = Subject { key, runtime_version, version, policy_argument, clauses };
    Input { subjects: vec![subject], ..Input::default() }
}

fn surveyed(label: &str, document: Surveyed) -> Input {
    let findings = document.findings.into_iter().map(|Found { id, finding }| (id, finding)).collect();
    let predicted = document.policy.map(|Predicted { name, clauses }| {
        let mut said: BTreeMap<String, String> = BTreeMap::new();
        // Of several entries the least that is said of any: all of them are one cell.
        let least = |status: &str| (status != "refused", status == "enforced");
        for PredictedClause { clause, status } in clauses {
            match said.get(family(&clause)) {
                Some(other) if least(other) <= least(&status) => {}
                _ => drop(said.insert(family(&clause).to_owned(), status)),
            }
        }
        (name, said)
    });
    let host = Host { findings, predicted: predicted.into_iter().collect() };
    Input { hosts: BTreeMap::from([(label.to_owned(), host)]), ..Input::default() }
}

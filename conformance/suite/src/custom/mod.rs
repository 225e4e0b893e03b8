//! Probes that a reviewer brings along: files in YAML, one probe each, for `palisade verify --probes`.
//!
//! Such a probe becomes a [`Probe`] of the catalogue's own kind, and from there on nothing knows that it was not written in
//! Rust: the same instance of a sandbox for control and attempt, the same nonce, the same run without a sandbox in the same
//! lab, the same judge. What the catalogue's tests demand of an entry is demanded here when a file is read: a control, an
//! expectation that can fail, and something else to be seen without a sandbox.
//!
//! `form` is the file, `workload` what runs, `expect` what must be seen.

mod expect;
mod form;
mod workload;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_saphyr::{Location, Spanned};

use crate::catalogue::Probe;
use crate::report::printable;

pub(crate) use form::SECTIONS;
pub(crate) use workload::numbered;

/// The first word of the ids of such probes.
pub const GROUP: &str = "own";

/// The clause of `SPEC.md` that they test when they name none.
const SPEC: &str = "OWN-1";

/// Most bytes of a file.
const MAX_BYTES: u64 = 64 * 1024;

/// Probes that were read.
#[derive(Clone, Debug, Default)]
pub struct Custom {
    /// Where from, as the caller named it.
    pub paths: Vec<PathBuf>,
    /// The probes, sorted by id.
    pub probes: Vec<Probe>,
}

/// What is wrong with a file that a caller brings along: of a probe, or of a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// Line and column, from 1, where the problem has a place.
    pub place: Option<(u64, u64)>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.file))?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", printable(&self.message))
    }
}

impl Problem {
    /// What the reader of YAML says.
    pub(crate) fn of_yaml(file: &str, error: serde_saphyr::Error) -> Self {
        let error = error.without_snippet();
        let message = error.to_string();
        // The place stands before the message already.
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
        let place = error.location().filter(|at| *at != Location::UNKNOWN).map(|at| (at.line(), at.column()));
        Self { file: file.to_owned(), place, message: message.to_owned(), hint: None }
    }
}

/// A refusal of something in a file, before it is known which file that is.
#[derive(Debug)]
pub(crate) struct Wrong {
    at: Location,
    message: String,
    hint: Option<String>,
}

impl Wrong {
    pub(crate) fn at<T>(spanned: &Spanned<T>, message: impl Into<String>) -> Self {
        Self { at: spanned.referenced, message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn in_file(self, file: &str) -> Problem {
        Problem {
            file: file.to_owned(),
            place: (self.at != Location::UNKNOWN).then(|| (self.at.line(), self.at.column())),
            message: self.message,
            hint: self.hint,
        }
    }
}

/// Reads the probes at `paths`: files, and directories with files `*.yaml`.
///
/// # Errors
/// Everything that is wrong, one problem a file.
pub fn load(paths: &[PathBuf]) -> Result<Custom, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut probes: BTreeMap<String, (String, Probe)> = BTreeMap::new();
    for path in paths.iter().flat_map(|path| files(path)) {
        match path.and_then(|path| Ok((path.display().to_string(), read(&path)?))) {
            Ok((file, probe)) => {
                if let Some((first, _)) = probes.get(&probe.id) {
                    let message = format!("{} is the id of the probe in {first} too", probe.id);
                    problems.push(Problem { file, place: None, message, hint: None });
                } else {
                    probes.insert(probe.id.clone(), (file, probe));
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Custom { paths: paths.to_vec(), probes: probes.into_values().map(|(_, probe)| probe).collect() })
}

/// The files that `path` stands for.
fn files(path: &Path) -> Vec<Result<PathBuf, Problem>> {
    let about = |path: &Path, message: String, hint: Option<&str>| Problem {
        file: path.display().to_string(),
        place: None,
        message,
        hint: hint.map(str::to_owned),
    };
    if !path.is_dir() {
        return vec![Ok(path.to_owned())];
    }
    let listed = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries: Vec<PathBuf> = match listed {
        Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect(),
        Err(error) => return vec![Err(about(path, format!("cannot be listed: {error}"), None))],
    };
    entries.sort();
    let extension = |path: &Path| path.extension().map(|extension| extension.to_string_lossy().into_owned());
    let files = entries.into_iter().filter_map(|path| match extension(&path).as_deref() {
        Some("yaml") => Some(Ok(path)),
        // A probe that silently does not run is worse than one that fails.
        Some("yml") => Some(Err(about(&path, "is not read".into(), Some("name it .yaml")))),
        _ => None,
    });
    let files: Vec<_> = files.collect();
    if files.is_empty() {
        let hint = "a probe is a file *.yaml; fixtures/probes.d has examples";
        return vec![Err(about(path, "has no probes".into(), Some(hint)))];
    }
    files
}

fn read(path: &Path) -> Result<Probe, Problem> {
    let file = path.display().to_string();
    let about = |message: String| Problem { file: file.clone(), place: None, message, hint: None };
    let mut text = String::new();
    let opened = File::open(path).and_then(|opened| opened.take(MAX_BYTES + 1).read_to_string(&mut text));
    opened.map_err(|error| about(format!("cannot be read: {error}")))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(about(format!("is longer than {MAX_BYTES} bytes")));
    }
    parse(&file, &text)
}

/// Reads one probe. `file` is the name that problems give.
///
/// # Errors
/// The first thing that is wrong.
pub fn parse(file: &str, text: &str) -> Result<Probe, Problem> {
    let form: form::Form = serde_saphyr::from_str(text).map_err(|error| Problem::of_yaml(file, error))?;
    form.probe().map_err(|wrong| wrong.in_file(file))
}

#[cfg(test)]
mod tests;

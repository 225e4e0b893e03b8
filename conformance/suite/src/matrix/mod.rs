//! The matrix: reports of many runtimes, or of many hosts, in one table.
//!
//! [`read`] takes files: reports of `verify`, reports of `host`, matrices that were written before. [`Matrix::new`] puts them together,
//! the same whatever the order of the files. A [`Cell`] is one clause of the policy under one [`Subject`]; it keeps the verdict of
//! every probe, with the reason where there is one, and so says by itself what [`explain`] tells of it. Nothing here runs or judges.

mod agree;
mod cell;
pub mod explain;
mod html;
mod markdown;
pub mod read;
mod regress;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

pub use agree::Disagreement;
pub use cell::{Cell, Standing};
pub use read::{Error, Input};
pub use regress::Regressions;

use crate::adapters::{CONTROL, OWN};

/// Name and version of the schema of a matrix as data.
pub const SCHEMA: &str = "palisade.matrix/1";

/// What the columns are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Runtimes.
    #[default]
    Runtime,
    /// Hosts. The name of a file up to its first dot names the host that its report is of.
    Host,
}

/// One system that was tested somewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// What tells it apart.
    #[serde(flatten)]
    pub key: Key,
    /// What the runtime says about its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_version: Option<String>,
    /// Version of the suite.
    #[serde(default)]
    pub version: String,
    /// What names the policy on a command line.
    #[serde(default)]
    pub policy_argument: String,
    /// Every clause that a probe is about, without the number of an entry.
    pub clauses: BTreeMap<String, Cell>,
}

/// What tells a subject apart from another.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The host by name: of the file, up to its first dot.
    #[serde(default)]
    pub label: String,
    /// The runtime's adapter.
    pub runtime: String,
    /// The way by which the workloads came in.
    #[serde(default = "run")]
    pub entry: String,
    /// What carried the network, where there was one to carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// The policy's name.
    pub policy: String,
    /// One line about the host.
    pub host: String,
}

fn run() -> String {
    "run".to_owned()
}

/// What a host said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// By id.
    #[serde(default)]
    pub findings: BTreeMap<String, Finding>,
    /// What it said that a policy would get there, by clause: policy, then clause, then the word of the report.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub predicted: BTreeMap<String, BTreeMap<String, String>>,
}

/// One thing that a host can do, or cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// The word of the report: available, partial, unavailable, absent.
    pub status: String,
    /// What was found.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// What it means for policies, where something is missing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub consequence: String,
}

/// The whole table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matrix {
    /// What the columns are.
    pub by: Axis,
    /// In the order in which they are shown: ours first, the control last, the others by name.
    pub subjects: Vec<Subject>,
    /// What hosts said of themselves, by label.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, Host>,
    /// What was asked for and is not here, with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub absent: BTreeMap<String, String>,
}

/// Columns that say the same in every cell.
pub struct Column<'a> {
    /// What stands above it.
    pub title: String,
    /// The first of its subjects, which stands for all.
    pub subject: &'a Subject,
    /// The titles of all of them.
    pub members: Vec<String>,
}

/// How many columns are shown one by one; of more, those that say the same are one.
const APART: usize = 16;

/// The form of a matrix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// For a person.
    #[default]
    Text,
    /// For a program, and for this one later: [`SCHEMA`].
    Json,
    /// For a repository or a job summary.
    Markdown,
    /// For a browser.
    Html,
}

impl Form {
    /// The extensions of files, each with what is in such a file.
    pub const EXTENSIONS: [(&str, Self); 4] =
        [("txt", Self::Text), ("json", Self::Json), ("md", Self::Markdown), ("html", Self::Html)];

    /// What the file of this name is to hold; nothing where the extension is not one of [`Self::EXTENSIONS`].
    pub fn of_file(path: &std::path::Path) -> Option<Self> {
        let extension = path.extension()?;
        Self::EXTENSIONS.iter().find(|(name, _)| extension == *name).map(|(_, form)| *form)
    }

    /// Writes the matrix, and what has changed since another where that was asked for.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write(
        self,
        out: &mut dyn Write,
        matrix: &Matrix,
        regressions: Option<&Regressions>,
    ) -> io::Result<()> {
        match self {
            Self::Text => text::write(out, matrix, regressions),
            Self::Json => json(out, matrix, regressions),
            Self::Markdown => markdown::write(out, matrix, regressions),
            Self::Html => html::write(out, matrix, regressions),
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    #[serde(flatten)]
    matrix: &'a Matrix,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    disagreements: Vec<Disagreement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<&'a Regressions>,
}

fn json(out: &mut dyn Write, matrix: &Matrix, against: Option<&Regressions>) -> io::Result<()> {
    let document = Document { schema: SCHEMA, matrix, disagreements: matrix.disagreements(), against };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

impl Matrix {
    /// Puts the inputs together. Reports of the same subject, such as the shards of one run, become one column.
    ///
    /// # Errors
    /// [`Error::Twice`] where two of them have different verdicts of one probe.
    pub fn new(by: Axis, inputs: impl IntoIterator<Item = Input>) -> Result<Self, Error> {
        let mut subjects: BTreeMap<Key, Subject> = BTreeMap::new();
        let mut matrix = Self { by, ..Self::default() };
        for mut input in inputs {
            if by == Axis::Runtime {
                // Where a report came from does not matter: what it says of the host tells hosts apart.
                input.subjects.iter_mut().for_each(|subject| subject.key.label.clear());
            }
            for subject in input.subjects {
                match subjects.get_mut(&subject.key) {
                    Some(whole) => whole.take(subject)?,
                    None => drop(subjects.insert(subject.key.clone(), subject)),
                }
            }
            for (label, host) in input.hosts {
                let whole = matrix.hosts.entry(label).or_default();
                whole.findings.extend(host.findings);
                whole.predicted.extend(host.predicted);
            }
            matrix.absent.extend(input.absent);
        }
        matrix.subjects = subjects.into_values().collect();
        matrix.subjects.sort_by_key(|subject| match subject.key.runtime.as_str() {
            OWN => 0,
            CONTROL => 2,
            _ => 1,
        });
        Ok(matrix)
    }

    /// Every clause that a probe of any subject is about.
    pub fn clauses(&self) -> BTreeSet<&str> {
        self.subjects.iter().flat_map(|subject| subject.clauses.keys()).map(String::as_str).collect()
    }

    /// What stands above each subject: what tells it apart, and no more.
    pub fn titles(&self) -> Vec<String> {
        let differs = |part: fn(&Key) -> &str| {
            let mut all = self.subjects.iter().map(|subject| part(&subject.key));
            let first = all.next();
            all.any(|other| Some(other) != first)
        };
        let parts: [fn(&Key) -> &str; 6] = [
            |key| &key.label,
            |key| &key.runtime,
            |key| &key.entry,
            |key| key.backend.as_deref().unwrap_or(""),
            |key| &key.policy,
            |key| &key.host,
        ];
        let always = match self.by {
            Axis::Host => 0,
            Axis::Runtime => 1,
        };
        let mut shown: Vec<usize> =
            (0..parts.len()).filter(|&index| index == always || differs(parts[index])).collect();
        // The axis first. A host by name needs no description beside it.
        shown.sort_by_key(|&index| (index != always, index));
        if self.by == Axis::Host && shown.len() > 1 {
            shown.retain(|&index| index != 5);
        }
        let title = |key: &Key| {
            let words = shown.iter().map(|&index| parts[index](key)).filter(|word| !word.is_empty());
            words.collect::<Vec<_>>().join(" ")
        };
        self.subjects.iter().map(|subject| title(&subject.key)).collect()
    }

    /// The columns as they are shown.
    pub fn columns(&self) -> Vec<Column<'_>> {
        let apart = self.subjects.len() <= APART;
        let mut columns: Vec<Column<'_>> = Vec::new();
        let mut alike: BTreeMap<Vec<(&str, String)>, usize> = BTreeMap::new();
        for (subject, title) in self.subjects.iter().zip(self.titles()) {
            let cells =
                subject.clauses.iter().map(|(clause, cell)| (clause.as_str(), cell.brief())).collect();
            match alike.get(&cells) {
                Some(&index) if !apart => columns[index].members.push(title),
                _ => {
                    alike.insert(cells, columns.len());
                    columns.push(Column { title: title.clone(), subject, members: vec![title] });
                }
            }
        }
        for column in columns.iter_mut().filter(|column| column.members.len() > 1) {
            column.title = format!("{} and {} more", column.title, column.members.len() - 1);
        }
        columns
    }

    /// What hosts can do that others cannot: by finding, the hosts by what they said of it. What all say alike is left out where
    /// there are several.
    pub fn findings(&self) -> BTreeMap<&str, BTreeMap<&Finding, Vec<&str>>> {
        let mut all: BTreeMap<&str, BTreeMap<&Finding, Vec<&str>>> = BTreeMap::new();
        for (label, host) in &self.hosts {
            for (id, finding) in &host.findings {
                all.entry(id).or_default().entry(finding).or_default().push(label);
            }
        }
        all
    }
}

impl Subject {
    /// Takes in what another report says of the same subject.
    fn take(&mut self, other: Self) -> Result<(), Error> {
        for (clause, cell) in other.clauses {
            let twice = self.clauses.entry(clause).or_default().take(cell);
            twice.map_err(|probe| Error::Twice(self.key.runtime.clone(), probe))?;
        }
        Ok(())
    }

    /// The command that shows the evidence of a cell again, on the host in question; of a whole row of runtimes, for any of them.
    pub fn command(&self, by: Axis, clause: &str) -> String {
        let key = &self.key;
        let mut words = vec!["palisade verify".to_owned(), format!("--policy {}", self.policy_argument)];
        words.push(match by {
            Axis::Runtime => "--runtime NAME".to_owned(),
            Axis::Host => format!("--runtime {}", key.runtime),
        });
        words.extend((key.entry != "run").then(|| format!("--entry {}", key.entry)));
        words.extend(
            key.backend.as_ref().filter(|_| key.runtime == OWN).map(|name| format!("--backend {name}")),
        );
        words.push(format!("--clause {clause}"));
        words.join(" ")
    }
}

/// A clause without the number of an entry: `filesystem.hidden[2]` is of `filesystem.hidden`.
pub fn family(clause: &str) -> &str {
    clause.split_once('[').map_or(clause, |(family, _)| family)
}

#[cfg(test)]
mod tests;

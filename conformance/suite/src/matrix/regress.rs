//! What has changed since another matrix.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Finding, Matrix, Subject};
use crate::baseline::{Change, What, compare};
use crate::verdict::Kind;

/// The status of a finding then, and now.
type Turn = (Option<String>, Option<String>);

/// The changes, subject by subject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Regressions {
    /// Probes whose verdict is another, by the subject's title.
    pub probes: BTreeMap<String, Vec<Change>>,
    /// What a host says otherwise than before: by host and finding, then and now.
    pub findings: BTreeMap<String, BTreeMap<String, Turn>>,
    /// Subjects that are there for the first time.
    pub added: Vec<String>,
    /// Subjects that are there no more.
    pub gone: Vec<String>,
}

impl Regressions {
    /// What is different in `now`. Subjects are the same when all that tells them apart is, except the description of the host where
    /// the columns are hosts: a host with a new kernel is the same host.
    pub fn between(then: &Matrix, now: &Matrix) -> Self {
        let (before, after) = (titled(then), titled(now));
        let mut all = Self::default();
        for (title, subject) in &after {
            let Some(earlier) = before.get(title) else {
                all.added.push(title.clone());
                continue;
            };
            let changes = compare(&verdicts(earlier), &verdicts(subject));
            if !changes.is_empty() {
                all.probes.insert(title.clone(), changes);
            }
        }
        all.gone = before.keys().filter(|title| !after.contains_key(*title)).cloned().collect();
        for (label, host) in &now.hosts {
            let Some(earlier) = then.hosts.get(label) else { continue };
            let status = |finding: Option<&Finding>| finding.map(|finding| finding.status.clone());
            let ids = earlier.findings.keys().chain(host.findings.keys());
            for id in ids {
                let (was, is) = (status(earlier.findings.get(id)), status(host.findings.get(id)));
                if was != is {
                    all.findings.entry(label.clone()).or_default().insert(id.clone(), (was, is));
                }
            }
        }
        all
    }

    /// Whether anything fails that did not fail before.
    pub fn any(&self) -> bool {
        self.probes.values().flatten().any(|change| change.change == What::New)
    }

    /// The changes in lines for a person.
    pub fn lines(&self) -> Vec<String> {
        let word = |kind: Option<Kind>| kind.map_or("not there", Kind::word);
        let mut lines = Vec::new();
        for (title, changes) in &self.probes {
            for change in changes {
                let (what, id) = (change.change.word(), &change.id);
                lines.push(format!("{title}: {what}: {id} {}, was {}", word(change.now), word(change.was)));
            }
        }
        for (label, findings) in &self.findings {
            for (id, (was, now)) in findings {
                let word = |status: &Option<String>| status.clone().unwrap_or_else(|| "not told".to_owned());
                lines.push(format!("{label}: {id} {}, was {}", word(now), word(was)));
            }
        }
        lines.extend(self.added.iter().map(|title| format!("{title}: was not there before")));
        lines.extend(self.gone.iter().map(|title| format!("{title}: is not there any more")));
        lines
    }
}

/// The subjects by what names them in both matrices: all that tells them apart, not what happens to differ among those of one.
fn titled(matrix: &Matrix) -> BTreeMap<String, &Subject> {
    let title = |subject: &Subject| {
        let key = &subject.key;
        let host = if key.label.is_empty() { &key.host } else { &key.label };
        let parts = [&key.runtime, &key.entry, key.backend.as_ref().unwrap_or(&key.entry), &key.policy, host];
        let mut words: Vec<&str> =
            parts.into_iter().map(String::as_str).filter(|word| *word != "run").collect();
        words.dedup();
        words.join(", ")
    };
    matrix.subjects.iter().map(|subject| (title(subject), subject)).collect()
}

fn verdicts(subject: &Subject) -> BTreeMap<String, Kind> {
    let probes = subject.clauses.values().flat_map(|cell| cell.probes());
    probes.map(|(probe, kind, _)| (probe.to_owned(), kind)).collect()
}

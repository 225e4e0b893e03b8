//! What hosts said beforehand, beside what was observed there.

use serde::Serialize;

use super::{Matrix, Standing, Subject};
use crate::adapters::OWN;

/// A clause of which a host said something else than what was then observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disagreement {
    /// The host.
    pub label: String,
    /// The policy.
    pub policy: String,
    /// The clause.
    pub clause: String,
    /// What the host said.
    pub predicted: String,
    /// What was observed.
    pub observed: &'static str,
}

impl Matrix {
    /// Where a host said that a clause would be enforced and it was not, or that it would not be and it was all the same.
    pub fn disagreements(&self) -> Vec<Disagreement> {
        let ours = self.subjects.iter().filter(|subject| subject.key.runtime == OWN);
        ours.flat_map(|subject| self.of_subject(subject)).collect()
    }

    fn of_subject(&self, subject: &Subject) -> Vec<Disagreement> {
        let key = &subject.key;
        let said = self.hosts.get(&key.label).and_then(|host| host.predicted.get(&key.policy));
        let pairs = said.into_iter().flatten().filter_map(|(clause, predicted)| {
            let standing = subject.clauses.get(clause)?.standing();
            (!agrees(predicted, standing)).then(|| Disagreement {
                label: key.label.clone(),
                policy: key.policy.clone(),
                clause: clause.clone(),
                predicted: predicted.clone(),
                observed: standing.word(),
            })
        });
        pairs.collect()
    }
}

/// Whether what was observed is what was said. What cannot be told, or is shown by nothing there, contradicts nobody.
fn agrees(predicted: &str, observed: Standing) -> bool {
    match observed {
        Standing::Breached | Standing::OverBlocked => false,
        Standing::Held | Standing::Known => predicted != "refused",
        Standing::InPart | Standing::NoMeans => predicted != "enforced",
        Standing::Inconclusive | Standing::Nothing => true,
    }
}

//! `--update-known`: what a run found, as entries of a file. A breach never becomes one by a command.

use super::{Day, Here, Outcome, parse};
use crate::report::CaseReport;
use crate::verdict::{Kind, Verdict};

/// What a person says of the entries that are added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// What happens instead, and why that is accepted.
    pub reason: String,
    /// Where it is tracked.
    pub issue: String,
    /// Who answers for it.
    pub owner: String,
    /// The last day on which it is accepted.
    pub expires: Day,
}

/// Why nothing is added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// These probes are breached.
    #[error("a breach is never accepted by a command: {}", .0.join(", "))]
    Breached(Vec<String>),
    /// The file would not be one of deviations any more.
    #[error("the file cannot be added to: {0}")]
    Unreadable(String),
}

/// `text` with one entry for each over-blocked or inconclusive probe of `cases`, as narrow as `here`. What it has stays as it is.
///
/// # Errors
/// Where a probe is breached, or the result does not parse.
pub fn added(text: &str, cases: &[CaseReport], here: &Here, words: &Words) -> Result<String, UpdateError> {
    let breached: Vec<String> = cases
        .iter()
        .filter(|case| case.verdict.kind() == Kind::Breached)
        .map(|case| case.id.clone())
        .collect();
    if !breached.is_empty() {
        return Err(UpdateError::Breached(breached));
    }
    let entries: String =
        cases.iter().filter_map(|case| Some(entry(&case.id, outcome(&case.verdict)?, here, words))).collect();
    if entries.is_empty() {
        return Ok(text.to_owned());
    }
    // A list in brackets is the empty one, or not to be added to.
    let mut whole = text.trim_end().strip_suffix("[]").unwrap_or(text).trim_end().to_owned();
    if !whole.is_empty() {
        whole.push('\n');
    }
    whole.push_str(&entries);
    parse(&whole).map_err(UpdateError::Unreadable)?;
    Ok(whole)
}

fn outcome(verdict: &Verdict) -> Option<Outcome> {
    [Outcome::OverBlocked, Outcome::Inconclusive].into_iter().find(|outcome| outcome.covers(verdict))
}

/// Strings of JSON are strings of YAML.
fn entry(id: &str, outcome: Outcome, here: &Here, words: &Words) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        "- probe: {}\n  when: {{kernel: {{from: \"{}\", before: \"{}\"}}, arch: {}, landlock: {{from: {}, before: {}}}, root: {}, \
         entry: {}, policy: {}}}\n  outcome: {}\n  reason: {}\n  issue: {}\n  owner: {}\n  expires: {}\n",
        quoted(id),
        here.kernel,
        here.kernel.next(),
        quoted(&here.arch),
        here.landlock,
        here.landlock + 1,
        here.root,
        here.entry,
        quoted(&here.policy),
        outcome.word(),
        quoted(&words.reason),
        quoted(&words.issue),
        quoted(&words.owner),
        words.expires,
    )
}

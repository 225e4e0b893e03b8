//! For a person at a terminal.

use std::fmt::Write as _;

use super::prediction::{ClauseGets, Prediction, Status};
use super::{Report, is_bad, name};

/// The caller makes it harmless to a terminal.
pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = match &report.policy {
        Some(policy) => prediction(&mut out, report, policy),
        None => findings(&mut out, report),
    };
    out
}

fn findings(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "{}: {}", report.place(), report.caller_means())?;
    for group in report.groups() {
        writeln!(out, "\n{}", group.first().map_or("", |finding| finding.group))?;
        for finding in group {
            let status = finding.status.word();
            let status = if is_bad(finding) { status.to_uppercase() } else { status.to_owned() };
            writeln!(out, "  {:<16} {status:<12} {}", name(finding), finding.value)?;
            for (word, text) in [("so", &finding.consequence), ("fix", &finding.remedy)] {
                if let Some(text) = text {
                    writeln!(out, "  {:<16} {word}: {text}", "")?;
                }
            }
        }
    }
    match report.missing() {
        0 => writeln!(out, "\nnothing that a policy may ask for is missing"),
        missing => {
            writeln!(out, "\n{missing} of {} take something away from policies", report.findings.len())
        }
    }
}

fn prediction(out: &mut String, report: &Report, policy: &Prediction) -> std::fmt::Result {
    writeln!(out, "policy {} on {}: {}\n", policy.name, report.place(), policy.outcome.word())?;
    for gets in &policy.clauses {
        let ClauseGets { clause, requested, status, by, why, notes } = gets;
        let requested = requested.as_deref().unwrap_or("");
        let status = match status {
            Status::Enforced => status.word().to_owned(),
            Status::Downgraded | Status::Refused => status.word().to_uppercase(),
        };
        writeln!(out, "  {clause:<28} {requested:<24} {status:<10} {}", by.join("; "))?;
        for line in why
            .iter()
            .map(|why| format!("because {why}"))
            .chain(notes.iter().map(|note| format!("note: {note}")))
        {
            writeln!(out, "  {:<28} {line}", "")?;
        }
    }
    if !policy.refusals.is_empty() {
        writeln!(out, "\nnothing would run:")?;
    }
    for refusal in &policy.refusals {
        let place = refusal.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        writeln!(out, "  {place}{}: {}", refusal.clause, refusal.why)?;
        if let Some(hint) = &refusal.hint {
            writeln!(out, "    hint: {hint}")?;
        }
    }
    Ok(())
}

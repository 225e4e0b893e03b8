//! For a summary that is rendered somewhere.

use std::fmt::Write as _;

use super::Report;
use super::prediction::Prediction;
use crate::message::printable;

pub(super) fn markdown(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = match &report.policy {
        Some(policy) => prediction(&mut out, report, policy),
        None => findings(&mut out, report),
    };
    out
}

fn findings(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "# {}\n\n{}.\n", cell(&report.place()), report.caller_means())?;
    writeln!(out, "| | | found | so | fix |\n|---|---|---|---|---|")?;
    for finding in &report.findings {
        let consequence = finding.consequence.as_deref().map(cell).unwrap_or_default();
        let remedy = finding
            .remedy
            .as_deref()
            .map(|remedy| format!("<code>{}</code>", cell(remedy)))
            .unwrap_or_default();
        let (status, value) = (finding.status.word(), cell(&finding.value));
        writeln!(out, "| {} | {status} | {value} | {consequence} | {remedy} |", finding.id)?;
    }
    Ok(())
}

fn prediction(out: &mut String, report: &Report, policy: &Prediction) -> std::fmt::Result {
    let (name, place) = (cell(&policy.name), cell(&report.place()));
    writeln!(out, "# Policy {name} on {place}: {}\n", policy.outcome.word())?;
    writeln!(out, "| clause | asks for | gets | by | |\n|---|---|---|---|---|")?;
    for gets in &policy.clauses {
        let requested = gets.requested.as_deref().map(cell).unwrap_or_default();
        let said: Vec<String> = gets.why.iter().chain(&gets.notes).map(|text| cell(text)).collect();
        let (clause, by) = (cell(&gets.clause), cell(&gets.by.join("; ")));
        writeln!(out, "| {clause} | {requested} | {} | {by} | {} |", gets.status.word(), said.join("<br>"))?;
    }
    if !policy.refusals.is_empty() {
        writeln!(out, "\nNothing would run:\n")?;
    }
    for refusal in &policy.refusals {
        let place = refusal.place.as_ref().map(|place| format!("{}: ", cell(place))).unwrap_or_default();
        let hint = refusal.hint.as_ref().map(|hint| format!(" ({})", cell(hint))).unwrap_or_default();
        writeln!(out, "- {place}{}: {}{hint}", cell(&refusal.clause), cell(&refusal.why))?;
    }
    Ok(())
}

/// A text in a cell of a table, which is one line: what Markdown or HTML would read as more than text is spelled out.
fn cell(text: &str) -> String {
    printable(text).chars().fold(String::new(), |mut clean, character| {
        match character {
            '\n' => clean.push(' '),
            '&' => clean.push_str("&amp;"),
            '<' => clean.push_str("&lt;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' => {
                clean.push('\\');
                clean.push(character);
            }
            other => clean.push(other),
        }
        clean
    })
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn a_text_stays_in_its_cell() {
        assert_eq!(cell("a|b\n<c> `d` [e](f)"), "a\\|b &lt;c> \\`d\\` \\[e\\](f)");
    }
}

//! The report for a job summary or a comment: Markdown as GitHub and GitLab show it.

use std::io::{self, Write};

use super::evidence::{block, evidence, markup, printable};
use super::{CaseReport, Report};
use crate::baseline::{Comparison, What};
use crate::verdict::Kind;

/// Bytes of evidence. GitHub drops a job summary of more than 1 MiB whole.
const EVIDENCE: usize = 900 * 1024;

/// Writes the report.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let subject = &report.subject;
    writeln!(out, "## palisade verify: {}\n", report.headline())?;
    writeln!(
        out,
        "Policy **{}**, runtime **{}**, entry {}, on {}\n",
        inline(&subject.policy),
        inline(&subject.runtime),
        subject.entry,
        inline(&subject.host)
    )?;
    groups(out, report)?;
    let mut left = EVIDENCE;
    for (kind, title) in [
        (Kind::Breached, "Breached"),
        (Kind::OverBlocked, "Over-blocked"),
        (Kind::UnexpectedPass, "Passed unexpectedly"),
        (Kind::Inconclusive, "Inconclusive"),
    ] {
        in_full(out, report, kind, title, &mut left)?;
    }
    if let Some(comparison) = &report.against {
        against(out, comparison)?;
    }
    listed(out, report, Kind::KnownDeviation, "Known deviations")?;
    listed(out, report, Kind::Unsupported, "Unsupported here")?;
    if !report.lapsed.is_empty() {
        writeln!(out, "\n### Known deviations that have lapsed\n")?;
    }
    let mut lapsed = report.lapsed.iter();
    lapsed.try_for_each(|(pattern, why)| writeln!(out, "- {}: {}", inline(pattern), inline(why)))?;
    super::layers::markdown(out, report)?;
    if !report.untested.is_empty() {
        writeln!(out, "\n### Clauses that no probe is about\n")?;
    }
    report
        .untested
        .iter()
        .try_for_each(|(clause, place)| writeln!(out, "- {} ({})", inline(clause), inline(place)))
}

fn groups(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let counts = report.counts();
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| counts.contains_key(kind)).collect();
    let row = |out: &mut dyn Write, name: &str, cell: &dyn Fn(Kind) -> String| {
        write!(out, "| {name} |")?;
        kinds.iter().try_for_each(|kind| write!(out, " {} |", cell(*kind)))?;
        writeln!(out)
    };
    row(out, "group", &|kind| kind.word().to_owned())?;
    row(out, "---", &|_| "---:".to_owned())?;
    for (name, counts) in report.groups() {
        row(out, &inline(name), &|kind| counts.get(&kind).map_or_else(String::new, ToString::to_string))?;
    }
    row(out, "**all**", &|kind| format!("**{}**", counts.get(&kind).copied().unwrap_or(0)))
}

/// The cases of a kind, each with its evidence folded away.
fn in_full(
    out: &mut dyn Write,
    report: &Report,
    kind: Kind,
    title: &str,
    left: &mut usize,
) -> io::Result<()> {
    let mut omitted = 0;
    for (number, case) in report.of(kind).enumerate() {
        if number == 0 {
            writeln!(out, "\n### {title}")?;
        }
        let text = folded(report, case);
        if text.len() > *left {
            omitted += 1;
            continue;
        }
        *left -= text.len();
        write!(out, "{text}")?;
    }
    if omitted > 0 {
        writeln!(out, "\nand {omitted} more, for which there is no room here: see the report in JSON.")?;
    }
    Ok(())
}

/// Between the tags this is HTML, and in the fence plain text: no line of evidence begins with a fence, since each begins with a
/// label or with spaces.
fn folded(report: &Report, case: &CaseReport) -> String {
    format!(
        "\n<details><summary><code>{}</code> ({}): {}</summary>\n\n```text\n{}```\n\n</details>\n",
        markup(&case.id),
        case.severity.word(),
        markup(&case.requirement),
        block(&evidence(report, case))
    )
}

fn listed(out: &mut dyn Write, report: &Report, kind: Kind, title: &str) -> io::Result<()> {
    let by_reason = report.by_reason(kind);
    if by_reason.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n### {title}\n")?;
    for (reason, ids) in by_reason {
        let ids: Vec<String> = ids.into_iter().map(inline).collect();
        writeln!(out, "- {}: {}", inline(&reason), ids.join(", "))?;
    }
    Ok(())
}

fn against(out: &mut dyn Write, comparison: &Comparison) -> io::Result<()> {
    writeln!(out, "\n### Against {}\n\n{}\n", inline(&comparison.report), comparison.headline())?;
    let word = |kind: Option<Kind>| kind.map_or("not there", Kind::word);
    for what in What::ALL {
        for change in comparison.changes.iter().filter(|change| change.change == what) {
            let (id, was, now) = (inline(&change.id), word(change.was), word(change.now));
            writeln!(out, "- {} {id}: {now}, was {was}", what.word())?;
        }
    }
    Ok(())
}

/// Text between Markdown, with nothing in it that Markdown or HTML would read (CommonMark 0.31, section 2.4).
pub(crate) fn inline(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in printable(text).chars() {
        if character.is_ascii_punctuation() && !matches!(character, '/' | ',' | '.' | ':' | '-' | '(' | ')') {
            clean.push('\\');
        }
        clean.push(character);
    }
    clean
}

//! The report as one page: no script, no other file, nothing from the network.

use std::io::{self, Write};

use super::evidence::{evidence, markup};
use super::{CaseReport, Report};
use crate::baseline::{Comparison, What};
use crate::verdict::Kind;

const STYLE: &str = include_str!("html.css");

/// What a reader must look at, worst first.
const IN_FULL: [(Kind, &str); 4] = [
    (Kind::Breached, "Breached"),
    (Kind::OverBlocked, "Over-blocked"),
    (Kind::UnexpectedPass, "Passed unexpectedly"),
    (Kind::Inconclusive, "Inconclusive"),
];

/// Writes the report.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let subject = &report.subject;
    let policy = markup(&subject.policy);
    let runtime = markup(&subject.runtime);
    head(out, &format!("palisade verify: {policy}, {runtime}"), "")?;
    writeln!(
        out,
        "<h1>palisade verify</h1>\n<p>Policy <strong>{policy}</strong>, runtime <strong>{runtime}</strong>, entry {}</p>\n\
         <p class=\"faint\">{}, palisade {}, {:.1} s</p>",
        subject.entry,
        markup(&subject.host),
        markup(&subject.version),
        report.took.as_secs_f64()
    )?;
    let class = match report.worst() {
        Some(kind) if kind.fails() || report.lapsed.is_empty() => class(kind),
        None if report.lapsed.is_empty() => class(Kind::Unsupported),
        _ => class(Kind::UnexpectedPass),
    };
    writeln!(out, "<div class=\"banner {class}\"><strong>{}</strong></div>", markup(&report.headline()))?;
    groups(out, report)?;
    for (kind, title) in IN_FULL {
        section(out, title, report.of(kind), |out, case| in_full(out, report, case, " open"))?;
    }
    super::layers::html(out, report)?;
    if let Some(comparison) = &report.against {
        against(out, comparison)?;
    }
    for (kind, title) in [(Kind::KnownDeviation, "Known deviations"), (Kind::Unsupported, "Unsupported here")]
    {
        section(out, title, report.by_reason(kind).iter(), |out, (reason, ids)| {
            listed(out, kind, reason, ids)
        })?;
    }
    section(out, "Known deviations that have lapsed", report.lapsed.iter(), |out, (pattern, why)| {
        writeln!(out, "<p><code>{}</code> {}</p>", markup(pattern), markup(why))
    })?;
    section(out, "Clauses that no probe is about", report.untested.iter(), |out, (clause, place)| {
        writeln!(out, "<p><code>{}</code> <span class=\"faint\">{}</span></p>", markup(clause), markup(place))
    })?;
    section(out, "Held", report.of(Kind::Held), |out, case| in_full(out, report, case, ""))?;
    facts(out, report)?;
    writeln!(out, "</body>\n</html>")
}

/// The beginning of a page in the style of the report: `title` is markup already, `style` is added to the sheet.
///
/// # Errors
/// When `out` cannot be written.
pub fn head(out: &mut dyn Write, title: &str, style: &str) -> io::Result<()> {
    // Whatever a mistake in a page would let through, a browser neither loads nor runs it.
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{STYLE}{style}</style>\n</head>\n<body>"
    )
}

/// The name of the kind in the style sheet.
fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::UnexpectedPass => "unexpected-pass",
        Kind::KnownDeviation => "known-deviation",
        plain => plain.word(),
    }
}

/// A heading and what is under it, if there is anything.
fn section<T>(
    out: &mut dyn Write,
    title: &str,
    items: impl Iterator<Item = T>,
    mut one: impl FnMut(&mut dyn Write, T) -> io::Result<()>,
) -> io::Result<()> {
    let mut items = items.peekable();
    if items.peek().is_some() {
        writeln!(out, "<h2>{title}</h2>")?;
    }
    items.try_for_each(|item| one(out, item))
}

/// A table of groups by verdicts, each cell as strong as its share of the group.
fn groups(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let counts = report.counts();
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| counts.contains_key(kind)).collect();
    writeln!(out, "<h2>Groups</h2>\n<div class=\"wide\"><table>\n<tr><th>group</th>")?;
    kinds.iter().try_for_each(|kind| writeln!(out, "<th>{}</th>", kind.word()))?;
    writeln!(out, "</tr>")?;
    for (name, counts) in report.groups() {
        write!(out, "<tr><td><code>{}</code></td>", markup(name))?;
        let all: usize = counts.values().sum();
        for kind in &kinds {
            match counts.get(kind) {
                Some(count) => {
                    // A few of many are to be seen, too.
                    let part = 12 + 58 * count / all.max(1);
                    write!(
                        out,
                        "<td class=\"heat {}\" style=\"--part: {part}%\">{count}</td>",
                        class(*kind)
                    )?;
                }
                None => write!(out, "<td></td>")?,
            }
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table></div>")
}

/// A case with everything needed to judge it again.
fn in_full(out: &mut dyn Write, report: &Report, case: &CaseReport, open: &str) -> io::Result<()> {
    writeln!(
        out,
        "<details class=\"{}\"{open}><summary><b>{}</b> <span class=\"faint\">{}</span><br>{}</summary>\n<dl>",
        class(case.verdict.kind()),
        markup(&case.id),
        case.severity.word(),
        markup(&case.requirement)
    )?;
    for (label, value) in evidence(report, case) {
        writeln!(out, "<dt>{label}</dt><dd>{}</dd>", markup(&value))?;
    }
    writeln!(out, "</dl></details>")
}

fn listed(out: &mut dyn Write, kind: Kind, reason: &str, ids: &[&str]) -> io::Result<()> {
    let (class, count) = (class(kind), ids.len());
    let ids: Vec<String> = ids.iter().map(|id| format!("<code>{}</code>", markup(id))).collect();
    writeln!(
        out,
        "<details class=\"{class}\"><summary>{} <span class=\"faint\">({count})</span></summary>\n<p>{}</p></details>",
        markup(reason),
        ids.join(", ")
    )
}

fn against(out: &mut dyn Write, comparison: &Comparison) -> io::Result<()> {
    writeln!(out, "<h2>Against {}</h2>\n<p>{}</p>", markup(&comparison.report), comparison.headline())?;
    let word = |kind: Option<Kind>| kind.map_or("not there", Kind::word);
    for what in What::ALL {
        let changes: Vec<_> = comparison.changes.iter().filter(|change| change.change == what).collect();
        if changes.is_empty() {
            continue;
        }
        writeln!(out, "<p>{} ({})</p>\n<ul>", what.word(), changes.len())?;
        for change in changes {
            let id = markup(&change.id);
            writeln!(out, "<li><code>{id}</code>: {}, was {}</li>", word(change.now), word(change.was))?;
        }
        writeln!(out, "</ul>")?;
    }
    Ok(())
}

/// What the host offers, as the run saw it.
fn facts(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let facts = &report.subject.host_facts;
    if facts.is_null() {
        return Ok(());
    }
    writeln!(out, "<h2>Host</h2>\n<details><summary>What this host offers</summary>\n<pre>")?;
    for line in serde_json::to_string_pretty(facts)?.lines() {
        writeln!(out, "{}", markup(line))?;
    }
    writeln!(out, "</pre></details>")
}

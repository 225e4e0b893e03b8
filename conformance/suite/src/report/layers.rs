//! Which layer held what, in the reports for people: groups by layers, operations by layers, and what held for another reason than
//! the policy's.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::evidence::{markup, printable};
use super::{CaseReport, Report};
use crate::attribution::{Attribution, Finding, Layer, Row, Table};

/// What the table does not say by itself.
const LEGEND: &str = "how many held denials each layer holds alone, with every other taken away; two or more of them are defence in depth";

/// A column after the layers.
type Sum = (&'static str, fn(&Row) -> usize);

/// All of them.
const SUMS: [Sum; 4] = [
    ("in depth", |row| row.in_depth),
    ("one alone", |row| row.resting_on_one),
    ("together", |row| row.together),
    ("no layer", |row| row.findings.get(&Finding::NoLayer).copied().unwrap_or(0)),
];

/// The cases with this finding.
fn of(report: &Report, finding: Finding) -> impl Iterator<Item = (&CaseReport, &Attribution)> {
    let told = report.cases.iter().filter_map(|case| Some((case, case.layers.as_ref()?)));
    told.filter(move |(_, found)| found.finding == finding)
}

/// The reader is told of these.
const NAMED: [(Finding, &str); 2] = [
    (Finding::WrongReason, "held for another reason than the policy's"),
    (Finding::Unknown, "held, and by which layer could not be told"),
];

fn count(row: &Row, layer: Layer) -> usize {
    row.layers.get(&layer).map_or(0, |cell| cell.alone)
}

/// For a terminal.
pub(super) fn text(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    const DIM: Style = Style::new().dimmed();
    const YELLOW: Style = AnsiColor::Yellow.on_default();
    let Some(table) = report.layers() else { return Ok(()) };
    let layers = table.layers();
    let width = table.0.keys().map(String::len).max().unwrap_or(0);
    writeln!(out, "\n{DIM}layers{DIM:#}\n  {DIM}{LEGEND}{DIM:#}")?;
    write!(out, "  {DIM}{:width$}  held", "")?;
    let heads = layers.iter().map(|layer| layer.short()).chain(SUMS.iter().map(|(name, _)| *name));
    let heads: Vec<&str> = heads.collect();
    heads.iter().try_for_each(|head| write!(out, "  {head:>4}"))?;
    writeln!(out, "{DIM:#}")?;
    for (name, row) in &table.0 {
        write!(out, "  {:width$}  {:4}", printable(name), row.held)?;
        let counts =
            layers.iter().map(|layer| count(row, *layer)).chain(SUMS.iter().map(|(_, sum)| sum(row)));
        for (head, count) in heads.iter().zip(counts) {
            let width = head.len().max(4);
            let shown = if count == 0 { "-".to_owned() } else { count.to_string() };
            let style = if count == 0 { DIM } else { Style::new() };
            write!(out, "  {style}{shown:>width$}{style:#}")?;
        }
        writeln!(out)?;
    }
    for (finding, title) in NAMED {
        let mut cases = of(report, finding).peekable();
        if cases.peek().is_some() {
            writeln!(out, "\n{YELLOW}{title}{YELLOW:#}")?;
        }
        for (case, found) in cases {
            writeln!(out, "  {}  {DIM}{}{DIM:#}", printable(&case.id), printable(&found.words()))?;
        }
    }
    Ok(())
}

/// For a job summary.
pub(super) fn markdown(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let Some(table) = report.layers() else { return Ok(()) };
    let layers = table.layers();
    writeln!(out, "\n### Layers\n\nGroup by layer: {LEGEND}.\n")?;
    write!(out, "| group | held |")?;
    layers.iter().try_for_each(|layer| write!(out, " {} |", layer.word()))?;
    SUMS.iter().try_for_each(|(name, _)| write!(out, " {name} |"))?;
    writeln!(out, "\n| --- |{}", " ---: |".repeat(1 + layers.len() + SUMS.len()))?;
    for (name, row) in &table.0 {
        write!(out, "| {name} | {} |", row.held)?;
        let counts =
            layers.iter().map(|layer| count(row, *layer)).chain(SUMS.iter().map(|(_, sum)| sum(row)));
        for count in counts {
            let shown = if count == 0 { String::new() } else { count.to_string() };
            write!(out, " {shown} |")?;
        }
        writeln!(out)?;
    }
    for (finding, title) in NAMED {
        let mut cases = of(report, finding).peekable();
        if cases.peek().is_some() {
            writeln!(out, "\n#### {}{}\n", title[..1].to_uppercase(), &title[1..])?;
        }
        for (case, found) in cases {
            writeln!(out, "- <code>{}</code>: {}", markup(&case.id), markup(&found.words()))?;
        }
    }
    Ok(())
}

/// For a browser.
pub(super) fn html(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let Some(table) = report.layers() else { return Ok(()) };
    let layers = table.layers();
    writeln!(out, "<h2>Layers</h2>\n<p class=\"faint\">Group by layer: {LEGEND}.</p>")?;
    writeln!(out, "<div class=\"wide\"><table>\n<tr><th>group</th><th>held</th>")?;
    layers.iter().try_for_each(|layer| writeln!(out, "<th>{}</th>", layer.word()))?;
    SUMS.iter().try_for_each(|(name, _)| writeln!(out, "<th>{name}</th>"))?;
    writeln!(out, "</tr>")?;
    for (name, row) in &table.0 {
        write!(out, "<tr><td><code>{}</code></td><td>{}</td>", markup(name), row.held)?;
        for layer in &layers {
            match count(row, *layer) {
                0 => write!(out, "<td></td>")?,
                count => {
                    let part = 12 + 58 * count / row.held.max(1);
                    write!(out, "<td class=\"heat held\" style=\"--part: {part}%\">{count}</td>")?;
                }
            }
        }
        for (_, sum) in SUMS {
            let count = sum(row);
            let shown = if count == 0 { String::new() } else { count.to_string() };
            write!(out, "<td>{shown}</td>")?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table></div>")?;
    for (finding, title) in NAMED {
        let cases: Vec<_> = of(report, finding).collect();
        if cases.is_empty() {
            continue;
        }
        let title = format!("{}{}", title[..1].to_uppercase(), &title[1..]);
        writeln!(
            out,
            "<details class=\"inconclusive\"><summary>{title} <span class=\"faint\">({})</span></summary>\n<ul>",
            cases.len()
        )?;
        for (case, found) in cases {
            writeln!(out, "<li><code>{}</code>: {}</li>", markup(&case.id), markup(&found.words()))?;
        }
        writeln!(out, "</ul></details>")?;
    }
    operations(out, report, &table)
}

/// Operation by layer.
fn operations(out: &mut dyn Write, report: &Report, table: &Table) -> io::Result<()> {
    let layers = table.layers();
    writeln!(
        out,
        "<details><summary>Operation by layer</summary>\n\
         <p class=\"faint\">&#9679; holds it alone, &#9675; it is not held without, ? could not be told</p>\n\
         <div class=\"wide\"><table>\n<tr><th>probe</th>"
    )?;
    layers.iter().try_for_each(|layer| writeln!(out, "<th>{}</th>", layer.word()))?;
    writeln!(out, "</tr>")?;
    for case in &report.cases {
        let Some(found) = &case.layers else { continue };
        write!(out, "<tr><td><code>{}</code></td>", markup(&case.id))?;
        for layer in &layers {
            let mark = if found.alone.contains(layer) {
                "&#9679;"
            } else if found.needed.contains(layer) {
                "&#9675;"
            } else if found.untold.iter().any(|(other, _)| other == layer) {
                "?"
            } else {
                ""
            };
            write!(out, "<td>{mark}</td>")?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table></div></details>")
}

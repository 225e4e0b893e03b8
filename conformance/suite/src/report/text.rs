//! The report that a person reads.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::evidence::{evidence, printable};
use super::{CaseReport, Report};
use crate::baseline::{Change, Comparison, What};
use crate::entry::Entry;
use crate::verdict::Kind;

/// Columns of the lists at the end.
const WIDTH: usize = 100;

/// Characters of a reason in these lists; the JSON report has all of it.
const REASON_SHOWN: usize = 110;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

fn style(kind: Kind) -> Style {
    match kind {
        Kind::Held => AnsiColor::Green.on_default(),
        Kind::Breached | Kind::OverBlocked | Kind::UnexpectedPass => AnsiColor::Red.on_default().bold(),
        Kind::Inconclusive | Kind::KnownDeviation => AnsiColor::Yellow.on_default(),
        Kind::Unsupported => DIM,
    }
}

/// Writes the report. Styles are always written: the caller's stream strips them where they are not wanted.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let subject = &report.subject;
    let entry = match subject.entry {
        Entry::Run => String::new(),
        entry => format!(", entry {BOLD}{entry}{BOLD:#}"),
    };
    let shard = subject.shard.map(|shard| format!(", shard {BOLD}{shard}{BOLD:#}")).unwrap_or_default();
    writeln!(
        out,
        "{BOLD}palisade verify{BOLD:#}  policy {BOLD}{}{BOLD:#}, runtime {BOLD}{}{BOLD:#}{entry}{shard}  {DIM}{}{DIM:#}",
        printable(&subject.policy),
        printable(&subject.runtime),
        printable(&subject.host),
    )?;
    writeln!(out)?;
    if report.cases.is_empty() && subject.shard.is_some() {
        writeln!(out, "  none of the selected probes is in this shard")?;
    }
    groups(out, report)?;
    for kind in [Kind::Breached, Kind::OverBlocked, Kind::UnexpectedPass, Kind::Inconclusive] {
        for case in report.of(kind) {
            writeln!(out)?;
            in_full(out, report, case)?;
        }
    }
    for (kind, title) in [(Kind::KnownDeviation, "known deviations"), (Kind::Unsupported, "unsupported here")]
    {
        listed(out, report, kind, title)?;
    }
    super::layers::text(out, report)?;
    untested(out, report)?;
    lapsed(out, report)?;
    if let Some(comparison) = &report.against {
        writeln!(out)?;
        against(out, comparison)?;
    }
    writeln!(out)?;
    summary(out, report)
}

fn groups(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let width = report.groups().keys().map(|name| name.len()).max().unwrap_or(0);
    for (name, counts) in report.groups() {
        write!(out, "  {name:width$}")?;
        for kind in Kind::ALL {
            if let Some(count) = counts.get(&kind) {
                let style = style(kind);
                write!(out, "  {style}{count:3} {}{style:#}", kind.word())?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

/// A case that a reader must look at, with everything needed to judge it again.
fn in_full(out: &mut dyn Write, report: &Report, case: &CaseReport) -> io::Result<()> {
    let kind = case.verdict.kind();
    let style = style(kind);
    let severity = case.severity.word();
    let word = kind.word().to_uppercase();
    writeln!(out, "{style}{word}{style:#}  {BOLD}{}{BOLD:#}  {DIM}{severity}{DIM:#}", printable(&case.id))?;
    writeln!(out, "  {}", printable(&case.requirement))?;
    for (label, value) in evidence(report, case) {
        writeln!(out, "  {DIM}{label:10}{DIM:#} {value}")?;
    }
    Ok(())
}

/// The cases of one kind by reason, since one lack of the host is the reason of many.
fn listed(out: &mut dyn Write, report: &Report, kind: Kind, title: &str) -> io::Result<()> {
    let by_reason = report.by_reason(kind);
    if by_reason.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}{title}{:#}", style(kind), style(kind))?;
    for (reason, ids) in by_reason {
        let reason = printable(&reason);
        let (shown, more) = match reason.char_indices().nth(REASON_SHOWN) {
            Some((end, _)) => (&reason[..end], "..."),
            None => (reason.as_str(), ""),
        };
        writeln!(out, "  {DIM}{shown}{more}{DIM:#}")?;
        let ids: Vec<String> = ids.into_iter().map(printable).collect();
        for line in wrapped(&ids) {
            writeln!(out, "    {line}")?;
        }
    }
    Ok(())
}

fn untested(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    if report.untested.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n{DIM}untested clauses{DIM:#}\n  {DIM}the policy says them, and no probe is about them{DIM:#}"
    )?;
    report
        .untested
        .iter()
        .try_for_each(|(clause, place)| writeln!(out, "    {}  ({})", printable(clause), printable(place)))
}

fn lapsed(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    if report.lapsed.is_empty() {
        return Ok(());
    }
    let style = style(Kind::UnexpectedPass);
    writeln!(out, "\n{style}known deviations that have lapsed{style:#}")?;
    let mut lines = report.lapsed.iter();
    lines.try_for_each(|(pattern, why)| writeln!(out, "    {}  {}", printable(pattern), printable(why)))
}

/// The words in lines of at most [`WIDTH`] columns, as far as words allow.
fn wrapped(words: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.clone()),
        }
    }
    lines
}

/// What has changed since an earlier report: one line a change of verdict, lists of what came and went.
fn against(out: &mut dyn Write, comparison: &Comparison) -> io::Result<()> {
    let then = &comparison.subject;
    let (name, policy, host) =
        (printable(&comparison.report), printable(&then.policy), printable(&then.host));
    let version = printable(&then.version);
    writeln!(out, "{BOLD}against {name}{BOLD:#}  {DIM}policy {policy}, palisade {version}  {host}{DIM:#}")?;
    let word = |kind: Option<Kind>| {
        let style = kind.map_or(DIM, style);
        format!("{style}{}{style:#}", kind.map_or("not there", Kind::word))
    };
    for what in What::ALL {
        let changes: Vec<&Change> = comparison.changes.iter().filter(|one| one.change == what).collect();
        if let (What::Added | What::Gone, false) = (what, changes.is_empty()) {
            writeln!(out, "  {DIM}{}{DIM:#}", what.word())?;
            let ids: Vec<String> = changes.iter().map(|change| printable(&change.id)).collect();
            for line in wrapped(&ids) {
                writeln!(out, "    {line}")?;
            }
            continue;
        }
        for change in changes {
            let (was, now) = (word(change.was), word(change.now));
            writeln!(out, "  {DIM}{:10}{DIM:#} {}  {was} -> {now}", what.word(), printable(&change.id))?;
        }
    }
    let before = comparison.as_before.iter().map(|(kind, count)| format!("{count} {}", kind.word()));
    let before = Vec::from_iter(before).join(", ");
    writeln!(out, "  {DIM}{:10}{DIM:#} {}", "as before", if before.is_empty() { "none" } else { &before })
}

fn summary(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let counts = report.counts();
    let total = report.cases.len();
    write!(out, "{BOLD}{total} probe{}{BOLD:#}", if total == 1 { "" } else { "s" })?;
    for kind in Kind::ALL {
        let count = counts.get(&kind).copied().unwrap_or(0);
        if count > 0 || matches!(kind, Kind::Held | Kind::Breached) {
            let style = style(if count == 0 { Kind::Unsupported } else { kind });
            write!(out, ", {style}{count} {}{style:#}", kind.word())?;
        }
    }
    write!(out, " {DIM}in {:.1} s{DIM:#}", report.took.as_secs_f64())?;
    if let Some(comparison) = &report.against {
        let new = comparison.counts().get(&What::New).copied().unwrap_or(0);
        let style = if new > 0 { style(Kind::Breached) } else { BOLD };
        write!(out, "; {style}{new} new{style:#}")?;
    }
    if !report.lapsed.is_empty() {
        let style = style(Kind::UnexpectedPass);
        write!(out, "; {style}{} lapsed{style:#}", report.lapsed.len())?;
    }
    writeln!(out)
}

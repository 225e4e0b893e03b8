//! The report that a test harness reads: TAP version 14 (testanything.org/tap-version-14-specification.html).
//!
//! A test for each probe. What the host cannot show is `# SKIP`, a known deviation `# TODO`; everything else that is not held
//! is `not ok`, inconclusive probes too, with the evidence as a YAML block.

use std::io::{self, Write};

use super::evidence::{evidence, printable};
use super::{CaseReport, Report};
use crate::verdict::Kind;

/// Writes the report.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let cases = report.cases.len();
    writeln!(out, "TAP version 14\n1..{}", cases + report.lapsed.len())?;
    for (number, case) in (1..).zip(&report.cases) {
        let kind = case.verdict.kind();
        let ok = if matches!(kind, Kind::Held | Kind::Unsupported) { "ok" } else { "not ok" };
        write!(out, "{ok} {number} - {}", description(&case.id))?;
        let why = || printable(&case.verdict.why().unwrap_or_default());
        match kind {
            Kind::Held => writeln!(out)?,
            Kind::Unsupported => writeln!(out, " # SKIP {}", why())?,
            Kind::KnownDeviation => {
                writeln!(out, " # TODO {}", why())?;
                diagnostic(out, report, case)?;
            }
            Kind::Breached | Kind::OverBlocked | Kind::UnexpectedPass | Kind::Inconclusive => {
                writeln!(out)?;
                diagnostic(out, report, case)?;
            }
        }
    }
    for (number, (pattern, why)) in (cases + 1..).zip(&report.lapsed) {
        writeln!(out, "not ok {number} - {}", description(&format!("known deviation {pattern}: {why}")))?;
    }
    Ok(())
}

/// A number sign would begin a directive.
fn description(text: &str) -> String {
    printable(text).replace('\\', "\\\\").replace('#', "\\#")
}

fn diagnostic(out: &mut dyn Write, report: &Report, case: &CaseReport) -> io::Result<()> {
    writeln!(out, "  ---")?;
    let kind = case.verdict.kind();
    for (key, value) in [
        ("verdict", kind.word()),
        ("severity", case.severity.word()),
        ("requirement", &printable(&case.requirement)),
    ] {
        writeln!(out, "  {key}: {}", quoted(value))?;
    }
    // A line without a label goes on with the one before: one key, several values.
    let lines = evidence(report, case);
    let mut lines = lines.iter().peekable();
    while let Some((label, value)) = lines.next() {
        let mut values = vec![quoted(value)];
        while let Some((_, value)) = lines.next_if(|(label, _)| label.is_empty()) {
            values.push(quoted(value));
        }
        match values.as_slice() {
            [value] => writeln!(out, "  {label}: {value}")?,
            several => writeln!(out, "  {label}: [{}]", several.join(", "))?,
        }
    }
    writeln!(out, "  ...")
}

/// A string of JSON is one of YAML too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

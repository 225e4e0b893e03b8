//! The report that the test view of a CI system reads: JUnit XML, as Jenkins and GitLab know it.
//!
//! A suite for each group, a case for each probe: a *failure* is breached, over-blocked or passed unexpectedly; an *error* is
//! inconclusive; a known deviation that has lapsed is a failure of a suite of its own; what the host cannot show and known deviations are *skipped*, with the reason.

use std::io::{self, Write};
use std::time::Duration;

use super::evidence::{block, evidence, markup};
use super::{CaseReport, Report};
use crate::verdict::Kind;

/// Writes the report.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    let cases = || report.cases.iter();
    writeln!(
        out,
        r#"<testsuites name="palisade verify" tests="{}" failures="{}" errors="{}" time="{}">"#,
        cases().count() + report.lapsed.len(),
        count(cases(), Kind::fails) + report.lapsed.len(),
        count(cases(), is_error),
        seconds(report.took)
    )?;
    for name in report.groups().into_keys() {
        suite(out, report, name)?;
    }
    lapsed(out, report)?;
    writeln!(out, "</testsuites>")
}

fn suite(out: &mut dyn Write, report: &Report, name: &str) -> io::Result<()> {
    let cases = || report.cases.iter().filter(|case| case.group() == name);
    writeln!(
        out,
        r#"  <testsuite name="{}" tests="{}" failures="{}" errors="{}" skipped="{}" time="{}">"#,
        markup(name),
        cases().count(),
        count(cases(), Kind::fails),
        count(cases(), is_error),
        count(cases(), is_skipped),
        seconds(cases().map(|case| case.took).sum())
    )?;
    let subject = &report.subject;
    writeln!(out, "    <properties>")?;
    let properties = [
        ("policy", subject.policy.clone()),
        ("runtime", subject.runtime.clone()),
        ("entry", subject.entry.to_string()),
        ("host", subject.host.clone()),
        ("suite", subject.version.clone()),
    ];
    let backend = subject.backend.map(|backend| ("backend", backend.to_owned()));
    let against =
        report.against.as_ref().map(|than| ("against", format!("{}: {}", than.report, than.headline())));
    for (name, value) in properties.iter().chain(&backend).chain(&against) {
        writeln!(out, r#"      <property name="{name}" value="{}"/>"#, markup(value))?;
    }
    writeln!(out, "    </properties>")?;
    cases().try_for_each(|case| one(out, report, case))?;
    writeln!(out, "  </testsuite>")
}

fn lapsed(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let count = report.lapsed.len();
    if count == 0 {
        return Ok(());
    }
    writeln!(
        out,
        r#"  <testsuite name="known" tests="{count}" failures="{count}" errors="0" skipped="0" time="0.000">"#
    )?;
    for (pattern, why) in &report.lapsed {
        writeln!(
            out,
            r#"    <testcase name="{}" classname="palisade.known" time="0.000">"#,
            markup(pattern)
        )?;
        writeln!(out, "      <failure type=\"lapsed\" message=\"{}\"/>\n    </testcase>", markup(why))?;
    }
    writeln!(out, "  </testsuite>")
}

fn one(out: &mut dyn Write, report: &Report, case: &CaseReport) -> io::Result<()> {
    let kind = case.verdict.kind();
    write!(
        out,
        r#"    <testcase name="{}" classname="palisade.{}" time="{}""#,
        markup(&case.id),
        markup(case.group()),
        seconds(case.took)
    )?;
    let element = if kind.fails() {
        "failure"
    } else if is_error(kind) {
        "error"
    } else if is_skipped(kind) {
        "skipped"
    } else {
        return writeln!(out, "/>");
    };
    let why = markup(&case.verdict.to_string());
    if element == "skipped" {
        writeln!(out, ">\n      <skipped message=\"{why}\"/>")?;
    } else {
        let kind = kind.word();
        writeln!(out, ">\n      <{element} type=\"{kind}\" message=\"{why}\">{}", markup(&case.requirement))?;
        for line in block(&evidence(report, case)).lines() {
            writeln!(out, "{}", markup(line))?;
        }
        writeln!(out, "</{element}>")?;
    }
    writeln!(out, "    </testcase>")
}

fn is_error(kind: Kind) -> bool {
    kind == Kind::Inconclusive
}

fn is_skipped(kind: Kind) -> bool {
    matches!(kind, Kind::Unsupported | Kind::KnownDeviation)
}

fn count<'a>(cases: impl Iterator<Item = &'a CaseReport>, what: impl Fn(Kind) -> bool) -> usize {
    cases.filter(|case| what(case.verdict.kind())).count()
}

fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

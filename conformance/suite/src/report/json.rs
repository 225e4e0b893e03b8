//! The report that a program reads: schema `palisade.verify/1`.
//!
//! A change that could break a reader raises the number; new keys do not.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use super::{CaseReport, Report, Subject};
use crate::attribution::{Attribution, Table};
use crate::baseline::{Comparison, What};
use crate::catalogue::{Class, Severity, Tier};
use crate::observation::{CanaryReport, Observation, Seen, Unseen};
use crate::verdict::Kind;

/// Name and version of the schema.
pub const SCHEMA: &str = "palisade.verify/1";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    subject: &'a Subject,
    summary: Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Against<'a>>,
    /// By clause, where the policy says it.
    untested: &'a BTreeMap<String, String>,
    /// Why each fails the run, by pattern.
    lapsed: &'a BTreeMap<String, String>,
    /// By group.
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<Table>,
    probes: Vec<Case<'a>>,
}

#[derive(Serialize)]
struct Summary {
    total: usize,
    counts: BTreeMap<Kind, usize>,
    duration_ms: u64,
}

#[derive(Serialize)]
struct Against<'a> {
    counts: BTreeMap<What, usize>,
    #[serde(flatten)]
    comparison: &'a Comparison,
}

#[derive(Serialize)]
struct Case<'a> {
    id: &'a str,
    verdict: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    class: Class,
    severity: Severity,
    tier: Tier,
    clause: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<&'a str>,
    spec: &'a str,
    tags: &'a [&'static str],
    requirement: &'a str,
    operation: &'a str,
    workload: &'a [String],
    expected: Expected<'a>,
    inside: Option<Shown<'a>>,
    outside: Option<Shown<'a>>,
    canary: Option<Canary<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<&'a Attribution>,
    duration_ms: u64,
}

#[derive(Serialize)]
struct Expected<'a> {
    inside: &'a str,
    outside: &'a str,
}

/// An observation: in words, and as data where there is some.
#[derive(Serialize)]
struct Shown<'a> {
    shown: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<&'a Seen>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unseen: Option<&'a Unseen>,
    #[serde(skip_serializing_if = "Option::is_none")]
    setup_failed: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    control_failed: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    stderr: &'a str,
}

#[derive(Serialize)]
struct Canary<'a> {
    canary: &'a str,
    heard: Option<&'a str>,
    alive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_because: Option<&'a str>,
}

/// Writes the report, indented, with a newline at the end.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let document = Document {
        schema: SCHEMA,
        subject: &report.subject,
        summary: Summary {
            total: report.cases.len(),
            counts: report.counts(),
            duration_ms: millis(report.took),
        },
        against: report
            .against
            .as_ref()
            .map(|comparison| Against { counts: comparison.counts(), comparison }),
        untested: &report.untested,
        lapsed: &report.lapsed,
        layers: report.layers(),
        probes: report.cases.iter().map(case).collect(),
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

fn case(case: &CaseReport) -> Case<'_> {
    Case {
        id: &case.id,
        verdict: case.verdict.kind(),
        why: case.verdict.why(),
        class: case.class,
        severity: case.severity,
        tier: case.tier,
        clause: &case.clause,
        location: case.location.as_deref(),
        spec: &case.spec,
        tags: &case.tags,
        requirement: &case.requirement,
        operation: &case.operation,
        workload: &case.workload,
        expected: Expected { inside: &case.expected, outside: &case.baseline },
        inside: case.inside.as_ref().map(shown),
        outside: case.outside.as_ref().map(shown),
        canary: case.canary.as_ref().map(canary),
        layers: case.layers.as_ref(),
        duration_ms: millis(case.took),
    }
}

fn shown(observation: &Observation) -> Shown<'_> {
    let shown = match &observation.attempt {
        Ok(seen) => seen.to_string(),
        Err(Unseen::TimedOut) => "timed out".to_owned(),
        Err(_) => "nothing".to_owned(),
    };
    Shown {
        shown,
        seen: observation.attempt.as_ref().ok(),
        unseen: observation.attempt.as_ref().err(),
        setup_failed: observation.setup.as_ref().err().map(String::as_str),
        control_failed: observation.control.as_ref().err().map(String::as_str),
        stderr: &observation.stderr,
    }
}

fn canary(report: &CanaryReport) -> Canary<'_> {
    Canary {
        canary: &report.canary,
        heard: report.heard.as_deref(),
        alive: report.alive.is_ok(),
        dead_because: report.alive.as_ref().err().map(String::as_str),
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

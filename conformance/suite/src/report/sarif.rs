//! The report that code scanning reads: SARIF 2.1.0 (OASIS), within what GitHub takes.
//!
//! Results are only what is wrong: a breach is an error, over-blocking a warning. A result is of the rule with the probe's id, and
//! lies where the policy says the clause. What could not be judged, or passed unexpectedly, is a notification of the run.

use std::io::{self, Write};

use palisade_policy::Document;
use serde::Serialize;
use serde_json::{Value, json};

use super::evidence::{block, evidence, printable, reproduce};
use super::{CaseReport, Report};
use crate::catalogue::Severity;
use crate::verdict::Kind;

/// The version of the standard.
pub const VERSION: &str = "2.1.0";
/// Where its schema is.
pub const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// Results in a run of which GitHub shows any; of more the worst are written.
const RESULTS: usize = 5_000;
/// What paths of built-in policies are relative to.
const OWN_SOURCE: &str = "PALISADE";
/// Characters of a text that GitHub shows.
const TEXT: usize = 1_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    tool: Value,
    invocations: [Value; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    original_uri_base_ids: Option<Value>,
    results: Vec<Value>,
    column_kind: &'static str,
    properties: Value,
}

/// Writes the report.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let mut wrong: Vec<&CaseReport> = report.of(Kind::Breached).chain(report.of(Kind::OverBlocked)).collect();
    wrong.sort_by_key(|case| (level(case), std::cmp::Reverse(case.severity)));
    let omitted = wrong.len().saturating_sub(RESULTS);
    wrong.truncate(RESULTS);
    let log = Log {
        schema: SCHEMA,
        version: VERSION,
        runs: [Run {
            tool: json!({"driver": {
                "name": "palisade verify",
                "version": printable(&report.subject.version),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": wrong.iter().map(|case| rule(report, case)).collect::<Vec<_>>(),
            }}),
            invocations: [json!({
                "executionSuccessful": true,
                "toolExecutionNotifications": notifications(report, omitted),
            })],
            original_uri_base_ids: builtin(&report.subject.policy_argument).map(|_| {
                let source = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");
                json!({ OWN_SOURCE: {"uri": source, "description": {"text": "the source of Palisade"}} })
            }),
            results: wrong.iter().enumerate().map(|(index, case)| result(report, index, case)).collect(),
            column_kind: "unicodeCodePoints",
            properties: json!({
                "policy": printable(&report.subject.policy),
                "runtime": printable(&report.subject.runtime),
                "entry": report.subject.entry.to_string(),
                "host": printable(&report.subject.host),
                "headline": report.headline(),
            }),
        }],
    };
    serde_json::to_writer_pretty(&mut *out, &log)?;
    writeln!(out)
}

/// In the order of how bad it is.
fn level(case: &CaseReport) -> &'static str {
    if case.verdict.kind() == Kind::Breached { "error" } else { "warning" }
}

/// One rule a probe: a report has at most one case of each.
fn rule(report: &Report, case: &CaseReport) -> Value {
    let help = format!(
        "Operation: {}\nExpected: {}\nPolicy clause: {}\nContract: SPEC.md {}\nReproduce: {}\n",
        printable(&case.operation),
        printable(&case.expected),
        printable(&case.clause),
        printable(&case.spec),
        printable(&reproduce(report, case))
    );
    json!({
        "id": printable(&case.id),
        "shortDescription": {"text": shortened(&case.requirement)},
        "fullDescription": {"text": shortened(&case.requirement)},
        // Four spaces make it a block of code, in which nothing is markup.
        "help": {"text": help, "markdown": help.lines().map(|line| format!("    {line}\n")).collect::<String>()},
        "defaultConfiguration": {"level": level(case)},
        "properties": {
            "tags": tags(case),
            "precision": "very-high",
            "security-severity": security_severity(case.severity),
        },
    })
}

/// At most ten, of which code scanning shows as many; it reads weaknesses in its own form.
fn tags(case: &CaseReport) -> Vec<String> {
    let own = ["security".to_owned(), "sandbox".to_owned(), printable(case.group())];
    let others = case.tags.iter().map(|tag| match tag.strip_prefix("cwe:") {
        Some(number) => format!("external/cwe/cwe-{number:0>3}"),
        None => (*tag).to_owned(),
    });
    let spec = format!("SPEC {}", printable(&case.spec));
    own.into_iter().chain([spec]).chain(others).collect()
}

/// A number within the range that GitHub has for this word (above 9.0 critical, from 7.0 high, from 4.0 medium).
fn security_severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.0",
        Severity::Low => "2.0",
    }
}

fn result(report: &Report, index: usize, case: &CaseReport) -> Value {
    let id = printable(&case.id);
    let subject = &report.subject;
    let (file, line) = place(case).unwrap_or((&subject.policy_argument, 1));
    let artifact = match builtin(file).filter(|_| file == subject.policy_argument) {
        Some(file) => json!({"uri": file, "uriBaseId": OWN_SOURCE}),
        None => json!({"uri": uri(file)}),
    };
    let why = case.verdict.to_string();
    json!({
        "ruleId": id,
        "ruleIndex": index,
        "kind": "fail",
        "level": level(case),
        "message": {"text": shortened(&format!("{}: {}", case.requirement, why))},
        "locations": [{
            "physicalLocation": {
                "artifactLocation": artifact,
                "region": {"startLine": line},
            },
            "logicalLocations": [{"fullyQualifiedName": printable(&case.clause), "kind": "member"}],
        }],
        // The same finding, wherever in the file the clause has moved to.
        "partialFingerprints": {
            "probeAndClause/v1": format!("{id} {} {}", printable(&case.clause), printable(&subject.runtime)),
        },
        "properties": {"evidence": block(&evidence(report, case))},
    })
}

fn notifications(report: &Report, omitted: usize) -> Vec<Value> {
    let told = report.of(Kind::Inconclusive).chain(report.of(Kind::UnexpectedPass)).map(|case| {
        json!({
            "descriptor": {"id": printable(&case.id)},
            "level": "warning",
            "message": {"text": shortened(&format!("{}: {}", case.id, case.verdict))},
        })
    });
    let more = (omitted > 0).then(|| {
        let text = format!("{omitted} more results are only in the report in JSON");
        json!({"level": "warning", "message": {"text": text}})
    });
    let lapsed = report.lapsed.iter().map(|(pattern, why)| {
        let text = shortened(&format!("known deviation {pattern}: {why}"));
        json!({"level": "error", "message": {"text": text}})
    });
    told.chain(lapsed).chain(more).collect()
}

/// Where the source of Palisade has a policy that is part of the program. A result without a file is not shown (GitHub), and
/// the repository of a project that uses such a policy has none for it: the path is true below [`OWN_SOURCE`] only.
fn builtin(policy: &str) -> Option<String> {
    Document::builtin(policy).map(|document| format!("crates/policy/builtin/{}.yaml", document.name))
}

/// The file and the line of the policy's clause.
fn place(case: &CaseReport) -> Option<(&str, u32)> {
    let (file, line) = case.location.as_deref()?.rsplit_once(':')?;
    Some((file, line.parse().ok().filter(|line| *line > 0)?))
}

/// A reference to a file (RFC 3986), relative as the path is: the viewer knows the root of the repository.
fn uri(path: &str) -> String {
    let relative = path.strip_prefix("./").unwrap_or(path);
    let scheme = if relative.starts_with('/') { "file://" } else { "" };
    let mut uri = scheme.to_owned();
    for byte in relative.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                uri.push(byte.into())
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

fn shortened(text: &str) -> String {
    let text = printable(text);
    match text.char_indices().nth(TEXT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

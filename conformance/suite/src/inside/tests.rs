//! What holds wherever the tests run.

use std::collections::BTreeSet;

use super::*;
use crate::catalogue::Severity::{High, Medium};
use crate::report::tests::published::schemas;

fn finding(verdict: Verdict, severity: Severity) -> Finding {
    Finding::new("a/b", severity, "x", verdict, "y")
}

#[test]
fn the_exit_code_is_about_what_is_open_and_grave() {
    assert_eq!(code(&[]), Code::Usage);
    assert_eq!(code(&[finding(Verdict::Unknown, High)]), Code::Nothing);
    assert_eq!(code(&[finding(Verdict::Unknown, High), finding(Verdict::Closed, High)]), Code::Closed);
    assert_eq!(code(&[finding(Verdict::Open, Medium), finding(Verdict::Closed, High)]), Code::Closed);
    assert_eq!(code(&[finding(Verdict::Open, High), finding(Verdict::Closed, High)]), Code::Open);
}

#[test]
fn everything_is_found_out_once() {
    let mut findings = posture::all();
    findings.extend(attempts::all());
    let ids: BTreeSet<&str> = findings.iter().map(|finding| finding.id.as_str()).collect();
    assert_eq!(ids.len(), findings.len());
    for finding in &findings {
        assert!(crate::catalogue::is_id(&finding.id) && !finding.seen.is_empty(), "{finding:?}");
    }
}

/// What the text says of a hostile name cannot move a cursor.
#[test]
fn what_was_seen_is_made_printable() {
    let mut out = Vec::new();
    write::text(&mut out, &[Finding::new("a/b", High, "x", Verdict::Open, "\u{1b}[2J\n")]).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(!text.contains('\u{1b}') && text.contains("\\x1b[2J\\n"), "{text}");
}

#[test]
fn the_json_is_as_published() {
    const INSIDE: &str = "conformance/schema/palisade.inside-1.json";
    let mut findings = posture::all();
    findings.extend(attempts::all());
    let mut out = Vec::new();
    write::json(&mut out, &findings).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&out).unwrap();
    schemas::json(INSIDE, &document).unwrap();
    for (key, wrong) in [("evidence", "both_sides"), ("schema", "palisade.verify/1")] {
        let mut broken = document.clone();
        broken[key] = wrong.into();
        assert!(schemas::json(INSIDE, &broken).is_err(), "{key}");
    }
    let mut broken = document;
    broken["findings"][0]["verdict"] = "held".into();
    assert!(schemas::json(INSIDE, &broken).is_err());
}

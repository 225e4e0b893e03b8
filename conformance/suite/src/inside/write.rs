//! The findings as text and as JSON.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use super::{Finding, Verdict};
use crate::report::printable;

/// The form of the JSON.
pub const SCHEMA: &str = "palisade.inside/1";

/// What this mode cannot know, whatever it finds.
const WEAKNESSES: [&str; 3] = [
    "nothing was run outside: a refusal may be the host's own, and that of every ordinary user",
    "nothing was sent, and nobody was connected to: where a route or a socket leads is not known",
    "no policy was given: open is what a reviewer has to know, and not a breach",
];

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    evidence: &'static str,
    version: &'static str,
    host: String,
    weaknesses: [&'static str; 3],
    summary: BTreeMap<&'static str, usize>,
    findings: &'a [Finding],
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Open => "open",
        Verdict::Unknown => "unknown",
        Verdict::Closed => "closed",
    }
}

fn host() -> String {
    let name = rustix::system::uname();
    let shown =
        [name.sysname(), name.release(), name.machine()].map(|part| part.to_string_lossy().into_owned());
    format!("{}, uid {}", shown.join(" "), rustix::process::geteuid().as_raw())
}

fn summary(findings: &[Finding]) -> BTreeMap<&'static str, usize> {
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    [Verdict::Open, Verdict::Unknown, Verdict::Closed].map(|verdict| (word(verdict), count(verdict))).into()
}

pub(super) fn json(out: &mut dyn Write, findings: &[Finding]) -> io::Result<()> {
    let document = Document {
        schema: SCHEMA,
        evidence: "inside_only",
        version: env!("CARGO_PKG_VERSION"),
        host: host(),
        weaknesses: WEAKNESSES,
        summary: summary(findings),
        findings,
    };
    serde_json::to_writer_pretty(&mut *out, &document).map_err(io::Error::from)?;
    writeln!(out)
}

/// The open ones first, and of these the worst; then what is not known, then what is closed.
pub(super) fn text(out: &mut dyn Write, findings: &[Finding]) -> io::Result<()> {
    writeln!(out, "palisade probe --inside  {}", printable(&host()))?;
    writeln!(out, "evidence: inside only, weaker than verify")?;
    for weakness in WEAKNESSES {
        writeln!(out, "  {weakness}")?;
    }
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| (finding.verdict, std::cmp::Reverse(finding.severity)));
    let width = findings.iter().map(|finding| finding.id.len()).max().unwrap_or(0);
    let mut before = None;
    for finding in sorted {
        if before != Some(finding.verdict) {
            writeln!(out)?;
        }
        before = Some(finding.verdict);
        let severity = if finding.verdict == Verdict::Open { finding.severity.word() } else { "" };
        write!(out, "{:7}  {severity:8}  {:width$}  ", word(finding.verdict), finding.id)?;
        write!(out, "{}: {}", printable(&finding.about), printable(&finding.seen))?;
        match &finding.note {
            Some(note) => writeln!(out, " ({})", printable(note))?,
            None => writeln!(out)?,
        }
    }
    let counts = summary(findings);
    writeln!(out, "\n{} open, {} unknown, {} closed", counts["open"], counts["unknown"], counts["closed"])
}

//! `palisade probe --inside`: what can be told of a sandbox that somebody else started, from inside it.
//!
//! Weaker than `verify`, and it says so. There is no run without the sandbox to compare with: a refusal may be that of every
//! ordinary user. There is no far side: nothing is sent to anybody, and where a route leads is not known. There is no policy:
//! *open* is not a breach of anything, it is what a reviewer has to know.
//!
//! No lab stands around it, so nothing is done here that could act anywhere, even as root in a plain shell: system calls whose
//! operands stop the kernel before it acts (`harmless`), and reading (`posture`). A statement that `harmless` does not know is not
//! run, whatever the table says.

mod attempts;
mod brought;
mod harmless;
mod posture;
mod program;
mod write;

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;

use crate::catalogue::{Probe, Severity};
use crate::glob;

pub use write::SCHEMA;

/// What was found out about one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is there, or can be done.
    Open,
    /// It cannot be told from inside.
    Unknown,
    /// It is refused, or not there.
    Closed,
}

/// One thing, and what was found out about it.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Permanent lower-case words: `group/name`.
    pub id: String,
    /// What was found out.
    pub verdict: Verdict,
    /// How bad it is where it is open.
    pub severity: Severity,
    /// What this is about, a few words.
    pub about: Cow<'static, str>,
    /// What was seen.
    pub seen: String,
    /// What was tried, as the probe program reads it; nothing was where it was only read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// What the observation does not say, or to whom it is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Finding {
    fn new(
        id: &str,
        severity: Severity,
        about: impl Into<Cow<'static, str>>,
        verdict: Verdict,
        seen: impl Into<String>,
    ) -> Self {
        Self {
            id: id.to_owned(),
            verdict,
            severity,
            about: about.into(),
            seen: seen.into(),
            statement: None,
            note: None,
        }
    }

    fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Nothing of severity high or critical is open.
    Closed = 0,
    /// Something is.
    Open = 1,
    /// The pattern matches nothing.
    Usage = 2,
    /// Nothing could be told.
    Nothing = 3,
}

impl From<Code> for std::process::ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// What to look at, and how to tell.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A pattern over the ids.
    pub only: Option<String>,
    /// Probes that the caller has brought along; of these such that cannot act.
    pub custom: Vec<Probe>,
    /// JSON instead of text: [`SCHEMA`].
    pub json: bool,
}

/// Looks around, and tells on standard output.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(options: &Options) -> io::Result<Code> {
    // First of all, while nothing else is open.
    let mut findings = posture::all();
    findings.extend(attempts::all());
    findings.extend(brought::all(&options.custom));
    if let Some(pattern) = &options.only {
        findings.retain(|finding| glob::matches(pattern, &finding.id));
    }
    findings.sort_by(|a, b| a.id.cmp(&b.id));
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = match options.json {
        true => write::json(&mut out, &findings),
        false => write::text(&mut out, &findings),
    };
    crate::verify::finished(written.and_then(|()| out.flush()))?;
    Ok(code(&findings))
}

fn code(findings: &[Finding]) -> Code {
    let grave = |finding: &Finding| finding.verdict == Verdict::Open && finding.severity >= Severity::High;
    if findings.is_empty() {
        Code::Usage
    } else if findings.iter().any(grave) {
        Code::Open
    } else if findings.iter().all(|finding| finding.verdict == Verdict::Unknown) {
        Code::Nothing
    } else {
        Code::Closed
    }
}

/// The bare probe program, for where this one does not start: see `palisade probe --extract`.
pub use palisade_probe::IMAGE;

#[cfg(test)]
mod tests;

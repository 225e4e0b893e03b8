//! Where a policy comes from: a file, a built-in name, or nothing said.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use palisade::{Decision, Error};
use palisade_conformance::adapters::{Adapter as _, Brought};
use palisade_conformance::custom::{self, Custom};
use palisade_host::{Depth, MappedTrees};
use palisade_plan::{HostFacts, Plan, Refusal};
use palisade_policy::{Diagnostics, Document, limits};

use crate::arguments::PolicyFlags;
use crate::carry::carry;
use crate::message;
use crate::narrow::narrow;

/// The policy of a run that names none.
pub(crate) const DEFAULT: &str = "default";

/// A policy as the user named it.
pub(crate) fn load(name: Option<&OsStr>) -> Result<Document, Diagnostics> {
    let name = name.unwrap_or(OsStr::new(DEFAULT));
    if let Some(document) = name.to_str().and_then(Document::builtin) {
        return Ok(document);
    }
    let shown = name.to_string_lossy();
    Document::parse_bytes(&shown, &read(Path::new(name), &shown)?)
}

/// Reads a policy file, never more of it than a policy may have.
fn read(path: &Path, shown: &str) -> Result<Vec<u8>, Diagnostics> {
    let unreadable = |error: std::io::Error| Diagnostics::unreadable(shown, &error);
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(Diagnostics::directory(shown));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too long; the length in the metadata may be a lie (pipes, procfs).
    file.take(limits::MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > limits::MAX_BYTES { Err(Diagnostics::too_large(shown, None)) } else { Ok(bytes) }
}

/// Why a verb cannot go on. Every one has been told to the user already.
pub(crate) struct Told;

/// The probes that the user has brought along. Tells the user what is wrong with them.
pub(crate) fn probes(paths: &[PathBuf]) -> Result<Custom, Told> {
    custom::load(paths).map_err(|problems| {
        for problem in problems {
            message::error(&problem, problem.hint.as_deref());
        }
        Told
    })
}

/// The name of the runtime that the user named, and what describes it where that is a file of his own. Tells the user what is wrong
/// with that.
pub(crate) fn runtime(named: &str) -> Result<(String, Option<Brought>), Told> {
    if !Brought::is_file(named) {
        return Ok((named.to_owned(), None));
    }
    match Brought::load(Path::new(named)) {
        Ok(brought) => Ok((brought.name().to_owned(), Some(brought))),
        Err(problem) => {
            message::error(&problem, problem.hint.as_deref());
            Err(Told)
        }
    }
}

/// A policy with the facts of this host and the plan that follows from both.
pub(crate) struct Decided {
    pub(crate) facts: HostFacts,
    pub(crate) plan: Plan,
    pub(crate) trees: MappedTrees,
}

/// Loads and narrows the policy, surveys the host, and decides. Tells the user what is wrong.
pub(crate) fn decided(flags: &PolicyFlags, depth: Depth) -> Result<Decided, Told> {
    let document = load(flags.policy.as_deref()).map_err(|diagnostics| {
        message::diagnostics(&diagnostics);
        Told
    })?;
    let mut policy = document.policy.clone();
    let directory = current_directory()?;
    carry(&mut policy, &flags.carry)?;
    narrow(&mut policy, &flags.narrow, &directory)?;
    match palisade::decide(&policy, &directory, depth) {
        Ok(Decision { facts, plan, trees }) => Ok(Decided { facts, plan, trees }),
        Err(Error::Refused(refusal)) => {
            refused(&document, &refusal);
            Err(Told)
        }
        Err(error) => {
            message::error(&error, error.hint());
            Err(Told)
        }
    }
}

/// Every reason of a refusal, each with the line of the policy that it is about.
fn refused(document: &Document, refusal: &Refusal) {
    for reason in &refusal.reasons {
        let place = match document.location(&reason.clause) {
            Some(location) => format!("{}:{}:{}: ", document.name, location.line, location.column),
            None => String::new(),
        };
        message::error(format!("{place}{}: {}", reason.clause, reason.message), reason.hint.as_deref());
    }
}

/// The directory in which the run starts, without symbolic links.
pub(crate) fn current_directory() -> Result<PathBuf, Told> {
    std::env::current_dir().and_then(std::fs::canonicalize).map_err(|error| {
        message::error(
            format!("the current directory cannot be told: {error}"),
            Some("it may have been deleted; change to one that exists"),
        );
        Told
    })
}

//! The default policy's plan for this host, and a run of it.

use std::path::Path;

use palisade::{Command, Outcome, Stdio, decide};
use palisade_host::Depth;
use palisade_plan::Plan;
use palisade_policy::Document;

/// A directory that every user can read, and whose file system is the one of most programs.
pub(crate) const DIRECTORY: &str = "/usr/share";

/// The plan, for a run that the calling thread supervises.
pub(crate) fn plan() -> Plan {
    let policy = Document::builtin("default").expect("built in").policy;
    decide(&policy, Path::new(DIRECTORY), Depth::Run).expect("the default policy can be enforced here").plan
}

/// Runs `program` under it, and keeps its output.
pub(crate) fn run(plan: &Plan, program: &str, arguments: &[&str]) -> Outcome {
    let command = Command::new(program).args(arguments).stdin(Stdio::Null);
    palisade::run(plan, command.stdout(Stdio::Capture), None, None).expect("started")
}

//! The default policy's plan for this host, and a run of it.

use std::collections::BTreeMap;
use std::path::Path;

use palisade::{Command, Outcome, launch, prepare, supervise};
use palisade_host::{Depth, survey};
use palisade_plan::{KERNEL_ID_BASE, Plan, Situation, decide};
use palisade_policy::Document;

/// The plan.
pub(crate) fn plan() -> Plan {
    let policy = Document::builtin("default").expect("built in").policy;
    // A directory that every user can read, and whose file system is the one of most programs.
    let directory = Path::new("/usr/share");
    let facts = survey(&policy, directory, Depth::Run).expect("a survey");
    let situation = Situation {
        directory: directory.into(),
        environment: BTreeMap::new(),
        kernel_id: KERNEL_ID_BASE + std::process::id(),
    };
    decide(&policy, &facts, &situation).expect("the default policy can be enforced here")
}

/// Runs `program` under it.
pub(crate) fn run(plan: &Plan, program: &str, arguments: &[&str]) -> Outcome {
    let command = Command {
        program: program.into(),
        arguments: arguments.iter().map(|argument| argument.into()).collect(),
    };
    supervise(launch(prepare(plan, &command).expect("prepared"), None).expect("launched"), None)
}

//! `palisade host`: what this host can enforce, found out by doing it; and what a policy would get here.

mod html;
mod markdown;
mod prediction;
mod text;

use std::path::Path;
use std::process::ExitCode;

use palisade::code;
use palisade_host::{Depth, Finding, Started, Status, findings, start, survey};
use palisade_plan::HostFacts;
use palisade_policy::{Document, Policy};
use serde::Serialize;

use crate::arguments::{self, HostFormat};
use crate::carry::carry;
use crate::source::{self, Told};
use crate::{arguments::Carry, message};
use prediction::{Outcome, Prediction};

/// Name and version of the JSON form.
const SCHEMA: &str = "palisade.host/1";

/// What is told of a host: the JSON form, and what the others are made of.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    /// Version of Palisade.
    version: &'static str,
    kernel: String,
    machine: String,
    caller: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Prediction>,
    findings: Vec<Finding>,
    facts: HostFacts,
}

pub(crate) fn host(arguments: &arguments::Host) -> ExitCode {
    let told = match &arguments.policy {
        None if arguments.carry != Carry::default() => {
            message::error("--backend is about a policy, and none is given", Some("add --policy FILE|NAME"));
            return ExitCode::from(message::USAGE);
        }
        None => plain(),
        Some(name) => {
            let document = match source::load(Some(name)) {
                Ok(document) => document,
                Err(diagnostics) => {
                    message::diagnostics(&diagnostics);
                    return ExitCode::from(message::USAGE);
                }
            };
            let mut policy = document.policy.clone();
            if let Err(Told) = carry(&mut policy, &arguments.carry) {
                return ExitCode::from(message::USAGE);
            }
            predicted(&document, &policy)
        }
    };
    let report = match told {
        Ok(report) => report,
        Err(Told) => return ExitCode::from(code::PALISADE),
    };
    let text = match arguments.format {
        HostFormat::Text => message::printable(&text::text(&report)),
        HostFormat::Json => serde_json::to_string_pretty(&report).unwrap_or_default() + "\n",
        HostFormat::Md => markdown::markdown(&report),
        HostFormat::Html => html::html(&report),
    };
    message::print(&text);
    report.policy.as_ref().map_or(ExitCode::SUCCESS, |policy| match policy.outcome {
        Outcome::Enforced => ExitCode::SUCCESS,
        Outcome::Partly => ExitCode::from(1),
        Outcome::Refused => ExitCode::from(3),
    })
}

/// The host alone.
fn plain() -> Result<Report, Told> {
    let document = Document::builtin(source::DEFAULT).ok_or_else(|| {
        message::error("the built-in policy is missing", None);
        Told
    })?;
    let started = start();
    // The root directory stands in for a working directory: its file system is what most of them are on.
    let facts = survey(&document.policy, Path::new("/"), Depth::Full).map_err(|error| {
        message::error(error, Some("/proc must be mounted"));
        Told
    })?;
    let directory = std::env::current_dir().unwrap_or_else(|_| "/".into());
    Ok(Report::new(started, facts, &directory, None))
}

/// The host, and a policy on it, for a run that starts here.
fn predicted(document: &Document, policy: &Policy) -> Result<Report, Told> {
    let directory = source::current_directory()?;
    let started = start();
    match palisade::foresee(policy, &directory, Depth::Full) {
        Ok((facts, foreseen)) => {
            let prediction = Prediction::new(document, policy, &foreseen);
            Ok(Report::new(started, facts, &directory, Some(prediction)))
        }
        Err(error) => {
            message::error(&error, error.hint());
            Err(Told)
        }
    }
}

impl Report {
    fn new(started: Started, facts: HostFacts, directory: &Path, policy: Option<Prediction>) -> Self {
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            kernel: facts.kernel.clone(),
            machine: rustix::system::uname().machine().to_string_lossy().into_owned(),
            caller: if facts.caller.privileged { "root" } else { "rootless" },
            policy,
            findings: findings(started, &facts, directory),
            facts,
        }
    }

    /// `Linux 6.18.1 x86_64, rootless`
    fn place(&self) -> String {
        format!("Linux {} {}, {}", self.kernel, self.machine, self.caller)
    }

    /// What that caller's workloads are.
    fn caller_means(&self) -> &'static str {
        match (self.facts.caller.privileged, self.facts.caller.kernel_root) {
            (true, _) => "workloads run under kernel ids of their own",
            (false, true) => "uid 0 without the privilege to change ids: nothing can run",
            (false, false) => "workloads run under the caller's own kernel id",
        }
    }

    /// The findings by group, in order.
    fn groups(&self) -> impl Iterator<Item = &[Finding]> {
        self.findings.chunk_by(|one, next| one.group == next.group)
    }

    /// How many findings take something away from policies.
    fn missing(&self) -> usize {
        self.findings.iter().filter(|finding| finding.consequence.is_some()).count()
    }
}

/// The name within the group.
fn name(finding: &Finding) -> &str {
    finding.id.split_once('/').map_or(finding.id, |(_, name)| name)
}

/// How loud a status is: what nobody misses is not.
fn is_bad(finding: &Finding) -> bool {
    finding.status != Status::Available && finding.consequence.is_some()
}

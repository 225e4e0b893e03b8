//! What a person or a program reads of a run.
//!
//! A [`Report`] is data, complete and ordered by probe id; there is one module for each [`Form`] that writes it. None of them
//! runs or judges anything. Everything that a workload or a policy could have influenced is escaped before it reaches a terminal,
//! a browser or a parser.

mod escape;
mod evidence;
mod form;
pub mod html;
pub mod json;
pub mod junit;
mod layers;
pub mod markdown;
mod redact;
pub mod sarif;
pub mod tap;
pub mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

pub use escape::escape;
pub use evidence::markup;
pub(crate) use evidence::printable;
pub use form::Form;
pub use redact::redact;

use crate::attribution::{Attribution, Table};
use crate::baseline::Comparison;
use crate::catalogue::{Class, Probe, Severity, Tier};
use crate::entry::Entry;
use crate::observation::{CanaryReport, Observation};
use crate::shard::Shard;
use crate::verdict::{Kind, Verdict};

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Who was tested, on what, by what.
    pub subject: Subject,
    /// One entry a probe, ordered by id.
    pub cases: Vec<CaseReport>,
    /// What the policy says and no probe of the whole catalogue is about, selected or not, with where it says so.
    pub untested: BTreeMap<String, String>,
    /// Patterns of known deviations that have expired or that nothing matches any more, with why each fails the run.
    pub lapsed: BTreeMap<String, String>,
    /// From the first case to the last.
    pub took: Duration,
    /// What has changed since an earlier report, where one was given.
    pub against: Option<Comparison>,
}

/// Who was tested, on what, by what.
#[derive(Clone, Debug, Serialize)]
pub struct Subject {
    /// Version of the suite.
    pub version: String,
    /// The runtime's adapter.
    pub runtime: String,
    /// The file that describes the runtime, where one was brought along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_file: Option<String>,
    /// What the runtime says about its version, where it was asked.
    pub runtime_version: Option<String>,
    /// The way by which the workloads came in.
    pub entry: Entry,
    /// What carried the network, where there was one to carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<&'static str>,
    /// The policy's name.
    pub policy: String,
    /// What names the policy on a command line: a built-in name or a path.
    pub policy_argument: String,
    /// The files and directories of probes that were brought along.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<String>,
    /// One line about the host: kernel, machine, root or rootless.
    pub host: String,
    /// What the host offers, as the caller surveyed it.
    pub host_facts: serde_json::Value,
    /// How often each probe ran.
    pub repeat: u32,
    /// Which part of the selected probes this is, where they were shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
}

/// One probe with its evidence and verdict.
#[derive(Clone, Debug)]
pub struct CaseReport {
    /// The probe's id.
    pub id: String,
    /// Whether it is a prevention or a permission.
    pub class: Class,
    /// How bad a breach would be.
    pub severity: Severity,
    /// When it runs.
    pub tier: Tier,
    /// The clause of the policy.
    pub clause: String,
    /// Where the policy says so: `file:line`.
    pub location: Option<String>,
    /// The clause of SPEC.md.
    pub spec: String,
    /// What others call that which it is about: [`crate::catalogue::tags`].
    pub tags: Vec<&'static str>,
    /// The requirement.
    pub requirement: String,
    /// The operation.
    pub operation: String,
    /// The statements or the command, as given to the workload.
    pub workload: Vec<String>,
    /// What was expected inside.
    pub expected: String,
    /// What was expected outside.
    pub baseline: String,
    /// What was seen inside; nothing where the probe is unsupported from the start.
    pub inside: Option<Observation>,
    /// What was seen outside.
    pub outside: Option<Observation>,
    /// What the far side saw.
    pub canary: Option<CanaryReport>,
    /// The verdict.
    pub verdict: Verdict,
    /// Which layers of the sandbox hold it, where that was asked for and there is something to tell.
    pub layers: Option<Attribution>,
    /// From the start of the inside run to its end.
    pub took: Duration,
}

impl CaseReport {
    /// The report of a probe that did not run.
    pub fn unsupported(probe: &Probe, location: Option<String>, why: String) -> Self {
        Self::new(probe, location, Verdict::Unsupported(why))
    }

    /// The report of a probe with a verdict, without evidence yet.
    pub fn new(probe: &Probe, location: Option<String>, verdict: Verdict) -> Self {
        use crate::catalogue::{Outside, Workload};
        let workload = match &probe.workload {
            Workload::Script(script) => script.statements().iter().map(ToString::to_string).collect(),
            Workload::Command(argv) => argv.clone(),
        };
        let baseline = match &probe.outside {
            Outside::NotExpected => "anything else".to_owned(),
            Outside::Same => "the same".to_owned(),
            Outside::Shows(set) => set.to_string(),
            Outside::NotRun(why) => format!("not run: {why}"),
        };
        Self {
            id: probe.id.clone(),
            class: probe.class,
            severity: probe.severity,
            tier: probe.tier,
            clause: probe.clause.to_string(),
            location,
            spec: probe.spec.to_owned(),
            tags: crate::catalogue::tags(probe),
            requirement: probe.requirement.clone(),
            operation: probe.describe(),
            workload,
            expected: probe.expect.to_string(),
            baseline,
            inside: None,
            outside: None,
            canary: None,
            verdict,
            layers: None,
            took: Duration::ZERO,
        }
    }

    /// The first word of the id.
    pub fn group(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }
}

impl Report {
    /// How many verdicts of each kind there are. Kinds that do not occur are missing.
    pub fn counts(&self) -> BTreeMap<Kind, usize> {
        count(self.cases.iter())
    }

    /// The worst that there is; nothing where nothing was shown, since all is unsupported.
    pub fn worst(&self) -> Option<Kind> {
        let counts = self.counts();
        let worst = [
            Kind::Breached,
            Kind::OverBlocked,
            Kind::UnexpectedPass,
            Kind::Inconclusive,
            Kind::Held,
            Kind::KnownDeviation,
        ];
        worst.into_iter().find(|kind| counts.contains_key(kind))
    }

    /// The outcome in one line: the worst that there is, and how often there is what.
    pub fn headline(&self) -> String {
        let counts = self.counts();
        let counted: Vec<String> = Kind::ALL
            .iter()
            .filter_map(|kind| counts.get(kind).map(|count| format!("{count} {}", kind.word())))
            .collect();
        let total = self.cases.len();
        let probes = if total == 1 { "probe" } else { "probes" };
        let worst = self.worst().map_or("nothing shown", Kind::word);
        let lapsed = match self.lapsed.len() {
            0 => String::new(),
            1 => "; a known deviation has lapsed".to_owned(),
            several => format!("; {several} known deviations have lapsed"),
        };
        format!("{worst} ({total} {probes}: {}){lapsed}", counted.join(", "))
    }

    /// The ids of the cases of one kind by reason, since one lack of the host is the reason of many.
    pub fn by_reason(&self, kind: Kind) -> BTreeMap<String, Vec<&str>> {
        let mut by_reason: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for case in self.of(kind) {
            by_reason.entry(case.verdict.why().unwrap_or_default()).or_default().push(&case.id);
        }
        by_reason
    }

    /// Which layer holds how much of each group, where that was asked for.
    pub fn layers(&self) -> Option<Table> {
        let told = self.cases.iter().filter_map(|case| Some((case.group(), case.layers.as_ref()?)));
        let table = Table::of(told);
        (!table.0.is_empty()).then_some(table)
    }

    /// The cases of one kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &CaseReport> {
        self.cases.iter().filter(move |case| case.verdict.kind() == kind)
    }

    /// The groups in order of name, with their counts.
    pub fn groups(&self) -> BTreeMap<&str, BTreeMap<Kind, usize>> {
        let mut groups: BTreeMap<&str, Vec<&CaseReport>> = BTreeMap::new();
        for case in &self.cases {
            groups.entry(case.group()).or_default().push(case);
        }
        groups.into_iter().map(|(name, cases)| (name, count(cases.into_iter()))).collect()
    }
}

fn count<'a>(cases: impl Iterator<Item = &'a CaseReport>) -> BTreeMap<Kind, usize> {
    let mut counts = BTreeMap::new();
    for case in cases {
        *counts.entry(case.verdict.kind()).or_default() += 1;
    }
    counts
}

#[cfg(test)]
pub(crate) mod tests;

//! `decide`: policy x host facts x situation -> plan, or a refusal.
//!
//! One file for each section of the policy; this one holds the order in which their steps run, and why.

mod environment;
mod filesystem;
mod groups;
mod landlock;
mod layout;
mod network;
mod process;
mod resources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use network::needs_network;
use palisade_policy::{Clause, OnUnavailable, Policy, Terminal};

use crate::facts::{Caller, HostFacts};
use crate::plan::{Coverage, Plan, Status, VERSION};
use crate::step::{Controller, PlannedStep, Step};

/// What is known about one run besides the policy and the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Situation {
    /// The directory in which the run starts: absolute and without symbolic links.
    pub directory: PathBuf,
    /// The caller's environment, as far as it is UTF-8; at least what the policy passes of it.
    pub environment: BTreeMap<String, String>,
    /// The kernel id that the workload of a privileged caller runs under ([`crate::KERNEL_ID_BASE`]).
    pub kernel_id: u32,
}

/// Why nothing was run: every reason at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy cannot be enforced here: {}", reasons.iter().map(|reason| format!("{}: {}", reason.clause, reason.message)).collect::<Vec<_>>().join("; "))]
pub struct Refusal {
    /// The reasons, at least one.
    pub reasons: Vec<Reason>,
}

/// One reason for a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The clause that cannot be enforced.
    pub clause: Clause,
    /// Why.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
}

/// Decides what to do to run a workload under `policy` on the host of `facts`.
///
/// # Errors
/// A [`Refusal`] when the host lacks something that no sandbox can do without, when a path that must exist is
/// missing, and, unless the policy says `on_unavailable: degrade`, when any clause would get less than it asks for.
pub fn decide(policy: &Policy, facts: &HostFacts, situation: &Situation) -> Result<Plan, Refusal> {
    let Foreseen { plan, reasons } = foresee(policy, facts, situation);
    if reasons.is_empty() { Ok(plan) } else { Err(Refusal { reasons }) }
}

/// What [`decide`] decides from, whether or not it refuses: for whoever wants to know of every clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// The plan. To be executed only where there are no reasons against it; its coverage lacks what could not be planned.
    pub plan: Plan,
    /// Why nothing would run, if anything speaks against it.
    pub reasons: Vec<Reason>,
}

/// As [`decide`], without stopping at a refusal.
pub fn foresee(policy: &Policy, facts: &HostFacts, situation: &Situation) -> Foreseen {
    let mut draft = Draft::with_room();

    // The order of the steps. Control groups first, so that everything is charged to them. Ids next: what follows is done by
    // the workload's own user, so that every file made on the way is the workload's. Descriptors and arguments before anything
    // can fail halfway. The file system is built before the old root goes, and the network after it: its namespace, which takes
    // the kernel longest, is made meanwhile. But a ruleset is loaded first, by a program that needs the host's procfs, which
    // the new root covers. Privilege goes last, since every step before needs some of it, and the filter is the very last,
    // since it forbids the calls that the steps before it make.
    let groups = groups::groups(policy, facts, &mut draft);
    process::namespaces(policy, facts, situation, &mut draft);
    process::identity(policy, facts, situation, &mut draft);
    let mut network = Draft::default();
    network::network(policy, facts, &mut network);
    let is_first = network.steps.iter().any(|planned| matches!(planned.step, Step::LoadRuleset { .. }));
    if is_first {
        draft.append(&mut network);
    }
    let layout = filesystem::filesystem(policy, facts, situation, &mut draft);
    draft.append(&mut network);
    filesystem::enter(policy, &mut draft);
    resources::resources(policy, facts, &groups, &mut draft);
    process::session(policy, &mut draft);
    process::privilege(policy, &mut draft);
    landlock::landlock(facts, &layout, &mut draft);
    process::filter(policy, facts, &mut draft);
    let environment = environment::environment(policy, situation, &mut draft);

    let plan = Plan {
        version: VERSION,
        policy: policy.name.clone(),
        steps: draft.steps,
        directory: layout.directory,
        environment,
        wall_time: policy.resources.wall_time,
        output: policy.resources.output,
        terminal: policy.process.terminal == Terminal::Auto,
        coverage: draft.coverage,
    };
    let mut reasons = draft.reasons;
    if policy.on_unavailable == OnUnavailable::Refuse {
        reasons.extend(plan.downgrades().map(|(coverage, reason)| Reason {
            clause: coverage.clause.clone(),
            message: format!("{}: {reason}", coverage.requested),
            hint: Some("`on_unavailable: degrade` runs without it, and says so".into()),
        }));
    }
    Foreseen { plan, reasons }
}

/// The paths that `policy` names, absolute: what a survey has to look up for [`decide`]. None of a policy whose rules
/// contradict each other in this directory, which [`decide`] refuses.
pub fn named_paths(policy: &Policy, directory: &Path) -> BTreeSet<PathBuf> {
    let Ok(resolved) = policy.filesystem.resolve(directory) else { return BTreeSet::new() };
    let rules = resolved.rules().iter().map(|rule| &rule.entry);
    rules.chain(resolved.no_execute()).map(|entry| entry.path.clone()).collect()
}

/// What of control groups `policy` needs for this caller on this kernel: what a survey has to try for [`decide`].
pub fn needed_controllers(policy: &Policy, caller: &Caller, kernel: &str) -> BTreeSet<Controller> {
    groups::wanted(policy, groups::own_count(caller.privileged, kernel)).collect()
}

/// Whether only a group counts the sandbox's processes alone for this caller on this kernel: RLIMIT_NPROC counts others too.
pub fn needs_pids_group(caller: &Caller, kernel: &str) -> bool {
    !groups::own_count(caller.privileged, kernel)
}

/// A plan that is being decided.
#[derive(Default)]
struct Draft {
    steps: Vec<PlannedStep>,
    coverage: Vec<Coverage>,
    reasons: Vec<Reason>,
}

impl Draft {
    /// An empty one, with room for what most plans have.
    fn with_room() -> Self {
        Self { steps: Vec::with_capacity(160), coverage: Vec::with_capacity(32), reasons: Vec::new() }
    }

    /// Takes everything out of another.
    fn append(&mut self, other: &mut Self) {
        self.steps.append(&mut other.steps);
        self.coverage.append(&mut other.coverage);
        self.reasons.append(&mut other.reasons);
    }

    fn step(&mut self, serves: &Clause, step: Step) {
        self.steps.push(PlannedStep { serves: serves.clone(), step });
    }

    /// A clause that gets what it asks for.
    fn enforced(&mut self, clause: &Clause, requested: impl Into<String>, mechanism: impl Into<String>) {
        self.covered(clause, requested, mechanism, Status::Enforced, Vec::new());
    }

    /// A clause that gets less than it asks for.
    fn downgraded(
        &mut self,
        clause: &Clause,
        requested: impl Into<String>,
        mechanism: impl Into<String>,
        reason: impl Into<String>,
    ) {
        self.covered(clause, requested, mechanism, Status::Downgraded(reason.into()), Vec::new());
    }

    fn covered(
        &mut self,
        clause: &Clause,
        requested: impl Into<String>,
        mechanism: impl Into<String>,
        status: Status,
        notes: Vec<String>,
    ) {
        self.coverage.push(Coverage {
            clause: clause.clone(),
            requested: requested.into(),
            mechanism: mechanism.into(),
            status,
            notes,
        });
    }

    /// What a reader should know of a clause that is covered already.
    fn note(&mut self, clause: &Clause, note: impl Into<String>) {
        if let Some(coverage) = self.coverage.iter_mut().find(|coverage| coverage.clause == *clause) {
            coverage.notes.push(note.into());
        }
    }

    /// Something without which nothing can run, whatever `on_unavailable` says.
    fn refuse(&mut self, clause: &Clause, message: impl Into<String>, hint: Option<&str>) {
        self.reasons.push(Reason {
            clause: clause.clone(),
            message: message.into(),
            hint: hint.map(Into::into),
        });
    }
}

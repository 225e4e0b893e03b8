//! Control groups: the only means that limit a whole sandbox, where the caller can make them.

use std::collections::BTreeMap;
use std::path::Path;

use palisade_policy::{Clause, Policy};

use super::Draft;
use super::resources::kernel_at_least;
use crate::facts::{Ability, CgroupHierarchy, HostFacts};
use crate::step::{CgroupVersion, Controller, Step};

/// The period over which the share of processors is measured: the kernel's default (sched-bwc.rst).
const PERIOD_US: u64 = 100_000;

/// PID 1 of the sandbox counts like the workload's own processes.
pub(super) const INIT: u64 = 1;

/// What the policy wants of groups, by controller. Processes are counted in one where there are groups anyway, and where
/// RLIMIT_NPROC would count others too: by itself that does as much, and joining a group takes the kernel longer than all
/// the rest of a start (it waits for a grace period of RCU, cgroup_attach_lock).
pub(super) fn wanted(policy: &Policy, own_count: bool) -> impl Iterator<Item = Controller> {
    let resources = &policy.resources;
    let (memory, cpus) = (resources.memory.is_some(), resources.millicpus.is_some());
    let cpu_time = resources.cpu_time.is_some();
    [
        (Controller::Memory, memory),
        (Controller::Pids, memory || cpus || cpu_time || !own_count),
        (Controller::Cpu, cpus),
        (Controller::CpuAccounting, cpu_time),
    ]
    .into_iter()
    .filter_map(|(controller, wanted)| wanted.then_some(controller))
}

/// Whether RLIMIT_NPROC counts the sandbox's own processes only: those of a kernel id that nobody else has, or those in the
/// innermost user namespace, since Linux 5.14 (commit 21d1c5e386bc).
pub(super) fn own_count(privileged: bool, kernel: &str) -> bool {
    privileged || kernel_at_least(kernel, (5, 14))
}

/// The clause that a controller serves.
fn clause(controller: Controller) -> &'static str {
    match controller {
        Controller::Memory => "resources.memory",
        Controller::Pids => "resources.processes",
        Controller::Cpu => "resources.cpus",
        Controller::CpuAccounting => "resources.cpu_time",
    }
}

/// Which hierarchy serves which controller.
pub(super) struct Groups<'a>(BTreeMap<Controller, &'a CgroupHierarchy>);

impl Groups<'_> {
    /// The hierarchy that limits this, if any.
    pub(super) fn of(&self, controller: Controller) -> Option<&CgroupHierarchy> {
        self.0.get(&controller).copied()
    }
}

/// Plans one group in each hierarchy that is needed: for every controller in version 2 where that has it, else in
/// version 1. They are made before the sandbox's first process, which is in them from its first instruction on.
pub(super) fn groups<'a>(policy: &Policy, facts: &'a HostFacts, draft: &mut Draft) -> Groups<'a> {
    let mut groups = BTreeMap::new();
    for controller in wanted(policy, own_count(facts.caller.privileged, &facts.kernel)) {
        let usable = |hierarchy: &&CgroupHierarchy| {
            hierarchy.ability == Ability::Available && hierarchy.controllers.contains(&controller)
        };
        // Version 2 stands first in the facts.
        if let Some(hierarchy) = facts.cgroups.iter().find(usable) {
            groups.insert(controller, hierarchy);
        }
    }
    for hierarchy in &facts.cgroups {
        let controllers: Vec<Controller> = groups
            .iter()
            .filter(|(_, chosen)| std::ptr::eq(**chosen, hierarchy))
            .map(|(controller, _)| *controller)
            .collect();
        let serves = match controllers.as_slice() {
            [] => continue,
            [one] => Clause::new(clause(*one)),
            _ => Clause::new("resources"),
        };
        let limits = controllers.iter().flat_map(|one| limits(policy, *one, hierarchy)).collect();
        let (version, parent) = (hierarchy.version, hierarchy.parent.clone());
        draft.step(&serves, Step::JoinCgroup { version, controllers, parent, limits });
    }
    if let Some(limit) = policy.resources.cpu_time
        && groups.contains_key(&Controller::CpuAccounting)
    {
        draft.step(&Clause::new("resources.cpu_time"), Step::WatchCpuTime { limit });
    }
    Groups(groups)
}

/// The files of one controller, and what is written to them.
fn limits(policy: &Policy, controller: Controller, hierarchy: &CgroupHierarchy) -> Vec<(String, String)> {
    let resources = &policy.resources;
    let limit = |file: &str, value: String| (file.to_owned(), value);
    match (controller, hierarchy.version) {
        (Controller::Memory, version) => {
            let bytes = resources.memory.map_or(u64::MAX, palisade_policy::ByteSize::bytes).to_string();
            let mut limits = vec![limit(controller.file(version), bytes.clone())];
            let optional: &[(&str, &str)] = match version {
                CgroupVersion::V2 => &[("memory.swap.max", "0")],
                // Memory and swap together. Where the kernel does not count them together, a group of swappiness 0
                // does not swap to stay below its limit.
                CgroupVersion::V1 => &[("memory.memsw.limit_in_bytes", &bytes), ("memory.swappiness", "0")],
            };
            for (file, value) in optional.iter().filter(|(file, _)| hierarchy.files.contains(*file)) {
                limits.push(limit(file, (*value).to_owned()));
            }
            limits
        }
        (Controller::Pids, version) => {
            let processes = u64::from(resources.processes) + INIT;
            vec![limit(controller.file(version), processes.to_string())]
        }
        (Controller::Cpu, version) => {
            let quota = u64::from(resources.millicpus.unwrap_or(u32::MAX)) * PERIOD_US / 1000;
            match version {
                CgroupVersion::V2 => vec![limit("cpu.max", format!("{quota} {PERIOD_US}"))],
                CgroupVersion::V1 => vec![
                    limit("cpu.cfs_period_us", PERIOD_US.to_string()),
                    limit("cpu.cfs_quota_us", quota.to_string()),
                ],
            }
        }
        (Controller::CpuAccounting, _) => Vec::new(),
    }
}

/// Why no group limits this here: what each hierarchy that could have said.
pub(super) fn why_none(facts: &HostFacts, controller: Controller) -> String {
    // A controller is in one hierarchy only; one that no hierarchy was asked for is nowhere.
    let told: Vec<String> = facts
        .cgroups
        .iter()
        .filter(|hierarchy| {
            hierarchy.controllers.contains(&controller) || hierarchy.ability == Ability::Available
        })
        .map(|hierarchy| match &hierarchy.ability {
            Ability::Unavailable(reason) => format!("{}: {reason}", shown(&hierarchy.parent)),
            Ability::Available => {
                format!("{}: no {} in it", shown(&hierarchy.parent), controller.file(hierarchy.version))
            }
        })
        .collect();
    let told = if told.is_empty() { "no cgroup file system".to_owned() } else { told.join("; ") };
    format!("no cgroup for it ({told})")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

//! The `resources` section.

use palisade_policy::{Clause, Policy};

use super::Draft;
use super::groups::{Groups, INIT, own_count, why_none};
use crate::facts::HostFacts;
use crate::plan::Status;
use crate::step::{CgroupVersion, Controller, LimitedResource, Step};

/// Limits, each by the best means at hand: a control group for the whole sandbox, else a limit of each process.
pub(super) fn resources(policy: &Policy, facts: &HostFacts, groups: &Groups<'_>, draft: &mut Draft) {
    let hard = &facts.caller.hard_limits;
    memory(policy, facts, groups, draft);
    processes(policy, facts, groups, draft);
    cpus(policy, facts, groups, draft);
    cpu_time(policy, facts, groups, draft);

    let resources = &policy.resources;
    let clause = Clause::new("resources.open_files");
    limit(draft, &clause, LimitedResource::OpenFiles, resources.open_files.into(), hard.open_files);
    draft.enforced(&clause, resources.open_files.to_string(), "RLIMIT_NOFILE, per process");

    let clause = Clause::new("resources.file_size");
    limit(draft, &clause, LimitedResource::FileSize, resources.file_size.bytes(), hard.file_size);
    draft.enforced(&clause, resources.file_size.to_string(), "RLIMIT_FSIZE, per file");

    // A core dump would be written by the kernel outside of every rule, or piped to a program on the host (core(5)).
    let clause = Clause::new("resources");
    limit(draft, &clause, LimitedResource::Core, 0, None);

    if let Some(time) = resources.wall_time {
        draft.enforced(&Clause::new("resources.wall_time"), format!("{time:?}"), "the supervisor's clock");
    }
    if let Some(size) = resources.output {
        let mechanism = "counted by the supervisor, through which both streams pass; what is more is dropped";
        draft.enforced(&Clause::new("resources.output"), size.to_string(), mechanism);
    }
}

/// A limit can only be lowered (setrlimit(2)): what the caller has not, its sandbox has not either.
fn limit(draft: &mut Draft, clause: &Clause, resource: LimitedResource, value: u64, hard: Option<u64>) {
    draft.step(clause, Step::Limit { resource, value: value.min(hard.unwrap_or(u64::MAX)) });
}

fn memory(policy: &Policy, facts: &HostFacts, groups: &Groups<'_>, draft: &mut Draft) {
    let Some(size) = policy.resources.memory else { return };
    let clause = Clause::new("resources.memory");
    let Some(hierarchy) = groups.of(Controller::Memory) else {
        limit(
            draft,
            &clause,
            LimitedResource::AddressSpace,
            size.bytes(),
            facts.caller.hard_limits.address_space,
        );
        let reason = format!(
            "{}: each process is limited, so that {} processes can use as many times that much, and files in /tmp \
             do not count",
            why_none(facts, Controller::Memory),
            policy.resources.processes
        );
        return draft.downgraded(&clause, size.to_string(), "RLIMIT_AS, per process", reason);
    };
    let has = |file: &str| hierarchy.files.contains(file);
    let swap = has("memory.swap.max") || has("memory.memsw.limit_in_bytes") || has("memory.swappiness");
    let mut notes =
        vec!["files in /tmp and /dev/shm and the kernel's own memory for the sandbox count".to_owned()];
    if hierarchy.version == CgroupVersion::V1 {
        // They have a counter of their own there (memory.kmem.tcp), which newer kernels are about to drop.
        notes.push("buffers of TCP connections do not count in version 1".into());
    }
    if !swap {
        notes.push("this kernel cannot limit swap by group: what it swaps out does not count".into());
    }
    let mechanism =
        format!("cgroup {} memory{}", hierarchy.version.word(), if swap { ", no swap" } else { "" });
    draft.covered(&clause, size.to_string(), mechanism, Status::Enforced, notes);
}

fn processes(policy: &Policy, facts: &HostFacts, groups: &Groups<'_>, draft: &mut Draft) {
    let clause = Clause::new("resources.processes");
    // A second layer beside a group, and one higher: the kernel asks it first, but only the group counts what was refused.
    let second = u64::from(groups.of(Controller::Pids).is_some());
    let value = u64::from(policy.resources.processes) + INIT + second;
    limit(draft, &clause, LimitedResource::Processes, value, facts.caller.hard_limits.processes);
    let requested = policy.resources.processes.to_string();
    let own_count = own_count(facts.caller.privileged, &facts.kernel);
    match groups.of(Controller::Pids) {
        Some(hierarchy) => {
            let mechanism = format!("cgroup {} pids, and RLIMIT_NPROC", hierarchy.version.word());
            draft.enforced(&clause, requested, mechanism);
        }
        None if own_count => {
            draft.enforced(&clause, requested, "RLIMIT_NPROC in the sandbox's own user namespace");
        }
        None => draft.downgraded(
            &clause,
            requested,
            "RLIMIT_NPROC",
            "before Linux 5.14 it counts the caller's processes outside too",
        ),
    }
}

fn cpus(policy: &Policy, facts: &HostFacts, groups: &Groups<'_>, draft: &mut Draft) {
    let Some(milli) = policy.resources.millicpus else { return };
    let clause = Clause::new("resources.cpus");
    let requested = format!("{}.{:03}", milli / 1000, milli % 1000);
    match groups.of(Controller::Cpu) {
        Some(hierarchy) => {
            draft.enforced(&clause, requested, format!("cgroup {} cpu, quota", hierarchy.version.word()));
        }
        None => draft.downgraded(&clause, requested, "none", why_none(facts, Controller::Cpu)),
    }
}

fn cpu_time(policy: &Policy, facts: &HostFacts, groups: &Groups<'_>, draft: &mut Draft) {
    let Some(time) = policy.resources.cpu_time else { return };
    let clause = Clause::new("resources.cpu_time");
    // RLIMIT_CPU counts whole seconds; rounding down could make it 0, which the kernel takes for 1.
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    limit(draft, &clause, LimitedResource::CpuTime, seconds, facts.caller.hard_limits.cpu_time);
    let requested = format!("{time:?}");
    match groups.of(Controller::CpuAccounting) {
        Some(hierarchy) => {
            let mechanism =
                format!("cgroup {} accounting that the supervisor watches", hierarchy.version.word());
            draft.enforced(&clause, requested, mechanism);
        }
        None => {
            let reason = format!(
                "{}: each process is limited, not the whole sandbox",
                why_none(facts, Controller::CpuAccounting)
            );
            draft.downgraded(&clause, requested, "RLIMIT_CPU, per process", reason);
        }
    }
}

/// Whether a release such as `6.18.44-foo` is at least `minimum`. An unreadable release is none.
pub(super) fn kernel_at_least(release: &str, minimum: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= minimum,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::kernel_at_least;

    #[test]
    fn releases_compare_by_number() {
        assert!(kernel_at_least("5.14.0", (5, 14)));
        assert!(kernel_at_least("6.1.0-18-amd64", (5, 14)));
        assert!(kernel_at_least("10.0", (5, 14)));
        assert!(!kernel_at_least("5.9.16", (5, 14)));
        assert!(!kernel_at_least("nonsense", (5, 14)));
    }
}

//! The `resources` section.

use palisade_policy::{ByteSize, Clause, Policy};

use super::Draft;
use crate::facts::HostFacts;
use crate::step::{LimitedResource, Step};

/// PID 1 of the sandbox counts against RLIMIT_NPROC like the workload's own processes.
const INIT: u64 = 1;

/// Limits, each by the best means at hand.
pub(super) fn resources(policy: &Policy, facts: &HostFacts, draft: &mut Draft) {
    let resources = &policy.resources;
    let hard = &facts.caller.hard_limits;

    let processes = u64::from(resources.processes) + INIT;
    let limit = |draft: &mut Draft, clause: &Clause, resource, value: u64, hard: Option<u64>| {
        // A limit can only be lowered (setrlimit(2)): what the caller has not, its sandbox has not either.
        draft.step(clause, Step::Limit { resource, value: value.min(hard.unwrap_or(u64::MAX)) });
    };

    // RLIMIT_NPROC counts in the innermost user namespace since Linux 5.14 (commit 21d1c5e386bc).
    let clause = Clause::new("resources.processes");
    limit(draft, &clause, LimitedResource::Processes, processes, hard.processes);
    let requested = resources.processes.to_string();
    if facts.caller.privileged || kernel_at_least(&facts.kernel, (5, 14)) {
        draft.enforced(&clause, requested, "RLIMIT_NPROC in the sandbox's own user namespace");
    } else {
        draft.downgraded(
            &clause,
            requested,
            "RLIMIT_NPROC",
            "before Linux 5.14 it counts the caller's processes outside too",
        );
    }

    let clause = Clause::new("resources.open_files");
    limit(draft, &clause, LimitedResource::OpenFiles, resources.open_files.into(), hard.open_files);
    draft.enforced(&clause, resources.open_files.to_string(), "RLIMIT_NOFILE, per process");

    let clause = Clause::new("resources.file_size");
    limit(draft, &clause, LimitedResource::FileSize, resources.file_size.bytes(), hard.file_size);
    draft.enforced(&clause, resources.file_size.to_string(), "RLIMIT_FSIZE, per file");

    // A core dump would be written by the kernel outside of every rule, or piped to a program on the host (core(5)).
    let clause = Clause::new("resources");
    limit(draft, &clause, LimitedResource::Core, 0, None);

    if let Some(time) = resources.cpu_time {
        let clause = Clause::new("resources.cpu_time");
        // RLIMIT_CPU counts whole seconds; rounding down could make it 0, which the kernel takes for 1.
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        limit(draft, &clause, LimitedResource::CpuTime, seconds, hard.cpu_time);
        draft.downgraded(
            &clause,
            format!("{time:?}"),
            "RLIMIT_CPU",
            "this version limits each process, not the whole sandbox",
        );
    }
    if let Some(time) = resources.wall_time {
        draft.enforced(&Clause::new("resources.wall_time"), format!("{time:?}"), "the supervisor's clock");
    }
    if let Some(size) = resources.output {
        let mechanism = "counted by the supervisor, through which both streams pass; what is more is dropped";
        draft.enforced(&Clause::new("resources.output"), size.to_string(), mechanism);
    }
    let without = |size: Option<ByteSize>| size.map(|size| size.to_string());
    let missing = [
        ("resources.memory", without(resources.memory)),
        ("resources.cpus", resources.millicpus.map(|milli| format!("{}.{:03}", milli / 1000, milli % 1000))),
    ];
    for (clause, requested) in missing {
        if let Some(requested) = requested {
            draft.downgraded(&Clause::new(clause), requested, "none", "this version has no means for it yet");
        }
    }
}

/// Whether a release such as `6.18.44-foo` is at least `minimum`. An unreadable release is none.
fn kernel_at_least(release: &str, minimum: (u32, u32)) -> bool {
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

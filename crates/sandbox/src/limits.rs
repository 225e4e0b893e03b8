//! The limits of a plan: which of them a run met, and about which nobody can tell.
//!
//! Some the kernel counts (control groups), some the supervisor keeps itself (wall time, output). The rest it tells only to
//! the process that meets them, by an errno. Of those, file systems and the number of processes can be looked at: a full
//! one is a limit that was met. What was full and was emptied again between two looks is missed, which the report says.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use palisade_plan::step::{Controller, LimitedResource};
use palisade_plan::{Plan, Step};
use palisade_policy::Clause;

use crate::outcome::LimitHit;

/// The time between two looks at what can be looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(250);

const MEMORY: Clause = Clause::new("resources.memory");
const PROCESSES: Clause = Clause::new("resources.processes");
const CPUS: Clause = Clause::new("resources.cpus");
const CPU_TIME: Clause = Clause::new("resources.cpu_time");
const WALL_TIME: Clause = Clause::new("resources.wall_time");
const OPEN_FILES: Clause = Clause::new("resources.open_files");
const FILE_SIZE: Clause = Clause::new("resources.file_size");
const OUTPUT: Clause = Clause::new("resources.output");
const TMP: Clause = Clause::new("filesystem.tmp");
pub(crate) const DISK: Clause = Clause::new("filesystem.disk");

/// Why nobody can tell that a limit was not met.
mod why {
    pub(super) const MEMORY: &str =
        "each process has a limit of its own (RLIMIT_AS): only the one that meets it is told, by ENOMEM";
    pub(super) const PROCESSES: &str = "looked at four times a second and when a program ends: what could not be made in \
                                        between was told only to whoever tried, by EAGAIN";
    pub(super) const CPUS: &str = "nothing limits it here";
    pub(super) const CPU_TIME: &str = "each process has a limit of its own (RLIMIT_CPU): seen when it ends the program \
                                       itself, not when it ends one that the program started";
    pub(super) const OPEN_FILES: &str = "only the process that meets it is told, by EMFILE";
    pub(super) const FILE_SIZE: &str = "seen when SIGXFSZ ends the program itself, not when it ends one that the program \
                                        started, nor when it is ignored: then the process is told by EFBIG";
    pub(super) const FULL: &str = "looked at four times a second and at the end: what was full in between, or had no room \
                                   for one file, was told only to whoever wrote, by ENOSPC";
}

/// What the first process and the supervisor look at.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// File systems of limited size: where the new root has them, and the clause that limits them.
    pub(crate) file_systems: Vec<(CString, Clause)>,
    /// Whether only a look tells that no process can be made any more.
    pub(crate) processes: bool,
    /// The limit of processor time of each process, which the kernel keeps whether or not somebody watches that of all.
    pub(crate) cpu_time: Option<Duration>,
}

impl Watched {
    pub(crate) fn of(plan: &Plan) -> Self {
        let mut watched = Self::default();
        let mut counted = false;
        for planned in &plan.steps {
            match &planned.step {
                Step::MountTmpfs { path, .. } if planned.serves == TMP => {
                    if let Ok(path) = CString::new(path.as_os_str().as_bytes()) {
                        watched.file_systems.push((path, planned.serves.clone()));
                    }
                }
                // Something else stands there now.
                Step::MountBind { path, .. }
                | Step::MountOverlay { path, .. }
                | Step::MountCopy { path, .. }
                | Step::MaskPath { path }
                | Step::MountTmpfs { path, .. } => watched.uncover(path),
                Step::Limit { resource: LimitedResource::Processes, .. } => watched.processes = true,
                Step::Limit { resource: LimitedResource::CpuTime, value } => {
                    watched.cpu_time = Some(Duration::from_secs(*value));
                }
                Step::JoinCgroup { controllers, .. } => counted |= controllers.contains(&Controller::Pids),
                _ => {}
            }
        }
        watched.processes &= !counted;
        watched
    }

    /// Whether a process that was killed after all of them had used this much was killed by the limit of each. The kernel
    /// counts by its ticks there, and tells the sum more exactly: whoever runs at a tick is charged for the whole of it. Where many
    /// share a processor that is a matter of chance, with a standard deviation of the square root of the number of ticks, which
    /// are of 10 ms at most (CONFIG_HZ_100).
    pub(crate) fn is_cpu_time(&self, used: Duration) -> bool {
        let by_chance = |limit: Duration| (limit.as_secs_f64() * 0.01).sqrt();
        self.cpu_time
            .is_some_and(|limit| used.as_secs_f64() >= 0.9 * limit.as_secs_f64() - 3.0 * by_chance(limit))
    }

    fn uncover(&mut self, path: &Path) {
        self.file_systems.retain(|(known, _)| known.as_bytes() != path.as_os_str().as_bytes());
    }
}

/// Whether nothing more fits into a file system, in bytes or in files (statfs(2)).
pub(crate) fn is_full(file_system: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatfs(file_system).is_ok_and(|stat| {
        let none_left = |all: u64, free: u64| all > 0 && free == 0;
        none_left(stat.f_blocks, stat.f_bfree) || none_left(stat.f_files, stat.f_ffree)
    })
}

/// The file systems of limited size of one run.
#[derive(Debug, Default)]
pub(crate) struct Gauges(Vec<(Clause, OwnedFd)>);

impl Gauges {
    pub(crate) fn add(&mut self, clause: Clause, file_system: OwnedFd) {
        self.0.push((clause, file_system));
    }

    /// The clauses whose file systems are full. Each is told once.
    pub(crate) fn full(&mut self) -> Vec<Clause> {
        let (full, rest) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(_, file_system)| is_full(file_system.as_fd()));
        self.0 = rest;
        let full: Vec<(Clause, OwnedFd)> = full;
        full.into_iter().map(|(clause, _)| clause).collect()
    }
}

/// The limits that a plan declares and a run did not meet, and those about which nobody can tell, with the reason.
pub(crate) fn others(plan: &Plan, hits: &[LimitHit]) -> (Vec<Clause>, Vec<(Clause, &'static str)>) {
    let (mut not_met, mut unseen) = (Vec::new(), Vec::new());
    for (clause, why) in declared(plan) {
        if hits.iter().any(|hit| hit.clause == clause) {
            continue;
        }
        match why {
            None => not_met.push(clause),
            Some(why) => unseen.push((clause, why)),
        }
    }
    (not_met, unseen)
}

/// Every limit of a plan, and where nobody can tell that it was not met, why.
fn declared(plan: &Plan) -> Vec<(Clause, Option<&'static str>)> {
    let has = |wanted: &dyn Fn(&Step) -> bool| plan.steps.iter().any(|planned| wanted(&planned.step));
    let group = |controller: Controller| {
        has(&|step| matches!(step, Step::JoinCgroup { controllers, .. } if controllers.contains(&controller)))
    };
    let each = |wanted: LimitedResource| {
        has(&|step| matches!(step, Step::Limit { resource, .. } if *resource == wanted))
    };
    let downgraded = plan.downgrades().any(|(coverage, _)| coverage.clause == CPUS);
    let watched_time = has(&|step| matches!(step, Step::WatchCpuTime { .. }));
    // The clause, whether it is counted, and whether it is limited by a means that does not count.
    let by_group = [
        (MEMORY, group(Controller::Memory), each(LimitedResource::AddressSpace), why::MEMORY),
        (PROCESSES, group(Controller::Pids), each(LimitedResource::Processes), why::PROCESSES),
        (CPUS, group(Controller::Cpu), downgraded, why::CPUS),
        (CPU_TIME, watched_time, each(LimitedResource::CpuTime), why::CPU_TIME),
        (WALL_TIME, plan.wall_time.is_some(), false, ""),
        (OPEN_FILES, false, each(LimitedResource::OpenFiles), why::OPEN_FILES),
        (FILE_SIZE, false, each(LimitedResource::FileSize), why::FILE_SIZE),
        (OUTPUT, plan.output.is_some(), false, ""),
        (TMP, false, has(&|step| matches!(step, Step::MountTmpfs { .. })), why::FULL),
        (DISK, false, has(&|step| matches!(step, Step::MountWorkspace { .. })), why::FULL),
    ];
    by_group
        .into_iter()
        .filter(|(_, counted, limited, _)| *counted || *limited)
        .map(|(clause, counted, _, why)| (clause, (!counted).then_some(why)))
        .collect()
}

#[cfg(test)]
mod tests;

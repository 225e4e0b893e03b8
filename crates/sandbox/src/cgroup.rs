//! The control groups of one sandbox: made before its first process, which begins in them, and removed after its last.
//!
//! A group of version 2 is entered by the call that makes the first process; into those of version 1 the supervisor
//! puts it before it gives it its ids, for which it waits. So nothing that the sandbox does happens outside. Inside there
//! is no cgroup file system, and the cgroup namespace begins at the sandbox's own groups.
//!
//! Files and their meaning: admin-guide/cgroup-v2.rst and admin-guide/cgroup-v1/ of the kernel's documentation.

mod counters;

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use palisade_plan::step::{CgroupVersion, Controller};
use palisade_plan::{Plan, Step};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, unlinkat};
use rustix::io::Errno;

use crate::janitor::{Janitor, Leftover};
use crate::outcome::{LimitHit, Usage};
use crate::prepare::PrepareError;

/// The shortest time between two looks at a counter.
const SHORTEST_LOOK: Duration = Duration::from_millis(5);
/// And the longest: processors may come online meanwhile.
const LONGEST_LOOK: Duration = Duration::from_millis(250);

/// What a plan says about groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    planned: Vec<Planned>,
    cpu_time: Option<Duration>,
}

#[derive(Debug)]
struct Planned {
    step: usize,
    version: CgroupVersion,
    controllers: Vec<Controller>,
    directory: CString,
    limits: Vec<(String, String)>,
}

/// A part of a step that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// The step's number, from 1.
    pub(crate) step: usize,
    /// What was done.
    pub(crate) what: String,
    pub(crate) errno: Errno,
}

impl Groups {
    /// Reads a plan. Nothing is made yet.
    pub(crate) fn of(plan: &Plan) -> Result<Self, PrepareError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mut groups = Self::default();
        for (index, planned) in plan.steps.iter().enumerate() {
            match &planned.step {
                Step::JoinCgroup { version, controllers, parent, limits } => {
                    let count = COUNT.fetch_add(1, Ordering::Relaxed);
                    // Another pid namespace may share the hierarchy and have the same number.
                    let name = format!("palisade-{}-{count}-{}", std::process::id(), pid_namespace());
                    let directory = CString::new(parent.join(name).as_os_str().as_bytes()).map_err(|_| {
                        let what = format!("`{}`", parent.to_string_lossy().escape_debug());
                        PrepareError::ZeroByte { what }.at(index + 1, planned.step.name())
                    })?;
                    groups.planned.push(Planned {
                        step: index + 1,
                        version: *version,
                        controllers: controllers.clone(),
                        directory,
                        limits: limits.iter().map(|(file, value)| (file.clone(), value.clone())).collect(),
                    });
                }
                Step::WatchCpuTime { limit } => groups.cpu_time = Some(*limit),
                _ => {}
            }
        }
        Ok(groups)
    }

    /// Makes the groups and sets their limits. On an error nothing is left of them.
    pub(crate) fn make(&self) -> Result<Cgroups, Failed> {
        let first = self.planned.first().map_or(0, |planned| planned.step);
        let leftovers =
            self.planned.iter().map(|planned| Leftover::Directory(planned.directory.clone())).collect();
        let janitor = Janitor::start(leftovers).map_err(|errno| Failed {
            step: first,
            what: "start the janitor".into(),
            errno,
        })?;
        let mut cgroups = Cgroups { groups: Vec::new(), cpu_time: self.cpu_time, processors: 0, janitor };
        if cgroups.cpu_time.is_some() {
            cgroups.processors = processors();
        }
        for planned in &self.planned {
            cgroups.groups.push(Group::make(planned)?);
        }
        Ok(cgroups)
    }
}

/// The groups of a sandbox. Dropping this removes them; whatever is in them should be dead by then.
#[derive(Debug)]
pub(crate) struct Cgroups {
    groups: Vec<Group>,
    cpu_time: Option<Duration>,
    processors: u32,
    janitor: Option<Janitor>,
}

#[derive(Debug)]
struct Group {
    step: usize,
    version: CgroupVersion,
    controllers: Vec<Controller>,
    directory: OwnedFd,
}

/// What a look at the clock of the processors says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Look again after this time; it cannot be used up earlier.
    Again(Duration),
    /// It is used up.
    UsedUp,
}

impl Cgroups {
    /// The group that the first process is to be made in.
    pub(crate) fn to_begin_in(&self) -> Option<BorrowedFd<'_>> {
        self.groups
            .iter()
            .find(|group| group.version == CgroupVersion::V2)
            .map(|group| group.directory.as_fd())
    }

    /// Puts the first process, which has done nothing yet, into the other groups.
    pub(crate) fn join(&self, pid: i32, pidfd: BorrowedFd<'_>) -> Result<(), Failed> {
        for group in self.groups.iter().filter(|group| group.version == CgroupVersion::V1) {
            group.write("cgroup.procs", &pid.to_string())?;
        }
        match &self.janitor {
            None => Ok(()),
            Some(janitor) => janitor.watch(pidfd).map_err(|errno| Failed {
                step: self.groups.first().map_or(0, |group| group.step),
                what: "tell the janitor".into(),
                errno,
            }),
        }
    }

    /// When to look at the processor time again; `None` when nothing limits it.
    pub(crate) fn look(&self) -> Option<Look> {
        let limit = self.cpu_time?;
        // What cannot be read any more cannot be kept to either.
        let left = match self.find(Controller::CpuAccounting).and_then(Group::cpu_time) {
            Some(used) => limit.saturating_sub(used.total),
            None => Duration::ZERO,
        };
        if left.is_zero() {
            return Some(Look::UsedUp);
        }
        Some(Look::Again((left / self.processors.max(1)).clamp(SHORTEST_LOOK, LONGEST_LOOK)))
    }

    /// What the groups have counted, over what is known without them.
    pub(crate) fn usage(&self, mut usage: Usage) -> Usage {
        if let Some(used) = self.find(Controller::CpuAccounting).and_then(Group::cpu_time) {
            (usage.cpu_user, usage.cpu_system) = (used.user, used.system);
        }
        usage.peak_memory = self.find(Controller::Memory).and_then(Group::peak_memory);
        usage.peak_processes = self.find(Controller::Pids).and_then(Group::peak_processes);
        usage.throttled = self.find(Controller::Cpu).and_then(Group::throttled).map(|(_, time)| time);
        usage
    }

    /// The limits that something ran into.
    pub(crate) fn hits(&self) -> Vec<LimitHit> {
        let counted = |controller, count: fn(&Group) -> Option<u64>| self.find(controller).and_then(count);
        [
            ("resources.memory", counted(Controller::Memory, Group::killed_for_memory)),
            ("resources.processes", counted(Controller::Pids, Group::refused_processes)),
            ("resources.cpus", counted(Controller::Cpu, |group| group.throttled().map(|(times, _)| times))),
        ]
        .into_iter()
        .filter_map(|(clause, times)| {
            let times = times.filter(|times| *times > 0)?;
            Some(LimitHit { clause: palisade_policy::Clause::new(clause), times: Some(times) })
        })
        .collect()
    }

    fn find(&self, controller: Controller) -> Option<&Group> {
        self.groups.iter().find(|group| group.controllers.contains(&controller))
    }
}

impl Group {
    fn make(planned: &Planned) -> Result<Self, Failed> {
        let failed =
            |what: &'static str| move |errno| Failed { step: planned.step, what: what.to_owned(), errno };
        let mkdir = || mkdirat(CWD, planned.directory.as_c_str(), Mode::from_raw_mode(0o755));
        match mkdir() {
            // Of a process with this one's numbers that was killed together with its janitor: the kernel gives numbers of
            // namespaces again. One that still has processes cannot be removed (EBUSY).
            Err(Errno::EXIST) => {
                let _ = unlinkat(CWD, planned.directory.as_c_str(), AtFlags::REMOVEDIR);
                mkdir()
            }
            other => other,
        }
        .map_err(failed("mkdir"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let directory =
            openat(CWD, planned.directory.as_c_str(), flags, Mode::empty()).map_err(failed("open"))?;
        let group = Self {
            step: planned.step,
            version: planned.version,
            controllers: planned.controllers.clone(),
            directory,
        };
        for (file, value) in &planned.limits {
            group.write(file, value)?;
        }
        Ok(group)
    }

    fn write(&self, file: &str, value: &str) -> Result<(), Failed> {
        let failed = |errno| Failed { step: self.step, what: format!("write {file}"), errno };
        // A plan could come from anywhere: the file is one of the group, whatever it is called.
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let beneath = rustix::fs::ResolveFlags::BENEATH | rustix::fs::ResolveFlags::NO_SYMLINKS;
        let file =
            rustix::fs::openat2(&self.directory, file, flags, Mode::empty(), beneath).map_err(failed)?;
        rustix::io::write(&file, value.as_bytes()).map(drop).map_err(failed)
    }
}

/// The number of this process's pid namespace (namespaces(7)).
fn pid_namespace() -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino())
}

/// How many processors can work at the same time, whatever this process may use of them.
fn processors() -> u32 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let lines = stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    u32::try_from(lines).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests;

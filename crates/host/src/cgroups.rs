//! Which control groups the caller can make for a sandbox, found out by making one in each hierarchy.
//!
//! Nothing that exists is changed: no controller is enabled, nothing is moved. A group that is made is removed at once.

mod keeper;
mod place;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use palisade_plan::facts::{Ability, CgroupHierarchy, OPTIONAL_CGROUP_FILES};
use palisade_plan::step::{CgroupVersion, Controller};
use palisade_sys::Errno;

use keeper::Keeper;
use place::{Mounted, Place};

/// How many groups below the caller's own are looked at for one that is the caller's.
const MOST_CHILDREN: usize = 256;

/// The hierarchies that have any of `needed`, version 2 first.
pub(crate) fn hierarchies(needed: &BTreeSet<Controller>) -> Vec<CgroupHierarchy> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let places = place::places(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
    survey(&places, needed)
}

fn survey(places: &[Place], needed: &BTreeSet<Controller>) -> Vec<CgroupHierarchy> {
    let mut missing = needed.clone();
    let mut found = Vec::new();
    for place in places {
        let wanted: BTreeSet<Controller> = match &place.mounted {
            Mounted::V2 => unified_controllers(&place.mount_point),
            Mounted::V1(controllers) => controllers.clone(),
        };
        let wanted: BTreeSet<Controller> = wanted.intersection(&missing).copied().collect();
        if wanted.is_empty() {
            continue;
        }
        let hierarchy = best(place, &wanted);
        if hierarchy.ability == Ability::Available {
            missing.retain(|controller| !hierarchy.controllers.contains(controller));
        }
        found.push(hierarchy);
    }
    found
}

/// What version 2 has at all: what its root lists, and the accounting of processor time, which is no controller there.
fn unified_controllers(mount_point: &Path) -> BTreeSet<Controller> {
    let listed = fs::read_to_string(mount_point.join("cgroup.controllers")).unwrap_or_default();
    let has = |name: &str| listed.split_ascii_whitespace().any(|listed| listed == name);
    Controller::ALL
        .into_iter()
        .filter(|controller| *controller == Controller::CpuAccounting || has(controller.v1_name()))
        .collect()
}

/// The parent below which a group has the most of `wanted`, the nearest to the caller's own group among equals.
fn best(place: &Place, wanted: &BTreeSet<Controller>) -> CgroupHierarchy {
    let version = place.mounted.version();
    let mut best: Option<CgroupHierarchy> = None;
    for parent in parents(place) {
        let tried = attempt(version, &parent, wanted);
        let complete = tried.ability == Ability::Available && tried.controllers == *wanted;
        let better = best.as_ref().is_none_or(|best| worth(&tried) > worth(best));
        if better {
            best = Some(tried);
        }
        if complete {
            break;
        }
    }
    best.unwrap_or_else(|| CgroupHierarchy {
        version,
        parent: place.mount_point.clone(),
        ability: Ability::Unavailable("the caller's own group is outside of what is mounted".into()),
        controllers: wanted.clone(),
        files: BTreeSet::new(),
    })
}

fn worth(hierarchy: &CgroupHierarchy) -> usize {
    match hierarchy.ability {
        Ability::Available => 1 + hierarchy.controllers.len(),
        Ability::Unavailable(_) => 0,
    }
}

/// Where a group could be made, best first.
///
/// Version 2: a group with processes gives its children no controllers (cgroups(7), "no internal processes"), and the
/// caller's own has at least the caller; so the groups above it come into question too. A process can be put only
/// below a group that the caller may write to and that holds both: not beside it.
///
/// Version 1 knows neither rule; there an administrator gives a user a group below the one that everybody is in.
fn parents(place: &Place) -> Vec<PathBuf> {
    let Some(own) = &place.own else { return vec![place.mount_point.clone()] };
    match place.mounted {
        Mounted::V2 => own
            .ancestors()
            .take_while(|ancestor| ancestor.starts_with(&place.mount_point))
            .map(Path::to_path_buf)
            .collect(),
        Mounted::V1(_) => std::iter::once(own.clone()).chain(given_below(own)).collect(),
    }
}

/// Groups below `own` that belong to the caller, who is not root.
fn given_below(own: &Path) -> Vec<PathBuf> {
    let caller = rustix::process::geteuid();
    if caller.is_root() {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir(own) else { return Vec::new() };
    let mut given: Vec<PathBuf> = entries
        .flatten()
        .take(MOST_CHILDREN)
        .filter(|entry| entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == caller.as_raw()))
        .map(|entry| entry.path())
        .collect();
    given.sort();
    given
}

/// Makes a group below `parent`, looks at what it has, and removes it.
fn attempt(version: CgroupVersion, parent: &Path, wanted: &BTreeSet<Controller>) -> CgroupHierarchy {
    let tried = Trial::make(version, parent).and_then(|trial| {
        trial.joinable(version, parent)?;
        Ok(trial.contents(version, wanted))
    });
    let (ability, controllers, files) = match tried {
        Ok((controllers, files)) if !controllers.is_empty() => (Ability::Available, controllers, files),
        Ok(_) => {
            let why = "its groups have no controller that is needed (cgroup.subtree_control)";
            (Ability::Unavailable(why.into()), wanted.clone(), BTreeSet::new())
        }
        Err(why) => (Ability::Unavailable(why), wanted.clone(), BTreeSet::new()),
    };
    CgroupHierarchy { version, parent: parent.to_path_buf(), ability, controllers, files }
}

/// A group that goes with this value, and with this process.
struct Trial {
    path: PathBuf,
    _keeper: Keeper,
}

impl Trial {
    fn make(version: CgroupVersion, parent: &Path) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // What is mounted over a hierarchy is no place to make directories in.
        let there = rustix::fs::statfs(parent).map_err(|errno| failed("statfs", errno.raw_os_error()))?;
        if there.f_type != place::magic(version) {
            return Err("something else is mounted over it".into());
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // Another pid namespace may share the hierarchy and have the same number.
        let namespace = fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino());
        let path = parent.join(format!("palisade-trial-{}-{count}-{namespace}", std::process::id()));
        let keeper = Keeper::start(&path).map_err(|errno| failed("clone", errno.raw_os_error()))?;
        fs::DirBuilder::new().mode(0o755).create(&path).map_err(|error| io("mkdir", &error))?;
        Ok(Self { path, _keeper: keeper })
    }

    /// Whether a process could be put in: into the group, and in version 2 out of the caller's, which takes the right
    /// to write to the group that holds both (cgroups(7), "delegation containment rules").
    fn joinable(&self, version: CgroupVersion, parent: &Path) -> Result<(), String> {
        let open = |group: &Path| {
            let file = group.join("cgroup.procs");
            OpenOptions::new().write(true).open(file).map_err(|error| io("open cgroup.procs", &error))
        };
        open(&self.path)?;
        if version == CgroupVersion::V2 {
            open(parent)?;
            let kind = fs::read_to_string(self.path.join("cgroup.type")).unwrap_or_default();
            if kind.trim() != "domain" {
                return Err(format!("its groups are of type `{}`", kind.trim()));
            }
        }
        Ok(())
    }

    fn contents(
        &self,
        version: CgroupVersion,
        wanted: &BTreeSet<Controller>,
    ) -> (BTreeSet<Controller>, BTreeSet<String>) {
        let has = |file: &str| self.path.join(file).exists();
        let controllers = wanted.iter().copied().filter(|one| has(one.file(version))).collect();
        let files =
            OPTIONAL_CGROUP_FILES.iter().filter(|file| has(file)).map(|file| (*file).to_owned()).collect();
        (controllers, files)
    }
}

fn io(call: &str, error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| format!("{call}: {error}"), |errno| failed(call, errno))
}

fn failed(call: &str, errno: i32) -> String {
    format!("{call}: {}", Errno(errno))
}

#[cfg(test)]
mod tests;

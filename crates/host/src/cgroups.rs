//! Which control groups the caller can make for a sandbox, found out by making one in each hierarchy.
//!
//! Nothing that exists is changed: no controller is enabled, nothing is moved. A group that is made is removed at once.

mod place;
mod trial;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use palisade_plan::facts::{Ability, CgroupHierarchy, OPTIONAL_CGROUP_FILES};
use palisade_plan::step::{CgroupVersion, Controller};

use place::{Mounted, Place};

use crate::procfs;

/// How many groups below the caller's own are looked at for one that is the caller's.
const MOST_CHILDREN: usize = 256;

/// The hierarchies that have any of `needed`, version 2 first.
pub(crate) fn hierarchies(needed: &BTreeSet<Controller>) -> Vec<CgroupHierarchy> {
    if needed.is_empty() {
        return Vec::new();
    }
    let places = place::places(&procfs::text("/proc/self/mountinfo"), &procfs::text("/proc/self/cgroup"));
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
    let listed = procfs::text(mount_point.join("cgroup.controllers"));
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

/// Has a group made below `parent`, looked at and removed.
fn attempt(version: CgroupVersion, parent: &Path, wanted: &BTreeSet<Controller>) -> CgroupHierarchy {
    let controllers: Vec<Controller> = wanted.iter().copied().collect();
    let files = controllers.iter().map(|one| one.file(version)).chain(OPTIONAL_CGROUP_FILES.iter().copied());
    let (ability, found, files) = match trial::attempt(version, parent, files) {
        Ok(has) => {
            let found: BTreeSet<Controller> = pick(&controllers, &has);
            let rest = has.get(controllers.len()..).unwrap_or_default();
            let files = pick(OPTIONAL_CGROUP_FILES, rest).into_iter().map(str::to_owned).collect();
            if found.is_empty() {
                let why = "its groups have no controller that is needed (cgroup.subtree_control)";
                (Ability::Unavailable(why.into()), wanted.clone(), BTreeSet::new())
            } else {
                (Ability::Available, found, files)
            }
        }
        Err(why) => (Ability::Unavailable(why), wanted.clone(), BTreeSet::new()),
    };
    CgroupHierarchy { version, parent: parent.to_path_buf(), ability, controllers: found, files }
}

/// Those of `all` whose place in `has` says so.
fn pick<T: Copy + Ord>(all: &[T], has: &[bool]) -> BTreeSet<T> {
    all.iter().zip(has).filter(|(_, has)| **has).map(|(one, _)| *one).collect()
}

#[cfg(test)]
mod tests;

//! Control groups, by what they limit.

use palisade_plan::facts::{CgroupHierarchy, HostFacts};
use palisade_plan::needs_pids_group;
use palisade_plan::step::{CgroupVersion, Controller};

use super::{Finding, Status};
use crate::observe::Observed;

/// A limit, the clause that asks for it, and what it comes to without a group.
const LIMITS: [(&str, Controller, &str); 4] = [
    (
        "cgroups/memory",
        Controller::Memory,
        "resources.memory: per process only (RLIMIT_AS); refused unless `on_unavailable: degrade`",
    ),
    (
        "cgroups/pids",
        Controller::Pids,
        "resources.processes: counts the caller's processes outside too; refused unless `on_unavailable: degrade`",
    ),
    ("cgroups/cpu", Controller::Cpu, "resources.cpus: not limited; refused unless `on_unavailable: degrade`"),
    (
        "cgroups/cpu-time",
        Controller::CpuAccounting,
        "resources.cpu_time: per process only (RLIMIT_CPU); refused unless `on_unavailable: degrade`",
    ),
];

pub(super) fn findings(facts: &HostFacts, observed: &Observed) -> Vec<Finding> {
    let limits = LIMITS
        .iter()
        .map(|(id, controller, consequence)| limit(id, *controller, consequence, facts, observed));
    [version(facts), delegation(facts, observed)].into_iter().chain(limits).collect()
}

fn is_usable(hierarchy: &&CgroupHierarchy) -> bool {
    hierarchy.ability.reason().is_none()
}

fn version(facts: &HostFacts) -> Finding {
    let id = "cgroups/version";
    let has = |version| facts.cgroups.iter().any(|hierarchy| hierarchy.version == version);
    match (has(CgroupVersion::V2), has(CgroupVersion::V1)) {
        (true, false) => Finding::available(id, "version 2"),
        (true, true) => Finding::available(id, "version 2, and version 1 for what that does not limit"),
        (false, true) => Finding::available(id, "version 1"),
        (false, false) => Finding::new(id, Status::Absent, "no cgroup file system is mounted")
            .means("no limit of a whole sandbox")
            .mended_by(Some("mount -t cgroup2 cgroup2 /sys/fs/cgroup")),
    }
}

/// Where the caller's groups would be, and why they cannot be there.
fn place(hierarchy: &CgroupHierarchy) -> String {
    let place = format!("{} {}", hierarchy.version.word(), hierarchy.parent.display());
    match hierarchy.ability.reason() {
        None => place,
        Some(reason) => format!("{place}: {reason}"),
    }
}

/// Whether the caller may make groups.
fn delegation(facts: &HostFacts, observed: &Observed) -> Finding {
    let id = "cgroups/delegation";
    let usable = facts.cgroups.iter().filter(is_usable).count();
    let status = match facts.cgroups.len() {
        0 => Status::Absent,
        all if all == usable => Status::Available,
        _ if usable > 0 => Status::Partial,
        _ => Status::Unavailable,
    };
    let value = match status {
        Status::Absent => "no hierarchy".to_owned(),
        _ => facts.cgroups.iter().map(place).collect::<Vec<_>>().join("; "),
    };
    // What does without is told of each limit.
    let what = if usable > 0 {
        "some limits of a whole sandbox cannot be had"
    } else {
        "no limit of a whole sandbox"
    };
    let remedy = facts.cgroups.iter().find_map(|hierarchy| opened(hierarchy, facts, observed));
    Finding::new(id, status, value).means(what).mended_by(remedy)
}

/// The command that gives the caller a group in a hierarchy that refuses one, or its groups what they need.
fn opened(closed: &CgroupHierarchy, facts: &HostFacts, observed: &Observed) -> Option<String> {
    let reason = closed.ability.reason()?;
    let parent = closed.parent.display();
    let user = facts.caller.uid;
    match closed.version {
        _ if reason.contains("EROFS") => Some(format!("mount -o remount,rw {parent}")),
        CgroupVersion::V2 if !facts.caller.privileged && observed.systemd => {
            Some("systemd-run --user --scope palisade run ...".into())
        }
        CgroupVersion::V2 if reason.contains("subtree_control") => {
            Some(format!("echo '+memory +pids +cpu' > {parent}/cgroup.subtree_control"))
        }
        // Where an administrator gives a user a group there, it is found.
        CgroupVersion::V1 if !facts.caller.privileged => {
            let group = closed.parent.join(format!("user-{user}"));
            Some(format!("install -d -o {user} {}", group.display()))
        }
        CgroupVersion::V1 | CgroupVersion::V2 => None,
    }
}

fn limit(
    id: &'static str,
    controller: Controller,
    consequence: &str,
    facts: &HostFacts,
    observed: &Observed,
) -> Finding {
    let mut with = facts.cgroups.iter().filter(|hierarchy| hierarchy.controllers.contains(&controller));
    let name = controller.v1_name();
    let finding = match with.clone().find(is_usable) {
        Some(hierarchy) => return Finding::available(id, format!("{} {name}", hierarchy.version.word())),
        None if observed.disabled_controllers.contains(name) => {
            Finding::new(id, Status::Absent, format!("this kernel was started with cgroup_disable={name}"))
                .mended_by(Some(format!("boot without cgroup_disable={name}")))
        }
        None => {
            let remedy = with.clone().find_map(|hierarchy| opened(hierarchy, facts, observed));
            match with.next() {
                Some(hierarchy) => Finding::new(id, Status::Unavailable, place(hierarchy)).mended_by(remedy),
                None => Finding::new(id, Status::Absent, format!("no hierarchy has {name}")),
            }
        }
    };
    match controller {
        // RLIMIT_NPROC does as much.
        Controller::Pids if !needs_pids_group(&facts.caller, &facts.kernel) => {
            Finding { remedy: None, ..finding }
        }
        _ => finding.means(consequence),
    }
}

//! Mounts: what a file system of a sandbox is built of.

use palisade_plan::facts::HostFacts;

use super::{Finding, NOTHING_RUNS, Status, able};
use crate::observe::{FileSystem, Observed};

pub(super) fn findings(facts: &HostFacts, observed: &Observed) -> Vec<Finding> {
    let overlay = able("mounts/overlay", &facts.overlay, "in a user namespace, upon a tmpfs");
    // A user namespace loads no module of a file system.
    let module = (overlay.value.contains("ENODEV")).then_some("modprobe overlay");
    let procfs = able("mounts/procfs", &facts.procfs, "in a pid namespace");
    let masked =
        procfs.value.contains("EPERM").then_some("docker run --security-opt systempaths=unconfined ...");
    vec![
        able("mounts/attributes", &facts.mount_attributes, "mount_setattr(2)").means(NOTHING_RUNS),
        procfs.means(NOTHING_RUNS).mended_by(masked),
        overlay.means("`workspace: overlay` is refused; `workspace: copy` does the same").mended_by(module),
        idmap("mounts/idmap-tmpfs", &observed.tmpfs, "a read-write directory on a tmpfs"),
        idmap("mounts/idmap-root", &observed.root, "a read-write directory on the file system of /"),
        idmap(
            "mounts/idmap-directory",
            &observed.directory,
            "a read-write directory on the file system of this directory",
        ),
    ]
}

fn idmap(id: &'static str, file_system: &FileSystem, what: &str) -> Finding {
    let kind = &file_system.kind;
    match &file_system.idmap {
        None => {
            Finding::new(id, Status::Unavailable, format!("{kind}; an ordinary user's own ids need none"))
        }
        Some(ability) => {
            let mut finding = able(id, ability, kind);
            if finding.status != Status::Available {
                finding.value = format!("{kind}: {}", finding.value);
            }
            finding.means(format!("{what} is refused to root's workloads; run as its owner"))
        }
    }
}

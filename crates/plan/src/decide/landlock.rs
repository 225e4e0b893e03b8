//! Landlock, as a second layer: the same rules again, by what the files are and not by where they are mounted.

use std::path::Path;

use palisade_policy::{Access, Clause};

use super::Draft;
use super::layout::Layout;
use crate::facts::HostFacts;
use crate::step::{LandlockAccess, LandlockRule, Step};

const BASE: Clause = Clause::new("filesystem.base");

/// The highest ABI that this version knows the rights of; a newer kernel accepts the older ones. What came after file
/// rights are rights over UDP ports (ABI 10), which a sandbox without routes has no use for.
const KNOWN_ABI: u32 = 9;

/// What the ruleset does not restrict before an ABI (landlock(7)).
const SINCE: [(u32, &str); 4] = [
    (2, "moving files between directories"),
    (3, "truncation"),
    (5, "ioctl on devices"),
    (6, "signals and abstract sockets"),
];

/// Plans the ruleset. Without Landlock there is none, which downgrades nothing, since the mounts are the first layer; but
/// it is told.
pub(super) fn landlock(facts: &HostFacts, layout: &Layout, draft: &mut Draft) {
    let abi = facts.landlock_abi.min(KNOWN_ABI);
    if abi == 0 {
        draft.note(
            &BASE,
            "the second layer is absent, since this kernel has no Landlock: the mounts stand alone",
        );
        return;
    }
    let without: Vec<&str> = SINCE.iter().filter(|(since, _)| abi < *since).map(|(_, what)| *what).collect();
    if !without.is_empty() {
        let what = without.join(", ");
        draft.note(&BASE, format!("the second layer, of Landlock ABI {abi}, does not restrict {what}"));
    }
    let rule = |path: &Path, access| LandlockRule { path: path.to_path_buf(), access };
    let mut rules = vec![rule(Path::new("/"), LandlockAccess::Read)];
    for (path, place) in layout.mounts() {
        // What is below /dev is a device or a terminal, and not a place for files.
        let access = match (place.access, path.starts_with("/dev") && path != Path::new("/dev/shm")) {
            (Access::ReadWrite, false) => LandlockAccess::Write,
            (Access::ReadWrite, true) if path == Path::new("/dev/pts") || path == Path::new("/dev/tty") => {
                LandlockAccess::Terminal
            }
            (Access::ReadWrite, true) => LandlockAccess::Device,
            (Access::ReadOnly | Access::Hidden, _) => continue,
        };
        rules.push(rule(path, access));
    }
    draft.step(&BASE, Step::RestrictLandlock { abi, rules });
}

//! Keeps the names on the way to a rule's path what they are.
//!
//! A rule is about the file that is reached, but the kernel finds mounts by name. Inside something writable the workload
//! could move a directory above the path away and make another under the old name, put another file in the place of a
//! link, or make what did not exist at the start. A mount point can be neither renamed nor removed (EBUSY, rename(2)),
//! so each name on the way becomes one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use palisade_policy::{Access, Clause};

use super::super::Draft;
use super::super::layout::{Layout, Place};
use crate::facts::{Kind, Missing};
use crate::plan::Status;
use crate::step::{MountAttributes, Step};

/// Pins what leads to `path`: the links, and the directories between it and the writable mount that it lies in.
pub(super) fn pin_way(
    clause: &Clause,
    path: &Path,
    links: &BTreeSet<PathBuf>,
    layout: &mut Layout,
    draft: &mut Draft,
) {
    pin_links(clause, links, layout, draft);
    pin_above(clause, path, layout, draft);
}

/// Pins links, and what leads to each.
pub(super) fn pin_links(clause: &Clause, links: &BTreeSet<PathBuf>, layout: &mut Layout, draft: &mut Draft) {
    for link in links {
        pin_above(clause, link, layout, draft);
        pin(clause, link, layout, draft);
    }
}

fn pin_above(clause: &Clause, path: &Path, layout: &mut Layout, draft: &mut Draft) {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    for directory in above {
        pin(clause, directory, layout, draft);
    }
}

/// A mount point is pinned already, and on a read-only mount nothing moves.
pub(super) fn pin(clause: &Clause, path: &Path, layout: &mut Layout, draft: &mut Draft) {
    let place = layout.enclosing(path);
    if !(place.host && place.access == Access::ReadWrite) || layout.is_mount(path) || !layout.pin(path) {
        return;
    }
    let noexec = layout.noexec.contains(path);
    let attributes = MountAttributes { noexec, ..MountAttributes::default() };
    draft.step(clause, Step::PinPath { path: path.to_path_buf(), attributes });
    if noexec {
        layout.mount(path, Place { noexec, ..place });
    }
}

/// Keeps anything from appearing at a path at which nothing stands: it is made, and covered.
pub(super) fn keep_missing(
    clause: &Clause,
    requested: String,
    name: &Path,
    missing: &Missing,
    layout: &mut Layout,
    draft: &mut Draft,
) {
    let path = place_of(name, missing);
    let place = layout.enclosing(&path);
    if place.access == Access::Hidden {
        draft.enforced(clause, requested, "inside a hidden path");
        return;
    }
    if place.access == Access::ReadOnly {
        let (mechanism, notes) = match place.host {
            true => (
                "missing, in a read-only mount",
                vec!["what another program makes there during the run is shown".to_owned()],
            ),
            false => ("not part of the new root", Vec::new()),
        };
        draft.covered(clause, requested, mechanism, Status::Enforced, notes);
        return;
    }
    if !place.host {
        let root = layout.enclosing_mount(&path).to_path_buf();
        cover(clause, &root, &path, false, layout, draft);
        draft.enforced(clause, requested, "mount namespace: an empty mount at the missing path");
        return;
    }
    let Some(reached) = &missing.reached else {
        draft.downgraded(
            clause,
            requested,
            "none",
            format!("{}, so that nothing can be put in its place", missing.reason),
        );
        return;
    };
    if !place.apart
        && reached.kind == Kind::Directory
        && let Some(reason) = reached.writable.reason()
    {
        draft.downgraded(
            clause,
            requested,
            "none",
            format!("nothing can be put in its place: {}: {reason}", reached.path.display()),
        );
        return;
    }
    pin_way(clause, &reached.path, &missing.links, layout, draft);
    pin(clause, &reached.path, layout, draft);
    let mut notes = Vec::new();
    if reached.kind == Kind::Directory {
        cover(clause, &reached.path, &path, !place.apart, layout, draft);
        notes.push("an empty file stands there during the run".to_owned());
    }
    draft.covered(
        clause,
        requested,
        "mount namespace: an empty mount at the missing path",
        Status::Enforced,
        notes,
    );
}

/// The place that a missing path would have, without symbolic links as far as that can be told.
pub(super) fn place_of(name: &Path, missing: &Missing) -> PathBuf {
    match &missing.reached {
        Some(reached) => reached.place_at(&reached.path),
        None => name.to_path_buf(),
    }
}

/// Makes what is missing below `from`, and covers it.
fn cover(clause: &Clause, from: &Path, path: &Path, host: bool, layout: &mut Layout, draft: &mut Draft) {
    let mut missing: Vec<&Path> = path.ancestors().skip(1).take_while(|above| *above != from).collect();
    missing.reverse();
    for directory in missing {
        if layout.pin(directory) {
            let path = directory.to_path_buf();
            draft.step(clause, Step::MakePlaceholder { path: path.clone(), directory: true, host });
            draft.step(clause, Step::PinPath { path, attributes: MountAttributes::default() });
        }
    }
    draft.step(clause, Step::MakePlaceholder { path: path.to_path_buf(), directory: false, host });
    draft.step(clause, Step::MaskPath { path: path.to_path_buf() });
    layout.mount(path, Place { host: true, kind: Kind::File, ..Place::private(Access::Hidden, true) });
}

//! The clause `no_execute`: noexec mounts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use palisade_policy::{Access, ResolvedEntry};

use super::super::Draft;
use super::super::layout::{Layout, Place};
use super::protect::{keep_missing, pin_way, place_of};
use crate::facts::{HostFacts, PathFact};
use crate::plan::Status;
use crate::step::{MountAttributes, Step};

/// What a noexec mount does not stop (mmap(2), memfd_create(2), ld.so(8)).
const NOTES: &[&str] = &[
    "execve(2) of a file there and mapping it executable fail, so that `ld.so FILE` fails too",
    "an interpreter can still read a script there and do what it says",
    "a program can be copied to where execution is allowed, or into a memfd_create(2) file",
];

/// The places below which nothing may be executed, as far as they exist.
pub(super) fn places(entries: &[ResolvedEntry], facts: &HostFacts) -> BTreeSet<PathBuf> {
    entries.iter().filter_map(|entry| place(entry, facts)).collect()
}

/// The other places at which the host shows what these entries are about, as far as something is shown there.
pub(super) fn aliases<'a>(
    entries: &'a [ResolvedEntry],
    facts: &HostFacts,
    shown: impl Fn(&Path) -> bool,
) -> Vec<(&'a ResolvedEntry, PathBuf)> {
    let places = |entry: &'a ResolvedEntry| match facts.path(&entry.path) {
        Some(PathFact::Present(present)) => {
            present.aliases.keys().map(|place| (entry, place.clone())).collect()
        }
        Some(PathFact::Missing(_)) | None => Vec::new(),
    };
    entries.iter().flat_map(places).filter(|(_, place)| shown(place)).collect()
}

/// Forbids execution at the other places too.
pub(super) fn forbid_aliases(
    places: &[(&ResolvedEntry, PathBuf)],
    facts: &HostFacts,
    layout: &mut Layout,
    draft: &mut Draft,
) {
    for (entry, place) in places {
        let requested = format!("no_execute {}, the same files as {}", place.display(), entry.path.display());
        forbid_at(entry, place, requested, facts, layout, draft);
    }
}

/// The sandbox's own file systems stand where the host's would be.
fn place(entry: &ResolvedEntry, facts: &HostFacts) -> Option<PathBuf> {
    if ["/tmp", "/dev/shm"].iter().any(|own| entry.path == Path::new(own)) {
        return Some(entry.path.clone());
    }
    match facts.path(&entry.path) {
        Some(PathFact::Present(present)) => Some(present.canonical.clone()),
        Some(PathFact::Missing(_)) | None => None,
    }
}

/// Forbids execution below each entry: mounts that rules made there have inherited it already.
pub(super) fn forbid(entries: &[ResolvedEntry], facts: &HostFacts, layout: &mut Layout, draft: &mut Draft) {
    for entry in entries {
        let requested = format!("no_execute {}", entry.path.display());
        match place(entry, facts) {
            Some(path) => forbid_at(entry, &path, requested, facts, layout, draft),
            None => missing(entry, requested, facts, layout, draft),
        }
    }
}

fn forbid_at(
    entry: &ResolvedEntry,
    path: &Path,
    requested: String,
    facts: &HostFacts,
    layout: &mut Layout,
    draft: &mut Draft,
) {
    let place = layout.enclosing(path);
    if !place.noexec {
        if !place.host {
            draft.enforced(&entry.clause, requested, "not part of the new root");
            return;
        }
        if let Some(PathFact::Present(present)) = facts.path(&entry.path) {
            pin_way(&entry.clause, path, &present.links, layout, draft);
        }
        let attributes = MountAttributes { noexec: true, ..MountAttributes::default() };
        draft.step(&entry.clause, Step::PinPath { path: path.to_path_buf(), attributes });
        layout.mount(path, Place { noexec: true, ..place });
    }
    let notes = NOTES.iter().map(|note| (*note).to_owned()).collect();
    draft.covered(&entry.clause, requested, "noexec mount", Status::Enforced, notes);
}

fn missing(
    entry: &ResolvedEntry,
    requested: String,
    facts: &HostFacts,
    layout: &mut Layout,
    draft: &mut Draft,
) {
    let name = &entry.path;
    match facts.path(name) {
        Some(PathFact::Missing(missing)) if entry.optional => {
            // What the workload makes there could be executed.
            if layout.enclosing(&place_of(name, missing)).access == Access::ReadWrite {
                keep_missing(&entry.clause, requested, name, missing, layout, draft);
            } else {
                draft.enforced(&entry.clause, requested, "optional and missing");
            }
        }
        Some(PathFact::Missing(missing)) => draft.refuse(
            &entry.clause,
            format!("{}: {}", name.display(), missing.reason),
            Some("create it, or say `{path: ..., optional: true}`"),
        ),
        Some(PathFact::Present(_)) | None => {
            draft.refuse(&entry.clause, format!("{}: the facts do not cover it", name.display()), None);
        }
    }
}

//! Workspaces whose changes are kept apart from the real directories: overlays and copies.

use std::path::{Path, PathBuf};

use palisade_policy::{Access, ByteSize, Clause, Filesystem, Workspace};

use super::super::Draft;
use super::super::layout::Layout;
use super::BYTES_PER_FILE;
use super::rules::Rule;
use crate::facts::{HostFacts, Kind, Present};
use crate::plan::Status;
use crate::step::{IdMap, MountAttributes, Step};

const WORKSPACE: Clause = Clause::new("filesystem.workspace");
const DISK: Clause = Clause::new("filesystem.disk");

const USE_A_COPY: &str = "`workspace: copy` works on a copy instead";

/// The workspace of a plan that is being decided.
pub(super) struct Apart<'a> {
    kind: Workspace,
    size: ByteSize,
    privileged: bool,
    /// What every rule is about, and what it says.
    rules: &'a [(PathBuf, Access)],
    parts: u32,
}

impl<'a> Apart<'a> {
    /// Opens the private file system, if the policy has one.
    pub(super) fn open(
        filesystem: &Filesystem,
        facts: &HostFacts,
        rules: &'a [(PathBuf, Access)],
        draft: &mut Draft,
    ) -> Self {
        let (kind, size) = (filesystem.workspace, filesystem.disk);
        if kind == Workspace::Overlay
            && let Some(reason) = facts.reason_inside(&facts.overlay)
        {
            draft.refuse(
                &WORKSPACE,
                format!("an overlay cannot be mounted in a user namespace: {reason}"),
                Some(USE_A_COPY),
            );
        }
        if kind != Workspace::Direct {
            let inodes = (size.bytes() / BYTES_PER_FILE).max(1);
            draft.step(&DISK, Step::MountWorkspace { size, inodes });
        }
        Self { kind, size, privileged: facts.caller.privileged, rules, parts: 0 }
    }

    /// Whether changes do not go to the real directories.
    pub(super) fn is_apart(&self) -> bool {
        self.kind != Workspace::Direct
    }

    /// Shows a directory through the workspace, and says by which means.
    pub(super) fn show(
        &mut self,
        rule: &Rule<'_>,
        present: &Present,
        attributes: MountAttributes,
        idmap: Option<IdMap>,
        layout: &Layout,
        draft: &mut Draft,
    ) -> &'static str {
        let clause = &rule.entry.clause;
        let path = &present.canonical;
        if present.kind != Kind::Directory {
            draft.refuse(
                clause,
                format!("{} is no directory: its changes cannot be kept apart", path.display()),
                Some("name the directory that it lies in"),
            );
            return "none";
        }
        if self.kind == Workspace::Copy {
            let below = |other: &&(PathBuf, Access)| other.0.starts_with(path) && other.0 != *path;
            let step = Step::MountCopy {
                source: path.clone(),
                path: path.clone(),
                number: self.part(),
                attributes,
                idmap,
                empty: self.rules.iter().filter(below).map(|(path, _)| path.clone()).collect(),
            };
            draft.step(clause, step);
            return "mount namespace, a private copy";
        }
        self.overlay(clause, path, attributes, idmap, draft);
        // An overlay shows one file system. What else is mounted there gets one of its own.
        let own = |mount: &&PathBuf| self.writable(mount) && !layout.is_mount(mount);
        let mounts: Vec<(&PathBuf, Kind)> =
            present.mounts.iter().map(|(path, kind)| (path, *kind)).filter(|(path, _)| own(path)).collect();
        for (mount, kind) in mounts {
            if !self.privileged || kind != Kind::Directory {
                draft.refuse(
                    clause,
                    format!("{} is mounted below it, which an overlay cannot show", mount.display()),
                    Some(USE_A_COPY),
                );
                continue;
            }
            self.overlay(clause, mount, attributes, idmap, draft);
        }
        "mount namespace, a private overlay"
    }

    fn overlay(
        &mut self,
        clause: &Clause,
        path: &Path,
        attributes: MountAttributes,
        idmap: Option<IdMap>,
        draft: &mut Draft,
    ) {
        let (source, path) = (path.to_path_buf(), path.to_path_buf());
        let step = Step::MountOverlay { source, path, number: self.part(), attributes, idmap };
        draft.step(clause, step);
    }

    fn part(&mut self) -> u32 {
        self.parts += 1;
        self.parts - 1
    }

    /// Whether the most specific rule lets the workload write there.
    fn writable(&self, path: &Path) -> bool {
        let containing = self.rules.iter().filter(|(rule, _)| path.starts_with(rule));
        let decisive =
            containing.max_by_key(|(rule, access)| (rule.components().count(), std::cmp::Reverse(*access)));
        decisive.is_some_and(|(_, access)| *access == Access::ReadWrite)
    }

    /// Takes the private file system out of the new root.
    pub(super) fn close(self, draft: &mut Draft) {
        if !self.is_apart() {
            return;
        }
        draft.step(&WORKSPACE, Step::CloseWorkspace {});
        let mechanism = match self.kind {
            Workspace::Overlay => "overlayfs over the real directories",
            Workspace::Copy | Workspace::Direct => "a copy of the real directories, made at the start",
        };
        let mut notes = vec!["changes end with the sandbox, unless they are exported or applied".to_owned()];
        if self.kind == Workspace::Copy {
            notes.push(
                "sockets, devices, extended attributes and hard links between files are not copied"
                    .to_owned(),
            );
        }
        draft.covered(&WORKSPACE, self.kind.to_string(), mechanism, Status::Enforced, notes);
        draft.enforced(
            &DISK,
            self.size.to_string(),
            "one private tmpfs for all changes, bounded in bytes and files",
        );
    }
}

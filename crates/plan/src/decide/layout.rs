//! What stands where in the new root while it is being planned.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::iter::successors;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use palisade_policy::{Access, Clause};

use super::Draft;
use crate::facts::Kind;
use crate::step::Step;

/// The new root, as far as it is planned.
pub(super) struct Layout {
    /// The directory in which the workload starts.
    pub(super) directory: PathBuf,
    // By the bytes of absolute paths without `.`, `..` or doubled slashes: paths compare component by component, which takes
    // ten times as long. A directory stands before what is in it either way.
    mounts: BTreeMap<OsString, Place>,
    made: BTreeSet<OsString>,
    /// What of that is a link.
    links: BTreeSet<OsString>,
    pinned: BTreeSet<OsString>,
    /// Where nothing may be executed, whatever is mounted there.
    pub(super) noexec: BTreeSet<PathBuf>,
}

/// What a mount of the new root is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// What the workload may do there.
    pub(super) access: Access,
    /// Whether nothing there may be executed.
    pub(super) noexec: bool,
    /// Whether it shows a part of the host's tree: then directories exist there by themselves, and may not be made.
    pub(super) host: bool,
    /// Whether what is changed there stays in the sandbox.
    pub(super) apart: bool,
    /// Whether it is a directory.
    pub(super) kind: Kind,
    /// The owner whose files appear as the workload's own, for a privileged caller.
    pub(super) owner: Option<(u32, u32)>,
}

impl Place {
    /// A file system of the sandbox's own.
    pub(super) fn private(access: Access, noexec: bool) -> Self {
        Self { access, noexec, host: false, apart: false, kind: Kind::Directory, owner: None }
    }
}

impl Layout {
    pub(super) fn new() -> Self {
        // The root itself is a tmpfs that is written while it is built and read-only afterwards.
        let root = (OsString::from("/"), Place::private(Access::ReadOnly, false));
        Self {
            directory: PathBuf::from("/"),
            mounts: BTreeMap::from([root]),
            made: BTreeSet::new(),
            links: BTreeSet::new(),
            pinned: BTreeSet::new(),
            noexec: BTreeSet::new(),
        }
    }

    /// The mount that `path` lies on.
    pub(super) fn enclosing(&self, path: &Path) -> Place {
        ancestors(path)
            .find_map(|ancestor| self.mounts.get(ancestor).copied())
            .unwrap_or_else(|| Place::private(Access::ReadOnly, false))
    }

    /// Where the mount that `path` lies on begins.
    pub(super) fn enclosing_mount<'a>(&self, path: &'a Path) -> &'a Path {
        ancestors(path).find(|ancestor| self.mounts.contains_key(*ancestor)).unwrap_or("/".as_ref()).as_ref()
    }

    /// Notes that `path` is mounted over itself; whether that is new.
    pub(super) fn pin(&mut self, path: &Path) -> bool {
        self.pinned.insert(path.into())
    }

    /// Whether something is mounted exactly here.
    pub(super) fn is_mount(&self, path: &Path) -> bool {
        self.mounts.contains_key(path.as_os_str())
    }

    /// Notes that `place` is mounted at `path`, and covers what was pinned there.
    pub(super) fn mount(&mut self, path: &Path, place: Place) {
        if !self.pinned.is_empty() {
            self.pinned.retain(|pinned| !Path::new(pinned).starts_with(path));
        }
        self.mounts.insert(path.into(), place);
    }

    /// All mounts, parents before children.
    pub(super) fn mounts(&self) -> impl Iterator<Item = (&Path, Place)> {
        self.mounts.iter().map(|(path, place)| (Path::new(path), *place))
    }

    /// Makes every missing directory above `path`.
    pub(super) fn make_parents(&mut self, draft: &mut Draft, clause: &Clause, path: &Path) {
        // What is above a directory that was made was made before it.
        let missing = ancestors(path).skip(1).take_while(|path| !self.made.contains(*path) && *path != "/");
        let missing: Vec<&OsStr> = missing.collect();
        for ancestor in missing.into_iter().rev() {
            self.make_directory(draft, clause, ancestor.as_ref());
        }
    }

    /// Makes one directory, unless it exists or lies in a part of the host's tree.
    pub(super) fn make_directory(&mut self, draft: &mut Draft, clause: &Clause, path: &Path) {
        if !self.is_mount(path) && !self.enclosing(path).host && self.made.insert(path.into()) {
            draft.step(clause, Step::MakeDirectory { path: path.to_path_buf(), mode: 0o755 });
        }
    }

    /// Makes the point at which something of this kind can be mounted, and the directories above it.
    pub(super) fn make_mount_point(&mut self, draft: &mut Draft, clause: &Clause, path: &Path, kind: Kind) {
        self.make_parents(draft, clause, path);
        if kind == Kind::Directory {
            self.make_directory(draft, clause, path);
        } else if !self.is_mount(path) && !self.enclosing(path).host && self.made.insert(path.into()) {
            draft.step(
                clause,
                Step::MakeFile { path: path.to_path_buf(), mode: 0o644, content: String::new() },
            );
        }
    }

    /// Makes a link, unless something stands there already, or a link above leads there.
    pub(super) fn make_link(&mut self, draft: &mut Draft, clause: &Clause, path: &Path, target: &Path) {
        if ancestors(path).skip(1).any(|above| self.links.contains(above)) {
            return;
        }
        self.make_parents(draft, clause, path);
        if !self.is_mount(path) && !self.enclosing(path).host && self.made.insert(path.into()) {
            self.links.insert(path.into());
            draft.step(clause, Step::MakeLink { path: path.to_path_buf(), target: target.to_path_buf() });
        }
    }
}

/// An absolute path without `.`, `..` or doubled slashes, and every directory above it: as [`Path::ancestors`], which takes ten
/// times as long to look for those.
fn ancestors(path: &Path) -> impl Iterator<Item = &OsStr> {
    successors(Some(path.as_os_str().as_bytes()), |path| {
        let slash = path.iter().rposition(|byte| *byte == b'/')?;
        match (slash, path.len()) {
            (0, 1) => None,
            (0, _) => Some(&path[..1]),
            _ => Some(&path[..slash]),
        }
    })
    .map(OsStr::from_bytes)
}

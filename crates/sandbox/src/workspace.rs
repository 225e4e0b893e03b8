//! What a workload changed in a workspace that is kept apart from the real directories.
//!
//! The supervisor holds two descriptors for each part of the workspace: the directory that took up the changes, which the
//! sandbox handed over before it ran anything, and the real one, opened when the run was prepared. Both trees are hostile:
//! the one was written by the workload, the other perhaps by an earlier one. Nothing here follows a link or trusts a name.

mod compare;
mod write;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade_plan::{Plan, Step};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::prepare::PrepareError;

/// The workspace of a run. Its changes are complete when the run has ended.
#[derive(Clone, Debug)]
pub struct Workspace(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    trees: Vec<Tree>,
    /// The directory that holds a numbered directory for each tree.
    upper: Option<OwnedFd>,
    /// What the sandbox made there for itself, by absolute path.
    made: Vec<PathBuf>,
}

/// One real directory.
#[derive(Debug)]
struct Tree {
    path: PathBuf,
    number: u32,
    real: OwnedFd,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Overlay,
    /// With what was not copied, since other rules cover it.
    Copy(Vec<PathBuf>),
}

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It was made.
    Added,
    /// Its content, kind or mode is another.
    Modified,
    /// It was removed, with everything below it.
    Deleted,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What became of it.
    pub kind: ChangeKind,
    /// The path, as it is on the host.
    pub path: PathBuf,
    tree: usize,
    what: What,
}

/// What stands at a changed path now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Nothing,
    Directory { mode: u32 },
    File { mode: u32 },
    Link,
}

/// Everything that was changed, and what cannot be taken out of the sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The changes, a directory before what is in it.
    pub list: Vec<Change>,
    /// What is left out, and why: sockets, devices, fifos, files with set-id bits, trees that are too deep.
    pub refused: Vec<(PathBuf, String)>,
}

/// What [`Workspace::apply`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// What was written back, or removed.
    pub changes: Changes,
}

/// Why changes could not be taken out.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The sandbox ended before it had a workspace.
    #[error("there is no workspace: the sandbox was not set up")]
    NotSetUp,
    /// The directory for an export has something in it.
    #[error("{} exists and is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// A system call failed.
    #[error("{call} {}: {error}", path.display())]
    Io {
        /// The call.
        call: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

fn failed(call: &'static str, path: &Path) -> impl FnOnce(Errno) -> WorkspaceError {
    move |errno| WorkspaceError::Io { call, path: path.to_path_buf(), error: errno.into() }
}

impl Workspace {
    /// The workspace of a plan, if it keeps changes apart.
    pub(crate) fn of(plan: &Plan) -> Result<Option<Self>, PrepareError> {
        let mut trees = Vec::new();
        let mut made = Vec::new();
        for planned in &plan.steps {
            let (source, number, kind) = match &planned.step {
                Step::MountOverlay { source, number, .. } => (source, *number, Kind::Overlay),
                Step::MountCopy { source, number, empty, .. } => (source, *number, Kind::Copy(empty.clone())),
                Step::MakePlaceholder { path, host: false, .. } => {
                    made.push(path.clone());
                    continue;
                }
                _ => continue,
            };
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let real = openat2(CWD, source, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
                .map_err(|errno| PrepareError::Workspace { path: source.clone(), errno })?;
            trees.push(Tree { path: source.clone(), number, real, kind });
        }
        Ok((!trees.is_empty()).then(|| Self(Arc::new(Parts { trees, upper: None, made }))))
    }

    /// Notes what the sandbox handed over.
    pub(crate) fn changes_are_in(&mut self, upper: OwnedFd) {
        if let Some(parts) = Arc::get_mut(&mut self.0) {
            parts.upper = Some(upper);
        }
    }

    /// The file system that takes up the changes, if it was handed over.
    pub(crate) fn file_system(&self) -> Option<BorrowedFd<'_>> {
        self.0.upper.as_ref().map(AsFd::as_fd)
    }

    /// What was changed, compared with the real directories as they are now.
    ///
    /// # Errors
    /// [`WorkspaceError::NotSetUp`], and what reading the workspace says.
    pub fn changes(&self) -> Result<Changes, WorkspaceError> {
        let mut changes = Changes::default();
        for (index, tree) in self.0.trees.iter().enumerate() {
            compare::tree(&self.0, index, &self.upper(tree)?, &mut changes)?;
        }
        changes.list.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(changes)
    }

    /// Writes what was added or modified below `directory/files`, by absolute path, and the list of all changes to
    /// `directory/changes`. The directory is made; it may exist if it is empty.
    ///
    /// # Errors
    /// As [`changes`](Self::changes), and what writing says.
    pub fn export(&self, directory: &Path) -> Result<Changes, WorkspaceError> {
        let changes = self.changes()?;
        write::export(self, &changes, directory)?;
        Ok(changes)
    }

    /// Makes the changes in the real directories: what was removed is removed, what was made or modified is written beside
    /// it and moved into place. Other changes that were made there meanwhile stay, unless they are to the same paths.
    ///
    /// # Errors
    /// As [`changes`](Self::changes), and what writing says; what was written before the failure stays.
    pub fn apply(&self) -> Result<Applied, WorkspaceError> {
        let changes = self.changes()?;
        write::apply(self, &changes)?;
        Ok(Applied { changes })
    }

    /// The directory that took up the changes of a tree.
    fn upper(&self, tree: &Tree) -> Result<OwnedFd, WorkspaceError> {
        let upper = self.0.upper.as_ref().ok_or(WorkspaceError::NotSetUp)?;
        let name = tree.number.to_string();
        compare::open_directory(upper.as_fd(), Path::new(&name)).map_err(failed("open", &tree.path))
    }
}

/// Two are equal if they are the same.
impl PartialEq for Workspace {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Workspace {}

/// One line: `A`, `M` or `D`, a blank, and the path. Whatever could end the line or act on a terminal is escaped.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.kind {
            ChangeKind::Added => 'A',
            ChangeKind::Modified => 'M',
            ChangeKind::Deleted => 'D',
        };
        write!(f, "{letter} {}", Escaped(&self.path))
    }
}

/// A path on one line: control and invisible characters, what is no UTF-8, and the backslash itself are escaped.
struct Escaped<'a>(&'a Path);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use std::fmt::Write as _;
        use std::os::unix::ffi::OsStrExt as _;

        /// Marks of direction and other characters that change how a line looks without being seen.
        const INVISIBLE: [std::ops::RangeInclusive<char>; 5] = [
            '\u{200b}'..='\u{200f}',
            '\u{2028}'..='\u{202e}',
            '\u{2060}'..='\u{206f}',
            '\u{fe00}'..='\u{fe0f}',
            '\u{feff}'..='\u{feff}',
        ];
        for chunk in self.0.as_os_str().as_bytes().utf8_chunks() {
            for c in chunk.valid().chars() {
                if c == '\\' {
                    f.write_str("\\\\")?;
                } else if c.is_control() || INVISIBLE.iter().any(|range| range.contains(&c)) {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    f.write_char(c)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_the_name() {
        let name = OsStr::from_bytes(b"/w/a\nD /etc\x1b[2J\\ \xff\xe2\x80\xae gr\xc3\xbcn");
        let change = Change { kind: ChangeKind::Added, path: name.into(), tree: 0, what: What::Link };
        let line = change.to_string();
        assert_eq!(line, "A /w/a\\nD /etc\\u{1b}[2J\\\\ \\xff\\u{202e} grün");
    }
}

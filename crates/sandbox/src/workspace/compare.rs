//! What differs between what the workload left and the real directory.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RawMode, Stat, chmodat, fgetxattr, fstat, openat, readlinkat,
    statat,
};
use rustix::io::Errno;

use super::{Change, ChangeKind, Changes, Kind, Parts, Tree, What, WorkspaceError, failed};

/// How deep a tree may be whose changes are taken out: every level holds two descriptors.
const MOST_DEPTH: usize = 200;
/// Set-user-id and set-group-id.
const SET_ID: RawMode = 0o6000;
const PERMISSIONS: RawMode = 0o1777;

/// Compares one tree.
pub(super) fn tree(
    parts: &Parts,
    index: usize,
    upper: &OwnedFd,
    changes: &mut Changes,
) -> Result<(), WorkspaceError> {
    let Some(tree) = parts.trees.get(index) else { return Ok(()) };
    let real = open_directory(tree.real.as_fd(), Path::new(".")).map_err(failed("open", &tree.path))?;
    let whole = tree.kind != Kind::Overlay;
    let mut comparison = Comparison { parts, tree, index, changes };
    comparison.directory(upper, Some(&real), &tree.path, whole, 0)
}

struct Comparison<'a> {
    parts: &'a Parts,
    tree: &'a Tree,
    index: usize,
    changes: &'a mut Changes,
}

impl Comparison<'_> {
    /// Compares a directory. `whole`: what is not in the upper one is gone; otherwise it is as it was.
    fn directory(
        &mut self,
        upper: &OwnedFd,
        real: Option<&OwnedFd>,
        path: &Path,
        whole: bool,
        depth: usize,
    ) -> Result<(), WorkspaceError> {
        let here = names(upper).map_err(failed("list", path))?;
        for name in &here {
            self.one(upper, real, name, path, whole, depth)?;
        }
        let Some(real) = real.filter(|_| whole) else { return Ok(()) };
        for name in names(real).map_err(failed("list", path))?.difference(&here) {
            let gone = path.join(name);
            let stat = statat(real, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW);
            // Sockets and devices were not copied.
            let copied = |stat: &Stat| {
                use FileType::{Directory, Fifo, RegularFile, Symlink};
                [Directory, Fifo, RegularFile, Symlink].contains(&FileType::from_raw_mode(stat.st_mode))
            };
            if !self.is_covered(&gone)
                && stat.is_ok_and(|stat| copied(&stat) || self.tree.kind == Kind::Overlay)
            {
                self.push(ChangeKind::Deleted, gone, What::Nothing);
            }
        }
        Ok(())
    }

    fn one(
        &mut self,
        upper: &OwnedFd,
        real: Option<&OwnedFd>,
        name: &OsString,
        path: &Path,
        whole: bool,
        depth: usize,
    ) -> Result<(), WorkspaceError> {
        let path = path.join(name);
        if self.is_covered(&path) {
            return Ok(());
        }
        let stat =
            statat(upper, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW).map_err(failed("stat", &path))?;
        let before = real.and_then(|real| statat(real, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW).ok());
        let kind = FileType::from_raw_mode(stat.st_mode);
        if self.tree.kind == Kind::Overlay && is_whiteout(upper, name, &stat) {
            if before.is_some() {
                self.push(ChangeKind::Deleted, path, What::Nothing);
            }
            return Ok(());
        }
        let same_kind = before.as_ref().filter(|before| FileType::from_raw_mode(before.st_mode) == kind);
        let change = if before.is_some() { ChangeKind::Modified } else { ChangeKind::Added };
        let mode = stat.st_mode & PERMISSIONS;
        match kind {
            FileType::Directory => {
                if depth >= MOST_DEPTH {
                    self.refuse(path, format!("deeper than {MOST_DEPTH} directories"));
                    return Ok(());
                }
                let is_new = same_kind.is_none_or(|before| before.st_mode & PERMISSIONS != mode);
                let first = self.changes.list.len();
                if is_new {
                    self.push(change, path.clone(), What::Directory { mode });
                }
                let below = open_in_workspace(upper, name, &stat).map_err(failed("open", &path))?;
                let opaque = self.tree.kind == Kind::Overlay && has_attribute(&below, c"user.overlay.opaque");
                let real =
                    same_kind.and(real).and_then(|real| open_directory(real.as_fd(), Path::new(name)).ok());
                self.directory(&below, real.as_ref(), &path, whole || opaque, depth + 1)?;
                if self.parts.made.contains(&path) && self.changes.list.len() == first + 1 {
                    self.changes.list.truncate(first);
                }
            }
            FileType::RegularFile if self.parts.made.contains(&path) && stat.st_size == 0 => {}
            FileType::RegularFile if stat.st_mode & SET_ID != 0 => {
                self.refuse(path, "it has a set-user-id or set-group-id bit".to_owned());
            }
            FileType::RegularFile => {
                let unchanged = same_kind.is_some_and(|before| {
                    before.st_mode & PERMISSIONS == mode
                        && before.st_size == stat.st_size
                        && real.is_some_and(|real| same_content(upper, real, name, &stat, before))
                });
                if !unchanged {
                    self.push(change, path, What::File { mode });
                }
            }
            FileType::Symlink => {
                let target = |directory: &OwnedFd| readlinkat(directory, name.as_os_str(), Vec::new()).ok();
                if same_kind.is_none() || target(upper) != real.and_then(target) {
                    self.push(change, path, What::Link);
                }
            }
            // A fifo that was copied, or that was there before.
            FileType::Fifo if same_kind.is_some() => {}
            _ => self.refuse(path, "it is a socket, fifo or device".to_owned()),
        }
        Ok(())
    }

    fn push(&mut self, kind: ChangeKind, path: PathBuf, what: What) {
        self.changes.list.push(Change { kind, path, tree: self.index, what });
    }

    fn refuse(&mut self, path: PathBuf, why: String) {
        self.changes.refused.push((path, why));
    }

    /// Whether another rule covers it, so that nothing of it was copied.
    fn is_covered(&self, path: &Path) -> bool {
        matches!(&self.tree.kind, Kind::Copy(covered) if covered.iter().any(|covered| covered == path))
    }
}

/// A directory below another, not through a link.
pub(super) fn open_directory(parent: BorrowedFd<'_>, name: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(parent, name, flags, Mode::empty())
}

/// Something that the workload left, to be read whatever mode it has: nobody else has it any more.
pub(super) fn open_in_workspace(parent: &OwnedFd, name: &OsString, stat: &Stat) -> Result<OwnedFd, Errno> {
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let kind = if directory { OFlags::DIRECTORY } else { OFlags::NONBLOCK };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | kind;
    match openat(parent, name.as_os_str(), flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let mode =
                Mode::from_raw_mode(stat.st_mode & PERMISSIONS | if directory { 0o700 } else { 0o400 });
            chmodat(parent, name.as_os_str(), mode, AtFlags::empty())?;
            openat(parent, name.as_os_str(), flags, Mode::empty())
        }
        other => other,
    }
}

pub(super) fn names(directory: &OwnedFd) -> Result<BTreeSet<OsString>, Errno> {
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.insert(OsString::from_vec(name));
        }
    }
    Ok(names)
}

/// The mark of something removed: a character device 0:0, or an attribute (overlayfs, "whiteouts and opaque directories").
fn is_whiteout(parent: &OwnedFd, name: &OsString, stat: &Stat) -> bool {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => stat.st_rdev == 0,
        FileType::RegularFile if stat.st_size == 0 => open_in_workspace(parent, name, stat)
            .is_ok_and(|file| has_attribute(&file, c"user.overlay.whiteout")),
        _ => false,
    }
}

fn has_attribute(file: &OwnedFd, name: &std::ffi::CStr) -> bool {
    fgetxattr(file, name, &mut [0u8; 8]).is_ok()
}

fn same_content(upper: &OwnedFd, real: &OwnedFd, name: &OsString, now: &Stat, before: &Stat) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let (Ok(one), Ok(other)) =
        (open_in_workspace(upper, name, now), openat(real, name.as_os_str(), flags, Mode::empty()))
    else {
        return false;
    };
    // Something else may stand there by now, a pipe even.
    let still = fstat(&other).is_ok_and(|stat| {
        (stat.st_dev, stat.st_ino) == (before.st_dev, before.st_ino)
            && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
    });
    still && equal(&one, &other).unwrap_or(false)
}

fn equal(one: &OwnedFd, other: &OwnedFd) -> Result<bool, Errno> {
    let (mut a, mut b) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let (read, also) = (fill(one, &mut a)?, fill(other, &mut b)?);
        if a.get(..read) != b.get(..also) {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the file at its end.
fn fill(file: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match rustix::io::read(file, room) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(filled)
}

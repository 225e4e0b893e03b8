//! Takes changes out of the workspace: into a directory of their own, or back into the real ones.
//!
//! Every name is opened below a descriptor, through no link and not out of the directory (openat2(2), `RESOLVE_BENEATH`,
//! `RESOLVE_NO_SYMLINKS`). A file is written beside its place and moved there, so that nobody sees half of it.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fchmod, fstat, mkdirat, openat,
    openat2, readlinkat, renameat, sendfile, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::compare::{names, open_directory, open_in_workspace};
use super::{Change, ChangeKind, Changes, What, Workspace, WorkspaceError, failed};

/// How deep a tree may be that is removed: every level holds a descriptor.
const MOST_DEPTH: usize = 400;
const AT_ONCE: usize = 1 << 24;

/// Writes everything to `directory`.
pub(super) fn export(
    workspace: &Workspace,
    changes: &Changes,
    directory: &Path,
) -> Result<(), WorkspaceError> {
    match mkdirat(CWD, directory, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed("make", directory)(errno)),
    }
    let root = open_directory(CWD, directory).map_err(failed("open", directory))?;
    if !names(&root).map_err(failed("list", directory))?.is_empty() {
        return Err(WorkspaceError::NotEmpty(directory.to_path_buf()));
    }
    let files = directory.join("files");
    mkdirat(&root, "files", Mode::from_raw_mode(0o755)).map_err(failed("make", &files))?;
    let files = open_directory(root.as_fd(), Path::new("files")).map_err(failed("open", &files))?;
    let place = Place { root: &files, below: Path::new("/"), owned: false };
    place.all(workspace, changes.list.iter().filter(|change| change.kind != ChangeKind::Deleted))?;
    let list = changes.list.iter().fold(String::new(), |list, change| format!("{list}{change}\n"));
    let path = directory.join("changes");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file =
        openat(&root, "changes", flags, Mode::from_raw_mode(0o644)).map_err(failed("create", &path))?;
    let mut rest = list.as_bytes();
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest).map_err(failed("write", &path))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Makes the changes in the real directories: first what is gone, then what is there.
pub(super) fn apply(workspace: &Workspace, changes: &Changes) -> Result<(), WorkspaceError> {
    for (index, tree) in workspace.0.trees.iter().enumerate() {
        let place = Place { root: &tree.real, below: &tree.path, owned: true };
        let own = || changes.list.iter().filter(move |change| change.tree == index);
        for change in own().filter(|change| change.kind == ChangeKind::Deleted) {
            place.remove(&change.path)?;
        }
        place.all(workspace, own().filter(|change| change.kind != ChangeKind::Deleted))?;
    }
    Ok(())
}

/// A directory that stands for `below`.
struct Place<'a> {
    root: &'a OwnedFd,
    below: &'a Path,
    /// Whether what is written belongs to the owner of what was there, or of the directory around it.
    owned: bool,
}

impl Place<'_> {
    fn all<'c>(
        &self,
        workspace: &Workspace,
        changes: impl Iterator<Item = &'c Change>,
    ) -> Result<(), WorkspaceError> {
        // A directory that may not be written to gets its mode when everything in it is written.
        let mut directories: Vec<(&Change, u32)> = Vec::new();
        for change in changes {
            self.put(workspace, change)?;
            if let What::Directory { mode } = change.what {
                directories.push((change, mode));
            }
        }
        for (change, mode) in directories.into_iter().rev() {
            let (parent, name) = self.parent(&change.path, false)?;
            open_directory(parent.as_fd(), Path::new(&name))
                .and_then(|directory| fchmod(directory, Mode::from_raw_mode(mode)))
                .map_err(failed("chmod", &change.path))?;
        }
        Ok(())
    }

    /// The directory around a path, and the name in it.
    fn parent(&self, path: &Path, make: bool) -> Result<(OwnedFd, OsString), WorkspaceError> {
        let relative = path.strip_prefix(self.below).unwrap_or(path);
        let name = relative.file_name().map(OsStr::to_owned);
        let Some(name) = name else { return Err(failed("write", path)(Errno::INVAL)) };
        let parent = relative.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut at = open_beneath(self.root.as_fd(), Path::new(".")).map_err(failed("open", path))?;
        for part in parent.into_iter().flat_map(Path::iter) {
            let next = match open_beneath(at.as_fd(), Path::new(part)) {
                // The directories above what is exported are no change, and are not there yet.
                Err(Errno::NOENT) if make => mkdirat(&at, part, Mode::from_raw_mode(0o755))
                    .and_then(|()| open_beneath(at.as_fd(), Path::new(part))),
                other => other,
            };
            at = next.map_err(failed("open", path))?;
        }
        Ok((at, name))
    }

    fn put(&self, workspace: &Workspace, change: &Change) -> Result<(), WorkspaceError> {
        let Some(tree) = workspace.0.trees.get(change.tree) else { return Ok(()) };
        let (parent, name) = self.parent(&change.path, !self.owned)?;
        let error = |call| failed(call, &change.path);
        let there = statat(&parent, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW).ok();
        let is_directory =
            there.as_ref().is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        let stays = is_directory && matches!(change.what, What::Directory { .. });
        if is_directory && !stays {
            remove(&parent, &name, 0).map_err(error("remove"))?;
        }
        let owner = match (self.owned && geteuid().is_root(), &there) {
            (false, _) => None,
            (true, Some(there)) => Some((there.st_uid, there.st_gid)),
            (true, None) => fstat(&parent).ok().map(|stat| (stat.st_uid, stat.st_gid)),
        };
        let source = Source::open(
            &workspace.upper(tree)?,
            change.path.strip_prefix(&tree.path).unwrap_or(&change.path),
        )
        .map_err(error("open"))?;
        match change.what {
            What::Nothing => Ok(()),
            What::Directory { .. } if stays => Ok(()),
            What::Directory { .. } => {
                if there.is_some() && !is_directory {
                    unlinkat(&parent, name.as_os_str(), AtFlags::empty()).map_err(error("remove"))?;
                }
                mkdirat(&parent, name.as_os_str(), Mode::from_raw_mode(0o700)).map_err(error("make"))?;
                give(&parent, &name, owner).map_err(error("chown"))
            }
            What::File { mode } => {
                let beside = beside(|name| {
                    let flags =
                        OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                    openat(&parent, name, flags, Mode::from_raw_mode(0o600))
                });
                let (file, temporary) = beside.map_err(error("create"))?;
                let written = source
                    .content(&file)
                    .and_then(|()| give(&parent, &temporary, owner))
                    .and_then(|()| fchmod(&file, Mode::from_raw_mode(mode)))
                    .and_then(|()| renameat(&parent, temporary.as_os_str(), &parent, name.as_os_str()));
                discard_unless(written, &parent, &temporary).map_err(error("write"))
            }
            What::Link => {
                let target = source.target().map_err(error("readlink"))?;
                let made = beside(|name| symlinkat(target.as_c_str(), &parent, name));
                let ((), temporary) = made.map_err(error("link"))?;
                let placed = give(&parent, &temporary, owner)
                    .and_then(|()| renameat(&parent, temporary.as_os_str(), &parent, name.as_os_str()));
                discard_unless(placed, &parent, &temporary).map_err(error("link"))
            }
        }
    }

    fn remove(&self, path: &Path) -> Result<(), WorkspaceError> {
        let (parent, name) = match self.parent(path, false) {
            Ok(found) => found,
            Err(WorkspaceError::Io { error, .. })
                if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        match remove(&parent, &name, 0) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(failed("remove", path)(errno)),
        }
    }
}

/// Something that the workload left.
struct Source {
    parent: OwnedFd,
    name: OsString,
}

impl Source {
    fn open(upper: &OwnedFd, relative: &Path) -> Result<Self, Errno> {
        let parent: PathBuf = relative.parent().unwrap_or(Path::new("")).into();
        let mut at = open_beneath(upper.as_fd(), Path::new("."))?;
        for part in &parent {
            at = open_beneath(at.as_fd(), Path::new(part))?;
        }
        Ok(Self { parent: at, name: relative.file_name().unwrap_or_default().to_owned() })
    }

    fn content(&self, to: &OwnedFd) -> Result<(), Errno> {
        let stat = statat(&self.parent, self.name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::STALE);
        }
        let from = open_in_workspace(&self.parent, &self.name, &stat)?;
        loop {
            match sendfile(to, &from, None, AT_ONCE) {
                Ok(0) => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn target(&self) -> Result<std::ffi::CString, Errno> {
        readlinkat(&self.parent, self.name.as_os_str(), Vec::new())
    }
}

fn open_beneath(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat2(root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

/// Makes something under a name that nothing has.
fn beside<T>(make: impl Fn(&OsStr) -> Result<T, Errno>) -> Result<(T, OsString), Errno> {
    let process = std::process::id();
    for number in 0..1000u32 {
        let name = OsString::from(format!(".palisade-{process}-{number}"));
        match make(&name) {
            Err(Errno::EXIST) => {}
            made => return made.map(|made| (made, name)),
        }
    }
    Err(Errno::EXIST)
}

fn discard_unless(done: Result<(), Errno>, parent: &OwnedFd, temporary: &OsStr) -> Result<(), Errno> {
    if done.is_err() {
        let _ = unlinkat(parent, temporary, AtFlags::empty());
    }
    done
}

fn give(parent: &OwnedFd, name: &OsStr, owner: Option<(u32, u32)>) -> Result<(), Errno> {
    let Some((uid, gid)) = owner else { return Ok(()) };
    chownat(parent, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)
}

/// Removes whatever stands there, with everything below it.
fn remove(parent: &OwnedFd, name: &OsStr, depth: usize) -> Result<(), Errno> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return unlinkat(parent, name, AtFlags::empty());
    }
    if depth >= MOST_DEPTH {
        return Err(Errno::NAMETOOLONG);
    }
    let directory = open_directory(parent.as_fd(), Path::new(name))?;
    for name in names(&directory)? {
        remove(&directory, &name, depth + 1)?;
    }
    drop(directory);
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

//! Empty files and directories that a run puts on the host where a policy hides what does not exist yet.
//!
//! A mount needs something to cover. Each placeholder is made with descriptors, through no symbolic link, and is taken
//! away when the sandbox is gone, if it is still the same and still empty. While it is covered in one sandbox it must
//! stay: the kernel detaches the mounts of a removed file (rename(2)). So every run that covers it holds a shared lock,
//! and whoever removes it needs the exclusive one; a run that finds the placeholder of another, or of one that was killed,
//! takes part in it. It is known by its time of change, which no other file has.
//!
//! Used by `prepare`, which makes them, and by the owner of the sandbox, who drops them.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid,
    fchown, flock, fstat, futimens, mkdirat, openat, openat2, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Signal, geteuid, pidfd_send_signal};

use crate::janitor::{Janitor, Leftover};

/// The time of change that marks a placeholder: a moment of March 1970, to the nanosecond.
const MARK: Timespec = Timespec { tv_sec: 0x0070_6c61, tv_nsec: 0x0063_6568 };

/// All placeholders of one sandbox. Dropping them ends the sandbox, if it still runs, and takes them away.
#[derive(Debug, Default)]
pub(crate) struct Placeholders {
    made: Vec<Placeholder>,
    sandbox: Option<OwnedFd>,
    /// Takes them away when this process is killed.
    janitor: Option<Janitor>,
}

#[derive(Debug)]
struct Placeholder {
    parent: OwnedFd,
    name: CString,
    /// Open, with a shared lock.
    file: OwnedFd,
    directory: bool,
}

impl Placeholders {
    /// For placeholders at these places, none of which exists before this.
    ///
    /// # Errors
    /// When the janitor cannot be started.
    pub(crate) fn at<'a>(paths: impl DoubleEndedIterator<Item = &'a Path>) -> Result<Self, Errno> {
        let since = SystemTime::UNIX_EPOCH.elapsed().map_or(i64::MAX, |since| {
            // The kernel's clock for files may be a little behind.
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX) - 1
        });
        let leftover = |path: &Path| {
            let (parent, name) = (path.parent()?.as_os_str(), path.file_name()?);
            let text = |text: &OsStr| CString::new(text.as_bytes()).ok();
            Some(Leftover::Placeholder { parent: text(parent)?, name: text(name)?, since })
        };
        // What lies inside another one goes first.
        let janitor = Janitor::start(paths.rev().filter_map(leftover).collect())?;
        Ok(Self { made: Vec::new(), sandbox: None, janitor })
    }

    /// The process to end before anything is taken away: what it covers would come to light.
    ///
    /// # Errors
    /// When the janitor cannot be told.
    pub(crate) fn belong_to(&mut self, pidfd: OwnedFd) -> Result<(), Errno> {
        if let Some(janitor) = &self.janitor {
            janitor.watch(pidfd.as_fd())?;
        }
        self.sandbox = Some(pidfd);
        Ok(())
    }

    /// Makes an empty file or directory at `path`, which has no symbolic link in it.
    ///
    /// # Errors
    /// EEXIST when something else stands there by now, and what openat2(2) and mkdirat(2) say.
    pub(crate) fn make(&mut self, path: &Path, directory: bool) -> Result<(), Errno> {
        let (parent, name) = parent(path)?;
        let above = fstat(&parent)?;
        let made = if directory {
            mkdirat(&parent, name.as_c_str(), Mode::from_raw_mode(0o755))
        } else {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            openat(&parent, name.as_c_str(), flags, Mode::from_raw_mode(0o600)).map(drop)
        };
        match made {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                // Made since the survey: by another run, or by somebody else, whose file is covered and stays.
                return if self.adopt(path)? || can_be_covered(&parent, &name, directory) {
                    Ok(())
                } else {
                    Err(Errno::EXIST)
                };
            }
            Err(errno) => return Err(errno),
        }
        let file = open(&parent, &name, directory)?;
        let stat = fstat(&file)?;
        // Between the two calls another program may have put something of its own in the place.
        if stat.st_uid != geteuid().as_raw() || !is_empty(&stat, directory) {
            return Err(Errno::STALE);
        }
        if (above.st_uid, above.st_gid) != (stat.st_uid, stat.st_gid) && stat.st_uid == 0 {
            // Made by root in somebody's directory: theirs to remove.
            fchown(&file, Some(Uid::from_raw(above.st_uid)), Some(Gid::from_raw(above.st_gid)))?;
        }
        mark_again(&parent, &above);
        mark(&file)?;
        flock(&file, FlockOperation::LockShared)?;
        self.made.push(Placeholder { parent, name, file, directory });
        Ok(())
    }

    /// Takes part in what stands at `path` if it is a placeholder of another run; whether it is.
    ///
    /// # Errors
    /// ESTALE when the other run has just taken it away.
    pub(crate) fn adopt(&mut self, path: &Path) -> Result<bool, Errno> {
        let Ok((parent, name)) = parent(path) else { return Ok(false) };
        let Ok(stat) = statat(&parent, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) else { return Ok(false) };
        let directory = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => true,
            FileType::RegularFile => false,
            _ => return Ok(false),
        };
        if !is_marked(&stat) || !(directory || is_empty(&stat, false)) {
            return Ok(false);
        }
        let file = open(&parent, &name, directory)?;
        flock(&file, FlockOperation::LockShared)?;
        let place = Placeholder { parent, name, file, directory };
        if !place.is_there() {
            return Err(Errno::STALE);
        }
        self.made.push(place);
        Ok(true)
    }
}

impl Placeholder {
    /// Whether the name still leads to the very file that was made.
    fn is_there(&self) -> bool {
        is_there(&self.parent, &self.name, &self.file, self.directory)
    }

    fn remove(&self) {
        remove(&self.parent, &self.name, &self.file, self.directory);
    }
}

fn is_there(parent: &OwnedFd, name: &CStr, file: &OwnedFd, directory: bool) -> bool {
    let there = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
    let (Ok(there), Ok(own)) = (there, fstat(file)) else { return false };
    (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino) && (directory || is_empty(&own, false))
}

/// Takes a placeholder away, unless another run still needs it or somebody has put something into it.
fn remove(parent: &OwnedFd, name: &CStr, file: &OwnedFd, directory: bool) {
    if flock(file, FlockOperation::NonBlockingLockExclusive).is_err()
        || !is_there(parent, name, file, directory)
    {
        return;
    }
    let before = fstat(parent);
    let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    if unlinkat(parent, name, flags).is_ok()
        && let Ok(before) = before
    {
        mark_again(parent, &before);
    }
}

/// Whether a placeholder stands at `path`.
pub(crate) fn stands_at(path: &Path) -> bool {
    let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| is_marked(&stat))
}

/// Takes away what stands at this name, if it is a placeholder that no run needs any more, or has become none because its
/// maker was killed after this time, in seconds since 1970. Allocates nothing: the janitor does it.
///
/// # Errors
/// EBUSY when somebody has it: another run, or what has been forked and is about to close its copy.
pub(crate) fn take_away(parent: &CStr, name: &CStr, since: i64) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = openat2(CWD, parent, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS);
    let Ok(parent) = parent else { return Ok(()) };
    let Ok(stat) = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(()) };
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if (is_marked(&stat) || is_unfinished(&stat, since))
        && is_empty(&stat, directory)
        && let Ok(file) = open(&parent, name, directory)
    {
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| Errno::BUSY)?;
        remove(&parent, name, &file, directory);
    }
    Ok(())
}

/// Whether nothing has been done with it since it was made, after this time and by this user, or something was made in it
/// then that was not marked again.
fn is_unfinished(stat: &Stat, since: i64) -> bool {
    let untouched = (stat.st_atime, stat.st_atime_nsec) == (stat.st_mtime, stat.st_mtime_nsec);
    let marked_once = stat.st_atime == MARK.tv_sec && i64::try_from(stat.st_atime_nsec) == Ok(MARK.tv_nsec);
    stat.st_mtime >= since && ((untouched && stat.st_uid == geteuid().as_raw()) || marked_once)
}

impl Drop for Placeholders {
    fn drop(&mut self) {
        if let Some(sandbox) = self.sandbox.as_ref().filter(|_| !self.made.is_empty()) {
            // Its end is the end of everything in its pid namespace (pid_namespaces(7)).
            let _ = pidfd_send_signal(sandbox, Signal::KILL);
            while poll(&mut [PollFd::new(sandbox, PollFlags::IN)], None) == Err(Errno::INTR) {}
        }
        for placeholder in self.made.iter().rev() {
            placeholder.remove();
        }
        self.janitor.take().into_iter().for_each(Janitor::dismiss);
    }
}

/// Whether a mount over what stands there does what a mount over the placeholder would do.
fn can_be_covered(parent: &OwnedFd, name: &CString, directory: bool) -> bool {
    let stat = statat(parent, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => true,
        FileType::Symlink => false,
        _ => !directory,
    })
}

/// The directory of `path`, opened without following a link, and the name in it.
fn parent(path: &Path) -> Result<(OwnedFd, CString), Errno> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL) };
    let name = CString::new(OsStr::as_bytes(name)).map_err(|_| Errno::INVAL)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = openat2(CWD, parent, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    Ok((parent, name))
}

fn open(parent: &OwnedFd, name: &CStr, directory: bool) -> Result<OwnedFd, Errno> {
    let kind = if directory { OFlags::DIRECTORY } else { OFlags::NONBLOCK };
    openat(parent, name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | kind, Mode::empty())
}

fn is_empty(stat: &Stat, directory: bool) -> bool {
    directory || (stat.st_size == 0 && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}

fn mark(file: impl AsFd) -> Result<(), Errno> {
    futimens(file, &Timestamps { last_access: MARK, last_modification: MARK })
}

/// Marks a directory whose entries have just changed, if it was a placeholder before. Without the mark it would stay.
fn mark_again(directory: &OwnedFd, before: &Stat) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if is_marked(before)
        && let Ok(directory) = openat(directory, c".", flags, Mode::empty())
    {
        let _ = mark(&directory);
    }
}

fn is_marked(stat: &Stat) -> bool {
    stat.st_mtime == MARK.tv_sec && i64::try_from(stat.st_mtime_nsec) == Ok(MARK.tv_nsec)
}

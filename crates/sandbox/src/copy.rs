//! Copies a directory tree by descriptors, without allocating: done by the child, which alone has both the host's files,
//! under the ids that the workload sees, and the file system that takes the copy.
//!
//! The tree may be hostile: nothing is followed, opened for what it is not, or waited for.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, RawMode, Stat, Timespec, Timestamps, fchmod, fstat, mkdirat,
    mknodat, openat, readlinkat_raw, sendfile, statat, symlinkat, utimensat,
};
use rustix::io::Errno;

/// How deep a tree may be: the walk is on the stack, of which a thread may have little.
const MOST_DEPTH: u32 = 128;
/// Room for directory entries, of which the longest takes 280 bytes.
const ENTRIES: usize = 1024;
/// PATH_MAX.
const LONGEST: usize = 4096;
/// What one sendfile(2) moves at most.
const AT_ONCE: usize = 1 << 24;
/// The bits of a mode that a copy keeps: what gives privilege is left out.
const PERMISSIONS: RawMode = 0o1777;

/// Copies what is in `from` into `to`, with modes and times. Of what is in `empty`, by device and inode, only the file or
/// directory itself is made.
pub(crate) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, empty: &[(u64, u64)]) -> Result<(), Errno> {
    let from = openat(from, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let stat = fstat(&from)?;
    directory(&from, to, empty, 0)?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode & PERMISSIONS))
}

fn directory(from: &OwnedFd, to: BorrowedFd<'_>, empty: &[(u64, u64)], depth: u32) -> Result<(), Errno> {
    if depth > MOST_DEPTH {
        return Err(Errno::NAMETOOLONG);
    }
    let mut room = [MaybeUninit::uninit(); ENTRIES];
    let mut entries = RawDir::new(from, &mut room);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            one(from.as_fd(), to, name, empty, depth)?;
        }
    }
    Ok(())
}

fn one(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    empty: &[(u64, u64)],
    depth: u32,
) -> Result<(), Errno> {
    let stat = match statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
        // Removed meanwhile.
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let mode = Mode::from_raw_mode(stat.st_mode & PERMISSIONS);
    let covered = empty.contains(&(stat.st_dev, stat.st_ino));
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            mkdirat(to, name, Mode::from_raw_mode(0o700))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let made = openat(to, name, flags, Mode::empty())?;
            if !covered {
                let found = openat(from, name, flags, Mode::empty())?;
                same(&found, &stat)?;
                directory(&found, made.as_fd(), empty, depth + 1)?;
            }
            fchmod(&made, mode)?;
        }
        FileType::RegularFile => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let made = openat(to, name, flags, Mode::from_raw_mode(0o600))?;
            if !covered {
                // Not blocking: something else may stand there by now.
                let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
                let found = openat(from, name, flags, Mode::empty())?;
                same(&found, &stat)?;
                content(&found, &made, stat.st_size)?;
            }
            fchmod(&made, mode)?;
        }
        FileType::Symlink => link(from, to, name)?,
        FileType::Fifo => mknodat(to, name, FileType::Fifo, mode, 0)?,
        // Sockets and devices mean something only where they are; a covered one is a place for a mount.
        _ if covered => mknodat(to, name, FileType::RegularFile, mode, 0)?,
        _ => return Ok(()),
    }
    times(to, name, &stat)
}

/// Fails unless the file is the one that was looked at.
fn same(found: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
    let now = fstat(found)?;
    if (now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino) { Ok(()) } else { Err(Errno::STALE) }
}

/// As much as the file held when it was looked at: one that grows all the time would never end.
fn content(from: &OwnedFd, to: &OwnedFd, size: i64) -> Result<(), Errno> {
    let mut left = usize::try_from(size).unwrap_or(0);
    while left > 0 {
        match sendfile(to, from, None, left.min(AT_ONCE)) {
            Ok(0) => return Ok(()),
            Ok(sent) => left = left.saturating_sub(sent),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Not inlined, so that only this call has the room for a target on the stack.
#[inline(never)]
fn link(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let mut room = [MaybeUninit::<u8>::uninit(); LONGEST];
    let (target, rest) = readlinkat_raw(from, name, &mut room)?;
    let mut bytes = [0; LONGEST];
    // Room for the zero at the end.
    let (false, Some(copy)) = (rest.is_empty(), bytes.get_mut(..target.len())) else {
        return Err(Errno::NAMETOOLONG);
    };
    copy.copy_from_slice(target);
    let target = CStr::from_bytes_until_nul(&bytes).map_err(|_| Errno::NAMETOOLONG)?;
    symlinkat(target, to, name)
}

fn times(to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let time =
        |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: i64::try_from(nanoseconds).unwrap_or(0) };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

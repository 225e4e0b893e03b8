//! A program's own process, from the fork to its first instruction.
//!
//! The rules of [`crate::child`] hold here too: no allocation, no lock. Whatever fails is told, and ends the process. It has
//! its own descriptors, but init's memory, which goes on as it is left here.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use palisade_sys::Errno as SysErrno;
use palisade_sys::exec::{self, Words};
use palisade_sys::signal::{self, SignalSet};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::channel::{Channel, FIRST, MOST_DESCRIPTORS, Message, WindowSize};
use crate::prepare::Programs;

/// The file mode mask: what a login gives.
const UMASK: u32 = 0o022;

/// Longest path that is tried (PATH_MAX, limits.h).
const LONGEST_PATH: usize = 4096;

/// What a program is started with.
pub(crate) struct Start<'a> {
    pub(crate) programs: &'a mut Programs,
    /// The signal mask that it gets.
    pub(crate) mask: &'a SignalSet,
    pub(crate) channel: &'a Channel,
    /// Its number.
    pub(crate) program: i32,
    /// The size of the private terminal that it gets, if it gets one.
    pub(crate) terminal: Option<WindowSize>,
    /// What came along.
    pub(crate) descriptors: [Option<OwnedFd>; MOST_DESCRIPTORS],
}

/// Starts the program. Returns only where that fails, which is told.
pub(crate) fn start(start: &mut Start<'_>) -> i32 {
    let Start { programs, mask, channel, program, terminal, descriptors } = start;
    let (program, terminal) = (*program, *terminal);
    // Copies: the standard ones are closed here, so what came along may stand in their places; and init closes its own.
    let copy = |given: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(given, 3).ok();
    let descriptors = descriptors.each_ref().map(|given| given.as_ref().and_then(copy));
    // The last one is what the words of any program but the first are read from.
    let given =
        descriptors.iter().flatten().count() - usize::from(program != FIRST && descriptors[0].is_some());
    let mut descriptors = descriptors.into_iter().flatten();
    let fail = |message: Message| {
        let _ = channel.send(message, &[]);
        1
    };
    let placed = match terminal {
        None => standard(&mut descriptors)
            .map_err(|errno| Message::RequestFailed { program, errno: errno.raw_os_error() }),
        Some(size) => own_terminal(size, descriptors.by_ref().take(given).next(), channel, program)
            .map_err(|errno| Message::TerminalFailed { program, errno: errno.raw_os_error() }),
    };
    if let Err(message) = placed {
        return fail(message);
    }
    let Programs { first, environment, inbox, search, directory } = programs;
    let words = match (program, inbox) {
        (FIRST, _) => Some((first.arguments.words(), first.environment.words())),
        (_, Some(inbox)) => descriptors
            .next()
            .and_then(|source| read_all(&source, inbox.room()))
            .and_then(|length| inbox.split(length, environment.words())),
        (_, None) => None,
    };
    drop(descriptors);
    let Some((arguments, environment)) = words else {
        return fail(Message::RequestFailed { program, errno: Errno::TOOBIG.raw_os_error() });
    };
    rustix::process::umask(Mode::from_raw_mode(UMASK));
    if let Err(errno) = rustix::process::chdir(directory.as_c_str()) {
        return fail(Message::DirectoryFailed { program, errno: errno.raw_os_error() });
    }
    signal::reset_dispositions();
    signal::set_mask(mask);
    let errno = execute(search, arguments, environment);
    fail(Message::ExecFailed { program, errno: errno.0 })
}

/// Puts the first three descriptors in their places. What the program does not get is closed when it executes.
fn standard(descriptors: &mut impl Iterator<Item = OwnedFd>) -> Result<(), Errno> {
    // A group of its own, so that a signal to the group reaches the program and what it starts, and nothing else.
    rustix::process::setpgid(None, None)?;
    let mut next = || descriptors.next().ok_or(Errno::BADF);
    let (stdin, stdout, stderr) = (next()?, next()?, next()?);
    dup2_stdin(&stdin)?;
    dup2_stdout(&stdout)?;
    dup2_stderr(&stderr)
}

/// Out of the way of the places that are filled one after the other.
fn above_standard(descriptor: OwnedFd) -> Result<OwnedFd, Errno> {
    if descriptor.as_raw_fd() > 2 {
        return Ok(descriptor);
    }
    rustix::io::fcntl_dupfd_cloexec(&descriptor, 3)
}

/// Makes a terminal in the sandbox's own devpts, the controlling one of a new session, and hands its master side out.
/// Standard error leads elsewhere if the caller's does.
fn own_terminal(
    size: WindowSize,
    stderr: Option<OwnedFd>,
    channel: &Channel,
    program: i32,
) -> Result<(), Errno> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = above_standard(rustix::fs::openat(CWD, c"/dev/pts/ptmx", flags, Mode::empty())?)?;
    unlockpt(&master)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = above_standard(ioctl_tiocgptpeer(&master, flags)?)?;
    tcsetwinsize(&master, Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 })?;
    channel.send(Message::Terminal { program }, &[master.as_fd()])?;
    drop(master);
    rustix::process::setsid()?;
    rustix::process::ioctl_tiocsctty(&slave)?;
    dup2_stdin(&slave)?;
    dup2_stdout(&slave)?;
    dup2_stderr(stderr.as_ref().unwrap_or(&slave))
}

/// Reads to the end. `None` when that does not fit, or fails.
fn read_all(source: &OwnedFd, room: &mut [u8]) -> Option<usize> {
    let mut length = 0;
    loop {
        let rest = room.get_mut(length..).filter(|rest| !rest.is_empty())?;
        match rustix::io::read(source, rest) {
            Ok(0) => return Some(length),
            Ok(read) => length += read,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

/// Executes the program, looked for in the sandbox's PATH unless its name has a slash. Returns why it did not work.
fn execute(search: &[std::ffi::CString], arguments: Words<'_>, environment: Words<'_>) -> SysErrno {
    let not_found = SysErrno(Errno::NOENT.raw_os_error());
    let Some(name) = arguments.first().filter(|name| !name.is_empty()) else { return not_found };
    if name.to_bytes().contains(&b'/') {
        return exec::execve(name, arguments, environment);
    }
    let mut worst = not_found;
    for directory in search {
        let mut room = [0; LONGEST_PATH];
        let Some(path) = join(&mut room, directory, name) else { continue };
        let errno = exec::execve(path, arguments, environment);
        // As shells do: a program that exists but cannot be run is worth more as an answer than a later "not found".
        if ![Errno::NOENT, Errno::NOTDIR].iter().any(|none| none.raw_os_error() == errno.0) {
            worst = errno;
        }
    }
    worst
}

fn join<'a>(room: &'a mut [u8; LONGEST_PATH], directory: &CStr, name: &CStr) -> Option<&'a CStr> {
    let (directory, name) = (directory.to_bytes(), name.to_bytes_with_nul());
    let (start, end) = (directory.len() + 1, directory.len() + 1 + name.len());
    room.get_mut(..directory.len())?.copy_from_slice(directory);
    *room.get_mut(directory.len())? = b'/';
    room.get_mut(start..end)?.copy_from_slice(name);
    CStr::from_bytes_with_nul(room.get(..end)?).ok()
}

//! System calls under their kernel names, as the operations use them: slices in, results out.
//!
//! Owns the pairing of address and length. Must never retry, translate or hide an error: what the kernel said
//! is the observation.

use crate::buffer::Terminated;
use crate::raw;

/// An error number: the kernel's (1..=4095) or one of `refusal`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) u16);

/// What an operation found: its result, or the error.
pub(crate) type Answer = Result<i64, Errno>;

pub(crate) const ENOENT: Errno = Errno(2);
pub(crate) const ESRCH: Errno = Errno(3);
pub(crate) const EINTR: Errno = Errno(4);
pub(crate) const EINVAL: Errno = Errno(22);
pub(crate) const ENOSYS: Errno = Errno(38);
pub(crate) const ENODATA: Errno = Errno(61);
pub(crate) const EPROTO: Errno = Errno(71);
pub(crate) const ETIMEDOUT: Errno = Errno(110);
pub(crate) const EINPROGRESS: Errno = Errno(115);

pub(crate) const O_RDONLY: u32 = 0;
pub(crate) const O_WRONLY: u32 = 1;
pub(crate) const O_RDWR: u32 = 2;
pub(crate) const O_CREAT: u32 = 0o100;
pub(crate) const O_EXCL: u32 = 0o200;
pub(crate) const O_NOCTTY: u32 = 0o400;
pub(crate) const O_TRUNC: u32 = 0o1000;
pub(crate) const O_APPEND: u32 = 0o2000;
pub(crate) const O_NONBLOCK: u32 = 0o4000;
pub(crate) const O_DIRECTORY: u32 = 0o200_000;
pub(crate) const O_CLOEXEC: u32 = 0o2_000_000;

/// "The current directory" for the `*at` calls.
pub(crate) const AT_FDCWD: usize = (-100_isize).cast_unsigned();

/// An open descriptor.
pub(crate) type Fd = usize;

/// The numbers of x86-64 that the operations use.
pub(crate) mod nr {
    pub(crate) const READ: usize = 0;
    pub(crate) const WRITE: usize = 1;
    pub(crate) const CLOSE: usize = 3;
    pub(crate) const IOCTL: usize = 16;
    pub(crate) const NANOSLEEP: usize = 35;
    pub(crate) const GETPID: usize = 39;
    pub(crate) const CLONE: usize = 56;
    pub(crate) const WAIT4: usize = 61;
    pub(crate) const KILL: usize = 62;
    pub(crate) const FCNTL: usize = 72;
    pub(crate) const GETDENTS64: usize = 217;
    pub(crate) const CLOCK_GETTIME: usize = 228;
    pub(crate) const OPENAT: usize = 257;
    pub(crate) const NEWFSTATAT: usize = 262;
    pub(crate) const READLINKAT: usize = 267;
    pub(crate) const PPOLL: usize = 271;
    pub(crate) const DUP3: usize = 292;
    pub(crate) const PIPE2: usize = 293;
}

/// A system call with up to six operands; the missing ones are zero.
pub(crate) fn call<const N: usize>(number: usize, operands: [usize; N]) -> Result<usize, Errno> {
    call_slice(number, &operands)
}

/// One copy in the image, whatever the number of operands.
#[inline(never)]
fn call_slice(number: usize, operands: &[usize]) -> Result<usize, Errno> {
    let mut six = [0; 6];
    for (place, operand) in six.iter_mut().zip(operands) {
        *place = *operand;
    }
    decode(raw::syscall(number, six))
}

/// As [`call`], for an operation whose answer is the plain result.
pub(crate) fn answer<const N: usize>(number: usize, operands: [usize; N]) -> Answer {
    call(number, operands).map(|value| value as i64)
}

/// Takes the kernel's convention apart: -4095..=-1 is an error.
pub(crate) fn decode(result: isize) -> Result<usize, Errno> {
    match result {
        -4095..=-1 => Err(Errno(result.unsigned_abs() as u16)),
        _ => Ok(result.cast_unsigned()),
    }
}

/// The error that a negative result stands for.
pub(crate) fn errno(result: isize) -> Errno {
    decode(result).err().unwrap_or(EPROTO)
}

pub(crate) fn open(path: Terminated<'_>, flags: u32, mode: u32) -> Result<Fd, Errno> {
    call(nr::OPENAT, [AT_FDCWD, path.address(), flags as usize, mode as usize])
}

pub(crate) fn close(fd: Fd) {
    // The error of close says nothing about the sandbox, and there is nothing to be done about it.
    let _ = call(nr::CLOSE, [fd]);
}

pub(crate) fn read(fd: Fd, into: &mut [u8]) -> Result<usize, Errno> {
    call(nr::READ, [fd, into.as_mut_ptr() as usize, into.len()])
}

pub(crate) fn write(fd: Fd, bytes: &[u8]) -> Result<usize, Errno> {
    call(nr::WRITE, [fd, bytes.as_ptr() as usize, bytes.len()])
}

pub(crate) fn readlink(path: Terminated<'_>, into: &mut [u8]) -> Result<usize, Errno> {
    call(nr::READLINKAT, [AT_FDCWD, path.address(), into.as_mut_ptr() as usize, into.len()])
}

pub(crate) fn getdents64(fd: Fd, into: &mut [u8]) -> Result<usize, Errno> {
    call(nr::GETDENTS64, [fd, into.as_mut_ptr() as usize, into.len()])
}

/// `struct stat`, as the 18 words that the kernel writes.
pub(crate) struct Stat([u64; 18]);

impl Stat {
    pub(crate) fn links(&self) -> u64 {
        self.0[2]
    }

    pub(crate) fn mode(&self) -> u64 {
        self.0[3] & 0xffff_ffff
    }

    pub(crate) fn uid(&self) -> u64 {
        self.0[3] >> 32
    }

    pub(crate) fn gid(&self) -> u64 {
        self.0[4] & 0xffff_ffff
    }

    pub(crate) fn size(&self) -> u64 {
        self.0[6]
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.mode() & 0o170_000 == 0o040_000
    }
}

/// `newfstatat` on the current directory; `flags` may say AT_SYMLINK_NOFOLLOW (0x100).
pub(crate) fn stat(path: Terminated<'_>, flags: usize) -> Result<Stat, Errno> {
    stat_at(AT_FDCWD, path, flags)
}

/// `newfstatat`.
pub(crate) fn stat_at(directory: Fd, path: Terminated<'_>, flags: usize) -> Result<Stat, Errno> {
    let mut words = [0_u64; 18];
    call(nr::NEWFSTATAT, [directory, path.address(), words.as_mut_ptr() as usize, flags])?;
    Ok(Stat(words))
}

/// `pipe2(O_CLOEXEC)`: the reading end, the writing end.
pub(crate) fn pipe() -> Result<(Fd, Fd), Errno> {
    let mut ends = [0_u32; 2];
    call(nr::PIPE2, [ends.as_mut_ptr() as usize, O_CLOEXEC as usize])?;
    Ok((ends[0] as usize, ends[1] as usize))
}

pub(crate) fn getpid() -> usize {
    // getpid cannot fail; where a filter refuses it, 0 is no process that anybody would signal by mistake,
    // because `kill` below refuses 0.
    call(nr::GETPID, []).unwrap_or(0)
}

/// `kill`, never for the caller's whole process group.
pub(crate) fn kill(pid: usize, signal: usize) -> Result<(), Errno> {
    if pid == 0 {
        return Err(ESRCH);
    }
    call(nr::KILL, [pid, signal]).map(drop)
}

pub(crate) fn sleep(milliseconds: u64) -> Result<(), Errno> {
    let time = timespec(milliseconds);
    call(nr::NANOSLEEP, [time.as_ptr() as usize, 0]).map(drop)
}

/// Nanoseconds on the clock with that number.
pub(crate) fn clock(number: usize) -> Result<i64, Errno> {
    let mut time = [0_i64; 2];
    call(nr::CLOCK_GETTIME, [number, time.as_mut_ptr() as usize])?;
    Ok(time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1]))
}

pub(crate) const POLLIN: u16 = 1;
pub(crate) const POLLOUT: u16 = 4;

/// Waits until `fd` is ready for `events` (or has an error or hangs up); ETIMEDOUT when it is not in time.
pub(crate) fn await_ready(fd: Fd, events: u16, milliseconds: u64) -> Result<(), Errno> {
    // struct pollfd: fd, events, revents.
    let mut waited = [fd as u32, u32::from(events)];
    let time = timespec(milliseconds);
    match call(nr::PPOLL, [waited.as_mut_ptr() as usize, 1, time.as_ptr() as usize, 0, 8]) {
        Ok(0) => Err(ETIMEDOUT),
        other => other.map(drop),
    }
}

fn timespec(milliseconds: u64) -> [u64; 2] {
    [milliseconds / 1000, milliseconds % 1000 * 1_000_000]
}

/// `clone(SIGCHLD)`: 0 in the child.
pub(crate) fn fork() -> Result<usize, Errno> {
    const SIGCHLD: usize = 17;
    call(nr::CLONE, [SIGCHLD, 0, 0, 0, 0])
}

/// How a child ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Exited(u8),
    Signaled(u8),
    Stopped(u8),
}

/// Waits for the child `pid`; `options` as in wait4(2). Starts again after EINTR.
pub(crate) fn wait(pid: usize, options: usize) -> Result<Status, Errno> {
    let mut status = 0_u32;
    loop {
        match call(nr::WAIT4, [pid, raw::address_of(&mut status), options, 0]) {
            Err(EINTR) => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    let high = (status >> 8) as u8;
    Ok(match status & 0x7f {
        0 => Status::Exited(high),
        0x7f => Status::Stopped(high),
        signal => Status::Signaled(signal as u8),
    })
}

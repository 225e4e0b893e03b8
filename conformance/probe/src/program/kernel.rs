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

pub(crate) const EPERM: Errno = Errno(1);
pub(crate) const ENOENT: Errno = Errno(2);
pub(crate) const ESRCH: Errno = Errno(3);
pub(crate) const EINTR: Errno = Errno(4);
pub(crate) const EAGAIN: Errno = Errno(11);
pub(crate) const EINVAL: Errno = Errno(22);
pub(crate) const ENOSYS: Errno = Errno(38);
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
    pub(crate) const CLONE: usize = 56;
    pub(crate) const WAIT4: usize = 61;
    pub(crate) const GETDENTS64: usize = 217;
    pub(crate) const OPENAT: usize = 257;
    pub(crate) const NEWFSTATAT: usize = 262;
    pub(crate) const READLINKAT: usize = 267;
}

/// A system call with up to six operands; the missing ones are zero.
pub(crate) fn call<const N: usize>(number: usize, operands: [usize; N]) -> Result<usize, Errno> {
    let mut six = [0; 6];
    six[..N].copy_from_slice(&operands);
    decode(raw::syscall(number, six))
}

/// As [`call`], for an operation whose answer is the plain result.
pub(crate) fn answer<const N: usize>(number: usize, operands: [usize; N]) -> Answer {
    call(number, operands).map(|value| value as i64)
}

/// Takes the kernel's convention apart: -4095..=-1 is an error.
pub(crate) fn decode(result: isize) -> Result<usize, Errno> {
    match result {
        -4095..=-1 => Err(Errno((-result) as u16)),
        _ => Ok(result.cast_unsigned()),
    }
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
    pub(crate) fn inode(&self) -> u64 {
        self.0[1]
    }

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
    let mut words = [0_u64; 18];
    call(nr::NEWFSTATAT, [AT_FDCWD, path.address(), words.as_mut_ptr() as usize, flags])?;
    Ok(Stat(words))
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

//! seccomp(2): installing a filter, and answering for one.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use crate::{Errno, Result};

/// One instruction of a classic BPF program: `struct sock_filter` (linux/filter.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SockFilter {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when a comparison holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

#[repr(C)]
struct SockFprog {
    len: u16,
    filter: *const SockFilter,
}

/// Installs `program` for the calling thread; it holds for everything that this thread makes, for good.
///
/// # Errors
/// EACCES without no_new_privs or CAP_SYS_ADMIN; EINVAL for an invalid or an over-long program (4,096
/// instructions at most).
pub fn set_mode_filter(program: &[SockFilter]) -> Result<()> {
    let Ok(len) = u16::try_from(program.len()) else { return Err(Errno(libc::EINVAL)) };
    let program = SockFprog { len, filter: program.as_ptr() };
    // SAFETY: program points to `len` instructions that outlive the call; the kernel copies and checks them.
    Errno::check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    })
    .map(drop)
}

/// As [`set_mode_filter`], with a listener for the calls that the filter answers with SECCOMP_RET_USER_NOTIF (Linux 5.0).
/// Close-on-exec.
///
/// # Errors
/// As [`set_mode_filter`]; EBUSY when a filter with a listener is installed already.
pub fn set_mode_filter_with_listener(program: &[SockFilter]) -> Result<OwnedFd> {
    let Ok(len) = u16::try_from(program.len()) else { return Err(Errno(libc::EINVAL)) };
    let program = SockFprog { len, filter: program.as_ptr() };
    // SAFETY: as in `set_mode_filter`.
    let listener = Errno::check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    })?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(listener as RawFd) })
}

/// A system call that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    id: u64,
    /// The architecture of the entry by which it came (AUDIT_ARCH_*, linux/audit.h).
    pub arch: u32,
    /// Its number there.
    pub number: i32,
}

/// Waits for a call that a filter asks about (seccomp_unotify(2)).
///
/// # Errors
/// ENOENT when the caller was killed meanwhile, EINTR.
pub fn next_asked(listener: BorrowedFd<'_>) -> Result<Asked> {
    // The kernel wants the structure zeroed.
    let mut notif = MaybeUninit::<libc::seccomp_notif>::zeroed();
    // SAFETY: the kernel fills one seccomp_notif, which is what the pointer leads to.
    let done =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, notif.as_mut_ptr()) };
    Errno::check(done.into())?;
    // SAFETY: every bit pattern of the structure is valid, and it was zeroed.
    let notif = unsafe { notif.assume_init() };
    Ok(Asked { id: notif.id, arch: notif.data.arch, number: notif.data.nr })
}

/// Answers that the call fails with EPERM. There is no other answer: letting it go on would be decided by what its pointers
/// led to a moment ago (seccomp_unotify(2), "Design goals").
///
/// # Errors
/// ENOENT when the caller was killed meanwhile.
pub fn refuse(listener: BorrowedFd<'_>, asked: Asked) -> Result<()> {
    let response = libc::seccomp_notif_resp { id: asked.id, val: 0, error: -libc::EPERM, flags: 0 };
    // SAFETY: the kernel reads one seccomp_notif_resp.
    let done = unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw const response)
    };
    Errno::check(done.into()).map(drop)
}

/// Whether this kernel can return an errno from a filter, asked with `SECCOMP_GET_ACTION_AVAIL` (Linux 4.14).
///
/// # Errors
/// ENOSYS or EINVAL where filters are missing, EOPNOTSUPP where the action is.
pub fn errno_action_available() -> Result<()> {
    let action: u32 = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the kernel reads one u32.
    Errno::check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action)
    })
    .map(drop)
}

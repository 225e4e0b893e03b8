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

/// What a filter can answer (SECCOMP_RET_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// An errno.
    Errno,
    /// The end of the whole process (Linux 4.14).
    KillProcess,
    /// Success, and a line in the log (Linux 4.14).
    Log,
    /// A question to whoever holds the listener (Linux 5.0).
    Notify,
}

/// Whether this kernel's filters can answer so, asked with `SECCOMP_GET_ACTION_AVAIL` (Linux 4.14).
///
/// # Errors
/// ENOSYS or EINVAL where filters are missing, EOPNOTSUPP where the action is.
pub fn action_available(action: Action) -> Result<()> {
    let action: u32 = match action {
        Action::Errno => libc::SECCOMP_RET_ERRNO,
        Action::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        Action::Log => libc::SECCOMP_RET_LOG,
        Action::Notify => libc::SECCOMP_RET_USER_NOTIF,
    };
    // SAFETY: the kernel reads one u32.
    Errno::check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action)
    })
    .map(drop)
}

/// Whether a listener can be had whose questions only a deadly signal interrupts (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, Linux
/// 5.19). Nothing is installed: the flags are looked at before the program, which is nowhere (seccomp(2), "Checking for kernel
/// support").
///
/// # Errors
/// EINVAL where the flag is unknown, ENOSYS without filters.
pub fn wait_killable_available() -> Result<()> {
    /// linux/seccomp.h
    const WAIT_KILLABLE_RECV: libc::c_ulong = 1 << 5;
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | WAIT_KILLABLE_RECV;
    // SAFETY: a null program is never read.
    let installed = Errno::check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, std::ptr::null::<SockFprog>())
    });
    match installed {
        Err(Errno(libc::EFAULT)) | Ok(_) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Whether whoever answers through `listener` can hand in a descriptor and answer with it at once
/// (SECCOMP_ADDFD_FLAG_SEND, Linux 5.14). Nothing is handed in: the flags are looked at before the descriptor, which is none.
///
/// # Errors
/// EINVAL where the flag or the request is unknown.
pub fn addfd_send_available(listener: BorrowedFd<'_>) -> Result<()> {
    /// linux/seccomp.h: `SECCOMP_IOW(3, struct seccomp_notif_addfd)`, and the flag.
    const NOTIF_ADDFD: libc::c_ulong = 0x4018_2103;
    const FLAG_SEND: u32 = 1 << 1;
    #[repr(C)]
    struct Addfd {
        id: u64,
        flags: u32,
        srcfd: u32,
        newfd: u32,
        newfd_flags: u32,
    }
    let addfd = Addfd { id: 0, flags: FLAG_SEND, srcfd: u32::MAX, newfd: 0, newfd_flags: 0 };
    // SAFETY: the kernel reads one seccomp_notif_addfd.
    let done = unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_ADDFD as _, &raw const addfd) };
    match Errno::check(done.into()) {
        Err(Errno(libc::EBADF)) | Ok(_) => Ok(()),
        Err(errno) => Err(errno),
    }
}

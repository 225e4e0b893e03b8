//! seccomp(2): installing a filter.

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

//! Entries and calls that a sandbox closes or does not use, each made in the most harmless way that tells whether it is there.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::process::ForkedChild;
use crate::{Errno, Result};

/// getpid(2) by the 32-bit entry, `int 0x80`. Where that is closed the processor raises a fault, and the child ends with status
/// EFAULT: by a handler, since the kernel writes a line about what nobody handles.
///
/// # Errors
/// What the entry says: ENOSYS or EPERM of a filter.
pub fn ia32_getpid(_proof: &ForkedChild) -> Result<i32> {
    extern "C" fn fault(_signal: libc::c_int) {
        // SAFETY: _exit is async-signal-safe and touches no memory.
        unsafe { libc::_exit(libc::EFAULT) }
    }
    /// Its number there (arch/x86/entry/syscalls/syscall_32.tbl).
    const GETPID: i32 = 20;
    let handler: extern "C" fn(libc::c_int) = fault;
    let answer: i32;
    // SAFETY: the handler stays for the rest of this process and only ends it. The entry keeps every register but eax, and
    // r8 to r11, which older kernels clear; getpid takes no argument and touches no memory.
    unsafe {
        libc::signal(libc::SIGSEGV, handler as libc::sighandler_t);
        std::arch::asm!(
            "int 0x80",
            inlateout("eax") GETPID => answer,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
            options(nostack),
        );
    }
    if answer < 0 { Err(Errno(-answer)) } else { Ok(answer) }
}

/// getpid(2) by its number of the x32 ABI.
///
/// # Errors
/// ENOSYS where the kernel has none.
pub fn x32_getpid() -> Result<()> {
    /// asm/unistd.h, `__X32_SYSCALL_BIT`
    const X32: libc::c_long = 0x4000_0000;
    // SAFETY: the call takes no pointer.
    Errno::check(unsafe { libc::syscall(X32 | libc::SYS_getpid) }).map(drop)
}

/// io_uring_setup(2) with one entry.
///
/// # Errors
/// ENOSYS without io_uring, EPERM where kernel.io_uring_disabled forbids it, ENOMEM.
pub fn io_uring() -> Result<OwnedFd> {
    // struct io_uring_params is 120 bytes, all of which may be zero.
    let mut parameters = [0u64; 15];
    // SAFETY: the kernel reads and writes one io_uring_params.
    let ring = Errno::check(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, &raw mut parameters) })?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(ring as i32) })
}

/// Puts a byte into the input of the caller's own terminal (TIOCSTI, ioctl_tty(2)).
///
/// # Errors
/// EIO where dev.tty.legacy_tiocsti is 0 (Linux 6.2) and the caller lacks CAP_SYS_ADMIN.
pub fn push_input(_proof: &ForkedChild, terminal: BorrowedFd<'_>) -> Result<()> {
    let byte = b'x';
    // SAFETY: the kernel reads one byte.
    Errno::check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSTI, &raw const byte) }.into())
        .map(drop)
}

/// Makes a tun interface of the descriptor, which goes with it (Documentation/networking/tuntap.rst, TUNSETIFF).
///
/// # Errors
/// EPERM without CAP_NET_ADMIN over the caller's network namespace.
pub fn make_tun(_proof: &ForkedChild, device: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: an all-zero ifreq is valid: the kernel gives the interface a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq.
    Errno::check(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) }.into())
        .map(drop)
}

/// mseal(2) of nothing.
///
/// # Errors
/// ENOSYS before Linux 6.10.
pub fn mseal() -> Result<()> {
    /// asm/unistd_64.h
    const MSEAL: libc::c_long = 462;
    // SAFETY: no byte is sealed by a length of 0.
    Errno::check(unsafe { libc::syscall(MSEAL, 0, 0, 0) }).map(drop)
}

/// Whether a process can forbid itself memory that is writable and executable: reads its own state (prctl(2), PR_GET_MDWE).
///
/// # Errors
/// EINVAL before Linux 6.3.
pub fn mdwe() -> Result<()> {
    /// linux/prctl.h
    const PR_GET_MDWE: libc::c_int = 66;
    // SAFETY: no pointer is passed.
    Errno::check(unsafe { libc::prctl(PR_GET_MDWE, 0, 0, 0, 0) }.into()).map(drop)
}

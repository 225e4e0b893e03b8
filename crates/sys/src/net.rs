//! The loopback interface of a fresh network namespace.

use crate::{Errno, Result};

/// Brings `lo` up in the calling thread's network namespace (netdevice(7), SIOCSIFFLAGS). The kernel then gives it
/// 127.0.0.1/8 and ::1/128 by itself.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN over the namespace; EMFILE.
pub fn loopback_up() -> Result<()> {
    // SAFETY: no pointer is passed.
    let socket = Errno::check(
        unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into(),
    )?;
    // SAFETY: an all-zero ifreq is valid: an empty name and no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq.
    let up =
        Errno::check(unsafe { libc::ioctl(socket as i32, libc::SIOCSIFFLAGS, &raw const request) }.into());
    // SAFETY: this function made the descriptor and nobody else has it.
    unsafe { libc::close(socket as i32) };
    up.map(drop)
}

//! The loopback interface of a fresh network namespace, and options of sockets in it.

use std::os::fd::{AsRawFd, BorrowedFd};

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

/// Lets a socket take packets that are not for an address of this host, of IPv4 and, for a socket of IPv6, of both families
/// (ip(7), IP_TRANSPARENT; linux/in6.h, IPV6_TRANSPARENT).
///
/// # Errors
/// EPERM without CAP_NET_ADMIN or CAP_NET_RAW over the network namespace.
pub fn set_transparent(socket: BorrowedFd<'_>, ipv6: bool) -> Result<()> {
    set(socket, libc::SOL_IP, libc::IP_TRANSPARENT)?;
    if ipv6 { set(socket, libc::SOL_IPV6, libc::IPV6_TRANSPARENT) } else { Ok(()) }
}

/// Has the kernel tell with each datagram to which address it was sent (ip(7), IP_PKTINFO; ipv6(7), IPV6_RECVPKTINFO), and,
/// `originally`, to which port too (linux/in.h, IP_RECVORIGDSTADDR).
///
/// # Errors
/// ENOPROTOOPT for what is no socket of these families.
pub fn tell_destinations(socket: BorrowedFd<'_>, ipv6: bool, originally: bool) -> Result<()> {
    // A socket of IPv6 that takes IPv4 too tells of its datagrams by the option of that family.
    set(socket, libc::SOL_IP, libc::IP_PKTINFO)?;
    if ipv6 {
        set(socket, libc::SOL_IPV6, libc::IPV6_RECVPKTINFO)?;
    }
    if originally {
        set(socket, libc::SOL_IP, libc::IP_RECVORIGDSTADDR)?;
        if ipv6 {
            set(socket, libc::SOL_IPV6, libc::IPV6_RECVORIGDSTADDR)?;
        }
    }
    Ok(())
}

/// Turns an option on.
fn set(socket: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int) -> Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: `on` outlives the call, which reads as many bytes as it is long.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    Errno::check(set.into()).map(drop)
}

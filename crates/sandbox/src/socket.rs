//! The sockets that the gateway serves, made inside a sandbox's network namespace.
//!
//! The rules of [`crate::child`] hold here: no allocation, no lock.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use palisade_policy::Protocol;
use palisade_sys::net as sys_net;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt};

/// How many connections may wait to be accepted; the kernel makes it no more than `net.core.somaxconn` (listen(2)).
const BACKLOG: i32 = 4096;

/// Makes a socket that takes what comes to `address`, of both families where that is the unspecified address of IPv6. A
/// transparent one takes what rules bring to it besides (ip(7), IP_TRANSPARENT).
pub(crate) fn make(protocol: Protocol, address: SocketAddr, transparent: bool) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    // A rule for port 53 and the resolver share that port: at different addresses, which the kernel allows for sockets of
    // one user that all say so (socket(7), SO_REUSEPORT). The more specific address is served first.
    sockopt::set_socket_reuseport(&socket, true)?;
    if !address.is_ipv4() {
        sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    if transparent {
        sys_net::set_transparent(socket.as_fd(), !address.is_ipv4()).map_err(raw)?;
    }
    if protocol == Protocol::Udp {
        // Each datagram tells the address that it was sent to.
        sys_net::tell_destinations(socket.as_fd(), !address.is_ipv4(), transparent).map_err(raw)?;
    }
    bind(&socket, &address)?;
    if protocol == Protocol::Tcp {
        listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

/// Makes a socket that sends whole packets, headers and all (raw(7), IPPROTO_RAW). Nothing is received by it.
pub(crate) fn make_raw(ipv6: bool) -> Result<OwnedFd, Errno> {
    let family = if ipv6 { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(family, SocketType::RAW, flags, Some(ipproto::RAW))
}

fn raw(errno: palisade_sys::Errno) -> Errno {
    Errno::from_raw_os_error(errno.0)
}

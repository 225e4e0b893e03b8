//! Opens the canary's sockets while the lab is built (ports below 1024 need the lab's capabilities), and knows how to
//! learn the dialled address of a datagram.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram, UnixListener};

use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg,
    sendmsg, setsockopt, sockopt,
};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, ipproto};

use super::{Endpoint, Proto};
use crate::lab::world::{Presence, World};

/// Multicast groups whose datagrams are observed: all nodes, mDNS and SSDP.
pub const GROUPS: &[IpAddr] = &[
    IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1)),
    IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)),
    IpAddr::V4(Ipv4Addr::new(239, 255, 255, 250)),
    IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb)),
];

/// Connections that wait to be accepted, for each listener. A burst beyond it is slowed, not lost.
const BACKLOG: i32 = 1024;

const UDPLITE: Protocol = Protocol::from_raw(std::num::NonZero::new(136).expect("136 is not 0"));

/// A listener and how it is addressed.
#[derive(Debug)]
pub(super) enum Source {
    Tcp(TcpListener),
    Datagram(OwnedFd, Proto, u16),
    UnixStream(UnixListener, Endpoint),
    UnixDgram(UnixDatagram, Endpoint),
}

/// All sockets of the canary, bound and listening.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub(super) sources: Vec<Source>,
}

impl Sockets {
    /// Binds the internet sockets that `world` describes.
    ///
    /// Records in `world` what the kernel does not have: IPv6, UDP-Lite.
    ///
    /// # Errors
    /// The first socket that cannot be bound for another reason, with its name.
    pub(crate) fn open_inet(&mut self, world: &mut World) -> Result<(), (String, io::Error)> {
        let v6 = match rustix::net::socket(AddressFamily::INET6, SocketType::DGRAM, None) {
            Ok(_) => true,
            Err(errno) => {
                world.ipv6 = Presence::Absent(format!("socket(AF_INET6): {errno}"));
                false
            }
        };
        let any = if v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        for &port in &world.tcp_ports {
            self.tcp(SocketAddr::new(any, port))?;
        }
        for address in world.host_service().iter().filter(|a| v6 || a.is_ipv4()) {
            self.tcp(*address)?;
        }
        for &port in &world.udp_ports {
            self.datagram(SocketAddr::new(any, port), Proto::Udp, None)?;
        }
        for &port in &world.udp_ports {
            match self.datagram(SocketAddr::new(any, port), Proto::UdpLite, Some(UDPLITE)) {
                Ok(()) => {}
                Err((_, e)) if e.raw_os_error() == Some(libc::EPROTONOSUPPORT) => {
                    world.udplite = Presence::Absent(format!("socket(IPPROTO_UDPLITE): {e}"));
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn tcp(&mut self, address: SocketAddr) -> Result<(), (String, io::Error)> {
        let open = || -> io::Result<TcpListener> {
            let fd = socket(address, SocketType::STREAM, None)?;
            rustix::net::sockopt::set_socket_reuseaddr(&fd, true)?;
            rustix::net::bind(&fd, &address)?;
            rustix::net::listen(&fd, BACKLOG)?;
            Ok(TcpListener::from(fd))
        };
        self.sources.push(Source::Tcp(open().map_err(|e| (format!("listen on tcp {address}"), e))?));
        Ok(())
    }

    fn datagram(
        &mut self,
        address: SocketAddr,
        proto: Proto,
        protocol: Option<Protocol>,
    ) -> Result<(), (String, io::Error)> {
        let open = || -> io::Result<OwnedFd> {
            let fd = socket(address, SocketType::DGRAM, protocol)?;
            rustix::net::bind(&fd, &address)?;
            if address.is_ipv6() {
                // To answer from an address that is local by its route but on no link.
                rustix::net::sockopt::set_ipv6_freebind(&fd, true)?;
                setsockopt(&fd, sockopt::Ipv6RecvPacketInfo, &true)?;
            } else {
                setsockopt(&fd, sockopt::Ipv4PacketInfo, &true)?;
            }
            join_groups(&fd, address.is_ipv6())?;
            Ok(fd)
        };
        let fd = open().map_err(|e| (format!("bind {proto:?} {address}"), e))?;
        self.sources.push(Source::Datagram(fd, proto, address.port()));
        Ok(())
    }

    /// Binds a Unix socket. A path's directory must exist.
    pub(crate) fn open_unix(&mut self, endpoint: &Endpoint, proto: Proto) -> io::Result<()> {
        let address = match endpoint {
            Endpoint::Path(path) => UnixAddr::from_pathname(path)?,
            Endpoint::Abstract(name) => UnixAddr::from_abstract_name(name)?,
            Endpoint::Inet(_) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        self.bind_unix(endpoint, proto, &address)?;
        if let Endpoint::Path(path) = endpoint {
            // Open to every uid: only the sandbox is to keep a workload away.
            fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        }
        Ok(())
    }

    fn bind_unix(&mut self, endpoint: &Endpoint, proto: Proto, address: &UnixAddr) -> io::Result<()> {
        if proto == Proto::UnixDgram {
            let socket = UnixDatagram::bind_addr(address)?;
            socket.set_nonblocking(true)?;
            self.sources.push(Source::UnixDgram(socket, endpoint.clone()));
        } else {
            let socket = UnixListener::bind_addr(address)?;
            socket.set_nonblocking(true)?;
            self.sources.push(Source::UnixStream(socket, endpoint.clone()));
        }
        Ok(())
    }
}

/// Joins the multicast groups on `lo`, on the listening socket itself: IP_MULTICAST_ALL (ip(7)), by which another
/// socket's membership would do, is off for an IPv6 socket that hears IPv4 (seen on 6.18).
fn join_groups(fd: &OwnedFd, v6: bool) -> io::Result<()> {
    const LO: u32 = 1;
    for group in GROUPS {
        match group {
            IpAddr::V4(group) => {
                rustix::net::sockopt::set_ip_add_membership(fd, group, &Ipv4Addr::LOCALHOST)?
            }
            IpAddr::V6(group) if v6 => rustix::net::sockopt::set_ipv6_add_membership(fd, group, LO)?,
            IpAddr::V6(_) => {}
        }
    }
    Ok(())
}

fn socket(address: SocketAddr, kind: SocketType, protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(family, kind, flags, protocol)?;
    // One dual-stack listener hears both families only on the wildcard address; bound to ::1 it must not try.
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        rustix::net::sockopt::set_ipv6_v6only(&fd, false)?;
    }
    Ok(fd)
}

/// IPv4-mapped IPv6 as IPv4; scope and flow label away, for they say how it was dialled, not where to.
pub(super) fn normal_address(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

pub(super) fn normal(endpoint: &Endpoint) -> Endpoint {
    match endpoint {
        Endpoint::Inet(address) => Endpoint::Inet(normal_address(*address)),
        other => other.clone(),
    }
}

/// A datagram with both its ends.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) length: usize,
    pub(super) peer: SocketAddr,
    /// The dialled address, when the kernel told.
    pub(super) local: IpAddr,
}

/// Receives one datagram and the address that it was sent to (ip(7) IP_PKTINFO, ipv6(7) IPV6_PKTINFO).
pub(super) fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<Datagram> {
    let mut parts = [IoSliceMut::new(buffer)];
    let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::in_pktinfo);
    let message =
        recvmsg::<SockaddrStorage>(fd.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
    let local = message.cmsgs()?.find_map(|c| match c {
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr))),
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr))))
        }
        _ => None,
    });
    let peer = message.address.as_ref().and_then(|a| {
        let v6 = a.as_sockaddr_in6().map(|a| SocketAddr::V6((*a).into()));
        v6.or_else(|| a.as_sockaddr_in().map(|a| SocketAddr::V4((*a).into())))
    });
    match (local, peer) {
        (Some(local), Some(peer)) => Ok(Datagram { length: message.bytes, peer, local }),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "datagram without its addresses")),
    }
}

/// Answers a datagram from the address that it was sent to, so that connected peers accept the answer.
pub(super) fn reply(fd: &OwnedFd, to: &Datagram, bytes: &[u8]) -> io::Result<()> {
    let parts = [IoSlice::new(bytes)];
    match (to.peer, to.local) {
        (SocketAddr::V6(peer), IpAddr::V6(local)) => {
            let info =
                libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: local.octets() }, ipi6_ifindex: 0 };
            let control = [ControlMessage::Ipv6PacketInfo(&info)];
            sendmsg(
                fd.as_raw_fd(),
                &parts,
                &control,
                MsgFlags::MSG_DONTWAIT,
                Some(&SockaddrIn6::from(peer)),
            )?;
        }
        (SocketAddr::V4(peer), IpAddr::V4(local)) => {
            let address = libc::in_addr { s_addr: u32::from(local).to_be() };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: address };
            let control = [ControlMessage::Ipv4PacketInfo(&info)];
            sendmsg(fd.as_raw_fd(), &parts, &control, MsgFlags::MSG_DONTWAIT, Some(&SockaddrIn::from(peer)))?;
        }
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    }
    Ok(())
}

/// The protocol number of UDP-Lite for visits; `Protocol` has no name for it.
pub(super) fn protocol(proto: Proto) -> Option<Protocol> {
    (proto == Proto::UdpLite).then_some(UDPLITE).or(Some(ipproto::UDP))
}

//! Datagrams that no socket inside could send: from a port that nobody has bound, and the kernel's own word that nobody is
//! there. Written by hand and put into the sandbox's namespace through raw sockets that were made there (raw(7),
//! IP_HDRINCL; IPPROTO_RAW implies it for both families).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrLike as _, SockaddrStorage, sendto,
};

/// Protocol numbers (IANA, protocol-numbers).
const ICMP: u8 = 1;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Bytes of headers.
const IPV4_HEAD: usize = 20;
const IPV6_HEAD: usize = 40;
const UDP_HEAD: usize = 8;

/// Hops that a packet may take: it takes one.
const HOPS: u8 = 64;

/// Raw sockets of the sandbox, of one family each. Without them nothing is sent.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    v4: Option<OwnedFd>,
    v6: Option<OwnedFd>,
}

impl Raw {
    pub(crate) fn new(sockets: Vec<OwnedFd>) -> io::Result<Self> {
        let mut raw = Self::default();
        for socket in sockets {
            let local: SockaddrStorage = nix::sys::socket::getsockname(socket.as_raw_fd())?;
            match local.family() {
                Some(AddressFamily::Inet) => raw.v4 = Some(socket),
                Some(AddressFamily::Inet6) => raw.v6 = Some(socket),
                _ => return Err(io::ErrorKind::InvalidInput.into()),
            }
        }
        Ok(raw)
    }

    /// Sends a datagram as if a socket at `from` did. Whether there was a means to.
    pub(crate) fn datagram(&self, from: SocketAddr, to: SocketAddr, data: &[u8]) -> bool {
        let Some((from_ip, to_ip)) = pair(from.ip(), to.ip()) else { return false };
        let mut segment = udp_head(from.port(), to.port(), data.len());
        segment.extend_from_slice(data);
        let sum = checksum(from_ip, to_ip, UDP, &segment);
        // Zero would say that there is none (RFC 768).
        put(&mut segment, 6, if sum == 0 { 0xffff } else { sum });
        self.send(from_ip, to_ip, UDP, &segment)
    }

    /// Tells `client` that nobody listens where it has sent a datagram of `length` bytes: ICMP "port unreachable", which a
    /// connected socket hears as ECONNREFUSED (RFC 792; RFC 4443, 3.1).
    pub(crate) fn refuse(&self, client: SocketAddr, dialled: SocketAddr, length: usize) {
        let Some((client_ip, dialled_ip)) = pair(client.ip(), dialled.ip()) else { return };
        // What it is about: the head of the datagram as it was sent.
        let segment = udp_head(client.port(), dialled.port(), length);
        let mut about = ip_head(client_ip, dialled_ip, UDP, UDP_HEAD + length);
        about.extend_from_slice(&segment);
        let (kind, code, protocol) = if client_ip.is_ipv4() { (3, 3, ICMP) } else { (1, 4, ICMPV6) };
        let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(&about);
        let sum = match protocol {
            ICMP => fold(sum(&message)),
            _ => checksum(dialled_ip, client_ip, ICMPV6, &message),
        };
        put(&mut message, 2, sum);
        self.send(dialled_ip, client_ip, protocol, &message);
    }

    fn send(&self, from: IpAddr, to: IpAddr, protocol: u8, segment: &[u8]) -> bool {
        let socket = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        let Some(socket) = socket else { return false };
        let mut packet = ip_head(from, to, protocol, segment.len());
        packet.extend_from_slice(segment);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        // A full buffer drops the datagram, as a full link would.
        let _ = match to {
            IpAddr::V4(to) => {
                let to = SockaddrIn::from(std::net::SocketAddrV4::new(to, 0));
                sendto(socket.as_raw_fd(), &packet, &to, flags)
            }
            IpAddr::V6(to) => {
                let to = SockaddrIn6::from(std::net::SocketAddrV6::new(to, 0, 0, 0));
                sendto(socket.as_raw_fd(), &packet, &to, flags)
            }
        };
        true
    }
}

/// Both addresses in the family that packets between them have.
fn pair(one: IpAddr, other: IpAddr) -> Option<(IpAddr, IpAddr)> {
    let (one, other) = (one.to_canonical(), other.to_canonical());
    (one.is_ipv4() == other.is_ipv4()).then_some((one, other))
}

/// The head of a datagram with `length` bytes of data, without its checksum (RFC 768).
fn udp_head(from: u16, to: u16, length: usize) -> Vec<u8> {
    let length = u16::try_from(UDP_HEAD + length).unwrap_or(u16::MAX);
    [from, to, length, 0].iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// The head of a packet with `length` bytes after it (RFC 791, 3.1; RFC 8200, 3).
fn ip_head(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(IPV6_HEAD + length);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = u16::try_from(IPV4_HEAD + length).unwrap_or(u16::MAX).to_be_bytes();
            head.extend([0x45, 0, total[0], total[1], 0, 0, 0, 0, HOPS, protocol, 0, 0]);
            head.extend(from.octets());
            head.extend(to.octets());
            let sum = fold(sum(&head));
            put(&mut head, 10, sum);
        }
        (from, to) => {
            let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
            head.extend([0x60, 0, 0, 0, length[0], length[1], protocol, HOPS]);
            head.extend(v6(from).octets());
            head.extend(v6(to).octets());
        }
    }
    head
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::to_ipv6_mapped(&address),
        IpAddr::V6(address) => address,
    }
}

/// The checksum of a segment with its pseudo-header (RFC 768; RFC 8200, 8.1). The two forms sum up to the same.
fn checksum(from: IpAddr, to: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let length = u32::try_from(segment.len()).unwrap_or(u32::MAX);
    let total =
        sum(&octets(from)) + sum(&octets(to)) + u64::from(protocol) + u64::from(length) + sum(segment);
    fold(total)
}

/// The words of `bytes`, added up.
fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0))).sum()
}

/// The complement of the sum in ones' complement (RFC 1071).
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

fn put(bytes: &mut [u8], at: usize, word: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&word.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_sums_up_to_nothing() {
        // The example of RFC 1071, 3, and a header whose own checksum is in it.
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), !0xddf2);
        let head = ip_head([192, 0, 2, 1].into(), [192, 0, 2, 2].into(), UDP, 100);
        assert_eq!(fold(sum(&head)), 0);
    }

    #[test]
    fn both_families_are_told_apart_by_what_packets_have() {
        let mapped: IpAddr = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().into();
        let plain: IpAddr = [192, 0, 2, 2].into();
        assert_eq!(pair(mapped, plain), Some(([192, 0, 2, 1].into(), plain)));
        assert_eq!(pair(plain, Ipv6Addr::LOCALHOST.into()), None);
    }
}

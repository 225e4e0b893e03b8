//! The few words of rtnetlink(7) that the lab needs: raise `lo`, route everything to it, list links and default routes.
//!
//! Own serialisation over an ordinary socket, so that no `ip` program is needed. Acts on the network namespace
//! of the calling process; the caller has passed the guard before it changes anything.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

/// A network link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
}

/// A default route (destination length 0) of any table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DefaultRoute {
    pub(super) family: u8,
    /// The outgoing link, absent for a multipath or blackhole route.
    pub(super) link: Option<u32>,
    /// `RTN_UNICAST`, `RTN_UNREACHABLE`, ...
    pub(super) kind: u8,
}

/// A route to make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    /// Destination and length of its prefix.
    pub(super) to: (IpAddr, u8),
    /// [`UNICAST`], [`LOCAL`] or [`BROADCAST`].
    pub(super) kind: u8,
    /// Preferred source address.
    pub(super) from: Option<IpAddr>,
}

/// `RTN_UNICAST`
pub(super) const UNICAST: u8 = 1;
/// `RTN_LOCAL`
pub(super) const LOCAL: u8 = 2;
/// `RTN_BROADCAST`
pub(super) const BROADCAST: u8 = 3;

pub(super) const V4: u8 = 2;
pub(super) const V6: u8 = 10;

const HEADER: usize = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_REPLACE: u16 = 0x100;

/// A socket of the current network namespace.
#[derive(Debug)]
pub(super) struct Rtnl {
    fd: OwnedFd,
    sequence: u32,
}

impl Rtnl {
    pub(super) fn open() -> io::Result<Self> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        Ok(Self { fd, sequence: 0 })
    }

    /// `ip link set dev INDEX up`. Raising `lo` gives it 127.0.0.1/8 and ::1/128.
    pub(super) fn link_up(&mut self, index: u32) -> io::Result<()> {
        let mut body = vec![0_u8; 16];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        let up = 1_u32.to_ne_bytes(); // IFF_UP, as flag and as mask of flags to change
        body[8..12].copy_from_slice(&up);
        body[12..16].copy_from_slice(&up);
        self.request(libc::RTM_NEWLINK, NLM_F_ACK, &body).map(drop)
    }

    /// `ip link add FIRST type veth peer name SECOND`.
    pub(super) fn add_pair(&mut self, names: [&str; 2]) -> io::Result<()> {
        const NLM_F_EXCL: u16 = 0x200;
        const INFO_KIND: u16 = 1;
        const INFO_DATA: u16 = 2;
        const VETH_INFO_PEER: u16 = 1;
        let named = |name: &str| {
            let mut body = vec![0_u8; 16];
            attach(&mut body, libc::IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
            body
        };
        let [mut first, second] = names.map(named);
        let (mut data, mut info) = (Vec::new(), Vec::new());
        attach(&mut data, VETH_INFO_PEER, &second);
        attach(&mut info, INFO_KIND, b"veth");
        attach(&mut info, INFO_DATA, &data);
        attach(&mut first, libc::IFLA_LINKINFO, &info);
        self.request(libc::RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &first).map(drop)
    }

    /// `ip address add ADDRESS/32 (or /128) dev INDEX`, without duplicate address detection.
    pub(super) fn add_address(&mut self, index: u32, address: IpAddr) -> io::Result<()> {
        const IFA_F_NODAD: u8 = 2;
        let octets = octets(address);
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let mut body = vec![family(address), bits, IFA_F_NODAD, 0];
        body.extend_from_slice(&index.to_ne_bytes());
        attach(&mut body, libc::IFA_LOCAL, &octets);
        attach(&mut body, libc::IFA_ADDRESS, &octets);
        self.request(libc::RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, &body).map(drop)
    }

    /// `ip route add KIND TO dev INDEX [src FROM] table local`.
    pub(super) fn add_route(&mut self, index: u32, route: &Route) -> io::Result<()> {
        const TABLE_LOCAL: u8 = 255;
        const PROTO_BOOT: u8 = 3;
        // RT_SCOPE_HOST for a destination that is this host, RT_SCOPE_LINK for what is beside it.
        let scope = if route.kind == LOCAL { 254 } else { 253 };
        let (to, length) = route.to;
        let mut body = vec![family(to), length, 0, 0, TABLE_LOCAL, PROTO_BOOT, scope, route.kind, 0, 0, 0, 0];
        if length > 0 {
            attach(&mut body, libc::RTA_DST, &octets(to));
        }
        if let Some(from) = route.from {
            attach(&mut body, libc::RTA_PREFSRC, &octets(from));
        }
        attach(&mut body, libc::RTA_OIF, &index.to_ne_bytes());
        self.request(libc::RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, &body).map(drop)
    }

    pub(super) fn links(&mut self) -> io::Result<Vec<Link>> {
        let messages = self.request(libc::RTM_GETLINK, NLM_F_DUMP, &[0; 16])?;
        let links = messages.iter().filter_map(|body| {
            let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
            let name = attribute(body.get(16..)?, libc::IFLA_IFNAME)?;
            let name = name.split(|&b| b == 0).next()?;
            Some(Link { index, name: String::from_utf8_lossy(name).into_owned() })
        });
        Ok(links.collect())
    }

    pub(super) fn default_routes(&mut self, family: u8) -> io::Result<Vec<DefaultRoute>> {
        let mut query = vec![0_u8; 12];
        query[0] = family;
        let messages = self.request(libc::RTM_GETROUTE, NLM_F_DUMP, &query)?;
        let routes = messages.iter().filter(|body| body.len() >= 12 && body[1] == 0).map(|body| {
            let link =
                attribute(&body[12..], libc::RTA_OIF).and_then(|v| v.try_into().ok()).map(u32::from_ne_bytes);
            DefaultRoute { family: body[0], link, kind: body[7] }
        });
        Ok(routes.collect())
    }

    /// Sends one request and collects the bodies of what comes back, up to the acknowledgement or the end of the dump.
    fn request(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.sequence += 1;
        let length = u32::try_from(HEADER + body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend_from_slice(&length.to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&0_u32.to_ne_bytes());
        message.extend_from_slice(body);
        send(self.fd.as_raw_fd(), &message, MsgFlags::empty())?;

        let mut bodies = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let received = recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            for (kind, body) in messages(&buffer[..received]) {
                match i32::from(kind) {
                    libc::NLMSG_DONE => return Ok(bodies),
                    libc::NLMSG_ERROR => {
                        let code =
                            body.get(..4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes);
                        return if code == 0 { Ok(bodies) } else { Err(io::Error::from_raw_os_error(-code)) };
                    }
                    _ => bodies.push(body.to_vec()),
                }
            }
        }
    }
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { V4 } else { V6 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Appends an attribute, padded to four bytes.
fn attach(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // No attribute here is longer than an address.
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend_from_slice(&length.to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Splits a datagram into messages: type and body.
fn messages(mut rest: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let Some(header) = rest.get(..HEADER) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some(body) = rest.get(HEADER..length) else { break };
        found.push((u16::from_ne_bytes([header[4], header[5]]), body));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// The value of the first attribute of this type.
fn attribute(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some(header) = rest.get(..4) {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let value = rest.get(4..length)?;
        if u16::from_ne_bytes([header[2], header[3]]) & 0x3fff == wanted {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_after_padding() {
        let bytes = [5, 0, 9, 0, b'x', 0, 0, 0, 8, 0, 4, 0, 7, 0, 0, 0];
        assert_eq!(attribute(&bytes, 4), Some(&[7, 0, 0, 0][..]));
        assert_eq!(attribute(&bytes, 9), Some(&b"x"[..]));
        assert_eq!(attribute(&bytes, 3), None);
    }

    #[test]
    fn a_message_with_a_false_length_ends_the_walk() {
        let mut bytes = vec![0; 32];
        bytes[0] = 200;
        assert!(messages(&bytes).is_empty());
        bytes[0] = 4;
        assert!(messages(&bytes).is_empty());
    }

    #[test]
    fn the_loopback_link_is_listed_everywhere() {
        let links = Rtnl::open().and_then(|mut r| r.links()).expect("reading links needs no privilege");
        assert!(links.iter().any(|l| l.index == 1 && l.name == "lo"), "{links:?}");
    }
}

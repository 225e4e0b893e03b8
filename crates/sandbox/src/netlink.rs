//! Requests to the kernel's routing, for a network namespace whose only interface is `lo` (rtnetlink(7)).
//!
//! Written before the fork; sending one and reading the answer allocates nothing.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use ipnet::IpNet;
use palisade_plan::step::RouteKind;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// The index of `lo`: the first interface of every network namespace (net/core/net_namespace.c).
const LOOPBACK: u32 = 1;

/// rtnetlink(7), linux/rtnetlink.h.
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RT_TABLE_LOCAL: u8 = 255;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_HOST: u8 = 254;
const RTN_LOCAL: u8 = 2;
const RTN_PROHIBIT: u8 = 8;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;

/// linux/if_addr.h.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// Without it an IPv6 address is tentative, and cannot be bound, until a worker of the kernel has looked for duplicates;
/// on `lo` too.
const IFA_F_NODAD: u8 = 2;

/// netlink(7): a request that is answered, for something that is not there yet.
const FLAGS: u16 = 0x1 | 0x4 | 0x200 | 0x400;
const NLMSG_ERROR: u16 = 2;
/// Bytes of a message's head.
const HEAD: usize = 16;

/// One request, as the kernel takes it.
#[derive(Debug)]
pub(crate) struct Request(Vec<u8>);

impl Request {
    /// Gives `lo` an address.
    pub(crate) fn add_address(address: IpAddr) -> Self {
        let (family, bits) = family(address);
        let mut body = vec![family, bits, IFA_F_NODAD, RT_SCOPE_HOST];
        body.extend(LOOPBACK.to_ne_bytes());
        for kind in [IFA_LOCAL, IFA_ADDRESS] {
            attribute(&mut body, kind, &octets(address));
        }
        Self::of(RTM_NEWADDR, &body)
    }

    /// Adds a route to the table `local`. IPv6 asks that table first, so a route that refuses must stand there too.
    pub(crate) fn add_route(net: IpNet, kind: RouteKind) -> Self {
        let (family, _) = family(net.addr());
        let number = match kind {
            RouteKind::Local => RTN_LOCAL,
            RouteKind::Prohibit => RTN_PROHIBIT,
        };
        let length = net.prefix_len();
        let mut body = vec![family, length, 0, 0, RT_TABLE_LOCAL, RTPROT_STATIC, RT_SCOPE_HOST, number];
        body.extend(0u32.to_ne_bytes());
        attribute(&mut body, RTA_DST, &octets(net.network()));
        if kind == RouteKind::Local {
            attribute(&mut body, RTA_OIF, &LOOPBACK.to_ne_bytes());
        }
        Self::of(RTM_NEWROUTE, &body)
    }

    fn of(kind: u16, body: &[u8]) -> Self {
        let length = u32::try_from(HEAD + body.len()).unwrap_or(u32::MAX);
        let mut message = Vec::with_capacity(HEAD + body.len());
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(FLAGS.to_ne_bytes());
        // One request at a time needs no number; the kernel is port 0.
        message.extend([0; 8]);
        message.extend(body);
        Self(message)
    }
}

/// Appends an attribute, padded to four bytes (rtnetlink(7), RTA_LENGTH, RTA_ALIGN).
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// The address family's number, and the bits of its addresses.
fn family(address: IpAddr) -> (u8, u8) {
    let (family, bits) = match address {
        IpAddr::V4(_) => (AddressFamily::INET, 32),
        IpAddr::V6(_) => (AddressFamily::INET6, 128),
    };
    (u8::try_from(family.as_raw()).unwrap_or(0), bits)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A socket for requests about the calling process's network namespace.
pub(crate) fn open() -> Result<OwnedFd, Errno> {
    // NETLINK_ROUTE, the first of the netlink protocols, is the default.
    socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
}

/// Sends a request and waits for the kernel's answer. Allocates nothing.
pub(crate) fn exchange(socket: &OwnedFd, request: &Request) -> Result<(), Errno> {
    send(socket, &request.0, SendFlags::empty())?;
    // An answer holds the request again; no request is as long.
    let mut answer = [0u8; 512];
    let (length, _) = recv(socket, &mut answer, RecvFlags::empty())?;
    let answer = answer.get(..length).ok_or(Errno::BADMSG)?;
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let code = answer.get(HEAD..HEAD + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, code) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) => Err(Errno::from_raw_os_error(code.saturating_neg())),
        _ => Err(Errno::BADMSG),
    }
}

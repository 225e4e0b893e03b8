//! Requests to the kernel's routing: for the network namespace of a sandbox, with its loopback and at most one link, and for the
//! host's end of that (rtnetlink(7)).
//!
//! Written before the fork; sending one and reading the answer allocates nothing.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use ipnet::IpNet;
use palisade_plan::step::RouteKind;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

/// The index of `lo`: the first interface of every network namespace (net/core/net_namespace.c).
pub(crate) const LOOPBACK: u32 = 1;

/// rtnetlink(7), linux/rtnetlink.h.
const RTM_NEWLINK: u16 = 16;
const RTMGRP_LINK: u32 = 1;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RTN_UNICAST: u8 = 1;
const RTA_GATEWAY: u16 = 5;
/// The router needs no range of the interface's that it is in.
const RTNH_F_ONLINK: u32 = 4;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RT_TABLE_LOCAL: u8 = 255;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_HOST: u8 = 254;
const RT_SCOPE_LINK: u8 = 253;
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

/// linux/if_link.h, linux/veth.h, linux/if.h.
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_GSO_MAX_SIZE: u16 = 41;
const IFLA_GRO_MAX_SIZE: u16 = 58;
const IFLA_GSO_IPV4_MAX_SIZE: u16 = 63;
const IFLA_GRO_IPV4_MAX_SIZE: u16 = 64;
/// The most that an interface can have (linux/netdevice.h, GSO_MAX_SIZE).
const GSO_MAX_SIZE: u32 = 8 * 65535;
const VETH_INFO_PEER: u16 = 1;
const IFLA_MACVLAN_MODE: u16 = 1;
const MACVLAN_MODE_PRIVATE: u32 = 1;
const IFF_UP: u32 = 1;

/// netlink(7): a request that is answered, for something that is not there yet.
const FLAGS: u16 = 0x1 | 0x4 | 0x200 | 0x400;
/// The same, where there may be one like it.
const ANOTHER: u16 = 0x1 | 0x4 | 0x400;
/// The same, for something that is there.
const CHANGE: u16 = 0x1 | 0x4;
const NLMSG_ERROR: u16 = 2;
/// Bytes of a message's head.
const HEAD: usize = 16;

/// The longest request that is about an interface whose number is known only when it is sent.
const MOST: usize = 128;

/// One request, as the kernel takes it.
#[derive(Debug)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    /// Where the number of the link belongs, if it is about that.
    link_at: Option<usize>,
}

impl Request {
    /// Gives `lo` an address.
    pub(crate) fn add_address(address: IpAddr) -> Self {
        Self::of(RTM_NEWADDR, &address_body(address, RT_SCOPE_HOST, LOOPBACK))
    }

    /// Gives the link an address.
    pub(crate) fn add_link_address(address: IpAddr) -> Self {
        Self { link_at: Some(HEAD + 4), ..Self::add_address_of(0, address) }
    }

    /// Gives the interface of this number an address.
    pub(crate) fn add_address_of(interface: u32, address: IpAddr) -> Self {
        Self::of(RTM_NEWADDR, &address_body(address, RT_SCOPE_UNIVERSE, interface))
    }

    /// Says that an address is this side's own, where the kernel leaves that to a worker: an IPv6 address can be used as soon
    /// as it is added, but until the worker has run, which on a busy machine takes a while, what comes back for it is
    /// nobody's (net/ipv6/addrconf.c, `addrconf_dad_work`). The interface has to be up; others may have the address too, as
    /// the routers of several links do.
    pub(crate) fn own_address(address: IpAddr, interface: u32) -> Option<Self> {
        address.is_ipv6().then(|| {
            let mut body = route_body(IpNet::from(address), RTN_LOCAL, RT_SCOPE_HOST, 0);
            attribute(&mut body, RTA_OIF, &interface.to_ne_bytes());
            Self::with(RTM_NEWROUTE, ANOTHER, &body)
        })
    }

    /// The same for an address of the link.
    pub(crate) fn own_link_address(address: IpAddr) -> Option<Self> {
        Self::own_address(address, 0).map(Self::about_link)
    }

    /// Brings the link up, with packets of at most this many bytes.
    pub(crate) fn link_up(mtu: Option<u32>) -> Self {
        let mut body = link_body(0, IFF_UP);
        if let Some(mtu) = mtu {
            attribute(&mut body, IFLA_MTU, &mtu.to_ne_bytes());
        }
        Self { link_at: Some(HEAD + 4), ..Self::with(RTM_NEWLINK, CHANGE, &body) }
    }

    /// Brings the interface of this number up.
    pub(crate) fn up(interface: u32) -> Self {
        Self::with(RTM_NEWLINK, CHANGE, &link_body(interface, IFF_UP))
    }

    /// Lets TCP over `lo` hand over as much at once as the kernel can: several packets, which nobody has to cut.
    pub(crate) fn long_segments() -> Self {
        let mut body = link_body(LOOPBACK, 0);
        for kind in [IFLA_GSO_MAX_SIZE, IFLA_GRO_MAX_SIZE, IFLA_GSO_IPV4_MAX_SIZE, IFLA_GRO_IPV4_MAX_SIZE] {
            attribute(&mut body, kind, &GSO_MAX_SIZE.to_ne_bytes());
        }
        Self::with(RTM_NEWLINK, CHANGE, &body)
    }

    /// Makes a veth pair: `name` here, `peer` in the network namespace of this descriptor.
    pub(crate) fn new_veth(name: &str, peer: &str, network: BorrowedFd<'_>) -> Self {
        let mut other = link_body(0, 0);
        attribute(&mut other, IFLA_IFNAME, &zero_terminated(peer));
        attribute(&mut other, IFLA_NET_NS_FD, &network.as_raw_fd().to_ne_bytes());
        let mut body = link_body(0, 0);
        attribute(&mut body, IFLA_IFNAME, &zero_terminated(name));
        attribute(&mut body, IFLA_LINKINFO, &kind("veth", VETH_INFO_PEER, &other));
        Self::of(RTM_NEWLINK, &body)
    }

    /// Makes a macvlan interface in the network namespace of this descriptor, beside the interface of this number here.
    pub(crate) fn new_macvlan(name: &str, parent: u32, network: BorrowedFd<'_>) -> Self {
        let mut body = link_body(0, 0);
        attribute(&mut body, IFLA_IFNAME, &zero_terminated(name));
        attribute(&mut body, IFLA_LINK, &parent.to_ne_bytes());
        attribute(&mut body, IFLA_NET_NS_FD, &network.as_raw_fd().to_ne_bytes());
        let private = MACVLAN_MODE_PRIVATE.to_ne_bytes();
        attribute(&mut body, IFLA_LINKINFO, &kind("macvlan", IFLA_MACVLAN_MODE, &private));
        Self::of(RTM_NEWLINK, &body)
    }

    /// Adds a route to the table `local`. IPv6 asks that table first, so a route that refuses must stand there too, and then
    /// one to a range inside what is refused as well.
    pub(crate) fn add_route(net: IpNet, kind: RouteKind) -> Self {
        let (number, scope, flags) = match kind {
            RouteKind::Local => (RTN_LOCAL, RT_SCOPE_HOST, 0),
            RouteKind::Prohibit => (RTN_PROHIBIT, RT_SCOPE_HOST, 0),
            RouteKind::Link { .. } => (RTN_UNICAST, RT_SCOPE_UNIVERSE, RTNH_F_ONLINK),
        };
        let mut body = route_body(net, number, scope, flags);
        match kind {
            RouteKind::Local => attribute(&mut body, RTA_OIF, &LOOPBACK.to_ne_bytes()),
            RouteKind::Prohibit => {}
            RouteKind::Link { router } => {
                attribute(&mut body, RTA_GATEWAY, &octets(router));
                attribute(&mut body, RTA_OIF, &[0; 4]);
                return Self::of(RTM_NEWROUTE, &body).about_link();
            }
        }
        Self::of(RTM_NEWROUTE, &body)
    }

    /// Adds a route to one address by an interface, to the same table: whatever other tables say of the range, answers find
    /// their way back.
    pub(crate) fn add_neighbour(address: IpAddr, interface: u32) -> Self {
        let mut body = route_body(IpNet::from(address), RTN_UNICAST, RT_SCOPE_LINK, 0);
        attribute(&mut body, RTA_OIF, &interface.to_ne_bytes());
        Self::of(RTM_NEWROUTE, &body)
    }

    /// A request whose last word is the number of the link.
    fn about_link(self) -> Self {
        Self { link_at: self.bytes.len().checked_sub(4), ..self }
    }

    fn of(kind: u16, body: &[u8]) -> Self {
        Self::with(kind, FLAGS, body)
    }

    fn with(kind: u16, flags: u16, body: &[u8]) -> Self {
        let length = u32::try_from(HEAD + body.len()).unwrap_or(u32::MAX);
        let mut message = Vec::with_capacity(HEAD + body.len());
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        // One request at a time needs no number; the kernel is port 0.
        message.extend([0; 8]);
        message.extend(body);
        Self { bytes: message, link_at: None }
    }
}

/// The body of a message about an address.
fn address_body(address: IpAddr, scope: u8, interface: u32) -> Vec<u8> {
    let (family, bits) = family(address);
    let mut body = vec![family, bits, IFA_F_NODAD, scope];
    body.extend(interface.to_ne_bytes());
    for kind in [IFA_LOCAL, IFA_ADDRESS] {
        attribute(&mut body, kind, &octets(address));
    }
    body
}

/// The body of a message about an interface (struct ifinfomsg): the flags that it sets.
fn link_body(interface: u32, flags: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend([interface, flags, flags].iter().flat_map(|word| word.to_ne_bytes()));
    body
}

/// The body of a message about a route in the table `local` (struct rtmsg).
fn route_body(net: IpNet, kind: u8, scope: u8, flags: u32) -> Vec<u8> {
    let (family, _) = family(net.addr());
    let mut body = vec![family, net.prefix_len(), 0, 0, RT_TABLE_LOCAL, RTPROT_STATIC, scope, kind];
    body.extend(flags.to_ne_bytes());
    attribute(&mut body, RTA_DST, &octets(net.network()));
    body
}

/// What kind of interface, with one attribute of that kind.
fn kind(name: &str, attribute_kind: u16, value: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    attribute(&mut data, attribute_kind, value);
    let mut info = Vec::new();
    attribute(&mut info, IFLA_INFO_KIND, name.as_bytes());
    attribute(&mut info, IFLA_INFO_DATA, &data);
    info
}

fn zero_terminated(name: &str) -> Vec<u8> {
    name.bytes().chain([0]).collect()
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

/// A socket that hears of interfaces that come and go in the calling process's network namespace.
pub(crate) fn open_events() -> Result<OwnedFd, Errno> {
    let socket = open()?;
    bind(&socket, &SocketAddrNetlink::new(0, RTMGRP_LINK))?;
    Ok(socket)
}

/// Whether a message tells that the interface of this number is up and carries packets (netdevice(7), IFF_RUNNING; without
/// IFF_LOWER_UP the former only says that nobody has looked yet).
pub(crate) fn is_running(message: &[u8], interface: u32) -> bool {
    const CARRIES: u32 = 0x10000 | 0x40;
    let word =
        |at: usize| message.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
    let kind = message.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    kind == Some(RTM_NEWLINK)
        && word(HEAD + 4) == Some(interface)
        && word(HEAD + 8).is_some_and(|flags| flags & CARRIES == CARRIES)
}

/// The number of the interface of this name in the calling process's network namespace.
pub(crate) fn index(socket: &OwnedFd, name: &str) -> Result<u32, Errno> {
    rustix::net::netdevice::name_to_index(socket, name)
}

/// Sends a request and waits for the kernel's answer. `link` is the number of the link, for requests about that. Allocates
/// nothing.
pub(crate) fn exchange(socket: &OwnedFd, request: &Request, link: Option<u32>) -> Result<(), Errno> {
    match request.link_at {
        None => send(socket, &request.bytes, SendFlags::empty())?,
        Some(at) => {
            let mut bytes = [0; MOST];
            let bytes = bytes.get_mut(..request.bytes.len()).ok_or(Errno::MSGSIZE)?;
            bytes.copy_from_slice(&request.bytes);
            let number = link.ok_or(Errno::NODEV)?.to_ne_bytes();
            bytes.get_mut(at..at + 4).ok_or(Errno::MSGSIZE)?.copy_from_slice(&number);
            send(socket, bytes, SendFlags::empty())?
        }
    };
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

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;
    use std::process::Command;

    use super::*;

    const ROLE: &str = "PALISADE_TEST_ROLE";
    const RTM_GETROUTE: u16 = 26;

    /// What kind of route leads to an address.
    fn kind_of_route(socket: &OwnedFd, address: IpAddr) -> u8 {
        let request = Request::with(RTM_GETROUTE, 1, &route_body(IpNet::from(address), 0, 0, 0));
        send(socket, &request.bytes, SendFlags::empty()).unwrap();
        let mut answer = [0u8; 512];
        let (length, _) = recv(socket, &mut answer[..], RecvFlags::empty()).unwrap();
        assert_eq!(u16::from_ne_bytes([answer[4], answer[5]]), RTM_NEWROUTE, "of {length} bytes");
        answer[HEAD + 7]
    }

    /// So often that the worker alone comes too late for one of them.
    #[test]
    fn an_address_is_ones_own_at_once() {
        const NAME: &str = "netlink::tests::an_address_is_ones_own_at_once";
        if std::env::var_os(ROLE).is_none() {
            let status = Command::new("unshare")
                .args(["--user", "--map-root-user", "--net"])
                .arg(std::env::current_exe().unwrap())
                .args([NAME, "--exact"])
                .env(ROLE, "apart")
                .status();
            assert!(status.expect("unshare starts").success());
            return;
        }
        let socket = open().unwrap();
        exchange(&socket, &Request::up(LOOPBACK), None).unwrap();
        for number in 1..=1000 {
            let address = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number));
            exchange(&socket, &Request::add_address(address), None).unwrap();
            exchange(&socket, &Request::own_address(address, LOOPBACK).unwrap(), None).unwrap();
            assert_eq!(kind_of_route(&socket, address), RTN_LOCAL, "{address}");
        }
    }
}

//! The lab's network: one namespace, one link `lo`, every address of both families this host's own.
//!
//! The caller has passed the guard.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use palisade_policy::Link;

use super::error::{During, LabError};
use super::rtnl::{BROADCAST, LOCAL, Route, Rtnl, UNICAST};

/// The address of the lab's "host" on its "network", IPv4 (private range, RFC 1918).
pub(super) const HOST_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 31, 0, 10));
/// The same for IPv6 (documentation prefix).
pub(super) const HOST_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1));

/// An address of the link itself (RFC 4291, 2.5.6).
const OF_LINK: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x10));

const LO: u32 = 1;

/// Two links of the lab that are one wire: beside the first a sandbox's interface is put, and from the second the lab answers.
const WIRE: [&str; 2] = ["plsdwire0", "plsdwire1"];

/// What a sandbox with an interface of its own has there, and who routes for it.
const GUEST_V4: Ipv4Addr = Ipv4Addr::new(172, 31, 7, 7);
const ROUTER_V4: Ipv4Addr = Ipv4Addr::new(172, 31, 7, 1);
const GUEST_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 7, 0, 0, 0, 7);
const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 7, 0, 0, 0, 1);

/// Where a sandbox's interface is put that lies beside one of the lab.
pub fn link(ipv6: bool) -> Link {
    let v6 = |address: Ipv6Addr| ipv6.then_some(IpAddr::V6(address));
    Link {
        parent: WIRE[0].to_owned(),
        addresses: [IpAddr::V4(GUEST_V4)].into_iter().chain(v6(GUEST_V6)).collect(),
        gateways: [IpAddr::V4(ROUTER_V4)].into_iter().chain(v6(ROUTER_V6)).collect(),
    }
}

/// Raises `lo`, gives it the host's addresses, and routes everything to it. With `links` the lab gets what a host has of which
/// links of sandboxes are made.
pub(super) fn set_up(links: bool) -> Result<(), LabError> {
    sysctls();
    let v6 = Path::new("/proc/sys/net/ipv6").exists();
    let mut rtnl = Rtnl::open().during(|| "open rtnetlink".to_owned())?;
    rtnl.link_up(LO).during(|| "set lo up".to_owned())?;
    for address in [HOST_V4, HOST_V6].into_iter().filter(|a| v6 || a.is_ipv4()) {
        rtnl.add_address(LO, address).during(|| format!("add {address} to lo"))?;
    }
    for route in routes().iter().filter(|r| v6 || r.to.0.is_ipv4()) {
        let (to, length) = route.to;
        rtnl.add_route(LO, route).during(|| format!("route {to}/{length} to lo"))?;
    }
    if links {
        if v6 {
            // pasta has no IPv6 where the interface that it looks at has no address of the link itself, as every other link has.
            rtnl.add_address(LO, OF_LINK).during(|| format!("add {OF_LINK} to lo"))?;
        }
        forward()?;
        lay_wire(&mut rtnl, v6).during(|| "lay a wire of two links".to_owned())?;
    }
    Ok(())
}

/// Lets the lab carry packets between its links, as a host of such sandboxes does.
fn forward() -> Result<(), LabError> {
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").during(|| "set ip_forward".to_owned())?;
    // A kernel without it lacks IPv6.
    let _ = fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1");
    Ok(())
}

/// Makes the wire, and the way back to whoever is beside its first end.
fn lay_wire(rtnl: &mut Rtnl, v6: bool) -> std::io::Result<()> {
    rtnl.add_pair(WIRE)?;
    let links = rtnl.links()?;
    let index = |name: &str| links.iter().find(|link| link.name == name).map(|link| link.index);
    let [Some(first), Some(second)] = WIRE.map(index) else {
        return Err(std::io::ErrorKind::NotFound.into());
    };
    rtnl.link_up(first)?;
    rtnl.link_up(second)?;
    // One guest after the other has the address, each with a hardware address of its own, which is believed at once
    // (arp(7), locktime).
    fs::write(format!("/proc/sys/net/ipv4/neigh/{}/locktime", WIRE[1]), "0")?;
    // IPv4 answers for every address that is routed to this host, IPv6 for those of the link alone.
    if v6 {
        rtnl.add_address(second, IpAddr::V6(ROUTER_V6))?;
    }
    let guests = [IpAddr::V4(GUEST_V4), IpAddr::V6(GUEST_V6)].into_iter().filter(|a| v6 || a.is_ipv4());
    for guest in guests {
        let length = if guest.is_ipv4() { 32 } else { 128 };
        rtnl.add_route(second, &Route { to: (guest, length), kind: UNICAST, from: None })?;
    }
    Ok(())
}

fn routes() -> [Route; 4] {
    let any_v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let any_v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let multicast = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0));
    let broadcast = IpAddr::V4(Ipv4Addr::BROADCAST);
    [
        Route { to: (any_v4, 0), kind: LOCAL, from: None },
        Route { to: (any_v6, 0), kind: LOCAL, from: None },
        // A local route makes the destination the source too, and a multicast or broadcast source is dropped on receipt.
        Route { to: (multicast, 4), kind: UNICAST, from: Some(HOST_V4) },
        Route { to: (broadcast, 32), kind: BROADCAST, from: Some(HOST_V4) },
    ]
}

/// Settings of this network namespace alone. A kernel without one of them lacks the feature too.
fn sysctls() {
    // IPv6 may be switched off on the host by sysctl; in the lab it is on.
    for link in ["all", "default", "lo"] {
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6"), "0");
    }
    // Ping sockets, as a common distribution permits them to users; a sandbox's own namespace has its own default.
    let gid = rustix::process::getegid().as_raw();
    let _ = fs::write("/proc/sys/net/ipv4/ping_group_range", format!("{gid} {gid}"));
}

//! The lab's network: one namespace, one link `lo`, every address of both families this host's own.
//!
//! The caller has passed the guard.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::error::{During, LabError};
use super::rtnl::{BROADCAST, LOCAL, Route, Rtnl, UNICAST};

/// The address of the lab's "host" on its "network", IPv4 (private range, RFC 1918).
pub(super) const HOST_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 31, 0, 10));
/// The same for IPv6 (documentation prefix).
pub(super) const HOST_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1));

const LO: u32 = 1;

/// Raises `lo`, gives it the host's addresses, and routes everything to it.
pub(super) fn set_up() -> Result<(), LabError> {
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

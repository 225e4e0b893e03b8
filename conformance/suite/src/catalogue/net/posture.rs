//! What the network namespace holds, and that its loopback is the sandbox's own.

use std::net::IpAddr;

use palisade_policy::{AllowRule, Network, NetworkMode, Peer, Policy, Posture};

use super::MODE;
use crate::catalogue::prelude::*;
use crate::lab::World;

/// Every entry about interfaces, routes and the loopback.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let mut probes = super::families::route_netlink(world);
    let reads =
        |id: &str, requirement: &str| Probe::denies(id, High).serves(MODE, "NET-1").requires(requirement);
    // One of each family is the sandbox's own where it has a resolver, and one more where it has a link.
    let few = if super::is_closed(policy) {
        DataPasses("lo with at most two addresses", |data| {
            matches!(data, b"lo addresses=0" | b"lo addresses=1" | b"lo addresses=2")
        })
    } else if policy.network.backend.is_plumbed() {
        DataPasses("lo and one link with at most seven addresses", |data| {
            let count = data.strip_prefix(b"lo,plsd0 addresses=");
            matches!(count, Some([b'0'..=b'7']))
        })
    } else {
        DataPasses("lo with at most four addresses", |data| {
            matches!(
                data,
                [b'l', b'o', b' ', b'a', b'd', b'd', b'r', b'e', b's', b's', b'e', b's', b'=', b'0'..=b'4']
            )
        })
    };
    probes.push(
        reads("net/ifaces", "there is no interface but lo and what the policy asks for, with no address but the sandbox's own")
            .operation("list interfaces and addresses")
            .script([attempt!("getifaddrs")])
            .expect(few),
    );
    // In the lab everything is routed to lo, so counting routes by interface would tell nothing: the host's own
    // address in the table does.
    let [host_v4, host_v6] = world.host_addresses;
    probes.push(
        reads("net/routes", "no route of the host can be seen")
            .operation("look for the host's address in /proc/self/net/fib_trie")
            .script([
                control!("find_in_file", "/proc/self/net/fib_trie", "127.0.0.1"),
                attempt!("find_in_file", "/proc/self/net/fib_trie", host_v4.to_string()),
            ])
            .expect(Expect::Returns(0)),
    );
    if let IpAddr::V6(v6) = host_v6 {
        let hex: String = v6.octets().iter().map(|byte| format!("{byte:02x}")).collect();
        probes.push(
            reads("net/routes-v6", "no IPv6 address of the host can be seen")
                .operation("look for the host's address in /proc/self/net/if_inet6")
                .script([attempt!("find_in_file", "/proc/self/net/if_inet6", hex)])
                .expect(Expect::Returns(0))
                .needs(Need::Ipv6)
                .needs_planted(&world.ipv6),
        );
    }
    probes.extend(loopback(world));
    if has_all(&policy.network, world) {
        // Every such address is the sandbox's own then, and who binds it is heard by nobody outside.
        probes.retain(|probe| probe.id != "net/listen/host-address");
    }
    probes
}

/// Whether the routes to addresses of the host are the sandbox's own, since nothing of a broader range is taken out.
fn has_all(network: &Network, world: &World) -> bool {
    let within = |rule: &AllowRule| match rule.peer {
        Peer::Cidr(net) => world.host_addresses.iter().any(|address| net.contains(address)),
        Peer::Host(_) => false,
    };
    network.special_use == Posture::Allow
        && (network.mode == NetworkMode::Open || network.allow.iter().any(within))
}

fn loopback(world: &World) -> Vec<Probe> {
    let works = |id: &str, requirement: &str, statement| {
        Probe::allows(id, Medium).serves(MODE, "NET-6").requires(requirement).script([statement])
    };
    let port = world.host_service.to_be_bytes();
    let here = bytes([2, 0, port[0], port[1], 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let IpAddr::V4(host) = world.host_addresses[0] else { return Vec::new() };
    let [a, b, c, d] = host.octets();
    let there = bytes([2, 0, 0, 0, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0]);
    let socket = || setup!("sys", SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0);
    vec![
        works("net/loopback/own-v4", "the sandbox's own loopback works", attempt!("loopback_tcp")),
        works("net/loopback/own-v6", "the sandbox's own IPv6 loopback works", attempt!("loopback_tcp", "v6"))
            .needs(Need::Ipv6),
        Probe::denies("net/listen/own-ports", Medium)
            .serves(MODE, "NET-6")
            .requires("the ports of the host's loopback are not those of the sandbox")
            .operation("bind the port of a service of the host")
            .script([socket(), attempt!("sys", SYS_bind, result(0), here, 16)])
            .expect(Succeeds)
            .outside(Outside::fails([EADDRINUSE])),
        Probe::denies("net/listen/host-address", High)
            .serves(MODE, "NET-1")
            .requires("the workload cannot listen on an address of the host")
            .operation(format!("bind {host}"))
            .script([socket(), attempt!("sys", SYS_bind, result(0), there, 16)])
            .expect(Denied.or(Expect::fails([EADDRNOTAVAIL])))
            .outside(Outside::succeeds()),
    ]
}

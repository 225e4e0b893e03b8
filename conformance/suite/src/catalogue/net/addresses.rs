//! Addresses: one of every range that means something special, the host's own, and a plain one of each protocol.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use palisade_policy::address::embedded::every_form;
use palisade_policy::address::{metadata, special_use};
use palisade_policy::{NetworkMode, Policy};

use super::allowed::next_to;
use super::{MODE, Place};
use crate::catalogue::prelude::*;
use crate::lab::{Proto, World};

/// A plain address of the internet of each family; in the lab it is the lab's.
const INTERNET_V4: &str = "1.1.1.1";
const INTERNET_V6: &str = "2606:4700:4700::1111";

/// One address of every range of the registries of special-purpose addresses (RFC 6890, IANA), and of every way to
/// write an IPv4 address as one of IPv6.
const RANGES: &[(&str, &str)] = &[
    ("v4", INTERNET_V4),
    ("this-network", "0.1.2.3"),
    ("private-10", "10.1.2.3"),
    ("private-172", "172.16.1.2"),
    ("private-192", "192.168.1.2"),
    ("cgnat", "100.64.0.1"),
    ("link-local-v4", "169.254.1.2"),
    ("ietf-protocol", "192.0.0.8"),
    ("test-net-1", "192.0.2.10"),
    ("test-net-2", "198.51.100.10"),
    ("test-net-3", "203.0.113.10"),
    ("benchmark", "198.19.5.5"),
    ("relay-6to4", "192.88.99.1"),
    ("as112", "192.175.48.1"),
    ("amt", "192.52.193.1"),
    ("class-e", "240.0.0.1"),
    ("v6", INTERNET_V6),
    ("mapped-v6", "::ffff:1.1.1.1"),
    ("v4-compat", "::1.1.1.1"),
    ("nat64", "64:ff9b::101:101"),
    ("nat64-local", "64:ff9b:1::101:101"),
    ("6to4", "2002:101:101::1"),
    ("teredo", "2001:0:101:101::1"),
    ("orchid", "2001:20::1"),
    ("benchmark-v6", "2001:2::1"),
    ("documentation-v6", "2001:db8::10"),
    ("documentation-3fff", "3fff::1"),
    ("discard", "100::1"),
    ("srv6", "5f00::1"),
    ("ula", "fd12:3456:789a::1"),
    ("site-local", "fec0::1"),
    ("link-local", "fe80::1%1"),
];

/// Ports at which services of development machines and clusters listen.
const PORTS: &[(&str, u16)] = &[
    ("ssh", 22),
    ("https", 443),
    ("docker", 2375),
    ("docker-tls", 2376),
    ("web-development", 3000),
    ("redis", 6379),
    ("kubernetes-api", 6443),
    ("http-alternative", 8080),
    ("kubelet", 10250),
];

/// Where the host, or a gateway to it, stands in common set-ups.
const GATEWAYS: &[(&str, &str, u16)] = &[
    ("slirp-gateway", "10.0.2.2", 80),
    ("slirp-gateway-v6", "fd00::2", 80),
    ("slirp-dns", "10.0.2.3", 53),
    ("docker-api", "172.17.0.1", 2375),
    ("docker-desktop", "192.168.65.254", 80),
    ("podman-gateway", "192.168.127.254", 80),
    ("libvirt-gateway", "192.168.122.1", 22),
];

/// Spellings of the host's loopback on a port where the lab listens on every address.
const LOOPBACK: &[(&str, &str)] = &[
    ("zero-addr", "0.0.0.0"),
    ("loopback-alt", "127.1.2.3"),
    ("loopback-last", "127.255.255.254"),
    ("loopback-v4", "127.0.0.1"),
    ("loopback-v6", "::1"),
    ("zero-addr-v6", "::"),
    ("loopback-mapped", "::ffff:127.0.0.1"),
    ("zero-addr-mapped", "::ffff:0.0.0.0"),
];

/// Datagrams.
const DATAGRAMS: &[(&str, &str, u16)] = &[
    ("v4", INTERNET_V4, 9999),
    ("v6", INTERNET_V6, 9999),
    ("mapped-v6", "::ffff:1.1.1.1", 9999),
    ("quic", INTERNET_V4, 443),
    ("ntp", INTERNET_V4, 123),
    ("multicast-all-hosts", "224.0.0.1", 9999),
    ("multicast-mdns", "224.0.0.251", 9999),
    ("multicast-ssdp", "239.255.255.250", 9999),
    ("multicast-v6", "ff02::fb%1", 9999),
    ("broadcast", "255.255.255.255", 9999),
    ("loopback", "127.0.0.1", 9999),
    ("loopback-v6", "::1", 9999),
];

/// The first and the last address of every range that means something special, in each of its forms, and their neighbours
/// outside. What is routed nowhere is told from what is refused only where everything else is let out.
fn edges(world: &World, policy: &Policy) -> Vec<Probe> {
    let ranges = special_use::ranges().chain(metadata::ranges()).flat_map(every_form);
    let around = |net: IpNet| {
        let inside = [Some(net.network()), Some(net.broadcast())];
        inside.into_iter().chain([next_to(net.network(), false), next_to(net.broadcast(), true)]).flatten()
    };
    let addresses: BTreeSet<IpAddr> = ranges.flat_map(around).filter(|address| is_plain(*address)).collect();
    let place = |address: &IpAddr| {
        let text = address.to_string();
        let place = Place {
            id: format!("net/edge/{}", word(*address)),
            clause: "network.special_use",
            spec: "NET-8",
            severity: High,
            requirement: "what no rule allows is not reached",
            by: "tcp",
            address: &text,
            port: 443,
            proto: Proto::Tcp,
        };
        place.under(world, policy).soak()
    };
    addresses.iter().map(place).collect()
}

/// An address as a word of an id.
fn word(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.octets().map(|octet| octet.to_string()).join("-"),
        IpAddr::V6(address) => address.segments().map(|segment| format!("{segment:x}")).join("-"),
    }
}

/// Whether one host may have this address, and programs dial it without saying by which link.
fn is_plain(address: IpAddr) -> bool {
    match address {
        // The last one of loopback is a broadcast there (RFC 1122, 3.3.6).
        IpAddr::V4(to) => {
            let is_one = !to.is_multicast() && !to.is_broadcast() && !to.is_unspecified();
            is_one && to != Ipv4Addr::new(127, 255, 255, 255)
        }
        // A mapped address is the IPv4 one, which is there too.
        IpAddr::V6(to) => !to.is_multicast() && !to.is_unicast_link_local() && to.to_ipv4_mapped().is_none(),
    }
}

/// Later than at once: who carries a link may look once a second for ports to forward (pasta(1), `--tcp-ns auto`).
fn late(mut probe: Probe) -> Probe {
    if let crate::catalogue::Workload::Script(script) = &mut probe.workload {
        let statements: Vec<_> = script.statements().to_vec();
        *script = std::iter::once(setup!("sleep_ms", 1_500)).chain(statements).collect();
    }
    probe
}

/// Every address entry.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let far = |id: String, by, address, port, proto| Place {
        id,
        clause: MODE,
        spec: "NET-2",
        severity: High,
        requirement: "no address can be reached, and the refusal is prompt",
        by,
        address,
        port,
        proto,
    };
    let tcp = |id: String, address, port| far(id, "tcp", address, port, Proto::Tcp);
    let mut places: Vec<Place<'_>> =
        RANGES.iter().map(|&(name, address)| tcp(format!("net/tcp/{name}"), address, 80)).collect();
    places.extend(PORTS.iter().map(|&(name, port)| tcp(format!("net/port/{name}"), INTERNET_V4, port)));
    places.extend(
        DATAGRAMS.iter().map(|&(name, to, port)| far(format!("net/udp/{name}"), "udp", to, port, Proto::Udp)),
    );
    places.push(far("net/tcp/fastopen".to_owned(), "tcp_fastopen", INTERNET_V4, 443, Proto::Tcp));
    places.push(far("net/tcp/fastopen-v6".to_owned(), "tcp_fastopen", INTERNET_V6, 443, Proto::Tcp));
    let host = |id: String, address, port| Place {
        spec: "NET-6",
        severity: Critical,
        requirement: "no service of the host can be reached",
        ..tcp(id, address, port)
    };
    places.extend(GATEWAYS.iter().map(|&(name, to, port)| host(format!("net/host/{name}"), to, port)));
    places.extend(LOOPBACK.iter().map(|&(name, address)| host(format!("net/loopback/{name}"), address, 80)));
    let [lan_v4, lan_v6] = world.host_addresses.map(|address| address.to_string());
    places.push(host("net/host/lan-v4".to_owned(), &lan_v4, 80));
    places.push(host("net/host/lan-v6".to_owned(), &lan_v6, 80));
    // Bound to loopback alone, as services that trust the machine are.
    let service = host("net/host/loopback-service-v4".to_owned(), "127.0.0.1", world.host_service);
    places.push(host("net/host/loopback-service-v6".to_owned(), "::1", world.host_service));
    places.push(host("net/host/loopback-service-mapped".to_owned(), "::ffff:127.0.0.1", world.host_service));

    let mut probes: Vec<Probe> = places.into_iter().map(|place| place.under(world, policy)).collect();
    let service = service.under(world, policy);
    probes.push(if policy.network.backend.is_plumbed() { late(service) } else { service });
    // Kernels without a protocol say so; a filter that hides it says the same.
    let no_protocol = || Unreachable.or(NoFamily);
    let mptcp = far("net/tcp/mptcp".to_owned(), "mptcp", INTERNET_V4, 443, Proto::Tcp);
    probes.push(mptcp.probe(world).expect(no_protocol()));
    let udplite = far("net/udp/udplite".to_owned(), "udplite", INTERNET_V4, 9999, Proto::UdpLite);
    probes.push(udplite.probe(world).expect(no_protocol()).needs_planted(&world.udplite));
    if policy.network.mode == NetworkMode::Open {
        probes.extend(edges(world, policy));
    }
    probes
}

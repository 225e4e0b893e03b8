//! One random case: a network policy, and destinations near the edges of its rules.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use palisade_policy::{Document, Protocol};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Where ranges and destinations are: public, of every kind of special use, metadata services, the lab's host, and one in the
/// forms of others.
const PLACES: &[&str] = &[
    "1.1.1.1",
    "44.55.66.80",
    "10.1.2.3",
    "10.20.0.0",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.1.2",
    "169.254.169.254",
    "172.16.1.2",
    "172.31.0.10",
    "192.0.2.10",
    "192.168.1.2",
    "198.51.100.10",
    "203.0.113.10",
    "127.1.2.3",
    "2600:1f00::80",
    "2001:db8::10",
    "2001:db8:ffff::1",
    "fd00:ec2::254",
    "fd12:3456:789a::1",
    "64:ff9b::101:101",
    "64:ff9b::a01:203",
    "64:ff9b::a9fe:a9fe",
    "2002:a01:203::1",
    "::ffff:1.1.1.1",
    "::ffff:10.1.2.3",
];

/// Ports at which the lab listens over both protocols.
const PORTS: &[u16] = &[80, 123, 443, 9999];

const PATTERNS: &[&str] =
    &["example.org", "x.example.org", "*.example.org", "**.example.org", "mixed.example.org"];

const NAMES: &[&str] = &[
    "example.org",
    "X.Example.ORG",
    "x.example.org.",
    "y.x.example.org",
    "badexample.org",
    "example.org.test",
    "org",
    "mixed.example.org",
    "alias.example.org",
    "only-v4.example.org",
    "only-v6.example.org",
    "to-private.example.org",
    "to-metadata.example.org",
    "to-wireserver.example.org",
    "to-loopback.example.org",
    "to-cgnat.example.org",
    "to-nat64.example.org",
    "metadata.google.internal",
];

/// What a rule is about, before it has been read.
#[derive(Clone, Debug)]
enum Peer {
    Host(&'static str),
    Range(&'static str, u8),
}

#[derive(Clone, Debug)]
struct RawRule {
    peer: Peer,
    /// All of them, where there is none.
    ports: Vec<u16>,
    udp: bool,
}

/// A destination, before it has been read.
#[derive(Clone, Debug)]
enum RawTarget {
    Name(&'static str, bool),
    Place(&'static str),
    /// At an edge of the range of a rule: its first or last address, or the one before or after.
    Edge(Index, u8),
}

/// What the generator makes; [`Case`] is what it means.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    open: bool,
    metadata: bool,
    special_use: bool,
    rules: Vec<RawRule>,
    targets: Vec<(RawTarget, u16, bool)>,
}

pub(crate) fn cases() -> impl Strategy<Value = Raw> {
    let length = select(vec![0_u8, 8, 10, 12, 16, 20, 24, 31, 32, 48, 64, 96, 104, 112, 120, 127, 128]);
    let peer = prop_oneof![
        2 => select(PATTERNS).prop_map(Peer::Host),
        3 => (select(PLACES), length).prop_map(|(place, length)| Peer::Range(place, length)),
    ];
    let ports = prop::collection::vec(select(PORTS), 0..3);
    let rule = (peer, ports, any::<bool>()).prop_map(|(peer, ports, udp)| RawRule { peer, ports, udp });
    let target = prop_oneof![
        3 => (select(NAMES), any::<bool>()).prop_map(|(name, v6)| RawTarget::Name(name, v6)),
        3 => select(PLACES).prop_map(RawTarget::Place),
        4 => (any::<Index>(), 0..4_u8).prop_map(|(rule, edge)| RawTarget::Edge(rule, edge)),
    ];
    (
        prop::bool::weighted(0.25),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
        prop::collection::vec(rule, 0..6),
        prop::collection::vec((target, select(PORTS), any::<bool>()), 1..24),
    )
        .prop_map(|(open, metadata, special_use, rules, targets)| Raw {
            open,
            metadata,
            special_use,
            rules,
            targets,
        })
}

/// Whom something is sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Address(IpAddr),
    /// A name, over IPv6 or IPv4.
    Name(String, bool),
}

/// A case that can be run: the policy as a user would write it, and whom to send to.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) policy: String,
    pub(crate) rules: usize,
    pub(crate) targets: Vec<(To, Protocol, u16)>,
}

impl Case {
    /// Rules that the language refuses beside those before them are left out.
    pub(crate) fn of(raw: &Raw) -> Self {
        let mut kept: Vec<&RawRule> = Vec::new();
        for rule in &raw.rules {
            kept.push(rule);
            if Document::parse("case.yaml", &text(raw, &kept)).is_err() {
                kept.pop();
            }
        }
        let ranges: Vec<IpNet> = kept.iter().filter_map(|rule| rule.range()).collect();
        let targets = raw.targets.iter().filter_map(|(target, port, udp)| {
            let to = match target {
                RawTarget::Name(name, v6) => To::Name((*name).to_owned(), *v6),
                RawTarget::Place(place) => To::Address(parsed(place)),
                RawTarget::Edge(_, _) if ranges.is_empty() => return None,
                RawTarget::Edge(rule, edge) => To::Address(at_edge(rule.get(&ranges), *edge)?),
            };
            // The probe sends to names over TCP.
            let protocol = if *udp && !matches!(to, To::Name(..)) { Protocol::Udp } else { Protocol::Tcp };
            Some((to, protocol, *port))
        });
        Self { policy: text(raw, &kept), rules: kept.len(), targets: targets.collect() }
    }
}

impl RawRule {
    fn range(&self) -> Option<IpNet> {
        let Peer::Range(place, length) = self.peer else { return None };
        let address = parsed(place);
        let most = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, length.min(most)).ok().map(|net| net.trunc())
    }
}

fn parsed(address: &str) -> IpAddr {
    address.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// An address that one host may have, at an edge of the range.
fn at_edge(net: &IpNet, edge: u8) -> Option<IpAddr> {
    let (first, last) = (net.network(), net.broadcast());
    let found = match edge {
        0 => Some(first),
        1 => Some(last),
        2 => step(first, -1),
        _ => step(last, 1),
    }?;
    let one = match found {
        // What is no destination at all, and the range "this network", of which kernels differ.
        IpAddr::V4(v4) => !v4.is_multicast() && !v4.is_broadcast() && v4.octets()[0] != 0,
        IpAddr::V6(v6) => !v6.is_multicast() && v6.segments()[..5] != [0; 5] && !v6.is_unicast_link_local(),
    };
    one.then_some(found)
}

fn step(address: IpAddr, by: i8) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().checked_add_signed(by.into())?).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().checked_add_signed(by.into())?).into(),
    })
}

fn text(raw: &Raw, rules: &[&RawRule]) -> String {
    let posture = |allowed: bool| if allowed { "allow" } else { "block" };
    let mode = if raw.open { "open" } else { "allowlist" };
    let mut text = format!(
        "version: 1\nfilesystem:\n  read_write: [.]\nnetwork:\n  mode: {mode}\n  metadata: {}\n  special_use: {}\n",
        posture(raw.metadata),
        posture(raw.special_use),
    );
    if !rules.is_empty() {
        text.push_str("  allow:\n");
    }
    for rule in rules {
        let peer = match (&rule.peer, rule.range()) {
            (Peer::Host(pattern), _) => format!("host: \"{pattern}\""),
            (_, Some(net)) => format!("cidr: \"{net}\""),
            (Peer::Range(..), None) => continue,
        };
        let ports = if rule.ports.is_empty() { "any".to_owned() } else { format!("{:?}", rule.ports) };
        let protocol = if rule.udp { "udp" } else { "tcp" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    - {{ {peer}, ports: {ports}, protocol: {protocol} }}");
    }
    text
}

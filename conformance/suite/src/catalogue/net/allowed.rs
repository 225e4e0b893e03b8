//! An allowlist, rule by rule: its allowed twin, and what lies just outside it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use palisade_policy::{AllowRule, Clause, Network, NetworkMode, Peer, Policy, Ports, Protocol};

use super::{PATIENCE, Place, model};
use crate::catalogue::prelude::*;
use crate::lab::canary::zone;
use crate::lab::{Proto, World};

/// A port of the lab that rules rarely name, for rules that allow all.
const ANY_PORT: u16 = 9999;

/// Most ports besides the usual ones at which the lab listens for a policy.
const MOST_PORTS: usize = 64;

/// The ports at which the lab has to listen for the probes of `policy`, over TCP and UDP: those of its rules, and their
/// neighbours.
pub fn ports(policy: &Policy) -> BTreeSet<u16> {
    let listed = policy.network.allow.iter().map(|rule| <[u16; 2]>::from(edges(&rule.ports)));
    let around = |port: u16| [port.saturating_sub(1), port, port.saturating_add(1)];
    listed.flatten().flat_map(around).filter(|port| *port != 0).take(MOST_PORTS).collect()
}

/// Every entry below `net/rule`, and those about names.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let network = &policy.network;
    let mut probes = Vec::new();
    if network.mode == NetworkMode::Open {
        probes.extend(any_name(world, network));
    }
    for (index, rule) in network.allow.iter().enumerate() {
        match &rule.peer {
            Peer::Cidr(net) => probes.extend(around_range(world, network, index, rule, *net)),
            Peer::Host(pattern) => probes.extend(around_name(world, network, index, rule, pattern)),
        }
    }
    probes
}

/// The least and the greatest port of a rule.
fn edges(ports: &Ports) -> (u16, u16) {
    match ports {
        Ports::Any => (ANY_PORT, ANY_PORT),
        Ports::List(list) => (*list.first().unwrap_or(&1), *list.last().unwrap_or(&1)),
    }
}

fn around_range(world: &World, network: &Network, index: usize, rule: &AllowRule, net: IpNet) -> Vec<Probe> {
    let (least, greatest) = edges(&rule.ports);
    let (first, last) = (net.network(), net.broadcast());
    let other = match rule.protocol {
        Protocol::Tcp => Protocol::Udp,
        Protocol::Udp => Protocol::Tcp,
    };
    let mut places: Vec<(&str, Protocol, IpAddr, u16)> = vec![
        ("first", rule.protocol, first, least),
        ("last", rule.protocol, last, greatest),
        ("port-below", rule.protocol, first, least.saturating_sub(1)),
        ("port-above", rule.protocol, first, greatest.saturating_add(1)),
        ("other-protocol", other, first, least),
    ];
    let elsewhere = ports_elsewhere(network, rule);
    places.extend(elsewhere.iter().map(|&(protocol, port)| ("port-of-another-rule", protocol, first, port)));
    places.extend(next_to(first, false).map(|address| ("before", rule.protocol, address, least)));
    places.extend(next_to(last, true).map(|address| ("after", rule.protocol, address, least)));
    if let IpAddr::V4(v4) = first {
        // The same place as other notations would have it.
        let [a, b, c, d] = v4.octets().map(u16::from);
        let nat64 = std::net::Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a << 8 | b, c << 8 | d);
        let six_to_four = std::net::Ipv6Addr::new(0x2002, a << 8 | b, c << 8 | d, 0, 0, 0, 0, 1);
        places.push(("mapped", rule.protocol, v4.to_ipv6_mapped().into(), least));
        places.push(("nat64", rule.protocol, nat64.into(), least));
        places.push(("6to4", rule.protocol, six_to_four.into(), least));
    }
    let one = |address: &IpAddr| !address.is_multicast() && *address != IpAddr::from(Ipv4Addr::BROADCAST);
    let places = places.into_iter().filter(|(.., address, port)| *port != 0 && one(address));
    let probes = places.map(|(name, protocol, address, port)| {
        let (by, proto) = match protocol {
            Protocol::Tcp => ("tcp_talk", Proto::Tcp),
            Protocol::Udp => ("udp", Proto::Udp),
        };
        let place = Place {
            id: match name {
                "port-of-another-rule" => format!("net/rule/{index}/{name}-{}-{port}", protocol.word()),
                name => format!("net/rule/{index}/{name}"),
            },
            clause: super::MODE,
            spec: "NET-8",
            severity: High,
            requirement: "what no rule allows is not reached",
            by,
            address: &address.to_string(),
            port,
            proto,
        };
        with_clause(place.judged(world, network), &rule.clause)
    });
    probes.collect()
}

/// Ports that other rules list and this one does not: somebody listens there, for others.
fn ports_elsewhere(network: &Network, rule: &AllowRule) -> BTreeSet<(Protocol, u16)> {
    /// Enough to notice; a policy may have thousands.
    const MOST: usize = 4;
    let listed = network.allow.iter().filter_map(|other| match &other.ports {
        Ports::List(ports) => Some((other.protocol, *ports.first()?)),
        Ports::Any => None,
    });
    let own = |(protocol, port): &(Protocol, u16)| {
        *protocol == rule.protocol
            && match &rule.ports {
                Ports::Any => true,
                Ports::List(ports) => ports.contains(port),
            }
    };
    listed.filter(|other| !own(other)).collect::<BTreeSet<_>>().into_iter().take(MOST).collect()
}

fn with_clause(mut probe: Probe, clause: &Clause) -> Probe {
    probe.clause = clause.clone();
    probe
}

/// The address after or before.
pub(super) fn next_to(address: IpAddr, after: bool) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => {
            let bits = address.to_bits();
            let next = if after { bits.checked_add(1) } else { bits.checked_sub(1) };
            Ipv4Addr::from_bits(next?).into()
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let next = if after { bits.checked_add(1) } else { bits.checked_sub(1) };
            std::net::Ipv6Addr::from_bits(next?).into()
        }
    })
}

/// Where everything is open, a name leads anywhere but where an address must not lead.
fn any_name(world: &World, network: &Network) -> Vec<Probe> {
    const DOMAIN: &str = "open.example.net";
    const PORT: u16 = 443;
    let (id, clause) = ("net/open", Clause::new(super::MODE));
    let plain = |id, text: String| Name { id, text, nonce: false, port: PORT };
    let mut names = vec![plain("domain", DOMAIN.to_owned()), plain("upper-case", DOMAIN.to_uppercase())];
    let special = zone::SPECIAL.iter();
    names.extend(special.map(|special| plain(special.id, format!("{}.{DOMAIN}", special.label))));
    let mut probes = vec![rebinding(world, id, &clause, DOMAIN, PORT)];
    probes.extend(names.iter().flat_map(|name| over_families(world, network, (id, &clause), name)));
    probes
}

/// A name as a probe says it: with the nonce as its first label, or as it is.
struct Name {
    id: &'static str,
    text: String,
    nonce: bool,
    port: u16,
}

fn around_name(
    world: &World,
    network: &Network,
    index: usize,
    rule: &AllowRule,
    pattern: &str,
) -> Vec<Probe> {
    let (least, greatest) = edges(&rule.ports);
    let domain = pattern.trim_start_matches("**.").trim_start_matches("*.");
    let id = format!("net/rule/{index}");
    let plain = |id, text: String, port| Name { id, text, nonce: false, port };
    let marked = |id, text: String, port| Name { id, text, nonce: true, port };
    let mut names = vec![
        plain("domain", domain.to_owned(), least),
        plain("label", format!("x.{domain}"), least),
        plain("labels", format!("x.y.{domain}"), least),
        plain("upper-case", format!("X.{}", domain.to_uppercase()), least),
        plain("upper-case-domain", domain.to_uppercase(), least),
        plain("trailing-dot", format!("x.{domain}."), least),
        marked("nonce", domain.to_owned(), greatest),
        plain("port-below", format!("x.{domain}"), least.saturating_sub(1)),
        plain("port-above", format!("x.{domain}"), greatest.saturating_add(1)),
        // Of another owner: the pattern as the end of a label, and as the beginning of a name.
        plain("suffix-confusion", format!("bad{domain}"), least),
        plain("suffix-confusion-label", format!("x.bad{domain}"), least),
        marked("prefix-confusion", format!("{domain}.test"), least),
        marked("sibling", sibling(domain), least),
    ];
    if let Some((_, parent)) = domain.split_once('.').filter(|(_, parent)| parent.contains('.')) {
        names.push(plain("parent", parent.to_owned(), least));
    }
    let elsewhere = ports_elsewhere(network, rule);
    let tcp = elsewhere.iter().find(|(protocol, _)| *protocol == Protocol::Tcp);
    names.extend(tcp.map(|(_, port)| plain("port-of-another-rule", format!("x.{domain}"), *port)));
    if pattern != domain {
        names.extend(
            zone::SPECIAL
                .iter()
                .map(|special| plain(special.id, format!("{}.{domain}", special.label), least)),
        );
    }
    let mut probes: Vec<Probe> = Vec::new();
    if pattern.starts_with("*.") {
        probes.push(rebinding(world, &id, &rule.clause, domain, least));
    }
    for name in names.into_iter().filter(|name| name.port != 0 && !name.text.ends_with(".*")) {
        probes.extend(over_families(world, network, (&id, &rule.clause), &name));
    }
    probes
}

/// A name over each family that it has. Asked of the lab directly, one without an address of the family shows nothing.
fn over_families(world: &World, network: &Network, of: (&str, &Clause), name: &Name) -> Vec<Probe> {
    let families = [("", 1, false), ("-v6", 28, true)];
    let has = families.into_iter().filter(|(.., v6)| has_family(&name.text, *v6));
    has.map(|(suffix, kind, _)| by_name(world, network, of, name, suffix, kind)).collect()
}

/// What was judged is what is dialled: a name that leads elsewhere the second time is not asked for twice.
fn rebinding(world: &World, id: &str, clause: &Clause, domain: &str, port: u16) -> Probe {
    let name = text([Piece::from(zone::REBIND), Piece::Nonce, Piece::from(format!(".{domain}").as_str())]);
    Probe::allows(format!("{id}/name-rebinding"), Critical)
        .serves_rule(clause, "NET-9")
        .requires("the address that was judged is the one that is dialled")
        .operation(format!(
            "connect to a name below {domain} that leads elsewhere every time it is asked for"
        ))
        .script([control!("loopback_tcp"), attempt!("tcp_name", name, port, NONCE, PATIENCE, 1)])
        .canary(Canary::tcp(zone::PUBLIC_V4, port))
        .needs_planted(&world.secret("resolv-conf").presence)
}

fn has_family(name: &str, v6: bool) -> bool {
    zone::addresses(name).iter().any(|address| address.is_ipv6() == v6)
}

/// A name beside `domain`, of the same parent.
fn sibling(domain: &str) -> String {
    match domain.split_once('.') {
        Some((_, parent)) => format!("sibling.{parent}"),
        None => format!("sibling-of-{domain}"),
    }
}

fn by_name(
    world: &World,
    network: &Network,
    (of, clause): (&str, &Clause),
    name: &Name,
    suffix: &str,
    kind: i32,
) -> Probe {
    let said = if name.nonce { format!("nonce.{}", name.text) } else { name.text.clone() };
    let resolved = zone::addresses(&said);
    let over = (Protocol::Tcp, name.port);
    let allowed = !model::reached_by_name(network, world, over, &said, &resolved).is_empty();
    let id = format!("{of}/name-{}{suffix}", name.id);
    let mut pieces = vec![];
    if name.nonce {
        pieces.push(Piece::Nonce);
        pieces.push(Piece::from("."));
    }
    pieces.push(Piece::from(name.text.as_str()));
    let attempt = attempt!("tcp_name", text(pieces), name.port, NONCE, PATIENCE, kind);
    let probe = if allowed {
        Probe::allows(id, High).requires("an allowed name is reached").expect(Succeeds)
    } else {
        Probe::denies(id, High)
            .requires("a name that no rule allows is not reached, nor what an allowed name must not lead to")
            .expect(Refused.or(Expect::fails([ENOENT])))
    };
    let leads_to = resolved.iter().find(|address| address.is_ipv6() == (kind == 28));
    // What is allowed ends up at a public address, whatever else the name has.
    let public = if kind == 28 { zone::PUBLIC_V6.into() } else { zone::PUBLIC_V4.into() };
    let heard =
        if allowed { public } else { super::heard_at(&leads_to.copied().unwrap_or(public).to_string()) };
    let probe = probe
        .serves_rule(clause, "NET-9")
        .operation(format!("connect to {said} port {}", name.port))
        .script([control!("loopback_tcp"), attempt])
        .canary(Canary::tcp(heard, name.port))
        .needs_planted(&world.secret("resolv-conf").presence);
    if kind == 28 { probe.needs(Need::Ipv6).needs_planted(&world.ipv6) } else { probe }
}

/// Whether the policy has names at all: whether its sandbox has a resolver.
pub(in crate::catalogue) fn has_names(network: &Network) -> bool {
    network.mode == NetworkMode::Open || network.allow.iter().any(|rule| matches!(rule.peer, Peer::Host(_)))
}

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use palisade_policy::address::embedded::Form;
use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn rule(index: usize, peer: Peer, ports: Ports, protocol: Protocol) -> AllowRule {
    AllowRule { clause: Clause::entry("network.allow", index), peer, ports, protocol }
}

fn cidr(net: IpNet) -> AllowRule {
    rule(0, Peer::Cidr(net), Ports::List(vec![443]), Protocol::Tcp)
}

fn judge(mode: NetworkMode, allow: Vec<AllowRule>) -> Judge {
    Judge::new(Network { mode, allow, ..Network::default() }, Vec::new(), None)
}

fn broad() -> Vec<AllowRule> {
    vec![cidr("0.0.0.0/0".parse().unwrap()), cidr("::/0".parse().unwrap())]
}

fn ask(judge: &Judge, ip: IpAddr) -> Result<Clause, Denial> {
    judge.address(Protocol::Tcp, SocketAddr::new(ip, 443), None)
}

/// The integers of a range, the first and the last.
fn bounds(net: IpNet) -> (u128, u128, bool) {
    match net {
        IpNet::V4(net) => (net.network().to_bits().into(), net.broadcast().to_bits().into(), true),
        IpNet::V6(net) => (net.network().to_bits(), net.broadcast().to_bits(), false),
    }
}

fn address(bits: u128, is_v4: bool) -> IpAddr {
    if is_v4 {
        Ipv4Addr::from_bits(u32::try_from(bits).unwrap()).into()
    } else {
        Ipv6Addr::from_bits(bits).into()
    }
}

/// The first and the last address of a range, and their neighbours outside it.
fn edges(net: IpNet) -> (Vec<IpAddr>, Vec<IpAddr>) {
    let (first, last, is_v4) = bounds(net);
    let end = if is_v4 { u128::from(u32::MAX) } else { u128::MAX };
    let inside = vec![address(first, is_v4), address(last, is_v4)];
    let below = first.checked_sub(1).map(|bits| address(bits, is_v4));
    let above = last.checked_add(1).filter(|bits| *bits <= end).map(|bits| address(bits, is_v4));
    (inside, below.into_iter().chain(above).collect())
}

/// Whether a table holds `ip`: by integers.
fn holds(table: &[Range], ip: IpAddr) -> Option<&Range> {
    let (bits, _, is_v4) = bounds(IpNet::from(ip));
    table.iter().find(|entry| {
        let (first, last, of_v4) = bounds(entry.net);
        of_v4 == is_v4 && (first..=last).contains(&bits)
    })
}

/// The addresses that can be read in `ip`, written out from the RFCs.
fn read_in(ip: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V6(v6) = ip else { return vec![ip] };
    let inside = match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0xffff | 0, a, b]
        | [0, 0, 0, 0, 0xffff, 0, a, b]
        | [0x64, 0xff9b, 0, 0, 0, 0, a, b]
        | [0x2002, a, b, ..] => Some(u32::from(a) << 16 | u32::from(b)),
        _ => None,
    };
    let inside = inside.map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
    std::iter::once(ip).chain(inside).collect()
}

fn is_host_itself(ip: IpAddr) -> bool {
    read_in(ip).into_iter().any(|ip| match ip {
        IpAddr::V4(ip) => matches!(ip.octets()[0], 0 | 127),
        IpAddr::V6(ip) => ip.to_bits() <= 1,
    })
}

#[test]
fn the_edges_of_every_special_use_range() {
    let broad_allowlist = judge(NetworkMode::Allowlist, broad());
    let open = judge(NetworkMode::Open, Vec::new());
    for entry in special_use::TABLE {
        let (inside, outside) = edges(entry.net);
        let named = judge(NetworkMode::Open, vec![cidr(entry.net)]);
        for ip in inside {
            for judge in [&open, &broad_allowlist] {
                assert!(ask(judge, ip).is_err(), "{ip} of {}", entry.net);
            }
            let can_be_opened = !read_in(ip.to_canonical()).into_iter().any(is_host_itself)
                && read_in(ip).into_iter().all(|ip| holds(metadata::TABLE, ip).is_none())
                && read_in(ip).len() == 1;
            if can_be_opened {
                assert_eq!(ask(&named, ip), Ok(Clause::entry("network.allow", 0)), "{ip} of {}", entry.net);
            }
        }
        for ip in outside {
            let blocked = read_in(ip.to_canonical()).into_iter().any(|ip| {
                holds(special_use::TABLE, ip).is_some()
                    || holds(metadata::TABLE, ip).is_some()
                    || is_host_itself(ip)
            });
            for judge in [&open, &broad_allowlist] {
                assert_eq!(ask(judge, ip).is_err(), blocked, "{ip} beside {}", entry.net);
            }
        }
    }
}

#[test]
fn every_metadata_address_in_every_form() {
    for entry in metadata::TABLE {
        for net in every_form(entry.net) {
            // Even a rule for exactly this does not open it; with `metadata: allow` it does.
            let rules = || {
                vec![
                    cidr(net),
                    cidr(entry.net),
                    cidr("0.0.0.0/0".parse().unwrap()),
                    cidr("::/0".parse().unwrap()),
                ]
            };
            for mode in [NetworkMode::Allowlist, NetworkMode::Open] {
                let closed = judge(mode, rules());
                let network =
                    Network { mode, allow: rules(), metadata: Posture::Allow, ..Network::default() };
                let open = Judge::new(network, Vec::new(), None);
                for ip in edges(net).0 {
                    let denial = ask(&closed, ip).expect_err("blocked");
                    assert_eq!(denial.clause, METADATA, "{ip}");
                    assert_eq!(denial.reason, Reason::Metadata(entry.what), "{ip}");
                    ask(&open, ip).unwrap_or_else(|denial| panic!("{ip} is open: {denial:?}"));
                }
            }
        }
    }
}

#[rstest]
#[case("127.0.0.1")]
#[case("127.255.255.255")]
#[case("0.0.0.0")]
#[case("0.255.255.255")]
#[case("::")]
#[case("::1")]
#[case("::ffff:127.0.0.1")]
#[case("::127.0.0.1")]
#[case("64:ff9b::127.0.0.1")]
#[case("2002:7f00:1::")]
fn nothing_leads_to_the_host_itself(#[case] ip: &str) {
    let ip: IpAddr = ip.parse().unwrap();
    let network = Network {
        mode: NetworkMode::Open,
        metadata: Posture::Allow,
        special_use: Posture::Allow,
        allow: vec![cidr(IpNet::from(ip)), cidr(IpNet::from(ip.to_canonical()))],
        ..Network::default()
    };
    let judge = Judge::new(network, Vec::new(), None);
    assert_eq!(ask(&judge, ip).unwrap_err().reason, Reason::Own);
}

#[test]
fn special_use_that_is_left_to_the_rules() {
    let network = |mode, allow| Network { mode, allow, special_use: Posture::Allow, ..Network::default() };
    let internal: IpAddr = "10.1.2.3".parse().unwrap();
    let open = Judge::new(network(NetworkMode::Open, Vec::new()), Vec::new(), None);
    assert!(ask(&open, internal).is_ok());
    let broad = Judge::new(network(NetworkMode::Allowlist, broad()), Vec::new(), None);
    assert!(ask(&broad, internal).is_ok());
    let none = Judge::new(network(NetworkMode::Allowlist, Vec::new()), Vec::new(), None);
    assert_eq!(ask(&none, internal).unwrap_err().reason, Reason::NoRule);
    // Metadata is a class of its own.
    assert_eq!(ask(&open, "100.100.100.200".parse().unwrap()).unwrap_err().clause, METADATA);
}

#[rstest]
#[case("2002::/16", "2002:0808:0808::1", true)]
#[case("2002::/16", "2002:0a00:0001::1", false)]
#[case("2002:a00::/24", "2002:0a00:0001::1", true)]
#[case("64:ff9b::/96", "64:ff9b::8.8.8.8", true)]
#[case("64:ff9b::/96", "64:ff9b::10.0.0.1", false)]
#[case("64:ff9b::a00:0/104", "64:ff9b::10.0.0.1", true)]
#[case("10.0.0.0/8", "64:ff9b::10.0.0.1", false)]
#[case("10.0.0.0/8", "::ffff:10.0.0.1", true)]
#[case("10.0.0.0/7", "10.0.0.1", false)]
#[case("10.0.0.1/32", "10.0.0.1", true)]
fn a_rule_has_to_name_the_range(#[case] net: &str, #[case] ip: &str, #[case] allowed: bool) {
    let judge = judge(NetworkMode::Allowlist, vec![cidr(net.parse().unwrap())]);
    assert_eq!(ask(&judge, ip.parse().unwrap()).is_ok(), allowed);
}

#[test]
fn names() {
    let host = |pattern: &str| rule(0, Peer::Host(pattern.to_owned()), Ports::List(vec![443]), Protocol::Tcp);
    let judge = judge(NetworkMode::Allowlist, vec![host("a.org"), host("*.b.org"), host("**.c.org")]);
    for name in ["a.org", "x.b.org", "x.c.org", "x.y.c.org"] {
        assert!(judge.name(name).is_ok() && judge.named(name, Protocol::Tcp, 443).is_ok(), "{name}");
        for (protocol, port) in [(Protocol::Tcp, 442), (Protocol::Tcp, 444), (Protocol::Udp, 443)] {
            assert_eq!(judge.named(name, protocol, port).unwrap_err().reason, Reason::NoRule);
        }
        let public = "8.8.8.8:443".parse().unwrap();
        assert!(judge.address(Protocol::Tcp, public, Some(name)).is_ok());
        assert!(judge.address(Protocol::Tcp, public, None).is_err(), "the address alone is not the name");
    }
    for name in
        ["x.a.org", "b.org", "x.y.b.org", "c.org", "org", "aa.org", "a.org.x", "metadata.google.internal"]
    {
        assert!(judge.name(name).is_err() && judge.named(name, Protocol::Tcp, 443).is_err(), "{name}");
    }
}

#[test]
fn a_name_reaches_an_internal_address_that_a_rule_names() {
    let host = rule(0, Peer::Host("db.corp".to_owned()), Ports::List(vec![443]), Protocol::Tcp);
    let both = judge(NetworkMode::Allowlist, vec![host.clone(), cidr("10.0.0.0/8".parse().unwrap())]);
    let alone = judge(NetworkMode::Allowlist, vec![host]);
    let internal = "10.1.1.1:443".parse().unwrap();
    assert!(both.address(Protocol::Tcp, internal, Some("db.corp")).is_ok());
    let denial = alone.address(Protocol::Tcp, internal, Some("db.corp")).unwrap_err();
    assert_eq!(denial.reason, Reason::SpecialUse("private use"));
}

#[test]
fn metadata_names_are_blocked_unless_allowed() {
    for mode in [NetworkMode::Allowlist, NetworkMode::Open] {
        let allow = vec![rule(0, Peer::Host("**.internal".to_owned()), Ports::Any, Protocol::Tcp)];
        let mut network = Network { mode, allow, ..Network::default() };
        let name = "metadata.google.internal";
        assert_eq!(Judge::new(network.clone(), Vec::new(), None).name(name).unwrap_err().clause, METADATA);
        network.metadata = Posture::Allow;
        assert!(Judge::new(network, Vec::new(), None).name(name).is_ok());
    }
}

#[test]
fn without_a_network_nothing_is_allowed() {
    let judge = judge(NetworkMode::None, broad());
    assert_eq!(ask(&judge, "8.8.8.8".parse().unwrap()).unwrap_err().reason, Reason::NoNetwork);
    assert_eq!(judge.name("a.org").unwrap_err().reason, Reason::NoNetwork);
    assert_eq!(judge.named("a.org", Protocol::Tcp, 443).unwrap_err().reason, Reason::NoNetwork);
}

#[test]
fn port_zero_is_no_port() {
    let any = rule(0, Peer::Cidr("8.0.0.0/8".parse().unwrap()), Ports::Any, Protocol::Tcp);
    let judge = judge(NetworkMode::Allowlist, vec![any]);
    let at = |port| judge.address(Protocol::Tcp, SocketAddr::from(([8, 8, 8, 8], port)), None);
    assert!(at(1).is_ok() && at(65_535).is_ok() && at(0).is_err());
}

/// Each mutant says yes, or no, where the sound judge says the other.
#[rstest]
#[case(Mutant::EmptyAllowlistOpens, Vec::new(), "8.8.8.8:443", None)]
#[case(Mutant::MetadataListShort, vec![cidr("168.63.129.16/32".parse().unwrap())], "168.63.129.16:443", None)]
#[case(Mutant::MetadataByBroadRule, vec![cidr("169.254.0.0/16".parse().unwrap())], "169.254.169.254:443", None)]
#[case(Mutant::MetadataListShort, vec![host("a.org")], "168.63.129.16:443", Some("a.org"))]
#[case(Mutant::HostReached, vec![host("a.org")], "127.0.0.1:443", Some("a.org"))]
#[case(Mutant::CgnatMissing, broad(), "100.64.0.1:443", None)]
#[case(Mutant::EmbeddedIgnored, broad(), "[64:ff9b::10.0.0.1]:443", None)]
#[case(Mutant::RebindingAllowed, vec![host("a.org")], "10.0.0.1:443", Some("a.org"))]
#[case(Mutant::AnyAddressOn443, vec![host("a.org")], "8.8.8.8:443", None)]
#[case(Mutant::PrefixConfusion, vec![cidr("8.8.8.0/24".parse().unwrap())], "8.8.80.1:443", None)]
#[case(Mutant::PortsIgnored, vec![cidr("8.8.8.0/24".parse().unwrap())], "8.8.8.8:80", None)]
#[case(Mutant::SuffixMatch, vec![host("a.org")], "8.8.8.8:443", Some("xa.org"))]
#[case(Mutant::WildcardDeep, vec![host("*.a.org")], "8.8.8.8:443", Some("x.y.a.org"))]
fn mutants(
    #[case] mutant: Mutant,
    #[case] allow: Vec<AllowRule>,
    #[case] to: &str,
    #[case] name: Option<&str>,
) {
    let network = Network { mode: NetworkMode::Allowlist, allow, ..Network::default() };
    let to = to.parse().unwrap();
    assert!(Judge::new(network.clone(), Vec::new(), None).address(Protocol::Tcp, to, name).is_err());
    assert!(Judge::new(network, Vec::new(), Some(mutant)).address(Protocol::Tcp, to, name).is_ok());
}

#[test]
fn a_mutant_of_the_protocol() {
    let network = Network { mode: NetworkMode::Allowlist, allow: broad(), ..Network::default() };
    let to = "8.8.8.8:443".parse().unwrap();
    assert!(Judge::new(network.clone(), Vec::new(), None).address(Protocol::Udp, to, None).is_err());
    assert!(
        Judge::new(network, Vec::new(), Some(Mutant::ProtocolIgnored))
            .address(Protocol::Udp, to, None)
            .is_ok()
    );
}

fn host(pattern: &str) -> AllowRule {
    rule(0, Peer::Host(pattern.to_owned()), Ports::List(vec![443]), Protocol::Tcp)
}

/// The decision, once more, as a person would read it out of the policy.
fn model(network: &Network, protocol: Protocol, to: SocketAddr, name: Option<&str>) -> bool {
    let ip = to.ip().to_canonical();
    if network.mode == NetworkMode::None || is_host_itself(ip) {
        return false;
    }
    let readings = read_in(ip);
    let is_metadata = readings.iter().any(|&ip| holds(metadata::TABLE, ip).is_some());
    if is_metadata && network.metadata == Posture::Block {
        return false;
    }
    let fits = |rule: &AllowRule| {
        rule.protocol == protocol
            && match &rule.ports {
                Ports::Any => to.port() > 0,
                Ports::List(list) => list.contains(&to.port()),
            }
    };
    let rules: Vec<&AllowRule> = network.allow.iter().filter(|rule| fits(rule)).collect();
    let ranges = rules.iter().filter_map(|rule| match rule.peer {
        Peer::Cidr(net) => holds(&[Range { net, what: "", source: "" }], ip).is_some().then_some(net),
        Peer::Host(_) => None,
    });
    let ranges: Vec<IpNet> = ranges.collect();
    let by_name = |pattern: &str| {
        let Some(name) = name else { return false };
        let labels: Vec<&str> = name.split('.').collect();
        let wanted: Vec<&str> = pattern.split('.').collect();
        match wanted[0] {
            "*" => labels.len() == wanted.len() && labels[1..] == wanted[1..],
            "**" => labels.len() >= wanted.len() && labels.ends_with(&wanted[1..]),
            _ => labels == wanted,
        }
    };
    // A name is somebody only if it may be resolved.
    if name.is_some() && network.mode != NetworkMode::Open {
        let is_known =
            network.allow.iter().any(|rule| matches!(&rule.peer, Peer::Host(pattern) if by_name(pattern)));
        if !is_known {
            return false;
        }
    }
    let special: Vec<&Range> = readings.iter().filter_map(|&ip| holds(special_use::TABLE, ip)).collect();
    if !special.is_empty() && network.special_use == Posture::Block {
        return ranges
            .iter()
            .any(|&net| special.iter().all(|entry| every_form(entry.net).any(|form| form.contains(&net))));
    }
    network.mode == NetworkMode::Open
        || !ranges.is_empty()
        || rules.iter().any(|rule| matches!(&rule.peer, Peer::Host(pattern) if by_name(pattern)))
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    let tabled: Vec<IpAddr> = special_use::TABLE
        .iter()
        .chain(metadata::TABLE)
        .flat_map(|entry| {
            let (inside, outside) = edges(entry.net);
            [inside, outside].concat()
        })
        .collect();
    let base = prop_oneof![
        4 => prop::sample::select(tabled),
        1 => any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
        1 => any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
    ];
    (base, prop::option::of(prop::sample::select(&Form::ALL[..]))).prop_map(|(ip, form)| match (ip, form) {
        (IpAddr::V4(v4), Some(form)) => form.embed(Ipv4Net::from(v4)).network().into(),
        _ => ip,
    })
}

fn peers() -> impl Strategy<Value = Peer> {
    let range = (addresses(), 0u8..=128).prop_map(|(ip, prefix)| match ip.to_canonical() {
        IpAddr::V4(ip) => IpNet::V4(Ipv4Net::new(ip, prefix / 4).unwrap().trunc()),
        IpAddr::V6(ip) => IpNet::V6(Ipv6Net::new(ip, prefix).unwrap().trunc()),
    });
    let pattern = "(\\*\\.|\\*\\*\\.)?[ab](\\.[ab]){0,2}";
    prop_oneof![2 => range.prop_map(Peer::Cidr), 1 => pattern.prop_map(Peer::Host)]
}

fn networks() -> impl Strategy<Value = Network> {
    let ports = prop_oneof![
        Just(Ports::Any),
        prop::collection::btree_set(1u16..4, 1..3).prop_map(|ports| Ports::List(ports.into_iter().collect())),
    ];
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)];
    let rules = prop::collection::vec((peers(), ports, protocol), 0..5);
    let mode = prop_oneof![1 => Just(NetworkMode::None), 6 => Just(NetworkMode::Allowlist), 4 => Just(NetworkMode::Open)];
    (mode, rules, any::<[bool; 2]>()).prop_map(|(mode, rules, [metadata, special_use])| {
        let posture = |allow| if allow { Posture::Allow } else { Posture::Block };
        let rules = rules.into_iter().enumerate();
        Network {
            mode,
            allow: rules.map(|(index, (peer, ports, protocol))| rule(index, peer, ports, protocol)).collect(),
            metadata: posture(metadata),
            special_use: posture(special_use),
            ..Network::default()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::tests::cases(2000)))]

    #[test]
    fn the_decision_is_that_of_the_model(
        network in networks(),
        ip in addresses(),
        near in prop::option::of(any::<prop::sample::Index>()),
        port in 0u16..5,
        protocol in prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)],
        name in prop::option::of("[ab](\\.[ab]){0,3}"),
    ) {
        // Half of the addresses are at an edge of a rule, so that both answers occur.
        let ranges: Vec<IpNet> = network.allow.iter().filter_map(|rule| match rule.peer {
            Peer::Cidr(net) => Some(net),
            Peer::Host(_) => None,
        }).collect();
        let ip = match near {
            Some(near) if !ranges.is_empty() => {
                let (inside, outside) = edges(*near.get(&ranges));
                *near.get(&[inside, outside].concat())
            }
            _ => ip,
        };
        let to = SocketAddr::new(ip, port);
        let judge = Judge::new(network.clone(), Vec::new(), None);
        let decided = judge.address(protocol, to, name.as_deref());
        prop_assert_eq!(decided.is_ok(), model(&network, protocol, to, name.as_deref()), "{:?}", decided);
        if let (Ok(_), Some(name)) = (&decided, &name) {
            prop_assert!(judge.name(name).is_ok(), "what is reached by a name may be resolved");
            prop_assert!(judge.named(name, protocol, port).is_ok());
        }
    }
}

//! The sandbox's own proxies, where the policy asks for them: they judge targets as connections are judged, however a target
//! is written.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use palisade_policy::address::metadata;
use palisade_policy::address::synthetic::{HTTP_PROXY_PORT, RESOLVER_V4};
use palisade_policy::{AllowRule, Peer, Policy, Ports, Posture, Protocol, Proxy};

use super::prelude::*;
use crate::lab::World;
use crate::lab::canary::zone;

const PROXY: &str = "network.proxy";

/// How long an answer of the proxy may take, in milliseconds.
const PATIENCE: i32 = 1500;

/// The variables by which programs find a proxy.
pub(super) const VARIABLES: &[&str] = &[
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];

/// Ways to write the address of metadata services, each with the port of a rule.
const ADDRESSES: &[(&str, &str)] = &[
    ("ip-literal", "169.254.169.254"),
    ("decimal", "2852039166"),
    ("octal", "0251.0376.0251.0376"),
    ("hex", "0xa9fea9fe"),
    ("hex-dotted", "0xa9.0xfe.0xa9.0xfe"),
    ("short-dotted", "169.254.43518"),
    ("v6-bracket", "[fd00:ec2::254]"),
    ("v6-mapped", "[::ffff:169.254.169.254]"),
    ("v6-nat64", "[64:ff9b::a9fe:a9fe]"),
    ("v6-zone", "[fe80::a9fe:a9fe%1]"),
    ("zero", "0.0.0.0"),
    ("loopback", "127.0.0.1"),
    ("loopback-name", "localhost"),
    ("plain-address", "1.1.1.1"),
    ("name-in-brackets", "[metadata.google.internal]"),
];

/// Entries of the group `l7`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    if policy.network.proxy == Proxy::None {
        return Vec::new();
    }
    let mut probes = vec![variables()];
    let wildcard = policy.network.allow.iter().find_map(|rule| match &rule.peer {
        Peer::Host(pattern) if rule.protocol == Protocol::Tcp => {
            Some((rule, pattern.strip_prefix("*.")?, first_port(rule)?))
        }
        _ => None,
    });
    let Some((rule, domain, port)) = wildcard else { return probes };
    probes.extend(ADDRESSES.iter().map(|&(id, host)| denied(world, rule, id, format!("{host}:{port}"))));
    let overflow = u32::from(port) + 65_536;
    let names = [
        ("suffix-confusion", format!("bad{domain}:{port}")),
        ("prefix-confusion", format!("x.{domain}.test:{port}")),
        ("wildcard-depth", format!("x.y.{domain}:{port}")),
        ("domain-itself", format!("{domain}:{port}")),
        ("other-port", format!("x.{domain}:{}", port.wrapping_add(1).max(1))),
        ("port-overflow", format!("x.{domain}:{overflow}")),
        ("userinfo", format!("x.{domain}@169.254.169.254:{port}")),
        ("userinfo-port", format!("x.{domain}:{port}@169.254.169.254:{port}")),
        ("tab", format!("x.{domain}\t.test:{port}")),
        ("space", format!("x.{domain} 169.254.169.254:{port}")),
        ("carriage-return", format!("x.{domain}\r\n169.254.169.254:{port}")),
        ("to-private", format!("to-private.{domain}:{port}")),
        ("to-metadata", format!("to-metadata.{domain}:{port}")),
        ("to-loopback", format!("to-loopback.{domain}:{port}")),
    ];
    probes.extend(names.into_iter().map(|(id, target)| denied(world, rule, id, target)));
    probes.push(plain_http(world, rule, domain));
    probes.extend(metadata_in_ranges(world, policy));
    for (id, host) in [
        ("allowed-name", format!("x.{domain}")),
        ("allowed-upper-case", format!("X.{}", domain.to_uppercase())),
        ("allowed-trailing-dot", format!("x.{domain}.")),
        ("allowed-mixed", format!("mixed.{domain}")),
    ] {
        probes.push(allowed(world, rule, id, &host, port));
    }
    probes
}

/// Metadata services inside a range that a rule names: the range opens them as little as anything else does.
fn metadata_in_ranges(world: &World, policy: &Policy) -> Vec<Probe> {
    if policy.network.metadata == Posture::Allow {
        return Vec::new();
    }
    let mut probes = Vec::new();
    for (index, rule) in policy.network.allow.iter().enumerate() {
        let (Peer::Cidr(net), Protocol::Tcp, Some(port)) = (&rule.peer, rule.protocol, first_port(rule))
        else {
            continue;
        };
        let inside = metadata::TABLE.iter().map(|entry| entry.net.addr()).filter(|ip| net.contains(ip));
        for ip in inside.collect::<BTreeSet<_>>() {
            let id = format!("rule-{index}-{}", ip.to_string().replace(['.', ':'], "-"));
            probes.push(denied(world, rule, &id, SocketAddr::new(ip, port).to_string()));
        }
    }
    probes
}

fn first_port(rule: &AllowRule) -> Option<u16> {
    match &rule.ports {
        Ports::List(ports) => ports.first().copied(),
        Ports::Any => None,
    }
}

fn variables() -> Probe {
    let has = |name: &&str| control!("env_has", *name);
    let script = VARIABLES.iter().map(has).chain([attempt!("find_in_environ", "198.18.0.1")]);
    Probe::allows("l7/proxy/variables", Medium)
        .serves(PROXY, "L7-2")
        .requires("the variables name a proxy, in both spellings")
        .operation("look for the proxy's address in the environment")
        .script(script)
        .expect(DataPasses("all but NO_PROXY", |data| {
            let names: Vec<&[u8]> = data.split(|byte| !byte.is_ascii_alphabetic() && *byte != b'_').collect();
            let wanted = VARIABLES.iter().filter(|name| !name.eq_ignore_ascii_case("NO_PROXY"));
            wanted.into_iter().all(|name| names.contains(&name.as_bytes()))
        }))
        .outside(Outside::NotRun("the host has no such proxy"))
}

/// What is said to the proxy: a request, and at once what the far side would hear.
fn connect(target: &str) -> palisade_probe::script::Statement {
    let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    let said = text([Piece::from(head.as_str()), Piece::Nonce, Piece::from("\n")]);
    attempt!("tcp_talk", RESOLVER_V4.to_string(), HTTP_PROXY_PORT, said, PATIENCE)
}

/// A request in absolute form is a connection like any other; the host of a field is nobody's.
fn plain_http(world: &World, rule: &AllowRule, domain: &str) -> Probe {
    let head = format!("GET http://1.1.1.1:443/ HTTP/1.1\r\nHost: x.{domain}\r\nX: ");
    let said = text([Piece::from(head.as_str()), Piece::Nonce, Piece::from("\r\n\r\n")]);
    Probe {
        id: "l7/http/plain-http".to_owned(),
        operation: "GET http://1.1.1.1:443/ with the name of an allowed host in a field".to_owned(),
        ..denied(world, rule, "plain-http", String::new())
    }
    .script([
        control!("loopback_tcp"),
        attempt!("tcp_talk", RESOLVER_V4.to_string(), HTTP_PROXY_PORT, said, PATIENCE),
    ])
    .canary(Canary::tcp([1, 1, 1, 1], 443))
}

fn denied(world: &World, rule: &AllowRule, id: &str, target: String) -> Probe {
    Probe::denies(format!("l7/target/{id}"), Critical)
        .serves_rule(&rule.clause, "L7-1")
        .requires("a proxy refuses a target that no rule allows, however it is written")
        .operation(format!("CONNECT {}", target.escape_debug()))
        .script([control!("loopback_tcp"), connect(&target)])
        .expect(DataPasses("an answer of the proxy that refuses", |data| {
            data.starts_with(b"HTTP/1.1 4") || data.starts_with(b"HTTP/1.1 5")
        }))
        .outside(Outside::NotRun("the host has no such proxy"))
        .canary(Canary::tcp(zone::PUBLIC_V4, 443))
        .needs_planted(&world.secret("resolv-conf").presence)
}

fn allowed(world: &World, rule: &AllowRule, id: &str, host: &str, port: u16) -> Probe {
    let target = format!("{host}:{port}");
    Probe::allows(format!("l7/target/{id}"), High)
        .serves_rule(&rule.clause, "L7-1")
        .requires("a proxy connects to what a rule allows")
        .operation(format!("CONNECT {target}"))
        .script([control!("loopback_tcp"), connect(&target)])
        .expect(Expect::data_contains("HTTP/1.1 200"))
        .outside(Outside::NotRun("the host has no such proxy"))
        .canary(Canary::tcp(zone::PUBLIC_V4, port))
        .needs_planted(&world.secret("resolv-conf").presence)
}

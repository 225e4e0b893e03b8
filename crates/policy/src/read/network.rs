//! The section `network`.

mod link;
mod services;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use super::Reader;
use super::reader::Fields;
use crate::address::embedded::Form;
use crate::address::{metadata, special_use, synthetic};
use crate::diagnostic::printable;
use crate::host;
use crate::limits;
use crate::policy::{AllowRule, Backend, Clause, Network, NetworkMode, Peer, Ports, Posture, Protocol};
use crate::refusal::Refusal;
use crate::yaml::{Node, Value};

pub(super) use link::KEYS as LINK_KEYS;
pub(super) use services::{DNS_KEYS, PUBLISH_KEYS};

pub(super) const KEYS: &[&str] =
    &["mode", "backend", "metadata", "special_use", "allow", "dns", "publish", "proxy", "link"];
pub(super) const RULE_KEYS: &[&str] = &["host", "cidr", "ports", "protocol"];

const MODES: &[(&str, NetworkMode)] =
    &[("none", NetworkMode::None), ("allowlist", NetworkMode::Allowlist), ("open", NetworkMode::Open)];

const POSTURES: &[(&str, Posture)] = &[("block", Posture::Block), ("allow", Posture::Allow)];

const PROTOCOLS: &[(&str, Protocol)] = &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];

const PORTS_HELP: &str = "write a list such as [443], or `any` for every port";

pub(super) fn read(reader: &mut Reader<'_>, section: Option<&Node>) -> Network {
    let Some(section) = section else { return Network::default() };
    reader.locate(Clause::new("network"), section);
    let fields = reader.fields(section, "network");
    let field = |key: &str| fields.get(key).copied();
    let mode = reader.word(field("mode"), "network.mode", MODES);
    // A mode that was written but not understood says nothing about the rules.
    let is_mode_known = mode.is_some() || !names(section, "mode");
    let mut network = Network {
        mode: mode.unwrap_or_default(),
        backend: reader.word(field("backend"), "network.backend", Backend::ALL).unwrap_or_default(),
        metadata: reader.word(field("metadata"), "network.metadata", POSTURES).unwrap_or_default(),
        special_use: reader.word(field("special_use"), "network.special_use", POSTURES).unwrap_or_default(),
        ..Network::default()
    };
    let rules = rules(reader, field("allow"));
    let lints_before = reader.problem_count();
    if is_mode_known {
        lint(reader, &network, &rules);
    }
    network.allow = rules.into_iter().map(|(_, rule)| rule).collect();
    services::read(reader, &fields, &mut network);
    network.link = link::read(reader, field("link"), network.backend);
    // Where the rules are wrong, what they would need is not known.
    if is_mode_known && reader.problem_count() == lints_before {
        services::lint(reader, &fields, &network);
    }
    network
}

/// The entries of `allow`, repeated ones reported.
fn rules<'n>(reader: &mut Reader<'_>, node: Option<&'n Node>) -> Vec<(&'n Node, AllowRule)> {
    let mut rules: Vec<(&Node, AllowRule)> = Vec::new();
    let mut seen: BTreeMap<String, &Node> = BTreeMap::new();
    for (index, node) in reader.list(node, "network.allow").iter().enumerate() {
        let clause = Clause::entry("network.allow", index);
        reader.locate(clause.clone(), node);
        let before = reader.problem_count();
        let fields = reader.fields(node, "network.allow");
        let is_map = matches!(node.value, Value::Map(_));
        let peer = if is_map { peer(reader, node, &fields) } else { None };
        let ports = if is_map { ports(reader, node, &fields) } else { None };
        let protocol = fields.get("protocol").and_then(|node| reader.choice(node, "`protocol`", PROTOCOLS));
        let (Some(peer), Some(ports), true) = (peer, ports, reader.problem_count() == before) else {
            continue;
        };
        let rule = AllowRule { clause, peer, ports, protocol: protocol.unwrap_or_default() };
        let identity = format!("{:?} {:?} {:?}", rule.peer, rule.ports, rule.protocol);
        if let Some(first) = seen.insert(identity, node) {
            reader.report(node, "this rule stands here twice").related(first, "first here");
        }
        rules.push((node, rule));
    }
    rules
}

fn peer(reader: &mut Reader<'_>, rule: &Node, fields: &Fields<'_>) -> Option<Peer> {
    match (fields.get("host"), fields.get("cidr")) {
        (Some(host), None) => {
            let pattern = reader.text(host, "`host`")?;
            reader.parsed(host, host::normalise_pattern(pattern)).map(Peer::Host)
        }
        (None, Some(cidr)) => {
            let range = reader.text(cidr, "`cidr`")?;
            reader.parsed(cidr, parse_cidr(range)).map(Peer::Cidr)
        }
        (Some(host), Some(cidr)) => {
            reader
                .report(cidr, "rule names both a host and a range")
                .related(host, "host here")
                .help("write two rules");
            None
        }
        (None, None) => {
            // One that is named but has no value was reported already.
            if !names(rule, "host") && !names(rule, "cidr") {
                reader.report(rule, "rule names no peer").help("add `host: NAME` or `cidr: RANGE`");
            }
            None
        }
    }
}

/// Whether the map at `node` has the key `key`, be its value good or bad.
fn names(node: &Node, key: &str) -> bool {
    let Value::Map(entries) = &node.value else { return false };
    entries.iter().any(|(name, _)| matches!(&name.value, Value::Text(name) if name == key))
}

/// Reads a range: an address, `/`, a prefix length, without host bits and not IPv4-mapped.
fn parse_cidr(text: &str) -> Result<IpNet, Refusal> {
    let shown = printable(text);
    let Ok(net) = text.parse::<IpNet>() else {
        let help = match text.parse::<IpAddr>() {
            Ok(address) => format!("write `{}` for this address alone", IpNet::from(address)),
            Err(_) => {
                "write an address and a prefix length, such as 203.0.113.0/24 or \"2001:db8::/32\"".to_owned()
            }
        };
        return Err(Refusal::new(format!("`{shown}` is not a range"), help));
    };
    let mapped = Form::Mapped.range();
    if let IpNet::V6(v6) = net
        && mapped.contains(&v6)
        && let Some(address) = Form::Mapped.extract(v6.addr())
    {
        let message = format!("range `{shown}` is IPv4-mapped: no packet has such an address");
        let prefix = v6.prefix_len() - mapped.prefix_len();
        return Err(Refusal::new(message, format!("write the IPv4 range: `{address}/{prefix}`")));
    }
    if net != net.trunc() {
        let (range, address) = (net.trunc(), IpNet::from(net.addr()));
        let help = format!("write `{range}` for the range, or `{address}` for the address");
        return Err(Refusal::new(format!("range `{shown}` has bits beyond its prefix"), help));
    }
    Ok(net)
}

fn ports(reader: &mut Reader<'_>, rule: &Node, fields: &Fields<'_>) -> Option<Ports> {
    let Some(&node) = fields.get("ports") else {
        if !names(rule, "ports") {
            reader
                .report(rule, "rule names no ports")
                .help("add `ports: [443]`, or `ports: any` for every port");
        }
        return None;
    };
    let entries = match &node.value {
        Value::Text(word) if word == "any" => return Some(Ports::Any),
        Value::List(entries) => entries,
        Value::Whole(port) => {
            reader.wrong_kind(node, "`ports`", "a list").help(format!("write [{port}]"));
            return None;
        }
        Value::Text(word) => {
            reader.report(node, format!("unknown value `{}` for `ports`", printable(word))).help(PORTS_HELP);
            return None;
        }
        _ => {
            reader.wrong_kind(node, "`ports`", "a list").help(PORTS_HELP);
            return None;
        }
    };
    if entries.is_empty() {
        reader.report(node, "rule allows no port at all").help(PORTS_HELP);
        return None;
    }
    if entries.len() > limits::MAX_PORTS {
        reader.report(node, format!("more than {} ports in one rule", limits::MAX_PORTS)).help("write `any`");
        return None;
    }
    let mut list: BTreeMap<u16, &Node> = BTreeMap::new();
    for entry in entries {
        let Some(port) = port(reader, entry) else { continue };
        if let Some(first) = list.insert(port, entry) {
            reader.report(entry, format!("port {port} stands here twice")).related(first, "first here");
        }
    }
    Some(Ports::List(list.into_keys().collect()))
}

/// A port at `node`.
fn port(reader: &mut Reader<'_>, node: &Node) -> Option<u16> {
    if let Value::Text(text) = &node.value
        && text.contains(['-', ':'])
    {
        let message = format!("`{}` is not a port", printable(text));
        reader.report(node, message).help("there are no port ranges: list the ports, or write `ports: any`");
        return None;
    }
    let number = reader.whole(node, "port")?;
    let port = u16::try_from(number).ok().filter(|&port| port != 0);
    if port.is_none() {
        reader.report(node, format!("port {number} does not exist")).help("ports are 1 to 65535");
    }
    port
}

/// Reports a rule of which everything is what the gateway gives to names: it would be dialled as a name.
fn lint_synthetic(reader: &mut Reader<'_>, node: &Node, net: IpNet) {
    let taken = [IpNet::from(synthetic::RANGE_V4), IpNet::from(synthetic::RANGE_V6)];
    if let Some(range) = taken.into_iter().find(|range| range.contains(&net)) {
        reader
            .report(node, format!("rule cannot act: `{net}` is where names get their addresses"))
            .label(format!("in {range}, inside a sandbox"))
            .help("use another range");
    }
}

/// Reports a rule of which everything is the sandbox itself: what leads to loopback never leaves it.
fn lint_loopback(reader: &mut Reader<'_>, node: &Node, net: IpNet) {
    let own = [
        (v4([127, 0, 0, 0], 8), "loopback"),
        (v4([0, 0, 0, 0], 8), "the unspecified address, which is loopback, and its network"),
        (v6(Ipv6Addr::LOCALHOST), "loopback"),
        (v6(Ipv6Addr::UNSPECIFIED), "the unspecified address, which is loopback"),
    ];
    if let Some((_, what)) = own.into_iter().find(|(range, _)| range.contains(&net)) {
        reader
            .report(node, format!("rule cannot act: `{net}` is inside the sandbox itself"))
            .label(what)
            .help("a sandbox has a loopback of its own, which needs no rule; the host's is reached by none");
    }
}

fn v4(octets: [u8; 4], length: u8) -> IpNet {
    Ipv4Net::new_assert(octets.into(), length).into()
}

fn v6(address: Ipv6Addr) -> IpNet {
    IpAddr::from(address).into()
}

/// Reports rules that cannot act.
fn lint(reader: &mut Reader<'_>, network: &Network, rules: &[(&Node, AllowRule)]) {
    for (node, rule) in rules {
        // In an open network a rule acts only where it opens a special-use range by name.
        let opens = match rule.peer {
            Peer::Cidr(net) => special_use::of_range(net).is_some() && network.special_use == Posture::Block,
            Peer::Host(_) => false,
        };
        match network.mode {
            NetworkMode::None => {
                reader
                    .report(node, "rule cannot act: `mode` is `none`")
                    .help("write `mode: allowlist`, or remove the rule");
            }
            NetworkMode::Open if !opens => {
                reader
                    .report(node, "rule cannot act: `mode: open` allows its peers already")
                    .help("write `mode: allowlist`, or remove the rule; `open` needs rules for special-use ranges only");
            }
            NetworkMode::Open | NetworkMode::Allowlist if network.metadata == Posture::Block => {
                lint_metadata(reader, node, &rule.peer);
            }
            NetworkMode::Open | NetworkMode::Allowlist => {}
        }
        if let Peer::Cidr(net) = rule.peer
            && network.mode != NetworkMode::None
        {
            lint_synthetic(reader, node, net);
            lint_loopback(reader, node, net);
        }
    }
}

/// Reports a rule of which everything is metadata.
fn lint_metadata(reader: &mut Reader<'_>, node: &Node, peer: &Peer) {
    let (shown, what) = match peer {
        Peer::Cidr(net) => match metadata::of_range(*net) {
            Some(entry) => (net.to_string(), entry.what),
            None => return,
        },
        Peer::Host(pattern) if metadata::is_name(pattern) => {
            (pattern.clone(), "the name of a metadata service")
        }
        Peer::Host(_) => return,
    };
    reader
        .report(node, format!("rule cannot act: `{shown}` is a metadata address"))
        .label(what)
        .help("metadata is blocked whatever the rules say, unless the policy has `metadata: allow`");
}

//! What stands beside the rules: `dns`, `publish` and `proxy`.

use std::net::{IpAddr, SocketAddr};

use super::{names, port};
use crate::address::embedded::Form;
use crate::diagnostic::printable;
use crate::limits;
use crate::policy::{Clause, Network, NetworkMode, Peer, Proxy, Publish};
use crate::read::Reader;
use crate::read::reader::Fields;
use crate::refusal::Refusal;
use crate::yaml::{Node, Value};

pub(in crate::read) const DNS_KEYS: &[&str] = &["servers"];
pub(in crate::read) const PUBLISH_KEYS: &[&str] = &["port", "to"];

const PROXIES: &[(&str, Proxy)] = &[("none", Proxy::None), ("environment", Proxy::Environment)];

/// The port of a resolver that names none (RFC 1035, 4.2).
const DNS_PORT: u16 = 53;

/// Reads the three into `network`.
pub(super) fn read(reader: &mut Reader<'_>, fields: &Fields<'_>, network: &mut Network) {
    let field = |key: &str| fields.get(key).copied();
    if let Some(node) = field("dns") {
        network.dns.servers = servers(reader, node);
    }
    network.publish = publish(reader, field("publish"));
    network.proxy = reader.word(field("proxy"), "network.proxy", PROXIES).unwrap_or_default();
}

/// Reports what cannot act beside the rules of `network`.
pub(super) fn lint(reader: &mut Reader<'_>, fields: &Fields<'_>, network: &Network) {
    let written = [
        ("dns", !network.dns.servers.is_empty()),
        ("publish", !network.publish.is_empty()),
        ("proxy", network.proxy != Proxy::None),
    ];
    for (key, is_written) in written {
        if let Some(node) = fields.get(key)
            && is_written
            && network.mode == NetworkMode::None
        {
            reader
                .report(node, format!("`{key}` cannot act: `mode` is `none`"))
                .help(format!("write `mode: allowlist`, or remove `{key}`"));
        }
    }
    let resolves = network.mode == NetworkMode::Open
        || network.allow.iter().any(|rule| matches!(rule.peer, Peer::Host(_)));
    if let Some(node) = fields.get("dns")
        && network.mode == NetworkMode::Allowlist
        && !network.dns.servers.is_empty()
        && !resolves
    {
        reader
            .report(node, "`dns` cannot act: no rule names a host")
            .help("names are resolved for rules with `host`; add one, or remove `dns`");
    }
}

fn servers(reader: &mut Reader<'_>, node: &Node) -> Vec<SocketAddr> {
    reader.locate(Clause::new("network.dns"), node);
    let fields = reader.fields(node, "network.dns");
    let Some(&list) = fields.get("servers") else { return Vec::new() };
    let entries = reader.list(Some(list), "network.dns.servers");
    if entries.len() > limits::MAX_RESOLVERS {
        reader
            .report(list, format!("more than {} resolvers", limits::MAX_RESOLVERS))
            .help("the next is asked only when those before it do not answer");
        return Vec::new();
    }
    let mut servers: Vec<(SocketAddr, &Node)> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        reader.locate(Clause::entry("network.dns.servers", index), entry);
        let Some(text) = reader.text(entry, "resolver") else { continue };
        let Some(server) = reader.parsed(entry, parse_server(text)) else { continue };
        if let Some((_, first)) = servers.iter().find(|&&(other, _)| other == server) {
            reader.report(entry, format!("resolver {server} stands here twice")).related(first, "first here");
            continue;
        }
        servers.push((server, entry));
    }
    servers.into_iter().map(|(server, _)| server).collect()
}

/// Reads the address of a resolver, with or without a port.
fn parse_server(text: &str) -> Result<SocketAddr, Refusal> {
    let help =
        "write an address such as 192.0.2.53, or with its port \"192.0.2.53:53\" or \"[2001:db8::53]:53\"";
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match bare {
        Some(inside) => inside.parse().map(IpAddr::V6),
        None => text.parse(),
    };
    let server = match address {
        Ok(address) => SocketAddr::new(address, DNS_PORT),
        Err(_) => parse_address(text, "a resolver's address", help)?,
    };
    not_mapped(server)?;
    let ip = server.ip();
    if ip.is_unspecified() || ip.is_multicast() {
        let message = format!("no resolver has the address `{}`", printable(text));
        return Err(Refusal::new(message, help));
    }
    Ok(server)
}

/// Reads an address with a port other than 0.
fn parse_address(text: &str, what: &str, help: &str) -> Result<SocketAddr, Refusal> {
    let shown = printable(text);
    let Ok(address) = text.parse::<SocketAddr>() else {
        return Err(Refusal::new(format!("`{shown}` is not {what}"), help));
    };
    if address.port() == 0 {
        return Err(Refusal::new(format!("port 0 of `{shown}` does not exist"), "ports are 1 to 65535"));
    }
    not_mapped(address)?;
    Ok(address)
}

fn not_mapped(address: SocketAddr) -> Result<(), Refusal> {
    if let IpAddr::V6(v6) = address.ip()
        && let Some(v4) = Form::Mapped.extract(v6)
    {
        let help = format!("write the IPv4 address: \"{v4}:{}\"", address.port());
        return Err(Refusal::new(format!("address {address} is IPv4-mapped"), help));
    }
    Ok(())
}

fn publish(reader: &mut Reader<'_>, node: Option<&Node>) -> Vec<Publish> {
    let entries = reader.list(node, "network.publish");
    if let Some(list) = node
        && entries.len() > limits::MAX_PUBLISHED
    {
        reader.report(list, format!("more than {} published ports", limits::MAX_PUBLISHED));
        return Vec::new();
    }
    let mut published: Vec<(&Node, Publish)> = Vec::new();
    for (index, node) in entries.iter().enumerate() {
        let clause = Clause::entry("network.publish", index);
        reader.locate(clause.clone(), node);
        let fields = reader.fields(node, "network.publish");
        if !matches!(node.value, Value::Map(_)) {
            continue;
        }
        for (key, example) in [("port", "port: 3000"), ("to", "to: \"127.0.0.1:3000\"")] {
            if !names(node, key) {
                reader.report(node, format!("entry names no `{key}`")).help(format!("add `{example}`"));
            }
        }
        let port = fields.get("port").and_then(|node| port(reader, node));
        let to = fields.get("to").and_then(|node| {
            let text = reader.text(node, "`to`")?;
            let help =
                "write an address of this host and a port, such as \"127.0.0.1:3000\" or \"[::1]:3000\"";
            reader.parsed(node, parse_address(text, "an address with a port", help))
        });
        let (Some(port), Some(to)) = (port, to) else { continue };
        if let Some((first, other)) = published.iter().find(|(_, other)| overlaps(other.to, to)) {
            let message = if other.to == to {
                format!("address {to} stands here twice")
            } else {
                format!("address {to} overlaps with {}: only one of them can be listened on", other.to)
            };
            reader.report(node, message).related(first, "first here");
            continue;
        }
        published.push((node, Publish { clause, port, to }));
    }
    published.into_iter().map(|(_, entry)| entry).collect()
}

/// Whether bind(2) refuses the one while the other is bound. `::` is listened on for IPv6 alone.
fn overlaps(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip(), other.ip());
    one.port() == other.port()
        && a.is_ipv4() == b.is_ipv4()
        && (a == b || a.is_unspecified() || b.is_unspecified())
}

//! The ruleset of nftables that brings every port of a range to one socket, and the words of which rulesets are made.
//!
//! Only delivery: what may be reached at all is said by the routes, and the gateway decides again. So a ruleset that is lost
//! makes less reachable, not more.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use nftables::batch::Batch;
use nftables::expr::{Expression, Meta, MetaKey, NamedExpression, Payload, PayloadField, Prefix};
use nftables::schema::{Chain, NfListObject, Rule, Table};
use nftables::stmt::{Match, Operator, Statement, TProxy};
use nftables::types::{NfChainPolicy, NfChainType, NfFamily, NfHook};
use palisade_policy::address::synthetic;
use palisade_policy::{Network, NetworkMode, Peer, Ports, Protocol};

use super::has_names;
use crate::facts::NetworkFacts;

pub(super) const TABLE: &str = "palisade";
const CHAIN: &str = "deliver";
/// Before anything that looks at where packets go (nft(8), priority `mangle`).
const PRIORITY: i32 = -150;

/// The program that loads rulesets; or what is missing for them, and what would help.
pub(super) fn loader(facts: &NetworkFacts) -> Result<PathBuf, (String, &'static str)> {
    match (&facts.nft, facts.nftables.reason()) {
        (None, _) => Err(("this host has no program `nft`".to_owned(), "install nftables")),
        (_, Some(reason)) => Err((format!("this kernel takes none: {reason}"), "load the module nf_tables")),
        (Some(nft), None) => Ok(nft.clone()),
    }
}

/// The ruleset, as JSON. With `lists`, rules with lists of ports are brought to the socket too.
pub(super) fn ruleset(network: &Network, ipv6: bool, port: u16, lists: bool) -> String {
    let mut batch = Batch::new();
    batch.add(NfListObject::Table(Table { family: NfFamily::INet, name: TABLE.into(), handle: None }));
    batch.add(NfListObject::Chain(Chain {
        family: NfFamily::INet,
        table: TABLE.into(),
        name: CHAIN.into(),
        _type: Some(NfChainType::Filter),
        hook: Some(NfHook::Prerouting),
        prio: Some(PRIORITY),
        policy: Some(NfChainPolicy::Accept),
        ..Chain::default()
    }));
    // What the sandbox says to itself is its own.
    let own = ["127.0.0.0/8", "::1/128"].map(|net| net.parse::<IpNet>());
    let resolvers = [IpAddr::from(synthetic::RESOLVER_V4), IpAddr::from(synthetic::RESOLVER_V6)];
    for net in own.into_iter().flatten().chain(resolvers.map(IpNet::from)) {
        add(&mut batch, CHAIN, vec![to(net), Statement::Accept(None)]);
    }
    for (net, protocol, ports) in ranges(network, lists).filter(|(net, ..)| ipv6 || is_v4(*net)) {
        let mut statements = vec![to(net), over(protocol)];
        statements.extend(ports.map(|ports| on(protocol, ports)));
        statements.push(Statement::TProxy(TProxy {
            family: Some(Cow::Borrowed(if is_v4(net) { "ip" } else { "ip6" })),
            port,
            addr: None,
        }));
        statements.push(Statement::Accept(None));
        add(&mut batch, CHAIN, statements);
    }
    text(batch)
}

/// A ruleset as the program reads it. Strings and numbers alone: nothing in it can fail to become JSON.
pub(super) fn text(batch: Batch<'static>) -> String {
    serde_json::to_string(&batch.to_nftables()).unwrap_or_default()
}

/// What is brought to the socket: a range, a transport, and the ports unless it is all of them.
fn ranges(network: &Network, lists: bool) -> impl Iterator<Item = (IpNet, Protocol, Option<&[u16]>)> {
    let everything = ["0.0.0.0/0", "::/0"].map(|net| net.parse::<IpNet>()).into_iter().flatten();
    let open = (network.mode == NetworkMode::Open).then_some(everything).into_iter().flatten();
    let open = open.flat_map(|net| [Protocol::Tcp, Protocol::Udp].map(|protocol| (net, protocol, None)));
    let rules = network.allow.iter().flat_map(move |rule| {
        let names = [synthetic::RANGE_V4.into(), synthetic::RANGE_V6.into()];
        let nets = match rule.peer {
            // What a name leads to may be allowed as an address, too.
            Peer::Cidr(net) if has_names(network) => [&[net], &names[..]].concat(),
            Peer::Cidr(net) => vec![net],
            Peer::Host(_) => names.to_vec(),
        };
        let ports = match &rule.ports {
            Ports::Any => Some(None),
            Ports::List(list) => lists.then_some(Some(list.as_slice())),
        };
        nets.into_iter().filter_map(move |net| ports.map(|ports| (net, rule.protocol, ports)))
    });
    open.chain(rules)
}

/// Appends a rule to a chain.
pub(super) fn add(batch: &mut Batch<'static>, chain: &'static str, statements: Vec<Statement<'static>>) {
    batch.add(NfListObject::Rule(Rule {
        family: NfFamily::INet,
        table: TABLE.into(),
        chain: chain.into(),
        expr: statements.into(),
        ..Rule::default()
    }));
}

pub(super) fn is_v4(net: IpNet) -> bool {
    matches!(net, IpNet::V4(_))
}

/// Packets to a range.
pub(super) fn to(net: IpNet) -> Statement<'static> {
    let protocol = if is_v4(net) { "ip" } else { "ip6" };
    let prefix = Prefix {
        addr: Box::new(Expression::String(net.network().to_string().into())),
        len: net.prefix_len().into(),
    };
    equal(field(protocol, "daddr"), Expression::Named(NamedExpression::Prefix(prefix)))
}

/// Packets of a transport.
pub(super) fn over(protocol: Protocol) -> Statement<'static> {
    let left = Expression::Named(NamedExpression::Meta(Meta { key: MetaKey::L4proto }));
    equal(left, Expression::String(protocol.word().into()))
}

/// Packets to some ports.
pub(super) fn on(protocol: Protocol, ports: &[u16]) -> Statement<'static> {
    let set = ports.iter().map(|port| nftables::expr::SetItem::Element(Expression::Number((*port).into())));
    let set = NamedExpression::Set(set.collect());
    equal(field(protocol.word(), "dport"), Expression::Named(set))
}

pub(super) fn field(protocol: &'static str, field: &'static str) -> Expression<'static> {
    let field = PayloadField { protocol: protocol.into(), field: field.into() };
    Expression::Named(NamedExpression::Payload(Payload::PayloadField(field)))
}

pub(super) fn equal(left: Expression<'static>, right: Expression<'static>) -> Statement<'static> {
    Statement::Match(Match { left, right, op: Operator::EQ })
}

#[cfg(test)]
mod tests {
    use palisade_policy::Document;

    use super::*;

    fn of(allow: &str) -> String {
        let text = format!("network: {{mode: allowlist, allow: [{allow}]}}");
        ruleset(&Document::parse("rules.yaml", &text).unwrap().policy.network, true, 1024, false)
    }

    #[test]
    fn what_names_lead_to_may_be_allowed_as_addresses() {
        let range = "{cidr: 93.184.0.0/16, ports: any}";
        let name = "{host: example.org, ports: [80]}";
        assert!(of(&format!("{range}, {name}")).contains("198.18.0.0"));
        assert!(!of(range).contains("198.18.0.0"));
    }
}

//! The ruleset of nftables that says what may leave a sandbox by a link.
//!
//! The routes say which ranges can be reached at all; this says on which ports, and says it before there is a link. What it
//! refuses is refused at once: a connection with ECONNREFUSED, a datagram with EPERM.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use nftables::batch::Batch;
use nftables::expr::{CT, Expression, Meta, MetaKey, NamedExpression, SetItem};
use nftables::schema::{Chain, NfListObject, Table};
use nftables::stmt::{Match, Operator, Reject, RejectType, Statement};
use nftables::types::{NfChainPolicy, NfChainType, NfFamily, NfHook};
use palisade_policy::{AllowRule, Network, NetworkMode, Peer, Ports, Protocol};

use super::routes;
use super::ruleset::{TABLE, add, equal, field, is_v4, on, over, text, to};

const OUT: &str = "out";
const IN: &str = "in";
const THROUGH: &str = "through";

/// Neighbour solicitation and advertisement (RFC 4861, 4.3 and 4.4): without them IPv6 finds no router.
const NEIGHBOURS: [u32; 2] = [135, 136];

/// The ruleset, as JSON. `own` are addresses of the host, which only a rule for exactly such an address means.
pub(super) fn filter(network: &Network, ipv6: bool, link: &str, own: &BTreeSet<IpAddr>) -> String {
    let mut batch = Batch::new();
    batch.add(NfListObject::Table(Table { family: NfFamily::INet, name: TABLE.into(), handle: None }));
    for (name, hook) in [(OUT, NfHook::Output), (IN, NfHook::Input), (THROUGH, NfHook::Forward)] {
        batch.add(NfListObject::Chain(Chain {
            family: NfFamily::INet,
            table: TABLE.into(),
            name: name.into(),
            _type: Some(NfChainType::Filter),
            hook: Some(hook),
            prio: Some(0),
            // What no rule speaks of, and all of it while the rules are loaded.
            policy: Some(NfChainPolicy::Drop),
            ..Chain::default()
        }));
    }
    for (chain, interface) in [(OUT, MetaKey::Oifname), (IN, MetaKey::Iifname)] {
        // What the sandbox says to itself is its own.
        add(&mut batch, chain, vec![by(interface, "lo"), Statement::Accept(None)]);
        if ipv6 {
            let neighbours = any_of(field("icmpv6", "type"), &NEIGHBOURS);
            add(&mut batch, chain, vec![by(interface, link), neighbours, Statement::Accept(None)]);
        }
    }
    // Nobody outside begins anything: what comes in answers, or tells of the end of what the sandbox began.
    add(&mut batch, IN, vec![answers(), Statement::Accept(None)]);
    for rule in ordered(network, own).into_iter().filter(|rule| ipv6 || is_v4(rule.net)) {
        match rule.allows {
            None => refuse(&mut batch, Some(rule.net)),
            Some(None) => add(&mut batch, OUT, vec![to(rule.net), Statement::Accept(None)]),
            Some(Some(allow)) => {
                let mut statements = vec![to(rule.net), over(allow.protocol)];
                if let Ports::List(ports) = &allow.ports {
                    statements.push(on(allow.protocol, ports));
                }
                statements.push(Statement::Accept(None));
                add(&mut batch, OUT, statements);
            }
        }
    }
    refuse(&mut batch, None);
    text(batch)
}

/// What becomes of packets to a range.
struct Ranged<'a> {
    net: IpNet,
    /// `None`: refused. `Some(None)`: allowed, whatever they are.
    allows: Option<Option<&'a AllowRule>>,
}

/// The longest prefix first; of the same length, what is allowed first: a rule for exactly a blocked range means it.
fn ordered<'a>(network: &'a Network, own: &BTreeSet<IpAddr>) -> Vec<Ranged<'a>> {
    let by_rule = network.allow.iter().filter_map(|rule| match rule.peer {
        Peer::Cidr(net) => Some(Ranged { net, allows: Some(Some(rule)) }),
        // Carried by the gateway.
        Peer::Host(_) => None,
    });
    let open = (network.mode == NetworkMode::Open).then_some(routes::EVERYTHING).into_iter().flatten();
    let mut ranges: Vec<Ranged<'a>> = by_rule.collect();
    ranges.extend(open.map(|net| Ranged { net, allows: Some(None) }));
    let allowed: Vec<IpNet> = ranges.iter().map(|rule| rule.net).collect();
    let blocked = routes::blocked(network).map(|(_, net)| net).chain(own.iter().copied().map(IpNet::from));
    // What no broader range allows needs no rule of its own: the last one refuses it.
    let opened = |net: &IpNet| allowed.iter().any(|broad| broad.contains(net));
    ranges.extend(blocked.filter(opened).map(|net| Ranged { net, allows: None }));
    ranges.sort_by_key(|rule| (std::cmp::Reverse(rule.net.prefix_len()), rule.allows.is_none()));
    ranges
}

/// Refuses packets to a range, or all that are left.
fn refuse(batch: &mut Batch<'static>, net: Option<IpNet>) {
    let reset = Statement::Reject(Some(Reject::new(Some(RejectType::TCPReset), None)));
    let told = Statement::Reject(None);
    let range = || net.map(to).into_iter();
    add(batch, OUT, range().chain([over(Protocol::Tcp), reset]).collect());
    add(batch, OUT, range().chain([told]).collect());
}

/// Packets that come or go by an interface. By its name, which it may have before it exists.
fn by(direction: MetaKey, name: &str) -> Statement<'static> {
    equal(
        Expression::Named(NamedExpression::Meta(Meta { key: direction })),
        Expression::String(name.to_owned().into()),
    )
}

fn any_of(left: Expression<'static>, numbers: &[u32]) -> Statement<'static> {
    let set = numbers.iter().map(|number| SetItem::Element(Expression::Number(*number)));
    equal(left, Expression::Named(NamedExpression::Set(set.collect())))
}

fn answers() -> Statement<'static> {
    let states = ["established", "related"].map(|state| Expression::String(state.into()));
    Statement::Match(Match {
        left: Expression::Named(NamedExpression::CT(CT { key: "state".into(), family: None, dir: None })),
        right: Expression::List(states.into()),
        op: Operator::IN,
    })
}

//! The sockets that take what the routes let through.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use palisade_policy::address::synthetic::{DNS_PORT, HTTP_PROXY_PORT, RESOLVER_V4, RESOLVER_V6, SOCKS_PORT};
use palisade_policy::{Clause, Network, NetworkMode, Ports, Protocol, Proxy};

use super::{MODE, PROXY, has_names, ruleset};
use crate::decide::Draft;
use crate::facts::NetworkFacts;
use crate::step::Step;

/// Most sockets that wait for rules with lists of ports: each is a descriptor of the supervisor. A policy with more ports
/// needs nftables, which brings all of them to one socket.
const MOST_SOCKETS: usize = 64;

/// Plans the sockets, and the ruleset that brings more than one port to a socket where rules ask for that.
pub(super) fn listen(network: &Network, facts: &NetworkFacts, draft: &mut Draft) {
    if has_names(network) {
        resolver(facts, draft);
    }
    if network.proxy == Proxy::Environment {
        for port in [HTTP_PROXY_PORT, SOCKS_PORT] {
            let address = RESOLVER_V4.into();
            draft.step(&PROXY, Step::Listen { protocol: Protocol::Tcp, address, port });
        }
    }
    let (ports, any) = wanted(network);
    let datagrams =
        network.mode == NetworkMode::Open || network.allow.iter().any(|rule| rule.protocol == Protocol::Udp);
    if datagrams {
        draft.step(&MODE, Step::OpenRaw { ipv6: facts.ipv6 });
    }
    let many = ports.len() > MOST_SOCKETS;
    if !many {
        let address = everywhere(facts);
        for ((protocol, port), clause) in &ports {
            draft.step(clause, Step::Listen { protocol: *protocol, address, port: *port });
        }
    }
    let Some(clause) = any.or(many.then_some(MODE)) else { return };
    let why = if many { "so many ports need" } else { "`ports: any` and an open network need" };
    let nft = match ruleset::loader(facts) {
        Ok(nft) => nft,
        Err((lacks, help)) => {
            let message = format!("{why} nftables, and {lacks}");
            return draft.refuse(&clause, message, Some(&format!("{help}, or list the ports")));
        }
    };
    let taken: BTreeSet<u16> = ports.keys().map(|(_, port)| *port).collect();
    let Some(port) = (1024..=u16::MAX).rev().find(|port| !taken.contains(port)) else { return };
    draft.step(&clause, Step::ListenTransparent { address: everywhere(facts), port });
    let ruleset = ruleset::ruleset(network, facts.ipv6, port, many);
    draft.step(&clause, Step::LoadRuleset { nft, ruleset });
}

/// The sockets of the stub resolver.
fn resolver(facts: &NetworkFacts, draft: &mut Draft) {
    let addresses = [IpAddr::V4(RESOLVER_V4)].into_iter().chain(facts.ipv6.then_some(RESOLVER_V6.into()));
    for address in addresses {
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            draft.step(&MODE, Step::Listen { protocol, address, port: DNS_PORT });
        }
    }
}

/// Every address of the families that the kernel speaks.
fn everywhere(facts: &NetworkFacts) -> IpAddr {
    if facts.ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

/// The ports that rules list, each with the first rule that does, and the first clause that allows every port.
fn wanted(network: &Network) -> (BTreeMap<(Protocol, u16), Clause>, Option<Clause>) {
    let mut ports = BTreeMap::new();
    let mut any = (network.mode == NetworkMode::Open).then_some(MODE);
    for rule in &network.allow {
        match &rule.ports {
            Ports::Any => any = any.or_else(|| Some(rule.clause.clone())),
            Ports::List(list) => {
                for port in list {
                    ports.entry((rule.protocol, *port)).or_insert_with(|| rule.clause.clone());
                }
            }
        }
    }
    (ports, any)
}

//! The `network` section. With the gateway, the sandbox has no link but its own loopback, and its routing table is the
//! allowlist: what an allowed range is delivered to are listening sockets, which the gateway serves from outside. What
//! has no route fails in the kernel.

mod filter;
mod link;
mod listen;
mod routes;
mod ruleset;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use palisade_policy::address::synthetic::{HTTP_PROXY_PORT, RESOLVER_V4, RESOLVER_V6, SOCKS_PORT};
use palisade_policy::{AllowRule, Clause, Network, NetworkMode, Peer, Policy, Posture, Proxy};

use super::Draft;
use crate::facts::{HostFacts, NetworkFacts};
use crate::plan::Status;
use crate::step::Step;

pub(super) const MODE: Clause = Clause::new("network.mode");
const BACKEND: Clause = Clause::new("network.backend");
const PROXY: Clause = Clause::new("network.proxy");
const METADATA: Clause = Clause::new("network.metadata");
const SPECIAL_USE: Clause = Clause::new("network.special_use");

/// What a resolver library asks when nobody tells it whom (resolv.conf(5)).
const LAST_RESORT: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 53);

/// Whether a sandbox under `policy` gets a way out: whether a survey has to look at this host's network for
/// [`decide`](super::decide).
pub fn needs_network(policy: &Policy) -> bool {
    !is_closed(&policy.network)
}

/// The configuration of the sandbox's resolver libraries (resolv.conf(5)).
pub(super) fn resolv_conf(network: &Network) -> String {
    if !is_closed(network) && has_names(network) {
        return format!("nameserver {RESOLVER_V4}\n");
    }
    // Without a name server a resolver would ask 127.0.0.1 and wait for time-outs; nobody listens there, so the sandbox's own
    // loopback refuses at once, and one attempt is enough to know.
    "nameserver 127.0.0.1\noptions attempts:1 timeout:1\n".into()
}

/// The variables by which programs find the sandbox's proxies, where the policy asks for that, in both spellings.
pub(super) fn proxies(network: &Network) -> Vec<(String, String)> {
    if is_closed(network) || network.proxy != Proxy::Environment {
        return Vec::new();
    }
    let http = format!("http://{RESOLVER_V4}:{HTTP_PROXY_PORT}");
    // The `h`: the proxy resolves, not the client.
    let socks = format!("socks5h://{RESOLVER_V4}:{SOCKS_PORT}");
    let values = [
        ("HTTP_PROXY", &http),
        ("HTTPS_PROXY", &http),
        ("ALL_PROXY", &socks),
        // What the sandbox says to itself goes past the proxies.
        ("NO_PROXY", &"localhost,127.0.0.1,::1".to_owned()),
    ];
    let spellings = values.into_iter().flat_map(|(name, value)| {
        [name.to_owned(), name.to_ascii_lowercase()].map(|name| (name, value.clone()))
    });
    spellings.collect()
}

/// Whether `network` lets nothing out: an allowlist that lists nothing allows nothing.
fn is_closed(network: &Network) -> bool {
    match network.mode {
        NetworkMode::None => true,
        NetworkMode::Allowlist => network.allow.is_empty(),
        NetworkMode::Open => false,
    }
}

/// Plans the network namespace: its loopback, and what leads out of it.
pub(super) fn network(policy: &Policy, facts: &HostFacts, draft: &mut Draft) {
    let network = &policy.network;
    draft.step(&MODE, Step::LoopbackUp {});
    if is_closed(network) {
        closed(network, draft);
        if !network.publish.is_empty() {
            // Nothing leads out; somebody outside is let in.
            draft.step(
                &MODE,
                Step::ServeEgress { network: network.clone(), resolvers: Vec::new(), mutant: None },
            );
            published(network, draft);
        }
        return;
    }
    let caller = &facts.caller;
    let Some(facts) = &facts.network else {
        draft.refuse(&MODE, "nothing is known about this host's network", None);
        return;
    };
    if network.backend.is_plumbed() {
        link::link(policy, caller, facts, draft);
    } else {
        gateway(network, facts, draft);
    }
    published(network, draft);
    if network.proxy == Proxy::Environment {
        draft.enforced(&PROXY, "environment", "HTTP CONNECT and SOCKS5 at the resolver's address");
    }
}

fn closed(network: &Network, draft: &mut Draft) {
    let mechanism = "network namespace without routes";
    draft.enforced(&MODE, "none", mechanism);
    blocked(network, mechanism, draft);
}

/// Covers the two classes of addresses that are blocked unless the policy says otherwise.
fn blocked(network: &Network, mechanism: &str, draft: &mut Draft) {
    for (clause, posture) in [(METADATA, network.metadata), (SPECIAL_USE, network.special_use)] {
        if posture == Posture::Block {
            draft.enforced(&clause, "block", mechanism);
        }
    }
}

/// The sandbox's own addresses, routes that are the allowlist, sockets, and the one who serves them.
fn gateway(network: &Network, facts: &NetworkFacts, draft: &mut Draft) {
    own_addresses(facts, draft);
    routes::routes(network, facts, None, &BTreeSet::new(), draft);
    listen::listen(network, facts, draft);
    serve(network, facts, draft);

    let mechanism = "gateway; local routes are the allowlist";
    let mut notes = Vec::new();
    if !facts.ipv6 {
        notes.push("this kernel has no IPv6: rules for IPv6 ranges reach nothing".to_owned());
    }
    draft.covered(&MODE, network.mode.to_string(), mechanism, Status::Enforced, notes);
    draft.enforced(&BACKEND, "gateway", "needs no privilege and no link");
    blocked(network, "prohibit routes; the gateway decides again on each address that it dials", draft);
    for rule in &network.allow {
        draft.enforced(&rule.clause, peer(rule), "gateway");
    }
}

/// The addresses of the sandbox's resolver, and its proxies.
fn own_addresses(facts: &NetworkFacts, draft: &mut Draft) {
    let resolvers = [IpAddr::V4(RESOLVER_V4)].into_iter().chain(facts.ipv6.then_some(RESOLVER_V6.into()));
    for address in resolvers {
        draft.step(&MODE, Step::AddAddress { address });
    }
}

/// The one who serves the sockets.
fn serve(network: &Network, facts: &NetworkFacts, draft: &mut Draft) {
    let resolvers = if facts.resolvers.is_empty() { vec![LAST_RESORT] } else { facts.resolvers.clone() };
    draft.step(&MODE, Step::ServeEgress { network: network.clone(), resolvers, mutant: None });
}

/// What a rule is about, for a reader.
fn peer(rule: &AllowRule) -> String {
    match &rule.peer {
        Peer::Host(pattern) => pattern.clone(),
        Peer::Cidr(net) => net.to_string(),
    }
}

fn published(network: &Network, draft: &mut Draft) {
    for publish in &network.publish {
        draft.enforced(
            &publish.clause,
            format!("port {} at {}", publish.port, publish.to),
            "the supervisor listens; the sandbox's first process connects",
        );
    }
}

/// Whether a rule says hosts by name, or every name is allowed.
fn has_names(network: &Network) -> bool {
    network.mode == NetworkMode::Open || network.allow.iter().any(|rule| matches!(rule.peer, Peer::Host(_)))
}

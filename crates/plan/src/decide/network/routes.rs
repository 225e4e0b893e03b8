//! The routing table that is the allowlist.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use palisade_policy::address::embedded::every_form;
use palisade_policy::address::{metadata, special_use, synthetic};
use palisade_policy::{Clause, Network, NetworkMode, Peer, Posture};

use super::{METADATA, MODE, SPECIAL_USE, has_names};
use crate::decide::Draft;
use crate::facts::NetworkFacts;
use crate::step::{RouteKind, Step};

/// Everything of either family.
pub(super) const EVERYTHING: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0)),
];

/// Multicast of either family (RFC 5771; RFC 4291, 2.7), and the limited broadcast (RFC 919).
const GROUPS: [IpNet; 3] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::BROADCAST, 32)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8)),
];

/// Routes for what is allowed, and routes that refuse what is blocked inside it.
///
/// Names are always carried by the gateway, so the range of their addresses is the sandbox's own. `link` says how other ranges
/// are reached, where there is a link; `own` are addresses of the host, which no broader range means.
pub(super) fn routes(
    network: &Network,
    facts: &NetworkFacts,
    link: Option<&dyn Fn(IpNet) -> Option<RouteKind>>,
    own: &BTreeSet<IpAddr>,
    draft: &mut Draft,
) {
    let spoken = |net: &IpNet| facts.ipv6 || matches!(net, IpNet::V4(_));
    let way = |net: IpNet| match link {
        Some(link) if !is_synthetic(net) => link(net),
        _ => Some(RouteKind::Local),
    };
    let mut made = BTreeSet::new();
    let mut allowed = allowed(network);
    // A router is asked for while its own address is nobody's: the kernel takes none that is routed to this host
    // (net/ipv4/fib_semantics.c, `fib_check_nh_v4_gw`).
    allowed.sort_by_key(|(_, net)| is_synthetic(*net));
    for (clause, net) in allowed.into_iter().filter(|(_, net)| spoken(net)) {
        if is_synthetic(net) && clause != MODE {
            draft.refuse(
                &clause,
                format!("{net} lies in the range of the addresses that names get inside a sandbox"),
                Some("use another range"),
            );
        } else if let Some(kind) = way(net)
            && made.insert(net)
        {
            draft.step(&clause, Step::AddRoute { net, kind });
        }
    }
    let allowed: Vec<IpNet> = made.iter().copied().collect();
    let own = own.iter().map(|address| (SPECIAL_USE, IpNet::from(*address)));
    let blocked = blocked(network).chain(own);
    let mut blocked: Vec<(Clause, IpNet)> = blocked.filter(|(_, net)| spoken(net)).collect();
    blocked.sort_by_key(|(_, net)| net.prefix_len());
    let mut refused: Vec<IpNet> = Vec::new();
    for (clause, net) in blocked {
        // The longest prefix decides. What no broader rule allows has no route, and needs none that refuses it.
        let above = |ranges: &[IpNet]| {
            let broader = ranges.iter().filter(|broad| broad.contains(&net) && **broad != net);
            broader.map(IpNet::prefix_len).max()
        };
        if above(&allowed) > above(&refused) && made.insert(net) {
            draft.step(&clause, Step::AddRoute { net, kind: RouteKind::Prohibit });
            refused.push(net);
        }
    }
}

/// The ranges of the rules, each with its clause.
fn allowed(network: &Network) -> Vec<(Clause, IpNet)> {
    let mut ranges = Vec::new();
    if has_names(network) {
        ranges.extend([synthetic::RANGE_V4.into(), synthetic::RANGE_V6.into()].map(|net| (MODE, net)));
    }
    if network.mode == NetworkMode::Open {
        ranges.extend(EVERYTHING.map(|net| (MODE, net)));
    }
    ranges.extend(network.allow.iter().filter_map(|rule| match rule.peer {
        Peer::Cidr(net) => Some((rule.clause.clone(), net)),
        Peer::Host(_) => None,
    }));
    ranges
}

/// The ranges that no broad rule opens, in every form, each with the clause that blocks it. Without the sandbox's own
/// loopback, which is not outside.
pub(super) fn blocked(network: &Network) -> impl Iterator<Item = (Clause, IpNet)> {
    let metadata = (network.metadata == Posture::Block).then(metadata::ranges);
    let special = (network.special_use == Posture::Block).then(|| special_use::ranges().flat_map(every_form));
    let metadata = metadata.into_iter().flatten().map(|net| (METADATA, net));
    let blocked = metadata.chain(special.into_iter().flatten().map(|net| (SPECIAL_USE, net)));
    // A group is nobody that could be connected to, so that a rule about everything does not mean it; a local route for it would be
    // refused by the kernel in words of its own (EINVAL).
    let blocked = blocked.chain(GROUPS.map(|net| (MODE, net)));
    blocked.filter(|(_, net)| !net.contains(&IpAddr::from(Ipv4Addr::LOCALHOST)))
}

fn is_synthetic(net: IpNet) -> bool {
    IpNet::from(synthetic::RANGE_V4).contains(&net) || IpNet::from(synthetic::RANGE_V6).contains(&net)
}

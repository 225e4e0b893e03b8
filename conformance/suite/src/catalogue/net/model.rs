//! What a policy says about one destination: a second reading of POLICY.md, which shares nothing with any runtime but the
//! tables of addresses.

use std::net::IpAddr;

use palisade_policy::address::{metadata, special_use, synthetic};
use palisade_policy::{AllowRule, Network, NetworkMode, Peer, Ports, Posture, Protocol};

use crate::lab::World;

/// Whether the address may be reached, and the rule that says so; `None` in an open network, where no rule needs to.
pub(super) fn allows_address<'a>(
    network: &'a Network,
    world: &World,
    protocol: Protocol,
    to: IpAddr,
    port: u16,
) -> Option<Option<&'a AllowRule>> {
    // The kernel itself takes a mapped address for the IPv4 one.
    let to = to.to_canonical();
    let is_own = to.is_loopback() || to.is_unspecified() || is_synthetic(to);
    if is_own || (network.metadata == Posture::Block && metadata::of_address(to).is_some()) {
        return None;
    }
    let is_special = network.special_use == Posture::Block && special_use::of_address(to).is_some();
    let is_host = world.host_addresses.contains(&to);
    let by_rule = network.allow.iter().find(|rule| {
        let Peer::Cidr(net) = rule.peer else { return false };
        let names_it = !is_special || special_use::of_range(net).is_some();
        let is_exact = net.prefix_len() == net.max_prefix_len();
        fits(rule, protocol, port) && net.contains(&to) && names_it && (!is_host || is_exact)
    });
    match network.mode {
        NetworkMode::None => None,
        NetworkMode::Allowlist => by_rule.map(Some),
        NetworkMode::Open if is_special || is_host => by_rule.map(Some),
        NetworkMode::Open => (!to.is_multicast()).then_some(None),
    }
}

/// Whether a name may be reached over TCP. `addresses` is what it resolves to.
pub(super) fn allows_name(network: &Network, name: &str, port: u16, addresses: &[IpAddr]) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let by_rule = network.allow.iter().any(|rule| {
        let Peer::Host(pattern) = &rule.peer else { return false };
        fits(rule, Protocol::Tcp, port) && covers(pattern, &name)
    });
    let closed = network.metadata == Posture::Block && metadata::is_name(&name);
    let usable = addresses.iter().any(|address| {
        let metadata = network.metadata == Posture::Block && metadata::of_address(*address).is_some();
        let special = network.special_use == Posture::Block && special_use::of_address(*address).is_some();
        !metadata && !special
    });
    (by_rule || network.mode == NetworkMode::Open) && !closed && usable
}

fn fits(rule: &AllowRule, protocol: Protocol, port: u16) -> bool {
    rule.protocol == protocol
        && match &rule.ports {
            Ports::Any => true,
            Ports::List(ports) => ports.contains(&port),
        }
}

/// `*` is one label, `**` one or more; everything else is compared label by label, from the right.
fn covers(pattern: &str, name: &str) -> bool {
    let mut wanted = pattern.split('.').rev();
    let mut given = name.split('.').rev();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some("**"), Some(_)) => return true,
            (Some("*"), Some(label)) if !label.is_empty() => {}
            (Some(label), Some(other)) if label == other => {}
            _ => return false,
        }
    }
}

fn is_synthetic(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => synthetic::RANGE_V4.contains(&address),
        IpAddr::V6(address) => synthetic::RANGE_V6.contains(&address),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("crates.io", "crates.io", true)]
    #[case("crates.io", "x.crates.io", false)]
    #[case("*.crates.io", "x.crates.io", true)]
    #[case("*.crates.io", "crates.io", false)]
    #[case("*.crates.io", "a.b.crates.io", false)]
    #[case("**.crates.io", "a.b.crates.io", true)]
    #[case("**.crates.io", "crates.io", false)]
    #[case("**.crates.io", "badcrates.io", false)]
    #[case("*.crates.io", "badcrates.io", false)]
    fn patterns(#[case] pattern: &str, #[case] name: &str, #[case] covered: bool) {
        assert_eq!(covers(pattern, name), covered);
    }
}

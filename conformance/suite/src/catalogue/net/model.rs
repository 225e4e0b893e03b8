//! What a policy says about one destination: a second reading of POLICY.md, which shares nothing with any runtime but the
//! tables of addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use palisade_policy::address::embedded::{every_form, every_reading};
use palisade_policy::address::{metadata, special_use, synthetic};
use palisade_policy::{AllowRule, Network, NetworkMode, Peer, Ports, Posture, Protocol};

use crate::lab::World;

/// Whether the address may be reached, and the rule that says so; `None` in an open network, where no rule needs to.
pub fn allows_address<'a>(
    network: &'a Network,
    world: &World,
    protocol: Protocol,
    to: IpAddr,
    port: u16,
) -> Option<Option<&'a AllowRule>> {
    // The kernel itself takes a mapped address for the IPv4 one.
    let to = to.to_canonical();
    if is_never(network, to) {
        return None;
    }
    let is_special = network.special_use == Posture::Block && special_use::of_address(to).is_some();
    let is_host = world.host_addresses.contains(&to);
    let by_rule = network.allow.iter().find(|rule| {
        let Peer::Cidr(net) = rule.peer else { return false };
        let is_exact = net.prefix_len() == net.max_prefix_len();
        fits(rule, protocol, port)
            && net.contains(&to)
            && (!is_special || names_all(net, to))
            && (!is_host || is_exact)
    });
    match network.mode {
        NetworkMode::None => None,
        NetworkMode::Allowlist => by_rule.map(Some),
        NetworkMode::Open if is_special || is_host => by_rule.map(Some),
        NetworkMode::Open => (!to.is_multicast()).then_some(None),
    }
}

/// The addresses at which a name may be reached, of those that it resolves to. None: the name may not.
pub fn reached_by_name(
    network: &Network,
    world: &World,
    (protocol, port): (Protocol, u16),
    name: &str,
    addresses: &[IpAddr],
) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let names = |rule: &&AllowRule| matches!(&rule.peer, Peer::Host(pattern) if covers(pattern, &name));
    let resolves = network.mode == NetworkMode::Open || network.allow.iter().any(|rule| names(&rule));
    if !resolves || network.metadata == Posture::Block && metadata::is_name(&name) {
        return Vec::new();
    }
    let by_host = network.allow.iter().filter(names).any(|rule| fits(rule, protocol, port));
    let may = |to: &IpAddr| {
        let is_special = network.special_use == Posture::Block && special_use::of_address(*to).is_some();
        let is_plain = !is_never(network, *to) && !is_special && !world.host_addresses.contains(to);
        by_host && is_plain || allows_address(network, world, protocol, *to, port).is_some()
    };
    addresses.iter().map(IpAddr::to_canonical).filter(may).collect()
}

/// What no rule opens: what is the sandbox's own; the host's loopback, and what leads there, in whichever form; and metadata,
/// unless the policy allows that.
fn is_never(network: &Network, to: IpAddr) -> bool {
    let is_here = |to: IpAddr| match to {
        IpAddr::V4(to) => to.is_loopback() || to.octets()[0] == 0,
        IpAddr::V6(to) => to.is_loopback() || to.is_unspecified(),
    };
    let is_own = is_synthetic(to) || every_reading(to).any(is_here);
    is_own || network.metadata == Posture::Block && metadata::of_address(to).is_some()
}

/// Whether a rule for this range names every special-use range that the address belongs to, in whichever form.
fn names_all(net: IpNet, to: IpAddr) -> bool {
    let ranges = every_reading(to)
        .filter_map(|reading| special_use::TABLE.iter().find(|entry| entry.net.contains(&reading)));
    ranges.map(|entry| entry.net).all(|range| every_form(range).any(|form| form.contains(&net)))
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

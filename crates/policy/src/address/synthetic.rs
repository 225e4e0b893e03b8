//! The addresses that exist only inside a sandbox: its resolver, and one for each allowed name that it asks for.
//!
//! Taken from ranges that the public internet never uses and that no connection may go to without a rule that names the
//! range, so that no allowed peer can have one of them: the benchmarking range (RFC 2544) and a unique local prefix
//! (RFC 4193).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Where every synthetic IPv4 address lies.
pub const RANGE_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15);

/// Where every synthetic IPv6 address lies.
pub const RANGE_V6: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd70, 0x616c, 0x6973, 0xade0, 0, 0, 0, 0), 64);

/// The resolver of the sandbox, and its proxies.
pub const RESOLVER_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// The same, for programs that only speak IPv6.
pub const RESOLVER_V6: Ipv6Addr = Ipv6Addr::new(0xfd70, 0x616c, 0x6973, 0xade0, 0, 0, 0, 1);

/// The part of [`RANGE_V4`] that belongs to the sandbox itself; names get their addresses from the rest.
pub const RESERVED_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 24);

/// The sandbox's own end of a link that a program outside carries, and the router that the program plays
/// (slirp4netns(1), `--cidr`: the second address of the network).
pub const LINK_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 100);

/// The same for IPv6.
pub const LINK_V6: Ipv6Addr = Ipv6Addr::new(0xfd70, 0x616c, 0x6973, 0xade0, 0, 0, 0, 0x64);

/// The router at the other end of a link.
pub const LINK_ROUTER_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

/// The same for IPv6: an address of the link itself (RFC 4291, 2.5.6).
pub const LINK_ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

/// How the names of links begin that lead to no network: a lab's, and a sandbox's whose host has no other. The host's end of a
/// sandbox's link has such a name too.
pub const LAB_LINK: &str = "plsd";

/// How many links with addresses of their own a host can have: see [`own_link`].
pub const LINKS: u16 = u16::MAX;

/// The sandbox's end of the `number`-th link of a host, from 1, where the host has to tell the sandboxes apart.
pub fn own_link(number: u16) -> (Ipv4Addr, Ipv6Addr) {
    let v4 = u32::from(Ipv4Addr::new(198, 19, 0, 0)) + u32::from(number);
    let v6 = RANGE_V6.network().to_bits() + (1 << 32) + u128::from(number);
    (Ipv4Addr::from_bits(v4), Ipv6Addr::from_bits(v6))
}

/// UDP and TCP port of the resolver (RFC 1035, 4.2).
pub const DNS_PORT: u16 = 53;

/// TCP port of the HTTP proxy, where the policy asks for one.
pub const HTTP_PROXY_PORT: u16 = 3128;

/// TCP port of the SOCKS proxy (RFC 1928, 3), where the policy asks for one.
pub const SOCKS_PORT: u16 = 1080;

/// How many addresses at the start of each range belong to the sandbox itself.
const RESERVED: u32 = 1 << (32 - RESERVED_V4.prefix_len());

/// How many names can have an address at a time.
pub const CAPACITY: u32 = (1 << (32 - RANGE_V4.prefix_len())) - RESERVED;

/// Whether `address` is in either range.
pub fn contains(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => RANGE_V4.contains(&address),
        IpAddr::V6(address) => RANGE_V6.contains(&address),
    }
}

/// Whether `address` is the resolver's.
pub fn is_resolver(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address == IpAddr::V4(RESOLVER_V4) || address == IpAddr::V6(RESOLVER_V6)
}

/// The IPv4 address of the `index`-th name.
pub fn v4(index: u32) -> Option<Ipv4Addr> {
    (index < CAPACITY).then(|| Ipv4Addr::from_bits(RANGE_V4.network().to_bits() + RESERVED + index))
}

/// The IPv6 address of the `index`-th name.
pub fn v6(index: u32) -> Option<Ipv6Addr> {
    let bits = RANGE_V6.network().to_bits() + u128::from(RESERVED) + u128::from(index);
    (index < CAPACITY).then(|| Ipv6Addr::from_bits(bits))
}

/// Which name `address` stands for: the inverse of [`v4`] and [`v6`].
pub fn index(address: IpAddr) -> Option<u32> {
    if !contains(address) {
        return None;
    }
    let offset = match address.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits() - RANGE_V4.network().to_bits()),
        IpAddr::V6(address) => address.to_bits() - RANGE_V6.network().to_bits(),
    };
    let index = u32::try_from(offset.checked_sub(u128::from(RESERVED))?).ok()?;
    (index < CAPACITY).then_some(index)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::address::{metadata, special_use};

    #[test]
    fn no_public_peer_has_a_synthetic_address() {
        for address in [IpAddr::V4(RESOLVER_V4), IpAddr::V6(RESOLVER_V6)] {
            assert!(special_use::of_address(address).is_some() && metadata::of_address(address).is_none());
        }
        assert!(special_use::of_range(RANGE_V4.into()).is_some());
        assert!(special_use::of_range(RANGE_V6.into()).is_some());
    }

    #[test]
    fn the_resolver_has_no_address_of_a_name() {
        assert!(RESERVED_V4.contains(&RESOLVER_V4) && RANGE_V4.contains(&RESERVED_V4));
        assert!(RANGE_V6.contains(&RESOLVER_V6));
    }

    #[rstest]
    #[case(0, "198.18.1.0", "fd70:616c:6973:ade0::100")]
    #[case(1, "198.18.1.1", "fd70:616c:6973:ade0::101")]
    #[case(CAPACITY - 1, "198.19.255.255", "fd70:616c:6973:ade0::1:ffff")]
    fn addresses_of_names(#[case] number: u32, #[case] in_v4: &str, #[case] in_v6: &str) {
        assert_eq!(v4(number), Some(in_v4.parse().unwrap()));
        assert_eq!(v6(number), Some(in_v6.parse().unwrap()));
        assert_eq!(index(in_v4.parse().unwrap()), Some(number));
        assert_eq!(index(in_v6.parse().unwrap()), Some(number));
        assert_eq!(index(format!("::ffff:{in_v4}").parse().unwrap()), Some(number));
    }

    #[rstest]
    #[case("198.18.0.1")]
    #[case("198.18.0.255")]
    #[case("198.17.255.255")]
    #[case("198.20.0.0")]
    #[case("fd70:616c:6973:ade0::1")]
    #[case("fd70:616c:6973:ade0::2:0")]
    #[case("fd70:616c:6973:ade0:1::100")]
    #[case("fd70:616c:6973:ade1::100")]
    fn stands_for_no_name(#[case] address: &str) {
        assert_eq!(index(address.parse().unwrap()), None);
    }

    #[test]
    fn there_is_no_name_beyond_the_last() {
        assert_eq!(v4(CAPACITY), None);
        assert_eq!(v6(CAPACITY), None);
    }
}

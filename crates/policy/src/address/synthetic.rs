//! The addresses that exist only inside a sandbox: its resolver, and one for each allowed name that it asks for.
//!
//! Taken from ranges that the public internet never uses and that no connection may go to without a rule that names the
//! range, so that no allowed peer can have one of them: the benchmarking range (RFC 2544) and a unique local prefix
//! (RFC 4193).

use std::net::{Ipv4Addr, Ipv6Addr};

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

/// UDP and TCP port of the resolver (RFC 1035, 4.2).
pub const DNS_PORT: u16 = 53;

/// TCP port of the HTTP proxy, where the policy asks for one.
pub const HTTP_PROXY_PORT: u16 = 3128;

/// TCP port of the SOCKS proxy (RFC 1928, 3), where the policy asks for one.
pub const SOCKS_PORT: u16 = 1080;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

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
}

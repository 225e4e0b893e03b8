//! Addresses that have a meaning of their own: metadata services, special-use ranges, and IPv4 inside IPv6.
//!
//! Pure tables and lookups over them. Lints use them on rules; whoever carries traffic uses the same tables on
//! addresses, so that a rule and a connection can never be judged by different lists.

pub mod embedded;
pub mod metadata;
pub mod special_use;
pub mod synthetic;

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A range of the tables, with what it is and where that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The range.
    pub net: IpNet,
    /// Whose it is, or what it is for.
    pub what: &'static str,
    /// The RFC or the vendor's documentation.
    pub source: &'static str,
}

const fn v4(address: [u8; 4], prefix: u8, what: &'static str, source: &'static str) -> Range {
    let [a, b, c, d] = address;
    Range { net: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)), what, source }
}

const fn v6(address: [u16; 8], prefix: u8, what: &'static str, source: &'static str) -> Range {
    let [a, b, c, d, e, f, g, h] = address;
    Range { net: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)), what, source }
}

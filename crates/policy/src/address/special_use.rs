//! Private and special-use ranges: what is not the public internet.
//!
//! A connection to one of them needs a rule that names it by `cidr`; a host name that resolves to one does not open
//! it (rebinding), and neither does a broad range such as `0.0.0.0/0`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::embedded::every_reading;
use super::{Range, v4, v6};

/// The IANA special-purpose registries (RFC 6890 and its updates) as far as not globally reachable, and multicast.
#[rustfmt::skip]
pub static TABLE: &[Range] = &[
    v4([0, 0, 0, 0], 8, "this network", "RFC 791, 3.2"),
    v4([10, 0, 0, 0], 8, "private use", "RFC 1918"),
    v4([100, 64, 0, 0], 10, "shared address space of carriers", "RFC 6598"),
    v4([127, 0, 0, 0], 8, "loopback", "RFC 1122, 3.2.1.3"),
    v4([168, 63, 129, 16], 32, "Azure WireServer", "learn.microsoft.com/azure/virtual-network: what-is-ip-address-168-63-129-16"),
    v4([169, 254, 0, 0], 16, "link local", "RFC 3927"),
    v4([172, 16, 0, 0], 12, "private use", "RFC 1918"),
    v4([192, 0, 0, 0], 24, "IETF protocol assignments", "RFC 6890, 2.1"),
    v4([192, 0, 2, 0], 24, "documentation (TEST-NET-1)", "RFC 5737"),
    v4([192, 88, 99, 0], 24, "6to4 relay anycast, deprecated", "RFC 7526"),
    v4([192, 168, 0, 0], 16, "private use", "RFC 1918"),
    v4([198, 18, 0, 0], 15, "benchmarking", "RFC 2544"),
    v4([198, 51, 100, 0], 24, "documentation (TEST-NET-2)", "RFC 5737"),
    v4([203, 0, 113, 0], 24, "documentation (TEST-NET-3)", "RFC 5737"),
    v4([224, 0, 0, 0], 4, "multicast", "RFC 5771"),
    v4([240, 0, 0, 0], 4, "reserved, and limited broadcast", "RFC 1112, 4; RFC 8190"),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96, "unspecified, loopback and IPv4-compatible", "RFC 4291, 2.5"),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "IPv4-mapped", "RFC 4291, 2.5.5.2"),
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, "IPv4-translated", "RFC 2765, 2.1"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "local-use IPv4/IPv6 translation", "RFC 8215"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard only", "RFC 6666"),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, "dummy prefix", "RFC 9780"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "IETF protocol assignments, Teredo and ORCHID among them", "RFC 2928"),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation", "RFC 3849"),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4", "RFC 3056"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation", "RFC 9637"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing identifiers", "RFC 9602"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local", "RFC 4193"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link local", "RFC 4291, 2.5.6"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site local, deprecated", "RFC 3879"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast", "RFC 4291, 2.7"),
];

/// Every range of [`TABLE`].
pub fn ranges() -> impl Iterator<Item = IpNet> {
    TABLE.iter().map(|entry| entry.net)
}

/// The entry of the table that `address` belongs to, be it as an IPv4 address inside an IPv6 address.
pub fn of_address(address: IpAddr) -> Option<&'static Range> {
    every_reading(address).find_map(|reading| TABLE.iter().find(|entry| entry.net.contains(&reading)))
}

/// The entry of the table that `net` lies wholly inside: a rule for `net` names that entry.
pub fn of_range(net: IpNet) -> Option<&'static Range> {
    TABLE.iter().find(|entry| entry.net.contains(&net))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10.1.2.3")]
    #[case("100.64.0.1")]
    #[case("127.0.0.1")]
    #[case("192.168.1.1")]
    #[case("224.0.0.1")]
    #[case("255.255.255.255")]
    #[case("::1")]
    #[case("::ffff:8.8.8.8")]
    #[case("64:ff9b::10.0.0.1")]
    #[case("64:ff9b:1::1")]
    #[case("fd00::1")]
    #[case("fe80::1")]
    #[case("2001::1")]
    #[case("ff02::1")]
    fn is_special(#[case] address: &str) {
        assert!(of_address(address.parse().unwrap()).is_some());
    }

    #[rstest]
    #[case("8.8.8.8")]
    #[case("172.32.0.1")]
    #[case("100.128.0.1")]
    #[case("64:ff9b::8.8.8.8")]
    #[case("2606:4700::1")]
    #[case("2001:4860:4860::8888")]
    fn is_public(#[case] address: &str) {
        assert!(of_address(address.parse().unwrap()).is_none());
    }

    #[rstest]
    #[case("10.0.0.0/8", true)]
    #[case("10.20.0.0/16", true)]
    #[case("10.0.0.0/7", false)]
    #[case("0.0.0.0/0", false)]
    #[case("fd12::/16", true)]
    fn a_broad_rule_names_no_range(#[case] net: &str, #[case] named: bool) {
        assert_eq!(of_range(net.parse().unwrap()).is_some(), named);
    }

    #[test]
    fn entries_have_no_host_bits() {
        for entry in TABLE {
            assert_eq!(entry.net, entry.net.trunc(), "{}", entry.what);
        }
    }
}

//! Hosts and ports as clients of the proxies write them. Pure.
//!
//! What is written is read once, here, and what comes out is judged and dialled: there is no second reader that could
//! take it for something else. Whatever is not plainly a name or an address is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use palisade_policy::host;

/// A host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// A name in normal form.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl Host {
    /// Reads a host: a name, an IPv4 address in any form that inet_aton(3) reads, an IPv6 address with or without
    /// brackets.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let is_strange = |character: char| {
            character.is_control() || character.is_whitespace() || "@%\\/?#<>\"'".contains(character)
        };
        if text.is_empty() || text.len() > 512 || text.contains(is_strange) {
            return None;
        }
        if let Some(inside) = text.strip_prefix('[') {
            return inside.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(Self::from);
        }
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Some(Self::from(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if let Some(address) = parse_ipv4(name) {
            return Some(Self::Address(address.into()));
        }
        // Refuses, among others, what a resolver would take for an IPv4 address after normalisation.
        host::normalise_name(text).ok().map(Self::Name)
    }

    /// Reads a host, `:` and a port. An IPv6 address needs brackets.
    pub(crate) fn parse_with_port(text: &[u8], default: Option<u16>) -> Option<(Self, u16)> {
        let end = if text.starts_with(b"[") {
            text.iter().position(|&byte| byte == b']')? + 1
        } else {
            text.iter().position(|&byte| byte == b':').unwrap_or(text.len())
        };
        let (host, port) = text.split_at(end);
        let port = match port {
            [] => default?,
            [b':', digits @ ..] => parse_port(digits)?,
            _ => return None,
        };
        Some((Self::parse(host)?, port))
    }
}

impl From<Ipv6Addr> for Host {
    /// A mapped address is the IPv4 address that the kernel would dial.
    fn from(address: Ipv6Addr) -> Self {
        Self::Address(IpAddr::V6(address).to_canonical())
    }
}

fn parse_port(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|&port| port != 0)
}

/// Reads an IPv4 address as inet_aton(3) does: one to four numbers, decimal, octal (`0`) or hexadecimal (`0x`), the
/// last of which fills what is left.
fn parse_ipv4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u64> = text.split('.').map(parse_number).collect::<Option<_>>()?;
    let (&last, front) = parts.split_last().filter(|(_, front)| front.len() < 4)?;
    let left = 32 - 8 * front.len();
    if last >> left != 0 || front.iter().any(|&part| part > 255) {
        return None;
    }
    let bits = front.iter().enumerate().fold(last, |bits, (index, part)| bits | part << (24 - 8 * index));
    u32::try_from(bits).ok().map(Ipv4Addr::from_bits)
}

fn parse_number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    // `from_str_radix` takes a sign.
    if digits.is_empty() || digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, radix).ok().filter(|&number| number <= u32::MAX.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("169.254.169.254", "169.254.169.254")]
    #[case("169.254.169.254.", "169.254.169.254")]
    #[case("2852039166", "169.254.169.254")]
    #[case("0xa9fea9fe", "169.254.169.254")]
    #[case("0XA9.0xFE.0xa9.0xfe", "169.254.169.254")]
    #[case("0251.0376.0251.0376", "169.254.169.254")]
    #[case("169.254.43518", "169.254.169.254")]
    #[case("169.16689662", "169.254.169.254")]
    #[case("127.1", "127.0.0.1")]
    #[case("0", "0.0.0.0")]
    #[case("00", "0.0.0.0")]
    #[case("::1", "::1")]
    #[case("[::1]", "::1")]
    #[case("::ffff:10.0.0.1", "10.0.0.1")]
    #[case("[::ffff:a00:1]", "10.0.0.1")]
    #[case("64:ff9b::10.0.0.1", "64:ff9b::10.0.0.1")]
    fn addresses(#[case] text: &str, #[case] address: &str) {
        assert_eq!(Host::parse(text.as_bytes()), Some(Host::Address(address.parse().unwrap())));
    }

    #[rstest]
    #[case("example.org", "example.org")]
    #[case("EXAMPLE.org.", "example.org")]
    #[case("bücher.example", "xn--bcher-kva.example")]
    #[case("example。org", "example.org")]
    #[case("my_host", "my_host")]
    #[case("0x.example", "0x.example")]
    fn names(#[case] text: &str, #[case] name: &str) {
        assert_eq!(Host::parse(text.as_bytes()), Some(Host::Name(name.to_owned())));
    }

    #[rstest]
    #[case("")]
    #[case(".")]
    #[case("..")]
    #[case("example.org..")]
    #[case("user@example.org")]
    #[case("example.org\0.evil.org")]
    #[case("example.org\r\n")]
    #[case("example.org\t")]
    #[case(" example.org")]
    #[case("example.org%00")]
    #[case("example.org/x")]
    #[case("example.org#x")]
    #[case("example.org?x")]
    #[case("example\\org")]
    #[case("*.example.org")]
    #[case("[::1")]
    #[case("::1]")]
    #[case("[::1]x")]
    #[case("[127.0.0.1]")]
    #[case("fe80::1%eth0")]
    #[case("256.0.0.1")]
    #[case("1.2.3.4.5")]
    #[case("1.2.3.08")]
    #[case("4294967296")]
    #[case("0x1ffffffff")]
    #[case("+1.2.3.4")]
    #[case("127.0.0.1..")]
    #[case("１２７.0.0.1")]
    #[case("127。0。0。1")]
    #[case("a.0x7f")]
    #[case("0x")]
    fn refused(#[case] text: &str) {
        assert_eq!(Host::parse(text.as_bytes()), None);
    }

    #[rstest]
    #[case("example.org:443", Some(443))]
    #[case("example.org", Some(80))]
    #[case("[::1]:443", Some(443))]
    #[case("[::1]", Some(80))]
    #[case("example.org:", None)]
    #[case("example.org:0", None)]
    #[case("example.org:65536", None)]
    #[case("example.org:4294967739", None)]
    #[case("example.org:+443", None)]
    #[case("example.org: 443", None)]
    #[case("example.org:443:80", None)]
    #[case("example.org:0x1bb", None)]
    #[case("::1:443", None)]
    #[case("[::1]443", None)]
    #[case(":443", None)]
    fn ports(#[case] text: &str, #[case] port: Option<u16>) {
        assert_eq!(Host::parse_with_port(text.as_bytes(), Some(80)).map(|(_, port)| port), port);
    }

    #[test]
    fn a_port_is_needed_where_there_is_no_default() {
        assert_eq!(Host::parse_with_port(b"example.org", None), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::tests::cases(1000)))]

        #[test]
        fn every_form_of_an_address_is_that_address(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            let [a, b, c, d] = address.octets();
            for text in [
                address.to_string(), format!("{address}."), bits.to_string(), format!("{bits:#x}"),
                format!("0{bits:o}"), format!("{a}.{}", bits & 0xff_ffff), format!("{a}.{b}.{}", bits & 0xffff),
                format!("0{a:o}.{b:#x}.{c}.0{d:o}"), format!("::ffff:{address}"), format!("[::ffff:{address}]"),
            ] {
                prop_assert_eq!(Host::parse(text.as_bytes()), Some(Host::Address(address.into())), "{}", text);
            }
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some((Host::Name(name), port)) = Host::parse_with_port(&bytes, Some(1)) {
                prop_assert!(port != 0);
                prop_assert_eq!(host::normalise_name(&name), Ok(name));
            }
        }
    }
}

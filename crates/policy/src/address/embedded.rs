//! IPv4 addresses inside IPv6 addresses: the forms under which a blocked IPv4 address could be dialled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A way to write an IPv4 address inside an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// `::ffff:a.b.c.d`: the kernel itself speaks IPv4 (RFC 4291, 2.5.5.2).
    Mapped,
    /// `::a.b.c.d`, deprecated (RFC 4291, 2.5.5.1).
    Compatible,
    /// `::ffff:0:a.b.c.d`, stateless translation (RFC 2765, 2.1).
    Translated,
    /// `64:ff9b::a.b.c.d`, the well-known NAT64 prefix (RFC 6052, 2.1).
    Nat64,
    /// `2002:aabb:ccdd::`, 6to4 (RFC 3056, 2).
    SixToFour,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 5] =
        [Self::Mapped, Self::Compatible, Self::Translated, Self::Nat64, Self::SixToFour];

    /// The IPv6 range of everything in this form.
    pub const fn range(self) -> Ipv6Net {
        match self {
            Self::Mapped => Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
            Self::Compatible => Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 96),
            Self::Translated => Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96),
            Self::Nat64 => Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96),
            Self::SixToFour => Ipv6Net::new_assert(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
        }
    }

    /// How far to the left of the last bit the IPv4 address stands.
    const fn shift(self) -> u32 {
        128 - 32 - self.range().prefix_len() as u32
    }

    /// The IPv6 range that holds the IPv4 range `net` in this form.
    pub fn embed(self, net: Ipv4Net) -> Ipv6Net {
        let bits = u128::from(net.network().to_bits()) << self.shift();
        let address = Ipv6Addr::from_bits(self.range().network().to_bits() | bits);
        Ipv6Net::new_assert(address, self.range().prefix_len() + net.prefix_len())
    }

    /// The IPv4 address that `address` holds in this form.
    pub fn extract(self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        // `::` and `::1` are addresses of their own in the range of `Compatible`.
        if !self.range().contains(&address) || address.is_unspecified() || address.is_loopback() {
            return None;
        }
        let bits = (address.to_bits() >> self.shift()) & u128::from(u32::MAX);
        u32::try_from(bits).ok().map(Ipv4Addr::from_bits)
    }
}

/// The IPv4 address inside `address`, in whichever form.
pub fn ipv4_inside(address: Ipv6Addr) -> Option<(Form, Ipv4Addr)> {
    Form::ALL.into_iter().find_map(|form| form.extract(address).map(|inside| (form, inside)))
}

/// `net` itself and, for IPv4, each form of it inside IPv6.
pub fn every_form(net: IpNet) -> impl Iterator<Item = IpNet> {
    let forms = match net {
        IpNet::V4(net) => Some(Form::ALL.into_iter().map(move |form| IpNet::V6(form.embed(net)))),
        IpNet::V6(_) => None,
    };
    std::iter::once(net).chain(forms.into_iter().flatten())
}

/// `address` itself and the IPv4 address inside it, if any.
pub fn every_reading(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let inside = match address {
        IpAddr::V6(address) => ipv4_inside(address).map(|(_, inside)| IpAddr::V4(inside)),
        IpAddr::V4(_) => None,
    };
    std::iter::once(address).chain(inside)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("::ffff:169.254.169.254", Form::Mapped)]
    #[case("::169.254.169.254", Form::Compatible)]
    #[case("::ffff:0:169.254.169.254", Form::Translated)]
    #[case("64:ff9b::169.254.169.254", Form::Nat64)]
    #[case("2002:a9fe:a9fe::", Form::SixToFour)]
    #[case("2002:a9fe:a9fe:1:2:3:4:5", Form::SixToFour)]
    fn finds_the_address_inside(#[case] address: &str, #[case] form: Form) {
        let inside = ipv4_inside(address.parse().unwrap());
        assert_eq!(inside, Some((form, Ipv4Addr::new(169, 254, 169, 254))));
    }

    #[rstest]
    #[case("::")]
    #[case("::1")]
    #[case("2001:db8::1")]
    #[case("fd00:ec2::254")]
    fn leaves_other_addresses_alone(#[case] address: &str) {
        assert_eq!(ipv4_inside(address.parse().unwrap()), None);
    }

    proptest! {
        #[test]
        fn what_is_embedded_is_extracted(bits in 2u32.., form in prop::sample::select(&Form::ALL[..])) {
            let inside = Ipv4Addr::from_bits(bits);
            let outside = form.embed(Ipv4Net::from(inside)).network();
            prop_assert_eq!(ipv4_inside(outside), Some((form, inside)));
        }

        #[test]
        fn a_range_holds_exactly_its_addresses(net: u32, prefix in 0u8..=32, near: u32) {
            let net = Ipv4Net::new(Ipv4Addr::from_bits(net), prefix).unwrap().trunc();
            // Half of the addresses differ from the range only in a few low bits, so that both answers occur.
            let bits = if near % 2 == 0 { net.network().to_bits() ^ (near >> 20) } else { near };
            let address = Ipv4Addr::from_bits(bits);
            for form in Form::ALL {
                let outside = form.embed(Ipv4Net::from(address)).network();
                prop_assert_eq!(form.embed(net).contains(&outside), net.contains(&address));
            }
        }
    }
}

//! The names of the lab's internet, and what they lead to.
//!
//! Every name exists and leads to one public address of each family, unless one of its labels is in [`SPECIAL`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address that a plain name has in the lab, IPv4. A public one: what is allowed by name leads nowhere else.
pub const PUBLIC_V4: Ipv4Addr = Ipv4Addr::new(44, 55, 66, 80);
/// The same for IPv6.
pub const PUBLIC_V6: Ipv6Addr = Ipv6Addr::new(0x2600, 0x1f00, 0, 0, 0, 0, 0, 0x80);

/// A label that changes where a name leads.
#[derive(Clone, Copy, Debug)]
pub struct Special {
    /// Its name in ids of probes.
    pub id: &'static str,
    /// The label.
    pub label: &'static str,
    /// The IPv4 addresses.
    pub v4: &'static [Ipv4Addr],
    /// The IPv6 addresses.
    pub v6: &'static [Ipv6Addr],
    /// Whether the addresses belong to another name, to which this one leads.
    pub alias: bool,
}

const fn special(
    id: &'static str,
    label: &'static str,
    v4: &'static [Ipv4Addr],
    v6: &'static [Ipv6Addr],
) -> Special {
    Special { id, label, v4, v6, alias: false }
}

/// Names that lead where a name must not lead, or by another way.
pub const SPECIAL: &[Special] = &[
    special(
        "to-private",
        "to-private",
        &[Ipv4Addr::new(10, 1, 2, 3)],
        &[Ipv6Addr::new(0xfd12, 0x3456, 0x789a, 0, 0, 0, 0, 1)],
    ),
    special(
        "to-metadata",
        "to-metadata",
        &[Ipv4Addr::new(169, 254, 169, 254)],
        &[Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)],
    ),
    special("to-wireserver", "to-wireserver", &[Ipv4Addr::new(168, 63, 129, 16)], &[]),
    special("to-loopback", "to-loopback", &[Ipv4Addr::LOCALHOST], &[Ipv6Addr::LOCALHOST]),
    special("to-unspecified", "to-unspecified", &[Ipv4Addr::UNSPECIFIED], &[Ipv6Addr::UNSPECIFIED]),
    special("to-cgnat", "to-cgnat", &[Ipv4Addr::new(100, 64, 0, 1)], &[]),
    special("to-link-local", "to-link-local", &[Ipv4Addr::new(169, 254, 1, 2)], &[]),
    special("to-mapped", "to-mapped", &[], &[Ipv4Addr::new(10, 1, 2, 3).to_ipv6_mapped()]),
    special("to-nat64", "to-nat64", &[], &[Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0xa9fe, 0xa9fe)]),
    Special {
        alias: true,
        ..special("alias-to-private", "alias-to-private", &[Ipv4Addr::new(10, 1, 2, 3)], &[])
    },
    Special { alias: true, ..special("alias", "alias", &[PUBLIC_V4], &[PUBLIC_V6]) },
    special("only-v4", "only-v4", &[PUBLIC_V4], &[]),
    special("only-v6", "only-v6", &[], &[PUBLIC_V6]),
    special("mixed", "mixed", &[Ipv4Addr::new(169, 254, 169, 254), PUBLIC_V4], &[PUBLIC_V6]),
];

/// What a label begins with whose name has a public address when it is asked for first, and a metadata service's afterwards.
pub const REBIND: &str = "rebind-";

/// Whether a name leads elsewhere every time.
pub(super) fn rebinds(name: &str) -> bool {
    name.get(..REBIND.len()).is_some_and(|start| start.eq_ignore_ascii_case(REBIND))
}

/// Where such a name leads when it was asked for `times` times before.
pub(super) fn rebound(times: u32) -> Vec<IpAddr> {
    let address = if times.is_multiple_of(2) { PUBLIC_V4 } else { Ipv4Addr::new(169, 254, 169, 254) };
    vec![address.into()]
}

/// The entry for a name, by its labels.
pub(super) fn special_of(name: &str) -> Option<&'static Special> {
    name.split('.').find_map(|label| SPECIAL.iter().find(|entry| entry.label.eq_ignore_ascii_case(label)))
}

/// Where a name leads, over both families.
pub fn addresses(name: &str) -> Vec<IpAddr> {
    match special_of(name) {
        None if rebinds(name) => vec![PUBLIC_V4.into()],
        None => vec![PUBLIC_V4.into(), PUBLIC_V6.into()],
        Some(entry) => {
            let v4 = entry.v4.iter().map(|address| IpAddr::V4(*address));
            v4.chain(entry.v6.iter().map(|address| IpAddr::V6(*address))).collect()
        }
    }
}

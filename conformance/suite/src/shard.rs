//! One part of several of a set of probes, so that several machines can share a verification.
//!
//! The part of a probe follows from its id alone. So each id has exactly one, whichever other probes a machine selects (what a
//! catalogue generates may differ by user and policy), and a probe that is added moves no other.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Part `index` of `count`, counted from 1: `1 <= index <= count <= Shard::MOST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u16,
    count: u16,
}

impl Shard {
    /// As many parts as there can be: more than probes that any policy has make no sense.
    pub const MOST: u16 = 256;

    /// Part `index` of `count`; `None` outside of the bounds.
    pub fn new(index: u16, count: u16) -> Option<Self> {
        (1..=Self::MOST).contains(&count).then_some(())?;
        (1..=count).contains(&index).then_some(Self { index, count })
    }

    /// Whether the probe of this id is in this part.
    pub fn takes(self, id: &str) -> bool {
        fnv1a(id.as_bytes()) % u64::from(self.count) == u64::from(self.index - 1)
    }
}

/// FNV-1a of 64 bits (Fowler, Noll, Vo; draft-eastlake-fnv), folded so that the low bits depend on all of them. Permanent: a
/// change would move probes between the shards of a gate and its baseline.
fn fnv1a(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash ^ (hash >> 32)
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Digits alone: `u16::from_str` would take a sign.
        let number =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
        let parts = text.split_once('/').and_then(|(index, count)| Some((number(index)?, number(count)?)));
        parts
            .and_then(|(index, count)| Self::new(index, count))
            .ok_or_else(|| format!("a shard is I/N, such as 2/4, with 1 <= I <= N <= {}", Self::MOST))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl Serialize for Shard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{self, tests::policies};
    use crate::lab::World;
    use proptest::prelude::*;
    use rstest::rstest;

    fn all(count: u16) -> impl Iterator<Item = Shard> {
        (1..=count).map(move |index| Shard::new(index, count).expect("within the bounds"))
    }

    proptest! {
        #[test]
        fn each_id_is_in_exactly_one_shard(id in "[a-z0-9/-]{0,40}", count in 1..=Shard::MOST) {
            prop_assert_eq!(all(count).filter(|shard| shard.takes(&id)).count(), 1);
        }

        #[test]
        fn what_is_shown_is_what_is_read(count in 1..=Shard::MOST, index in 1..=Shard::MOST) {
            let shard = Shard::new(index, count);
            prop_assert_eq!(shard.is_some(), index <= count);
            if let Some(shard) = shard {
                prop_assert_eq!(shard.to_string().parse(), Ok(shard));
            }
        }
    }

    #[test]
    fn the_catalogue_is_shared_about_evenly() {
        for policy in policies() {
            let probes = catalogue::all(&World::described(), &policy);
            for count in [2, 4, 8] {
                let sizes: Vec<usize> = all(count)
                    .map(|shard| probes.iter().filter(|probe| shard.takes(&probe.id)).count())
                    .collect();
                assert_eq!(sizes.iter().sum::<usize>(), probes.len());
                let fair = probes.len() / usize::from(count);
                assert!(sizes.iter().all(|size| size * 2 > fair && *size < fair * 2), "{sizes:?}");
            }
        }
    }

    /// Where a probe belongs does not change from version to version.
    #[rstest]
    #[case("mnt/mount", 3)]
    #[case("net/metadata/aws-imds-v4", 2)]
    #[case("fs/read/etc-shadow", 4)]
    fn the_place_of_an_id_is_permanent(#[case] id: &str, #[case] index: u16) {
        let found: Vec<Shard> = all(4).filter(|shard| shard.takes(id)).collect();
        assert_eq!(found, [Shard { index, count: 4 }]);
    }

    #[rstest]
    #[case("0/4")]
    #[case("5/4")]
    #[case("1/0")]
    #[case("1/257")]
    #[case("70000/70000")]
    #[case("+1/4")]
    #[case("-1/4")]
    #[case("1")]
    #[case("1/")]
    #[case("/4")]
    #[case("1/2/3")]
    #[case(" 1/2")]
    #[case("")]
    fn refused(#[case] text: &str) {
        assert!(text.parse::<Shard>().is_err());
    }
}

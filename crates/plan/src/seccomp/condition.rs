//! One comparison of one argument, and its text form.
//!
//! The text form is what a plan shows: `arg1:u32 & 0xf in 0x1 0x2`. The width is part of it because it decides
//! what a filter means: the kernel reads an ioctl request as 32 bits, so a 64-bit comparison would let
//! `TIOCSTI | 1 << 32` pass.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How many bits of an argument the kernel reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// The low 32 bits (`int`, `unsigned int`, `mode_t`, a socket family, an ioctl request, the flags of `clone`).
    U32,
    /// All 64 bits (`unsigned long`, a pointer).
    U64,
}

impl Width {
    const fn all_ones(self) -> u64 {
        match self {
            Self::U32 => 0xffff_ffff,
            Self::U64 => u64::MAX,
        }
    }
}

/// `argument & mask` is one of `values`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Condition {
    argument: u8,
    width: Width,
    mask: u64,
    values: Vec<u64>,
}

/// Why a condition cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidCondition {
    /// The text is not of the form.
    #[error("condition {0:?}: expected arg0..arg5:u32|u64 [& MASK] == VALUE, or ... in VALUE VALUE ...")]
    Syntax(String),
    /// A system call has six arguments.
    #[error("condition on argument {0}: a system call has arguments 0 to 5")]
    NoSuchArgument(u8),
    /// The mask has bits outside the width.
    #[error("mask {mask:#x} has bits that a comparison of {width} does not see")]
    MaskTooWide {
        /// The mask.
        mask: u64,
        /// The width.
        width: Width,
    },
    /// A value that `argument & mask` can never be.
    #[error("value {value:#x} can never be the result of a mask with {mask:#x}")]
    NeverEqual {
        /// The value.
        value: u64,
        /// The mask.
        mask: u64,
    },
    /// No value: the condition could never hold.
    #[error("a condition needs at least one value")]
    NoValue,
}

impl Condition {
    /// `argument & mask` is one of `values`. The values are kept sorted and without repetition.
    pub fn new(
        argument: u8,
        width: Width,
        mask: Option<u64>,
        values: impl Into<Vec<u64>>,
    ) -> Result<Self, InvalidCondition> {
        if argument > 5 {
            return Err(InvalidCondition::NoSuchArgument(argument));
        }
        let mask = mask.unwrap_or(width.all_ones());
        if mask & !width.all_ones() != 0 {
            return Err(InvalidCondition::MaskTooWide { mask, width });
        }
        let mut values = values.into();
        values.sort_unstable();
        values.dedup();
        if values.is_empty() {
            return Err(InvalidCondition::NoValue);
        }
        if let Some(&value) = values.iter().find(|&&value| value & !mask != 0) {
            return Err(InvalidCondition::NeverEqual { value, mask });
        }
        Ok(Self { argument, width, mask, values })
    }

    /// Which argument, 0 to 5.
    pub fn argument(&self) -> u8 {
        self.argument
    }

    /// How many bits of it are compared.
    pub fn width(&self) -> Width {
        self.width
    }

    /// The bits that count; never wider than the width.
    pub fn mask(&self) -> u64 {
        self.mask
    }

    /// What the masked argument may be: at least one value, ascending.
    pub fn values(&self) -> &[u64] {
        &self.values
    }

    /// Whether the condition holds for these arguments.
    pub fn holds(&self, args: &[u64; 6]) -> bool {
        self.values.contains(&(args[usize::from(self.argument)] & self.mask))
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U32 => "u32",
            Self::U64 => "u64",
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arg{}:{}", self.argument, self.width)?;
        if self.mask != self.width.all_ones() {
            write!(f, " & {:#x}", self.mask)?;
        }
        f.write_str(if self.values.len() == 1 { " ==" } else { " in" })?;
        self.values.iter().try_for_each(|value| write!(f, " {value:#x}"))
    }
}

impl FromStr for Condition {
    type Err = InvalidCondition;

    fn from_str(text: &str) -> Result<Self, InvalidCondition> {
        let syntax = || InvalidCondition::Syntax(text.to_owned());
        let mut words = text.split_ascii_whitespace().peekable();
        let operand = words.next().and_then(|word| word.strip_prefix("arg")).ok_or_else(syntax)?;
        let (argument, width) = operand.split_once(':').ok_or_else(syntax)?;
        let argument = argument.parse().map_err(|_| syntax())?;
        let width = match width {
            "u32" => Width::U32,
            "u64" => Width::U64,
            _ => return Err(syntax()),
        };
        let mask = match words.next_if_eq(&"&") {
            Some(_) => Some(words.next().and_then(parse_number).ok_or_else(syntax)?),
            None => None,
        };
        let single = match words.next() {
            Some("==") => true,
            Some("in") => false,
            _ => return Err(syntax()),
        };
        let values: Vec<u64> = words.map(parse_number).collect::<Option<_>>().ok_or_else(syntax)?;
        if single && values.len() != 1 {
            return Err(syntax());
        }
        Self::new(argument, width, mask, values)
    }
}

fn parse_number(word: &str) -> Option<u64> {
    match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}

impl TryFrom<String> for Condition {
    type Error = InvalidCondition;

    fn try_from(text: String) -> Result<Self, InvalidCondition> {
        text.parse()
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> Self {
        condition.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("arg1:u32 == 0x5412")]
    #[case("arg0:u64 & 0x7e020080 == 0x0")]
    #[case("arg1:u32 & 0xf in 0x1 0x2")]
    #[case("arg5:u64 == 0xffffffffffffffff")]
    fn text_form_is_kept(#[case] text: &str) {
        assert_eq!(text.parse::<Condition>().unwrap().to_string(), text);
    }

    #[rstest]
    #[case("")]
    #[case("arg1 == 1")]
    #[case("arg1:u16 == 1")]
    #[case("arg1:u32 = 1")]
    #[case("arg1:u32 == 1 2")]
    #[case("arg1:u32 == -1")]
    #[case("arg1:u32 & == 1")]
    #[case("arg1:u32 & 1")]
    fn malformed_text_is_refused(#[case] text: &str) {
        assert_eq!(text.parse::<Condition>(), Err(InvalidCondition::Syntax(text.to_owned())));
    }

    #[rstest]
    #[case("arg6:u32 == 1", InvalidCondition::NoSuchArgument(6))]
    #[case("arg0:u32 & 0x100000000 == 0", InvalidCondition::MaskTooWide { mask: 1 << 32, width: Width::U32 })]
    #[case("arg0:u32 == 0x100000000", InvalidCondition::NeverEqual { value: 1 << 32, mask: 0xffff_ffff })]
    #[case("arg0:u64 & 2 == 1", InvalidCondition::NeverEqual { value: 1, mask: 2 })]
    #[case("arg0:u64 in", InvalidCondition::NoValue)]
    fn a_condition_that_cannot_act_is_refused(#[case] text: &str, #[case] why: InvalidCondition) {
        assert_eq!(text.parse::<Condition>(), Err(why));
    }

    #[test]
    fn width_decides_whether_the_high_half_counts() {
        let high = [0, 0x1_0000_5412, 0, 0, 0, 0];
        assert!("arg1:u32 == 0x5412".parse::<Condition>().unwrap().holds(&high));
        assert!(!"arg1:u64 == 0x5412".parse::<Condition>().unwrap().holds(&high));
    }

    proptest! {
        #[test]
        fn every_condition_survives_its_text_form(
            argument in 0_u8..6,
            wide: bool,
            mask: u64,
            values in proptest::collection::vec(any::<u64>(), 1..5),
        ) {
            let width = if wide { Width::U64 } else { Width::U32 };
            let mask = mask & width.all_ones();
            let values: Vec<_> = values.into_iter().map(|value| value & mask).collect();
            let condition = Condition::new(argument, width, Some(mask), values).unwrap();
            prop_assert_eq!(condition.to_string().parse::<Condition>(), Ok(condition));
        }
    }
}

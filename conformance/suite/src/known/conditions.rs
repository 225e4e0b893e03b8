//! Where a deviation is known: on which hosts, by which way in, under which policy.

use std::fmt;

use serde::Deserialize;

use crate::entry::Entry;

/// Conditions, all of which must hold. None means everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Releases of the kernel.
    pub kernel: Option<Range<Release>>,
    /// The machine, as uname(2) tells it: `x86_64`.
    pub arch: Option<String>,
    /// Versions of Landlock's ABI; 0 is a kernel without.
    pub landlock: Option<Range<u32>>,
    /// Whether the suite runs as root.
    pub root: Option<bool>,
    /// The way into the sandbox.
    pub entry: Option<Entry>,
    /// The policy's name.
    pub policy: Option<String>,
}

/// What conditions are about: this host and this run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Here {
    /// The kernel's release.
    pub kernel: Release,
    /// The machine, as uname(2) tells it.
    pub arch: String,
    /// The version of Landlock's ABI; 0 without.
    pub landlock: u32,
    /// Whether the suite runs as root.
    pub root: bool,
    /// The way into the sandbox.
    pub entry: Entry,
    /// The policy's name.
    pub policy: String,
}

impl When {
    /// Whether all conditions hold.
    pub fn holds(&self, here: &Here) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, found: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == found)
        }
        self.kernel.as_ref().is_none_or(|range| range.contains(&here.kernel))
            && self.landlock.as_ref().is_none_or(|range| range.contains(&here.landlock))
            && is(self.arch.as_ref(), &here.arch)
            && is(self.root.as_ref(), &here.root)
            && is(self.entry.as_ref(), &here.entry)
            && is(self.policy.as_ref(), &here.policy)
    }

    /// Whether some host can have all of them.
    pub(super) fn is_possible(&self) -> bool {
        self.kernel.as_ref().is_none_or(Range::is_possible)
            && self.landlock.as_ref().is_none_or(Range::is_possible)
    }
}

/// From one value, up to but without another.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range<T> {
    /// The first value.
    pub from: Option<T>,
    /// The first value after it.
    pub before: Option<T>,
}

impl<T: PartialOrd> Range<T> {
    fn contains(&self, value: &T) -> bool {
        self.from.as_ref().is_none_or(|from| from <= value)
            && self.before.as_ref().is_none_or(|before| value < before)
    }

    /// Whether it says something, and something is in it.
    fn is_possible(&self) -> bool {
        match (&self.from, &self.before) {
            (Some(from), Some(before)) => from < before,
            (None, None) => false,
            _ => true,
        }
    }
}

/// The first two numbers of a kernel's release: `6.18`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Release {
    /// `6`.
    pub major: u32,
    /// `18`.
    pub minor: u32,
}

impl Release {
    /// Of what uname(2) tells, such as `6.18.44-cloud`. Unreadable numbers are 0.
    pub fn of_uname(release: &str) -> Self {
        let mut numbers =
            release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
        Self { major: numbers.next().unwrap_or(0), minor: numbers.next().unwrap_or(0) }
    }

    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { minor: self.minor + 1, ..self }
    }
}

impl TryFrom<String> for Release {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = |part: &str| -> Option<u32> {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse().ok())?
        };
        let parts = text.split_once('.').and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
        let (major, minor) = parts.ok_or_else(|| format!("{text:?} is not a kernel such as 6.18"))?;
        Ok(Self { major, minor })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

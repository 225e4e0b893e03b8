//! The filter as data: what each call may do, in words.
//!
//! Owns the types, their JSON form, and the plain reading of a decision ([`Profile::evaluate`]). A profile is
//! complete: what it does not list is unknown to it. It never says how the decision is computed; that is the
//! assembler's.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use palisade_policy::syscalls;
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Condition;

/// What every system call may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The architecture whose calls the rules mean.
    pub arch: Arch,
    /// The answer to every call through another architecture's entry (i386 by `int 0x80`).
    pub foreign_arch: Action,
    /// The answer to every number from 2³⁰ on, which are x32's (and `-1`).
    pub x32: Action,
    /// The answer to every number that no rule names.
    pub unknown: Action,
    /// The answer to each call, by name.
    pub rules: Rules,
}

/// An answer to each of some calls. There is a place for every call, in the order of their names: a usual profile has an answer
/// in almost all, and every start makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules(Vec<Option<Verdict>>);

impl Rules {
    /// The answer to a call.
    pub fn get(&self, call: Call) -> Option<&Verdict> {
        self.0[usize::from(call.rank)].as_ref()
    }

    /// The place for the answer to a call.
    pub fn place(&mut self, call: Call) -> &mut Option<Verdict> {
        &mut self.0[usize::from(call.rank)]
    }

    /// The calls that have an answer, by name.
    pub fn iter(&self) -> impl Iterator<Item = (Call, &Verdict)> {
        (0..).zip(&self.0).filter_map(|(rank, verdict)| Some((Call { rank }, verdict.as_ref()?)))
    }

    /// The answers.
    pub fn values(&self) -> impl Iterator<Item = &Verdict> {
        self.0.iter().flatten()
    }
}

impl Default for Rules {
    /// No answer to any call.
    fn default() -> Self {
        Self(vec![None; syscalls::COUNT])
    }
}

impl FromIterator<(Call, Verdict)> for Rules {
    fn from_iter<I: IntoIterator<Item = (Call, Verdict)>>(rules: I) -> Self {
        let mut all = Self::default();
        for (call, verdict) in rules {
            *all.place(call) = Some(verdict);
        }
        all
    }
}

impl Serialize for Rules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Rules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::deserialize(deserializer)?.into_iter().collect())
    }
}

/// An architecture that a filter can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    /// x86-64, of 64-bit pointers.
    #[serde(rename = "x86_64")]
    X86_64,
}

impl Arch {
    /// `AUDIT_ARCH_*` of `linux/audit.h`, as the kernel puts it into `seccomp_data.arch`.
    pub const fn audit_arch(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
        }
    }
}

/// The first number of x32's calls (`__X32_SYSCALL_BIT` of `asm/unistd.h`).
pub(super) const X32_FIRST: u32 = 0x4000_0000;

/// A system call that the table of [`syscalls`] knows; ordered and written by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    /// Its place among all that are ordered by name.
    rank: u16,
}

impl Call {
    /// The call named `name`, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        Some(Self { rank: u16::try_from(syscalls::rank(name)?).ok()? })
    }

    /// Every call, by name.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..).take(syscalls::COUNT).map(|rank| Self { rank })
    }

    /// The call with the number `number`, if there is one.
    pub fn numbered(number: u32) -> Option<Self> {
        Self::named(syscalls::name(number)?)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        syscalls::BY_NAME[usize::from(self.rank)].0
    }

    /// Its number.
    pub fn number(self) -> u32 {
        syscalls::BY_NAME[usize::from(self.rank)].1
    }
}

/// The answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The kernel carries it out.
    Allow,
    /// It fails with this error, without having begun.
    Fail(Errno),
}

/// An error that a filter answers with. Each says something that programs already know how to handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Errno {
    /// Forbidden.
    Eperm,
    /// Forbidden, where the kernel's own refusal says so (ping sockets).
    Eacces,
    /// No such option of this call.
    Einval,
    /// This kernel has no such call: programs fall back to an older one.
    Enosys,
    /// This family has no such protocol.
    Eprotonosupport,
    /// This kernel has no such socket family.
    Eafnosupport,
}

impl Errno {
    const ALL: [Self; 6] =
        [Self::Eperm, Self::Eacces, Self::Einval, Self::Enosys, Self::Eprotonosupport, Self::Eafnosupport];

    /// Its number, the same on x86-64 and aarch64.
    pub const fn number(self) -> u16 {
        match self {
            Self::Eperm => 1,
            Self::Eacces => 13,
            Self::Einval => 22,
            Self::Enosys => 38,
            Self::Eprotonosupport => 93,
            Self::Eafnosupport => 97,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Eperm => "EPERM",
            Self::Eacces => "EACCES",
            Self::Einval => "EINVAL",
            Self::Enosys => "ENOSYS",
            Self::Eprotonosupport => "EPROTONOSUPPORT",
            Self::Eafnosupport => "EAFNOSUPPORT",
        }
    }
}

/// What a rule says about a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The same answer whatever the arguments.
    Always(Action),
    /// It depends on the arguments.
    Check(Check),
}

/// An answer that depends on the arguments: the first case that applies decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The cases, in order.
    pub cases: Vec<Case>,
    /// The answer when no case applies.
    pub otherwise: Action,
}

/// One case of a check.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What the case is about, for people.
    pub about: String,
    /// It applies when all of these hold.
    #[serde(rename = "if")]
    pub conditions: Vec<Condition>,
    /// The answer then.
    pub then: Action,
}

impl Profile {
    /// The answer to a call: what the filter must do, read straight off the rules.
    ///
    /// `arch`, `number` and `args` are the fields of the kernel's `struct seccomp_data`.
    pub fn evaluate(&self, arch: u32, number: u32, args: &[u64; 6]) -> Action {
        if arch != self.arch.audit_arch() {
            return self.foreign_arch;
        }
        if number >= X32_FIRST {
            return self.x32;
        }
        match Call::numbered(number).and_then(|call| self.rules.get(call)) {
            None => self.unknown,
            Some(Verdict::Always(action)) => *action,
            Some(Verdict::Check(check)) => check
                .cases
                .iter()
                .find(|case| case.conditions.iter().all(|condition| condition.holds(args)))
                .map_or(check.otherwise, |case| case.then),
        }
    }
}

/// One line: how many calls are allowed, checked and denied.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count =
            |wanted: fn(&Verdict) -> bool| self.rules.values().filter(|verdict| wanted(verdict)).count();
        write!(
            f,
            "{} calls allowed, {} checked by argument, {} denied; unknown numbers {}",
            count(|verdict| matches!(verdict, Verdict::Always(Action::Allow))),
            count(|verdict| matches!(verdict, Verdict::Check(_))),
            count(|verdict| matches!(verdict, Verdict::Always(Action::Fail(_)))),
            self.unknown
        )
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Fail(errno) => errno.name(),
        })
    }
}

impl FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "allow" {
            return Ok(Self::Allow);
        }
        Errno::ALL.into_iter().find(|errno| errno.name() == text).map(Self::Fail).ok_or_else(|| {
            let known: Vec<_> = Errno::ALL.into_iter().map(Errno::name).collect();
            format!("unknown action {text:?}: expected allow or one of {}", known.join(", "))
        })
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Call {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Call {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| de::Error::custom(format!("unknown system call {name:?}")))
    }
}

/// A plain answer is a word, a check is an object.
impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Always(action) => action.serialize(serializer),
            Self::Check(check) => check.serialize(serializer),
        }
    }
}

/// By hand rather than `untagged`, which would hide the reason of an error behind "no variant matched".
impl<'de> Deserialize<'de> for Verdict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrObject;

        impl<'de> Visitor<'de> for WordOrObject {
            type Value = Verdict;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an action (allow, EPERM, ...) or an object with cases")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Verdict, E> {
                word.parse().map(Verdict::Always).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Verdict, A::Error> {
                Check::deserialize(MapAccessDeserializer::new(map)).map(Verdict::Check)
            }
        }

        deserializer.deserialize_any(WordOrObject)
    }
}

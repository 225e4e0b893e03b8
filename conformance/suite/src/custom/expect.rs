//! What a probe of a file expects, and whether that can fail.

use std::fmt;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::Wrong;
use super::form::Form;
use crate::catalogue::{Class, Expect, Outside};
use crate::observation::Seen;

/// What of a command's output is kept (the probe program's `DATA_BYTES`).
const OUTPUT_BYTES: usize = 2048;

/// A set of observations: a word, a map whose members all hold, or a list of which one holds.
#[derive(Clone, Debug)]
pub(super) enum Set {
    Word(Word),
    All(Box<Members>),
    Any(Vec<Set>),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    Denied,
    Absent,
    ReadOnly,
    NoFamily,
    Unreachable,
    Succeeds,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Members {
    errors: Option<Vec<ErrorName>>,
    exit: Option<Vec<u8>>,
    returns: Option<i64>,
    at_most: Option<i64>,
    at_least: Option<i64>,
    is: Option<String>,
    contains: Option<String>,
    lacks: Option<String>,
}

/// An error number by its kernel name.
#[derive(Clone, Copy, Debug)]
struct ErrorName(Errno);

impl<'de> Deserialize<'de> for ErrorName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let found = errors().find(|errno| format!("{errno:?}") == name);
        found.map(Self).ok_or_else(|| D::Error::custom(format!("no error has the name {name:?}")))
    }
}

/// The errors of the kernel (errno(3)).
fn errors() -> impl Iterator<Item = Errno> {
    (1..=133).map(Errno::from_raw).filter(|errno| *errno != Errno::UnknownErrno)
}

impl<'de> Deserialize<'de> for Set {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SetVisitor;

        impl<'de> Visitor<'de> for SetVisitor {
            type Value = Set;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a word (denied, absent, read_only, no_family, unreachable, succeeds), a map (errors, exit, returns, \
                     at_most, at_least, is, contains, lacks), or a list of those",
                )
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Set, E> {
                Word::deserialize(serde::de::value::StrDeserializer::<E>::new(word)).map(Set::Word)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Set, A::Error> {
                Members::deserialize(MapAccessDeserializer::new(map)).map(Box::new).map(Set::All)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Set, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Set::Any)
            }
        }

        deserializer.deserialize_any(SetVisitor)
    }
}

impl Set {
    /// The set as the judge knows it; `is_command` where a command's exit code is the result.
    fn expect(&self, is_command: bool) -> Result<Expect, &'static str> {
        Ok(match self {
            Self::Word(word) => match word {
                Word::Denied => Expect::Denied,
                Word::Absent => Expect::Absent,
                Word::ReadOnly => Expect::ReadOnly,
                Word::NoFamily => Expect::NoFamily,
                Word::Unreachable => Expect::Unreachable,
                Word::Succeeds if is_command => Expect::Returns(0),
                Word::Succeeds => Expect::Succeeds,
            },
            Self::All(members) => members.expect(is_command)?,
            Self::Any(sets) => {
                Expect::any_of(sets.iter().map(|set| set.expect(is_command)).collect::<Result<Vec<_>, _>>()?)
            }
        })
    }

    /// The texts and numbers that decide what lies in the set.
    fn boundaries(&self) -> (Vec<&str>, Vec<i64>) {
        match self {
            Self::Word(_) => (Vec::new(), Vec::new()),
            Self::All(members) => {
                let texts = [&members.is, &members.contains, &members.lacks];
                let numbers = [members.returns, members.at_most, members.at_least];
                (
                    texts.into_iter().flatten().map(String::as_str).collect(),
                    numbers.into_iter().flatten().collect(),
                )
            }
            Self::Any(sets) => {
                let (texts, numbers): (Vec<_>, Vec<_>) = sets.iter().map(Set::boundaries).unzip();
                (texts.concat(), numbers.concat())
            }
        }
    }
}

impl Members {
    fn expect(&self, is_command: bool) -> Result<Expect, &'static str> {
        let numbers = self.returns.is_some() || self.at_most.is_some() || self.at_least.is_some();
        if is_command && numbers {
            return Err("a command has no result but its exit code");
        }
        if !is_command && self.exit.is_some() {
            return Err("only a command has an exit code");
        }
        if [&self.is, &self.contains, &self.lacks].into_iter().flatten().any(String::is_empty) {
            return Err("an empty text is in everything");
        }
        let mut all = Vec::new();
        all.extend(self.errors.as_ref().map(|errors| Expect::fails(errors.iter().map(|name| name.0))));
        all.extend(
            self.exit
                .as_ref()
                .map(|codes| Expect::any_of(codes.iter().map(|code| Expect::Returns(i64::from(*code))))),
        );
        all.extend(self.returns.map(Expect::Returns));
        all.extend(self.at_most.map(Expect::AtMost));
        all.extend(self.at_least.map(Expect::AtLeast));
        all.extend(self.is.as_ref().map(Expect::data_is));
        all.extend(self.contains.as_ref().map(Expect::data_contains));
        if let Some(text) = &self.lacks {
            all.push(Expect::data_lacks(text));
            // Of a longer output the rest is not known.
            all.push(Expect::DataPasses("less than 2048 bytes", |data| data.len() < OUTPUT_BYTES));
        }
        match all.len() {
            0 => Err("an empty map says nothing"),
            1 => Ok(all.remove(0)),
            _ => Ok(Expect::AllOf(all)),
        }
    }
}

/// What must be seen inside and without a sandbox. Refuses what could not fail.
pub(super) fn of(form: &Form) -> Result<(Expect, Outside), Wrong> {
    let is_command = form.argv.is_some();
    let read =
        |set: &serde_saphyr::Spanned<Set>| set.value.expect(is_command).map_err(|why| Wrong::at(set, why));
    let place = |message: String| match (&form.expect, &form.outside) {
        (Some(expect), _) => Wrong::at(expect, message),
        (None, Some(outside)) => Wrong::at(outside, message),
        (None, None) => Wrong::at(&form.id, message),
    };
    let default = match form.class {
        Class::Denied => Word::Denied,
        Class::Allowed => Word::Succeeds,
    };
    let inside = match &form.expect {
        Some(set) => read(set)?,
        None => Set::Word(default).expect(is_command).map_err(|why| place(why.to_owned()))?,
    };
    let outside = match (&form.outside, form.class) {
        (Some(set), Class::Denied) => read(set)?,
        (None, Class::Denied) => {
            Set::Word(Word::Succeeds).expect(is_command).map_err(|why| place(why.to_owned()))?
        }
        (Some(set), Class::Allowed) => {
            let wrong = Wrong::at(set, "what is allowed shows the same without a sandbox");
            return Err(wrong.hint("leave `outside` out"));
        }
        (None, Class::Allowed) => inside.clone(),
    };
    let samples = samples(form, is_command);
    if !samples.iter().any(|seen| inside.contains(seen)) {
        return Err(place("the expectation cannot be met".to_owned()));
    }
    match form.class {
        Class::Denied => {
            if let Some(both) = samples.iter().find(|seen| inside.contains(seen) && outside.contains(seen)) {
                let message = format!("{both} would be expected inside, and without a sandbox too");
                let hint = "`outside` is what the host shows; without it, success. It must be nothing that is \
                            expected inside: else a sandbox that does nothing passes";
                return Err(place(message).hint(hint));
            }
            if inside.contains(&Seen::failed(Errno::EFAULT)) {
                let hint =
                    "the kernel says EFAULT when it has come to look at an operand: that is no refusal";
                return Err(place("EFAULT would be expected".to_owned()).hint(hint));
            }
            Ok((inside, Outside::Shows(outside)))
        }
        Class::Allowed => {
            if let Some(refusal) = errors().map(Seen::failed).find(|seen| inside.contains(seen)) {
                let message = format!("the class is allowed, and {refusal} would be expected");
                return Err(place(message).hint("`class: denied` is for what must be refused"));
            }
            Ok((inside, Outside::Same))
        }
    }
}

/// Observations among which each that the sets of `form` can tell from others has one of its kind.
fn samples(form: &Form, is_command: bool) -> Vec<Seen> {
    let sets = [&form.expect, &form.outside];
    let (texts, numbers): (Vec<_>, Vec<_>) =
        sets.into_iter().flatten().map(|set| set.value.boundaries()).unzip();
    let (texts, numbers) = (texts.concat(), numbers.concat());
    let numbers: Vec<i64> = match is_command {
        true => (0..=255).collect(),
        false => numbers
            .iter()
            .flat_map(|n| [n.saturating_sub(1), *n, n.saturating_add(1)])
            .chain([0, 1])
            .collect(),
    };
    let mut data: Vec<Vec<u8>> = vec![Vec::new(), vec![b'.'; OUTPUT_BYTES], texts.join("\n").into_bytes()];
    data.extend(texts.iter().map(|text| text.as_bytes().to_vec()));
    let returned = numbers.iter().flat_map(|number| {
        data.iter().map(|data| match Seen::reported(data.clone()) {
            Seen::Returned { errno, data, took, .. } => Seen::Returned { ret: *number, errno, data, took },
            other => other,
        })
    });
    let signals = Signal::iterator().map(|signal| Seen::Signalled(signal as i32));
    returned.chain(errors().map(Seen::failed)).chain(signals).collect()
}

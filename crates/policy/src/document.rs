//! A policy file: its text, what it says, and where it says it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::diagnostic::{Diagnostic, Diagnostics, Location, printable};
use crate::limits;
use crate::policy::{Access, Clause, PathEntry, PathRule, Policy};
use crate::read::{self, Reader};
use crate::screen;
use crate::yaml;

/// The policy of a run that names none.
const DEFAULT: &str = "default";

/// The built-in policies with their text.
const BUILTIN: &[(&str, &str)] =
    &[(DEFAULT, include_str!("../builtin/default.yaml")), ("agent", include_str!("../builtin/agent.yaml"))];

/// A policy with the text that it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What the text says.
    pub policy: Policy,
    /// What the caller calls the text: a file name, or the name of a built-in policy.
    pub name: String,
    /// The text.
    pub text: String,
    /// Where each clause that the text contains stands in it.
    pub locations: BTreeMap<Clause, Location>,
}

impl Document {
    /// Reads the policy `text`, which the caller got from `name`. Empty text is the strictest policy.
    ///
    /// Costs time and memory in proportion to the text, and at most what [`limits`] grants.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the text, except that text which is not YAML at all gives its first problem.
    pub fn parse(name: &str, text: &str) -> Result<Self, Diagnostics> {
        if text.len() > limits::MAX_BYTES {
            return Err(Diagnostics::too_large(name, u64::try_from(text.len()).ok()));
        }
        let fail = |problems: Vec<Diagnostic>, omitted| Err(Diagnostics::new(name, text, problems, omitted));
        let (problems, omitted) = screen::screen(text);
        if !problems.is_empty() {
            return fail(problems, omitted);
        }
        let root = match yaml::parse(text) {
            Ok(root) => root,
            Err(problem) => return fail(vec![*problem], 0),
        };
        let mut reader = Reader::new(text);
        let policy = read::policy(&mut reader, &root, &policy_name(name));
        let (problems, omitted, locations) = reader.finish();
        if !problems.is_empty() {
            return fail(problems, omitted);
        }
        Ok(Self { policy, name: name.to_owned(), text: text.to_owned(), locations })
    }

    /// [`Document::parse`] for bytes that may not be text.
    ///
    /// # Errors
    ///
    /// As [`Document::parse`], and bytes that are not UTF-8.
    pub fn parse_bytes(name: &str, bytes: &[u8]) -> Result<Self, Diagnostics> {
        if bytes.len() > limits::MAX_BYTES {
            return Err(Diagnostics::too_large(name, u64::try_from(bytes.len()).ok()));
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::parse(name, text),
            Err(error) => Err(Diagnostics::not_utf8(name, bytes, error.valid_up_to())),
        }
    }

    /// The built-in policy `name`.
    pub fn builtin(name: &str) -> Option<Self> {
        let &(name, text) = BUILTIN.iter().find(|&&(known, _)| known == name)?;
        if name == DEFAULT {
            return Some(Self::read_beforehand(text));
        }
        Some(Self::parse(name, text).expect("a test reads every built-in policy"))
    }

    /// What reading the text of the default policy gives. To read it would take a start longer than to plan its mounts.
    fn read_beforehand(text: &str) -> Self {
        let clause = Clause::new("filesystem.read_only[0]");
        let entry = PathEntry { clause: clause.clone(), path: ".".into(), optional: false };
        let mut policy = Policy::strictest(DEFAULT);
        policy.filesystem.rules = vec![PathRule { access: Access::ReadOnly, entry }];
        let locations = [
            (Clause::new("version"), 2, 10),
            (Clause::new("name"), 3, 7),
            (Clause::new("filesystem"), 6, 3),
            (Clause::new("filesystem.read_only"), 6, 14),
            (clause, 6, 15),
            (Clause::new("network"), 9, 3),
            (Clause::new("network.mode"), 9, 9),
        ];
        Self {
            policy,
            name: DEFAULT.to_owned(),
            text: text.to_owned(),
            locations: locations
                .into_iter()
                .map(|(clause, line, column)| (clause, Location { line, column }))
                .collect(),
        }
    }

    /// Where `clause` stands in the text: itself, or the nearest clause that contains it.
    pub fn location(&self, clause: &Clause) -> Option<Location> {
        let mut name = clause.as_str();
        loop {
            if let Some(&location) = self.locations.get(name) {
                return Some(location);
            }
            name = &name[..name.rfind(['.', '['])?];
        }
    }
}

/// The names of the built-in policies.
pub fn builtin_names() -> impl ExactSizeIterator<Item = &'static str> {
    BUILTIN.iter().map(|&(name, _)| name)
}

/// What a policy that does not name itself is called: its file's name, without directory and extension.
fn policy_name(source: &str) -> String {
    let stem = Path::new(source).file_stem().map_or_else(|| source.into(), |stem| stem.to_string_lossy());
    printable(&stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builtin_policies_are_what_their_texts_say() {
        for &(name, text) in BUILTIN {
            assert_eq!(Document::builtin(name).unwrap(), Document::parse(name, text).unwrap());
        }
    }
}

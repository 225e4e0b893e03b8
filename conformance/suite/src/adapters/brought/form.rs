//! The file of a runtime: its keys, and what each may hold.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::template::{EACH, ONE, Refused, Template};
use super::{Brought, WALL_TIME};
use crate::custom::{Problem, SECTIONS, Wrong};

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    name: Spanned<String>,
    version: Spanned<Vec<Spanned<Entry>>>,
    #[serde(default)]
    files: BTreeMap<String, Spanned<String>>,
    command: Spanned<Vec<Spanned<Entry>>>,
    exit: Option<Spanned<Exits>>,
    #[serde(default)]
    inexpressible: BTreeMap<String, Spanned<String>>,
}

/// What exit codes mean that are not the workload's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Exits {
    runtime: Vec<u8>,
    out_of_time: Vec<u8>,
}

/// A word, or words that belong together.
#[derive(Debug)]
struct Entry(Vec<String>);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;

        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a word, or a list of words (what looks like a number in quotes)")
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Entry, E> {
                Ok(Entry(vec![word.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, words: A) -> Result<Entry, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(words)).map(Entry)
            }
        }

        deserializer.deserialize_any(EntryVisitor)
    }
}

/// Reads what `file` holds. `read` gives the contents of a file that it names, or says what is wrong with it.
pub(super) fn parse(
    file: &str,
    text: &str,
    read: &dyn Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<Brought, Problem> {
    let form: Form = serde_saphyr::from_str(text).map_err(|error| Problem::of_yaml(file, error))?;
    form.runtime(read).map_err(|wrong| wrong.in_file(file))
}

impl Form {
    fn runtime(self, read: &dyn Fn(&str) -> Result<Vec<u8>, String>) -> Result<Brought, Wrong> {
        let name = &self.name;
        if !is_word(&name.value) {
            let wrong = Wrong::at(name, format!("{:?} is not the name of a runtime", name.value));
            return Err(wrong.hint("lower-case letters, digits and -, at most 40"));
        }
        if crate::adapters::names().any(|known| known == name.value) {
            let wrong = Wrong::at(name, format!("{:?} is the name of a runtime that is known", name.value));
            return Err(wrong.hint("a report must tell which of the two it is of: choose another"));
        }
        let mut files = BTreeMap::new();
        for (key, path) in &self.files {
            if !is_word(key) {
                let wrong = Wrong::at(path, format!("{key:?} is not a name for a file"));
                return Err(
                    wrong.hint("lower-case letters, digits and -, at most 40: {file.NAME} stands for it")
                );
            }
            let content =
                read(&path.value).map_err(|why| Wrong::at(path, format!("{}: {why}", path.value)))?;
            files.insert(key.clone(), content);
        }
        let is_file = |name: &str| name.strip_prefix("file.").is_some_and(|key| files.contains_key(key));
        let version = template(&self.version, &is_file)?;
        let command =
            template(&self.command, &|name| is_file(name) || ONE.contains(&name) || EACH.contains(&name))?;
        if !command.runs_the_command() {
            let wrong = Wrong::at(&self.command, "the workload's command is not run");
            return Err(wrong.hint("\"{command...}\" stands in it once, as an entry of its own"));
        }
        if let Some(exit) = &self.exit {
            let Exits { runtime, out_of_time } = &exit.value;
            if let Some(code) = out_of_time.iter().find(|code| runtime.contains(code)) {
                return Err(Wrong::at(exit, format!("the exit code {code} would mean two things")));
            }
            if !out_of_time.is_empty() && !command.mentions("policy.resources.wall_time") {
                let wrong = Wrong::at(exit, "out_of_time: the command is not told how long it may take");
                return Err(wrong.hint(format!("{{policy.{WALL_TIME}}} is the time, in seconds")));
            }
        }
        for (clause, why) in &self.inexpressible {
            let section = clause.split(['.', '[']).next().unwrap_or_default();
            if !SECTIONS.contains(&section) && !clause.contains('/') {
                let wrong = Wrong::at(
                    why,
                    format!("{clause:?} is no clause of a policy, and no pattern over probes"),
                );
                let sections = SECTIONS.join(", ");
                return Err(wrong.hint(format!("it begins with one of {sections}, or is like fd/leaked-*")));
            }
            if why.value.trim().is_empty() || why.value.contains('\n') {
                return Err(Wrong::at(why, format!("why {clause} cannot be said is not one line")));
            }
        }
        let exit = self.exit.map(|exit| exit.value).unwrap_or_default();
        let inexpressible = self.inexpressible.into_iter().map(|(clause, why)| (clause, why.value));
        Ok(Brought {
            path: PathBuf::new(),
            name: self.name.value,
            version,
            command,
            files,
            failure: exit.runtime,
            out_of_time: exit.out_of_time,
            inexpressible: inexpressible.collect(),
        })
    }
}

fn template(
    entries: &Spanned<Vec<Spanned<Entry>>>,
    is_known: &dyn Fn(&str) -> bool,
) -> Result<Template, Wrong> {
    if entries.value.is_empty() {
        return Err(Wrong::at(entries, "no command stands here"));
    }
    let mut template = Template::default();
    for entry in &entries.value {
        let refused = |(message, hint): Refused| Wrong::at(entry, message).hint(hint);
        template.add(&entry.value.0, is_known).map_err(refused)?;
    }
    Ok(template)
}

fn is_word(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.len() <= 40 && !name.starts_with('-') && name.bytes().all(plain)
}

//! The words of a command with names in braces, and what the names stand for.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use palisade_policy::{
    Access, Base, Identity, Policy, Posture, ResolvedEntry, SyscallProfile, Terminal, Workspace,
};

use super::{Case, Inexpressible};

/// The whole command of the workload.
pub(super) const COMMAND: &str = "command";

/// What a name stands for in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// A value, where there is one: a policy need not say all that it may say.
    One(Option<OsString>),
    /// Any number of them.
    Each(Vec<OsString>),
}

impl Bound {
    pub(super) fn one(value: impl Into<OsString>) -> Self {
        Self::One(Some(value.into()))
    }
}

/// The names of single values.
pub(super) const ONE: &[&str] = &[
    "id",
    "policy.filesystem.base",
    "policy.filesystem.disk",
    "policy.filesystem.tmp",
    "policy.filesystem.workspace",
    "policy.name",
    "policy.network.metadata",
    "policy.network.mode",
    "policy.network.special_use",
    "policy.process.identity",
    "policy.process.nested_namespaces",
    "policy.process.syscalls.profile",
    "policy.process.terminal",
    "policy.resources.cpu_time",
    "policy.resources.cpus",
    "policy.resources.file_size",
    "policy.resources.memory",
    "policy.resources.open_files",
    "policy.resources.output",
    "policy.resources.processes",
    "policy.resources.wall_time",
    "probe",
    "scratch",
    "workdir",
];

/// The names of lists, which stand in a template with `...` after them.
pub(super) const EACH: &[&str] = &[
    COMMAND,
    "policy.environment.pass",
    "policy.environment.set",
    "policy.filesystem.hidden",
    "policy.filesystem.no_execute",
    "policy.filesystem.read_only",
    "policy.filesystem.read_write",
    "policy.process.capabilities",
    "policy.process.syscalls.allow",
    "policy.process.syscalls.deny",
];

/// What the names stand for under a policy, in one run.
pub(super) struct Values(BTreeMap<&'static str, Bound>);

impl Values {
    pub(super) fn of(policy: &Policy, case: Case<'_>) -> Result<Self, Inexpressible> {
        let resolved = policy.filesystem.resolve(case.cwd).map_err(|errors| Inexpressible {
            clause: "filesystem".to_owned(),
            why: errors.first().map(ToString::to_string).unwrap_or_default(),
        })?;
        // What may be missing and is: a tool would stumble over it.
        let there = |entry: &&ResolvedEntry| !entry.optional || entry.path.exists();
        let path = |entry: &ResolvedEntry| entry.path.clone().into_os_string();
        let rules = |access: Access| {
            let rules = resolved.rules().iter().filter(|rule| rule.access == access);
            Bound::Each(rules.map(|rule| &rule.entry).filter(there).map(path).collect())
        };
        let words = |words: &[String]| Bound::Each(words.iter().map(Into::into).collect());
        let text = |text: String| Bound::one(text);
        let maybe = |text: Option<String>| Bound::One(text.map(Into::into));
        let posture = |posture: Posture| match posture {
            Posture::Block => Bound::one("block"),
            Posture::Allow => Bound::one("allow"),
        };
        let (filesystem, process, resources) = (&policy.filesystem, &policy.process, &policy.resources);
        let seconds = |time: std::time::Duration| time.as_secs_f64().to_string();
        let set = policy.environment.set.iter().map(|(name, value)| format!("{name}={value}").into());
        Ok(Self(BTreeMap::from([
            ("id", Bound::one(case.id)),
            ("probe", Bound::one(case.probe)),
            ("scratch", Bound::one(case.scratch)),
            ("workdir", Bound::one(case.cwd)),
            (COMMAND, words(case.argv)),
            ("policy.name", Bound::one(&policy.name)),
            ("policy.environment.pass", words(&policy.environment.pass)),
            ("policy.environment.set", Bound::Each(set.collect())),
            (
                "policy.filesystem.base",
                Bound::one(match filesystem.base {
                    Base::Host => "host",
                    Base::None => "none",
                }),
            ),
            ("policy.filesystem.disk", text(filesystem.disk.bytes().to_string())),
            ("policy.filesystem.hidden", rules(Access::Hidden)),
            (
                "policy.filesystem.no_execute",
                Bound::Each(resolved.no_execute().iter().filter(there).map(path).collect()),
            ),
            ("policy.filesystem.read_only", rules(Access::ReadOnly)),
            ("policy.filesystem.read_write", rules(Access::ReadWrite)),
            ("policy.filesystem.tmp", text(filesystem.tmp.bytes().to_string())),
            (
                "policy.filesystem.workspace",
                Bound::one(match filesystem.workspace {
                    Workspace::Direct => "direct",
                    Workspace::Overlay => "overlay",
                    Workspace::Copy => "copy",
                }),
            ),
            ("policy.network.metadata", posture(policy.network.metadata)),
            ("policy.network.mode", text(policy.network.mode.to_string())),
            ("policy.network.special_use", posture(policy.network.special_use)),
            ("policy.process.capabilities", words(&process.capabilities)),
            (
                "policy.process.identity",
                Bound::one(match process.identity {
                    Identity::User => "user",
                    Identity::Root => "root",
                }),
            ),
            ("policy.process.nested_namespaces", text(process.nested_namespaces.to_string())),
            ("policy.process.syscalls.allow", words(&process.syscalls.allow)),
            ("policy.process.syscalls.deny", words(&process.syscalls.deny)),
            (
                "policy.process.syscalls.profile",
                Bound::one(match process.syscalls.profile {
                    SyscallProfile::Standard => "standard",
                    SyscallProfile::Strict => "strict",
                }),
            ),
            (
                "policy.process.terminal",
                Bound::one(match process.terminal {
                    Terminal::Auto => "auto",
                    Terminal::None => "none",
                }),
            ),
            ("policy.resources.cpu_time", maybe(resources.cpu_time.map(seconds))),
            (
                "policy.resources.cpus",
                maybe(resources.millicpus.map(|thousandths| (f64::from(thousandths) / 1000.0).to_string())),
            ),
            ("policy.resources.file_size", text(resources.file_size.bytes().to_string())),
            ("policy.resources.memory", maybe(resources.memory.map(|size| size.bytes().to_string()))),
            ("policy.resources.open_files", text(resources.open_files.to_string())),
            ("policy.resources.output", maybe(resources.output.map(|size| size.bytes().to_string()))),
            ("policy.resources.processes", text(resources.processes.to_string())),
            ("policy.resources.wall_time", maybe(case.wall_time.or(resources.wall_time).map(seconds))),
        ])))
    }

    pub(super) fn get(&self, name: &str) -> Option<Bound> {
        self.0.get(name).cloned()
    }
}

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    One(String),
    Each(String),
}

/// What is wrong with a word, and what to write instead.
pub(super) type Refused = (String, String);

/// Words that belong together: they are repeated for each value of the list that they name, and left out where something
/// that they name has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group(Vec<Vec<Part>>);

/// A command with names in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Template(Vec<Group>);

impl Template {
    /// Adds words that belong together. `is_known` says which names there are.
    pub(super) fn add(&mut self, words: &[String], is_known: &dyn Fn(&str) -> bool) -> Result<(), Refused> {
        let group = words.iter().map(|word| parts(word, is_known)).collect::<Result<Vec<_>, _>>()?;
        let mut lists = group.iter().flatten().filter_map(|part| match part {
            Part::Each(name) => Some(name),
            Part::Text(_) | Part::One(_) => None,
        });
        if let Some(first) = lists.next()
            && let Some(other) = lists.find(|name| *name != first)
        {
            let hint = "a word, or a list of words, is repeated for one list".to_owned();
            return Err((format!("two lists, {{{first}...}} and {{{other}...}}, stand together"), hint));
        }
        self.0.push(Group(group));
        Ok(())
    }

    /// How often a name stands in it.
    fn count(&self, name: &str) -> usize {
        let parts = self.0.iter().flat_map(|group| group.0.iter().flatten());
        parts.filter(|part| matches!(part, Part::One(known) | Part::Each(known) if known == name)).count()
    }

    pub(super) fn mentions(&self, name: &str) -> bool {
        self.count(name) > 0
    }

    /// Whether the workload's command stands in it once, as words of its own.
    pub(super) fn runs_the_command(&self) -> bool {
        let alone = Group(vec![vec![Part::Each(COMMAND.to_owned())]]);
        self.count(COMMAND) == 1 && self.0.contains(&alone)
    }

    /// The words, with what the names stand for.
    pub(super) fn words(&self, value: &dyn Fn(&str) -> Option<Bound>) -> Vec<OsString> {
        self.0.iter().flat_map(|group| group.words(value)).collect()
    }
}

impl Group {
    fn words(&self, value: &dyn Fn(&str) -> Option<Bound>) -> Vec<OsString> {
        let list = self.0.iter().flatten().find_map(|part| match part {
            Part::Each(name) => Some(name),
            Part::Text(_) | Part::One(_) => None,
        });
        let rounds = match list.and_then(|name| value(name)) {
            Some(Bound::Each(values)) => values.into_iter().map(Some).collect(),
            _ => vec![None],
        };
        let word = |parts: &Vec<Part>, each: Option<&OsStr>| {
            let mut word = OsString::new();
            for part in parts {
                match part {
                    Part::Text(text) => word.push(text),
                    Part::Each(_) => word.push(each?),
                    Part::One(name) => match value(name) {
                        Some(Bound::One(Some(text))) => word.push(text),
                        _ => return None,
                    },
                }
            }
            Some(word)
        };
        let round = |each: Option<OsString>| {
            let words = self.0.iter().map(|parts| word(parts, each.as_deref()));
            words.collect::<Option<Vec<_>>>().unwrap_or_default()
        };
        rounds.into_iter().flat_map(round).collect()
    }
}

/// Takes a word apart.
fn parts(word: &str, is_known: &dyn Fn(&str) -> bool) -> Result<Vec<Part>, Refused> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = word;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        let brace = &rest[at..];
        if let Some(after) = brace.strip_prefix("{{").or_else(|| brace.strip_prefix("}}")) {
            text.push_str(&brace[..1]);
            rest = after;
            continue;
        }
        let Some((name, after)) = brace.strip_prefix('{').and_then(|inner| inner.split_once('}')) else {
            let message = format!("a brace stands alone in {word:?}");
            return Err((message, "a brace that is meant is written twice: {{ or }}".to_owned()));
        };
        if !text.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut text)));
        }
        parts.push(part(name, is_known)?);
        rest = after;
    }
    text.push_str(rest);
    if !text.is_empty() || parts.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

fn part(name: &str, is_known: &dyn Fn(&str) -> bool) -> Result<Part, Refused> {
    let (bare, many) = name.strip_suffix("...").map_or((name, false), |bare| (bare, true));
    if !is_known(bare) {
        return Err((format!("nothing has the name {{{name}}}"), suggestion(bare)));
    }
    match (EACH.contains(&bare), many) {
        (true, true) => Ok(Part::Each(bare.to_owned())),
        (false, false) => Ok(Part::One(bare.to_owned())),
        (true, false) => Err((format!("{{{bare}}} is a list"), format!("write {{{bare}...}}"))),
        (false, true) => Err((format!("{{{bare}}} is no list"), format!("write {{{bare}}}"))),
    }
}

/// The nearest name, or all of them.
fn suggestion(name: &str) -> String {
    let shown =
        |name: &str| if EACH.contains(&name) { format!("{{{name}...}}") } else { format!("{{{name}}}") };
    let all = || ONE.iter().chain(EACH).copied();
    match palisade_policy::nearest(name, all()) {
        Some(near) => format!("did you mean {}?", shown(near)),
        None => {
            let all: Vec<String> = all().map(shown).collect();
            format!(
                "the names are {}, {{file.NAME}} for a key of `files`; a brace is written {{{{",
                all.join(", ")
            )
        }
    }
}

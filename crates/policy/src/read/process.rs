//! The section `process`.

use std::collections::BTreeMap;

use super::Reader;
use crate::capability;
use crate::diagnostic::printable;
use crate::policy::{Clause, Identity, Process, SyscallProfile, Syscalls, Terminal};
use crate::suggest::nearest;
use crate::syscalls;
use crate::yaml::{Node, Value};

pub(super) const KEYS: &[&str] = &["identity", "capabilities", "syscalls", "nested_namespaces", "terminal"];
pub(super) const SYSCALL_KEYS: &[&str] = &["profile", "allow", "deny"];

const PROFILES: &[(&str, SyscallProfile)] =
    &[("standard", SyscallProfile::Standard), ("strict", SyscallProfile::Strict)];

pub(super) fn read(reader: &mut Reader<'_>, section: Option<&Node>) -> Process {
    let Some(section) = section else { return Process::default() };
    reader.locate(Clause::new("process"), section);
    let fields = reader.fields(section, "process");
    let field = |key: &str| fields.get(key).copied();
    let identities = &[("user", Identity::User), ("root", Identity::Root)];
    let terminals = &[("auto", Terminal::Auto), ("none", Terminal::None)];
    Process {
        identity: reader.word(field("identity"), "process.identity", identities).unwrap_or_default(),
        capabilities: names(reader, field("capabilities"), "process.capabilities", check_capability),
        syscalls: field("syscalls").map(|node| filter(reader, node)).unwrap_or_default(),
        nested_namespaces: reader
            .switch(field("nested_namespaces"), "process.nested_namespaces")
            .unwrap_or_default(),
        terminal: reader.word(field("terminal"), "process.terminal", terminals).unwrap_or_default(),
    }
}

/// A profile alone, or a map of a profile and of calls to add and to remove.
fn filter(reader: &mut Reader<'_>, node: &Node) -> Syscalls {
    if !matches!(node.value, Value::Map(_)) {
        let profile = reader.word(Some(node), "process.syscalls", PROFILES).unwrap_or_default();
        return Syscalls { profile, ..Syscalls::default() };
    }
    reader.locate(Clause::new("process.syscalls"), node);
    let fields = reader.fields(node, "process.syscalls");
    let field = |key: &str| fields.get(key).copied();
    let profile = reader.word(field("profile"), "process.syscalls.profile", PROFILES).unwrap_or_default();
    let allow = names(reader, field("allow"), "process.syscalls.allow", check_syscall);
    let deny = names(reader, field("deny"), "process.syscalls.deny", check_syscall);
    if let (Some(allow), Some(deny)) = (field("allow"), field("deny")) {
        contradictions(reader, allow, deny);
    }
    Syscalls { profile, allow, deny }
}

/// Reports each call of the list `deny` that the list `allow` names too.
fn contradictions(reader: &mut Reader<'_>, allow: &Node, deny: &Node) {
    let (Value::List(allow), Value::List(deny)) = (&allow.value, &deny.value) else { return };
    let name = |node: &'_ Node| match &node.value {
        Value::Text(name) => Some(name.clone()),
        _ => None,
    };
    let allowed: BTreeMap<String, &Node> =
        allow.iter().filter_map(|node| name(node).map(|name| (name, node))).collect();
    for node in deny {
        if let Some((name, allowed)) = name(node).and_then(|name| allowed.get_key_value(&name)) {
            reader
                .report(node, format!("system call `{}` is both allowed and denied", printable(name)))
                .related(allowed, "allowed here")
                .help("remove one of the two");
        }
    }
}

/// What is wrong with a name, and the name that was meant.
struct Unknown {
    message: String,
    meant: Option<&'static str>,
}

/// The names of the list at `node`; repeated ones and those that `check` does not know are reported.
fn names(
    reader: &mut Reader<'_>,
    node: Option<&Node>,
    clause: &'static str,
    check: fn(&str, bool) -> Result<(), Unknown>,
) -> Vec<String> {
    let mut names = Vec::new();
    let mut seen: BTreeMap<&str, &Node> = BTreeMap::new();
    for (index, entry) in reader.list(node, clause).iter().enumerate() {
        reader.locate(Clause::entry(clause, index), entry);
        let Some(name) = reader.text(entry, "a name") else { continue };
        if let Err(Unknown { message, meant }) = check(name, !reader.is_full()) {
            let mut report = reader.report(entry, message);
            if let Some(meant) = meant {
                report.label(format!("did you mean `{meant}`?"));
            }
            continue;
        }
        if let Some(first) = seen.insert(name, entry) {
            reader.report(entry, format!("`{name}` stands in `{clause}` twice")).related(first, "first here");
            continue;
        }
        names.push(name.to_owned());
    }
    names
}

fn check_capability(name: &str, suggest: bool) -> Result<(), Unknown> {
    if capability::NAMES.contains(&name) {
        return Ok(());
    }
    let meant = suggest.then(|| {
        let has_prefix = name.to_ascii_uppercase().starts_with("CAP_");
        let full = if has_prefix { name.to_owned() } else { format!("CAP_{name}") };
        nearest(&full, capability::NAMES.iter().copied())
    });
    Err(Unknown { message: format!("unknown capability `{}`", printable(name)), meant: meant.flatten() })
}

fn check_syscall(name: &str, suggest: bool) -> Result<(), Unknown> {
    if syscalls::number(name).is_some() {
        return Ok(());
    }
    let meant = suggest.then(|| nearest(name, syscalls::names()));
    Err(Unknown { message: format!("unknown system call `{}`", printable(name)), meant: meant.flatten() })
}

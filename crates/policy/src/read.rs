//! A tree of nodes to a validated policy: one file a section, every problem of a file in one pass.
//!
//! A reader never stops at a problem: it reports it, takes the strictest value for the clause and goes on. The
//! value is never used, since a document with a problem yields no policy. Called by [`crate::Document::parse`].

mod environment;
mod filesystem;
mod network;
mod process;
mod reader;
mod resources;

use crate::diagnostic::printable;
use crate::policy::{Clause, OnUnavailable, Policy};
use crate::yaml::{Node, Value};
pub(crate) use reader::Reader;

/// The keys of every map of the language, by section; the top level is the empty name.
const KEYS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "version",
            "name",
            "on_unavailable",
            "filesystem",
            "process",
            "network",
            "resources",
            "environment",
        ],
    ),
    ("filesystem", filesystem::KEYS),
    ("path entry", filesystem::ENTRY_KEYS),
    ("process", process::KEYS),
    ("process.syscalls", process::SYSCALL_KEYS),
    ("network", network::KEYS),
    ("network.allow", network::RULE_KEYS),
    ("network.dns", network::DNS_KEYS),
    ("network.publish", network::PUBLISH_KEYS),
    ("network.link", network::LINK_KEYS),
    ("resources", resources::KEYS),
    ("environment", environment::KEYS),
];

/// Reads the whole document. `fallback` names a policy that does not name itself.
pub(crate) fn policy(reader: &mut Reader<'_>, root: &Node, fallback: &str) -> Policy {
    if matches!(root.value, Value::Null) {
        return Policy::strictest(fallback);
    }
    let fields = reader.fields(root, "");
    let field = |key: &str| fields.get(key).copied();
    version(reader, field("version"));
    let refusal = &[("refuse", OnUnavailable::Refuse), ("degrade", OnUnavailable::Degrade)];
    let network = network::read(reader, field("network"));
    Policy {
        name: name(reader, field("name")).unwrap_or(fallback).to_owned(),
        on_unavailable: reader.word(field("on_unavailable"), "on_unavailable", refusal).unwrap_or_default(),
        filesystem: filesystem::read(reader, field("filesystem")),
        process: process::read(reader, field("process")),
        resources: resources::read(reader, field("resources")),
        environment: environment::read(reader, field("environment"), network.proxy),
        network,
    }
}

fn version(reader: &mut Reader<'_>, node: Option<&Node>) {
    let Some(node) = node else { return };
    reader.locate(Clause::new("version"), node);
    if let Some(version) = reader.whole(node, "`version`")
        && version != 1
    {
        reader.report(node, format!("unknown policy version `{version}`")).help("the only version is 1");
    }
}

fn name<'n>(reader: &mut Reader<'_>, node: Option<&'n Node>) -> Option<&'n str> {
    let node = node?;
    reader.locate(Clause::new("name"), node);
    let name = reader.text(node, "`name`")?;
    let fits = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        reader
            .report(node, format!("`{}` is not a policy name", printable(name)))
            .help("a name has 1 to 64 characters out of letters, digits, `-`, `_` and `.`");
    }
    Some(name)
}

//! The section `filesystem`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Reader;
use crate::diagnostic::printable;
use crate::paths::{check_path, normalised};
use crate::policy::{Access, Base, Clause, Filesystem, PathEntry, PathRule, Workspace};
use crate::units::ByteSize;
use crate::yaml::{Node, Value};

pub(super) const KEYS: &[&str] =
    &["base", "read_only", "read_write", "hidden", "no_execute", "tmp", "workspace", "disk"];
pub(super) const ENTRY_KEYS: &[&str] = &["path", "optional"];

pub(super) fn read(reader: &mut Reader<'_>, section: Option<&Node>) -> Filesystem {
    let strictest = Filesystem::default();
    let Some(section) = section else { return strictest };
    reader.locate(Clause::new("filesystem"), section);
    let fields = reader.fields(section, "filesystem");
    let field = |key: &str| fields.get(key).copied();

    let mut rules: Vec<(&Node, PathRule)> = Vec::new();
    for (key, list, access) in [
        ("read_only", "filesystem.read_only", Access::ReadOnly),
        ("read_write", "filesystem.read_write", Access::ReadWrite),
        ("hidden", "filesystem.hidden", Access::Hidden),
    ] {
        let entries = entries(reader, field(key), list);
        rules.extend(entries.into_iter().map(|(node, entry)| (node, PathRule { access, entry })));
    }
    // The order of the file, whichever list comes first in it.
    rules.sort_by_key(|(node, _)| node.span.start);
    let no_execute = entries(reader, field("no_execute"), "filesystem.no_execute");
    let named = lint_rules(reader, &rules);
    lint_no_execute(reader, &named, &no_execute);

    let bases = &[("host", Base::Host), ("none", Base::None)];
    let tmp = field("tmp").and_then(|node| reader.size(node, "filesystem.tmp", Filesystem::MIN_TMP));
    let (workspace, disk) = workspace(reader, field("workspace"), field("disk"), &rules);
    Filesystem {
        base: reader.word(field("base"), "filesystem.base", bases).unwrap_or_default(),
        rules: rules.into_iter().map(|(_, rule)| rule).collect(),
        no_execute: no_execute.into_iter().map(|(_, entry)| entry).collect(),
        tmp: tmp.unwrap_or(strictest.tmp),
        workspace,
        disk: disk.unwrap_or(strictest.disk),
    }
}

/// Where changes go, and how much room they have. Either alone would say nothing.
fn workspace(
    reader: &mut Reader<'_>,
    word: Option<&Node>,
    size: Option<&Node>,
    rules: &[(&Node, PathRule)],
) -> (Workspace, Option<ByteSize>) {
    let words = &[("direct", Workspace::Direct), ("overlay", Workspace::Overlay), ("copy", Workspace::Copy)];
    let before = reader.problem_count();
    let workspace = reader.word(word, "filesystem.workspace", words).unwrap_or_default();
    let disk = size.and_then(|node| reader.size(node, "filesystem.disk", Filesystem::MIN_DISK));
    if reader.problem_count() > before {
        return (workspace, disk);
    }
    match (workspace, word, size) {
        (Workspace::Direct, _, Some(node)) => {
            reader
                .report(node, "`disk` cannot act: the workspace is direct")
                .help("`workspace: overlay` or `workspace: copy` keeps changes in a private file system");
        }
        (Workspace::Overlay | Workspace::Copy, Some(node), _)
            if !rules.iter().any(|(_, rule)| rule.access == Access::ReadWrite) =>
        {
            reader
                .report(node, format!("`workspace: {workspace}` cannot act: no path is read-write"))
                .help("name what the workload may change under `read_write`");
        }
        _ => {}
    }
    (workspace, disk)
}

/// The entries of a list of paths: each a path, or a map of `path` and `optional`.
fn entries<'n>(
    reader: &mut Reader<'_>,
    node: Option<&'n Node>,
    list: &'static str,
) -> Vec<(&'n Node, PathEntry)> {
    let mut entries = Vec::new();
    for (index, node) in reader.list(node, list).iter().enumerate() {
        let clause = Clause::entry(list, index);
        reader.locate(clause.clone(), node);
        let (at, optional) = match &node.value {
            Value::Map(_) => {
                let before = reader.problem_count();
                let fields = reader.fields(node, "path entry");
                let optional = fields.get("optional").and_then(|node| reader.boolean(node, "`optional`"));
                let Some(path) = fields.get("path").copied() else {
                    if reader.problem_count() == before {
                        reader
                            .report(node, "entry has no `path`")
                            .help("write { path: DIR, optional: true }");
                    }
                    continue;
                };
                (path, optional.unwrap_or(false))
            }
            _ => (node, false),
        };
        let Some(text) = reader.text(at, "a path") else { continue };
        if reader.parsed(at, check_path(Path::new(text))).is_some() {
            entries.push((at, PathEntry { clause, path: text.into(), optional }));
        }
    }
    entries
}

/// The rules by normalised path.
type Named<'n> = BTreeMap<PathBuf, (&'n Node, Access)>;

/// Reports rules that contradict or repeat each other, as far as that shows without knowing where the run starts.
/// [`Filesystem::resolve`] finds the rest.
fn lint_rules<'n>(reader: &mut Reader<'_>, rules: &[(&'n Node, PathRule)]) -> Named<'n> {
    let mut named = Named::new();
    for &(node, ref rule) in rules {
        let path = normalised(&rule.entry.path);
        if rule.access == Access::Hidden && path == Path::new("/") {
            reader
                .report(node, "the root directory cannot be hidden")
                .help("`base: none` leaves out the host's files");
        }
        let Some(&(first, access)) = named.get(&path) else {
            named.insert(path, (node, rule.access));
            continue;
        };
        let (shown, earlier, here) = (shown(&path), access.words(), rule.access.words());
        if access == rule.access {
            reader.report(node, format!("path `{shown}` is {here} twice")).related(first, "first here");
        } else {
            reader
                .report(node, format!("path `{shown}` is both {earlier} and {here}"))
                .related(first, format!("{earlier} here"))
                .help("remove one of the two");
        }
    }
    named
}

/// Reports entries of `no_execute` that stand there twice, or that only name what is hidden.
fn lint_no_execute(reader: &mut Reader<'_>, named: &Named<'_>, no_execute: &[(&Node, PathEntry)]) {
    let mut seen: BTreeMap<PathBuf, &Node> = BTreeMap::new();
    for &(node, ref entry) in no_execute {
        let path = normalised(&entry.path);
        if let Some(&(hidden, Access::Hidden)) = path.ancestors().find_map(|above| named.get(above)) {
            reader
                .report(node, format!("`no_execute` cannot act on `{}`: it is hidden", shown(&path)))
                .related(hidden, "hidden here");
        }
        if let Some(&first) = seen.get(&path) {
            let message = format!("path `{}` is in `no_execute` twice", shown(&path));
            reader.report(node, message).related(first, "first here");
        }
        seen.insert(path, node);
    }
}

fn shown(path: &Path) -> String {
    if path.as_os_str().is_empty() { ".".to_owned() } else { printable(&path.to_string_lossy()) }
}

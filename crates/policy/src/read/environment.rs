//! The section `environment`.

use std::collections::BTreeMap;

use super::Reader;
use crate::diagnostic::printable;
use crate::injection;
use crate::policy::{Clause, Environment, Proxy};
use crate::yaml::{Node, Value};

pub(super) const KEYS: &[&str] = &["pass", "set", "force"];

/// The longest value: what execve(2) takes for one string (`MAX_ARG_STRLEN`), with room for the name.
const MAX_VALUE: usize = 128 * 1024 - 512;

/// Names of variables, with the places that name them.
type Names<'n> = BTreeMap<String, &'n Node>;

/// Variables with a value, with the places that name them.
type Values<'n> = BTreeMap<String, (&'n Node, String)>;

/// The variables that `network.proxy: environment` sets, in lower case.
const PROXIES: &[&str] = &["http_proxy", "https_proxy", "all_proxy"];

/// Reads the section, beside a `network` that has this `proxy`.
pub(super) fn read(reader: &mut Reader<'_>, section: Option<&Node>, proxy: Proxy) -> Environment {
    let Some(section) = section else { return Environment::default() };
    reader.locate(Clause::new("environment"), section);
    let fields = reader.fields(section, "environment");
    let field = |key: &str| fields.get(key).copied();
    let pass = names(reader, field("pass"), "environment.pass");
    let set = values(reader, field("set"));
    let force = names(reader, field("force"), "environment.force");
    lint(reader, &pass, &set, &force);
    if proxy == Proxy::Environment {
        lint_proxies(reader, &pass, &set);
    }
    Environment {
        pass: in_order(pass),
        set: set.into_iter().map(|(name, (_, value))| (name, value)).collect(),
        force: in_order(force),
    }
}

/// The names in the order of the file.
fn in_order(names: Names<'_>) -> Vec<String> {
    let mut names: Vec<(String, &Node)> = names.into_iter().collect();
    names.sort_by_key(|(_, node)| node.span.start);
    names.into_iter().map(|(name, _)| name).collect()
}

fn names<'n>(reader: &mut Reader<'_>, node: Option<&'n Node>, clause: &'static str) -> Names<'n> {
    let mut names = Names::new();
    for (index, entry) in reader.list(node, clause).iter().enumerate() {
        reader.locate(Clause::entry(clause, index), entry);
        let Some(name) = reader.text(entry, "a variable name") else { continue };
        if !check_name(reader, entry, name) {
            continue;
        }
        if let Some(first) = names.insert(name.to_owned(), entry) {
            reader.report(entry, format!("`{name}` stands in `{clause}` twice")).related(first, "first here");
        }
    }
    names
}

fn values<'n>(reader: &mut Reader<'_>, node: Option<&'n Node>) -> Values<'n> {
    let mut values = Values::new();
    let Some(node) = node else { return values };
    reader.locate(Clause::new("environment.set"), node);
    let Value::Map(entries) = &node.value else {
        reader.wrong_kind(node, "`environment.set`", "a map").help("write { NAME: \"value\" }");
        return values;
    };
    if !reader.count(node, entries.len()) {
        return values;
    }
    for (key, value) in entries {
        let Some(name) = reader.text(key, "a variable name") else { continue };
        if !check_name(reader, key, name) {
            continue;
        }
        reader.locate(Clause::key("environment.set", name), key);
        let Some(text) = variable_value(reader, key, name, value) else { continue };
        if let Some((first, _)) = values.insert(name.to_owned(), (key, text.to_owned())) {
            reader.report(key, format!("variable `{name}` is set twice")).related(first, "first here");
        }
    }
    values
}

fn variable_value<'n>(reader: &mut Reader<'_>, key: &Node, name: &str, value: &'n Node) -> Option<&'n str> {
    if matches!(value.value, Value::Null) {
        reader.report(key, format!("variable `{name}` has no value")).help("write \"\" for an empty one");
        return None;
    }
    let text = reader.text(value, &format!("the value of `{name}`"))?;
    if text.contains('\0') {
        reader.report(value, format!("the value of `{name}` contains a NUL byte"));
    }
    if text.len() > MAX_VALUE {
        reader
            .report(value, format!("the value of `{name}` is longer than the kernel takes"))
            .help("128 KiB together with the name (execve(2))");
    }
    Some(text)
}

fn check_name(reader: &mut Reader<'_>, node: &Node, name: &str) -> bool {
    let valid = injection::is_name(name);
    if !valid {
        let mut report = reader.report(node, format!("`{}` is not the name of a variable", printable(name)));
        match name.split_once('=') {
            Some((name, _)) if injection::is_name(name) => {
                report.help(format!("to give `{}` a value, use `set`", printable(name)));
            }
            _ => {
                report.help("a name has letters, digits and `_`, and does not start with a digit");
            }
        }
    }
    valid
}

/// Reports a second word about what the workload's proxy is.
fn lint_proxies(reader: &mut Reader<'_>, pass: &Names<'_>, set: &Values<'_>) {
    for (name, node) in pass.iter().chain(set.iter().map(|(name, (node, _))| (name, node))) {
        if PROXIES.contains(&name.to_ascii_lowercase().as_str()) {
            reader
                .report(node, format!("variable `{}` is set by `network.proxy` already", printable(name)))
                .help("remove one of the two");
        }
    }
}

fn lint(reader: &mut Reader<'_>, pass: &Names<'_>, set: &Values<'_>, force: &Names<'_>) {
    for (name, node) in pass.iter().chain(set.iter().map(|(name, (node, _))| (name, node))) {
        if let (Some(why), false) = (injection::reason(name), force.contains_key(name)) {
            let name = printable(name);
            reader
                .report(node, format!("variable `{name}` is refused"))
                .label(why)
                .help(format!("if the workload must have it, name it in `force` too: force: [{name}]"));
        }
    }
    for (name, (node, _)) in set {
        if let Some(passed) = pass.get(name) {
            reader
                .report(node, format!("variable `{}` is both passed and set", printable(name)))
                .related(passed, "passed here")
                .help("remove one of the two");
        }
    }
    for (name, node) in force {
        let shown = printable(name);
        if injection::reason(name).is_none() {
            reader
                .report(node, format!("variable `{shown}` needs no force"))
                .help("`force` is for variables that are refused without it; `pass` or `set` is enough");
        } else if !pass.contains_key(name) && !set.contains_key(name) {
            reader
                .report(node, format!("`force` cannot act: variable `{shown}` is neither passed nor set"))
                .help("add it to `pass` or `set`, or remove it here");
        }
    }
}

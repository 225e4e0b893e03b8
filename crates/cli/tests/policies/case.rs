//! One random policy as a user would write it, and the part of the catalogue that is tried under it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use palisade_policy::{Document, injection};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// What every workspace of the suite's lab holds.
const THERE: &[&str] = &[
    "nested",
    "nested/allowed.txt",
    ".git",
    ".git/hooks",
    ".git/hooks/pre-commit",
    ".agent",
    ".agent/settings.json",
    ".env",
    "sub",
];

/// The files of these.
const FILES: &[&str] = &["nested/allowed.txt", ".git/hooks/pre-commit", ".agent/settings.json", ".env"];

/// What no workspace holds, and places of the host that a policy need not find.
const MISSING: &[&str] = &[
    "late.txt",
    "late/one/two.txt",
    "nested/new",
    ".git/hooks/local",
    "alias/late.txt",
    "/tmp/late.txt",
    "/opt/late",
];

/// Places of every host; only a hole can be made there, since what they show is the host's own.
const HOST: &[&str] = &["/usr/share", "/usr/local", "/usr/lib/ssl", "/etc/ssl"];

const LISTS: [&str; 3] = ["read_only", "read_write", "hidden"];

/// Ranges around what is public, private and special, some of which overlap.
const RANGES: &[&str] = &[
    "1.1.1.1/32",
    "44.0.0.0/8",
    "44.55.66.0/24",
    "44.55.66.80/31",
    "203.0.113.0/24",
    "203.0.113.128/25",
    "198.51.100.0/22",
    "10.20.0.0/16",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.168.1.0/24",
    "0.0.0.0/0",
    "128.0.0.0/1",
    "::/0",
    "2001:db8::/32",
    "2600:1f00::/24",
    "2600:1f00::80/127",
    "fd12:3456:789a::/48",
];

const NAMES: &[&str] = &[
    "example.org",
    "x.example.org",
    "*.example.org",
    "**.example.org",
    "mixed.example.org",
    "*.crates.io",
    "Bücher.example",
];

const PORTS: &[u16] = &[1, 53, 80, 443, 8080, 9999, 65535];

const VARIABLES: &[&str] =
    &["LANG", "TERM", "USER", "OLDPWD", "LD_BIND_NOW", "PYTHONPATH", "NODE_OPTIONS", "NOT_SET"];

const VALUES: &[(&str, &str)] = &[
    ("CI", "1"),
    ("EMPTY", ""),
    ("TEXT", "ä € = 'x' $HOME"),
    ("PATH", "/usr/bin:/bin"),
    ("HOME", "/nonexistent"),
    ("LD_LIBRARY_PATH", "/nonexistent"),
    ("GIT_PAGER", "cat"),
];

/// Words for a key that may be absent.
type Word = Option<&'static str>;

#[derive(Clone, Debug)]
struct Files {
    top: usize,
    rules: Vec<(&'static str, usize)>,
    no_execute: Vec<&'static str>,
    tmp: Word,
    workspace: Word,
}

#[derive(Clone, Debug)]
struct Process {
    identity: Word,
    capabilities: Vec<&'static str>,
    profile: &'static str,
    allow: Vec<&'static str>,
    deny: Vec<&'static str>,
    nested: bool,
    terminal: Word,
}

#[derive(Clone, Debug)]
struct Peer {
    /// A name or a range.
    to: &'static str,
    /// All of them, where there is none.
    ports: Vec<u16>,
    udp: bool,
}

#[derive(Clone, Debug)]
struct Network {
    mode: &'static str,
    metadata: bool,
    special_use: bool,
    proxy: bool,
    rules: Vec<Peer>,
}

#[derive(Clone, Debug)]
struct Environment {
    pass: Vec<&'static str>,
    set: Vec<(&'static str, &'static str)>,
}

/// Which probes, and how.
#[derive(Clone, Debug)]
struct Part {
    group: Word,
    shard: u32,
    entry: Word,
}

/// What the generator makes; [`Case`] is what it means.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    files: Files,
    process: Process,
    network: Network,
    limits: Vec<(&'static str, &'static str)>,
    environment: Environment,
    part: Part,
}

/// A word or, more often and when shrunk, none.
fn word(words: &'static [&'static str]) -> impl Strategy<Value = Word> {
    prop_oneof![2 => Just(None), 1 => select(words).prop_map(Some)]
}

fn some<T: Clone + std::fmt::Debug>(of: &'static [T], most: usize) -> impl Strategy<Value = Vec<T>> {
    subsequence(of, 0..=most.min(of.len()))
}

fn rarely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.2)
}

fn files() -> impl Strategy<Value = Files> {
    let rule = prop_oneof![
        4 => (select(THERE), 0..3_usize),
        2 => (select(MISSING), prop_oneof![Just(2_usize), Just(0)]),
        1 => (select(HOST), Just(2_usize)),
    ];
    (
        0..2_usize,
        prop::collection::vec(rule, 0..7),
        some(&["/tmp", "nested", ".git", "sub"], 2),
        word(&["64KiB", "1MiB", "48MiB"]),
        word(&["overlay", "copy"]),
    )
        .prop_map(|(top, rules, no_execute, tmp, workspace)| Files {
            top,
            rules,
            no_execute,
            tmp,
            workspace,
        })
}

fn process() -> impl Strategy<Value = Process> {
    (
        word(&["root", "user"]),
        // Not CAP_DAC_OVERRIDE: it opens the covers of what is hidden. These are empty, and entries ask for a refusal.
        some(&["CAP_CHOWN", "CAP_FOWNER", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETUID"], 2),
        select(&["standard", "strict"][..]),
        some(&["ptrace", "userfaultfd", "io_uring_setup", "keyctl", "mount", "chroot"], 2),
        some(&["fanotify_init", "memfd_create", "sync", "msgget"], 2),
        rarely(),
        word(&["none", "auto"]),
    )
        .prop_map(|(identity, capabilities, profile, allow, deny, nested, terminal)| Process {
            identity,
            capabilities,
            profile,
            allow,
            deny,
            nested,
            terminal,
        })
}

fn network() -> impl Strategy<Value = Network> {
    let to = prop_oneof![2 => select(NAMES), 3 => select(RANGES)];
    let peer = (to, some(PORTS, 3), rarely()).prop_map(|(to, ports, udp)| Peer { to, ports, udp });
    (
        prop_oneof![2 => Just("none"), 3 => Just("allowlist"), 1 => Just("open")],
        rarely(),
        rarely(),
        rarely(),
        prop::collection::vec(peer, 0..5),
    )
        .prop_map(|(mode, metadata, special_use, proxy, rules)| Network {
            mode,
            metadata,
            special_use,
            proxy,
            rules,
        })
}

fn limits() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    (
        word(&["96MiB", "256MiB"]),
        word(&["32", "64"]),
        word(&["0.5", "1.5"]),
        word(&["1s", "5s"]),
        word(&["6s", "30s"]),
        word(&["32", "64", "256"]),
        word(&["1MiB", "128MiB"]),
        word(&["64KiB", "1MiB"]),
    )
        .prop_map(|(memory, processes, cpus, cpu_time, wall_time, open_files, file_size, output)| {
            let all = [
                ("memory", memory),
                ("processes", processes),
                ("cpus", cpus),
                ("cpu_time", cpu_time),
                ("wall_time", wall_time),
                ("open_files", open_files),
                ("file_size", file_size),
                ("output", output),
            ];
            all.into_iter().filter_map(|(key, word)| word.map(|word| (key, word))).collect()
        })
}

fn part() -> impl Strategy<Value = Part> {
    let group = prop_oneof![
        3 => Just(None),
        3 => select(&["fs/*", "net/*"][..]).prop_map(Some),
        2 => select(&["env/*", "dns/*", "work/*", "res/*", "l7/*", "sys/*", "ns/*", "cap/*"][..]).prop_map(Some),
    ];
    let entry = prop_oneof![3 => Just(None), 1 => select(&["exec", "pty"][..]).prop_map(Some)];
    (group, 0..Part::COUNT, entry).prop_map(|(group, shard, entry)| Part { group, shard, entry })
}

pub(crate) fn cases() -> impl Strategy<Value = Raw> {
    let environment = (some(VARIABLES, 3), some(VALUES, 3));
    let environment = environment.prop_map(|(pass, set)| Environment { pass, set });
    (files(), process(), network(), limits(), environment, part()).prop_map(
        |(files, process, network, limits, environment, part)| Raw {
            files,
            process,
            network,
            limits,
            environment,
            part,
        },
    )
}

impl Part {
    /// Of the probes of all groups together a case tries one part of so many, and three of those of one group.
    const COUNT: u32 = 24;

    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut flag = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        let shard = match self.group {
            Some(group) => {
                flag("--only", group.to_owned());
                format!("{}/{}", self.shard % (Self::COUNT / 3) + 1, Self::COUNT / 3)
            }
            None => format!("{}/{}", self.shard + 1, Self::COUNT),
        };
        flag("--shard", shard);
        if let Some(entry) = self.entry {
            flag("--entry", entry.to_owned());
        }
        arguments
    }
}

/// A policy and the arguments of the `verify` that tries it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) policy: String,
    pub(crate) arguments: Vec<String>,
}

impl Case {
    /// What the language refuses beside what stands before it is left out.
    pub(crate) fn of(raw: &Raw) -> Self {
        let mut kept = raw.clone();
        let is_valid = |raw: &Raw| Document::parse("case.yaml", &text(raw)).is_ok();
        (kept.files.rules, kept.network.rules, kept.files.no_execute) = Default::default();
        // What the policy says beside its lists cannot be refused, except a key that cannot act without them.
        // The changes of a single file cannot be kept apart.
        let is_apart = |rule: &(&str, usize)| {
            raw.files.workspace.is_some() && LISTS[rule.1] == "read_write" && FILES.contains(&rule.0)
        };
        for rule in raw.files.rules.iter().filter(|rule| !is_apart(rule)) {
            keep(&mut kept, is_valid, |raw| &mut raw.files.rules, rule);
        }
        for place in &raw.files.no_execute {
            keep(&mut kept, is_valid, |raw| &mut raw.files.no_execute, place);
        }
        for rule in &raw.network.rules {
            keep(&mut kept, is_valid, |raw| &mut raw.network.rules, rule);
        }
        Self { policy: text(&kept), arguments: raw.part.arguments() }
    }
}

fn keep<T: Clone>(
    kept: &mut Raw,
    is_valid: impl Fn(&Raw) -> bool,
    list: impl Fn(&mut Raw) -> &mut Vec<T>,
    item: &T,
) {
    list(kept).push(item.clone());
    if !is_valid(kept) {
        list(kept).pop();
    }
}

fn text(raw: &Raw) -> String {
    let mut text = "version: 1\non_unavailable: degrade\n".to_owned();
    let mut section = |name: &str, entries: Vec<(String, String)>| {
        if !entries.is_empty() {
            let lines: String = entries.iter().map(|(key, value)| format!("  {key}: {value}\n")).collect();
            // Writing to a String cannot fail.
            let _ = write!(text, "{name}:\n{lines}");
        }
    };
    section("filesystem", filesystem(&raw.files));
    section("process", of_process(&raw.process));
    section("network", of_network(&raw.network));
    section("resources", raw.limits.iter().map(|(key, value)| entry(key, value)).collect());
    section("environment", of_environment(raw));
    text
}

fn entry(key: &str, value: impl ToString) -> (String, String) {
    (key.to_owned(), value.to_string())
}

fn listed(key: &str, items: &[String]) -> Option<(String, String)> {
    (!items.is_empty()).then(|| (key.to_owned(), format!("[{}]", items.join(", "))))
}

fn filesystem(files: &Files) -> Vec<(String, String)> {
    let mut lists: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    lists.entry(LISTS[files.top]).or_default().push(".".to_owned());
    for (path, list) in &files.rules {
        let optional = MISSING.contains(path) && LISTS[*list] != "hidden";
        let shown = if optional { format!("{{ path: {path}, optional: true }}") } else { (*path).to_owned() };
        lists.entry(LISTS[*list]).or_default().push(shown);
    }
    let mut entries: Vec<_> = lists.iter().filter_map(|(list, paths)| listed(list, paths)).collect();
    entries.extend(listed("no_execute", &words(&files.no_execute)));
    entries.extend(files.tmp.map(|size| entry("tmp", size)));
    // There is no private workspace without something to change.
    if let (Some(workspace), true) = (files.workspace, lists.contains_key("read_write")) {
        entries.extend([entry("workspace", workspace), entry("disk", "32MiB")]);
    }
    entries
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn of_process(process: &Process) -> Vec<(String, String)> {
    let mut entries: Vec<_> =
        process.identity.map(|identity| entry("identity", identity)).into_iter().collect();
    entries.extend(listed("capabilities", &words(&process.capabilities)));
    let calls = [("allow", &process.allow), ("deny", &process.deny)];
    let calls = calls.into_iter().filter_map(|(key, names)| listed(key, &words(names)));
    let calls: String = calls.map(|(key, names)| format!(", {key}: {names}")).collect();
    entries.push(entry("syscalls", format!("{{ profile: {}{calls} }}", process.profile)));
    entries.extend(process.nested.then(|| entry("nested_namespaces", "true")));
    entries.extend(process.terminal.map(|terminal| entry("terminal", terminal)));
    entries
}

fn of_network(network: &Network) -> Vec<(String, String)> {
    let mut entries = vec![entry("mode", network.mode)];
    entries.extend(network.metadata.then(|| entry("metadata", "allow")));
    entries.extend(network.special_use.then(|| entry("special_use", "allow")));
    // Nothing is told of a proxy where there is none.
    entries.extend((network.proxy && network.mode != "none").then(|| entry("proxy", "environment")));
    let rules: Vec<String> = network
        .rules
        .iter()
        .map(|Peer { to, ports, udp }| {
            let key = if to.contains('/') { "cidr" } else { "host" };
            let ports = if ports.is_empty() { "any".to_owned() } else { format!("{ports:?}") };
            format!("{{ {key}: \"{to}\", ports: {ports}, protocol: {} }}", if *udp { "udp" } else { "tcp" })
        })
        .collect();
    entries.extend(listed("allow", &rules));
    entries
}

fn of_environment(raw: &Raw) -> Vec<(String, String)> {
    let Environment { pass, set } = &raw.environment;
    let names: BTreeSet<&str> = pass.iter().copied().chain(set.iter().map(|(name, _)| *name)).collect();
    let force: Vec<&str> = names.into_iter().filter(|name| injection::reason(name).is_some()).collect();
    let quoted = |(name, value): &(&str, &str)| format!("{name}: \"{value}\"");
    let values: Vec<String> = set.iter().map(quoted).collect();
    let mut entries: Vec<_> = listed("pass", &words(pass)).into_iter().collect();
    entries.extend((!values.is_empty()).then(|| entry("set", format!("{{ {} }}", values.join(", ")))));
    entries.extend(listed("force", &words(&force)));
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest! {
        #[test]
        fn each_is_a_policy(raw in cases()) {
            let case = Case::of(&raw);
            let parsed = Document::parse("case.yaml", &case.policy);
            prop_assert!(parsed.is_ok(), "{}\n{}", parsed.unwrap_err(), case.policy);
        }
    }
}

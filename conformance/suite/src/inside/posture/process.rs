//! The process itself: descriptors, environment, filters, labels.

use std::collections::BTreeSet;
use std::fs;
use std::io::IsTerminal as _;

use super::super::{Finding, Verdict::*};
use super::{field, of_file, read};
use crate::catalogue::Severity::{High, Low, Medium};

pub(super) fn look() -> Vec<Finding> {
    vec![
        descriptors(),
        terminal(),
        secrets(),
        agents(),
        no_new_privileges(),
        filter(),
        everybody("ps/filters", "processes in sight without a filter", "Seccomp"),
        everybody("ps/no-new-privileges", "processes in sight that can gain privilege", "NoNewPrivs"),
        label(),
        landlock(),
        dumpable(),
    ]
}

/// Those that a parent left open. What this program opens itself it opens with O_CLOEXEC.
fn descriptors() -> Finding {
    let finding = Finding::new("fd/inherited", Medium, "descriptors beside the standard ones", Unknown, "");
    let listed = match fs::read_dir("/proc/self/fd") {
        Ok(listed) => listed,
        Err(error) => return finding.is(Unknown, format!("/proc/self/fd: {error}")),
    };
    let inherited = |number: u32| {
        let target = fs::read_link(format!("/proc/self/fd/{number}")).ok()?;
        let told = read(&format!("/proc/self/fdinfo/{number}")).ok()?;
        // O_CLOEXEC of fcntl.h; fdinfo tells the flags in octal (proc_pid_fdinfo(5)).
        let flags = u32::from_str_radix(field(&told, "flags")?, 8).ok()?;
        (flags & 0o2_000_000 == 0).then(|| format!("{number} -> {}", target.display()))
    };
    let numbers: BTreeSet<u32> =
        listed.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let extra: Vec<String> = numbers.into_iter().filter(|number| *number > 2).filter_map(inherited).collect();
    finding.open_with(&extra)
}

fn terminal() -> Finding {
    let held = [
        ("input", std::io::stdin().is_terminal()),
        ("output", std::io::stdout().is_terminal()),
        ("error", std::io::stderr().is_terminal()),
    ];
    let held: Vec<String> = held.iter().filter(|(_, is)| *is).map(|(name, _)| (*name).to_owned()).collect();
    let finding = Finding::new("tty/held", Medium, "a terminal as a standard descriptor", Closed, "none");
    match held.as_slice() {
        [] => finding,
        held => {
            finding.is(Unknown, format!("standard {}", held.join(", "))).note("whose it is cannot be told")
        }
    }
}

/// Parts of names that are those of secrets as a rule.
const SECRET: &[&str] = &[
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "API_KEY",
    "APIKEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "CREDENTIAL",
];

/// Names of variables that lead to somebody who acts for the user.
const AGENTS: &[&str] = &[
    "DBUS_SESSION_BUS_ADDRESS",
    "DOCKER_HOST",
    "GPG_AGENT_INFO",
    "SSH_AUTH_SOCK",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
];

/// The names of the environment alone: what they hold is nobody's business here.
fn names(wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| wanted(name)).collect();
    names.sort();
    names
}

fn secrets() -> Finding {
    let found = names(|name| SECRET.iter().any(|part| name.to_uppercase().contains(part)));
    let finding = Finding::new("env/secrets", High, "variables that are named as secrets are", Closed, "");
    finding.open_with(&found).note("by their names alone")
}

fn agents() -> Finding {
    let found = names(|name| AGENTS.contains(&name));
    let finding = Finding::new("env/agents", Medium, "variables that lead to agents and daemons", Closed, "");
    finding.open_with(&found).note("whether somebody answers was not tried")
}

fn no_new_privileges() -> Finding {
    let finding = Finding::new("cap/no-new-privs", High, "executing a file can give privilege", Unknown, "");
    of_file(finding, "/proc/self/status", |finding, status| match field(status, "NoNewPrivs") {
        Some("1") => finding.is(Closed, "no_new_privs is set"),
        Some(value) => finding.is(Open, format!("no_new_privs is {value}")),
        None => finding.is(Unknown, "/proc/self/status does not say"),
    })
}

fn filter() -> Finding {
    let finding = Finding::new("sys/filter", High, "no filter of system calls", Unknown, "");
    of_file(finding, "/proc/self/status", |finding, status| match field(status, "Seccomp") {
        Some("0") => finding.is(Open, "seccomp mode 0"),
        Some(mode) => {
            let count = field(status, "Seccomp_filters").unwrap_or("an unknown number of");
            let closed = finding.is(Closed, format!("seccomp mode {mode}, {count} filters"));
            closed.note("what they refuse cannot be read; the attempts show a part of it")
        }
        None => finding.is(Unknown, "/proc/self/status does not say"),
    })
}

/// A line of the status of every thread that `/proc` shows: open where it is 0 for one of them.
fn everybody(id: &str, about: &'static str, name: &str) -> Finding {
    let mut values: BTreeSet<String> = BTreeSet::new();
    let mut threads = 0;
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if !process.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        for thread in fs::read_dir(process.path().join("task")).into_iter().flatten().flatten() {
            let Ok(status) = read(&thread.path().join("status").to_string_lossy()) else { continue };
            threads += 1;
            values.insert(field(&status, name).unwrap_or("missing").to_owned());
        }
    }
    let finding = Finding::new(id, Low, about, Unknown, "/proc shows no thread");
    let seen = || format!("{name} is {} in {threads} threads", Vec::from_iter(values.clone()).join(" or "));
    match threads {
        0 => finding,
        _ if values.contains("0") => finding.is(Open, seen()),
        _ => finding.is(Closed, seen()),
    }
}

fn label() -> Finding {
    let finding = Finding::new("proc/label", Low, "not confined by a label (AppArmor, SELinux)", Unknown, "");
    of_file(finding, "/proc/self/attr/current", |finding, label| match label.trim_end_matches(['\0', '\n']) {
        "" => finding.is(Unknown, "no label"),
        label if label.contains("unconfined") => finding.is(Open, format!("label {label}")),
        label => finding.is(Closed, format!("label {label}")).note("what it forbids cannot be read"),
    })
}

fn landlock() -> Finding {
    let why = "the kernel does not tell a process whether it is";
    Finding::new("proc/landlock", Low, "not confined by Landlock", Unknown, why)
}

fn dumpable() -> Finding {
    let why = "execve sets it again (prctl(2), PR_SET_DUMPABLE): that of this program is not that of others";
    Finding::new("ps/dumpable", Low, "processes that their user can look into", Unknown, why)
}

#[cfg(test)]
mod tests {
    use super::super::some;

    #[test]
    fn a_few_are_told_and_the_rest_counted() {
        let items: Vec<String> = (0..8).map(|number| number.to_string()).collect();
        assert_eq!(some(&items), "0, 1, 2, 3, 4, 5 and 2 more");
        assert_eq!(some(&items[..2]), "0, 1");
    }
}

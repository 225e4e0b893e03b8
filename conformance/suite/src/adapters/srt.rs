//! srt(1) of @anthropic-ai/sandbox-runtime, with a file of settings: bubblewrap, a filter, and proxies for names that are allowed.

use std::collections::BTreeMap;
use std::process::Command;

use palisade_policy::{Access, Base, NetworkMode, Peer, Policy, Ports};
use serde_json::json;

use super::parts::{
    ETC, as_bubblewrap, limited, no_groups, no_ids, no_namespaces, no_view_of_proc, present, program, rarely,
    rules, timed, tried, with_environment, without_groups,
};
use super::{Adapter, Case, Exit, Inexpressible, Invocation, Item, PolicySource};

/// Exit code of timeout(1) when the time was up.
const OUT_OF_TIME: i32 = 124;

/// `srt` as found in `PATH`.
#[derive(Clone, Copy, Debug)]
pub struct Srt;

impl Adapter for Srt {
    fn name(&self) -> &'static str {
        "srt"
    }

    fn detect(&self) -> Result<String, String> {
        let version = super::version(Command::new("srt").arg("--version"))?;
        let mut command = Command::new("srt");
        // Without settings of the caller's nothing may be written and no host reached.
        command.env("HOME", "/nonexistent").current_dir("/usr");
        tried(format!("srt {version}"), command.args(["-c", "/bin/true"]))
    }

    fn translate(&self, policy: PolicySource<'_>, case: Case<'_>) -> Result<Invocation, Inexpressible> {
        let settings = case.scratch.join("settings.json");
        let mut argv = timed(case);
        argv.extend(without_groups(case));
        // Temporary files go to /tmp itself, which is allowed; else it would expect a directory that somebody has to make.
        argv.extend(with_environment(
            policy,
            &["HOME=/tmp", "CLAUDE_CODE_TMPDIR=/tmp", "CLAUDE_TMPDIR=/tmp"],
        ));
        argv.extend(limited(policy));
        argv.extend([program("srt"), "--settings".into(), settings.clone().into()]);
        // Words of a command are joined by spaces and given to a shell: quoted here, so that they stay the words that they are.
        let words: Vec<String> = case.argv.iter().map(|word| quoted(word)).collect();
        argv.extend(["-c".into(), format!("exec {}", words.join(" ")).into()]);
        let text = settings_for(policy.policy, case)?;
        let items = vec![Item::File(settings, text.into_bytes())];
        Ok(Invocation { argv, env: Vec::new(), cwd: case.cwd.to_owned(), items })
    }

    fn exit(&self, code: i32) -> Exit {
        match code {
            OUT_OF_TIME => Exit::OutOfTime,
            code => Exit::Workload(code),
        }
    }

    fn inexpressible(&self, policy: &Policy) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let mut cannot = |clause: &str, why: &str| {
            all.insert(clause.to_owned(), why.to_owned());
        };
        cannot("process.syscalls", "its filter is one of its own, about Unix sockets and namespaces");
        rarely(policy, &mut cannot);
        no_ids(&mut cannot);
        no_groups(policy, &mut cannot);
        as_bubblewrap(&mut cannot);
        no_namespaces(&mut cannot, &["cgroup", "ipc", "uts"]);
        cannot("env/only-declared", "it sets variables of its own, for its proxies");
        no_view_of_proc(&mut cannot);
        cannot("ns/nested-disabled", "its filter refuses them, and the limit is left");
        cannot("filesystem.tmp", "/tmp is the host's, or cannot be written");
        cannot("resources.wall_time", "it keeps no time; timeout(1) ends it from outside");
        if policy.network.mode == NetworkMode::Open {
            cannot("network", "its proxies let names through that are listed; all of them cannot be");
        }
        if policy.network.mode == NetworkMode::Allowlist {
            cannot(
                "network.allow",
                "names go through proxies that programs have to be told of; ranges and UDP do not",
            );
        }
        if !policy.filesystem.no_execute.is_empty() {
            cannot("filesystem.no_execute", "reading and writing can be denied, executing cannot");
        }
        all
    }
}

/// The settings: everything is denied to be read, and what the policy shows is allowed again.
fn settings_for(policy: &Policy, case: Case<'_>) -> Result<String, Inexpressible> {
    let mut read: Vec<String> = Vec::new();
    let mut write = vec!["/tmp".to_owned()];
    // What is a file system of its own has to be named.
    let mut denied = vec!["/".to_owned(), "/sys".to_owned()];
    let mut not_written = Vec::new();
    if policy.filesystem.base == Base::Host {
        read.push("/usr".to_owned());
        read.extend(present(ETC).map(str::to_owned));
    }
    for (access, path) in rules(policy, case)? {
        let path = path.display().to_string();
        match access {
            Access::ReadOnly => {
                read.push(path.clone());
                not_written.push(path);
            }
            Access::ReadWrite => {
                read.push(path.clone());
                write.push(path);
            }
            Access::Hidden => denied.push(path),
        }
    }
    read.push("/tmp".to_owned());
    let allowed = policy.network.allow.iter().flat_map(|rule| match (&rule.peer, &rule.ports) {
        (Peer::Host(name), Ports::List(ports)) => ports.iter().map(|port| format!("{name}:{port}")).collect(),
        (Peer::Host(name), Ports::Any) => vec![name.clone()],
        (Peer::Cidr(_), _) => Vec::new(),
    });
    let allowed: Vec<String> = match policy.network.mode {
        NetworkMode::Allowlist => allowed.collect(),
        _ => Vec::new(),
    };
    let settings = json!({
        "network": { "allowedDomains": allowed, "deniedDomains": [] },
        "filesystem": { "denyRead": denied, "allowRead": read, "allowWrite": write, "denyWrite": not_written },
        "allowNestedUserNamespaces": policy.process.nested_namespaces,
    });
    Ok(format!("{settings:#}\n"))
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

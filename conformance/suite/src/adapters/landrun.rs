//! landrun: Landlock by one command line, and nothing but Landlock.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Command;

use palisade_policy::{Access, Base, NetworkMode, Peer, Policy, Ports};

use super::parts::{
    ETC, PATH, limited, no_groups, no_ids, no_namespaces, present, rarely, rules, timed, tried,
};
use super::{Adapter, Case, Exit, Inexpressible, Invocation, PolicySource};

/// Exit code of timeout(1) when the time was up.
const OUT_OF_TIME: i32 = 124;

/// `landrun` as found in `PATH`.
#[derive(Clone, Copy, Debug)]
pub struct Landrun;

impl Adapter for Landrun {
    fn name(&self) -> &'static str {
        "landrun"
    }

    fn detect(&self) -> Result<String, String> {
        let version = super::version(Command::new("landrun").arg("--version"))?;
        tried(version, Command::new("landrun").args(["--rox", "/usr", "--", "/usr/bin/true"]))
    }

    fn translate(&self, policy: PolicySource<'_>, case: Case<'_>) -> Result<Invocation, Inexpressible> {
        let mut argv = timed(case);
        argv.extend(limited(policy));
        let policy = policy.policy;
        let mut say = |words: &[&str]| argv.extend(words.iter().map(OsString::from));
        // What the kernel lacks is an error, and only errors are told.
        say(&["landrun", "--log-level", "error"]);
        if policy.filesystem.base == Base::Host {
            say(&["--rox", "/usr"]);
            present(ETC).for_each(|path| say(&["--ro", path]));
        }
        // There is no view of its own: what is there is the host's.
        say(&["--ro", "/proc", "--rwx", "/tmp"]);
        for device in ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"] {
            say(&["--rw", device]);
        }
        let resolved = policy.filesystem.resolve(case.cwd).unwrap_or_default();
        let executes =
            |path: &std::path::Path| !resolved.no_execute().iter().any(|entry| path.starts_with(&entry.path));
        for (access, path) in rules(policy, case)? {
            let flag = match (access, executes(&path)) {
                (Access::ReadOnly, true) => "--rox",
                (Access::ReadOnly, false) => "--ro",
                (Access::ReadWrite, true) => "--rwx",
                (Access::ReadWrite, false) => "--rw",
                // What is not named is denied, but for what is below something that is.
                (Access::Hidden, _) => continue,
            };
            say(&[flag, &path.display().to_string()]);
        }
        match policy.network.mode {
            // No TCP port may be bound or connected to.
            NetworkMode::None => {}
            NetworkMode::Open => say(&["--unrestricted-network"]),
            NetworkMode::Allowlist => {
                for rule in &policy.network.allow {
                    if let Ports::List(ports) = &rule.ports {
                        ports.iter().for_each(|port| say(&["--connect-tcp", &port.to_string()]));
                    }
                }
            }
        }
        // The caller's variables are not passed on unless they are named.
        say(&["--env", &format!("PATH={PATH}"), "--env", "HOME=/tmp"]);
        policy.environment.set.iter().for_each(|(name, value)| say(&["--env", &format!("{name}={value}")]));
        say(&["--"]);
        argv.extend(case.argv.iter().map(Into::into));
        Ok(Invocation { argv, env: Vec::new(), cwd: case.cwd.to_owned(), items: Vec::new() })
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
        rarely(policy, &mut cannot);
        no_groups(policy, &mut cannot);
        no_ids(&mut cannot);
        no_namespaces(&mut cannot, &["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"]);
        cannot("filesystem.tmp", "/tmp is the host's");
        cannot("process.syscalls", "landrun has no filter");
        cannot("process.nested_namespaces", "Landlock says nothing about namespaces");
        cannot("process.capabilities", "landrun leaves the caller's capabilities");
        cannot("resources.wall_time", "it keeps no time; timeout(1) ends it from outside");
        if policy.network.mode == NetworkMode::None {
            cannot("net/udp/*", "Landlock says something about TCP only");
        }
        if policy.network.allow.iter().any(|rule| matches!(rule.peer, Peer::Host(_) | Peer::Cidr(_))) {
            cannot("network", "Landlock knows ports and no addresses");
        }
        if policy.filesystem.rules.iter().any(|rule| rule.access == Access::Hidden) {
            cannot("filesystem.hidden", "Landlock cannot deny below what it allows");
        }
        all
    }
}

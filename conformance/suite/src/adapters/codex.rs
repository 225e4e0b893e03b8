//! `codex sandbox` of @openai/codex, with a permission profile of its own (config.toml): bubblewrap and a filter, without the agent.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use palisade_policy::{Access, Base, NetworkMode, Policy};

use super::parts::{
    as_bubblewrap, limited, no_groups, no_ids, no_namespaces, no_view_of_proc, program, rarely, rules, timed,
    tried, with_environment, without_groups,
};
use super::{Adapter, Case, Exit, Inexpressible, Invocation, Item, PolicySource};
use crate::lab::world::BASE;

/// Exit code of timeout(1) when the time was up.
const OUT_OF_TIME: i32 = 124;

/// The name of the profile.
const PROFILE: &str = "palisade";

/// Files of /etc that programs do not need, and that tell what others must not know.
const SECRETS: &[&str] = &[
    "/etc/cron.d",
    "/etc/crontab",
    "/etc/environment",
    "/etc/fstab",
    "/etc/gshadow",
    "/etc/shadow",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/sudoers",
    "/etc/sudoers.d",
];

/// `codex` as found in `PATH`.
#[derive(Clone, Copy, Debug)]
pub struct Codex;

impl Adapter for Codex {
    fn name(&self) -> &'static str {
        "codex"
    }

    fn detect(&self) -> Result<String, String> {
        let version = super::version(Command::new("codex").arg("--version"))?;
        // Where it may have a home for the moment, and no configuration of the caller's.
        let home = Path::new(BASE).join("runtimes/trial-codex");
        std::fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
        let mut command = Command::new("codex");
        command.env("HOME", &home).env("CODEX_HOME", &home).current_dir("/usr");
        let found = tried(version, command.args(["sandbox", "-P", ":read-only", "--", "/bin/true"]));
        let _ = std::fs::remove_dir_all(&home);
        found
    }

    fn translate(&self, policy: PolicySource<'_>, case: Case<'_>) -> Result<Invocation, Inexpressible> {
        let home = case.scratch.display().to_string();
        // It puts a link to itself into its home, which must not be below the system's directory for temporary files, and shows the
        // link to the workload. No configuration of the caller's is there.
        let home = [format!("HOME={home}"), format!("CODEX_HOME={home}")];
        let mut argv = timed(case);
        argv.extend(without_groups(case));
        argv.extend(with_environment(policy, &[&home[0], &home[1]]));
        argv.extend(limited(policy));
        argv.push(program("codex"));
        argv.extend(["sandbox", "-P", PROFILE, "--"].map(Into::into));
        argv.extend(case.argv.iter().map(Into::into));
        let config = Item::File(case.scratch.join("config.toml"), profile(policy.policy, case)?.into_bytes());
        Ok(Invocation { argv, env: Vec::new(), cwd: case.cwd.to_owned(), items: vec![config] })
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
        cannot("process.syscalls", "its filter is one of its own, about the network and tracing");
        rarely(policy, &mut cannot);
        no_ids(&mut cannot);
        no_groups(policy, &mut cannot);
        as_bubblewrap(&mut cannot);
        no_namespaces(&mut cannot, &["cgroup", "uts"]);
        cannot("env/only-declared", "it sets variables of its own");
        no_view_of_proc(&mut cannot);
        cannot("ns/nested-disabled", "no permission is about namespaces");
        cannot("process.nested_namespaces", "no permission is about namespaces");
        cannot("filesystem.tmp", "/tmp is the host's, or is not there");
        cannot("resources.wall_time", "it keeps no time; timeout(1) ends it from outside");
        if policy.network.mode != NetworkMode::None {
            cannot("network", "names are allowed through a proxy that programs have to be told of");
        }
        if !policy.filesystem.no_execute.is_empty() {
            cannot("filesystem.no_execute", "an access is read, write or deny");
        }
        all
    }
}

/// The permission profile: what is not named cannot be read.
fn profile(policy: &Policy, case: Case<'_>) -> Result<String, Inexpressible> {
    let mut text = format!("[permissions.{PROFILE}.filesystem]\n");
    let mut may = |path: &str, access: &str| {
        let quoted = path.replace('\\', "\\\\").replace('"', "\\\"");
        // Writing to a text cannot fail.
        let _ = writeln!(text, "\"{quoted}\" = \"{access}\"");
    };
    if policy.filesystem.base == Base::Host {
        // The system's directories, with the whole of /etc: through one that is denied nobody gets to a file in it that is allowed.
        may(":minimal", "read");
        SECRETS.iter().for_each(|path| may(path, "deny"));
        may("/sys", "deny");
    }
    may("/tmp", "write");
    for (access, path) in rules(policy, case)? {
        let access = match access {
            Access::ReadOnly => "read",
            Access::ReadWrite => "write",
            Access::Hidden => "deny",
        };
        may(&path.display().to_string(), access);
    }
    let open = policy.network.mode == NetworkMode::Open;
    let _ = writeln!(text, "\n[permissions.{PROFILE}.network]\nenabled = {open}");
    Ok(text)
}

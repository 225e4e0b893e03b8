//! The options that docker-run(1) and podman-run(1) have in common, and what neither has.

use std::collections::BTreeMap;
use std::path::Path;

use palisade_policy::{Identity, NetworkMode, Policy, Workspace};

use super::Case;

/// The last lines of both manual pages: what the engine itself ends with.
pub(super) const ENGINE_FAILED: i32 = 125;

/// What both are told the same way, `groups` where the engine makes control groups.
pub(super) fn options(policy: &Policy, case: Case<'_>, groups: bool, filter: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut say = |words: &[&str]| all.extend(words.iter().map(|word| (*word).to_owned()));
    // Gone afterwards. Standard input is the workload's. A first process that reaps, and through which signals end the workload.
    say(&["--rm", "--interactive", "--init"]);
    say(&["--network", if policy.network.mode == NetworkMode::Open { "host" } else { "none" }]);
    say(&["--read-only", "--hostname", "palisade", "--cap-drop", "ALL"]);
    policy.process.capabilities.iter().for_each(|name| say(&["--cap-add", name.trim_start_matches("CAP_")]));
    say(&["--security-opt", "no-new-privileges", "--security-opt", &format!("seccomp={filter}")]);
    let limits = &policy.resources;
    for (name, limit) in
        [("nofile", u64::from(limits.open_files)), ("fsize", limits.file_size.bytes()), ("core", 0)]
    {
        say(&["--ulimit", &format!("{name}={limit}:{limit}")]);
    }
    if let Some(time) = limits.cpu_time {
        let seconds = time.as_secs().max(1);
        say(&["--ulimit", &format!("cpu={seconds}:{seconds}")]);
    }
    if groups {
        say(&["--pids-limit", &limits.processes.to_string()]);
        if let Some(memory) = limits.memory {
            // Without swap on top of it.
            let bytes = format!("{}b", memory.bytes());
            say(&["--memory", &bytes, "--memory-swap", &bytes]);
        }
        if let Some(thousandths) = limits.millicpus {
            say(&["--cpus", &format!("{}.{:03}", thousandths / 1000, thousandths % 1000)]);
        }
    }
    say(&["--env", "PATH=/usr/local/bin:/usr/bin:/bin", "--env", "HOME=/tmp"]);
    // A name alone takes the caller's value.
    policy.environment.pass.iter().for_each(|name| say(&["--env", name]));
    policy.environment.set.iter().for_each(|(name, value)| say(&["--env", &format!("{name}={value}")]));
    say(&["--shm-size", &format!("{}b", policy.filesystem.tmp.bytes())]);
    say(&["--workdir", &case.cwd.display().to_string()]);
    all
}

/// Who the workload is inside.
pub(super) fn user(policy: &Policy) -> &'static str {
    if policy.process.identity == Identity::User { "1000:1000" } else { "0:0" }
}

/// The option of a tmpfs on /tmp. Both make it noexec unless told otherwise.
pub(super) fn tmp(policy: &Policy, no_execute: bool) -> String {
    let execute = if no_execute { "noexec" } else { "exec" };
    format!("/tmp:rw,nosuid,nodev,{execute},mode=1777,size={}", policy.filesystem.tmp.bytes())
}

/// What neither has a means for, and what there is none for without groups.
pub(super) fn inexpressible(policy: &Policy, groups: bool) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut cannot = |clause: &str, why: &str| {
        all.insert(clause.to_owned(), why.to_owned());
    };
    let limits = &policy.resources;
    for (clause, asked) in [
        ("resources.processes", true),
        ("resources.memory", limits.memory.is_some()),
        ("resources.cpus", limits.millicpus.is_some()),
    ] {
        if asked && !groups {
            cannot(clause, "the engine makes no control group for this user here");
        }
    }
    if limits.cpu_time.is_some() {
        cannot("resources.cpu_time", "the engine has RLIMIT_CPU, for one process");
    }
    if limits.output.is_some() {
        cannot("resources.output", "the engine counts nothing that a workload prints");
    }
    if policy.network.mode != NetworkMode::None {
        for clause in
            ["network.mode", "network.allow", "network.metadata", "network.special_use", "network.dns"]
        {
            cannot(clause, "the engine plumbs networks, and filters nothing in them by peer or name");
        }
    }
    if policy.filesystem.workspace != Workspace::Direct {
        cannot("filesystem.workspace", "an overlay is as large as the file system of its upper directory");
    }
    all
}

/// Whether a policy says of anything but /tmp that nothing there is executed.
pub(super) fn no_execute_elsewhere(policy: &Policy) -> bool {
    policy.filesystem.no_execute.iter().any(|entry| entry.path != Path::new("/tmp"))
}

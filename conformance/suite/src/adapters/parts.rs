//! What the adapters of several runtimes say in the same words.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use palisade_policy::{Access, Policy, Workspace};

use super::{Case, Inexpressible, PolicySource};

/// What programs need of /etc, for a runtime that shows files of the host and none of its own.
pub(super) const ETC: &[&str] = &[
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/group",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
];

/// Where programs are looked for inside.
pub(super) const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A program that an ordinary user may have somewhere below a directory of his own (`scripts/peers`): by absolute path if the suite
/// finds it in a directory that the lab's `PATH` does not have. Snapshots have the name.
pub(super) fn program(name: &str) -> OsString {
    const USUAL: &[&str] = &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let path = std::env::var_os("PATH").filter(|_| !cfg!(test)).unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found = directories.iter().find(|directory| directory.join(name).is_file());
    match found.filter(|directory| {
        directory.is_absolute() && !USUAL.iter().any(|usual| directory == &Path::new(usual))
    }) {
        Some(directory) => directory.join(name).into(),
        None => name.into(),
    }
}

/// The probes about ids, for a runtime whose workload has the ids of its caller.
const IDS: &[&str] = &[
    "cap/gid-effective",
    "cap/setgid0",
    "cap/setuid0",
    "cap/uid-effective",
    "exec/gid",
    "exec/uid",
    "ns/gid-map-no-host-root",
    "ns/uid-map-no-host-root",
];

/// Says of these probes that a runtime has no means.
pub(super) fn cannot_all(cannot: &mut dyn FnMut(&str, &str), patterns: &[&str], why: &str) {
    patterns.iter().for_each(|pattern| cannot(pattern, why));
}

/// Says what a runtime has no means for that leaves to bubblewrap what is handed on to the workload, and what its mounts are.
pub(super) fn as_bubblewrap(cannot: &mut dyn FnMut(&str, &str)) {
    let handed = ["fd/leaked-*", "fd/no-*", "fd/only-stdio", "posture/descriptors"];
    cannot_all(cannot, &handed, "it hands on every descriptor of its caller");
    let streams = ["fd/std*-reopen-*", "fd/std*-device-*"];
    cannot_all(cannot, &streams, "it hands on the caller's own standard streams");
    let mounts = ["mnt/propagation", "posture/mount/propagation"];
    cannot_all(cannot, &mounts, "it leaves its mounts slaves of the host's");
    cannot_all(cannot, &["mnt/noexec", "fs/exec/*"], "nothing can be said to be noexec");
    cannot("res/tmpfs/*", "no size of a file system can be said");
    cannot("ns/domainname-own", "it sets no NIS domain name");
    cannot("life/sig*-forwarded", "it passes on no signal: it ends by it, and the sandbox with it");
}

/// Says that a runtime mounts /proc last, over whatever it was told to put there, and writable.
pub(super) fn no_view_of_proc(cannot: &mut dyn FnMut(&str, &str)) {
    let all = ["proc/mask/*", "proc/mask-bypass/*", "proc/read/*", "proc/self/*-write", "proc/write/*"];
    cannot_all(cannot, &all, "it mounts a /proc of its own over what is said about places in it");
}

/// Says that a runtime makes no namespace of these kinds.
pub(super) fn no_namespaces(cannot: &mut dyn FnMut(&str, &str), kinds: &[&str]) {
    for kind in kinds {
        let why = format!("it makes no {kind} namespace");
        for group in ["posture/namespace/", "ns/own/", "exec/namespace-"] {
            cannot(&format!("{group}{kind}"), &why);
        }
        if *kind == "uts" {
            cannot("ns/hostname-own", &why);
        }
    }
}

/// Says that a runtime has no means to give the workload other ids than those of its caller.
pub(super) fn no_ids(cannot: &mut dyn FnMut(&str, &str)) {
    IDS.iter().for_each(|probe| cannot(probe, "the workload has the ids of whoever started it"));
}

/// Says what a runtime has no means for that makes no control group and only limits each process.
pub(super) fn no_groups(policy: &Policy, cannot: &mut dyn FnMut(&str, &str)) {
    const NO_GROUP: &str = "it makes no control group";
    cannot("resources.processes", NO_GROUP);
    for (clause, asked) in [
        ("resources.memory", policy.resources.memory.is_some()),
        ("resources.cpus", policy.resources.millicpus.is_some()),
        ("resources.cpu_time", policy.resources.cpu_time.is_some()),
    ] {
        if asked {
            cannot(clause, NO_GROUP);
        }
    }
}

/// Says what of a policy none of these runtimes has means for.
pub(super) fn rarely(policy: &Policy, cannot: &mut dyn FnMut(&str, &str)) {
    cannot("process.terminal", "it gives no terminal of the sandbox's own");
    if policy.resources.output.is_some() {
        cannot("resources.output", "output is not counted");
    }
    if policy.filesystem.workspace != Workspace::Direct {
        cannot("filesystem.workspace", "the changes are not kept apart, and are not bounded");
    }
    if !policy.environment.pass.is_empty() {
        cannot("environment.pass", "which value a variable has only the calling shell knows");
    }
}

/// One path of the policy that is there, with what may be done below it.
pub(super) type Rule = (Access, PathBuf);

/// The rules of the policy about what is there, what is deeper later: a later mount covers an earlier one.
pub(super) fn rules(policy: &Policy, case: Case<'_>) -> Result<Vec<Rule>, Inexpressible> {
    let resolved = policy.filesystem.resolve(case.cwd).map_err(|errors| Inexpressible {
        clause: "filesystem".to_owned(),
        why: errors.first().map(ToString::to_string).unwrap_or_default(),
    })?;
    let there = resolved.rules().iter().filter(|rule| !rule.entry.optional || rule.entry.path.exists());
    Ok(there.map(|rule| (rule.access, rule.entry.path.clone())).collect())
}

/// Those of them that this host has. For snapshots, which are of no host, all of them.
pub(super) fn present(paths: &[&'static str]) -> impl Iterator<Item = &'static str> {
    paths.iter().copied().filter(|path| cfg!(test) || Path::new(path).exists())
}

/// setpriv(1) around the rest, where the caller is root: a runtime that keeps the groups of its caller is started without any.
pub(super) fn without_groups(case: Case<'_>) -> Vec<OsString> {
    if case.root { vec!["setpriv".into(), "--clear-groups".into()] } else { Vec::new() }
}

/// A time for a runtime that counts whole seconds: not less, and never none.
pub(super) fn whole_seconds(time: Duration) -> u128 {
    time.as_millis().div_ceil(1000).max(1)
}

/// timeout(1) around the rest, where there is a time to keep. Its exit code is 124 then.
pub(super) fn timed(case: Case<'_>) -> Vec<OsString> {
    case.wall_time.map_or_else(Vec::new, |time| {
        vec!["timeout".into(), "--kill-after=1s".into(), format!("{}s", time.as_secs_f64()).into()]
    })
}

/// prlimit(1) around the rest: the limits of a process, which whatever it starts inherits. Not RLIMIT_NPROC: the kernel counts all
/// processes of the user, on the whole host.
pub(super) fn limited(policy: PolicySource<'_>) -> Vec<OsString> {
    let resources = &policy.policy.resources;
    vec![
        "prlimit".into(),
        format!("--nofile={}", resources.open_files).into(),
        format!("--fsize={}", resources.file_size.bytes()).into(),
        "--core=0".into(),
    ]
}

/// env(1) around the rest: the variables that the policy names, and nothing of the caller's.
pub(super) fn with_environment(policy: PolicySource<'_>, more: &[&str]) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["env".into(), "-i".into(), format!("PATH={PATH}").into()];
    let set = policy.policy.environment.set.iter();
    words.extend(more.iter().map(Into::into));
    words.extend(set.map(|(name, value)| format!("{name}={value}").into()));
    words
}

/// The version, if the command that should run a harmless program does so.
///
/// # Errors
/// With the last line of what it says.
pub(super) fn tried(version: String, command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("run {version}: {error}"))?;
    if output.status.success() {
        return Ok(version);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
    Err(format!("{version} runs nothing here: {last}"))
}

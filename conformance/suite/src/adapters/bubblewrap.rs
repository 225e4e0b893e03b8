//! bubblewrap (bwrap(1)), by the command line that somebody who knows it well would write for the policy, with the tools that are
//! usual beside it: prlimit(1) for limits of a process, timeout(1) for the time.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use palisade_policy::{Access, Base, NetworkMode, Policy, Workspace};

use super::etc;
use super::{Adapter, Case, Exit, Inexpressible, Invocation, Item, PolicySource};
use crate::catalogue::proc::MASKED;

/// Exit code of timeout(1) when the time was up.
const OUT_OF_TIME: i32 = 124;

/// `bwrap` as found in `PATH`.
#[derive(Clone, Copy, Debug)]
pub struct Bubblewrap;

impl Adapter for Bubblewrap {
    fn name(&self) -> &'static str {
        "bubblewrap"
    }

    fn detect(&self) -> Result<String, String> {
        super::version(Command::new("bwrap").arg("--version"))
    }

    fn translate(&self, policy: PolicySource<'_>, case: Case<'_>) -> Result<Invocation, Inexpressible> {
        let policy = policy.policy;
        let mut argv: Vec<OsString> = Vec::new();
        let mut items: Vec<Item> = Vec::new();
        let mut say = |words: &[&str]| argv.extend(words.iter().map(OsString::from));
        if let Some(time) = case.wall_time {
            // What is inside ends with bwrap: see --die-with-parent.
            say(&["timeout", &format!("{}s", time.as_secs_f64())]);
        }
        if case.root {
            // bwrap keeps the caller's groups.
            say(&["setpriv", "--clear-groups"]);
        }
        // The first process of the sandbox is bwrap itself, whose environment can be read in there. What the policy passes on is set
        // by name below.
        say(&["env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin"]);
        let resources = &policy.resources;
        // RLIMIT_NPROC is left out: the kernel counts all processes of the user, on the whole host.
        say(&["prlimit", &format!("--nofile={}", resources.open_files), "--core=0"]);
        say(&[&format!("--fsize={}", resources.file_size.bytes()), "bwrap"]);
        // Every namespace there is; the network is left only where the policy leaves all of it.
        say(&["--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup"]);
        if policy.network.mode != NetworkMode::Open {
            say(&["--unshare-net"]);
        }
        if !policy.process.nested_namespaces {
            say(&["--disable-userns"]);
        }
        // The sandbox ends with whoever started it, and cannot type on their terminal (CVE-2017-5226).
        say(&["--die-with-parent", "--new-session", "--hostname", "palisade"]);
        let id = etc::id(policy);
        say(&["--uid", id, "--gid", id, "--cap-drop", "ALL"]);
        policy.process.capabilities.iter().for_each(|name| say(&["--cap-add", name]));
        say(&["--clearenv", "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin", "--setenv", "HOME", "/tmp"]);
        policy.environment.set.iter().for_each(|(name, value)| say(&["--setenv", name, value]));
        if policy.filesystem.base == Base::Host {
            say(&["--ro-bind", "/usr", "/usr"]);
            for (target, link) in
                [("usr/bin", "/bin"), ("usr/lib", "/lib"), ("usr/lib64", "/lib64"), ("usr/sbin", "/sbin")]
            {
                say(&["--symlink", target, link]);
            }
            for path in etc::OF_HOST {
                say(&["--ro-bind-try", path, path]);
            }
            for (item, source, target) in etc::files(policy, case.scratch) {
                items.push(item);
                say(&["--ro-bind", &source.display().to_string(), &target.display().to_string()]);
            }
            say(&["--symlink", "/tmp", "/var/tmp"]);
        }
        let tmp = policy.filesystem.tmp.bytes().to_string();
        say(&["--proc", "/proc", "--dev", "/dev", "--size", &tmp, "--perms", "1777", "--tmpfs", "/tmp"]);
        // What tells of the host is covered where this kernel has it, as container runtimes do; bwrap itself makes read-only what
        // sets something.
        for path in MASKED.iter().map(|name| format!("/proc/{name}")) {
            match Path::new(&path) {
                entry if entry.is_dir() => say(&["--perms", "0000", "--tmpfs", &path, "--remount-ro", &path]),
                entry if entry.exists() => say(&["--ro-bind", "/dev/null", &path]),
                _ => {}
            }
        }
        say(&["--remount-ro", "/proc", "--remount-ro", "/dev"]);
        say(&["--size", &tmp, "--perms", "1777", "--tmpfs", "/dev/shm"]);
        let resolved = policy.filesystem.resolve(case.cwd).map_err(|errors| Inexpressible {
            clause: "filesystem".to_owned(),
            why: errors.first().map(ToString::to_string).unwrap_or_default(),
        })?;
        // A later mount covers an earlier one, so what is deeper comes later.
        let mut rules: Vec<_> = resolved.rules().iter().collect();
        rules.sort_by_key(|rule| rule.entry.path.components().count());
        for rule in rules {
            let path = rule.entry.path.display().to_string();
            let kind = match (rule.access, rule.entry.optional) {
                (Access::ReadOnly, false) => "--ro-bind",
                (Access::ReadOnly, true) => "--ro-bind-try",
                (Access::ReadWrite, false) => "--bind",
                (Access::ReadWrite, true) => "--bind-try",
                (Access::Hidden, _) if rule.entry.path.is_file() => {
                    say(&["--ro-bind", "/dev/null", &path]);
                    continue;
                }
                (Access::Hidden, _) => {
                    say(&["--perms", "0000", "--tmpfs", &path, "--remount-ro", &path]);
                    continue;
                }
            };
            say(&[kind, &path, &path]);
        }
        say(&["--remount-ro", "/", "--chdir", &case.cwd.display().to_string(), "--"]);
        if policy.filesystem.base == Base::Host {
            // --chdir sets it.
            argv.extend(["/usr/bin/env", "-u", "PWD"].map(Into::into));
        }
        argv.extend(case.argv.iter().map(Into::into));
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
        cannot("process.syscalls", "bwrap takes a filter by descriptor (--seccomp) and ships none");
        cannot("process.terminal", "bwrap gives no terminal of the sandbox's own");
        for pattern in ["dev/ioctl", "ipc/vsock-*"] {
            cannot(pattern, "bwrap takes a filter by descriptor (--seccomp) and ships none");
        }
        for pattern in ["fd/leaked-*", "fd/no-*", "fd/only-stdio", "posture/descriptors"] {
            cannot(pattern, "bwrap hands on every descriptor of its caller");
        }
        for pattern in ["fd/std*-reopen-*", "fd/std*-device-*"] {
            cannot(pattern, "bwrap hands on the caller's own standard streams");
        }
        for pattern in ["mnt/noexec", "fs/exec/*"] {
            cannot(pattern, "bwrap mounts nothing noexec");
        }
        for pattern in ["mnt/propagation", "posture/mount/propagation"] {
            cannot(pattern, "bwrap leaves its mounts slaves of the host's");
        }
        for pattern in ["ns/uid-map-no-host-root", "ns/gid-map-no-host-root"] {
            cannot(pattern, "bwrap maps the caller's own ids and no others");
        }
        cannot(
            "res/tmpfs/*",
            "bwrap bounds the bytes of a --tmpfs, not its files, and not its own tmpfs of / and /dev",
        );
        cannot("ns/domainname-own", "bwrap sets no NIS domain name");
        cannot(
            "ns/nested-disabled",
            "--disable-userns sets the limit in a namespace around the sandbox, where it cannot be read",
        );
        cannot("life/sig*-forwarded", "bwrap passes on no signal: it ends by it, and the sandbox with it");
        cannot("resources.processes", "bwrap makes no control group");
        cannot("resources.wall_time", "bwrap keeps no time; timeout(1) ends it from outside");
        for (clause, asked) in [
            ("resources.memory", policy.resources.memory.is_some()),
            ("resources.cpus", policy.resources.millicpus.is_some()),
            ("resources.cpu_time", policy.resources.cpu_time.is_some()),
        ] {
            if asked {
                cannot(clause, "bwrap makes no control group");
            }
        }
        if policy.network.mode != NetworkMode::None {
            for clause in
                ["network.mode", "network.allow", "network.metadata", "network.special_use", "network.dns"]
            {
                cannot(clause, "bwrap has the host's network or none");
            }
        }
        if policy.filesystem.workspace != Workspace::Direct {
            cannot("filesystem.workspace", "the changes are not kept apart, and are not bounded");
        }
        if !policy.filesystem.no_execute.is_empty() {
            cannot("filesystem.no_execute", "bwrap mounts nothing noexec");
        }
        if !policy.environment.pass.is_empty() {
            cannot("environment.pass", "which value a variable has only the calling shell knows");
        }
        all
    }
}

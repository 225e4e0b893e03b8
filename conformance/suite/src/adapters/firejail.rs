//! firejail(1), without a profile: the flags that its template for profiles recommends, and what the policy says.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use palisade_policy::{Access, Base, NetworkMode, Policy};

use super::parts::{
    cannot_all, no_groups, no_ids, no_namespaces, rarely, rules, tried, whole_seconds, with_environment,
};
use super::{Adapter, Case, Exit, Inexpressible, Invocation, PolicySource};
use crate::catalogue::proc::MASKED;

/// Where it does not find the kernel's own processes it takes itself to be inside of a sandbox, and starts the program **without**
/// one (`no_sandbox.c`). The lab has its own pid namespace. This variable tells it that it is in a container, and that it shall go on.
const IN_A_CONTAINER: &str = "container=lxc";

/// Directories of a host that have nothing which programs need.
const OTHERS: &[&str] = &["/boot", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/sys"];

/// Services of a host, and secrets. It keeps things of its own in /run, so that the whole of that cannot be denied.
const SERVICES: &[&str] = &[
    "/run/containerd",
    "/run/crio",
    "/run/dbus",
    "/run/docker.sock",
    "/run/nscd",
    "/run/podman",
    "/run/secrets",
    "/run/systemd",
    "/run/user",
    // Keys of the host, beside certificates that programs need.
    "/etc/ssl/private",
];

/// `firejail` as found in `PATH`. It is set-user-id root.
#[derive(Clone, Copy, Debug)]
pub struct Firejail;

impl Adapter for Firejail {
    fn name(&self) -> &'static str {
        "firejail"
    }

    fn detect(&self) -> Result<String, String> {
        let version = super::version(Command::new("firejail").arg("--version"))?;
        let mut command = Command::new("env");
        command.arg(IN_A_CONTAINER).args([
            "firejail",
            "--quiet",
            "--noprofile",
            "--net=none",
            "--",
            "/bin/true",
        ]);
        tried(version, &mut command)
    }

    fn translate(&self, policy: PolicySource<'_>, case: Case<'_>) -> Result<Invocation, Inexpressible> {
        let mut argv = with_environment(policy, &[IN_A_CONTAINER, "HOME=/root"]);
        // It limits no dump of memory.
        argv.extend(["prlimit".into(), "--core=0".into()]);
        let policy = policy.policy;
        let mut say = |words: &[&str]| argv.extend(words.iter().map(OsString::from));
        say(&["firejail", "--quiet", "--noprofile"]);
        // It ends when the workload has ended, with its code.
        say(&["--deterministic-exit-code", "--deterministic-shutdown"]);
        // Mount, pid and uts namespaces it makes always; --noroot (a user namespace) it does not support when root starts it.
        say(&["--ipc-namespace", "--hostname=palisade"]);
        match policy.network.mode {
            NetworkMode::None => say(&["--net=none"]),
            NetworkMode::Allowlist | NetworkMode::Open => {}
        }
        // Privileges. Without capabilities nobody inside is root.
        if policy.process.capabilities.is_empty() {
            say(&["--caps.drop=all"]);
        } else {
            let names: Vec<String> = policy
                .process
                .capabilities
                .iter()
                .map(|name| name.trim_start_matches("CAP_").to_lowercase())
                .collect();
            say(&[&format!("--caps.keep={}", names.join(","))]);
        }
        say(&["--nonewprivs", "--nogroups"]);
        // Its default list of denied calls, also for programs of other architectures, and the families of sockets that are left.
        say(&["--seccomp", "--seccomp.block-secondary", "--protocol=unix,inet,inet6,netlink"]);
        if !policy.process.nested_namespaces {
            say(&["--restrict-namespaces"]);
        }
        // Devices, sound, buses.
        say(&[
            "--private-dev",
            "--no3d",
            "--nodvd",
            "--noinput",
            "--nosound",
            "--notv",
            "--nou2f",
            "--novideo",
        ]);
        say(&["--noprinters", "--dbus-user=none", "--dbus-system=none"]);
        let resources = &policy.resources;
        say(&[&format!("--rlimit-nofile={}", resources.open_files)]);
        say(&[&format!("--rlimit-fsize={}", resources.file_size.bytes())]);
        if let Some(time) = resources.cpu_time {
            // Of each process.
            say(&[&format!("--rlimit-cpu={}", whole_seconds(time))]);
        }
        if let Some(time) = case.wall_time.or(resources.wall_time) {
            // It counts whole seconds.
            let seconds = whole_seconds(time);
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            say(&[&format!("--timeout={hours:02}:{minutes:02}:{:02}", seconds % 60)]);
        }
        // Files. What is not listed of a directory with something in a whitelist is not there.
        say(&["--private-tmp", "--x11=none"]);
        if policy.filesystem.base == Base::Host {
            say(&[
                "--private-etc=alternatives,ca-certificates,group,hosts,ld.so.cache,nsswitch.conf,passwd,ssl",
            ]);
        }
        // Nothing is writable but what follows, and its own devices.
        say(&["--read-only=/", "--read-only=/proc"]);
        if policy.filesystem.base == Base::Host {
            // What of /proc tells of the host, in the places that it does not cover by itself.
            MASKED.iter().for_each(|name| say(&[&format!("--blacklist=/proc/{name}")]));
        }
        say(&["--read-write=/tmp", "--read-write=/var/tmp", "--read-write=/dev/shm"]);
        let rules = rules(policy, case)?;
        let has_rule = |top: &str| rules.iter().any(|(_, path)| path.starts_with(top));
        OTHERS
            .iter()
            .chain(SERVICES)
            .filter(|top| !has_rule(top))
            .for_each(|top| say(&[&format!("--blacklist={top}")]));
        for (access, path) in &rules {
            let path = path.display();
            if *access != Access::Hidden
                && OTHERS.iter().any(|top| Path::new(&path.to_string()).starts_with(top))
            {
                say(&[&format!("--whitelist={path}")]);
            }
            match access {
                Access::ReadOnly => say(&[&format!("--read-only={path}")]),
                Access::ReadWrite => say(&[&format!("--read-write={path}")]),
                Access::Hidden => say(&[&format!("--blacklist={path}")]),
            }
        }
        if let Ok(resolved) = policy.filesystem.resolve(case.cwd) {
            resolved
                .no_execute()
                .iter()
                .for_each(|entry| say(&[&format!("--noexec={}", entry.path.display())]));
        }
        say(&["--"]);
        argv.extend(case.argv.iter().map(Into::into));
        Ok(Invocation { argv, env: Vec::new(), cwd: case.cwd.to_owned(), items: Vec::new() })
    }

    fn exit(&self, code: i32) -> Exit {
        // Its own failures end with 1, as those of many programs do.
        Exit::Workload(code)
    }

    fn inexpressible(&self, policy: &Policy) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let mut cannot = |clause: &str, why: &str| {
            all.insert(clause.to_owned(), why.to_owned());
        };
        rarely(policy, &mut cannot);
        no_groups(policy, &mut cannot);
        no_ids(&mut cannot);
        // --noroot is not supported for a sandbox that root starts.
        no_namespaces(&mut cannot, &["cgroup", "user"]);
        let streams = ["fd/std*-reopen-*", "fd/std*-device-*"];
        cannot_all(&mut cannot, &streams, "it hands on the caller's own standard streams");
        let mounts = ["mnt/propagation", "posture/mount/propagation"];
        cannot_all(&mut cannot, &mounts, "it leaves its mounts slaves of the host's");
        let options = ["mnt/nodev", "mnt/nosuid", "posture/mount/dev", "posture/mount/suid"];
        cannot_all(&mut cannot, &options, "it says of no mount that it is nosuid or nodev");
        cannot("env/only-declared", "it sets variables of its own, whatever --rmenv names");
        cannot("life/time/*", "it ends with 1 at its limit of time, as for many a reason");
        cannot("ns/domainname-own", "it sets no NIS domain name");
        cannot("ns/nested-disabled", "its filter refuses them, and the limit is left");
        cannot("res/tmpfs/*", "no size of a file system can be said");
        cannot("filesystem.tmp", "--private-tmp takes no size");
        if policy.filesystem.base == Base::None {
            cannot("filesystem.base", "the directories of the system are always there");
        }
        if policy.network.mode != NetworkMode::None {
            cannot(
                "network",
                "firejail has the host's network, none, or an interface beside one of the host's",
            );
        }
        all
    }
}

//! hakoniwa: namespaces, limits, Landlock and a filter by one command line, in a container without a root file system of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Command;

use palisade_policy::{Access, Base, NetworkMode, Policy};

use super::etc;
use super::parts::{
    PATH, cannot_all, no_view_of_proc, present, program, rarely, rules, tried, whole_seconds, without_groups,
};
use super::{Adapter, Case, Exit, Inexpressible, Invocation, PolicySource};

/// Exit code for its own failures.
const OWN_FAILURE: i32 = 125;

/// `hakoniwa` as found in `PATH`.
#[derive(Clone, Copy, Debug)]
pub struct Hakoniwa;

impl Adapter for Hakoniwa {
    fn name(&self) -> &'static str {
        "hakoniwa"
    }

    fn detect(&self) -> Result<String, String> {
        let version = super::version(Command::new("hakoniwa").arg("--version"))?;
        tried(version, Command::new("hakoniwa").args(["run", "--unshare-all", "--", "/bin/true"]))
    }

    fn translate(&self, policy: PolicySource<'_>, case: Case<'_>) -> Result<Invocation, Inexpressible> {
        let all = policy;
        let policy = policy.policy;
        let mut argv = without_groups(case);
        argv.push(program("hakoniwa"));
        let mut items = Vec::new();
        let mut say = |words: &[&str]| argv.extend(words.iter().map(OsString::from));
        // What it says of its own accord goes where the workload's errors go.
        say(&["run", "--quiet", "--quiet"]);
        // Every namespace; user, mount and pid it makes always. The network is left only where the policy leaves all of it.
        say(&["--unshare-cgroup", "--unshare-ipc", "--unshare-uts", "--hostname", "palisade"]);
        if policy.network.mode != NetworkMode::Open {
            say(&["--unshare-network"]);
        }
        // The caller's id is the one that the policy names; no other id exists.
        let id = etc::id(policy);
        say(&["--uidmap", id, "--gidmap", id]);
        // Its own profile, that of podman. No privilege by executing a file, which is the default.
        say(&["--seccomp", "podman"]);
        let resources = &policy.resources;
        say(&["--limit-nofile", &resources.open_files.to_string(), "--limit-core", "0"]);
        say(&["--limit-fsize", &resources.file_size.bytes().to_string()]);
        if let Some(time) = case.wall_time.or(resources.wall_time) {
            // It counts whole seconds.
            say(&["--limit-walltime", &whole_seconds(time).to_string()]);
        }
        if let Some(time) = resources.cpu_time {
            // Of each process: RLIMIT_CPU.
            say(&["--limit-cpu", &whole_seconds(time).to_string()]);
        }
        // Nothing of the host but what follows.
        say(&["--rootfs", "none"]);
        if policy.filesystem.base == Base::Host {
            say(&["--bindmount-ro", "/usr:/usr"]);
            for link in ["usr/bin:/bin", "usr/lib:/lib", "usr/lib64:/lib64", "usr/sbin:/sbin"] {
                say(&["--symlink", link]);
            }
            present(etc::OF_HOST).for_each(|path| say(&["--bindmount-ro", &format!("{path}:{path}")]));
            for (item, source, target) in etc::files(policy, case.scratch) {
                items.push(item);
                say(&["--bindmount-ro", &format!("{}:{}", source.display(), target.display())]);
            }
        }
        say(&["--devfs", "/dev", "--tmpfs", "/tmp"]);
        // It makes a link only in a directory that is there.
        say(&["--dir", "/var", "--symlink", "/tmp:/var/tmp"]);
        for (access, path) in rules(policy, case)? {
            let path = path.display();
            match access {
                Access::ReadOnly => say(&["--bindmount-ro", &format!("{path}:{path}")]),
                Access::ReadWrite => say(&["--bindmount-rw", &format!("{path}:{path}")]),
                Access::Hidden => say(&["--tmpfs", &path.to_string()]),
            }
        }
        // The caller's variables are not passed on.
        say(&["--setenv", &format!("PATH={PATH}"), "--setenv", "HOME=/tmp"]);
        let set = all.policy.environment.set.iter();
        set.for_each(|(name, value)| say(&["--setenv", &format!("{name}={value}")]));
        // With a colon it mounts nothing: the directory has its rule.
        say(&["--workdir", &format!(":{}", case.cwd.display()), "--"]);
        argv.extend(case.argv.iter().map(Into::into));
        Ok(Invocation { argv, env: Vec::new(), cwd: case.cwd.to_owned(), items })
    }

    fn exit(&self, code: i32) -> Exit {
        match code {
            OWN_FAILURE => Exit::Runtime,
            // At its limit of time it kills, which no code tells from another kill.
            code => Exit::Workload(code),
        }
    }

    fn inexpressible(&self, policy: &Policy) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let mut cannot = |clause: &str, why: &str| {
            all.insert(clause.to_owned(), why.to_owned());
        };
        rarely(policy, &mut cannot);
        cannot("filesystem.tmp", "its tmpfs takes no size");
        cannot("res/tmpfs/*", "its tmpfs takes no size");
        let streams = ["fd/std*-reopen-*", "fd/std*-device-*"];
        cannot_all(&mut cannot, &streams, "it hands on the caller's own standard streams");
        cannot_all(&mut cannot, &["mnt/noexec", "fs/exec/*"], "what it mounts cannot be said to be noexec");
        no_view_of_proc(&mut cannot);
        cannot("ns/domainname-own", "it sets no NIS domain name");
        let loopback = ["net/loopback/own-*", "work/loopback-tcp*"];
        cannot_all(&mut cannot, &loopback, "it leaves the loopback of its network namespace down");
        cannot("life/time/*", "at its limit of time it ends with 137, as after any kill");
        let groups = "it makes a control group only through the service manager of a host (--cgroup-*)";
        cannot("resources.processes", groups);
        for (clause, asked) in [
            ("resources.memory", policy.resources.memory.is_some()),
            ("resources.cpus", policy.resources.millicpus.is_some()),
        ] {
            if asked {
                cannot(clause, groups);
            }
        }
        if policy.network.mode != NetworkMode::None {
            let why = "hakoniwa has the host's network, none, or pasta's with all of it";
            for clause in
                ["network.mode", "network.allow", "network.metadata", "network.special_use", "network.dns"]
            {
                cannot(clause, why);
            }
        }
        if !policy.filesystem.no_execute.is_empty() {
            cannot("filesystem.no_execute", "what it mounts for a policy cannot be said to be noexec");
        }
        all
    }
}

//! systemd-nspawn(1), for root: the policy as options, in a root of the run's own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use palisade_policy::{Access, Identity, NetworkMode, Policy, SyscallProfile, Workspace};

use super::view::{self, Shown, View};
use super::{Adapter, Case, Exit, Inexpressible, Invocation, Item, PolicySource, trial};
use crate::catalogue::proc;

/// Exit code of timeout(1) when the time was up.
const OUT_OF_TIME: i32 = 124;

/// What a policy means by the standard table and nspawn's own list has: groups of systemd.exec(5), "System Call Filtering". A group that
/// programs need (@process, @file-system) stays.
const DENIED: &str = "~@clock @cpu-emulation @debug @keyring @module @mount @obsolete @raw-io @reboot @swap";

/// `systemd-nspawn` as found in `PATH`.
#[derive(Clone, Debug)]
pub struct Nspawn {
    etc: Vec<PathBuf>,
    /// What of /proc tells of the host and this one has, and whether it is a file.
    masked: Vec<(PathBuf, bool)>,
}

impl Nspawn {
    /// For this host.
    pub fn here() -> Self {
        // nspawn covers /proc/kmsg itself, and fails where it is covered already.
        let masked =
            proc::MASKED.iter().filter(|name| **name != "kmsg").map(|name| Path::new("/proc").join(name));
        let masked = masked.filter_map(|path| Some((path.is_file(), path.metadata().ok()?, path)));
        Self { etc: view::etc(), masked: masked.map(|(file, _, path)| (path, file)).collect() }
    }

    /// On a host that is the same wherever the tests run.
    #[cfg(test)]
    pub(super) fn described() -> Self {
        let masked = vec![("/proc/acpi".into(), false), ("/proc/keys".into(), true)];
        Self { etc: vec!["/etc/ssl/certs".into()], masked }
    }
}

/// Whether the workload has to write to what is root's.
fn writes(policy: &Policy) -> bool {
    policy.filesystem.rules.iter().any(|rule| rule.access == Access::ReadWrite)
}

impl Adapter for Nspawn {
    fn name(&self) -> &'static str {
        "systemd-nspawn"
    }

    fn detect(&self) -> Result<String, String> {
        let version = super::version(Command::new("systemd-nspawn").arg("--version"))?;
        trial::run(self, &version)
    }

    fn translate(&self, policy: PolicySource<'_>, case: Case<'_>) -> Result<Invocation, Inexpressible> {
        let policy = policy.policy;
        let view = View::of(policy, case, &self.etc)?;
        let root = case.scratch.join("root");
        let mut argv: Vec<OsString> = Vec::new();
        let mut say = |words: &[&str]| argv.extend(words.iter().map(OsString::from));
        if let Some(time) = case.wall_time {
            // What is inside ends with nspawn.
            say(&["timeout", "--foreground", &format!("{}s", time.as_secs_f64())]);
        }
        // A name of its own for each start: what was killed leaves its name taken.
        say(&["sh", "-c", "exec systemd-nspawn --machine=\"$0-$$\" \"$@\"", case.id]);
        // No settings of files, nothing registered: there may be no systemd to register with, and it has to be asked by nobody.
        say(&["--quiet", "--settings=no", "--register=no", "--keep-unit"]);
        // Nothing of the container's is put into the host's journal; the files of /etc are those of the root.
        say(&["--link-journal=no", "--resolv-conf=off", "--timezone=off"]);
        // The caller's descriptors as they are, or a terminal of its own where he has one. A first process that reaps.
        say(&["--console=autopipe", "--as-pid2", "--hostname=palisade"]);
        say(&[&format!("--directory={}", root.display()), "--read-only"]);
        // Nobody inside is root outside. Root's own files are to be written to only by root inside (`rootidmap`, below).
        say(&["--private-users=100000:65536", "--private-users-ownership=off"]);
        let user = policy.process.identity == Identity::User && !writes(policy);
        say(&[if user { "--user=user" } else { "--user=root" }]);
        say(&["--no-new-privileges=yes", "--drop-capability=all"]);
        if !policy.process.capabilities.is_empty() {
            let kept = policy.process.capabilities.join(",");
            say(&[&format!("--capability={kept}"), &format!("--ambient-capability={kept}")]);
        }
        if policy.network.mode != NetworkMode::Open {
            say(&["--private-network"]);
        }
        let syscalls = &policy.process.syscalls;
        say(&[&format!("--system-call-filter={DENIED}")]);
        if !policy.process.nested_namespaces {
            say(&["--system-call-filter=~unshare setns"]);
        }
        if syscalls.profile == SyscallProfile::Strict {
            say(&["--system-call-filter=~@aio @ipc @sync memfd_create"]);
        }
        if !syscalls.deny.is_empty() {
            say(&[&format!("--system-call-filter=~{}", syscalls.deny.join(" "))]);
        }
        if !syscalls.allow.is_empty() {
            say(&[&format!("--system-call-filter={}", syscalls.allow.join(" "))]);
        }
        let limits = &policy.resources;
        // Processes are counted in the container's own user namespace (since Linux 5.14).
        say(&[
            &format!("--rlimit=NOFILE={}", limits.open_files),
            &format!("--rlimit=NPROC={}", limits.processes),
        ]);
        say(&[&format!("--rlimit=FSIZE={}", limits.file_size.bytes()), "--rlimit=CORE=0"]);
        if let Some(time) = limits.cpu_time {
            say(&[&format!("--rlimit=CPU={}", time.as_secs().max(1))]);
        }
        say(&["--setenv=PATH=/usr/local/bin:/usr/bin:/bin", "--setenv=HOME=/tmp"]);
        // A name alone takes the caller's value.
        policy.environment.pass.iter().for_each(|name| say(&[&format!("--setenv={name}")]));
        policy.environment.set.iter().for_each(|(name, value)| say(&[&format!("--setenv={name}={value}")]));
        let bytes = policy.filesystem.tmp.bytes();
        let size = format!("mode=1777,size={bytes},nr_inodes={},nosuid,nodev", (bytes / 4096).max(16));
        let no_execute = if view.no_execute_tmp { ",noexec" } else { "" };
        say(&[&format!("--tmpfs=/tmp:{size}{no_execute}"), &format!("--tmpfs=/dev/shm:{size},noexec")]);
        for shown in &view.shown {
            let path = shown.path().display().to_string();
            match shown {
                Shown::Host(bind) if bind.writable => say(&[&format!("--bind={path}:{path}:rootidmap")]),
                Shown::Host(_) => say(&[&format!("--bind-ro={path}")]),
                Shown::Empty(_) => say(&[&format!("--tmpfs={path}:mode=755,size=64k,ro")]),
            }
        }
        // Not `--inaccessible`: what it mounts is there only where systemd was booted (/run/systemd/inaccessible).
        let hidden = view.hidden.iter().map(|path| (path.as_path(), path.is_file()));
        for (path, file) in hidden.chain(self.masked.iter().map(|(path, file)| (path.as_path(), *file))) {
            let path = path.display();
            say(&[&match file {
                true => format!("--bind-ro=/dev/null:{path}"),
                false => format!("--tmpfs={path}:mode=000,size=64k,ro"),
            }]);
        }
        say(&[&format!("--chdir={}", case.cwd.display()), "--"]);
        argv.extend(case.argv.iter().map(Into::into));
        let mut items = view.places(policy, case, &root);
        items.extend(["sys", "run"].map(|place| Item::Directory(root.join(place))));
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
        cannot("env/only-declared", "nspawn tells the workload about its container in variables");
        cannot("resources.wall_time", "nspawn keeps no time; timeout(1) ends it from outside");
        for (clause, asked) in [
            ("resources.memory", policy.resources.memory.is_some()),
            ("resources.cpus", policy.resources.millicpus.is_some()),
        ] {
            if asked {
                cannot(
                    clause,
                    "nspawn has the system manager limit a unit (--property), and there may be none",
                );
            }
        }
        if policy.resources.cpu_time.is_some() {
            cannot("resources.cpu_time", "nspawn has RLIMIT_CPU, for one process");
        }
        if policy.resources.output.is_some() {
            cannot("resources.output", "the streams are the caller's own");
        }
        if policy.network.mode != NetworkMode::None {
            for clause in
                ["network.mode", "network.allow", "network.metadata", "network.special_use", "network.dns"]
            {
                cannot(clause, "nspawn plumbs a network, and filters nothing in it");
            }
        }
        if !policy.network.publish.is_empty() {
            cannot("network.publish", "nspawn forwards ports by a bridge and a network manager");
        }
        if policy.process.identity == Identity::User && writes(policy) {
            cannot("process.identity", "only root of the container can be given root's files (rootidmap)");
        }
        if policy.filesystem.workspace != Workspace::Direct {
            cannot(
                "filesystem.workspace",
                "an overlay is as large as the file system of its upper directory",
            );
        }
        if policy.filesystem.no_execute.iter().any(|entry| entry.path != Path::new("/tmp")) {
            cannot("filesystem.no_execute", "nspawn mounts nothing of the host noexec");
        }
        for pattern in ["mnt/nodev", "mnt/noexec", "mnt/nosuid", "posture/mount/dev", "posture/mount/suid"] {
            cannot(pattern, "nspawn binds the host's files without such options");
        }
        for pattern in ["mnt/propagation", "posture/mount/propagation"] {
            cannot(pattern, "nspawn shares its mounts within the container");
        }
        for pattern in ["fd/std*-reopen-*", "fd/std*-device-*"] {
            cannot(pattern, "nspawn hands on the caller's own standard streams");
        }
        cannot("res/tmpfs/*", "nspawn bounds its own tmpfs of /dev, /run and /sys by itself");
        cannot("ns/domainname-own", "nspawn sets no NIS domain name");
        cannot("ns/nested-disabled", "nspawn sets no sysctl");
        all
    }
}

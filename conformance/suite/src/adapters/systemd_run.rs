//! systemd-run(1): a transient service with the properties of systemd.exec(5) and systemd.resource-control(5).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use palisade_policy::{Base, Identity, NetworkMode, Policy, SyscallProfile, Workspace};

use super::view::{self, Shown, View};
use super::{Adapter, Case, Exit, Inexpressible, Invocation, PolicySource, trial};

/// A terminal where the caller has one, his descriptors otherwise.
const START: &str = "test -t 0 && streams=--pty || streams=--pipe; exec systemd-run $streams \"$@\"";

/// `systemd-run` as found in `PATH`, with a manager that runs.
#[derive(Clone, Debug)]
pub struct SystemdRun {
    root: bool,
    etc: Vec<PathBuf>,
}

impl SystemdRun {
    /// For this host and user.
    pub fn here() -> Self {
        Self { root: rustix::process::geteuid().is_root(), etc: view::etc() }
    }

    /// On a host that is the same wherever the tests run.
    #[cfg(test)]
    pub(super) fn described(root: bool) -> Self {
        Self { root, etc: vec!["/etc/ssl/certs".into()] }
    }

    /// Who the workload is.
    fn identity(&self, policy: &Policy) -> Vec<String> {
        match (self.root, policy.process.identity) {
            // All but the workload's own ids are nobody inside, and it is nobody's root outside.
            (true, _) => vec!["User=1000".into(), "Group=1000".into(), "PrivateUsers=yes".into()],
            (false, _) => vec!["PrivateUsers=yes".into()],
        }
    }
}

/// Properties that say the same whatever the policy is.
const ALWAYS: &[&str] = &[
    // The root is empty, and what is not named is not there. /proc, /sys and /dev are the service's own.
    "MountAPIVFS=yes",
    "PrivateDevices=yes",
    "PrivateMounts=yes",
    "PrivateIPC=yes",
    // Of other processes nothing is seen, of the kernel little.
    "ProtectProc=invisible",
    "ProcSubset=pid",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "NoNewPrivileges=yes",
    "RestrictSUIDSGID=yes",
    "RestrictRealtime=yes",
    "LockPersonality=yes",
    "KeyringMode=private",
    "RemoveIPC=yes",
    "SystemCallArchitectures=native",
    "SystemCallErrorNumber=EPERM",
    "LimitCORE=0",
    // All of the service ends when its first process does.
    "KillMode=control-group",
    "SendSIGKILL=yes",
];

impl Adapter for SystemdRun {
    fn name(&self) -> &'static str {
        "systemd-run"
    }

    fn detect(&self) -> Result<String, String> {
        trial::run(self, &super::version(Command::new("systemd-run").arg("--version"))?)
    }

    fn translate(&self, policy: PolicySource<'_>, case: Case<'_>) -> Result<Invocation, Inexpressible> {
        let policy = policy.policy;
        let view = View::of(policy, case, &self.etc)?;
        let mut properties: Vec<String> = ALWAYS.iter().map(|&property| property.to_owned()).collect();
        properties.extend(self.identity(policy));
        let mut say = |property: String| properties.push(property);
        let capabilities = policy.process.capabilities.join(" ");
        say(format!("CapabilityBoundingSet={capabilities}"));
        say(format!("AmbientCapabilities={capabilities}"));
        if !policy.process.nested_namespaces {
            say("RestrictNamespaces=yes".to_owned());
        }
        let open = policy.network.mode == NetworkMode::Open;
        let strict = policy.process.syscalls.profile == SyscallProfile::Strict;
        if !open {
            say("PrivateNetwork=yes".to_owned());
            say("IPAddressDeny=any".to_owned());
            say("IPAddressAllow=localhost".to_owned());
        }
        let families = if strict && !open { "AF_UNIX" } else { "AF_UNIX AF_INET AF_INET6 AF_NETLINK" };
        say(format!("RestrictAddressFamilies={families}"));
        say("SystemCallFilter=@system-service".to_owned());
        say("SystemCallFilter=~@clock @cpu-emulation @debug @keyring @module @mount @obsolete @raw-io @reboot @swap".to_owned());
        if strict {
            say("SystemCallFilter=~@aio @ipc @sync memfd_create".to_owned());
        }
        let syscalls = &policy.process.syscalls;
        for (sign, names) in [("", &syscalls.allow), ("~", &syscalls.deny)] {
            if !names.is_empty() {
                say(format!("SystemCallFilter={sign}{}", names.join(" ")));
            }
        }
        files(policy, &view, &mut say);
        limits(policy, case, &mut say);
        let mut argv: Vec<OsString> =
            ["sh", "-c", START, "sh", "--quiet", "--wait", "--collect"].map(Into::into).into();
        if !self.root {
            argv.push("--user".into());
        }
        argv.push(format!("--working-directory={}", case.cwd.display()).into());
        argv.extend(properties.iter().map(|property| format!("--property={property}").into()));
        argv.extend(["--setenv=PATH=/usr/local/bin:/usr/bin:/bin", "--setenv=HOME=/tmp"].map(OsString::from));
        // A name alone takes the caller's value.
        argv.extend(policy.environment.pass.iter().map(|name| format!("--setenv={name}").into()));
        argv.extend(
            policy.environment.set.iter().map(|(name, value)| format!("--setenv={name}={value}").into()),
        );
        argv.push("--".into());
        argv.extend(case.argv.iter().map(Into::into));
        Ok(Invocation { argv, env: Vec::new(), cwd: case.cwd.to_owned(), items: Vec::new() })
    }

    fn exit(&self, code: i32) -> Exit {
        Exit::Workload(code)
    }

    fn inexpressible(&self, policy: &Policy) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let mut cannot = |clause: &str, why: &str| {
            all.insert(clause.to_owned(), why.to_owned());
        };
        if policy.process.identity == Identity::User && !self.root {
            cannot("process.identity", "a user's manager runs everything under the user's own id");
        }
        if policy.process.identity == Identity::Root {
            cannot("process.identity", "there is no map by which root of a service is nobody outside");
        }
        if policy.resources.cpu_time.is_some() {
            cannot("resources.cpu_time", "a service has LimitCPU=, for one process");
        }
        if policy.resources.output.is_some() {
            cannot("resources.output", "the streams are the caller's own");
        }
        if policy.network.mode != NetworkMode::None {
            cannot("network.allow", "IPAddressAllow= has addresses, and neither ports nor names");
            for clause in ["network.mode", "network.metadata", "network.special_use", "network.dns"] {
                cannot(
                    clause,
                    "a service has the host's network or none; IPAddressDeny= filters by address only",
                );
            }
        }
        if !policy.network.publish.is_empty() {
            cannot("network.publish", "a service plumbs no network");
        }
        if policy.filesystem.workspace != Workspace::Direct {
            cannot("filesystem.workspace", "the changes are not kept apart, and are not bounded");
        }
        all
    }
}

/// The view of files.
fn files(policy: &Policy, view: &View, say: &mut impl FnMut(String)) {
    say("TemporaryFileSystem=/:ro,mode=755,size=1m".to_owned());
    if policy.filesystem.base == Base::Host {
        // Links of the root, which an empty one has not.
        say("BindReadOnlyPaths=/bin /lib -/lib64 /sbin".to_owned());
        say("BindReadOnlyPaths=-/etc/passwd -/etc/group -/etc/hosts -/etc/nsswitch.conf".to_owned());
    }
    let bytes = policy.filesystem.tmp.bytes();
    let size = format!("mode=1777,size={bytes},nr_inodes={},nosuid,nodev", (bytes / 4096).max(16));
    say(format!("TemporaryFileSystem=/tmp:{size}"));
    say(format!("TemporaryFileSystem=/dev/shm:{size},noexec"));
    for shown in &view.shown {
        let path = shown.path().display();
        match shown {
            Shown::Host(bind) if bind.writable => say(format!("BindPaths={path}")),
            Shown::Host(_) => say(format!("BindReadOnlyPaths={path}")),
            Shown::Empty(_) => say(format!("TemporaryFileSystem={path}:ro,mode=755,size=64k")),
        }
        if let Shown::Host(bind) = shown
            && !bind.executable
        {
            say(format!("NoExecPaths={path}"));
        }
    }
    if view.no_execute_tmp {
        say("NoExecPaths=/tmp".to_owned());
    }
    view.hidden.iter().for_each(|path| say(format!("InaccessiblePaths=-{}", path.display())));
}

/// Limits of the service's control group, and of each process.
fn limits(policy: &Policy, case: Case<'_>, say: &mut impl FnMut(String)) {
    let limits = &policy.resources;
    say(format!("TasksMax={}", limits.processes));
    say(format!("LimitNOFILE={}", limits.open_files));
    say(format!("LimitFSIZE={}", limits.file_size.bytes()));
    if let Some(memory) = limits.memory {
        say(format!("MemoryMax={}", memory.bytes()));
        say("MemorySwapMax=0".to_owned());
    }
    if let Some(thousandths) = limits.millicpus {
        say(format!("CPUQuota={}%", f64::from(thousandths) / 10.0));
    }
    if let Some(time) = limits.cpu_time {
        say(format!("LimitCPU={}", time.as_secs().max(1)));
    }
    if let Some(time) = case.wall_time {
        say(format!("RuntimeMaxSec={}ms", time.as_millis()));
        say("TimeoutStopSec=1s".to_owned());
    }
}

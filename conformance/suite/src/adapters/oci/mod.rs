//! OCI bundles: the policy as a `config.json` of the OCI runtime specification, for every runtime that takes one.
//!
//! The root is a directory of the run's own with nothing in it but places to mount on and a small `/etc`; everything else is
//! mounted. What somebody who knows these runtimes adds to the policy by himself is what Docker adds: its filter of system calls,
//! its masked and read-only paths.

mod mounts;
pub(super) mod profile;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use palisade_policy::{Identity, NetworkMode, Policy, Workspace};
use serde_json::{Value, json};

use super::view::{self, View};
use super::{Adapter, Case, Exit, Inexpressible, Invocation, Item, PolicySource, trial};
use crate::catalogue::proc;
use profile::Profile;

/// Exit code of the command when the time was up, as that of timeout(1).
const OUT_OF_TIME: i32 = 124;

/// The first of the ids of the host that stand for those of a container that root starts: what useradd(8) gives the first user,
/// and nobody has on a host that gives none.
const FIRST_ID: u32 = 100_000;

/// How many there are of these.
const IDS: u32 = 65_536;

/// What Docker hides outside of /proc (moby, oci/defaults.go). Below it all is hidden that tells of the host, which is more.
const MASKED: &[&str] = &["/sys/devices/virtual/powercap", "/sys/firmware"];

/// What Docker makes read-only below /proc (there, too).
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What a bundle depends on beside the policy.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// Who starts the runtime.
    uid: u32,
    gid: u32,
    /// Docker's filter.
    profile: Profile,
    /// What programs need of /etc, and it has.
    etc: Vec<PathBuf>,
}

impl Host {
    /// As it is here.
    pub(super) fn here() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            profile: Profile::here(),
            etc: view::etc(),
        }
    }

    /// Whether root starts the runtime.
    pub(super) fn is_root(&self) -> bool {
        self.uid == 0
    }
}

/// How one runtime differs from another.
#[derive(Clone, Debug)]
pub(super) struct Runtime {
    /// The program and its global options, as words for a shell.
    pub(super) command: String,
    /// What has to be run around it.
    pub(super) around: Vec<OsString>,
    /// Whether it mounts a directory with the ids of its files mapped.
    pub(super) idmapped: bool,
    /// Whether it works where uid 0 of the container is nobody.
    pub(super) rootless_user: bool,
    /// Whether it makes control groups here.
    pub(super) groups: bool,
}

/// Which ids of the container are which outside.
struct Ids {
    /// The workload's own.
    own: u32,
    /// Inside, outside, how many.
    maps: Vec<(u32, u32, u32)>,
    /// Whether what may be written to is mounted with its owner mapped to the workload's id.
    mounted: bool,
}

impl Ids {
    fn of(host: &Host, runtime: &Runtime, policy: &Policy) -> Self {
        let own = match policy.process.identity {
            Identity::User => 1000,
            Identity::Root => 0,
        };
        let writes =
            policy.filesystem.rules.iter().any(|rule| rule.access == palisade_policy::Access::ReadWrite);
        // An ordinary user has one id to map: to uid 0 where the runtime needs that one.
        if !host.is_root() {
            let own = if runtime.rootless_user { own } else { 0 };
            return Self { own, maps: vec![(own, host.uid, 1)], mounted: false };
        }
        if writes && !runtime.idmapped {
            // The workspace is root's, and can only be written to by whoever is root outside.
            let below = (own > 0).then_some((0, FIRST_ID, own));
            let above = (own + 1, FIRST_ID + own + 1, IDS - own - 1);
            let maps = below.into_iter().chain([(own, host.uid, 1), above]).collect();
            return Self { own, maps, mounted: false };
        }
        Self { own, maps: vec![(0, FIRST_ID, IDS)], mounted: writes }
    }

    fn shown(maps: &[(u32, u32, u32)]) -> Value {
        maps.iter()
            .map(|(inside, outside, size)| json!({"containerID": inside, "hostID": outside, "size": size}))
            .collect()
    }

    /// The map of a mount that the workload writes to: of the ids on the disk to those outside.
    fn of_mount(&self, disk: u32) -> Option<Value> {
        self.mounted.then(|| Self::shown(&[(disk, FIRST_ID + self.own, 1)]))
    }
}

/// The command that has the runtime run a bundle, with the bundle.
pub(super) fn invocation(
    host: &Host,
    runtime: &Runtime,
    policy: PolicySource<'_>,
    case: Case<'_>,
) -> Result<Invocation, Inexpressible> {
    let policy = policy.policy;
    let ids = Ids::of(host, runtime, policy);
    let view = View::of(policy, case, &host.etc)?;
    // Root of the container, who is nobody outside, could not make what is missing.
    let mut items = view.places(policy, case, &case.scratch.join("root"));
    items.push(Item::Directory(case.scratch.join("state")));
    // The terminal is the workload's own where the caller has one: known when it starts.
    for (name, terminal) in [("piped", false), ("terminal", true)] {
        let parts = Parts { host, runtime, policy, case, ids: &ids, terminal };
        let config = parts.config(&view);
        let text = serde_json::to_vec_pretty(&config).unwrap_or_default();
        items.push(Item::File(case.scratch.join(name).join("config.json"), text));
    }
    let command = format!("{} --root \"$0/state\"", runtime.command);
    // runc gives a tmpfs the mode of the directory that it is mounted on. The variables make a runtime hand a socket or descriptors of
    // the caller on. A name of its own for each start: what was killed leaves its name taken.
    let start = "chmod 1777 \"$0/root/tmp\"; unset NOTIFY_SOCKET LISTEN_FDS LISTEN_FDNAMES LISTEN_PID; \
                 test -t 0 && bundle=terminal || bundle=piped; name=$1-$$";
    let script = match case.wall_time {
        // The shell becomes the runtime.
        None => format!("{start}; exec {command} run --bundle \"$0/$bundle\" \"$name\""),
        // The runtime hands signals on to the workload, which may ignore them, and the container outlives the runtime: what is still
        // there has run out of time.
        Some(time) => format!(
            "{start}; timeout --foreground --signal=KILL {}s {command} run --bundle \"$0/$bundle\" \"$name\"; code=$?; \
             if {command} state \"$name\" >/dev/null 2>&1; then {command} delete --force \"$name\"; exit {OUT_OF_TIME}; fi; \
             exit $code",
            time.as_secs_f64()
        ),
    };
    let mut argv = runtime.around.clone();
    argv.extend(["sh", "-c", &script].map(OsString::from));
    argv.extend([case.scratch.into(), case.id.into()]);
    Ok(Invocation { argv, env: Vec::new(), cwd: case.cwd.to_owned(), items })
}

/// Whether the runtime runs a container here, and what it says about its version.
pub(super) fn detect(adapter: &dyn Adapter, runtime: &Runtime) -> Result<String, String> {
    let name = runtime.command.split(' ').next().unwrap_or_default();
    let version = super::version(Command::new(name).arg("--version"))?;
    trial::run(adapter, &version)
}

/// What the exit code of that command means. That of a runtime which failed is 1, as that of a workload may be.
pub(super) fn exit(code: i32) -> Exit {
    match code {
        OUT_OF_TIME => Exit::OutOfTime,
        code => Exit::Workload(code),
    }
}

/// What of the policy the specification has no means for, or the runtime none here.
pub(super) fn inexpressible(host: &Host, runtime: &Runtime, policy: &Policy) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut cannot = |clause: &str, why: &str| {
        all.insert(clause.to_owned(), why.to_owned());
    };
    if policy.process.identity == Identity::User && !host.is_root() && !runtime.rootless_user {
        cannot("process.identity", "the runtime needs uid 0 mapped, and an ordinary user has one id to map");
    }
    cannot("resources.wall_time", "an OCI runtime keeps no time; timeout(1) ends it from outside");
    if !runtime.groups {
        for (clause, asked) in [
            ("resources.memory", policy.resources.memory.is_some()),
            ("resources.cpus", policy.resources.millicpus.is_some()),
        ] {
            if asked {
                cannot(clause, "the runtime makes no control group for this user here");
            }
        }
    }
    if policy.resources.cpu_time.is_some() {
        cannot("resources.cpu_time", "the specification has RLIMIT_CPU, for one process");
    }
    if policy.resources.output.is_some() {
        cannot("resources.output", "the streams are the caller's own");
    }
    network(policy, &mut cannot);
    unspecified(&mut cannot);
    if policy.filesystem.workspace != Workspace::Direct {
        cannot("filesystem.workspace", "an overlay is as large as the file system of its upper directory");
    }
    if !policy.environment.pass.is_empty() {
        cannot(
            "environment.pass",
            "the configuration holds values; which one a variable has only the calling shell knows",
        );
    }
    all
}

/// What of a network there is no means for: a runtime makes the namespace, and plumbs nothing.
fn network(policy: &Policy, cannot: &mut impl FnMut(&str, &str)) {
    if policy.network.mode != NetworkMode::None {
        for clause in
            ["network.mode", "network.allow", "network.metadata", "network.special_use", "network.dns"]
        {
            cannot(
                clause,
                "the specification has the host's network or an empty one; the rest is left to hooks",
            );
        }
    }
    if !policy.network.publish.is_empty() {
        cannot("network.publish", "the specification plumbs no network");
    }
}

/// What the specification leaves open, by probe.
fn unspecified(cannot: &mut impl FnMut(&str, &str)) {
    for pattern in [
        "life/double-fork",
        "life/early-kill",
        "life/ignores-signals",
        "life/leftover/*-killed",
        "life/many-orphans",
        "life/no-death-signal",
        "life/orphan-holds-output",
        "life/stopped-orphan",
        "life/supervisor-killed",
    ] {
        cannot(pattern, "a container is to outlive its runtime: who supervises it deletes it");
    }
    for pattern in ["life/sig*-forwarded", "life/signal-code", "tty/interrupt"] {
        cannot(
            pattern,
            "the workload is the container's first process, which no signal ends that it does not handle",
        );
    }
    for pattern in ["ns/first-process-*", "xmem/first-process-*"] {
        cannot(pattern, "the container's first process is the workload itself");
    }
    for pattern in
        ["mnt/nodev", "mnt/noexec", "mnt/nosuid", "posture/mount/dev", "posture/mount/suid", "res/tmpfs/root"]
    {
        cannot(
            pattern,
            "the root, the devices and the masks are mounted by the runtime, without options of the bundle",
        );
    }
    for pattern in ["fd/std*-reopen-*", "fd/std*-device-*"] {
        cannot(pattern, "the runtime hands on the caller's own standard streams");
    }
    cannot("ns/nested-disabled", "runtimes take no sysctl of user.*");
}

/// All that a configuration is made of.
struct Parts<'a> {
    host: &'a Host,
    runtime: &'a Runtime,
    policy: &'a Policy,
    case: Case<'a>,
    ids: &'a Ids,
    terminal: bool,
}

impl Parts<'_> {
    fn config(&self, view: &View) -> Value {
        let proc = proc::MASKED.iter().map(|name| Path::new("/proc").join(name));
        let masked: Vec<PathBuf> =
            proc.chain(MASKED.iter().map(PathBuf::from)).chain(view.hidden.iter().cloned()).collect();
        let mut linux = json!({
            "uidMappings": Ids::shown(&self.ids.maps),
            "gidMappings": self.groups_of_ids(),
            "namespaces": self.namespaces(),
            "maskedPaths": masked,
            "readonlyPaths": READ_ONLY,
            "seccomp": self.host.profile.filter(&self.policy.process, self.policy.network.mode),
            // Of other people's mounts nothing comes in, and nothing goes out.
            "rootfsPropagation": "rprivate",
        });
        if self.runtime.groups {
            linux["resources"] = self.resources();
        }
        json!({
            "ociVersion": "1.0.2",
            "root": {"path": self.case.scratch.join("root"), "readonly": true},
            "hostname": "palisade",
            "domainname": "(none)",
            "process": self.process(),
            "mounts": mounts::of(self.host, self.policy, view, self.ids),
            "linux": linux,
        })
    }

    /// The same for groups: those that stand for the caller's uid stand for his gid.
    fn groups_of_ids(&self) -> Value {
        let gid = |outside: u32| if outside == self.host.uid { self.host.gid } else { outside };
        let maps: Vec<_> =
            self.ids.maps.iter().map(|&(inside, outside, size)| (inside, gid(outside), size)).collect();
        Ids::shown(&maps)
    }

    fn namespaces(&self) -> Value {
        let network = (self.policy.network.mode != NetworkMode::Open).then_some("network");
        let all = ["user", "mount", "pid", "ipc", "uts", "cgroup"].into_iter().chain(network);
        all.map(|kind| json!({"type": kind})).collect()
    }

    fn process(&self) -> Value {
        let capabilities = &self.policy.process.capabilities;
        let limits = &self.policy.resources;
        // Those of processes are counted in the container's own user namespace (since Linux 5.14).
        let mut rlimits = vec![
            ("RLIMIT_NOFILE", u64::from(limits.open_files)),
            ("RLIMIT_FSIZE", limits.file_size.bytes()),
            ("RLIMIT_NPROC", u64::from(limits.processes)),
            ("RLIMIT_CORE", 0),
        ];
        rlimits.extend(limits.cpu_time.map(|time| ("RLIMIT_CPU", time.as_secs().max(1))));
        let rlimits: Value = rlimits
            .into_iter()
            .map(|(kind, limit)| json!({"type": kind, "soft": limit, "hard": limit}))
            .collect();
        let mut env = vec!["PATH=/usr/local/bin:/usr/bin:/bin".to_owned(), "HOME=/tmp".to_owned()];
        env.extend(self.policy.environment.set.iter().map(|(name, value)| format!("{name}={value}")));
        json!({
            "terminal": self.terminal,
            "user": {"uid": self.ids.own, "gid": self.ids.own},
            "args": self.case.argv,
            "env": env,
            "cwd": self.case.cwd,
            "noNewPrivileges": true,
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
                "inheritable": capabilities, "ambient": capabilities,
            },
            "rlimits": rlimits,
        })
    }

    /// For groups of the container's own.
    fn resources(&self) -> Value {
        let limits = &self.policy.resources;
        let mut resources =
            json!({"pids": {"limit": limits.processes}, "devices": [{"allow": false, "access": "rwm"}]});
        if let Some(memory) = limits.memory {
            // Without swap on top of it.
            resources["memory"] = json!({"limit": memory.bytes(), "swap": memory.bytes()});
        }
        if let Some(thousandths) = limits.millicpus {
            resources["cpu"] = json!({"period": 100_000, "quota": u64::from(thousandths) * 100});
        }
        resources
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A host that is the same wherever the tests run.
    pub(in crate::adapters) fn described(uid: u32) -> Host {
        let etc = vec!["/etc/ssl/certs".into()];
        Host { uid, gid: uid, profile: profile::tests::small(), etc }
    }

    fn runtime(idmapped: bool, rootless_user: bool) -> Runtime {
        Runtime { command: "oci".into(), around: Vec::new(), idmapped, rootless_user, groups: false }
    }

    fn maps(uid: u32, runtime: &Runtime, writes: bool) -> (u32, Vec<(u32, u32, u32)>) {
        let text = if writes { "version: 1\nfilesystem:\n  read_write: [.]\n" } else { "version: 1\n" };
        let policy = palisade_policy::Document::parse("test.yaml", text).expect("a policy").policy;
        let ids = Ids::of(&described(uid), runtime, &policy);
        (ids.own, ids.maps)
    }

    #[test]
    fn nobody_is_root_outside_unless_roots_files_are_to_be_written_to() {
        let whole = vec![(0, FIRST_ID, IDS)];
        assert_eq!(maps(0, &runtime(true, true), true), (1000, whole.clone()));
        assert_eq!(maps(0, &runtime(false, false), false), (1000, whole));
        let pieces = vec![(0, FIRST_ID, 1000), (1000, 0, 1), (1001, FIRST_ID + 1001, IDS - 1001)];
        assert_eq!(maps(0, &runtime(false, false), true), (1000, pieces));
        assert_eq!(maps(1001, &runtime(true, true), true), (1000, vec![(1000, 1001, 1)]));
        assert_eq!(maps(1001, &runtime(false, false), true), (0, vec![(0, 1001, 1)]));
    }
}

//! podman-run(1): a container without an image (`--rootfs`), in a store of the run's own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use palisade_policy::{Identity, Policy};

use super::oci::profile::Profile;
use super::view::{self, Shown, View};
use super::{Adapter, Case, Exit, Inexpressible, Invocation, Item, PolicySource, containers, crun, trial};
use crate::catalogue::proc;

/// A store, state and home of the run's own, nothing of the user's; a terminal where the caller has one.
const START: &str = "test -t 0 && set -- --tty \"$@\"; unset NOTIFY_SOCKET LISTEN_FDS LISTEN_FDNAMES LISTEN_PID; \
                     export HOME=\"$0/home\" XDG_RUNTIME_DIR=\"$0/home\" TMPDIR=\"$0/home\"; \
                     exec podman --runtime crun --root \"$0/store\" --runroot \"$0/run\" --tmpdir \"$0/tmp\" \
                     --storage-driver vfs --cgroup-manager cgroupfs --events-backend none run \"$@\"";

/// Root's id on the disk is that of the workload, 1000 of the container, outside.
const IDMAPPED: &str = ",idmap=uids=0-101000-1;gids=0-101000-1";

/// `podman` as found in `PATH`, with crun.
#[derive(Clone, Debug)]
pub struct Podman {
    /// Who starts it.
    uid: u32,
    gid: u32,
    /// Whether crun has to be kept from seeing version 2 of control groups.
    hybrid: bool,
    etc: Vec<PathBuf>,
    profile: Profile,
}

impl Podman {
    /// For this host and user.
    pub fn here() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            hybrid: crun::is_hybrid(),
            etc: view::etc(),
            profile: Profile::here(),
        }
    }

    /// On a host that is the same wherever the tests run.
    #[cfg(test)]
    pub(super) fn described(uid: u32) -> Self {
        let profile = super::oci::profile::tests::small();
        Self { uid, gid: uid, hybrid: uid != 0, etc: vec!["/etc/ssl/certs".into()], profile }
    }

    fn is_root(&self) -> bool {
        self.uid == 0
    }

    fn groups(&self) -> bool {
        self.is_root() && !self.hybrid
    }

    /// What is run around it. An ordinary user's podman would ask newuidmap(1) for the ids of /etc/subuid, which a user namespace with
    /// one id has not: it is started in one where that id is root, as `podman unshare` starts programs.
    fn around(&self) -> Vec<OsString> {
        if self.is_root() {
            return if self.hybrid { crun::without_unified(true) } else { Vec::new() };
        }
        let cover = if self.hybrid { crun::COVER } else { "true" };
        let ids = [
            "_CONTAINERS_USERNS_CONFIGURED=done".to_owned(),
            format!("_CONTAINERS_ROOTLESS_UID={}", self.uid),
            format!("_CONTAINERS_ROOTLESS_GID={}", self.gid),
        ];
        let start = format!("{cover} && exec env {} \"$@\"", ids.join(" "));
        let words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &start, "sh"];
        words.map(OsString::from).into()
    }
}

impl Adapter for Podman {
    fn name(&self) -> &'static str {
        "podman"
    }

    fn detect(&self) -> Result<String, String> {
        trial::run(self, &super::version(Command::new("podman").arg("--version"))?)
    }

    fn translate(&self, policy: PolicySource<'_>, case: Case<'_>) -> Result<Invocation, Inexpressible> {
        let policy = policy.policy;
        let view = View::of(policy, case, &self.etc)?;
        let root = case.scratch.join("root");
        let filter = case.scratch.join("seccomp.json");
        let mut run = containers::options(policy, case, self.groups(), &filter.display().to_string());
        let mut say = |words: &[&str]| run.extend(words.iter().map(|word| (*word).to_owned()));
        // Nothing is kept of what it prints, and nothing is told to the host's log.
        say(&["--log-driver", "none", "--no-hosts", "--cgroupns", "private"]);
        if !self.groups() {
            say(&["--cgroups", "disabled"]);
        }
        // Nobody inside is root outside. An ordinary user without further ids is root inside.
        let (maps, user) = match self.is_root() {
            true => ("0:100000:65536", containers::user(policy)),
            false => ("0:0:1", "0:0"),
        };
        say(&["--uidmap", maps, "--gidmap", maps, "--user", user]);
        // With a user namespace of its own, processes are counted in that (since Linux 5.14).
        let processes = policy.resources.processes;
        say(&["--ulimit", &format!("nproc={processes}:{processes}")]);
        // Not the writable directories that it adds to a read-only root by itself.
        say(&["--read-only-tmpfs=false", "--tmpfs", &containers::tmp(policy, view.no_execute_tmp)]);
        say(&["--tmpfs", "/run:rw,nosuid,nodev,noexec,mode=755,size=1m"]);
        for shown in &view.shown {
            let path = shown.path().display().to_string();
            let Shown::Host(bind) = shown else {
                say(&["--tmpfs", &format!("{path}:ro,nosuid,nodev,noexec,mode=755,size=64k")]);
                continue;
            };
            let access = if bind.writable { "rw" } else { "ro" };
            let execute = if bind.executable { "" } else { ",noexec" };
            // The files of root belong to the workload where it may write to them.
            let mapped = if bind.writable && self.is_root() { IDMAPPED } else { "" };
            say(&["--volume", &format!("{path}:{path}:{access},rprivate,nosuid,nodev{execute}{mapped}")]);
        }
        // What is hidden, and what of /proc tells of the host. What is not there is passed over.
        let hidden = view.hidden.iter().map(|path| path.display().to_string());
        let masked: Vec<String> =
            hidden.chain(proc::MASKED.iter().map(|name| format!("/proc/{name}"))).collect();
        say(&["--security-opt", &format!("mask={}", masked.join(":"))]);
        if let Some(time) = case.wall_time {
            // In whole seconds.
            say(&["--timeout", &time.as_secs_f64().ceil().to_string()]);
        }
        say(&["--rootfs", &root.display().to_string()]);
        let mut argv = self.around();
        argv.extend(["sh", "-c", START].map(OsString::from));
        argv.push(case.scratch.into());
        argv.extend(run.iter().chain(case.argv).map(OsString::from));
        let mut items = view.places(policy, case, &root);
        items.extend(["sys", "run"].map(|place| Item::Directory(root.join(place))));
        let profile = self.profile.file(&policy.process, policy.network.mode);
        items.push(Item::File(filter, serde_json::to_vec(&profile).unwrap_or_default()));
        items.push(Item::Directory(case.scratch.join("home")));
        Ok(Invocation { argv, env: Vec::new(), cwd: case.cwd.to_owned(), items })
    }

    fn exit(&self, code: i32) -> Exit {
        match code {
            containers::ENGINE_FAILED => Exit::Runtime,
            code => Exit::Workload(code),
        }
    }

    fn inexpressible(&self, policy: &Policy) -> BTreeMap<String, String> {
        let mut all = containers::inexpressible(policy, self.groups());
        // That of processes is kept by a limit of the user namespace.
        all.remove("resources.processes");
        let mut cannot = |pattern: &str, why: &str| {
            all.insert(pattern.to_owned(), why.to_owned());
        };
        for pattern in ["mnt/nodev", "mnt/noexec", "mnt/nosuid", "posture/mount/dev", "posture/mount/suid"] {
            cannot(
                pattern,
                "the root, the devices and the masks are mounted by the runtime, without options",
            );
        }
        for pattern in
            ["life/early-kill", "life/supervisor-killed", "life/leftover/*-killed", "life/*-orphan*"]
        {
            cannot(
                pattern,
                "a container is to outlive the program that started it (podman-run(1), --detach)",
            );
        }
        cannot("ns/nested-disabled", "runtimes take no sysctl of user.*");
        if !self.is_root() && policy.process.identity == Identity::User {
            let why = "uid 0 of the container has to be somebody, and an ordinary user has one id to map";
            all.insert("process.identity".to_owned(), why.to_owned());
        }
        all
    }
}

//! What a host shows besides what a plan depends on: each thing is done, in a process or in namespaces that end with it.
//!
//! For whoever wants to know, never for a run. Nothing is left behind but what the kernel loads for an attempt (a module of nftables
//! or of an interface), as it would for a run.

mod alone;
mod inside;
mod netlink;
mod programs;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use palisade_plan::KERNEL_ID_BASE;
use palisade_plan::facts::{Ability, HostFacts, NetworkFacts};
use palisade_policy::Backend;
use palisade_sys::Errno;
use palisade_sys::seccomp::Action;
use palisade_sys::{landlock, seccomp, surface};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::netlink::{self as protocols, SocketAddrNetlink};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use crate::mounts::Mounts;
use crate::network;
use crate::trial::IdMapTrial;

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // Their names say it; what each means is said where it is done.
pub enum Trial {
    UserNamespace,
    MountNamespace,
    PidNamespace,
    NetworkNamespace,
    IpcNamespace,
    UtsNamespace,
    CgroupNamespace,
    TimeNamespace,
    Nftables,
    Tun,
    Veth,
    Macvlan,
    LandlockRefer,
    LandlockTruncate,
    LandlockIoctl,
    LandlockTcp,
    LandlockScopes,
    SeccompKillProcess,
    SeccompLog,
    SeccompNotify,
    SeccompAddfdSend,
    SeccompWaitKillable,
    Ia32,
    X32,
    IoUring,
    Tiocsti,
    Audit,
    Mseal,
    Mdwe,
    MemfdNoexec,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was done.
    Done,
    /// The kernel, or a filter around this process, refused.
    Refused(Errno),
    /// The process that tried it was killed, by this signal.
    Killed(i32),
    /// What it needs could not be had.
    Untried(&'static str),
}

impl<T> From<Result<T, Errno>> for Answer {
    fn from(result: Result<T, Errno>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(errno) => Self::Refused(errno),
        }
    }
}

/// A file system that directories are on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Its type, as proc(5) calls it.
    pub kind: String,
    /// Whether it can be mounted with mapped ids. `None` for an ordinary user, whose workloads have his own.
    pub idmap: Option<Ability>,
}

/// What a host shows.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Every [`Trial`].
    pub trials: BTreeMap<Trial, Answer>,
    /// The files of [`SETTINGS`] that exist, with what is in them.
    pub settings: BTreeMap<&'static str, String>,
    /// What the programs of [`PROGRAMS`] that the host has call themselves.
    pub programs: BTreeMap<&'static str, String>,
    /// What it has of network, links too.
    pub network: NetworkFacts,
    /// A tmpfs.
    pub tmpfs: FileSystem,
    /// What the root directory is on.
    pub root: FileSystem,
    /// What the working directory is on.
    pub directory: FileSystem,
    /// Controllers of cgroups that the kernel was told to do without.
    pub disabled_controllers: BTreeSet<String>,
    /// Whether systemd is the first process.
    pub systemd: bool,
    /// The program that installs packages.
    pub installer: Option<&'static str>,
}

/// Settings that findings name.
pub const SETTINGS: &[&str] = &[
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/user/max_mnt_namespaces",
    "/proc/sys/user/max_pid_namespaces",
    "/proc/sys/user/max_net_namespaces",
    "/proc/sys/user/max_ipc_namespaces",
    "/proc/sys/user/max_uts_namespaces",
    "/proc/sys/user/max_cgroup_namespaces",
    "/proc/sys/user/max_time_namespaces",
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    "/proc/sys/kernel/io_uring_disabled",
    "/proc/sys/kernel/yama/ptrace_scope",
    "/proc/sys/dev/tty/legacy_tiocsti",
    "/proc/sys/vm/memfd_noexec",
    "/sys/kernel/security/lsm",
    "/sys/module/apparmor/parameters/enabled",
    "/sys/fs/selinux/enforce",
];

/// Programs that carry a network.
pub const PROGRAMS: &[&str] = &["nft", "pasta", "slirp4netns"];

/// Programs that install packages, and the word by which they do.
const INSTALLERS: &[(&str, &str)] = &[
    ("apt-get", "apt-get install"),
    ("dnf", "dnf install"),
    ("zypper", "zypper install"),
    ("pacman", "pacman -S"),
    ("apk", "apk add"),
];

/// Trials that have been started, each in a process of its own; most of their time they wait for the kernel.
/// [`findings`](crate::findings()) waits for them.
pub struct Started {
    programs: programs::Asked,
    inside: inside::Inside,
    alone: alone::Alone,
}

/// Starts them, for whoever has something else to do first, such as a survey.
pub fn start() -> Started {
    Started { inside: inside::start(), alone: alone::start(), programs: programs::ask(PROGRAMS) }
}

/// Looks at everything, for a caller that stands in `directory`.
pub(crate) fn observe(started: Started, facts: &HostFacts, directory: &Path) -> Observed {
    let mut trials = BTreeMap::from(here());
    let mounts = Mounts::read();
    let mut idmap = IdMapTrial::to(KERNEL_ID_BASE);
    let mut on = |path: &Path| FileSystem {
        kind: mounts.file_system(path).unwrap_or_else(|| "unknown".into()),
        idmap: facts.caller.privileged.then(|| idmap.attempt_one(path)),
    };
    let (root, directory) = (on(Path::new("/")), on(directory));
    trials.extend(started.alone.trials());
    trials.extend(started.inside.trials());
    Observed {
        trials,
        settings: SETTINGS
            .iter()
            .filter_map(|path| Some((*path, fs::read_to_string(path).ok()?.trim().to_owned())))
            .collect(),
        programs: programs::heard(started.programs),
        network: network::facts(true),
        tmpfs: FileSystem {
            kind: "tmpfs".into(),
            idmap: facts.caller.privileged.then(|| idmap.attempt_tmpfs()),
        },
        root,
        directory,
        disabled_controllers: disabled(&fs::read_to_string("/proc/cgroups").unwrap_or_default()),
        // sd_booted(3)
        systemd: Path::new("/run/systemd/system").is_dir(),
        installer: INSTALLERS
            .iter()
            .find(|(name, _)| network::found(name).is_some())
            .map(|(_, command)| *command),
    }
}

/// Tries of a network what a policy with this backend depends on.
pub(crate) fn try_network(network: &mut NetworkFacts, backend: Backend) {
    let trials = inside::start().trials();
    let able = |trial| match trials.get(&trial) {
        Some(Answer::Refused(errno)) => Ability::Unavailable(errno.to_string()),
        // What could not be tried is left to the run.
        _ => Ability::Available,
    };
    network.nftables = able(Trial::Nftables);
    if let Some(links) = &mut network.links {
        links.interface = match backend {
            Backend::Veth => able(Trial::Veth),
            Backend::Macvlan => able(Trial::Macvlan),
            _ => Ability::Available,
        };
    }
}

/// What needs no process of its own: it asks, or it makes something that goes at once.
fn here() -> [(Trial, Answer); 12] {
    /// linux/landlock.h: LANDLOCK_ACCESS_FS_*, both of LANDLOCK_ACCESS_NET_*_TCP, both of LANDLOCK_SCOPE_*.
    const REFER: u64 = 1 << 13;
    const TRUNCATE: u64 = 1 << 14;
    const IOCTL_DEV: u64 = 1 << 15;
    const TCP: u64 = 3;
    const SCOPES: u64 = 3;
    [
        (Trial::LandlockRefer, landlock::handles(REFER, 0, 0).into()),
        (Trial::LandlockTruncate, landlock::handles(TRUNCATE, 0, 0).into()),
        (Trial::LandlockIoctl, landlock::handles(IOCTL_DEV, 0, 0).into()),
        (Trial::LandlockTcp, landlock::handles(0, TCP, 0).into()),
        (Trial::LandlockScopes, landlock::handles(0, 0, SCOPES).into()),
        (Trial::SeccompKillProcess, seccomp::action_available(Action::KillProcess).into()),
        (Trial::SeccompLog, seccomp::action_available(Action::Log).into()),
        (Trial::SeccompWaitKillable, seccomp::wait_killable_available().into()),
        (Trial::Audit, errno(audit()).into()),
        (Trial::Mseal, surface::mseal().into()),
        (Trial::Mdwe, surface::mdwe().into()),
        (Trial::MemfdNoexec, errno(memfd_create(c"", MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL)).into()),
    ]
}

/// Joins the group that audit records are sent to (linux/audit.h, AUDIT_NLGRP_READLOG), and leaves it.
fn audit() -> Result<(), rustix::io::Errno> {
    const READLOG: u32 = 1;
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocols::AUDIT))?;
    bind(&socket, &SocketAddrNetlink::new(0, READLOG))
}

fn errno<T>(result: Result<T, rustix::io::Errno>) -> Result<T, Errno> {
    result.map_err(|errno| Errno(errno.raw_os_error()))
}

/// The controllers that /proc/cgroups lists as not enabled (cgroups(7)): name, hierarchy, groups, enabled.
fn disabled(table: &str) -> BTreeSet<String> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?;
        (words.nth(2)? == "0").then(|| name.to_owned())
    };
    table.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_was_told_to_do_without() {
        let table =
            "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t0\t1\t1\nmemory\t0\t1\t0\npids\t0\t1\t0\n";
        assert_eq!(disabled(table), ["memory", "pids"].map(str::to_owned).into());
        assert!(disabled("").is_empty());
    }
}

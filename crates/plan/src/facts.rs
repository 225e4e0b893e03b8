//! What is known about a host: the input of [`decide()`](crate::decide()) besides the policy.
//!
//! Facts are data. `palisade-host` finds them out by doing each thing; tests read them from `fixtures/hosts`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::step::{CgroupVersion, Controller};

/// Facts about one host, one caller, and the paths that one policy names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostFacts {
    /// The kernel's release, as uname(2) tells it.
    pub kernel: String,
    /// Who asks.
    pub caller: Caller,
    /// Whether the caller may make user namespaces, and all the others inside one.
    pub namespaces: Ability,
    /// Whether detached mounts can be made and their attributes set: open_tree(2), mount_setattr(2) (Linux 5.12).
    pub mount_attributes: Ability,
    /// Whether a new procfs can be mounted in a new pid namespace (not where /proc itself is partly covered).
    pub procfs: Ability,
    /// Whether a private layer can be mounted over a directory in a new user namespace (overlayfs, `userxattr`).
    pub overlay: Ability,
    /// Whether a system-call filter can return an errno.
    pub seccomp: Ability,
    /// The highest Landlock ABI, 0 without Landlock.
    pub landlock_abi: u32,
    /// The cgroup hierarchies that limit something, version 2 first, as far as the policy needs them.
    pub cgroups: Vec<CgroupHierarchy>,
    /// Which of the files and directories that a sandbox masks exist below this host's /proc.
    pub proc_entries: BTreeSet<String>,
    /// What a new root can take from this host.
    pub base: BaseLayout,
    /// What stands at each path that the policy names, by absolute path.
    pub paths: BTreeMap<PathBuf, PathFact>,
    /// What carrying traffic depends on. Asked only for a policy that lets something out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkFacts>,
}

/// What carrying traffic depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkFacts {
    /// Whether the kernel speaks IPv6.
    pub ipv6: bool,
    /// The program that loads rulesets of nftables, without symbolic links, if the host has it.
    pub nft: Option<PathBuf>,
    /// Whether the kernel takes such rulesets in a network namespace of the caller's. Taken for granted where it was not tried.
    #[serde(default)]
    pub nftables: Ability,
    /// The resolvers that this host asks (resolv.conf(5)).
    pub resolvers: Vec<SocketAddr>,
    /// What a link into the sandbox depends on. Asked only for a policy that wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<LinkFacts>,
}

/// What a link into a sandbox depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkFacts {
    /// The program `pasta`, if the host has it. By that name: what it is called is what it does (passt(1)).
    pub pasta: Option<PathBuf>,
    /// The program `slirp4netns`.
    pub slirp4netns: Option<PathBuf>,
    /// Whether /tmp is a mount that others share: there slirp4netns cannot make its own sandbox (pivot_root(2), EINVAL).
    pub shared_tmp: bool,
    /// Whether the caller may open /dev/net/tun, of which those two make their links.
    pub tun: Ability,
    /// Whether the kernel has the kind of interface that the policy's backend is, for `veth` and `macvlan`. Taken for granted
    /// where it was not tried.
    #[serde(default)]
    pub interface: Ability,
    /// Whether the caller may make interfaces on this host: it holds CAP_NET_ADMIN.
    pub net_admin: bool,
    /// Whether this host carries packets between its interfaces, of IPv4 and of IPv6 (ip-sysctl.rst, `ip_forward`,
    /// `forwarding`).
    pub forwards: [bool; 2],
    /// The addresses of this host's own interfaces, but those of loopback.
    pub own: BTreeSet<IpAddr>,
    /// Whether this host itself has no way out: no links but its loopback, and those of sandboxes and labs.
    pub isolated: bool,
    /// The interface of this host's default route, or its loopback where it has none.
    pub uplink: String,
    /// A number, from 1, that no link of a sandbox on this host has.
    pub free: u16,
}

/// Who starts the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Whether it can map ids that are not its own: it holds CAP_SYS_ADMIN, CAP_SETUID and CAP_SETGID in a user
    /// namespace that has the ids from [`KERNEL_ID_BASE`](crate::KERNEL_ID_BASE) on.
    pub privileged: bool,
    /// Whether `uid` is the kernel's own uid 0, not one that a user namespace shows as 0.
    pub kernel_root: bool,
    /// Supplementary groups besides `gid`.
    pub groups: Vec<u32>,
    /// Hard limits. `None` is unlimited.
    pub hard_limits: HardLimits,
}

/// The caller's hard resource limits, which a sandbox cannot exceed. `None` is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardLimits {
    /// RLIMIT_AS, in bytes.
    #[serde(default)]
    pub address_space: Option<u64>,
    /// RLIMIT_NOFILE.
    pub open_files: Option<u64>,
    /// RLIMIT_FSIZE, in bytes.
    pub file_size: Option<u64>,
    /// RLIMIT_NPROC.
    pub processes: Option<u64>,
    /// RLIMIT_CPU, in seconds.
    pub cpu_time: Option<u64>,
}

/// Whether something can be done, and if not, what the attempt said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ability {
    /// It was done.
    #[default]
    Available,
    /// It failed: operation, errno and, where known, the setting that forbids it.
    Unavailable(String),
}

impl Ability {
    /// The reason why not, if any.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Available => None,
            Self::Unavailable(reason) => Some(reason),
        }
    }
}

/// A cgroup hierarchy as the caller can use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CgroupHierarchy {
    /// Which kind of hierarchy.
    pub version: CgroupVersion,
    /// The group below which the sandbox's own can be made, by its directory; where none can be made, the one that was
    /// tried last.
    pub parent: PathBuf,
    /// Whether a group was made there, and could be joined.
    pub ability: Ability,
    /// What such a group can limit or count; where none can be made, what the hierarchy is for.
    pub controllers: BTreeSet<Controller>,
    /// Which of [`OPTIONAL_CGROUP_FILES`] such a group has.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub files: BTreeSet<String>,
}

/// What a new root can take from this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseLayout {
    /// The top-level directories of programs and libraries (`/usr`, and `/bin`, `/lib` ... where they are
    /// directories of their own).
    pub directories: BTreeSet<PathBuf>,
    /// The top-level links into `/usr` (`/bin` -> `usr/bin`).
    pub links: BTreeMap<PathBuf, PathBuf>,
    /// Which of the harmless parts of `/etc` exist: certificates, the loader's cache, alternatives, ...
    pub etc: BTreeMap<PathBuf, Kind>,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathFact {
    /// Nothing, or nothing that the caller can see.
    Missing(Missing),
    /// A file or directory.
    Present(Present),
}

/// A path that a policy names and at which nothing stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Missing {
    /// What the look-up said.
    pub reason: String,
    /// As far as the path exists, where that could be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Reached>,
    /// The symbolic links that were followed, by their places without symbolic links.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub links: BTreeSet<PathBuf>,
}

impl Missing {
    /// A path about which nothing more is known.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), reached: None, links: BTreeSet::new() }
    }
}

/// The part of a missing path that exists, and the part that does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// The last file or directory on the way, without symbolic links.
    pub path: PathBuf,
    /// What it is. Only below a directory something can appear.
    pub kind: Kind,
    /// The names below it that do not exist.
    pub rest: PathBuf,
    /// Whether the caller may make a file there.
    pub writable: Ability,
    /// Other places at which the host shows the same.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub aliases: BTreeSet<PathBuf>,
}

impl Reached {
    /// Where the missing path would be if this part of it were at `path`. Nothing is below what is no directory.
    pub fn place_at(&self, path: &Path) -> PathBuf {
        match self.kind {
            Kind::Directory => path.join(&self.rest),
            Kind::File | Kind::Special => path.to_path_buf(),
        }
    }
}

/// A file or directory that a policy names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Present {
    /// Its path without symbolic links.
    pub canonical: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Whether its file system can be mounted with mapped ids. Asked only for a privileged caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idmap: Option<Ability>,
    /// The symbolic links that were followed, by their places without symbolic links.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub links: BTreeSet<PathBuf>,
    /// What is mounted below it, as far as it can be seen. Asked only for a policy with an overlay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mounts: BTreeMap<PathBuf, Kind>,
    /// Other places at which the host shows the same files, or a part of them. Asked only for a policy that could be
    /// undone by them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<PathBuf, Alias>,
}

/// Another place at which the host shows the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    /// What stands there.
    pub kind: Kind,
    /// How many names below the path that which is shown there begins: 0 for all of it.
    pub above: usize,
}

/// What kind of file something is, as far as mounting over it is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A socket, pipe or device.
    Special,
}

impl HostFacts {
    /// Why something that is only done in namespaces cannot be done, if it could be tried: where there are none, that is the reason.
    pub fn reason_inside<'a>(&self, ability: &'a Ability) -> Option<&'a str> {
        ability.reason().filter(|_| self.namespaces == Ability::Available)
    }

    /// What stands at `path`, which must be one of the paths that the facts were collected for.
    pub fn path(&self, path: &Path) -> Option<&PathFact> {
        self.paths.get(path)
    }
}

/// Files of a group that not every kernel has and that a plan writes where they exist
/// (admin-guide/cgroup-v2.rst, admin-guide/cgroup-v1/memory.rst).
pub const OPTIONAL_CGROUP_FILES: &[&str] =
    &["memory.memsw.limit_in_bytes", "memory.swap.max", "memory.swappiness"];

/// Which files and directories of procfs a sandbox masks: those that tell about the host or act on it, and that a
/// pid namespace does not hide. The survey says which of them exist.
///
/// Source: the masked paths of the OCI runtimes (moby's `DefaultMaskedPaths`), and proc(5).
pub const MASKED_PROC_ENTRIES: &[&str] = &[
    "acpi",
    "asound",
    "bootconfig",
    "bus",
    "config.gz",
    "driver",
    "dynamic_debug",
    "execdomains",
    "fb",
    "fs",
    "interrupts",
    "iomem",
    "ioports",
    "irq",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "mtrr",
    "pagetypeinfo",
    "sched_debug",
    "schedstat",
    "scsi",
    "slabinfo",
    "softirqs",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
    "vmallocinfo",
];

/// Which parts of the host's `/etc` a generated `/etc` may take over: nothing secret, nothing about users or the
/// network, and without them common programs fail.
pub const SHARED_ETC_ENTRIES: &[&str] = &[
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/crypto-policies",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/protocols",
    "/etc/python3",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
];

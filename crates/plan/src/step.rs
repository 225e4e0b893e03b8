//! The steps of a plan: each a typed value that one line of the launcher carries out.
//!
//! The order of the variants is roughly the order of execution; the order of a plan is what counts.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use palisade_policy::{ByteSize, Clause, Network, Protocol};
use serde::{Deserialize, Serialize};

use crate::seccomp::Profile;

/// A step with the clause of the policy that it serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedStep {
    /// The clause.
    pub serves: Clause,
    /// What is done.
    pub step: Step,
}

/// One thing that is done between the decision to run and the workload's first instruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Make a control group for the sandbox, with these limits, in which its first process begins.
    JoinCgroup {
        /// The kind of hierarchy.
        version: CgroupVersion,
        /// What the group is for.
        controllers: Vec<Controller>,
        /// The directory of the group below which it is made.
        parent: PathBuf,
        /// What is written to the group's files, in this order, which is also the one that the kernel wants:
        /// `memory.memsw.limit_in_bytes` may not be lower than `memory.limit_in_bytes`.
        limits: BTreeMap<String, String>,
    },
    /// End everything in the sandbox when its group has used this much processor time.
    WatchCpuTime {
        /// How much.
        limit: Duration,
    },
    /// Make the first process of the sandbox, in new namespaces.
    NewNamespaces {
        /// Which.
        namespaces: Vec<Namespace>,
    },
    /// Map one user and one group id between the sandbox and the host.
    MapIds {
        /// The user id.
        uid: IdPair,
        /// The group id.
        gid: IdPair,
    },
    /// Close every descriptor but the three standard ones and those of the launcher itself.
    CloseDescriptors {},
    /// Overwrite the caller's arguments and environment in the memory of the first process.
    WipeArguments {},
    /// Drop the caller's supplementary groups.
    ClearGroups {},
    /// Become the user and group that the sandbox maps.
    SetIds {
        /// The user id inside.
        uid: u32,
        /// The group id inside.
        gid: u32,
    },
    /// Name the host, inside, and give it no NIS domain.
    SetHostname {
        /// The name.
        name: String,
    },
    /// Bring up the sandbox's own loopback interface.
    LoopbackUp {},
    /// Give the loopback interface an address of the sandbox's own.
    AddAddress {
        /// Which.
        address: IpAddr,
    },
    /// Say what becomes of packets to a range, in the table `local`, which the kernel asks first (ip-route(8)).
    AddRoute {
        /// The range.
        net: IpNet,
        /// What becomes of them.
        kind: RouteKind,
    },
    /// Make a socket in the sandbox's network namespace, which the gateway serves from outside.
    Listen {
        /// Over which transport.
        protocol: Protocol,
        /// At which address; the unspecified one is every address of both families.
        address: IpAddr,
        /// On which port.
        port: u16,
    },
    /// Make sockets that take what is meant for other addresses and ports, as far as rules of nftables bring it to them
    /// (`tproxy`, Documentation/networking/tproxy.rst).
    ListenTransparent {
        /// The unspecified address of IPv4, or that of IPv6 for both families.
        address: IpAddr,
        /// On which port, of TCP and UDP.
        port: u16,
    },
    /// Make raw sockets by which the gateway answers in the name of addresses and ports that no socket has, and refuses
    /// datagrams (raw(7)).
    OpenRaw {
        /// Whether of IPv6 too.
        ipv6: bool,
    },
    /// Load a ruleset into the sandbox's network namespace.
    LoadRuleset {
        /// The program that loads it, without symbolic links.
        nft: PathBuf,
        /// The ruleset, in the JSON of libnftables-json(5).
        ruleset: String,
    },
    /// Have an interface put into the sandbox's network namespace, and wait until it is there. Whoever carries its packets
    /// stands outside, and ends with the sandbox.
    AttachLink {
        /// The name of the interface, inside.
        name: String,
        /// How.
        carrier: Carrier,
    },
    /// Give that interface addresses, and bring it up.
    LinkUp {
        /// Its addresses.
        addresses: Vec<IpAddr>,
        /// The longest packet, in bytes, where it is not to stay as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mtu: Option<u32>,
    },
    /// Carry what is allowed to the sockets of the sandbox, from outside.
    ServeEgress {
        /// What is allowed.
        network: Network,
        /// Who is asked for the addresses of names.
        resolvers: Vec<SocketAddr>,
        /// A defect for the conformance suite to find.
        #[serde(default)]
        mutant: Option<String>,
    },
    /// Cut mount propagation from and to the host.
    PrivateMounts {},
    /// Mount an empty tmpfs that is to become the root directory.
    NewRoot {
        /// Its size.
        size: ByteSize,
    },
    /// Make a directory, unless it exists.
    MakeDirectory {
        /// Where, in the new root.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Make a file.
    MakeFile {
        /// Where, in the new root.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// What it holds.
        content: String,
    },
    /// Make a symbolic link.
    MakeLink {
        /// Where, in the new root.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// Mount a tmpfs.
    MountTmpfs {
        /// Where, in the new root.
        path: PathBuf,
        /// How many bytes it may hold.
        size: ByteSize,
        /// How many files it may hold.
        inodes: u64,
        /// The mode of its root directory.
        mode: u32,
        /// Its attributes.
        attributes: MountAttributes,
    },
    /// Mount a copy of a part of the host's tree, with all mounts below it.
    MountBind {
        /// What, on the host, without symbolic links.
        source: PathBuf,
        /// Where, in the new root.
        path: PathBuf,
        /// The attributes that it gets, and every mount below it.
        attributes: MountAttributes,
        /// Whether mounts below it come along and get the same attributes.
        recursive: bool,
        /// The owner on disk whose files appear as the workload's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idmap: Option<IdMap>,
    },
    /// Mount the procfs of the sandbox's pid namespace.
    MountProc {
        /// Where, in the new root.
        path: PathBuf,
        /// Its attributes.
        attributes: MountAttributes,
    },
    /// Mount a devpts of the sandbox's own.
    MountDevpts {
        /// Where, in the new root.
        path: PathBuf,
    },
    /// Mount a part of the new root over itself, read-only.
    ProtectPath {
        /// Which, in the new root.
        path: PathBuf,
    },
    /// Mount something empty that nobody may open over a file or directory.
    MaskPath {
        /// Which, in the new root.
        path: PathBuf,
    },
    /// Make an empty file or directory on the host, at a path where nothing stands and that has to stay covered. It is
    /// taken away after the run. Where `host` is false it is made in the new root instead, and ends with it.
    MakePlaceholder {
        /// Where, without symbolic links.
        path: PathBuf,
        /// Whether it is a directory.
        directory: bool,
        /// Whether the file system is the host's.
        host: bool,
    },
    /// Mount a directory, file or link of the new root over itself, with all mounts below it: a mount point can be
    /// neither renamed nor removed (rename(2), EBUSY).
    PinPath {
        /// Which, in the new root.
        path: PathBuf,
        /// The attributes that the mount gets besides those that it has, and every mount below it.
        attributes: MountAttributes,
    },
    /// Tell the supervisor that everything before is done, and wait until it lets the first process go on, or is gone. No
    /// policy asks for it: a plan given as data stops here, to be looked at half-way.
    Checkpoint {},
    /// Mount the private file system that takes up what the workload changes below the read-write paths. It is reachable
    /// in the new root only until it is closed.
    MountWorkspace {
        /// How many bytes it may hold.
        size: ByteSize,
        /// How many files it may hold.
        inodes: u64,
    },
    /// Mount a private layer over a directory of the host: what is changed there goes to the workspace.
    MountOverlay {
        /// What lies below, on the host, without symbolic links.
        source: PathBuf,
        /// Where, in the new root.
        path: PathBuf,
        /// Which part of the workspace takes up the changes.
        number: u32,
        /// The attributes that the mount gets.
        attributes: MountAttributes,
        /// The owner on disk whose files appear as the workload's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idmap: Option<IdMap>,
    },
    /// Copy a directory of the host into the workspace, with what is mounted below it, and mount the copy.
    MountCopy {
        /// What is copied, on the host, without symbolic links.
        source: PathBuf,
        /// Where, in the new root.
        path: PathBuf,
        /// Which part of the workspace holds the copy.
        number: u32,
        /// The attributes that the mount gets.
        attributes: MountAttributes,
        /// The owner on disk whose files appear as the workload's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idmap: Option<IdMap>,
        /// What other rules cover: it is made, and nothing is copied into it.
        empty: Vec<PathBuf>,
    },
    /// Take the workspace itself out of the new root; the supervisor gets hold of what it took up.
    CloseWorkspace {},
    /// Let no further user namespace be made in the sandbox (`user.max_user_namespaces`, namespaces(7)).
    ForbidUserNamespaces {},
    /// Make the new root the root directory and detach the old one.
    PivotRoot {},
    /// Make a mount of the new root read-only, not what is mounted below it.
    SealMount {
        /// Where.
        path: PathBuf,
    },
    /// Become the leader of a session without a terminal.
    NewSession {},
    /// Set a per-process limit, soft and hard.
    Limit {
        /// Which.
        resource: LimitedResource,
        /// How much.
        value: u64,
    },
    /// Let nobody read the memory of the first process, or trace it.
    NotDumpable {},
    /// Empty the capability bounding set but for these.
    DropBoundingSet {
        /// What stays, by kernel name.
        keep: Vec<String>,
    },
    /// Let no program gain privilege by execve(2).
    NoNewPrivileges {},
    /// Restrict file access a second time, by what the files are.
    RestrictLandlock {
        /// The Landlock ABI that the rights are of.
        abi: u32,
        /// What is allowed where, in the new root.
        rules: Vec<LandlockRule>,
    },
    /// Empty the effective, permitted, inheritable and ambient capability sets but for these.
    DropCapabilities {
        /// What stays, by kernel name.
        keep: Vec<String>,
    },
    /// Install the system-call filter.
    InstallSeccomp {
        /// What it says.
        profile: Profile,
    },
}

impl Step {
    /// The name of the step, as plans and errors show it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::JoinCgroup { .. } => "join cgroup",
            Self::WatchCpuTime { .. } => "watch cpu time",
            Self::NewNamespaces { .. } => "new namespaces",
            Self::MapIds { .. } => "map ids",
            Self::CloseDescriptors {} => "close descriptors",
            Self::WipeArguments {} => "wipe arguments",
            Self::ClearGroups {} => "clear groups",
            Self::SetIds { .. } => "set ids",
            Self::SetHostname { .. } => "set hostname",
            Self::LoopbackUp {} => "loopback up",
            Self::AddAddress { .. } => "add address",
            Self::AddRoute { .. } => "add route",
            Self::Listen { .. } => "listen",
            Self::ListenTransparent { .. } => "listen transparent",
            Self::OpenRaw { .. } => "open raw",
            Self::LoadRuleset { .. } => "load ruleset",
            Self::AttachLink { .. } => "attach link",
            Self::LinkUp { .. } => "link up",
            Self::ServeEgress { .. } => "serve egress",
            Self::PrivateMounts {} => "private mounts",
            Self::NewRoot { .. } => "new root",
            Self::MakeDirectory { .. } => "make directory",
            Self::MakeFile { .. } => "make file",
            Self::MakeLink { .. } => "make link",
            Self::MountTmpfs { .. } => "mount tmpfs",
            Self::MountBind { .. } => "mount bind",
            Self::MountProc { .. } => "mount proc",
            Self::MountDevpts { .. } => "mount devpts",
            Self::ProtectPath { .. } => "protect path",
            Self::MaskPath { .. } => "mask path",
            Self::MakePlaceholder { .. } => "make placeholder",
            Self::PinPath { .. } => "pin path",
            Self::Checkpoint {} => "checkpoint",
            Self::MountWorkspace { .. } => "mount workspace",
            Self::MountOverlay { .. } => "mount overlay",
            Self::MountCopy { .. } => "mount copy",
            Self::CloseWorkspace {} => "close workspace",
            Self::ForbidUserNamespaces {} => "forbid user namespaces",
            Self::PivotRoot {} => "pivot root",
            Self::SealMount { .. } => "seal mount",
            Self::NewSession {} => "new session",
            Self::Limit { .. } => "limit",
            Self::NotDumpable {} => "not dumpable",
            Self::DropBoundingSet { .. } => "drop bounding set",
            Self::NoNewPrivileges {} => "no new privileges",
            Self::RestrictLandlock { .. } => "restrict landlock",
            Self::DropCapabilities { .. } => "drop capabilities",
            Self::InstallSeccomp { .. } => "install seccomp",
        }
    }

    /// What the step acts on, for plans and errors.
    pub fn operand(&self) -> String {
        let join = |words: &[String]| if words.is_empty() { "nothing kept".into() } else { words.join(" ") };
        match self {
            Self::JoinCgroup { version, parent, limits, .. } => {
                let limits: String = limits.iter().map(|(file, value)| format!(" {file}={value}")).collect();
                format!("{} below {}{limits}", version.word(), parent.display())
            }
            Self::WatchCpuTime { limit } => format!("{limit:?}"),
            Self::NewNamespaces { namespaces } => {
                let words: Vec<&str> = namespaces.iter().map(|namespace| namespace.word()).collect();
                words.join(" ")
            }
            Self::MapIds { uid, gid } => {
                format!(
                    "uid {} = {} outside, gid {} = {} outside",
                    uid.inside, uid.outside, gid.inside, gid.outside
                )
            }
            Self::SetIds { uid, gid } => format!("uid {uid}, gid {gid}"),
            Self::SetHostname { name } => name.clone(),
            Self::AddAddress { address } => address.to_string(),
            Self::AddRoute { net, kind: RouteKind::Link { router } } => format!("{net} by {router}"),
            Self::AddRoute { net, kind } => format!("{} {net}", kind.word()),
            Self::AttachLink { name, carrier } => format!("{name}: {carrier}"),
            Self::LinkUp { addresses, .. } => {
                addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
            }
            Self::Listen { protocol, address, port } => {
                format!("{} {}", protocol.word(), SocketAddr::new(*address, *port))
            }
            Self::ListenTransparent { address, port } => SocketAddr::new(*address, *port).to_string(),
            Self::OpenRaw { ipv6 } => if *ipv6 { "both families" } else { "IPv4" }.into(),
            Self::LoadRuleset { nft, .. } => nft.display().to_string(),
            Self::ServeEgress { network, resolvers, .. } => {
                format!("{}, {} rules, {} resolvers", network.mode, network.allow.len(), resolvers.len())
            }
            Self::NewRoot { size } => size.to_string(),
            Self::MakeDirectory { path, mode } | Self::MakeFile { path, mode, .. } => {
                format!("{} {mode:04o}", path.display())
            }
            Self::MakeLink { path, target } => format!("{} -> {}", path.display(), target.display()),
            Self::MountTmpfs { path, size, inodes, attributes, .. } => {
                format!("{} {size} {inodes} files {attributes}", path.display())
            }
            Self::MountWorkspace { size, inodes } => format!("{size} {inodes} files"),
            Self::MountOverlay { path, attributes, idmap, .. }
            | Self::MountCopy { path, attributes, idmap, .. } => {
                let ids = idmap.as_ref().map(|map| format!(" owner {}:{}", map.uid.inside, map.gid.inside));
                format!("{} {attributes}{}", path.display(), ids.unwrap_or_default())
            }
            Self::MountBind { source, path, attributes, recursive, idmap } => {
                let from = if source == path { String::new() } else { format!(" from {}", source.display()) };
                let depth = if *recursive { " recursive" } else { "" };
                let ids = idmap.as_ref().map(|map| format!(" owner {}:{}", map.uid.inside, map.gid.inside));
                format!("{}{from} {attributes}{depth}{}", path.display(), ids.unwrap_or_default())
            }
            Self::MountProc { path, attributes } => format!("{} {attributes}", path.display()),
            Self::MountDevpts { path }
            | Self::ProtectPath { path }
            | Self::MaskPath { path }
            | Self::SealMount { path } => path.display().to_string(),
            Self::PinPath { path, attributes } => {
                let noexec = if attributes.noexec { " noexec" } else { "" };
                format!("{}{noexec}", path.display())
            }
            Self::MakePlaceholder { path, directory, host } => {
                let kind = if *directory { "directory" } else { "file" };
                let place = if *host { " on the host" } else { "" };
                format!("{} {kind}{place}", path.display())
            }
            Self::Limit { resource, value } => format!("{} {value}", resource.word()),
            Self::DropBoundingSet { keep } | Self::DropCapabilities { keep } => join(keep),
            Self::RestrictLandlock { abi, rules } => format!("abi {abi}, {} rules", rules.len()),
            Self::InstallSeccomp { .. }
            | Self::CloseDescriptors {}
            | Self::WipeArguments {}
            | Self::ClearGroups {}
            | Self::LoopbackUp {}
            | Self::PrivateMounts {}
            | Self::Checkpoint {}
            | Self::ForbidUserNamespaces {}
            | Self::CloseWorkspace {}
            | Self::PivotRoot {}
            | Self::NewSession {}
            | Self::NotDumpable {}
            | Self::NoNewPrivileges {} => String::new(),
        }
    }
}

/// What becomes of packets to a range (ip-route(8)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteKind {
    /// They are delivered to this host: to whoever listens.
    Local,
    /// They are refused with EACCES.
    Prohibit,
    /// They go out by the link, to this router at its other end.
    Link {
        /// Its address, of the family of the range. It need not be in a range of the interface's.
        router: IpAddr,
    },
}

impl RouteKind {
    /// Its name in plans.
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Prohibit => "prohibit",
            Self::Link { .. } => "link",
        }
    }
}

/// A kind of cgroup hierarchy (cgroups(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupVersion {
    /// Version 2, the unified hierarchy.
    V2,
    /// Version 1, a hierarchy for one or a few controllers.
    V1,
}

impl CgroupVersion {
    /// Its name in plans.
    pub fn word(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }

    /// Its name among other facts about a host.
    pub fn cgroup_word(self) -> &'static str {
        match self {
            Self::V1 => "cgroup v1",
            Self::V2 => "cgroup v2",
        }
    }
}

/// What a control group limits or counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Controller {
    /// Memory.
    Memory,
    /// Processes and threads.
    Pids,
    /// Processor time per wall time.
    Cpu,
    /// Processor time used, counted: the controller `cpuacct` of version 1; version 2 always counts it.
    CpuAccounting,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Memory, Self::Pids, Self::Cpu, Self::CpuAccounting];

    /// Its name among the options of a version 1 hierarchy.
    pub fn v1_name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
            Self::CpuAccounting => "cpuacct",
        }
    }

    /// The file by which a group shows that it can do this.
    pub fn file(self, version: CgroupVersion) -> &'static str {
        match (self, version) {
            (Self::Memory, CgroupVersion::V2) => "memory.max",
            (Self::Memory, CgroupVersion::V1) => "memory.limit_in_bytes",
            (Self::Pids, _) => "pids.max",
            (Self::Cpu, CgroupVersion::V2) => "cpu.max",
            (Self::Cpu, CgroupVersion::V1) => "cpu.cfs_quota_us",
            (Self::CpuAccounting, CgroupVersion::V2) => "cpu.stat",
            (Self::CpuAccounting, CgroupVersion::V1) => "cpuacct.usage",
        }
    }
}

/// A kind of namespace (namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// User and group ids, capabilities.
    User,
    /// Mounts.
    Mount,
    /// Process ids.
    Pid,
    /// Network devices, addresses, ports.
    Network,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host and domain name.
    Uts,
    /// The view of the cgroup tree.
    Cgroup,
}

impl Namespace {
    /// All that a sandbox is made of.
    pub const ALL: [Self; 7] =
        [Self::User, Self::Mount, Self::Pid, Self::Network, Self::Ipc, Self::Uts, Self::Cgroup];

    /// Its name in plans.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Mount => "mount",
            Self::Pid => "pid",
            Self::Network => "network",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
        }
    }
}

/// An id inside a user namespace and the id outside that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdPair {
    /// The id inside; for an ID-mapped mount, the id that the file system stores.
    pub inside: u32,
    /// The id outside.
    pub outside: u32,
}

/// The ids of an ID-mapped mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdMap {
    /// The owner on disk, and the user that it is shown as.
    pub uid: IdPair,
    /// The group on disk, and the group that it is shown as.
    pub gid: IdPair,
}

/// Attributes of a mount that a step sets; what is false is left as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountAttributes {
    /// No writing.
    pub read_only: bool,
    /// Set-user-id bits and file capabilities have no effect.
    pub nosuid: bool,
    /// Device files cannot be opened.
    pub nodev: bool,
    /// Nothing can be executed.
    pub noexec: bool,
}

impl MountAttributes {
    /// What every mount of a sandbox has at least.
    pub const SAFE: Self = Self { read_only: false, nosuid: true, nodev: true, noexec: false };
}

impl std::fmt::Display for MountAttributes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.read_only { "ro" } else { "rw" })?;
        for (set, word) in [(self.nosuid, "nosuid"), (self.nodev, "nodev"), (self.noexec, "noexec")] {
            if set {
                write!(f, ",{word}")?;
            }
        }
        Ok(())
    }
}

/// A resource that setrlimit(2) limits per process, or per user in its user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitedResource {
    /// Address space of one process, in bytes (RLIMIT_AS).
    AddressSpace,
    /// Size of core dumps, in bytes (RLIMIT_CORE).
    Core,
    /// Processor time of one process, in seconds (RLIMIT_CPU).
    CpuTime,
    /// Size of a file, in bytes (RLIMIT_FSIZE).
    FileSize,
    /// Open descriptors of one process (RLIMIT_NOFILE).
    OpenFiles,
    /// Processes and threads of the sandbox's user in its user namespace (RLIMIT_NPROC, since Linux 5.14).
    Processes,
}

impl LimitedResource {
    /// Its name in plans.
    pub fn word(self) -> &'static str {
        match self {
            Self::AddressSpace => "address_space",
            Self::Core => "core",
            Self::CpuTime => "cpu_time",
            Self::FileSize => "file_size",
            Self::OpenFiles => "open_files",
            Self::Processes => "processes",
        }
    }
}

/// What Landlock allows below one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LandlockRule {
    /// The path, in the new root.
    pub path: PathBuf,
    /// What is allowed.
    pub access: LandlockAccess,
}

/// A set of Landlock rights that belongs to one kind of place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LandlockAccess {
    /// Read files and directories, execute.
    Read,
    /// And every change, but no device ioctl and no device files.
    Write,
    /// Read and write one device, without ioctl.
    Device,
    /// Read and write terminals, with ioctl.
    Terminal,
}

/// Who makes the interface that leads out of a sandbox, and carries its packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Carrier {
    /// A program, which runs as long as the sandbox.
    Program {
        /// Which, without symbolic links.
        path: PathBuf,
        /// Its arguments. In them `{network}` and `{user}` stand for the files of the sandbox's network and user
        /// namespaces (namespaces(7), `/proc/PID/ns`).
        arguments: Vec<String>,
    },
    /// A veth pair (veth(4)). The kernel of the host carries its packets.
    Veth {
        /// The name of the host's end.
        name: String,
        /// The addresses of the host's end.
        routers: Vec<IpAddr>,
        /// The addresses of the sandbox's end, to which the host gets routes.
        addresses: Vec<IpAddr>,
    },
    /// An interface beside one of the host, in mode `private`: it reaches what that reaches, and nothing on the host.
    Macvlan {
        /// Beside which.
        parent: String,
    },
}

impl std::fmt::Display for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Program { path, arguments } => write!(f, "{} {}", path.display(), arguments.join(" ")),
            Self::Veth { name, .. } => write!(f, "veth {name}"),
            Self::Macvlan { parent } => write!(f, "macvlan beside {parent}"),
        }
    }
}

/// The environment variables of the workload.
pub type Variables = BTreeMap<String, String>;

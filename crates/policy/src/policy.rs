//! The validated policy: what every later stage works on.
//!
//! Values of these types are made by the parser ([`crate::Document`]) and by narrowing; a stage that holds a
//! `Policy` need not check again what its constructor has checked.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::diagnostic::printable;
use crate::refusal::Refusal;
use crate::units::ByteSize;

/// The name of one clause of a policy, as a path of keys: `filesystem.read_only[0]`, `network.metadata`.
///
/// Plans, coverage, probes and reports all refer to a clause by this name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Clause(Cow<'static, str>);

impl Clause {
    /// A clause that is known when the program is written.
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The `index`-th entry of the list `list`: `filesystem.hidden[2]`.
    pub fn entry(list: &str, index: usize) -> Self {
        Self(Cow::Owned(format!("{list}[{index}]")))
    }

    /// The entry `key` of the map `map`: `environment.set.CI`.
    pub fn key(map: &str, key: &str) -> Self {
        Self(Cow::Owned(format!("{map}.{key}")))
    }

    /// The clause as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Clause {
    /// A clause that was read. Nothing says that any policy has it.
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

impl Borrow<str> for Clause {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What may happen inside a sandbox. Absent clauses have their strictest value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Policy {
    /// The policy's own name, or that of its file.
    pub name: String,
    /// What to do about a clause that this host cannot enforce.
    pub on_unavailable: OnUnavailable,
    /// Which files can be reached, and how.
    pub filesystem: Filesystem,
    /// What the workload's processes may be and do.
    pub process: Process,
    /// Which network peers can be reached.
    pub network: Network,
    /// How much of the host's resources the sandbox may use.
    pub resources: Resources,
    /// Which environment variables the workload sees.
    pub environment: Environment,
}

impl Policy {
    /// The policy that an empty file declares: every clause absent, so every clause at its strictest.
    pub fn strictest(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            on_unavailable: OnUnavailable::default(),
            filesystem: Filesystem::default(),
            process: Process::default(),
            network: Network::default(),
            resources: Resources::default(),
            environment: Environment::default(),
        }
    }
}

/// What to do about a clause that this host cannot enforce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnavailable {
    /// Stop before anything runs.
    #[default]
    Refuse,
    /// Run, and say in the report and on standard error what is missing.
    Degrade,
}

/// Which files can be reached, and how.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Filesystem {
    /// What the new root holds before any rule is applied.
    pub base: Base,
    /// The rules of `read_only`, `read_write` and `hidden`, in the order of the file. The most specific wins;
    /// at equal depth the stricter wins.
    pub rules: Vec<PathRule>,
    /// Paths below which nothing may be executed.
    pub no_execute: Vec<PathEntry>,
    /// The size of the private `/tmp`, and of the private `/dev/shm`, each. Default 256 MiB.
    pub tmp: ByteSize,
    /// Where changes below the `read_write` paths go.
    pub workspace: Workspace,
    /// The size of the private file system that holds a workspace that is not direct: all changes, or the whole copy.
    /// Default 1 GiB.
    pub disk: ByteSize,
}

impl Filesystem {
    /// The smallest private `/tmp`: a few files. Zero would mean "no limit" to tmpfs(5).
    pub const MIN_TMP: ByteSize = ByteSize::from_bytes(64 << 10);

    /// The smallest private file system of a workspace.
    pub const MIN_DISK: ByteSize = ByteSize::from_bytes(64 << 10);
}

impl Default for Filesystem {
    fn default() -> Self {
        Self {
            base: Base::default(),
            rules: Vec::new(),
            no_execute: Vec::new(),
            tmp: ByteSize::from_mib(256),
            workspace: Workspace::default(),
            disk: ByteSize::from_mib(1024),
        }
    }
}

/// What the new root holds before any rule is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// The host's `/usr` and its links, read-only, and a generated minimal `/etc`.
    #[default]
    Host,
    /// Only what the rules list (besides `/proc`, `/dev` and `/tmp`).
    None,
}

/// Where the changes go that a workload makes below the `read_write` paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workspace {
    /// Into the real directories, at once.
    #[default]
    Direct,
    /// Into a private layer over them, which ends with the sandbox unless it is exported.
    Overlay,
    /// Into a private copy of them, made at the start.
    Copy,
}

impl fmt::Display for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Overlay => "overlay",
            Self::Copy => "copy",
        })
    }
}

/// One path of a policy with what may be done below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PathRule {
    /// What may be done below the path.
    pub access: Access,
    /// The path.
    #[serde(flatten)]
    pub entry: PathEntry,
}

/// A path as a policy names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PathEntry {
    /// Where the policy names it.
    pub clause: Clause,
    /// The path as written: absolute, or relative to the directory in which the run starts.
    pub path: PathBuf,
    /// Whether the path may be missing when the run starts.
    pub optional: bool,
}

/// What may be done with the files below a path. Ordered from strict to loose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Nothing: the path looks empty or refuses to be opened.
    Hidden,
    /// Read and execute.
    ReadOnly,
    /// Read, execute, and every change.
    ReadWrite,
}

impl Access {
    /// The access as a word for messages.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Hidden => "hidden",
            Self::ReadOnly => "read-only",
            Self::ReadWrite => "read-write",
        }
    }
}

/// What the workload's processes may be and do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Process {
    /// The user and group id that the workload sees as its own.
    pub identity: Identity,
    /// Capabilities that the workload keeps over its own namespaces, by kernel name in capitals
    /// (`CAP_NET_BIND_SERVICE`).
    pub capabilities: Vec<String>,
    /// The system-call filter.
    pub syscalls: Syscalls,
    /// Whether the workload may create namespaces of its own.
    pub nested_namespaces: bool,
    /// Whether the workload gets a terminal.
    pub terminal: Terminal,
}

/// The user and group id that the workload sees as its own. Outside it is never the kernel's uid 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// Uid and gid 1000, named `user`.
    #[default]
    User,
    /// Uid and gid 0 inside only, without any capability.
    Root,
}

/// The system-call filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Syscalls {
    /// The table to start from.
    pub profile: SyscallProfile,
    /// Calls allowed in addition, by kernel name.
    pub allow: Vec<String>,
    /// Calls denied although the table allows them, by kernel name.
    pub deny: Vec<String>,
}

/// The table that a system-call filter starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyscallProfile {
    /// What general programs need.
    #[default]
    Standard,
    /// Less: no System V IPC or message queues, no `memfd_create`, no kernel AIO, no `sync`; only Unix sockets where
    /// the network mode is `none`.
    Strict,
}

/// Whether the workload gets a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Terminal {
    /// A private one when the caller has one.
    #[default]
    Auto,
    /// Never.
    None,
}

/// Which network peers can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The general rule.
    pub mode: NetworkMode,
    /// The mechanism that carries allowed traffic.
    pub backend: Backend,
    /// Where a `macvlan` interface is put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// Cloud metadata services, in every mode.
    pub metadata: Posture,
    /// Private and special-use ranges that no rule names by `cidr`.
    pub special_use: Posture,
    /// The peers of mode `allowlist`.
    pub allow: Vec<AllowRule>,
    /// How names are resolved.
    pub dns: Dns,
    /// Ports inside that are reached from outside.
    pub publish: Vec<Publish>,
    /// Whether the workload is told of a proxy.
    pub proxy: Proxy,
}

/// How names are resolved: outside, when a name is dialled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    /// The resolvers to ask, in this order. None: those of the host.
    pub servers: Vec<SocketAddr>,
}

/// A port inside that is reached at an address outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// Where the policy names it.
    pub clause: Clause,
    /// The TCP port on the sandbox's loopback, 1 to 65535.
    pub port: u16,
    /// The address and port outside to listen on.
    pub to: SocketAddr,
}

/// Whether the workload is told of a proxy. It needs none: connections are carried without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proxy {
    /// No.
    #[default]
    None,
    /// By `HTTP_PROXY`, `HTTPS_PROXY` and `ALL_PROXY`, in upper and lower case.
    Environment,
}

/// The general rule about the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// Nothing but the sandbox's own loopback.
    #[default]
    None,
    /// What `allow` lists.
    Allowlist,
    /// Everything but metadata and special-use ranges.
    Open,
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Allowlist => "allowlist",
            Self::Open => "open",
        })
    }
}

/// The mechanism that carries allowed traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// The gateway.
    #[default]
    Auto,
    /// Palisade's own gateway.
    Gateway,
    /// passt's pasta.
    Pasta,
    /// slirp4netns.
    Slirp4netns,
    /// A veth pair (privileged).
    Veth,
    /// A macvlan interface (privileged).
    Macvlan,
}

impl Backend {
    /// All of them, with their names in policies.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("gateway", Self::Gateway),
        ("pasta", Self::Pasta),
        ("slirp4netns", Self::Slirp4netns),
        ("veth", Self::Veth),
        ("macvlan", Self::Macvlan),
    ];

    /// Those that are means of their own: without `auto`.
    pub const MEANS: &'static [Self] =
        &[Self::Gateway, Self::Pasta, Self::Slirp4netns, Self::Veth, Self::Macvlan];

    /// Whether it puts an interface into the sandbox, over which allowed ranges are reached.
    pub const fn is_plumbed(self) -> bool {
        !matches!(self, Self::Auto | Self::Gateway)
    }

    /// Its name in policies.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, backend)| *backend == self).map_or("auto", |(word, _)| word)
    }
}

impl std::str::FromStr for Backend {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let known = Self::ALL.iter().find(|(word, _)| *word == text);
        known.map(|(_, backend)| *backend).ok_or_else(|| {
            let words: Vec<&str> = Self::ALL.iter().map(|(word, _)| *word).collect();
            let message = format!("`{}` is no backend", printable(text));
            Refusal::new(message, format!("the backends are: {}", words.join(", ")))
        })
    }
}

/// The place of a `macvlan` interface in the network of a host's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The interface of the host that it is put beside: 1 to 15 bytes (netdevice(7), IFNAMSIZ).
    pub parent: String,
    /// The addresses that the sandbox has there, at most one of each family, at least one.
    pub addresses: Vec<IpAddr>,
    /// The routers that are asked to carry everything, of the families of the addresses.
    pub gateways: Vec<IpAddr>,
}

/// Whether a class of peers is blocked or left to the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Posture {
    /// Blocked whatever the rules say.
    #[default]
    Block,
    /// Left to the rules.
    Allow,
}

/// One allowed set of peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowRule {
    /// Where the policy names it.
    pub clause: Clause,
    /// Who.
    pub peer: Peer,
    /// On which ports.
    pub ports: Ports,
    /// Over which transport.
    pub protocol: Protocol,
}

/// The peers of an allow rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// A normalised host pattern: lower case, no trailing dot, A-labels; `*` is exactly one label, `**.` one or
    /// more leading labels.
    Host(String),
    /// A range without host bits.
    Cidr(IpNet),
}

/// The ports of an allow rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ports {
    /// Every port.
    Any,
    /// These ports, 1 to 65535, sorted, without repetition.
    List(Vec<u16>),
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Its name in policies.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// How much of the host's resources the sandbox may use. `None`: no limit of that kind was declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// Memory of the whole sandbox.
    pub memory: Option<ByteSize>,
    /// Processes and threads of the whole sandbox, at least 1. Default 256.
    pub processes: u32,
    /// Processor time per wall time, in thousandths of one processor.
    pub millicpus: Option<u32>,
    /// Processor time.
    pub cpu_time: Option<Duration>,
    /// Time from start to the kill.
    pub wall_time: Option<Duration>,
    /// Open descriptors per process. Default 1024.
    pub open_files: u32,
    /// Size of one file. Default 256 MiB.
    pub file_size: ByteSize,
    /// Bytes of standard output and standard error together.
    pub output: Option<ByteSize>,
}

impl Resources {
    /// The least memory in which a process starts at all.
    pub const MIN_MEMORY: ByteSize = ByteSize::from_mib(1);

    /// From one process to the kernel's `PID_MAX_LIMIT` (include/linux/threads.h).
    pub const PROCESSES: RangeInclusive<u32> = 1..=4_194_304;

    /// From what a dynamic loader needs to the default of `fs.nr_open` (proc_sys_fs(5)).
    pub const OPEN_FILES: RangeInclusive<u32> = 8..=1_048_576;
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            memory: None,
            processes: 256,
            millicpus: None,
            cpu_time: None,
            wall_time: None,
            open_files: 1024,
            file_size: ByteSize::from_mib(256),
            output: None,
        }
    }
}

/// Which environment variables the workload sees. Without any clause: a fixed `PATH` and `HOME`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// Names passed on from the caller.
    pub pass: Vec<String>,
    /// Variables with a fixed value.
    pub set: BTreeMap<String, String>,
    /// Loader and interpreter injection variables (`LD_PRELOAD`, `BASH_ENV`, ...) that `pass` or `set` may name
    /// all the same.
    pub force: Vec<String>,
}

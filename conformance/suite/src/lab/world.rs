//! What the lab holds: every object, with the place and the marker by which a probe recognises it.
//!
//! A `World` is data. [`World::described`] gives the same layout with placeholder markers and ids, so that a
//! list of probes can be made without a lab; `lab::build` fills in what only the running lab knows (pids,
//! inode numbers, random markers) and what could not be made on this host (see [`Presence`]).
//! This file never touches the system.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::canary::{Endpoint, Proto};
pub use super::namespaces::Namespaces;
use crate::entry::Entry;

/// The directory that holds all the lab's own files; a tmpfs of the lab's mount namespace covers its parent.
pub const BASE: &str = "/mnt/lab";

/// The host name of the lab, set in its own UTS namespace.
pub const HOSTNAME: &str = "palisade-lab";

/// The NIS domain name of the lab, set there too.
pub const DOMAINNAME: &str = "palisade-lab.test";

/// Where programs of the host are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The supplementary group of root's lab: a careless caller has groups that open files.
const LEAKED_GROUP: u32 = 61_131;

/// TCP ports on which every address of the lab's internet answers, IPv4 and IPv6.
pub const TCP_PORTS: &[u16] = &[22, 53, 80, 123, 443, 853, 2375, 2376, 3000, 6379, 6443, 8080, 9999, 10250];

/// UDP ports on which every address of the lab's internet answers, IPv4 and IPv6.
pub const UDP_PORTS: &[u16] = &[53, 80, 123, 443, 9999];

/// TCP port of the service that listens on the loopback addresses of the lab's "host" only: 127.0.0.1 and ::1.
pub const HOST_SERVICE_PORT: u16 = 7411;

/// Whether an object of the world is really there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "why")]
pub enum Presence {
    /// It was made, and looked at after it was made.
    Planted,
    /// It could not be made on this host; probes that need it are *unsupported*, with this reason.
    Absent(String),
}

impl Presence {
    /// True when the object is there.
    pub fn is_planted(&self) -> bool {
        matches!(self, Self::Planted)
    }
}

/// Who owns a planted file, as the lab sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The user that runs the suite (root in a lab that root built).
    Caller,
    /// Some other ordinary user, by uid and gid; only root can plant it.
    Other(u32),
}

/// A file that a sandbox must not give away.
#[derive(Clone, Debug, Serialize)]
pub struct Secret {
    /// Permanent name, see [`World::secret`].
    pub id: &'static str,
    /// Absolute path in the lab, which is also the path that the workload tries.
    pub path: PathBuf,
    /// Text that occurs in the file and nowhere else.
    pub marker: String,
    /// Owner of the file.
    pub owner: Owner,
    /// Permission bits.
    pub mode: u32,
    /// Whether it is there.
    pub presence: Presence,
}

/// A Unix socket of the lab on which a listener logs what arrives.
#[derive(Clone, Debug, Serialize)]
pub struct UnixService {
    /// Permanent name, see [`World::service`].
    pub id: &'static str,
    /// Path or abstract name.
    pub endpoint: Endpoint,
    /// `Proto::UnixStream` or `Proto::UnixDgram`.
    pub proto: Proto,
    /// Whether it is there.
    pub presence: Presence,
}

/// The directory in which the sandbox starts, and what lies in it.
#[derive(Clone, Debug, Serialize)]
pub struct Workspace {
    /// The directory itself.
    pub dir: PathBuf,
    /// A file that every policy lets the workload read, mode 0644, holding `allowed_marker`.
    pub allowed: PathBuf,
    /// Text in `allowed` and in `nested`.
    pub allowed_marker: String,
    /// A file one directory deeper.
    pub nested: PathBuf,
    /// An executable shell script that prints `allowed_marker`.
    pub script: PathBuf,
    /// A symbolic link to the secret `outside-readable`.
    pub link_out: PathBuf,
    /// A symbolic link to the directory of `nested`.
    pub alias: PathBuf,
    /// A tmpfs mounted inside the workspace, to see whether read-only is recursive.
    pub submount: PathBuf,
    /// A file in the submount that holds `allowed_marker`.
    pub submount_file: PathBuf,
    /// Directories of the workspace, each with another place in it at which the lab shows the same (a bind mount).
    pub twice: [(PathBuf, PathBuf); 2],
    /// An empty directory for mounts that the suite makes while a sandbox runs (propagation inwards).
    pub mountpoint: PathBuf,
    /// A git hook, executable.
    pub git_hook: PathBuf,
    /// An environment file holding `dotenv_marker`.
    pub dotenv: PathBuf,
    /// Text in `dotenv`.
    pub dotenv_marker: String,
    /// Settings of a coding agent.
    pub agent_config: PathBuf,
    /// The static probe program, executable.
    pub probe: PathBuf,
}

impl Workspace {
    /// The layout of a workspace in `dir`.
    pub fn at(dir: &Path, mint: &Mint) -> Self {
        Self {
            dir: dir.to_owned(),
            allowed: dir.join("allowed.txt"),
            allowed_marker: mint.marker("allowed"),
            nested: dir.join("nested/allowed.txt"),
            script: dir.join("run.sh"),
            link_out: dir.join("link-out"),
            alias: dir.join("alias"),
            submount: dir.join("sub"),
            submount_file: dir.join("sub/file.txt"),
            twice: [(dir.join(".git"), dir.join("twice/git")), (dir.join(".agent"), dir.join("twice/agent"))],
            mountpoint: dir.join("mountpoint"),
            git_hook: dir.join(".git/hooks/pre-commit"),
            dotenv: dir.join(".env"),
            dotenv_marker: mint.marker("dotenv"),
            agent_config: dir.join(".agent/settings.json"),
            probe: dir.join("probe"),
        }
    }
}

/// A process of the lab's "host" with things in it to steal. It has the uid of the caller and no capabilities.
#[derive(Clone, Debug, Serialize)]
pub struct Decoy {
    /// Pid in the lab's pid namespace. 0 in a described world.
    pub pid: u32,
    /// Text in its argument vector.
    pub argv_marker: String,
    /// Text in its environment.
    pub environ_marker: String,
    /// Text in its memory at `memory_address`, `memory_marker.len()` bytes.
    pub memory_marker: String,
    /// Virtual address of `memory_marker` in the decoy. 0 in a described world.
    pub memory_address: u64,
    /// Its working directory, and the directory of the secret that it holds open.
    pub cwd: PathBuf,
    /// The descriptor through which it holds the secret `outside-private` open.
    pub secret_fd: u32,
}

/// Objects of the lab's IPC namespace.
#[derive(Clone, Debug, Serialize)]
pub struct Ipc {
    /// Key of a System V shared memory segment whose first bytes are `marker`.
    pub shm_key: i32,
    /// Size of the segment in bytes.
    pub shm_size: usize,
    /// Key of a System V message queue that holds one message of type 1 with `marker`.
    pub msg_key: i32,
    /// Key of a System V semaphore set of one semaphore with value `sem_value`.
    pub sem_key: i32,
    /// Value of the semaphore.
    pub sem_value: i32,
    /// Name of a POSIX message queue (with the leading slash) that holds one message with `marker`.
    pub mq_name: String,
    /// Size limit of a message of the POSIX queue in bytes.
    pub mq_message_size: usize,
    /// The text.
    pub marker: String,
    /// Whether the System V objects are there.
    pub sysv: Presence,
    /// Whether the POSIX queue is there.
    pub posix: Presence,
}

/// A key in the session keyring which the suite, and every process that it starts, was given.
#[derive(Clone, Debug, Serialize)]
pub struct Keyring {
    /// Type of the key.
    pub key_type: &'static str,
    /// Description of the key.
    pub description: String,
    /// Its payload.
    pub marker: String,
    /// Whether the session keyring is the lab's own and holds the key. When it does not, processes of the lab have
    /// the caller's session keyring, and no probe may write to it.
    pub presence: Presence,
}

/// What an inherited descriptor refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeakKind {
    /// The directory `/` of the lab, open for reading.
    RootDirectory,
    /// The secret `outside-private`, open for reading.
    SecretFile,
    /// A UDP socket connected to the canary at 169.254.169.254:9999 in the lab's network namespace.
    ConnectedSocket,
    /// A Unix datagram socket connected to the service `outside-dgram`.
    ServiceSocket,
    /// The directory of the secret `outside-private`, opened with O_PATH.
    PathDirectory,
    /// A pidfd of the decoy.
    Process,
    /// The network namespace of the lab.
    Namespace,
    /// The master side of a pseudo-terminal of the lab.
    Terminal,
    /// An eventfd: it stands for all descriptors that have no file (epoll, io_uring, userfaultfd).
    Anonymous,
}

/// A descriptor that the runtime under test inherits, as from a careless caller.
#[derive(Clone, Debug, Serialize)]
pub struct Leak {
    /// Its number in the runtime. Fixed, so that a probe can name it.
    pub fd: i32,
    /// What it refers to.
    pub kind: LeakKind,
    /// Whether it is there.
    pub presence: Presence,
}

/// A tool from outside that was carried into the lab, because the lab's own mounts may hide where it lay.
#[derive(Clone, Debug, Serialize)]
pub struct Tool {
    /// Name given by the caller.
    pub name: String,
    /// Where it lies in the lab, executable.
    pub path: PathBuf,
}

/// Everything in the lab that a probe may be aimed at.
#[derive(Clone, Debug, Serialize)]
pub struct World {
    /// True when the caller is an ordinary user: the lab then has a user namespace that maps only that user.
    pub rootless: bool,
    /// Uid of the caller, inside and outside of the lab.
    pub uid: u32,
    /// Gid of the caller, inside and outside of the lab.
    pub gid: u32,
    /// Sixteen hexadecimal digits, random for each lab; part of every marker.
    pub run: String,
    /// Host name of the lab.
    pub hostname: String,
    /// NIS domain name of the lab.
    pub domainname: String,
    /// Supplementary groups of the suite and of every process that it starts; an ordinary user keeps those that he has.
    pub groups: Vec<u32>,
    /// Directory of the lab's own files, [`BASE`].
    pub base: PathBuf,
    /// Directory in which the suite may make a directory for each case. Mode 0755.
    pub cases: PathBuf,
    /// The workspace.
    pub work: Workspace,
    /// A copy of the probe program outside every workspace, for control runs and as a source for copies.
    pub probe: PathBuf,
    /// Home directory of the caller in the lab.
    pub home: PathBuf,
    /// `XDG_RUNTIME_DIR` of the caller in the lab, mode 0700.
    pub runtime_dir: PathBuf,
    /// Files to steal.
    pub secrets: Vec<Secret>,
    /// Whether root may write to the directories of the system (`/etc`, `/usr`, `/var`, ...) as on any host: what
    /// is written goes to a layer of the lab's own. Where it is absent they are read-only in the lab.
    pub system_writes: Presence,
    /// Whether something is mounted at `Workspace::submount` and at the second places of `Workspace::twice`.
    pub submounts: Presence,
    /// Unix sockets to reach.
    pub services: Vec<UnixService>,
    /// TCP ports of every address.
    pub tcp_ports: Vec<u16>,
    /// UDP ports of every address.
    pub udp_ports: Vec<u16>,
    /// Ports (the same numbers as `udp_ports`) of UDP-Lite, where the kernel has it.
    pub udplite: Presence,
    /// Whether IPv6 is available in the lab.
    pub ipv6: Presence,
    /// Port of the service on the host's loopback addresses.
    pub host_service: u16,
    /// The host's own addresses besides loopback, IPv4 and IPv6, as its network would know them.
    pub host_addresses: [IpAddr; 2],
    /// A process to attack.
    pub decoy: Decoy,
    /// IPC objects.
    pub ipc: Ipc,
    /// Session keyring.
    pub keyring: Keyring,
    /// The slave side of a pseudo-terminal whose master the suite holds.
    pub pty: PathBuf,
    /// Whether `pty` is there, on a devpts of the lab's own.
    pub pty_presence: Presence,
    /// Descriptors that the runtime inherits.
    pub leaks: Vec<Leak>,
    /// Environment variables that the runtime inherits.
    pub env_secrets: Vec<(String, String)>,
    /// The `PATH` that the runtime inherits; its last entry names nothing that exists.
    pub caller_path: String,
    /// The way in which workloads come into the sandbox.
    pub entry: Entry,
    /// Namespaces of the lab: what a sandbox must differ from.
    pub namespaces: Namespaces,
    /// Tools carried in.
    pub tools: Vec<Tool>,
}

/// Makes markers: unique text that is recognised wherever it turns up.
#[derive(Clone, Debug)]
pub struct Mint {
    run: String,
}

impl Mint {
    /// A mint for one run; `run` is part of every marker.
    pub fn new(run: impl Into<String>) -> Self {
        Self { run: run.into() }
    }

    /// The marker of one object. ASCII letters, digits and `-` only, so that no encoding changes it.
    pub fn marker(&self, of: &str) -> String {
        format!("PLSD-{}-{of}", self.run)
    }
}

/// Who builds the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// True without real root.
    pub rootless: bool,
    /// Effective uid.
    pub uid: u32,
    /// Effective gid.
    pub gid: u32,
}

impl World {
    /// The world that an ordinary user's lab would have, with placeholders where only a lab knows the value: markers
    /// with sixteen zeros, pids, inode numbers and addresses 0. For listing probes without a lab.
    pub fn described() -> Self {
        let caller = Caller { rootless: true, uid: 1000, gid: 1000 };
        Self::layout(caller, &Mint::new("0000000000000000"))
    }

    /// The layout for a caller: what is to be built. Everything counts as planted until building says otherwise.
    pub fn layout(caller: Caller, mint: &Mint) -> Self {
        let base = PathBuf::from(BASE);
        let home = base.join("home");
        let runtime_dir = PathBuf::from(format!("/run/user/{}", caller.uid));
        Self {
            rootless: caller.rootless,
            uid: caller.uid,
            gid: caller.gid,
            run: mint.run.clone(),
            hostname: HOSTNAME.to_owned(),
            domainname: DOMAINNAME.to_owned(),
            groups: if caller.rootless { Vec::new() } else { vec![LEAKED_GROUP] },
            cases: base.join("cases"),
            work: Workspace::at(&base.join("work"), mint),
            probe: base.join("tools/probe"),
            secrets: super::loot::secrets(caller, &base, &home, mint),
            submounts: Presence::Planted,
            system_writes: match caller.rootless {
                false => Presence::Planted,
                true => {
                    Presence::Absent("an ordinary user may not write there, inside or outside".to_owned())
                }
            },
            services: super::loot::services(&base, &runtime_dir, mint),
            env_secrets: super::loot::environment(&home, &runtime_dir, mint),
            caller_path: format!("{PATH}:/nonexistent/{}", mint.marker("env-path")),
            tcp_ports: TCP_PORTS.to_vec(),
            udp_ports: UDP_PORTS.to_vec(),
            udplite: Presence::Planted,
            ipv6: Presence::Planted,
            host_service: HOST_SERVICE_PORT,
            host_addresses: [super::network::HOST_V4, super::network::HOST_V6],
            decoy: decoy(&base, mint),
            ipc: ipc(mint),
            keyring: Keyring {
                key_type: "user",
                description: "palisade-lab".to_owned(),
                marker: mint.marker("keyring"),
                presence: Presence::Planted,
            },
            pty: PathBuf::from("/dev/pts/7"),
            pty_presence: Presence::Planted,
            leaks: leaks(),
            entry: Entry::default(),
            namespaces: Namespaces::default(),
            tools: Vec::new(),
            base,
            home,
            runtime_dir,
        }
    }

    /// The secret with this id.
    ///
    /// # Panics
    /// On an id that is not in the table of `lab/loot.rs`: a mistake in the catalogue, not of a run.
    pub fn secret(&self, id: &str) -> &Secret {
        self.secrets.iter().find(|s| s.id == id).unwrap_or_else(|| panic!("no secret {id:?} in the lab"))
    }

    /// The Unix service with this id.
    ///
    /// # Panics
    /// On an id that is not in the table of `lab/loot.rs`.
    pub fn service(&self, id: &str) -> &UnixService {
        self.services.iter().find(|s| s.id == id).unwrap_or_else(|| panic!("no service {id:?} in the lab"))
    }

    /// The value of an environment secret.
    ///
    /// # Panics
    /// On a name that is not in the table of `lab/loot.rs`.
    pub fn env_secret(&self, name: &str) -> &str {
        let found = self.env_secrets.iter().find(|(n, _)| n == name);
        found.map_or_else(|| panic!("no environment secret {name:?} in the lab"), |(_, value)| value.as_str())
    }

    /// How many processes a workload may see that starts none itself: the sandbox's first one, the probe, the child that
    /// makes its attempts; and the one that runs already where the workload is added.
    pub fn few_processes(&self) -> i64 {
        3 + i64::from(self.entry == Entry::Exec)
    }

    /// Has the lab listen at these ports too, over TCP and UDP.
    pub fn listen_at(&mut self, more: &BTreeSet<u16>) {
        for ports in [&mut self.tcp_ports, &mut self.udp_ports] {
            ports.extend(more);
            ports.sort_unstable();
            ports.dedup();
        }
    }

    /// The tool carried in under this name, if it was.
    pub fn tool(&self, name: &str) -> Option<&Path> {
        self.tools.iter().find(|t| t.name == name).map(|t| t.path.as_path())
    }

    /// The host's own loopback service, IPv4 and IPv6.
    pub fn host_service(&self) -> [SocketAddr; 2] {
        let at = |ip: IpAddr| SocketAddr::new(ip, self.host_service);
        [at(Ipv4Addr::LOCALHOST.into()), at(Ipv6Addr::LOCALHOST.into())]
    }
}

/// From a number on that no program opens by itself; the first one right after the standard descriptors, as soon as there is a lab.
fn leaks() -> Vec<Leak> {
    let kinds = [
        LeakKind::RootDirectory,
        LeakKind::SecretFile,
        LeakKind::ConnectedSocket,
        LeakKind::ServiceSocket,
        LeakKind::PathDirectory,
        LeakKind::Process,
        LeakKind::Namespace,
        LeakKind::Terminal,
        LeakKind::Anonymous,
    ];
    // Above whatever the lab itself opens: a few descriptors for each port at which it listens.
    (600..).zip(kinds).map(|(fd, kind)| Leak { fd, kind, presence: Presence::Planted }).collect()
}

fn decoy(base: &Path, mint: &Mint) -> Decoy {
    Decoy {
        pid: 0,
        argv_marker: mint.marker("decoy-argv"),
        environ_marker: mint.marker("decoy-environ"),
        memory_marker: mint.marker("decoy-memory"),
        memory_address: 0,
        cwd: base.join("outside"),
        secret_fd: 100,
    }
}

fn ipc(mint: &Mint) -> Ipc {
    Ipc {
        shm_key: 0x504c_5301,
        shm_size: 4096,
        msg_key: 0x504c_5302,
        sem_key: 0x504c_5303,
        sem_value: 1131,
        mq_name: "/palisade-lab".to_owned(),
        mq_message_size: 256,
        marker: mint.marker("ipc"),
        sysv: Presence::Planted,
        posix: Presence::Planted,
    }
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Planted => f.write_str("planted"),
            Self::Absent(why) => write!(f, "absent: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_described_world_does_not_change_from_call_to_call() {
        let json = || serde_json::to_string(&World::described()).expect("serialisable");
        assert_eq!(json(), json());
    }

    #[test]
    fn names_and_places_are_unique() {
        let world = World::described();
        let unique = |names: Vec<String>| names.iter().collect::<BTreeSet<_>>().len() == names.len();
        assert!(unique(world.secrets.iter().map(|s| s.id.to_owned()).collect()));
        assert!(unique(world.secrets.iter().map(|s| s.path.display().to_string()).collect()));
        assert!(unique(world.services.iter().map(|s| s.id.to_owned()).collect()));
        assert!(unique(world.services.iter().map(|s| s.endpoint.to_string()).collect()));
        assert!(unique(world.env_secrets.iter().map(|(name, _)| name.clone()).collect()));
    }

    #[test]
    fn root_has_two_secrets_more() {
        let planted = |rootless, uid| {
            let world = World::layout(Caller { rootless, uid, gid: uid }, &Mint::new("0"));
            world.secrets.iter().filter(|s| s.presence.is_planted()).count()
        };
        assert_eq!(planted(false, 0), planted(true, 1000) + 2);
    }
}

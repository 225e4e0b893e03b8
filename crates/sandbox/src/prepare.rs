//! `prepare`: turns a plan into operands, so that after the fork nothing is left to decide, format or allocate.
//!
//! Every name is resolved here, once. A privileged caller's mounts are copied here too, since the child will not be
//! able to reach the host's files any more; an unprivileged caller's child copies them itself, since only it has the
//! privilege to, and checks that it found the same files.

pub(crate) mod rights;

use std::ffi::{CString, OsStr, OsString};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use palisade_host::MappedTrees;
use palisade_plan::step::{IdMap, IdPair, LandlockRule, LimitedResource, MountAttributes, Namespace};
use palisade_plan::{Plan, Step, seccomp};
use palisade_sys::exec::{Inbox, StringArray};
use palisade_sys::memory::ArgumentArea;
use palisade_sys::mount as sys_mount;
use palisade_sys::network_namespace::NetworkNamespace;
use palisade_sys::process::{Stack, namespace};
use palisade_sys::seccomp::SockFilter;
use palisade_sys::user_namespace::Carriers;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, OpenTreeFlags, open_tree};
use rustix::process::Resource;
use rustix::thread::CapabilitySet;

use crate::cgroup::Groups;
use crate::egress::Egress;
use crate::launch::pair;
use crate::limits::Watched;
use crate::link::Link;
use crate::netlink::{LOOPBACK, Request};
use crate::operands::{Loader, Operation, Program, Source, WorkspacePart};
use crate::placeholder::{self, Placeholders};
use crate::workspace::Workspace;

/// The directory of the workspace in the new root, as long as there is one.
const WORKSPACE: &str = ".workspace";

/// Most bytes and words of a program that is started later.
const MOST_BYTES: usize = 1 << 20;
const MOST_WORDS: usize = 1 << 16;

/// What to run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    /// The program, a path or a name to look for in the `PATH` of the sandbox, and its arguments.
    pub(crate) command: Vec<OsString>,
    /// Variables that come besides the plan's.
    pub(crate) variables: Vec<(String, String)>,
    /// Whether more programs may be started later.
    pub(crate) more: bool,
    /// Whether the supervisor is to hear of system calls that are refused.
    pub(crate) watched: bool,
    /// What is mounted with mapped ids already.
    pub(crate) trees: MappedTrees,
}

/// Why a plan could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A string with a zero byte, which no system call can take.
    #[error("{what} has a zero byte in it")]
    ZeroByte {
        /// Whose string.
        what: String,
    },
    /// A part of the host that the plan shows cannot be opened or copied.
    #[error("step {step}, mount bind {}: {call}: {errno}", path.display(), errno = palisade_sys::Errno(errno.raw_os_error()))]
    Source {
        /// The step's number, from 1.
        step: usize,
        /// What was to be shown.
        path: PathBuf,
        /// The call that failed.
        call: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// An ID-mapped mount cannot be made.
    #[error("map the ids of {}: {message}", path.display())]
    IdMap {
        /// Of what.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// Nobody can be started who takes placeholders away when this process is killed.
    #[error("start the janitor: {errno}", errno = palisade_sys::Errno(.0.raw_os_error()))]
    Janitor(Errno),
    /// Nothing can be put where a path that does not exist has to be covered.
    #[error("step {step}, make placeholder {}: {errno}", path.display(), errno = palisade_sys::Errno(errno.raw_os_error()))]
    Placeholder {
        /// The step's number, from 1.
        step: usize,
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// A real directory of the workspace cannot be opened.
    #[error("open {}: {errno}", path.display(), errno = palisade_sys::Errno(errno.raw_os_error()))]
    Workspace {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// What loads a ruleset cannot be opened.
    #[error("open {}: {errno}", path.display(), errno = palisade_sys::Errno(errno.raw_os_error()))]
    Loader {
        /// Which program.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// The plan names a defect of the gateway that this version does not know.
    #[error("unknown defect `{0}` in the plan")]
    Mutant(String),
    /// The plan names a capability that this kernel interface does not know.
    #[error("unknown capability `{0}` in the plan")]
    Capability(String),
    /// The filter of the plan cannot be assembled.
    #[error("system-call filter: {0}")]
    Filter(String),
    /// The plan names an id that no process can have: (uid_t) -1 means "leave it as it is" to setresuid(2).
    #[error("{0} is no user or group id")]
    Id(u32),
    /// An operand of a step is no good.
    #[error("step {step}, {name}: {source}")]
    Step {
        /// The step's number, from 1.
        step: usize,
        /// Its name.
        name: &'static str,
        /// Why.
        source: Box<PrepareError>,
    },
    /// The plan has no namespaces or no ids.
    #[error("the plan lacks the step `{0}`")]
    Incomplete(&'static str),
}

impl PrepareError {
    /// With the step that it is about, unless it tells that itself.
    pub(crate) fn at(self, step: usize, name: &'static str) -> Self {
        match self {
            Self::Source { .. } | Self::Placeholder { .. } => self,
            other => Self::Step { step, name, source: Box::new(other) },
        }
    }
}

/// A plan with everything that its execution needs.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) namespaces: u64,
    /// What the child makes beside its other steps.
    pub(crate) network: Option<NetworkNamespace>,
    pub(crate) groups: Groups,
    /// The numbers of two steps that are carried out by the caller's side, from 1.
    pub(crate) namespaces_step: usize,
    pub(crate) ids_step: usize,
    pub(crate) uid: IdPair,
    pub(crate) gid: IdPair,
    /// Whether the caller may map ids that are not its own.
    pub(crate) privileged: bool,
    pub(crate) operations: Vec<Operation>,
    /// The descriptors of trees, and of what loads rulesets, sorted.
    pub(crate) trees: Vec<i32>,
    pub(crate) programs: Programs,
    /// What every program's process runs on until it is executed.
    pub(crate) stack: Stack,
    pub(crate) wall_time: Option<Duration>,
    /// Limits that have to be looked at.
    pub(crate) watched: Watched,
    /// What the plan has put on the host.
    pub(crate) placeholders: Placeholders,
    /// The real directories of a workspace that is kept apart.
    pub(crate) workspace: Option<Workspace>,
    /// What is carried out of the sandbox.
    pub(crate) egress: Option<Egress>,
    /// The interface that leads out of it.
    pub(crate) link: Option<Link>,
}

/// What programs are started with.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The one that the sandbox is made for.
    pub(crate) first: Program,
    /// The environment of programs that come later.
    pub(crate) environment: StringArray,
    /// Room for their words.
    pub(crate) inbox: Option<Inbox>,
    /// The directories of the sandbox's PATH.
    pub(crate) search: Vec<CString>,
    /// Where every program starts.
    pub(crate) directory: CString,
}

/// Prepares the execution of a program under `plan`.
///
/// # Errors
/// A [`PrepareError`]; nothing is left changed then.
pub(crate) fn prepare(plan: &Plan, words: &Words) -> Result<Prepared, PrepareError> {
    let (mut namespaces, mut ids) = (None, None);
    for (index, planned) in plan.steps.iter().enumerate() {
        match &planned.step {
            Step::NewNamespaces { namespaces: list } => namespaces = Some((namespace_bits(list), index + 1)),
            Step::MapIds { uid, gid } => ids = Some((*uid, *gid, index + 1)),
            _ => {}
        }
    }
    let (namespaces, namespaces_step) = namespaces.ok_or(PrepareError::Incomplete("new namespaces"))?;
    let (uid, gid, ids_step) = ids.ok_or(PrepareError::Incomplete("map ids"))?;
    let privileged = uid.outside != rustix::process::geteuid().as_raw();

    let mut operations = Vec::with_capacity(plan.steps.len());
    let mut mounts = Mounts { privileged, carriers: Carriers::default(), mapped: &words.trees };
    let mut placeholders = expected(plan)?;
    for (index, planned) in plan.steps.iter().enumerate() {
        on_the_host(&planned.step, index + 1, &mut placeholders)?;
        let operation = operation(&planned.step, index + 1, words.watched, &mut mounts);
        operations.push(operation.map_err(|error| error.at(index + 1, planned.step.name()))?);
    }
    let mut trees: Vec<i32> = operations
        .iter()
        .filter_map(|operation| match operation {
            Operation::MountBind { source: Source::Tree(tree), .. }
            | Operation::MountOverlay { source: Source::Tree(tree), .. }
            | Operation::MountCopy { source: Source::Tree(tree), .. } => Some(tree.as_raw_fd()),
            _ => None,
        })
        .collect();
    trees.extend(operations.iter().flat_map(|operation| match operation {
        Operation::LoadRuleset(loader) => {
            vec![loader.program.as_raw_fd(), loader.ruleset.as_raw_fd(), loader.null.as_raw_fd()]
        }
        _ => Vec::new(),
    }));
    trees.sort_unstable();
    Ok(Prepared {
        // A cgroup namespace begins at the groups that its maker is in: the child makes it when it is in its own.
        namespaces: namespaces & !(namespace::CGROUP | namespace::NETWORK),
        network: (namespaces & namespace::NETWORK != 0).then(NetworkNamespace::new),
        groups: Groups::of(plan)?,
        namespaces_step,
        ids_step,
        uid,
        gid,
        privileged,
        operations,
        trees,
        programs: Programs {
            first: Program {
                arguments: StringArray::new(strings(&words.command)?),
                environment: environment(plan, &words.variables)?,
            },
            environment: environment(plan, &[])?,
            inbox: words.more.then(|| Inbox::new(MOST_BYTES, MOST_WORDS)),
            search: search(plan)?,
            directory: c_string(plan.directory.as_os_str())?,
        },
        stack: Stack::new(64 << 10),
        wall_time: plan.wall_time,
        watched: Watched::of(plan),
        placeholders,
        workspace: Workspace::of(plan)?,
        egress: Egress::of(plan)?,
        link: Link::of(plan),
    })
}

/// The placeholders that the run will put on the host, or finds there from a run that was killed.
fn expected(plan: &Plan) -> Result<Placeholders, PrepareError> {
    let paths = plan.steps.iter().filter_map(|planned| match &planned.step {
        Step::MakePlaceholder { path, host: true, .. } => Some(path.as_path()),
        Step::MaskPath { path } | Step::PinPath { path, .. }
            if may_be_placeholder(path) && placeholder::stands_at(path) =>
        {
            Some(path.as_path())
        }
        _ => None,
    });
    Placeholders::at(paths).map_err(PrepareError::Janitor)
}

/// Nobody can make a file in procfs (proc(5)), of which every plan hides much.
fn may_be_placeholder(path: &Path) -> bool {
    !path.starts_with("/proc")
}

/// Makes what a step needs on the host, and keeps what another run has made for the same purpose.
fn on_the_host(step: &Step, number: usize, placeholders: &mut Placeholders) -> Result<(), PrepareError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |errno| PrepareError::Placeholder { step: number, path, errno }
    };
    match step {
        Step::MakePlaceholder { path, directory, host: true } => {
            placeholders.make(path, *directory).map_err(failed(path))
        }
        Step::MaskPath { path } | Step::PinPath { path, .. } if may_be_placeholder(path) => {
            placeholders.adopt(path).map(drop).map_err(failed(path))
        }
        _ => Ok(()),
    }
}

fn namespace_bits(list: &[Namespace]) -> u64 {
    list.iter()
        .map(|kind| match kind {
            Namespace::User => namespace::USER,
            Namespace::Mount => namespace::MOUNT,
            Namespace::Pid => namespace::PID,
            Namespace::Network => namespace::NETWORK,
            Namespace::Ipc => namespace::IPC,
            Namespace::Uts => namespace::UTS,
            Namespace::Cgroup => namespace::CGROUP,
        })
        .fold(0, |bits, bit| bits | bit)
}

fn operation(
    step: &Step,
    number: usize,
    watched: bool,
    mounts: &mut Mounts<'_>,
) -> Result<Operation, PrepareError> {
    Ok(match step {
        Step::NewNamespaces { namespaces } if namespaces.contains(&Namespace::Cgroup) => {
            Operation::EnterCgroupNamespace
        }
        Step::JoinCgroup { .. }
        | Step::WatchCpuTime { .. }
        | Step::NewNamespaces { .. }
        | Step::MapIds { .. } => Operation::Done,
        Step::CloseDescriptors {} => Operation::CloseDescriptors,
        Step::WipeArguments {} => Operation::WipeArguments(ArgumentArea::of_this_process()),
        Step::ClearGroups {} => Operation::ClearGroups,
        Step::SetIds { uid, gid } => Operation::SetIds { uid: id(*uid)?, gid: id(*gid)? },
        Step::SetHostname { name } => Operation::SetHostname(name.clone().into_bytes()),
        Step::LoopbackUp {} => Operation::LoopbackUp,
        Step::AddAddress { address } => {
            let own = Request::own_address(*address, LOOPBACK);
            Operation::AddAddress(std::iter::once(Request::add_address(*address)).chain(own).collect())
        }
        Step::AddRoute { net, kind } => Operation::Route(Request::add_route(*net, *kind)),
        Step::Listen { protocol, address, port } => {
            Operation::Listen { protocol: *protocol, address: SocketAddr::new(*address, *port) }
        }
        Step::ListenTransparent { address, port } => {
            Operation::ListenTransparent { address: SocketAddr::new(*address, *port) }
        }
        Step::OpenRaw { ipv6 } => Operation::OpenRaw { ipv6: *ipv6 },
        Step::LoadRuleset { nft, ruleset } => Operation::LoadRuleset(loader(nft, ruleset)?),
        Step::AttachLink { name, .. } => Operation::AttachLink(name.clone()),
        Step::LinkUp { addresses, mtu } => {
            let up = std::iter::once(Request::link_up(*mtu));
            let added = addresses.iter().copied().map(Request::add_link_address);
            let own = addresses.iter().copied().filter_map(Request::own_link_address);
            Operation::LinkUp(up.chain(added).chain(own).collect())
        }
        Step::ServeEgress { .. } => Operation::ServeEgress,
        Step::PrivateMounts {} => Operation::PrivateMounts,
        Step::NewRoot { size } => {
            Operation::NewRoot { options: text(&format!("mode=0755,size={}", size.bytes()))? }
        }
        Step::MakeDirectory { path, mode } => Operation::MakeDirectory { path: relative(path)?, mode: *mode },
        Step::MakeFile { path, mode, content } => {
            Operation::MakeFile { path: relative(path)?, mode: *mode, content: content.clone().into_bytes() }
        }
        Step::MakeLink { path, target } => {
            Operation::MakeLink { path: relative(path)?, target: c_string(target.as_os_str())? }
        }
        Step::MountTmpfs { path, size, inodes, mode, attributes } => Operation::MountFileSystem {
            kind: c"tmpfs".into(),
            path: relative(path)?,
            flags: mount_flags(*attributes),
            options: text(&format!("mode={mode:04o},size={},nr_inodes={inodes}", size.bytes()))?,
        },
        Step::MountProc { path, attributes } => Operation::MountFileSystem {
            kind: c"proc".into(),
            path: relative(path)?,
            flags: mount_flags(*attributes),
            options: c"".into(),
        },
        Step::MountDevpts { path } => Operation::MountFileSystem {
            kind: c"devpts".into(),
            path: relative(path)?,
            flags: MountFlags::NOSUID | MountFlags::NOEXEC,
            options: c"newinstance,ptmxmode=0666,mode=0620,max=64".into(),
        },
        Step::MountBind { source, path, attributes, recursive, idmap } => Operation::MountBind {
            source: bind_source(
                source,
                *recursive,
                attribute_bits(*attributes),
                idmap.as_ref(),
                number,
                mounts,
            )?,
            path: relative(path)?,
            attributes: attribute_bits(*attributes),
            recursive: *recursive,
        },
        Step::ProtectPath { path } => Operation::ProtectPath { path: relative(path)? },
        Step::MaskPath { path } => {
            let fixed = path.parent() == Some(Path::new("/proc"));
            Operation::MaskPath { path: relative(path)?, fixed }
        }
        Step::MakePlaceholder { host: true, .. } => Operation::Done,
        Step::MakePlaceholder { path, directory, host: false } => Operation::MakePlaceholder {
            parent: relative(path.parent().unwrap_or(path))?,
            name: c_string(path.file_name().unwrap_or_default())?,
            directory: *directory,
        },
        Step::PinPath { path, attributes } => {
            Operation::PinPath { path: relative(path)?, attributes: attribute_bits(*attributes) }
        }
        Step::Checkpoint {} => Operation::Checkpoint { step: i32::try_from(number).unwrap_or(i32::MAX) },
        Step::MountWorkspace { size, inodes } => Operation::MountWorkspace {
            options: text(&format!("mode=0755,size={},nr_inodes={inodes}", size.bytes()))?,
        },
        Step::MountOverlay { source, path, number: part, attributes, idmap } => {
            let part = workspace_part(*part)?;
            let shown = |path: &CString| path.to_string_lossy().into_owned();
            let (lower, upper, work) = (shown(&part.lower), shown(&part.upper), shown(&part.work));
            // In a user namespace the layers' own marks are attributes that it may set (overlayfs, `userxattr`).
            let options = format!("lowerdir={lower},upperdir={upper},workdir={work},userxattr");
            Operation::MountOverlay {
                source: bind_source(source, false, 0, idmap.as_ref(), number, mounts)?,
                part,
                options: text(&options)?,
                path: relative(path)?,
                attributes: attribute_bits(*attributes),
            }
        }
        Step::MountCopy { source, path, number: part, attributes, idmap, empty } => Operation::MountCopy {
            source: bind_source(source, true, 0, idmap.as_ref(), number, mounts)?,
            part: workspace_part(*part)?,
            path: relative(path)?,
            attributes: attribute_bits(*attributes),
            empty: empty.iter().filter_map(|path| identity(path)).collect(),
        },
        Step::CloseWorkspace {} => Operation::CloseWorkspace,
        Step::ForbidUserNamespaces {} => Operation::ForbidUserNamespaces,
        Step::PivotRoot {} => Operation::PivotRoot,
        Step::SealMount { path } => Operation::SealMount { path: relative(path)? },
        Step::NewSession {} => Operation::NewSession,
        Step::Limit { resource, value } => {
            Operation::Limit { resource: resource_number(*resource), value: *value }
        }
        Step::NotDumpable {} => Operation::NotDumpable,
        Step::DropBoundingSet { keep } => Operation::DropBoundingSet { keep: capabilities(keep)? },
        Step::NoNewPrivileges {} => Operation::NoNewPrivileges,
        Step::RestrictLandlock { abi, rules } => landlock(*abi, rules)?,
        Step::DropCapabilities { keep } => Operation::DropCapabilities { keep: capabilities(keep)? },
        Step::InstallSeccomp { profile } => filter(profile, watched)?,
    })
}

/// Opens the program that loads a ruleset, and puts the ruleset where it can read it.
fn loader(nft: &Path, ruleset: &str) -> Result<Loader, PrepareError> {
    let failed = |errno| PrepareError::Loader { path: nft.to_path_buf(), errno };
    let open = |path: &Path, flags| {
        let flags = flags | OFlags::CLOEXEC;
        rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS).map_err(failed)
    };
    let memory = rustix::fs::memfd_create("ruleset", rustix::fs::MemfdFlags::CLOEXEC).map_err(failed)?;
    let mut file = std::fs::File::from(memory);
    std::io::Write::write_all(&mut file, ruleset.as_bytes())
        .and_then(|()| std::io::Seek::rewind(&mut file))
        .map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    Ok(Loader {
        program: open(nft, OFlags::PATH)?,
        ruleset: file.into(),
        null: open(Path::new("/dev/null"), OFlags::WRONLY)?,
        arguments: StringArray::new(vec![c"nft".into(), c"-j".into(), c"-f".into(), c"-".into()]),
        environment: StringArray::new(Vec::new()),
    })
}

/// Where the parts of the workspace are while the new root is built.
fn workspace_part(number: u32) -> Result<WorkspacePart, PrepareError> {
    let place = |what: &str| text(&format!("{WORKSPACE}/{what}/{number}"));
    Ok(WorkspacePart {
        lower: place("lower")?,
        upper: place("upper")?,
        work: place("work")?,
        merged: place("merged")?,
    })
}

/// Device and inode of what stands at a path without symbolic links; what is gone needs no cover.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

fn id(id: u32) -> Result<u32, PrepareError> {
    if id == u32::MAX { Err(PrepareError::Id(id)) } else { Ok(id) }
}

fn filter(profile: &seccomp::Profile, watched: bool) -> Result<Operation, PrepareError> {
    let program = seccomp::assemble(profile).map_err(|error| PrepareError::Filter(error.to_string()))?;
    let instructions = |program: &seccomp::Program| {
        let instructions = program.instructions.iter().map(|instruction| SockFilter {
            code: instruction.code,
            jt: instruction.jt,
            jf: instruction.jf,
            k: instruction.k,
        });
        instructions.collect()
    };
    Ok(Operation::InstallSeccomp {
        program: instructions(&program),
        asking: watched.then(|| instructions(&program.asking())),
    })
}

fn landlock(abi: u32, rules: &[LandlockRule]) -> Result<Operation, PrepareError> {
    let rules = rules
        .iter()
        .map(|rule| Ok((relative(&rule.path)?, rights::of(rule.access, abi))))
        .collect::<Result<_, PrepareError>>()?;
    Ok(Operation::RestrictLandlock { handled: rights::handled(abi), scoped: rights::scoped(abi), rules })
}

/// With what mounts are made.
struct Mounts<'a> {
    /// Whether the caller makes them.
    privileged: bool,
    carriers: Carriers,
    /// What is made already.
    mapped: &'a MappedTrees,
}

/// Opens what a bind mount shows, or notes how the child will know that it opened the same.
fn bind_source(
    path: &Path,
    recursive: bool,
    attributes: u64,
    idmap: Option<&IdMap>,
    step: usize,
    mounts: &mut Mounts<'_>,
) -> Result<Source, PrepareError> {
    let failed = |call| move |errno| PrepareError::Source { step, path: path.to_path_buf(), call, errno };
    let map_failed = |message| PrepareError::IdMap { path: path.to_path_buf(), message };
    let made = idmap.filter(|_| recursive).and_then(|idmap| mounts.mapped.take(path, idmap));
    let is_mapped = made.is_some();
    let tree = match made {
        Some(tree) => tree,
        None => {
            let found = rustix::fs::openat2(
                CWD,
                path,
                OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW,
                Mode::empty(),
                ResolveFlags::NO_SYMLINKS,
            )
            .map_err(failed("open"))?;
            if !mounts.privileged {
                let stat = rustix::fs::fstat(&found).map_err(failed("fstat"))?;
                return Ok(Source::Path {
                    path: c_string(path.as_os_str())?,
                    device: stat.st_dev,
                    inode: stat.st_ino,
                });
            }
            let depth = if recursive { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_EMPTY_PATH;
            open_tree(&found, c"", flags | depth).map_err(failed("open_tree"))?
        }
    };
    let carrier = idmap
        .filter(|_| !is_mapped)
        .map(|map| mounts.carriers.carrier(pair(map.uid), pair(map.gid)))
        .transpose()
        .map_err(|error| map_failed(error.to_string()))?;
    // A copy is a peer of its original: what the child mounts on it would appear on the host.
    sys_mount::settle(tree.as_fd(), attributes, carrier).map_err(|errno| match carrier {
        Some(_) => map_failed(format!("mount_setattr: {errno}")),
        None => failed("mount_setattr")(Errno::from_raw_os_error(errno.0)),
    })?;
    Ok(Source::Tree(tree))
}

fn mount_flags(attributes: MountAttributes) -> MountFlags {
    let mut flags = MountFlags::empty();
    flags.set(MountFlags::RDONLY, attributes.read_only);
    flags.set(MountFlags::NOSUID, attributes.nosuid);
    flags.set(MountFlags::NODEV, attributes.nodev);
    flags.set(MountFlags::NOEXEC, attributes.noexec);
    flags
}

fn attribute_bits(attributes: MountAttributes) -> u64 {
    use sys_mount::attr::{NODEV, NOEXEC, NOSUID, RDONLY};
    [
        (attributes.read_only, RDONLY),
        (attributes.nosuid, NOSUID),
        (attributes.nodev, NODEV),
        (attributes.noexec, NOEXEC),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .fold(0, |bits, (_, bit)| bits | bit)
}

fn resource_number(resource: LimitedResource) -> Resource {
    match resource {
        LimitedResource::AddressSpace => Resource::As,
        LimitedResource::Core => Resource::Core,
        LimitedResource::CpuTime => Resource::Cpu,
        LimitedResource::FileSize => Resource::Fsize,
        LimitedResource::OpenFiles => Resource::Nofile,
        LimitedResource::Processes => Resource::Nproc,
    }
}

fn capabilities(names: &[String]) -> Result<CapabilitySet, PrepareError> {
    names.iter().try_fold(CapabilitySet::empty(), |set, name| {
        let known = name.strip_prefix("CAP_").and_then(CapabilitySet::from_name);
        known.map(|capability| set | capability).ok_or_else(|| PrepareError::Capability(name.clone()))
    })
}

/// Words of a command line for execve(2).
pub(crate) fn strings(words: &[OsString]) -> Result<Vec<CString>, PrepareError> {
    words.iter().map(|word| c_string(word)).collect()
}

fn environment(plan: &Plan, more: &[(String, String)]) -> Result<StringArray, PrepareError> {
    let mut variables = plan.environment.clone();
    variables.extend(more.iter().cloned());
    let words = variables.iter().map(|(name, value)| text(&format!("{name}={value}")));
    words.collect::<Result<_, _>>().map(StringArray::new)
}

/// An empty entry of PATH would mean the current directory, where a workload may put programs.
fn search(plan: &Plan) -> Result<Vec<CString>, PrepareError> {
    let path = plan.environment.get("PATH").map(String::as_str).unwrap_or_default();
    path.split(':').filter(|directory| directory.starts_with('/')).map(text).collect()
}

/// A path of the new root as one below the child's current directory, which is the new root while it is built.
fn relative(path: &Path) -> Result<CString, PrepareError> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    c_string(if relative.as_os_str().is_empty() { OsStr::new(".") } else { relative.as_os_str() })
}

fn c_string(string: &OsStr) -> Result<CString, PrepareError> {
    CString::new(string.as_bytes()).map_err(|_| PrepareError::ZeroByte {
        what: format!("`{}`", string.to_string_lossy().escape_debug()),
    })
}

fn text(string: &str) -> Result<CString, PrepareError> {
    c_string(OsStr::new(string))
}

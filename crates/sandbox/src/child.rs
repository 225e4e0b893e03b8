//! The child: walks the prepared steps, then becomes the sandbox's init.
//!
//! This code runs in a process cloned from a possibly multi-threaded caller. It allocates nothing, takes no lock,
//! formats nothing and panics nowhere; it only walks operands that `prepare` built. It starts in new namespaces of
//! every kind with all capabilities over them and none over the host, as a user that is not mapped yet.
//!
//! Whatever fails ends the child at once, before the workload exists: there is no step that may be skipped.

use std::ffi::CStr;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use palisade_policy::Protocol;
use palisade_sys::memory::wipe_arguments;
use palisade_sys::network_namespace::NetworkNamespace;
use palisade_sys::process::{ForkedChild, WaitStatus};
use palisade_sys::signal::SignalSet;
use palisade_sys::{exec, landlock, mount as sys_mount, net, process as sys_process, seccomp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
    mount_bind as mount_bind_at, mount_change, move_mount, open_tree, unmount,
};
use rustix::net::{RecvFlags, recv};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::channel::{Channel, Message, Part, SocketKind};
use crate::copy::copy;
use crate::init;
use crate::netlink;
use crate::operands::{Loader, Operation, Source, When, WorkspacePart};
use crate::prepare::Prepared;
use crate::socket;

/// Where the new root is mounted while it is built. Nothing that a policy may name lies below it, it exists on every
/// host, and covering it does not hide the host's procfs from the kernel's visibility check for a new one.
const STAGING: &CStr = c"/proc";

/// A failed part of a step.
type Failed = (Part, Errno);

/// Things that several steps share.
#[derive(Default)]
struct State<'a> {
    mask_file: Option<OwnedFd>,
    mask_directory: Option<OwnedFd>,
    /// A file and a directory of procfs that are masked.
    masked_file: Option<&'a CStr>,
    masked_directory: Option<&'a CStr>,
    routing: Option<OwnedFd>,
    /// The number of the interface that leads out, and where the kernel tells of it.
    link: Option<u32>,
    events: Option<OwnedFd>,
}

/// Runs the child to its end.
pub(crate) fn run(proof: &ForkedChild, prepared: &mut Prepared, mask: &SignalSet, channel: Channel) -> ! {
    wait_for_ids(&channel);
    // The modes of the steps are exact.
    rustix::process::umask(Mode::empty());
    let mut network = prepared.network.take();
    let mut state = State::default();
    for (index, operation) in prepared.operations.iter().enumerate() {
        make_network(proof, operation.when(), &mut network, prepared.namespaces_step, &channel);
        if let Err((part, errno)) = apply(proof, operation, prepared, &channel, &mut state) {
            failed(index, part, errno, &channel);
        }
    }
    make_network(proof, When::Within, &mut network, prepared.namespaces_step, &channel);
    init::run(proof, prepared, mask, channel)
}

/// Ends the child over a step, by its index.
fn failed(index: usize, part: Part, errno: Errno, channel: &Channel) -> ! {
    let index = i32::try_from(index).unwrap_or(i32::MAX);
    let _ = channel.send(Message::StepFailed { index, part, errno: errno.raw_os_error() }, &[]);
    sys_process::exit(1)
}

/// Begins to make the network namespace as soon as the steps allow, and enters it when one needs it: meanwhile the rest is
/// made. `step`, from 1, is the plan's for all namespaces.
fn make_network(
    proof: &ForkedChild,
    when: When,
    network: &mut Option<NetworkNamespace>,
    step: usize,
    channel: &Channel,
) {
    let Some(namespace) = network else { return };
    if when == When::Before && !namespace.is_begun() || namespace.is_entered() {
        return;
    }
    let begun = if namespace.is_begun() { Ok(()) } else { namespace.begin(proof) };
    // Another step that closes descriptors has to wait, too.
    let entered = if when == When::Beside { begun } else { begun.and_then(|()| namespace.enter(proof)) };
    if let Err((part, errno)) = ours_in(Part::Network, entered) {
        failed(step.saturating_sub(1), part, errno, channel);
    }
}

/// Until the parent has written the id maps, this process has no user that the kernel would store in a file.
fn wait_for_ids(channel: &Channel) {
    match channel.receive() {
        Some(received) if received.message == Message::Go => {}
        // The supervisor has failed or is gone.
        Some(_) | None => sys_process::exit(1),
    }
}

fn apply<'a>(
    proof: &ForkedChild,
    operation: &'a Operation,
    prepared: &Prepared,
    channel: &Channel,
    state: &mut State<'a>,
) -> Result<(), Failed> {
    match operation {
        Operation::Done => Ok(()),
        Operation::EnterCgroupNamespace => ours(sys_process::unshare_cgroup_namespace(proof)),
        Operation::CloseDescriptors => ours(close_others(proof, 3, &prepared.trees, channel)),
        Operation::WipeArguments(area) => {
            if let Some(area) = area {
                wipe_arguments(proof, *area);
            }
            Ok(())
        }
        Operation::ClearGroups => ours(sys_process::clear_groups()),
        Operation::SetIds { uid, gid } => set_ids(*uid, *gid).map_err(whole),
        Operation::SetHostname(name) => {
            rustix::system::sethostname(name).map_err(whole)?;
            // A new namespace begins with the names of the old one; this is what the kernel itself begins with.
            rustix::system::setdomainname(b"(none)").map_err(whole)
        }
        Operation::LoopbackUp => ours(net::loopback_up()),
        Operation::AddAddress(requests) => {
            requests.iter().try_for_each(|request| route(request, state)).map_err(whole)
        }
        Operation::Route(request) => route(request, state).map_err(whole),
        Operation::Listen { protocol, address } => hand_out(channel, *protocol, *address, false),
        Operation::ListenTransparent { address } => {
            hand_out(channel, Protocol::Tcp, *address, true)?;
            hand_out(channel, Protocol::Udp, *address, true)
        }
        Operation::OpenRaw { ipv6 } => {
            let mut families = [false].into_iter().chain(ipv6.then_some(true));
            families.try_for_each(|ipv6| {
                let socket = socket::make_raw(ipv6).map_err(whole)?;
                give(channel, SocketKind::Raw, &socket)
            })
        }
        Operation::ServeEgress => channel.send(Message::Serve, &[]).map_err(whole),
        Operation::LoadRuleset(loader) => load_ruleset(loader).map_err(whole),
        Operation::AttachLink(name) => {
            let (number, events) = attach_link(channel, name).map_err(whole)?;
            state.link = Some(number);
            state.events = Some(events);
            Ok(())
        }
        Operation::LinkUp(requests) => {
            requests.iter().try_for_each(|request| route(request, state)).map_err(whole)?;
            ask(channel, Message::Raise).map(wait_for).map_err(whole)?;
            if let (Some(link), Some(events)) = (state.link, &state.events) {
                wait_until_running(link, events);
            }
            Ok(())
        }
        Operation::PrivateMounts => {
            mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).map_err(whole)
        }
        Operation::NewRoot { options } => new_root(options),
        Operation::MakeDirectory { path, mode } => {
            match rustix::fs::mkdirat(CWD, path.as_c_str(), Mode::from_raw_mode(*mode)) {
                Ok(()) | Err(Errno::EXIST) => Ok(()),
                Err(errno) => Err(whole(errno)),
            }
        }
        Operation::MakeFile { path, mode, content } => make_file(path, *mode, content),
        Operation::MakeLink { path, target } => {
            rustix::fs::symlinkat(target.as_c_str(), CWD, path.as_c_str()).map_err(whole)
        }
        Operation::MountFileSystem { kind, path, flags, options } => {
            mount(kind.as_c_str(), path.as_c_str(), kind.as_c_str(), *flags, options.as_c_str())
                .map_err(whole)
        }
        Operation::MountBind { source, path, attributes, recursive } => {
            mount_bind(source, path, *attributes, *recursive)
        }
        Operation::ProtectPath { path } => {
            let target = beneath(path).map_err(part(Part::Target))?;
            mount_copy(target.as_fd(), target.as_fd(), sys_mount::attr::RDONLY, true)
        }
        Operation::MaskPath { path, fixed: true } => mask_entry(path, state),
        Operation::MaskPath { path, fixed: false } => mask(path, state).map(drop),
        Operation::MakePlaceholder { parent, name, directory } => make_placeholder(parent, name, *directory),
        Operation::PinPath { path, attributes } => {
            let place = beneath(path).map_err(part(Part::Target))?;
            mount_copy(place.as_fd(), place.as_fd(), *attributes, true)
        }
        Operation::Checkpoint { step } => checkpoint(channel, *step).map_err(whole),
        Operation::MountWorkspace { options } => mount_workspace(options),
        Operation::MountOverlay { source, part, options, path, attributes } => {
            mount_overlay(source, part, options, path, *attributes)
        }
        Operation::MountCopy { source, part, path, attributes, empty } => {
            mount_private_copy(source, part, path, *attributes, empty)
        }
        Operation::CloseWorkspace => close_workspace(channel),
        Operation::ForbidUserNamespaces => forbid_user_namespaces(),
        Operation::PivotRoot => pivot_root(state),
        Operation::SealMount { path } => ours(sys_mount::set_attributes_at(path, sys_mount::attr::RDONLY)),
        Operation::NewSession => rustix::process::setsid().map(drop).map_err(whole),
        Operation::Limit { resource, value } => limit(*resource, *value).map_err(whole),
        Operation::NotDumpable => {
            rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(whole)
        }
        Operation::DropBoundingSet { keep } => drop_bounding_set(*keep).map_err(whole),
        Operation::NoNewPrivileges => rustix::thread::set_no_new_privs(true).map_err(whole),
        Operation::RestrictLandlock { handled, scoped, rules } => restrict_landlock(*handled, *scoped, rules),
        Operation::DropCapabilities { keep } => drop_capabilities(*keep).map_err(whole),
        Operation::InstallSeccomp { program, asking: None } => ours(seccomp::set_mode_filter(program)),
        Operation::InstallSeccomp { program, asking: Some(asking) } => {
            match ours(seccomp::set_mode_filter_with_listener(asking)) {
                Ok(listener) => {
                    channel.send(Message::Listener, &[listener.as_fd()]).map_err(part(Part::Write))
                }
                // The caller runs under somebody's filter with a listener, and the kernel allows no second one: then the
                // filter refuses by itself, which it would have been told to.
                Err((_, Errno::BUSY)) => ours(seccomp::set_mode_filter(program)),
                Err(failed) => Err(failed),
            }
        }
    }
}

fn whole(errno: Errno) -> Failed {
    (Part::Whole, errno)
}

fn part(part: Part) -> impl Fn(Errno) -> Failed {
    move |errno| (part, errno)
}

/// A result of `palisade-sys` as one of this module.
fn ours<T>(result: palisade_sys::Result<T>) -> Result<T, Failed> {
    ours_in(Part::Whole, result)
}

fn ours_in<T>(part: Part, result: palisade_sys::Result<T>) -> Result<T, Failed> {
    result.map_err(|errno| (part, Errno::from_raw_os_error(errno.0)))
}

/// Closes every descriptor from `first` on that is neither the channel nor in `keep`.
fn close_others(
    proof: &ForkedChild,
    first: u32,
    keep: &[i32],
    channel: &Channel,
) -> palisade_sys::Result<()> {
    sys_process::close_except(proof, first, keep.iter().copied().chain([channel.as_raw_fd()]))
}

fn set_ids(uid: u32, gid: u32) -> Result<(), Errno> {
    // The group first: a changed user could have lost the right to change it.
    let gid = rustix::process::Gid::from_raw(gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    let uid = rustix::process::Uid::from_raw(uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

fn new_root(options: &CStr) -> Result<(), Failed> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount(c"palisade", STAGING, c"tmpfs", flags, options).map_err(part(Part::Attach))?;
    // From here on every path is relative to the new root, until it is the root.
    rustix::process::chdir(STAGING).map_err(part(Part::Enter))
}

fn make_file(path: &CStr, mode: u32, content: &[u8]) -> Result<(), Failed> {
    let mode = Mode::from_raw_mode(mode);
    if content.is_empty() {
        // Most are there for something to be mounted on: one call instead of two.
        return rustix::fs::mknodat(CWD, path, FileType::RegularFile, mode, 0).map_err(whole);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(CWD, path, flags, mode).map_err(whole)?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest).map_err(part(Part::Write))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Opens a place of the new root without following a link: in a tree that a workload has written to before, a
/// name may have become a link to somewhere else.
fn beneath(path: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat2(
        CWD,
        path,
        OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    )
}

fn mount_bind(source: &Source, path: &CStr, attributes: u64, recursive: bool) -> Result<(), Failed> {
    match source {
        Source::Tree(tree) => {
            let target = beneath(path).map_err(part(Part::Target))?;
            attach(tree.as_fd(), target.as_fd())
        }
        Source::Path { path: source, device, inode } => {
            let found = open_source(source, *device, *inode)?;
            let target = beneath(path).map_err(part(Part::Target))?;
            mount_copy(found.as_fd(), target.as_fd(), attributes, recursive)
        }
    }
}

/// Opens what was found at this path when the run was prepared, or fails.
fn open_source(path: &CStr, device: u64, inode: u64) -> Result<OwnedFd, Failed> {
    let found = rustix::fs::openat2(
        CWD,
        path,
        OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS,
    )
    .map_err(part(Part::Source))?;
    let stat = rustix::fs::fstat(&found).map_err(part(Part::Source))?;
    if (stat.st_dev, stat.st_ino) == (device, inode) { Ok(found) } else { Err((Part::Changed, Errno::STALE)) }
}

/// Copies the mounts at and below `source`, gives them `attributes`, and puts them at `target`. The copy has its
/// attributes before anybody can reach it.
fn mount_copy(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    attributes: u64,
    recursive: bool,
) -> Result<(), Failed> {
    let depth = if recursive { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(source, c"", flags | depth).map_err(part(Part::Clone))?;
    ours_in(Part::Attributes, sys_mount::set_attributes(tree.as_fd(), recursive, attributes))?;
    attach(tree.as_fd(), target)
}

fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Failed> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", target, c"", flags).map_err(part(Part::Attach))
}

/// Makes something empty in a directory that a workload may have written to before.
fn make_placeholder(directory: &CStr, name: &CStr, is_directory: bool) -> Result<(), Failed> {
    let parent = beneath(directory).map_err(part(Part::Target))?;
    let made = if is_directory {
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))
    } else {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o600)).map(drop)
    };
    match made {
        Err(Errno::EXIST) => {
            // Made since the plan was: it is covered as well as what would have been made, unless it is a link.
            let there =
                rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(part(Part::Target))?;
            let kind = FileType::from_raw_mode(there.st_mode);
            let fits = match kind {
                FileType::Directory => true,
                FileType::Symlink => false,
                _ => !is_directory,
            };
            if fits { Ok(()) } else { Err(whole(Errno::EXIST)) }
        }
        other => other.map_err(whole),
    }
}

/// Where the workspace is in the new root until it is closed, and what is in it.
const WORKSPACE: &CStr = c".workspace";
const UPPER: &CStr = c".workspace/upper";
const WORKSPACE_DIRECTORIES: [&CStr; 4] =
    [c".workspace/lower", UPPER, c".workspace/work", c".workspace/merged"];

fn mount_workspace(options: &CStr) -> Result<(), Failed> {
    rustix::fs::mkdirat(CWD, WORKSPACE, Mode::from_raw_mode(0o700)).map_err(part(Part::Target))?;
    // What is shown of it has the attributes that the step for it says.
    mount(c"palisade", WORKSPACE, c"tmpfs", MountFlags::empty(), options).map_err(whole)?;
    for directory in WORKSPACE_DIRECTORIES {
        rustix::fs::mkdirat(CWD, directory, Mode::from_raw_mode(0o700)).map_err(part(Part::Target))?;
    }
    Ok(())
}

fn mount_overlay(
    source: &Source,
    place: &WorkspacePart,
    options: &CStr,
    path: &CStr,
    attributes: u64,
) -> Result<(), Failed> {
    for directory in [&place.lower, &place.upper, &place.work, &place.merged] {
        rustix::fs::mkdirat(CWD, directory.as_c_str(), Mode::from_raw_mode(0o700))
            .map_err(part(Part::Target))?;
    }
    mount_bind(source, &place.lower, 0, false)?;
    // The directory that takes up the changes is the one that is shown, not the one below.
    let lower = rustix::fs::statat(CWD, place.lower.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(part(Part::Source))?;
    let mode = Mode::from_raw_mode(lower.st_mode & 0o1777);
    rustix::fs::chmodat(CWD, place.upper.as_c_str(), mode, AtFlags::empty()).map_err(part(Part::Target))?;
    mount(c"overlay", place.merged.as_c_str(), c"overlay", MountFlags::empty(), options).map_err(whole)?;
    show(&place.merged, path, attributes)
}

fn mount_private_copy(
    source: &Source,
    place: &WorkspacePart,
    path: &CStr,
    attributes: u64,
    empty: &[(u64, u64)],
) -> Result<(), Failed> {
    rustix::fs::mkdirat(CWD, place.upper.as_c_str(), Mode::from_raw_mode(0o700))
        .map_err(part(Part::Target))?;
    let upper = beneath_directory(&place.upper).map_err(part(Part::Target))?;
    match source {
        Source::Tree(tree) => copy(tree.as_fd(), upper.as_fd(), empty),
        Source::Path { path, device, inode } => {
            copy(open_source(path, *device, *inode)?.as_fd(), upper.as_fd(), empty)
        }
    }
    .map_err(part(Part::Write))?;
    show(&place.upper, path, attributes)
}

/// Mounts a directory of the workspace at its place in the new root.
fn show(from: &CStr, path: &CStr, attributes: u64) -> Result<(), Failed> {
    let from = beneath(from).map_err(part(Part::Source))?;
    let target = beneath(path).map_err(part(Part::Target))?;
    mount_copy(from.as_fd(), target.as_fd(), attributes, false)
}

/// [`beneath`], to read and change the directory itself.
fn beneath_directory(path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

/// Gives the supervisor hold of what took up the changes, and takes the rest out of everybody's reach. The mounts that
/// show it stay.
fn close_workspace(channel: &Channel) -> Result<(), Failed> {
    let upper = beneath_directory(UPPER).map_err(part(Part::Source))?;
    channel.send(Message::Workspace, &[upper.as_fd()]).map_err(part(Part::Write))?;
    unmount(WORKSPACE, UnmountFlags::DETACH).map_err(part(Part::Detach))?;
    rustix::fs::unlinkat(CWD, WORKSPACE, AtFlags::REMOVEDIR).map_err(part(Part::Target))
}

/// Covers a file or directory with an empty one of mode 000. The workload owns it, but on a read-only mount the mode
/// cannot be changed.
fn mask(path: &CStr, state: &mut State<'_>) -> Result<bool, Failed> {
    use sys_mount::attr::{NODEV, NOEXEC, NOSUID, RDONLY};

    let target = beneath(path).map_err(part(Part::Target))?;
    let stat = rustix::fs::fstat(&target).map_err(part(Part::Target))?;
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let cover = if directory { &mut state.mask_directory } else { &mut state.mask_file };
    if cover.is_none() {
        *cover = Some(make_mask(directory).map_err(part(Part::Source))?);
    }
    let Some(cover) = cover else { return Err((Part::Source, Errno::NOENT)) };
    mount_copy(cover.as_fd(), target.as_fd(), RDONLY | NOSUID | NODEV | NOEXEC, false)?;
    Ok(directory)
}

/// [`mask`] for an entry of the new procfs. There are some thirty, and nobody can have put a link there: each is covered by
/// a copy of the first mask of its kind, attributes and all, which takes one call. The kind is looked up: to try the other
/// one has the kernel wait until every processor has seen that its copy is gone (`namespace_unlock` in fs/namespace.c).
fn mask_entry<'a>(path: &'a CStr, state: &mut State<'a>) -> Result<(), Failed> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map_err(part(Part::Target))?;
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let masked = if directory { state.masked_directory } else { state.masked_file };
    if masked.is_some_and(|masked| mount_bind_at(masked, path).is_ok()) {
        return Ok(());
    }
    let masked = if mask(path, state)? { &mut state.masked_directory } else { &mut state.masked_file };
    *masked = Some(path);
    Ok(())
}

/// The names of what masks are copies of, while the new root is built.
const MASK_DIRECTORY: &CStr = c".mask-directory";
const MASK_FILE: &CStr = c".mask-file";

/// Makes the empty file or directory that masks are copies of.
fn make_mask(directory: bool) -> Result<OwnedFd, Errno> {
    let name = if directory { MASK_DIRECTORY } else { MASK_FILE };
    if directory {
        rustix::fs::mkdirat(CWD, name, Mode::empty())?;
    } else {
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        drop(rustix::fs::openat(CWD, name, create, Mode::empty())?);
    }
    rustix::fs::openat(CWD, name, OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
}

/// Takes the names away; the masks live on in the mounts. Not before all are in place: the kernel attaches no mount of
/// a deleted directory.
fn remove_mask_names(state: &State<'_>) -> Result<(), Errno> {
    if state.mask_directory.is_some() {
        rustix::fs::unlinkat(CWD, MASK_DIRECTORY, AtFlags::REMOVEDIR)?;
    }
    if state.mask_file.is_some() {
        rustix::fs::unlinkat(CWD, MASK_FILE, AtFlags::empty())?;
    }
    Ok(())
}

/// Waits until the supervisor closes the descriptor that it is told of the checkpoint with. A supervisor that is gone has
/// closed it too: then this process goes on as it would have without a checkpoint, to where it finds that nobody is left.
fn checkpoint(channel: &Channel, step: i32) -> Result<(), Errno> {
    ask(channel, Message::Checkpoint { step }).map(wait_for)
}

/// One request about addresses or routes; all go over one socket.
fn route(request: &netlink::Request, state: &mut State<'_>) -> Result<(), Errno> {
    if state.routing.is_none() {
        let socket = netlink::open()?;
        // For speed alone: kernels before Linux 6.3 do not take it (commit b1a78b9b9886).
        let _ = netlink::exchange(&socket, &netlink::Request::long_segments(), None);
        state.routing = Some(socket);
    }
    let Some(socket) = &state.routing else { return Err(Errno::BADF) };
    netlink::exchange(socket, request, state.link)
}

/// Waits until the interface carries packets: until then the kernel drops them (net/core/link_watch.c). One that does not
/// come to it within a second has a host whose own link is down, and goes on as that does.
fn wait_until_running(link: u32, events: &OwnedFd) {
    const SECOND: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
    let mut message = [0u8; 4096];
    while let Ok(1) = poll(&mut [PollFd::new(events, PollFlags::IN)], Some(&SECOND)) {
        match recv(events, &mut message[..], RecvFlags::DONTWAIT) {
            Ok((length, _)) if netlink::is_running(message.get(..length).unwrap_or_default(), link) => return,
            Ok(_) | Err(Errno::INTR | Errno::AGAIN | Errno::NOBUFS) => {}
            Err(_) => return,
        }
    }
}

/// Asks the supervisor for something that is done, or refused, when the pipe has ended.
fn ask(channel: &Channel, message: Message) -> Result<OwnedFd, Errno> {
    let (waiting, held) = pipe_with(PipeFlags::CLOEXEC)?;
    channel.send(message, &[held.as_fd()])?;
    Ok(waiting)
}

/// Waits until that has ended.
fn wait_for(answer: OwnedFd) {
    while rustix::io::read(&answer, &mut [0]) == Err(Errno::INTR) {}
}

/// Asks for the interface that leads out, and waits until it is there. Its number, and where the kernel tells of it.
fn attach_link(channel: &Channel, name: &str) -> Result<(u32, OwnedFd), Errno> {
    // Before anybody makes it, so that it cannot come unheard.
    let events = netlink::open_events()?;
    let waiting = ask(channel, Message::Attach)?;
    let mut is_last = false;
    loop {
        match netlink::index(&events, name) {
            Err(Errno::NODEV) if !is_last => {}
            Ok(found) => return Ok((found, events)),
            Err(errno) => return Err(errno),
        }
        let mut sources = [PollFd::new(&events, PollFlags::IN), PollFd::new(&waiting, PollFlags::IN)];
        match poll(&mut sources, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        // Nobody is left who would make it; or it was made in this moment.
        is_last = !sources[1].revents().is_empty();
        if !sources[0].revents().is_empty() {
            // What it says is read from the kernel itself; more than fits is lost, and no loss.
            let _ = recv(&events, &mut [0u8; 512][..], RecvFlags::DONTWAIT | RecvFlags::TRUNC);
        }
    }
}

/// Makes a socket for the gateway and hands it out. No copy stays inside.
fn hand_out(
    channel: &Channel,
    protocol: Protocol,
    address: SocketAddr,
    transparent: bool,
) -> Result<(), Failed> {
    let socket = socket::make(protocol, address, transparent).map_err(whole)?;
    let kind = match protocol {
        Protocol::Tcp => SocketKind::Streams,
        Protocol::Udp => SocketKind::Datagrams,
    };
    give(channel, kind, &socket)
}

fn give(channel: &Channel, kind: SocketKind, socket: &OwnedFd) -> Result<(), Failed> {
    channel.send(Message::Socket { kind }, &[socket.as_fd()]).map_err(part(Part::Write))
}

/// Has a program load a ruleset. It runs with nothing but the right to change this network namespace, which ends before the
/// workload begins.
fn load_ruleset(loader: &Loader) -> Result<(), Errno> {
    let sys = |errno: palisade_sys::Errno| Errno::from_raw_os_error(errno.0);
    match sys_process::fork().map_err(sys)? {
        None => {
            let errno = match become_loader(loader) {
                Ok(never) => match never {},
                Err(errno) => errno,
            };
            sys_process::exit(errno.raw_os_error() & 0xff)
        }
        Some(pid) => {
            let status = sys_process::wait_for(pid).map_err(sys)?;
            match WaitStatus::from_raw(status) {
                Some(WaitStatus::Exited(0)) => Ok(()),
                // It says why on standard error, which nobody reads here; `nft -c` tells a person.
                _ => Err(Errno::NOEXEC),
            }
        }
    }
}

fn become_loader(loader: &Loader) -> Result<std::convert::Infallible, Errno> {
    dup2_stdin(&loader.ruleset)?;
    dup2_stdout(&loader.null)?;
    dup2_stderr(&loader.null)?;
    let only = CapabilitySet::NET_ADMIN;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: only, permitted: only, inheritable: only },
    )?;
    rustix::thread::configure_capability_in_ambient_set(only, true)?;
    let errno = exec::execveat(loader.program.as_fd(), loader.arguments.words(), loader.environment.words());
    Err(Errno::from_raw_os_error(errno.0))
}

fn forbid_user_namespaces() -> Result<(), Failed> {
    // Relative to the new root: the procfs that was mounted there shows the sysctls of the reader's user namespace.
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file =
        rustix::fs::openat(CWD, c"proc/sys/user/max_user_namespaces", flags, Mode::empty()).map_err(whole)?;
    rustix::io::write(&file, b"0").map(drop).map_err(part(Part::Write))
}

fn pivot_root(state: &State<'_>) -> Result<(), Failed> {
    remove_mask_names(state).map_err(part(Part::Source))?;
    // With both arguments the same, the old root ends up on top of the new one and is detached from there
    // (pivot_root(2), "pivot_root(".", ".")").
    rustix::process::pivot_root(c".", c".").map_err(whole)?;
    unmount(c".", UnmountFlags::DETACH).map_err(part(Part::Detach))?;
    rustix::process::chdir(c"/").map_err(part(Part::Enter))
}

fn limit(resource: Resource, value: u64) -> Result<(), Errno> {
    rustix::process::setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
}

fn drop_bounding_set(keep: CapabilitySet) -> Result<(), Errno> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if keep.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Past the last capability that this kernel knows.
            Err(Errno::INVAL) if bit > 0 => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn restrict_landlock(handled: u64, scoped: u64, rules: &[(std::ffi::CString, u64)]) -> Result<(), Failed> {
    let ruleset = ours_in(Part::Ruleset, landlock::create_ruleset(handled, scoped))?;
    for (path, access) in rules {
        let place = beneath(path).map_err(part(Part::Target))?;
        let stat = rustix::fs::fstat(&place).map_err(part(Part::Target))?;
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        // Rights about directory entries do not apply to a file and would be refused (landlock(7)).
        let access = if directory { *access } else { *access & crate::prepare::rights::FILE };
        ours_in(Part::Rule, landlock::allow_beneath(ruleset.as_fd(), place.as_fd(), access))?;
    }
    ours_in(Part::Restrict, landlock::restrict_self(ruleset.as_fd()))
}

fn drop_capabilities(keep: CapabilitySet) -> Result<(), Errno> {
    rustix::thread::clear_ambient_capability_set()?;
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: keep };
    rustix::thread::set_capabilities(None, sets)?;
    for capability in keep {
        // Without this an ordinary user's capabilities end at execve(2) (capabilities(7)).
        rustix::thread::configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

//! Trials: each does a thing in processes and mounts that end with it, and says what the kernel said.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use palisade_plan::KERNEL_ID_BASE;
use palisade_plan::facts::{Ability, Caller};
use palisade_plan::step::{IdMap, IdPair};
use palisade_sys::process::{self, Cloned, ForkedChild, namespace};
use palisade_sys::user_namespace::{Carriers, Mapping, write_maps};
use palisade_sys::{Errno, mount as sys_mount};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, OpenTreeFlags,
    fsconfig_create, fsmount, fsopen, mount, mount_change, open_tree,
};
use rustix::pipe::{PipeFlags, pipe_with};

/// What was tried in namespaces of its own.
pub(crate) struct Trials {
    pub(crate) namespaces: Ability,
    pub(crate) mount_attributes: Ability,
    pub(crate) procfs: Ability,
    pub(crate) overlay: Ability,
}

impl Trials {
    /// For a run, which is about to do all of it.
    pub(crate) fn untried() -> Self {
        Self {
            namespaces: Ability::Available,
            mount_attributes: Ability::Available,
            procfs: Ability::Available,
            overlay: Ability::Available,
        }
    }
}

/// The id that the trials run under in their user namespace.
const INSIDE: u32 = 1000;

/// Every namespace that a sandbox needs.
const ALL: u64 = namespace::USER
    | namespace::MOUNT
    | namespace::PID
    | namespace::NETWORK
    | namespace::IPC
    | namespace::UTS
    | namespace::CGROUP;

/// Makes the namespaces of a sandbox, and in them a procfs and a mount with attributes.
pub(crate) fn trials(caller: &Caller) -> Trials {
    match attempt(caller) {
        Ok([procfs, attributes, overlay]) => Trials {
            overlay: overlay_ability(overlay),
            namespaces: Ability::Available,
            procfs: ability("mount proc", procfs),
            mount_attributes: ability("mount_setattr", attributes),
        },
        Err(reason) => Trials {
            namespaces: Ability::Unavailable(reason),
            procfs: Ability::Unavailable("not tried: no namespaces".into()),
            mount_attributes: Ability::Unavailable("not tried: no namespaces".into()),
            overlay: Ability::Unavailable("not tried: no namespaces".into()),
        },
    }
}

/// What the kernel says about an overlay; of one error the reason is known.
fn overlay_ability(errno: i32) -> Ability {
    match ability("mount overlay", errno) {
        Ability::Unavailable(said) if Errno(errno).name() == Some("EIO") => Ability::Unavailable(format!(
            "{said} (before Linux 6.6 a tmpfs, which takes up the changes, has no extended attributes for it)"
        )),
        other => other,
    }
}

fn ability(call: &str, errno: i32) -> Ability {
    if errno == 0 { Ability::Available } else { Ability::Unavailable(format!("{call}: {}", Errno(errno))) }
}

/// The errno of each trial, 0 for success.
fn attempt(caller: &Caller) -> Result<[i32; 3], String> {
    let text = |call: &'static str| move |error: rustix::io::Errno| format!("{call}: {error}");
    let (go, start) = pipe_with(PipeFlags::CLOEXEC).map_err(text("pipe"))?;
    let (result, report) = pipe_with(PipeFlags::CLOEXEC).map_err(text("pipe"))?;
    let cloned = process::clone3(ALL).map_err(|errno| format!("clone3: {errno}{}", gate(errno)))?;
    let pid = match cloned {
        Cloned::Parent { pid, .. } => pid,
        Cloned::Child(proof) => trial_child(&proof, &go, &report),
    };
    drop(report);
    let outside = |own: u32| if caller.privileged { KERNEL_ID_BASE } else { own };
    let uid = Mapping { inside: INSIDE, outside: outside(caller.uid) };
    let gid = Mapping { inside: INSIDE, outside: outside(caller.gid) };
    let mapped = write_maps(pid, uid, gid, !caller.privileged);
    let started = mapped.is_ok() && rustix::io::write(&start, &[1]).is_ok();
    drop(start);
    let mut errnos = [0; 3];
    let read = if started { rustix::io::read(&result, &mut errnos) } else { Ok(0) };
    let _ = process::wait_for(pid);
    mapped.map_err(|error| format!("write the id maps: {error}"))?;
    match read {
        Ok(3) => Ok(errnos.map(i32::from)),
        Ok(_) | Err(_) => Err("the first process of the namespaces ended early".into()),
    }
}

/// Errnos of the calls tried fit a byte. Allocates nothing.
fn trial_child(proof: &ForkedChild, go: &OwnedFd, report: &OwnedFd) -> ! {
    // With its own copy of the writing end it would not see that the parent gave up.
    let _ = process::close_except(proof, 0, [go.as_raw_fd(), report.as_raw_fd()].into_iter());
    if rustix::io::read(go, &mut [0]) != Ok(1) {
        process::exit(1);
    }
    let byte = |result: Result<(), rustix::io::Errno>| match result {
        Ok(()) => 0,
        Err(errno) => u8::try_from(errno.raw_os_error()).unwrap_or(u8::MAX),
    };
    let procfs = byte(try_procfs());
    let attributes = byte(try_attributes());
    let overlay = byte(try_overlay());
    let _ = rustix::io::write(report, &[procfs, attributes, overlay]);
    process::exit(0)
}

fn try_procfs() -> Result<(), rustix::io::Errno> {
    mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount(c"proc", c"/proc", c"proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, c"")
}

fn try_attributes() -> Result<(), rustix::io::Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, c"/", flags)?;
    sys_mount::set_attributes(tree.as_fd(), true, sys_mount::attr::RDONLY)
        .map_err(|errno| rustix::io::Errno::from_raw_os_error(errno.0))
}

/// Mounts an overlay on a tmpfs, as a workspace has it, and removes and makes again what is below: that needs whiteouts and
/// extended attributes of the upper file system.
fn try_overlay() -> Result<(), rustix::io::Errno> {
    let gid = rustix::process::Gid::from_raw(INSIDE);
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    let uid = rustix::process::Uid::from_raw(INSIDE);
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    // Over the procfs of these namespaces, which nothing needs any more.
    mount(c"tmpfs", c"/proc", c"tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=0755,size=64k")?;
    rustix::process::chdir(c"/proc")?;
    for directory in [c"lower", c"lower/below", c"upper", c"work", c"merged"] {
        rustix::fs::mkdirat(CWD, directory, Mode::from_raw_mode(0o755))?;
    }
    let options = c"lowerdir=lower,upperdir=upper,workdir=work,userxattr";
    mount(c"overlay", c"merged", c"overlay", MountFlags::NOSUID | MountFlags::NODEV, options)?;
    rustix::fs::unlinkat(CWD, c"merged/below", AtFlags::REMOVEDIR)?;
    rustix::fs::mkdirat(CWD, c"merged/below", Mode::from_raw_mode(0o755))
}

/// The setting that is most likely behind a refused clone3, as far as a file tells.
fn gate(errno: Errno) -> String {
    let gates = [
        ("/proc/sys/user/max_user_namespaces", "0"),
        ("/proc/sys/user/max_mnt_namespaces", "0"),
        ("/proc/sys/user/max_pid_namespaces", "0"),
        ("/proc/sys/user/max_net_namespaces", "0"),
        ("/proc/sys/user/max_ipc_namespaces", "0"),
        ("/proc/sys/user/max_uts_namespaces", "0"),
        ("/proc/sys/user/max_cgroup_namespaces", "0"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
    ];
    let closed: Vec<String> = gates
        .iter()
        .filter(|(file, closed)| std::fs::read_to_string(file).is_ok_and(|value| value.trim() == *closed))
        .map(|(file, value)| format!("{file} is {value}"))
        .collect();
    match (closed.is_empty(), errno.name()) {
        (false, _) => format!(" ({})", closed.join(", ")),
        (true, Some("ENOSYS" | "EPERM")) => " (a filter or a security module forbids it)".into(),
        _ => String::new(),
    }
}

/// How many trees a survey keeps. A policy may name thousands, and a caller may have few descriptors.
const KEPT: usize = 64;

/// A tree that is mounted with mapped ids, though nowhere.
#[derive(Debug)]
struct MappedTree {
    path: PathBuf,
    idmap: IdMap,
    tree: OwnedFd,
}

/// Trees that a survey has mounted with mapped ids, with everything below them, to see whether that works: whoever is to show
/// them need not mount them again.
#[derive(Clone, Debug, Default)]
pub struct MappedTrees(Arc<Mutex<Vec<MappedTree>>>);

impl MappedTrees {
    /// The tree at `path` with ids mapped so, if there is one. It can be had once.
    pub fn take(&self, path: &Path, idmap: &IdMap) -> Option<OwnedFd> {
        let mut trees = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = trees.iter().position(|kept| kept.path == path && kept.idmap == *idmap)?;
        Some(trees.swap_remove(index).tree)
    }
}

/// Trials of ID-mapped mounts.
pub(crate) struct IdMapTrial {
    kernel_id: u32,
    carriers: Carriers,
    trees: Vec<MappedTree>,
}

impl IdMapTrial {
    /// Trials that map the owners of files to `kernel_id`.
    pub(crate) fn to(kernel_id: u32) -> Self {
        Self { kernel_id, carriers: Carriers::default(), trees: Vec::new() }
    }

    /// Whether the tree at `path`, with every mount below it, can be mounted so that what `uid` and `gid` own is the kernel
    /// id's: makes such a mount.
    pub(crate) fn attempt(&mut self, path: &Path, uid: u32, gid: u32) -> Ability {
        said(self.try_map(path, OpenTreeFlags::AT_RECURSIVE, uid, gid).map(|tree| {
            if self.trees.len() < KEPT {
                let pair = |inside| IdPair { inside, outside: self.kernel_id };
                let idmap = IdMap { uid: pair(uid), gid: pair(gid) };
                self.trees.push(MappedTree { path: path.to_owned(), idmap, tree });
            }
        }))
    }

    /// The same of the file system at `path` alone, whatever is mounted below and whoever owns it.
    pub(crate) fn attempt_one(&mut self, path: &Path) -> Ability {
        said(self.try_map(path, OpenTreeFlags::empty(), 0, 0).map(drop))
    }

    /// The same of a new tmpfs, which is mounted nowhere.
    pub(crate) fn attempt_tmpfs(&mut self) -> Ability {
        said(tmpfs().and_then(|mount| self.map(mount.as_fd(), 0, 0)))
    }

    /// What was mounted.
    pub(crate) fn trees(self) -> MappedTrees {
        MappedTrees(Arc::new(Mutex::new(self.trees)))
    }

    fn try_map(&mut self, path: &Path, extent: OpenTreeFlags, uid: u32, gid: u32) -> Result<OwnedFd, String> {
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let found = rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
            .map_err(text("open"))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | extent;
        let tree = open_tree(&found, c"", flags).map_err(text("open_tree"))?;
        self.map(tree.as_fd(), uid, gid)?;
        Ok(tree)
    }

    fn map(&mut self, mount: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<(), String> {
        let to = |inside| Mapping { inside, outside: self.kernel_id };
        let carrier =
            self.carriers.carrier(to(uid), to(gid)).map_err(|error| format!("user namespace: {error}"))?;
        sys_mount::set_idmap(mount, carrier).map_err(|errno| match errno.name() {
            Some("EINVAL") => {
                format!("mount_setattr: {errno} (a file system there has no ID-mapped mounts)")
            }
            _ => format!("mount_setattr: {errno}"),
        })
    }
}

fn said(result: Result<(), String>) -> Ability {
    match result {
        Ok(()) => Ability::Available,
        Err(reason) => Ability::Unavailable(reason),
    }
}

fn text(call: &'static str) -> impl Fn(rustix::io::Errno) -> String {
    move |errno| format!("{call}: {}", Errno(errno.raw_os_error()))
}

fn tmpfs() -> Result<OwnedFd, String> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(text("fsopen"))?;
    fsconfig_create(context.as_fd()).map_err(text("fsconfig"))?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).map_err(text("fsmount"))
}

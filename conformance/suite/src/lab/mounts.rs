//! The lab's own mounts: fresh file systems over the places of the host where other people's things lie.
//!
//! Acts only in the lab's mount namespace, whose mounts are private (lab-init made them so). Nothing of the host's own file
//! systems is written to. Every mount made here is then marked shared: a sandbox that does not cut propagation
//! gets to see what the suite mounts later.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind,
    mount_change, move_mount, open_tree, unmount,
};

use super::error::{During, LabError};
use super::world::Presence;

const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Fresh tmpfs: where, with which options. Sized, because a probe may try to fill them; `/tmp` larger than what policies
/// give a sandbox, so that an unsandboxed run can go past that.
const FRESH: &[(&str, &str)] = &[
    ("/tmp", "mode=1777,size=512m,nr_inodes=128k"),
    // For the lab's own files, and so for the workspaces: a policy may say something about /tmp that they must not inherit.
    ("/mnt", "mode=755,size=512m,nr_inodes=128k"),
    ("/run", "mode=755,size=32m,nr_inodes=8k"),
    ("/dev/shm", "mode=1777,size=256m,nr_inodes=8k"),
    ("/var/tmp", "mode=1777,size=64m,nr_inodes=8k"),
];

/// What [`cover`] did.
#[derive(Debug, Default)]
pub(super) struct Covered {
    /// Roots of the fresh file systems, real paths.
    roots: Vec<PathBuf>,
    /// What could not be had, and why.
    pub(super) absent: Vec<(&'static str, String)>,
}

impl Covered {
    /// True when `path` lies below a fresh file system of the lab, so that writing there touches nothing of the host.
    pub(super) fn holds(&self, path: &Path) -> bool {
        // The nearest directory that exists decides; what is missing below it will be made there.
        let real = path.ancestors().skip(1).find_map(|dir| fs::canonicalize(dir).ok());
        real.is_some_and(|real| self.roots.iter().any(|root| real.starts_with(root)))
    }
}

/// Mounts everything that does not depend on the world.
pub(super) fn cover() -> Result<Covered, LabError> {
    let mut covered = Covered::default();
    for (path, options) in FRESH {
        match fs::canonicalize(path) {
            // One place may be a link to another: mounting there twice would hide what the first holds.
            Ok(real) if covered.roots.contains(&real) => {}
            Ok(real) => {
                tmpfs(&real, options)?;
                covered.roots.push(real);
            }
            Err(e) if ["/tmp", "/mnt"].contains(path) => {
                return Err(LabError::step(format!("find {path}"), e));
            }
            Err(e) => covered.absent.push((*path, format!("find {path}: {e}"))),
        }
    }
    // A devpts of its own hides the caller's terminals, and the numbers begin at 0 (kernel 4.7, Documentation/filesystems/devpts.rst).
    // Mode and gid of the slaves stay at the defaults: the group tty is not mapped in a rootless lab.
    for (path, kind, options) in
        [("/dev/pts", "devpts", Some("newinstance,ptmxmode=0666,mode=0600")), ("/dev/mqueue", "mqueue", None)]
    {
        if let Err(why) = pseudo(path, kind, options) {
            covered.absent.push((path, why));
        }
    }
    Ok(covered)
}

fn pseudo(path: &str, kind: &str, options: Option<&str>) -> Result<(), String> {
    let options = options.map(|o| std::ffi::CString::new(o).unwrap_or_default());
    let noexec = PLAIN.union(MountFlags::NOEXEC);
    // devpts on a mount with nodev could not open its devices.
    let flags = if kind == "devpts" { noexec.difference(MountFlags::NODEV) } else { noexec };
    mount(kind, path, kind, flags, options.as_deref()).map_err(|e| format!("mount {kind} on {path}: {e}"))?;
    share(Path::new(path)).map_err(|e| e.to_string())
}

/// A fresh tmpfs on `path`, shared. It honours set-user-id bits and devices, as the disk under people's work does on a
/// host: a sandbox that does not take that away is found out.
pub(super) fn tmpfs(path: &Path, options: &str) -> Result<(), LabError> {
    let options = std::ffi::CString::new(options).unwrap_or_default();
    mount("palisade-lab", path, "tmpfs", MountFlags::empty(), Some(options.as_c_str()))
        .during(|| format!("mount tmpfs on {}", path.display()))?;
    share(path)
}

fn share(path: &Path) -> Result<(), LabError> {
    mount_change(path, MountPropagationFlags::SHARED).during(|| format!("make {} shared", path.display()))
}

/// Puts `source`, a file of the lab, over the file `target` of the host, as seen in the lab.
pub(super) fn over(source: &Path, target: &Path) -> Presence {
    let real = match fs::canonicalize(target) {
        Ok(real) => real,
        Err(e) => return Presence::Absent(format!("find {}: {e}", target.display())),
    };
    match mount_bind(source, &real) {
        Ok(()) => Presence::Planted,
        Err(e) => Presence::Absent(format!("bind a file on {}: {e}", real.display())),
    }
}

/// A file of the host that is carried past the mounts that would hide it.
pub(super) struct Carried {
    source: PathBuf,
    by: Carrier,
}

enum Carrier {
    /// A detached mount (open_tree(2), since 5.2).
    Tree(OwnedFd),
    /// An open file, to be copied: the path leads outside of this mount namespace, or `open_tree` is refused.
    Copy(fs::File),
}

/// Takes hold of `source` before [`cover`].
pub(super) fn take(source: &Path) -> Result<Carried, LabError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let by = match open_tree(CWD, source, flags) {
        Ok(fd) => Carrier::Tree(fd),
        Err(_) => Carrier::Copy(fs::File::open(source).during(|| format!("open {}", source.display()))?),
    };
    Ok(Carried { source: source.to_owned(), by })
}

impl Carried {
    /// Puts it down as the new file `target`.
    pub(super) fn put(self, target: &Path) -> Result<(), LabError> {
        let what = || format!("bring {} to {}", self.source.display(), target.display());
        let mode = Mode::from_raw_mode(0o755);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(target, flags, mode).during(what)?;
        match self.by {
            Carrier::Tree(tree) => {
                drop(file);
                let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
                move_mount(&tree, "", CWD, target, flags).during(what)
            }
            Carrier::Copy(mut from) => io::copy(&mut from, &mut fs::File::from(file)).during(what).map(drop),
        }
    }
}

/// Unmounts what is on `path`, if something is.
pub(super) fn unmount_now(path: &Path) -> Result<(), LabError> {
    match unmount(path, UnmountFlags::DETACH) {
        // EINVAL: not a mount point, or a workload has removed it.
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Ok(()),
        Err(e) => Err(LabError::step(format!("unmount {}", path.display()), e)),
    }
}

/// A tmpfs that the suite mounts while a sandbox runs, holding one marked file. Unmounted when dropped.
#[derive(Debug)]
pub struct PlantedMount {
    target: PathBuf,
    /// The file in it.
    pub file: PathBuf,
}

impl PlantedMount {
    pub(super) fn on(target: &Path, marker: &str) -> Result<Self, LabError> {
        mount("palisade-lab", target, "tmpfs", PLAIN, None)
            .during(|| format!("mount tmpfs on {}", target.display()))?;
        let planted = Self { target: target.to_owned(), file: target.join("planted") };
        fs::write(&planted.file, format!("{marker}\n"))
            .during(|| format!("write {}", planted.file.display()))?;
        Ok(planted)
    }
}

impl Drop for PlantedMount {
    fn drop(&mut self) {
        // It goes with the lab at the latest.
        let _ = unmount(&self.target, UnmountFlags::DETACH);
    }
}

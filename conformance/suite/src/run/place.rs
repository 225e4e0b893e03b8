//! Where a case runs: a mount namespace of each worker thread, and in it a fresh workspace for each case at the one path
//! that the world names.
//!
//! A thread may unshare its mount namespace alone (unshare(2): CLONE_NEWNS implies CLONE_FS, and needs no single
//! thread). What it starts inherits that namespace. So cases run side by side under identical absolute paths, and nothing that
//! one leaves in its workspace is there for the next.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind_recursive, mount_change, unmount};

use super::no_fork_meanwhile;
use crate::catalogue::Planted;
use crate::lab::Lab;
use crate::lab::world::Workspace;

/// A worker's own view of the lab.
pub struct Place<'a> {
    lab: &'a Lab,
    name: String,
    cases: u32,
}

/// A fresh workspace at `world.work.dir`, until it is dropped.
pub struct Stand<'a> {
    lab: &'a Lab,
    made: Workspace,
}

impl<'a> Place<'a> {
    /// Gives the calling thread a mount namespace of its own. `name` is unique among the workers.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn new(lab: &'a Lab, name: String) -> io::Result<Self> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        // The lab's mounts are shared, so that a runtime that does not cut propagation is found out. Private first
        // takes this namespace out of the lab's peer groups, shared again gives it groups of its own.
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::SHARED)?;
        Ok(Self { lab, name, cases: 0 })
    }

    /// A fresh workspace with `planted` in it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn stand(&mut self, planted: &[Planted]) -> io::Result<Stand<'a>> {
        self.cases += 1;
        let name = format!("{}-{}", self.name, self.cases);
        let _alone = no_fork_meanwhile();
        let made = self.lab.workspace(&name).map_err(|error| io::Error::other(error.to_string()))?;
        let stand = Stand { lab: self.lab, made };
        for item in planted {
            plant(&stand.made.dir, item)?;
        }
        mount_bind_recursive(&stand.made.dir, &self.lab.world().work.dir)?;
        Ok(stand)
    }
}

impl Drop for Stand<'_> {
    fn drop(&mut self) {
        // What cannot be taken away goes with the lab; the next case has a directory of its own.
        let _ = unmount(&self.lab.world().work.dir, UnmountFlags::DETACH);
        let _ = self.lab.discard(&self.made);
    }
}

fn plant(dir: &Path, item: &Planted) -> io::Result<()> {
    let path = dir.join(item.path());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match item {
        Planted::File(_, content, mode) => {
            fs::write(&path, content)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode))
        }
        Planted::Directory(_) => fs::create_dir_all(&path),
        Planted::Symlink(_, target) => std::os::unix::fs::symlink(target, &path),
    }
}

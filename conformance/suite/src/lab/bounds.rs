//! Control groups around the lab: bounds that hold whatever a runtime under test does about its own.
//!
//! Probes run into limits with counts and sizes that end by themselves. This is what ends them on top of that: no more
//! processes and no more memory than a machine bears, for everything in the lab, the runs without a sandbox included. Only
//! root can have groups everywhere; an ordinary user's lab has at least a limit of processes, which are counted by user
//! namespace (RLIMIT_NPROC, since Linux 5.14), and otherwise the counts of the probes alone.
//!
//! Acts on groups that it has made, and on no other.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Most processes and threads of a lab: a few workers, each with a few hundred at a time.
const PROCESSES: u64 = 8192;

/// The part of the machine's memory that a lab may use, in quarters.
const QUARTERS: u64 = 3;

/// The groups of one lab. Dropping this removes them; by then nothing may live in it any more.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    groups: Vec<PathBuf>,
}

impl Bounds {
    /// Puts the process `pid`, which has started nothing yet, and with it all that it will start into groups of its own.
    /// `own_groups` is the caller's /proc/self/cgroup.
    pub(super) fn around(own_groups: &str, pid: u32) -> Self {
        let mut bounds = Self::default();
        let memory = memory().map(|bytes| bytes / 4 * QUARTERS);
        let name = format!("palisade-lab-{}-{pid}", std::process::id());
        let limits = |unified: bool| {
            let file = if unified { "memory.max" } else { "memory.limit_in_bytes" };
            let memory = memory.map(|bytes| (file, bytes.to_string()));
            memory.into_iter().chain([("pids.max", PROCESSES.to_string())])
        };
        for line in own_groups.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let below = path.trim_start_matches('/');
            if controllers.is_empty() {
                let root = Path::new("/sys/fs/cgroup");
                // A group with processes in it gives those below it no controllers (cgroups(7)): one above it may.
                let mut parents = Path::new(below).ancestors().map(|part| root.join(part));
                // Where none can be made, the module's header says what is left.
                let _: bool =
                    parents.any(|parent| bounds.make(&parent.join(&name), limits(true), pid).is_ok());
            } else if let Some(controller) =
                ["memory", "pids"].iter().find(|one| controllers.split(',').any(|c| c == **one))
            {
                let root = Path::new("/sys/fs/cgroup").join(controller);
                let limits = limits(false).filter(|(file, _)| file.starts_with(controller));
                let _ = bounds.make(&root.join(below).join(&name), limits, pid);
            }
        }
        bounds
    }

    fn make(
        &mut self,
        group: &Path,
        limits: impl Iterator<Item = (&'static str, String)>,
        pid: u32,
    ) -> io::Result<()> {
        // In a directory that is no cgroup, a new one has no such file.
        fs::create_dir(group)?;
        let limited = || -> io::Result<()> {
            for (file, value) in limits {
                write(&group.join(file), &value)?;
            }
            write(&group.join("cgroup.procs"), &pid.to_string())
        };
        match limited() {
            Ok(()) => {
                self.groups.push(group.to_owned());
                Ok(())
            }
            Err(error) => {
                let _ = fs::remove_dir(group);
                Err(error)
            }
        }
    }
}

impl Drop for Bounds {
    fn drop(&mut self) {
        for group in &self.groups {
            remove(group);
        }
    }
}

/// With what a runtime that was killed with the lab has left in it.
fn remove(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

/// Lets an ordinary user's lab have no more processes than its groups would. Root, whom this limit does not bind, has groups.
/// The soft limit only: whether a workload may raise its own is a probe, and outside it has to succeed.
pub(super) fn limit_processes() {
    let now = getrlimit(Resource::Nproc);
    let current = Some(now.current.map_or(PROCESSES, |limit| limit.min(PROCESSES)));
    // A soft limit can always be lowered.
    let _ = setrlimit(Resource::Nproc, Rlimit { current, ..now });
}

/// Makes the lab's group of version 2, if it has one, the root of all groups that are seen in it, and passes its controllers on:
/// a runtime in the lab finds what it would find outside, a group that is its own. The calling process, of which nothing else runs
/// yet, moves to a group below it, since one with processes gives those below it no controllers (cgroups(7)).
pub(super) fn settle() {
    const UNIFIED: &str = "/sys/fs/cgroup";
    /// `f_type` of cgroup2 (statfs(2)).
    const MAGIC: i64 = 0x6367_7270;
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let bounded = own.lines().any(|line| line.starts_with("0::") && line.contains("/palisade-lab-"));
    let unified = rustix::fs::statfs(UNIFIED).is_ok_and(|stat| stat.f_type == MAGIC);
    if !bounded || !unified || nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP).is_err() {
        return;
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // The kernel mounts no file system on its own root (EBUSY), whichever part of it is meant: something lies between.
    let covered = mount("palisade-lab", UNIFIED, "tmpfs", flags, Some(c"mode=0755,size=4k"));
    if covered.is_err() {
        return;
    }
    if mount("cgroup2", UNIFIED, "cgroup2", flags, None).is_err() {
        let _ = unmount(UNIFIED, UnmountFlags::DETACH);
        return;
    }
    let root = Path::new(UNIFIED);
    let moved = fs::create_dir(root.join("lab")).and_then(|()| write(&root.join("lab/cgroup.procs"), "0"));
    if moved.is_ok() {
        for controller in ["+memory", "+pids", "+cpu"] {
            // What the lab's own group was not given it has not to give.
            let _ = write(&root.join("cgroup.subtree_control"), controller);
        }
    }
}

/// Writes to a file that is there.
fn write(path: &Path, value: &str) -> io::Result<()> {
    use std::io::Write as _;
    fs::OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

/// The machine's memory, in bytes.
fn memory() -> Option<u64> {
    let told = fs::read_to_string("/proc/meminfo").ok()?;
    let line = told.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn nothing_is_made_where_there_is_no_hierarchy() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let group = directory.path().join("group");
        let mut bounds = Bounds::default();
        assert!(bounds.make(&group, [("pids.max", "5".to_owned())].into_iter(), 1).is_err());
        assert!(!group.exists() && bounds.groups.is_empty());
    }

    /// As whoever runs this: what is there afterwards is what was there before.
    #[test]
    fn a_process_is_put_in_and_the_groups_go_with_it() {
        let mut child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep starts");
        let own = fs::read_to_string("/proc/self/cgroup").expect("readable");
        let bounds = Bounds::around(&own, child.id());
        let groups = bounds.groups.clone();
        for group in &groups {
            let inside = fs::read_to_string(group.join("cgroup.procs")).expect("readable");
            assert!(inside.lines().any(|line| line == child.id().to_string()), "{}", group.display());
        }
        let root = rustix::process::geteuid().is_root();
        assert!(root || groups.is_empty() || groups.iter().all(|group| group.exists()));
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        drop(bounds);
        assert!(groups.iter().all(|group| !group.exists()));
    }
}

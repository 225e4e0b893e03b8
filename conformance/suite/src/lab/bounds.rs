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
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, open, openat, unlinkat};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Most processes and threads of a lab: a few workers, each with a few hundred at a time.
const PROCESSES: u64 = 8192;

/// The part of the machine's memory that a lab may use, in quarters.
const QUARTERS: u64 = 3;

/// Where groups are (file-hierarchy(7)): of version 2, or a directory for each hierarchy of version 1.
const ALL: &str = "/sys/fs/cgroup";

/// Where those of version 2 are beside version 1.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// The groups of one lab. Dropping this removes them; by then nothing may live in it any more.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    /// The directory above, which the lab's own mounts may cover, and the name.
    groups: Vec<(OwnedFd, PathBuf)>,
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
        for (controllers, path) in groups(own_groups) {
            let below = path.trim_start_matches('/');
            if controllers.is_empty() {
                let beside = Path::new(UNIFIED);
                let root = if is_unified(beside) { beside } else { Path::new(ALL) };
                // A group with processes in it gives those below it no controllers (cgroups(7)): one above it may. Beside
                // version 1 it has no limits to give, and any will do.
                let mut parents = Path::new(below).ancestors().map(|part| root.join(part));
                // Where none can be made, the module's header says what is left.
                let _: bool = parents.any(|parent| {
                    let limits = limits(true).filter(|_| root != beside);
                    bounds.make(&parent.join(&name), limits, pid).is_ok()
                });
            } else {
                // Those without limits, too: what a runtime makes in the lab lies below them, and goes with it.
                let own = Path::new(ALL).join(directory(controllers)).join(below);
                let ours =
                    |file: &str| controllers.split(',').any(|one| file.starts_with(&format!("{one}.")));
                let limits = limits(false).filter(|(file, _)| ours(file)).chain(required(controllers, &own));
                let _ = bounds.make(&own.join(&name), limits, pid);
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
        let above = group.parent().unwrap_or(group);
        let above = open(above, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
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
                self.groups.push((above, group.to_owned()));
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
        for (above, group) in &self.groups {
            // What cannot be removed has something in it, which is nothing of the lab's.
            let _ = group.file_name().map(|name| remove(above, name));
        }
    }
}

/// The lines of /proc/PID/cgroup: controllers, or `name=` and a name, or nothing for version 2; and the path (cgroups(7)).
fn groups(table: &str) -> impl Iterator<Item = (&str, &str)> {
    table.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'))
}

/// The directory of a hierarchy.
fn directory(controllers: &str) -> &str {
    match controllers.strip_prefix("name=") {
        Some(name) => name,
        None if controllers.is_empty() => "unified",
        None => controllers,
    }
}

/// What a group needs to have before a process can be in it: some processors and memory, those of the group above (cpuset(7)).
fn required(controllers: &str, above: &Path) -> Vec<(&'static str, String)> {
    let files = ["cpuset.cpus", "cpuset.mems"]
        .into_iter()
        .filter(|_| controllers.split(',').any(|one| one == "cpuset"));
    let value = |file| fs::read_to_string(above.join(file)).unwrap_or_default().trim().to_owned();
    files.map(|file| (file, value(file))).collect()
}

fn is_unified(path: &Path) -> bool {
    /// `f_type` of cgroup2 (statfs(2)).
    const MAGIC: i64 = 0x6367_7270;
    rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type == MAGIC)
}

/// With what a runtime that was killed with the lab has left in it.
fn remove(above: impl AsFd, name: impl rustix::path::Arg + Copy) -> rustix::io::Result<()> {
    let group = openat(&above, name, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for entry in Dir::read_from(&group)?.flatten() {
        let own = entry.file_name().to_bytes().starts_with(b".");
        if !own && entry.file_type() == FileType::Directory {
            remove(&group, entry.file_name())?;
        }
    }
    unlinkat(above, name, AtFlags::REMOVEDIR)
}

/// Lets an ordinary user's lab have no more processes than its groups would. Root, whom this limit does not bind, has groups.
/// The soft limit only: whether a workload may raise its own is a probe, and outside it has to succeed.
pub(super) fn limit_processes() {
    let now = getrlimit(Resource::Nproc);
    let current = Some(now.current.map_or(PROCESSES, |limit| limit.min(PROCESSES)));
    // A soft limit can always be lowered.
    let _ = setrlimit(Resource::Nproc, Rlimit { current, ..now });
}

/// Makes the lab's groups, if it has any, the roots of all groups that are seen in it: a runtime in the lab finds what it would find
/// outside, a group that is its own, and what it makes lies below that.
pub(super) fn settle() {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let bounded: Vec<&str> =
        groups(&own).filter(|(_, path)| path.contains("/palisade-lab-")).map(|(which, _)| which).collect();
    if bounded.is_empty() || nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP).is_err() {
        return;
    }
    let unified = is_unified(Path::new(ALL));
    // The kernel mounts no file system on its own root (EBUSY), whichever part of it is meant: something lies between.
    if mount("palisade-lab", ALL, "tmpfs", PLAIN, Some(c"mode=0755,size=64k")).is_err() {
        return;
    }
    let shown = match unified {
        true => mount("cgroup2", ALL, "cgroup2", PLAIN, None)
            .map_err(io::Error::from)
            .map(|()| pass_on(Path::new(ALL))),
        false => bounded.iter().try_for_each(|controllers| show(controllers)),
    };
    if shown.is_err() {
        let _ = unmount(ALL, UnmountFlags::DETACH);
    }
}

/// Passes the controllers of version 2 on. The calling process, of which nothing else runs yet, moves to a group below, since one with
/// processes gives those below it no controllers (cgroups(7)).
fn pass_on(root: &Path) {
    let moved = fs::create_dir(root.join("lab")).and_then(|()| write(&root.join("lab/cgroup.procs"), "0"));
    if moved.is_ok() {
        for controller in ["+memory", "+pids", "+cpu"] {
            // What the lab's own group was not given it has not to give.
            let _ = write(&root.join("cgroup.subtree_control"), controller);
        }
    }
}

/// Mounts one of several hierarchies where it was, with its other names.
fn show(controllers: &str) -> io::Result<()> {
    let at = Path::new(ALL).join(directory(controllers));
    fs::create_dir(&at)?;
    if controllers.is_empty() {
        return Ok(mount("cgroup2", &at, "cgroup2", PLAIN, None)?);
    }
    let options = std::ffi::CString::new(controllers)?;
    mount("cgroup", &at, "cgroup", PLAIN, Some(options.as_c_str()))?;
    let names: Vec<&str> = controllers.split(',').filter(|_| controllers.contains(',')).collect();
    names.iter().try_for_each(|name| symlink(controllers, Path::new(ALL).join(name)))
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
        let groups: Vec<PathBuf> = bounds.groups.iter().map(|(_, group)| group.clone()).collect();
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

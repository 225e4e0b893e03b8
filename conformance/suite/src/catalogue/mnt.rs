//! Mounts: the workload cannot change the tree of mounts that the policy made, and the tree is what the policy says.

use palisade_policy::{Access, Policy, ResolvedRules};
use palisade_probe::script::{Arg, Statement};

use super::prelude::*;
use crate::lab::World;

/// Not among the constants of the libc crate (include/uapi/asm-generic/unistd.h, since 6.8).
const SYS_STATMOUNT: i64 = 457;
const SYS_LISTMOUNT: i64 = 458;
/// Since Linux 6.15.
const SYS_OPEN_TREE_ATTR: i64 = 467;
/// open_tree(2).
const OPEN_TREE_CLONE: u32 = 1;

/// Entries of the group `mnt`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let mut probes = calls();
    probes.extend(file_systems());
    probes.extend(gone());
    if let Ok(resolved) = policy.filesystem.resolve(&world.work.dir) {
        probes.extend(attributes(world, policy, &resolved));
    }
    probes
}

/// Every call that changes mounts. Operands are bad pointers and descriptors: the kernel answers EFAULT, EBADF or EINVAL
/// when the call is not refused before. Most need a capability first, so that only root's run outside tells.
fn calls() -> Vec<Probe> {
    let (new, bad) = (libc::SYS_mount_setattr, [EFAULT]);
    vec![
        sentinel(
            "mnt/mount",
            "mount(2) with bad pointers",
            attempt!("sys", SYS_mount, BAD, BAD, BAD, 0, BAD),
            bad,
        ),
        sentinel("mnt/umount2", "umount2(2) with a bad pointer", attempt!("sys", SYS_umount2, BAD, 0), bad),
        sentinel("mnt/chroot", "chroot(2) with a bad pointer", attempt!("sys", SYS_chroot, BAD), bad),
        sentinel(
            "mnt/pivot-root",
            "pivot_root(2) with bad pointers",
            attempt!("sys", SYS_pivot_root, BAD, BAD),
            bad,
        ),
        sentinel("mnt/fsopen", "fsopen(2) with a bad pointer", attempt!("sys", SYS_fsopen, BAD, 0), bad),
        sentinel(
            "mnt/fspick",
            "fspick(2) with a bad pointer",
            attempt!("sys", SYS_fspick, AT_FDCWD, BAD, 0),
            bad,
        ),
        sentinel(
            "mnt/fsmount",
            "fsmount(2) of no descriptor",
            attempt!("sys", SYS_fsmount, -1, 0, 0),
            [EBADF],
        ),
        sentinel(
            "mnt/fsconfig",
            "fsconfig(2) of no descriptor",
            attempt!("sys", SYS_fsconfig, -1, 0, BAD, BAD, 0),
            [EINVAL],
        ),
        sentinel(
            "mnt/move-mount",
            "move_mount(2) with bad pointers",
            attempt!("sys", SYS_move_mount, -1, BAD, -1, BAD, 0),
            bad,
        ),
        sentinel(
            "mnt/open-tree",
            "open_tree(2) with a bad pointer",
            attempt!("sys", SYS_open_tree, AT_FDCWD, BAD, 0),
            bad,
        ),
        sentinel(
            "mnt/open-tree-attr",
            "open_tree_attr(2) with a bad pointer",
            attempt!("sys", SYS_OPEN_TREE_ATTR, AT_FDCWD, BAD, 0, NULL, 0),
            bad,
        ),
        sentinel(
            "mnt/mount-setattr",
            "mount_setattr(2) with bad pointers",
            attempt!("sys", new, AT_FDCWD, BAD, 0, BAD, 32),
            bad,
        ),
        sentinel(
            "mnt/remount-rw",
            "mount(2) with MS_REMOUNT|MS_BIND and a bad pointer",
            attempt!("sys", SYS_mount, NULL, BAD, NULL, libc::MS_REMOUNT | libc::MS_BIND, NULL),
            bad,
        ),
        sentinel(
            "mnt/umount-mask",
            "umount2(2) of /proc/kallsyms",
            attempt!("sys", SYS_umount2, "/proc/kallsyms", libc::MNT_DETACH),
            [EINVAL],
        ),
        Probe::denies("mnt/open-tree-clone", High)
            .serves("process.syscalls", "MNT-1")
            .requires("the workload cannot copy a part of the tree of mounts")
            .operation("open_tree(2) with OPEN_TREE_CLONE")
            .script([
                control!("open", ".", O_PATH),
                attempt!("sys", SYS_open_tree, AT_FDCWD, ".", OPEN_TREE_CLONE),
            ])
            .expect(Denied)
            .outside(Outside::succeeds()),
        lists("mnt/listmount", SYS_LISTMOUNT),
        lists("mnt/statmount", SYS_STATMOUNT),
    ]
}

fn sentinel<const N: usize>(
    id: &str,
    operation: &str,
    statement: Statement,
    errors: [nix::errno::Errno; N],
) -> Probe {
    Probe::denies(id, High)
        .serves("process.syscalls", "MNT-1")
        .requires("the workload cannot change the mounts that the policy made")
        .operation(operation)
        .script([statement])
        .expect(Denied)
        .outside(Outside::fails(errors))
}

fn lists(id: &str, number: i64) -> Probe {
    Probe::denies(id, Low)
        .serves("process.syscalls", "MNT-2")
        .requires("mounts cannot be enumerated past /proc/self/mountinfo")
        .operation(format!("system call {number} with bad pointers"))
        .script([attempt!("sys", number, BAD, BAD, 1, 0)])
        .expect(Denied)
        .outside(Outside::fails([EFAULT]))
}

/// File systems that would show, or be, more of the kernel.
fn file_systems() -> Vec<Probe> {
    let one = |kind: &'static str| {
        Probe::denies(format!("mnt/fs/{}", kind.replace('_', "-")), High)
            .serves("process.syscalls", "MNT-1")
            .requires("the workload cannot mount a file system of its own")
            .operation(format!("fsopen(2) of {kind}"))
            .script([attempt!("sys", SYS_fsopen, kind, 0)])
            .expect(Denied)
            .outside(Outside::succeeds())
    };
    ["proc", "sysfs", "cgroup2", "overlay", "fuse", "debugfs", "binfmt_misc", "tmpfs"]
        .into_iter()
        .map(one)
        .collect()
}

/// Mount points of the host that no policy grants.
fn gone() -> Vec<Probe> {
    let one = |(name, point): (&str, &'static str)| {
        Probe::denies(format!("mnt/old-root-gone/{name}"), High)
            .serves("filesystem.base", "MNT-2")
            .requires("no mount of the host is listed, save those that the policy grants")
            .operation(format!("look for {point} in /proc/self/mountinfo"))
            .script([control!("mountinfo_field", "/", "type"), attempt!("mountinfo_field", point, "device")])
            // One of the sandbox's own may be at that place.
            .expect(Absent.or(DiffersFromOutside))
            .outside(Outside::succeeds())
    };
    [("run", "/run"), ("var-tmp", "/var/tmp"), ("sys", "/sys")].into_iter().map(one).collect()
}

/// What every mount must look like, by the policy.
fn attributes(world: &World, policy: &Policy, resolved: &ResolvedRules) -> Vec<Probe> {
    let devices =
        ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/pts"];
    let private = ["/tmp", "/dev/shm"];
    let shown = |access: Access| -> Vec<String> {
        let rules = resolved.rules().iter().filter(|rule| rule.access == access);
        let mut points: Vec<String> = rules.map(|rule| rule.entry.path.display().to_string()).collect();
        // The lab mounts something below each workspace, which gets what the workspace gets.
        if points.iter().any(|point| world.work.dir.as_os_str() == point.as_str()) {
            points.push(world.work.submount.display().to_string());
            points.extend(world.work.twice.iter().map(|(_, place)| place.display().to_string()));
        }
        points
    };
    // A writable directory above a rule's path may be a mount of its own, which keeps it in its place.
    let rules = resolved.rules().iter().map(|rule| &rule.entry);
    let mut held: Vec<String> = rules
        .chain(resolved.no_execute())
        .flat_map(|entry| entry.path.ancestors())
        .filter(|point| point.starts_with(&world.work.dir) && *point != world.work.dir)
        .filter(|point| resolved.access(point) == Some(Access::ReadWrite))
        .map(|point| point.display().to_string())
        .filter(|point| !shown(Access::ReadWrite).contains(point))
        .collect();
    held.sort();
    held.dedup();
    let own = |points: &[&str]| -> Vec<String> { points.iter().map(|point| (*point).to_owned()).collect() };
    // A nested user namespace is of no use without writing to /proc/PID/uid_map.
    let nested: &[&str] = if policy.process.nested_namespaces { &["/proc"] } else { &[] };
    let writable =
        [own(&devices), own(&private), own(nested), shown(Access::ReadWrite), held.clone()].concat();
    let executable = |point: &String| resolved.may_execute(point.as_ref());
    let base = ["/", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/tmp"];
    let mut programs = [own(&base), shown(Access::ReadOnly), shown(Access::ReadWrite), held].concat();
    programs.retain(executable);
    let mut probes = vec![
        missing("mnt/read-only", "ro", &writable)
            .requires("no mount is writable but those that the policy makes writable"),
        missing("mnt/nosuid", "nosuid", &[])
            .requires("no mount honours set-user-id bits or file capabilities"),
        missing("mnt/nodev", "nodev", &own(&devices))
            .requires("no mount but those of the devices honours device files"),
        missing("mnt/noexec", "noexec", &programs)
            .requires("nothing can be executed where there are no programs"),
    ];
    // mountinfo_missing takes sixteen points.
    probes.retain(|probe| probe.id != "mnt/read-only" || writable.len() <= 16);
    probes.retain(|probe| probe.id != "mnt/noexec" || programs.len() <= 16);
    probes.push(
        Probe::denies("mnt/propagation", High)
            .serves("filesystem.base", "MNT-4")
            .requires("no mount shares or receives what is mounted elsewhere")
            .operation("look for shared and slave mounts in /proc/self/mountinfo")
            .script([control!("mountinfo_field", "/", "type"), attempt!("mountinfo_optional", "")])
            .expect(Returns(0)),
    );
    probes
}

/// No mount lacks `flag` but those at `exempt`.
fn missing(id: &str, flag: &str, exempt: &[String]) -> Probe {
    let statement = exempt.iter().fold(attempt!("mountinfo_missing", flag), |statement, point| {
        statement.arg(Arg::from(point.as_str()))
    });
    Probe::denies(id, High)
        .serves("filesystem.base", "MNT-3")
        .operation(format!("list the mounts that lack {flag}"))
        .script([control!("mountinfo_field", "/", "type"), statement])
        .expect(Returns(0))
}

//! The file system: mounts, and what of the host is within reach. Permission is asked for by access(2), which opens nothing.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::super::{Finding, Verdict::*};
use super::{of_file, some};
use crate::catalogue::Severity::{self, Critical, High, Low, Medium};

/// File systems that lie on a disk.
const ON_DISK: &[&str] = &["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs"];

/// What lies within reach as a rule where something was left open: id, how bad, what it is, where, and for what.
const REACH: &[(&str, Severity, &str, &[&str], Access)] = &[
    (
        "fs/container-daemons",
        Critical,
        "sockets of daemons that do what root does",
        &[
            "/run/docker.sock",
            "/var/run/docker.sock",
            "/run/containerd/containerd.sock",
            "/run/podman/podman.sock",
            "/run/crio/crio.sock",
            "/run/snapd.socket",
            "/var/lib/lxd/unix.socket",
        ],
        Access::WRITE_OK,
    ),
    (
        "fs/services",
        Medium,
        "sockets of the host's services",
        &[
            "/run/dbus/system_bus_socket",
            "/run/systemd/private",
            "/run/systemd/journal/socket",
            "/run/udev/control",
        ],
        Access::WRITE_OK,
    ),
    (
        "proc/settings",
        Critical,
        "settings of the whole kernel that can be written",
        &[
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/modprobe",
            "/proc/sysrq-trigger",
            "/proc/sys/vm/overcommit_memory",
            "/proc/irq/default_smp_affinity",
            "/sys/kernel/uevent_helper",
            "/sys/power/state",
        ],
        Access::WRITE_OK,
    ),
    (
        "proc/telling",
        Medium,
        "files that tell of the kernel and the hardware",
        &[
            "/proc/kcore",
            "/proc/kmsg",
            "/proc/keys",
            "/proc/timer_list",
            "/proc/kpagecount",
            "/proc/acpi",
            "/sys/firmware",
        ],
        Access::READ_OK,
    ),
    ("fs/shadow", Medium, "password hashes", &["/etc/shadow", "/etc/gshadow"], Access::READ_OK),
    (
        "dev/memory",
        Critical,
        "devices of memory and ports",
        &["/dev/mem", "/dev/port", "/dev/kmem"],
        Access::READ_OK,
    ),
    (
        "dev/others",
        Medium,
        "devices with a history of holes",
        &["/dev/kvm", "/dev/fuse", "/dev/net/tun", "/dev/vhost-vsock", "/dev/uinput"],
        Access::WRITE_OK,
    ),
];

/// Where credentials lie as a rule, below the home directory.
const CREDENTIALS: &[&str] = &[
    ".ssh/id_rsa",
    ".ssh/id_ed25519",
    ".ssh/id_ecdsa",
    ".aws/credentials",
    ".kube/config",
    ".netrc",
    ".docker/config.json",
    ".git-credentials",
    ".npmrc",
    ".pypirc",
    ".config/gcloud/application_default_credentials.json",
];

/// Where a container finds those of its cluster.
const CLUSTER: &str = "/run/secrets/kubernetes.io/serviceaccount/token";

pub(super) fn look() -> Vec<Finding> {
    let reach = |(id, severity, about, paths, how): &(&str, Severity, &'static str, &[&str], Access)| {
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        within(Finding::new(id, *severity, *about, Closed, ""), &paths, *how)
    };
    let others = [
        root(),
        flags("mnt/nosuid", "mounts that honour set-user-id bits", "nosuid"),
        flags("mnt/nodev", "mounts on which devices work", "nodev"),
        propagation(),
        credentials(),
        disks(),
        control_groups(),
    ];
    REACH.iter().map(reach).chain(others).collect()
}

/// One mount of /proc/self/mountinfo (proc_pid_mountinfo(5)).
struct Mount<'t> {
    point: &'t str,
    options: &'t str,
    tags: Vec<&'t str>,
    kind: &'t str,
    of_the_whole: &'t str,
}

fn mounts(text: &str) -> Vec<Mount<'_>> {
    text.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount<'_>> {
    let (first, last) = line.split_once(" - ")?;
    let mut words = first.split(' ').skip(4);
    let (point, options) = (words.next()?, words.next()?);
    let mut after = last.split(' ');
    Some(Mount { point, options, tags: words.collect(), kind: after.next()?, of_the_whole: after.nth(1)? })
}

fn has(options: &str, flag: &str) -> bool {
    options.split(',').any(|option| option == flag)
}

/// The points of the mounts that `wanted` picks.
fn points(text: &str, wanted: impl Fn(&Mount<'_>) -> bool) -> Vec<String> {
    let picked = mounts(text).into_iter().filter(|mount| wanted(mount));
    picked.map(|mount| mount.point.to_owned()).collect()
}

fn root() -> Finding {
    let finding =
        Finding::new("mnt/root", High, "a root file system of the host that can be written", Unknown, "");
    of_file(finding, "/proc/self/mountinfo", |finding, text| {
        let mounts = mounts(text);
        let Some(root) = mounts.iter().rfind(|mount| mount.point == "/") else {
            return finding.is(Unknown, "no mount at /");
        };
        let seen = format!("/ is {}, {}", root.kind, root.options);
        if has(root.options, "ro") || has(root.of_the_whole, "ro") {
            return finding.is(Closed, seen);
        }
        match access("/", Access::WRITE_OK) {
            Err(error) => {
                finding.is(Closed, format!("{seen}; {error}")).note("by the permissions of this user")
            }
            Ok(()) if ON_DISK.contains(&root.kind) => finding.is(Open, seen).note("it lies on a disk"),
            Ok(()) => finding.is(Unknown, seen).note("it may be a layer of the sandbox's own"),
        }
    })
}

fn flags(id: &str, about: &'static str, flag: &str) -> Finding {
    of_file(Finding::new(id, Low, about, Unknown, ""), "/proc/self/mountinfo", |finding, text| {
        finding.open_with(&points(text, |mount| !has(mount.options, flag)))
    })
}

fn propagation() -> Finding {
    let finding =
        Finding::new("mnt/propagation", Medium, "mounts that follow what is mounted elsewhere", Unknown, "");
    of_file(finding, "/proc/self/mountinfo", |finding, text| {
        let tied = |tag: &&str| tag.starts_with("shared:") || tag.starts_with("master:");
        finding.open_with(&points(text, |mount| mount.tags.iter().any(tied)))
    })
}

/// Which of `paths` are there, and permit this.
fn within(finding: Finding, paths: &[PathBuf], how: Access) -> Finding {
    let (mut open, mut refused) = (Vec::new(), Vec::new());
    for path in paths {
        match access(path.as_path(), how) {
            Ok(()) => open.push(path.display().to_string()),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => refused.push(format!("{}: {error}", path.display())),
        }
    }
    match (open.as_slice(), refused.as_slice()) {
        ([], []) => finding.is(Closed, "not there"),
        ([], refused) => finding.is(Closed, some(refused)),
        (open, _) => finding.is(Open, some(open)).note("by access(2), nothing was opened"),
    }
}

fn credentials() -> Finding {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    let mut paths: Vec<PathBuf> = CREDENTIALS.iter().map(|name| home.join(name)).collect();
    paths.push(CLUSTER.into());
    within(Finding::new("fs/credentials", High, "files of credentials", Closed, ""), &paths, Access::READ_OK)
}

fn disks() -> Finding {
    let finding = Finding::new("dev/disks", Critical, "disks", Unknown, "");
    let listed = match fs::read_dir("/dev") {
        Ok(listed) => listed,
        Err(error) => return finding.is(Unknown, format!("/dev: {error}")),
    };
    let is_disk =
        |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_block_device());
    let paths = listed.flatten().map(|entry| entry.path());
    let mut disks: Vec<PathBuf> = paths.filter(|path| is_disk(path)).collect();
    disks.sort();
    within(finding, &disks, Access::READ_OK)
}

fn control_groups() -> Finding {
    const ROOT: &str = "/sys/fs/cgroup";
    let finding = Finding::new("res/groups", High, "control groups that can be changed", Closed, "");
    let below = fs::read_dir(ROOT).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = below.map(|path| path.join("cgroup.procs")).collect();
    files.push(Path::new(ROOT).join("cgroup.procs"));
    files.sort();
    within(finding, &files, Access::WRITE_OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_taken_apart() {
        let text = "1 0 0:1 / / rw,nosuid shared:3 master:1 - ext4 /dev/vda ro,x\n\
                    2 1 0:2 / /a ro - tmpfs none rw\nbroken\n";
        let mounts = mounts(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!((mounts[0].point, mounts[0].kind, mounts[0].of_the_whole), ("/", "ext4", "ro,x"));
        assert_eq!(mounts[0].tags, ["shared:3", "master:1"]);
        assert!(has(mounts[0].options, "nosuid") && !has(mounts[0].options, "suid"));
        assert_eq!(points(text, |mount| mount.tags.is_empty()), ["/a"]);
    }
}

//! Namespaces: whether they are the initial ones, where the kernel lets that be told.

use std::fs;

use super::super::{Finding, Verdict::*};
use super::read;
use crate::catalogue::Severity::{self, High, Low, Medium};

/// A kind: the name of its link, the inode number of the initial one (include/linux/proc_ns.h, in newer kernels
/// include/uapi/linux/nsfs.h), and what it means to share that with the host. The numbers of `net` and `mnt` are fixed in newer kernels
/// only; older ones gave them the next that was free.
const KINDS: &[(&str, u64, &str, Severity, &str)] = &[
    ("user", 0xEFFF_FFFD, "ns/user", Medium, "the host's user namespace"),
    ("pid", 0xEFFF_FFFC, "ns/pid", High, "the host's pid namespace"),
    ("mnt", 0xEFFF_FFF8, "ns/mnt", High, "the host's mount namespace"),
    ("net", 0xEFFF_FFF9, "ns/net", High, "the host's network namespace"),
    ("ipc", 0xEFFF_FFFF, "ns/ipc", Medium, "the host's ipc namespace"),
    ("uts", 0xEFFF_FFFE, "ns/uts", Low, "the host's uts namespace"),
    ("cgroup", 0xEFFF_FFFB, "ns/cgroup", Low, "the host's cgroup namespace"),
    ("time", 0xEFFF_FFFA, "ns/time", Low, "the host's time namespace"),
];

pub(super) fn look() -> Vec<Finding> {
    let kinds = KINDS.iter().map(|(kind, _, id, severity, about)| one(kind, id, *severity, about));
    kinds.chain([processes()]).collect()
}

fn inode(kind: &str) -> Option<u64> {
    let link = fs::read_link(format!("/proc/self/ns/{kind}")).ok()?;
    link.to_str()?.strip_prefix(kind)?.strip_prefix(":[")?.strip_suffix(']')?.parse().ok()
}

/// Whether the own namespace of this kind is the initial one; `None` where that cannot be told.
pub(super) fn is_initial(kind: &str) -> Option<bool> {
    let own = inode(kind)?;
    let (_, initial, ..) = KINDS.iter().find(|(name, ..)| *name == kind)?;
    match kind {
        _ if own == *initial => Some(true),
        // Another number is another namespace only where the kernel fixes that of the initial one, which this does not show.
        "net" | "mnt" => None,
        _ => Some(false),
    }
}

fn one(kind: &str, id: &str, severity: Severity, about: &'static str) -> Finding {
    let finding = Finding::new(id, severity, about, Unknown, "");
    let Some(own) = inode(kind) else {
        return finding.is(Unknown, format!("/proc/self/ns/{kind} cannot be read"));
    };
    let seen = format!("{kind}:[{own}]");
    match is_initial(kind) {
        Some(true) => finding.is(Open, seen).note("the number of the initial one"),
        Some(false) => finding.is(Closed, seen),
        None => finding.is(Unknown, seen).note("an older kernel may give the initial one this number"),
    }
}

fn processes() -> Finding {
    let finding = Finding::new("ps/in-sight", Low, "processes of the host in sight", Unknown, "");
    let listed = match fs::read_dir("/proc") {
        Ok(listed) => listed,
        Err(error) => return finding.is(Unknown, format!("/proc: {error}")),
    };
    let is_pid = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    let count = listed.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_pid)).count();
    let first = read("/proc/1/comm").unwrap_or_else(|_| "out of sight".to_owned());
    let seen = format!("{count} processes, the first of them {}", first.trim());
    match (count, is_initial("pid")) {
        (0, _) => finding.is(Unknown, "/proc shows none"),
        (_, Some(true)) => finding.is(Open, seen),
        (_, Some(false)) => finding.is(Closed, seen),
        (_, None) => finding.is(Unknown, seen),
    }
}

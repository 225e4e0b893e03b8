//! What a bundle mounts.

use std::path::Path;

use palisade_policy::Policy;
use serde_json::{Value, json};

use super::{Host, Ids};
use crate::adapters::view::{Bind, Shown, View};

/// The mounts of a policy, in the order of mounting.
pub(super) fn of(host: &Host, policy: &Policy, view: &View, ids: &Ids) -> Vec<Value> {
    let mut mounts = own(policy, view.no_execute_tmp);
    mounts.extend(view.shown.iter().map(|one| match one {
        Shown::Host(bind) => shown(bind, host, ids),
        Shown::Empty(path) => cover(path),
    }));
    mounts
}

/// An empty directory over one in which something is shown again: a mask would cover that, too.
fn cover(path: &Path) -> Value {
    let options = ["nosuid", "nodev", "noexec", "ro", "mode=755", "size=64k"];
    json!({"destination": path, "type": "tmpfs", "source": "tmpfs", "options": options})
}

/// Without what is mounted there later (`rprivate`), with all that is mounted below it already: the options with `r` mean those, too
/// (mount_setattr(2), since Linux 5.12), and are for directories only in crun.
fn shown(bind: &Bind, host: &Host, ids: &Ids) -> Value {
    let access = if bind.writable { "rw" } else { "ro" };
    let mut options = vec!["rbind", "rprivate", access, "nosuid", "nodev"];
    options.extend((!bind.executable).then_some("noexec"));
    if !bind.path.is_file() {
        options.extend(["rnosuid", "rnodev"]);
        options.extend((!bind.writable).then_some("rro"));
        options.extend((!bind.executable).then_some("rnoexec"));
    }
    let mut mount =
        json!({"destination": bind.path, "type": "bind", "source": bind.path, "options": options});
    if let (true, Some(users), Some(groups)) = (bind.writable, ids.of_mount(host.uid), ids.of_mount(host.gid))
    {
        mount["uidMappings"] = users;
        mount["gidMappings"] = groups;
    }
    mount
}

/// What every sandbox has of its own. The runtime itself adds the devices null, zero, full, random, urandom and tty.
fn own(policy: &Policy, no_execute_tmp: bool) -> Vec<Value> {
    let bytes = policy.filesystem.tmp.bytes();
    let size = format!("size={bytes}");
    // Files are bounded as bytes are: one for each page.
    let files = format!("nr_inodes={}", (bytes / 4096).max(16));
    let tmp = |no_execute: bool| -> Vec<&str> {
        let options = ["nosuid", "nodev", "mode=1777", &size, &files].into_iter();
        options.chain(no_execute.then_some("noexec")).collect()
    };
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    let dev = ["nosuid", "noexec", "strictatime", "mode=755", "size=64k", "nr_inodes=64", "ro"];
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/dev", "tmpfs", &dev),
        mount("/dev/pts", "devpts", &pts),
        mount("/dev/shm", "tmpfs", &tmp(true)),
        mount("/tmp", "tmpfs", &tmp(no_execute_tmp)),
    ]
}

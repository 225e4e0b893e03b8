//! sysfs: it is not there at all.

use palisade_policy::Policy;

use super::prelude::*;
use super::proc::{is_mask, what_it_is};
use crate::lab::World;

/// Entries of the group `sysfs`.
pub(super) fn probes(_world: &World, _policy: &Policy) -> Vec<Probe> {
    let read = [
        ("root", "/sys", Medium),
        ("firmware", "/sys/firmware", Low),
        ("powercap", "/sys/devices/virtual/powercap", Low),
        ("net-interfaces", "/sys/class/net", Low),
        ("block", "/sys/block", Low),
        ("security", "/sys/kernel/security", Medium),
        ("debug", "/sys/kernel/debug", High),
        ("tracing", "/sys/kernel/tracing", High),
        ("modules", "/sys/module", Low),
        ("cgroup", "/sys/fs/cgroup", Medium),
        ("bpf-fs", "/sys/fs/bpf", High),
        ("dmi", "/sys/class/dmi/id", Low),
        ("devices", "/sys/devices/system/cpu", Low),
        ("kernel-notes", "/sys/kernel/notes", Low),
        ("vulnerabilities", "/sys/devices/system/cpu/vulnerabilities", Low),
    ];
    // Opened, and never written to.
    let write = [
        ("uevent-helper", "/sys/kernel/uevent_helper", Critical),
        ("hugepage", "/sys/kernel/mm/transparent_hugepage/enabled", High),
        ("power-state", "/sys/power/state", Critical),
        ("cpu-online", "/sys/devices/system/cpu/cpu1/online", High),
        ("module-parameter", "/sys/module/printk/parameters/time", High),
        ("cgroup-procs-move", "/sys/fs/cgroup/cgroup.procs", High),
        ("cgroup-v1-procs-move", "/sys/fs/cgroup/pids/cgroup.procs", High),
        ("cgroup-raise-limit", "/sys/fs/cgroup/memory/memory.limit_in_bytes", High),
        ("cgroup-release-agent", "/sys/fs/cgroup/pids/release_agent", Critical),
    ];
    // A directory of a tmpfs without entries has 40 bytes (BOGO_DIRENT_SIZE of mm/shmem.c, twice), one of sysfs has none.
    let empty = DataPasses("an empty directory of a tmpfs", |data| data.ends_with(b" 40 2"));
    let listed = read.into_iter().map(|(name, path, severity)| {
        Probe::denies(format!("sysfs/read/{name}"), severity)
            .serves("filesystem.base", "PROC-8")
            .requires("nothing of sysfs can be looked at")
            .operation(format!("open {path} with O_PATH"))
            .script([control!("open", "/proc", O_PATH), attempt!("open", path, O_PATH), what_it_is(1)])
            .expect(Denied.or(Absent).or(is_mask()).or(empty.clone()))
            .outside(Outside::succeeds())
    });
    let opened = write.into_iter().map(|(name, path, severity)| {
        Probe::denies(format!("sysfs/write/{name}"), severity)
            .serves("filesystem.base", "PROC-4")
            .requires("a file of /sys that sets something for the host cannot be opened for writing")
            .operation(format!("open {path} for writing"))
            .script([control!("open", "/proc", O_PATH), attempt!("open", path, O_WRONLY), what_it_is(1)])
            .expect(Denied.or(Absent).or(ReadOnly).or(is_mask()))
            .outside(Outside::succeeds())
    });
    listed.chain(opened).collect()
}

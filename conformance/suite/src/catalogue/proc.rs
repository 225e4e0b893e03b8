//! procfs: it is the sandbox's own, shows nothing about other processes, little about the host, and sets nothing.

use palisade_policy::Policy;

use super::exec::open_others;
use super::prelude::*;
use crate::lab::{Endpoint, World};

/// What must not be shown. Names below `/proc`; a kernel has only some of them.
pub(crate) const MASKED: &[&str] = &[
    "acpi",
    "asound",
    "bootconfig",
    "bus",
    "config.gz",
    "driver",
    "dynamic_debug",
    "execdomains",
    "fb",
    "fs",
    "interrupts",
    "iomem",
    "ioports",
    "irq",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "mtrr",
    "pagetypeinfo",
    "sched_debug",
    "schedstat",
    "scsi",
    "slabinfo",
    "softirqs",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
    "vmallocinfo",
];

/// Those of them that every user of a host may open, to be opened.
const OPENED: &[&str] = &[
    "bus",
    "config.gz",
    "execdomains",
    "interrupts",
    "iomem",
    "kallsyms",
    "key-users",
    "keys",
    "kcore",
    "kmsg",
    "slabinfo",
    "softirqs",
    "timer_list",
    "vmallocinfo",
];

/// PROC_SUPER_MAGIC (linux/magic.h), as statfs reports it.
const PROCFS: &str = "type=0x9fa0 ";

/// Entries of the group `proc`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let mut probes = processes(world);
    probes.extend(foreign(world));
    probes.extend(MASKED.iter().map(|name| masked(name)));
    probes.extend(OPENED.iter().map(|name| opened(name)));
    probes.extend(around_masks());
    probes.extend(settings());
    if !policy.process.nested_namespaces {
        probes.extend(own_settings());
    }
    probes.extend(leaks(world));
    probes
}

/// Which processes there are.
fn processes(world: &World) -> Vec<Probe> {
    vec![
        Probe::denies("proc/pid-scan", High)
            .serves("process.identity", "PROC-1")
            .requires("no process is listed but the sandbox's first one and what the workload started")
            .operation("list the processes in /proc")
            .script([attempt!("list_pids")])
            .expect(AtMost(world.few_processes())),
        Probe::denies("proc/other/cmdline", Critical)
            .serves("process.identity", "PROC-2")
            .requires("the arguments of a process outside cannot be found")
            .operation("look for the arguments of a process outside in /proc/*/cmdline")
            .script([attempt!("find_pid_by_cmdline", world.decoy.argv_marker.as_str())])
            .expect(Returns(0)),
        Probe::allows("proc/matches-pid-namespace", High)
            .serves("process.identity", "PROC-1")
            .requires("/proc/self is the process that looks")
            .script([attempt!("self_pid_matches_proc")])
            .expect(Returns(1)),
        Probe::allows("proc/own-status", Medium)
            .serves("filesystem.base", "PROC-1")
            .requires("a process can read about itself")
            .script([attempt!("status_field", "self", "Name")]),
    ]
}

/// What belongs to processes that the workload did not start: outside there is one of the same user that anybody may
/// look into, inside there is the sandbox's first process.
fn foreign(world: &World) -> Vec<Probe> {
    let files = [
        ("environ", Critical),
        ("mem", Critical),
        ("maps", High),
        ("smaps", Medium),
        ("root", Critical),
        ("cwd", High),
        ("exe", High),
        ("fd", Critical),
        ("fdinfo", Medium),
        ("map_files", High),
        ("io", Low),
        ("auxv", Low),
    ];
    let one = |(file, severity): (&'static str, Severity)| {
        Probe::denies(format!("proc/other/{}", file.replace('_', "-")), severity)
            .serves("process.capabilities", "PROC-2")
            .requires("nothing of a process that the workload did not start can be opened")
            .operation(format!("open /proc/PID/{file} of every other process"))
            .script([open_others(world, file)])
            .expect(Returns(0))
    };
    files.into_iter().map(one).collect()
}

fn words(name: &str) -> String {
    name.replace(['_', '.'], "-")
}

fn masked(name: &str) -> Probe {
    let path = format!("/proc/{name}");
    Probe::denies(format!("proc/mask/{}", words(name)), Medium)
        .serves("filesystem.base", "PROC-3")
        .requires("what procfs tells about kernel and hardware is not there")
        .operation(format!("statfs of {path}"))
        .script([control!("statfs", "/proc/self"), attempt!("statfs", path)])
        .expect(Expect::data_lacks(PROCFS).or(Denied).or(Absent))
        .outside(Outside::Shows(Expect::data_contains(PROCFS)))
}

fn opened(name: &str) -> Probe {
    let path = format!("/proc/{name}");
    Probe::denies(format!("proc/read/{}", words(name)), High)
        .serves("filesystem.base", "PROC-3")
        .requires("what procfs tells about kernel and hardware cannot be opened")
        .script([
            control!("read_file", "/proc/uptime"),
            attempt!("open", path, O_RDONLY | O_NONBLOCK),
            opened_from(1),
        ])
        .expect(Expect::data_lacks(PROCFS).or(Denied).or(Absent))
        .outside(Outside::Shows(Expect::data_contains(PROCFS)))
}

/// What the file that a statement has opened belongs to: some sandboxes show an empty file of elsewhere in the place of one.
fn opened_from(statement: usize) -> palisade_probe::script::Statement {
    attempt!("statfs", text([Piece::from("/proc/self/fd/"), Piece::Result(statement)]))
}

/// What the file is that a statement has opened.
pub(super) fn what_it_is(statement: usize) -> palisade_probe::script::Statement {
    attempt!("stat_mode", text([Piece::from("/proc/self/fd/"), Piece::Result(statement)]))
}

/// What sandboxes put in the place of a file, as [`what_it_is`] tells it: a directory that nobody can go into, an empty file that others
/// cannot read, a device.
pub(super) fn is_mask() -> Expect {
    let mode = |mode: u32| Expect::Returns(mode.into());
    let directory = Expect::any_of([0, 0o400].map(|bits| mode(libc::S_IFDIR | bits)));
    let file = Expect::any_of([0, 0o400].map(|bits| mode(libc::S_IFREG | bits)));
    // Owner, group and mode before it, the number of links after it.
    let empty = DataPasses("the size 0", |data| data.split(|byte| *byte == b' ').nth(3) == Some(b"0"));
    let device = [Expect::AtLeast(libc::S_IFCHR.into()), AtMost(i64::from(libc::S_IFCHR | 0o7777))];
    Expect::any_of([directory, Expect::all_of([file, empty]), Expect::all_of(device)])
}

/// Ways around a mask, or to its removal. Where they get through they change nothing.
fn around_masks() -> Vec<Probe> {
    let read = |path: &'static str| vec![attempt!("open", path, O_RDONLY), opened_from(1)];
    let target = "/proc/interrupts";
    let ways = [
        ("self-root", read("/proc/self/root/proc/interrupts")),
        ("thread-self-root", read("/proc/thread-self/root/proc/interrupts")),
        ("dotdot", read("/proc/self/../interrupts")),
        (
            "cwd",
            vec![
                attempt!("sys", SYS_chdir, "/proc"),
                attempt!("open", "interrupts", O_RDONLY),
                opened_from(2),
            ],
        ),
        (
            "o-path-reopen",
            vec![
                attempt!("open", target, O_PATH),
                attempt!("open", text([Piece::from("/proc/self/fd/"), Piece::Result(1)]), O_RDONLY),
                opened_from(2),
            ],
        ),
    ];
    let one = |(name, attempts): (&str, Vec<_>)| {
        let mut script = vec![control!("read_file", "/proc/uptime")];
        script.extend(attempts);
        Probe::denies(format!("proc/mask-bypass/{name}"), High)
            .serves("filesystem.base", "PROC-5")
            .requires("a mask cannot be walked around")
            .script(script)
            .expect(Expect::data_lacks(PROCFS).or(Denied).or(Absent))
            .outside(Outside::Shows(Expect::data_contains(PROCFS)))
    };
    let mut probes: Vec<Probe> = ways.into_iter().map(one).collect();
    probes.push(
        Probe::denies("proc/mask-bypass/symlink", High)
            .serves("filesystem.base", "PROC-5")
            .requires("a mask cannot be walked around")
            .script([
                control!("read_file", "/proc/uptime"),
                attempt!("unlink", "/tmp/palisade-mask"),
                attempt!("link_and_read", "sym", target, "/tmp/palisade-mask"),
            ])
            // Of what a mask shows nothing can be read.
            .expect(Denied.or(Absent).or(Returns(0)))
            .outside(Outside::succeeds()),
    );
    // The mode and the owner that the file has anyway.
    let changes = [
        ("chmod", attempt!("sys", SYS_chmod, target, 0o444)),
        ("chown", attempt!("sys", SYS_chown, target, -1, -1)),
    ];
    probes.extend(changes.map(|(name, attempt)| {
        Probe::denies(format!("proc/mask-bypass/{name}"), High)
            .serves("filesystem.base", "PROC-5")
            .requires("a mask cannot be changed by the user that it belongs to")
            .script([control!("stat_mode", "/proc/uptime"), attempt])
            .expect(ReadOnly)
            .outside(Outside::succeeds())
    }));
    probes
}

/// Files that set something for the whole host. They are opened and never written to.
fn settings() -> Vec<Probe> {
    let files = [
        ("sysrq", "sys/kernel/sysrq", Critical),
        ("sysrq-trigger", "sysrq-trigger", Critical),
        ("core-pattern", "sys/kernel/core_pattern", Critical),
        ("modprobe", "sys/kernel/modprobe", Critical),
        ("hotplug", "sys/kernel/hotplug", Critical),
        ("binfmt-misc", "sys/fs/binfmt_misc/register", Critical),
        ("hostname", "sys/kernel/hostname", Medium),
        ("domainname", "sys/kernel/domainname", Medium),
        ("panic", "sys/kernel/panic", High),
        ("randomize-va-space", "sys/kernel/randomize_va_space", High),
        ("kptr-restrict", "sys/kernel/kptr_restrict", High),
        ("pid-max", "sys/kernel/pid_max", High),
        ("shmmax", "sys/kernel/shmmax", Medium),
        ("drop-caches", "sys/vm/drop_caches", High),
        ("overcommit", "sys/vm/overcommit_memory", High),
        ("file-max", "sys/fs/file-max", High),
        ("protected-symlinks", "sys/fs/protected_symlinks", High),
        ("ip-forward", "sys/net/ipv4/ip_forward", High),
        ("max-user-namespaces", "sys/user/max_user_namespaces", High),
        ("irq-affinity", "irq/default_smp_affinity", High),
        ("mtrr", "mtrr", High),
    ];
    let one = |(name, file, severity): (&str, &str, Severity)| {
        Probe::denies(format!("proc/write/{name}"), severity)
            .serves("filesystem.base", "PROC-4")
            .requires("a file of /proc that sets something for the host cannot be opened for writing")
            .script([
                control!("read_file", "/proc/sys/kernel/ostype"),
                attempt!("open", format!("/proc/{file}"), O_WRONLY),
                opened_from(1),
            ])
            .operation(format!("open /proc/{file} for writing"))
            .expect(Expect::data_lacks(PROCFS).or(Denied).or(Absent).or(ReadOnly))
            .outside(Outside::Shows(Expect::data_contains(PROCFS)))
    };
    files.into_iter().map(one).collect()
}

/// Files by which a process sets something for itself, opened and never written to.
fn own_settings() -> Vec<Probe> {
    let files = [
        ("oom-score-adj", "oom_score_adj", Medium),
        ("uid-map", "uid_map", High),
        ("gid-map", "gid_map", High),
        ("setgroups", "setgroups", High),
        ("attr", "attr/current", High),
        ("exec-attr", "attr/exec", High),
        ("comm", "comm", Low),
        ("coredump-filter", "coredump_filter", Low),
        ("clear-refs", "clear_refs", Low),
        ("mem", "mem", Medium),
        ("timerslack", "timerslack_ns", Low),
    ];
    let one = |(name, file, severity): (&str, &str, Severity)| {
        Probe::denies(format!("proc/self/{name}-write"), severity)
            .serves("filesystem.base", "PROC-6")
            .requires("/proc is read-only, the workload's own entries included")
            .script([
                control!("read_file", "/proc/self/status"),
                attempt!("open", format!("/proc/self/{file}"), O_WRONLY),
            ])
            .expect(ReadOnly)
            .outside(Outside::succeeds())
    };
    files.into_iter().map(one).collect()
}

/// Marks of the host in files that must stay.
fn leaks(world: &World) -> Vec<Probe> {
    let unix = world.service("abstract-stream");
    let name = match &unix.endpoint {
        Endpoint::Abstract(name) => name.clone(),
        other => other.to_string(),
    };
    let port = format!(":{:04X}", world.host_service);
    let ways = [
        ("net-tcp-host", "a listening port of the host", "/proc/net/tcp", port),
        ("net-unix-host", "an abstract socket of the host", "/proc/net/unix", name),
        ("mounts", "a mount of the host", "/proc/self/mounts", "/var/tmp".to_owned()),
        (
            "sysvipc",
            "a shared memory segment of the host",
            "/proc/sysvipc/shm",
            world.ipc.shm_key.to_string(),
        ),
    ];
    let one = |(name, what, file, needle): (&str, &str, &'static str, String)| {
        let clause = match name {
            "mounts" => "filesystem.base",
            "sysvipc" => "process.identity",
            _ => "network.mode",
        };
        let mut probe = Probe::denies(format!("proc/leak/{name}"), Low)
            .serves(clause, "PROC-7")
            .requires("what remains of /proc shows nothing of the host's namespaces")
            .operation(format!("look for {what} in {file}"))
            .script([control!("read_file", "/proc/uptime"), attempt!("find_in_file", file, needle)])
            .expect(Returns(0).or(Denied).or(Absent))
            .outside(Outside::Shows(Returns(1)));
        if name == "net-unix-host" {
            probe = probe.needs_planted(&unix.presence);
        }
        if name == "sysvipc" {
            probe = probe.needs_planted(&world.ipc.sysv);
        }
        probe
    };
    ways.into_iter().map(one).collect()
}

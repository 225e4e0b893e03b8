//! Foreign memory: of processes outside, of the sandbox's first process, and the calls that reach it at all.

use palisade_policy::Policy;
use palisade_probe::script::{Arg, Cell, Statement};

use super::call::{allowed_by_name, args, refused, row};
use super::prelude::*;
use crate::lab::World;

const SYSCALLS: &str = "process.syscalls";
const CAPABILITIES: &str = "process.capabilities";

/// Entries of the group `xmem`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let mut probes = tracing(policy);
    let rows = vec![
        row("xmem/vm-readv-flags", High, "process_vm_readv", args![0, NULL, 0, NULL, 0, 1], [EINVAL]),
        row("xmem/vm-writev-flags", High, "process_vm_writev", args![0, NULL, 0, NULL, 0, 1], [EINVAL]),
        row("xmem/kcmp", Medium, "kcmp", args![-1, -1, 0, 0, 0], [ESRCH]),
        row("xmem/process-madvise", Medium, "process_madvise", args![-1, NULL, 0, 0, 0], [EBADF, EINVAL]),
        row("xmem/process-mrelease", Medium, "process_mrelease", args![-1, 0], [EBADF]),
    ];
    probes.extend(refused(policy, "PS-4", "the memory of other processes is out of reach", rows));
    probes.extend(decoy(world, policy));
    probes.extend(first_process());
    probes
}

/// On processes of its own: where these are refused, every process is out of reach.
fn tracing(policy: &Policy) -> Vec<Probe> {
    const PTRACE_SEIZE: i32 = 0x4206;
    const PTRACE_O_SUSPEND_SECCOMP: i32 = 1 << 21;
    let denied = |id: &str, requirement: &str, statement| {
        Probe::denies(id, High)
            .serves(SYSCALLS, "PS-4")
            .requires(requirement)
            .script([control!("fork_exit"), statement])
            .outside(Outside::succeeds())
    };
    let trace = "the workload cannot trace a process";
    let memory = "the workload cannot reach into another process";
    let mut probes = vec![
        ("ptrace", denied("xmem/ptrace/attach-sibling", trace, attempt!("ptrace_sibling"))),
        ("ptrace", denied("xmem/ptrace/seize-sibling", trace, attempt!("ptrace_seize_sibling"))),
        ("ptrace", denied("xmem/ptrace/traceme", trace, attempt!("ptrace_traceme"))),
        (
            "ptrace",
            // The process does not exist; its options are looked at before that, in both ways an error of ptrace itself.
            denied(
                "xmem/ptrace/suspend-seccomp",
                "the workload cannot suspend a system-call filter",
                attempt!("sys", SYS_ptrace, PTRACE_SEIZE, 0x7fff_fffe, 0, PTRACE_O_SUSPEND_SECCOMP),
            )
            .outside(Outside::fails([ESRCH, EIO])),
        ),
        ("process_vm_readv", denied("xmem/vm-readv", memory, attempt!("vm_readv_sibling"))),
        ("process_vm_writev", denied("xmem/vm-writev", memory, attempt!("vm_writev_sibling"))),
        ("pidfd_getfd", denied("xmem/pidfd-getfd", memory, attempt!("pidfd_getfd_sibling"))),
    ];
    probes.retain(|(call, _)| !allowed_by_name(policy, call));
    probes.into_iter().map(|(_, probe)| probe).collect()
}

/// A process of the lab's host that has the caller's user and a marker in its memory.
fn decoy(world: &World, policy: &Policy) -> Vec<Probe> {
    let decoy = &world.decoy;
    let length = u16::try_from(decoy.memory_marker.len()).unwrap_or(64);
    let part = |base: Arg| memory([Cell::Word(base), Cell::Bytes(u64::from(length).to_ne_bytes().to_vec())]);
    let read = attempt!(
        "sys",
        SYS_process_vm_readv,
        decoy.pid,
        part(buffer(length)),
        1,
        part(bits(decoy.memory_address)),
        1,
        0
    );
    let stolen = |id: &str, operation: &str, script: Vec<Statement>| {
        Probe::denies(id, Critical)
            .serves(SYSCALLS, "PS-4")
            .requires("the memory of a process outside cannot be read")
            .operation(operation)
            .script(script)
            .expect(Denied.or(Absent))
    };
    let mut probes = vec![
        stolen(
            "xmem/decoy-mem-file",
            "open /proc/PID/mem of a process outside",
            vec![attempt!("open", format!("/proc/{}/mem", decoy.pid), O_RDONLY)],
        )
        .outside(Outside::succeeds()),
    ];
    if !allowed_by_name(policy, "process_vm_readv") {
        probes.push(
            stolen("xmem/decoy-vm-readv", "process_vm_readv(2) of a process outside", vec![read])
                .outside(Outside::Shows(Expect::data_contains(&decoy.memory_marker))),
        );
    }
    probes
}

/// The sandbox's first process was forked from the supervisor: its memory is the supervisor's.
fn first_process() -> Vec<Probe> {
    let requirement = "the memory of the sandbox's first process is out of reach";
    let mut probes = vec![
        // Files of a process that may not be dumped belong to the host's root, whom nobody maps: 65534.
        Probe::denies("xmem/first-process-not-dumpable", High)
            .serves(CAPABILITIES, "PS-4")
            .requires(requirement)
            .operation("the owner of /proc/1/environ")
            .script([attempt!("stat_mode", "/proc/1/environ")])
            .expect(DataPasses("an owner that is not mapped", |data| data.starts_with(b"65534 65534 "))),
    ];
    for (id, path) in [
        ("xmem/first-process-mem", "/proc/1/mem"),
        ("xmem/first-process-environ", "/proc/1/environ"),
        ("xmem/first-process-auxv", "/proc/1/auxv"),
        ("xmem/first-process-maps", "/proc/1/maps"),
    ] {
        probes.push(
            Probe::denies(id, Critical)
                .serves(CAPABILITIES, "PS-4")
                .requires(requirement)
                .script([
                    control!("open", path.replace('1', "self"), O_RDONLY),
                    attempt!("read_file", path, 1),
                ])
                .expect(Denied.or(Absent))
                // Address 0 of /proc/PID/mem is mapped nowhere.
                .outside(Outside::Shows(Succeeds.or(Expect::fails([EIO])))),
        );
    }
    probes
}

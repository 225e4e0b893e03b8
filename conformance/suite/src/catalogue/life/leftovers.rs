//! What a sandbox leaves behind when it has ended, however it ended.

use palisade_policy::{Policy, SyscallProfile};
use palisade_probe::script::Statement;

use crate::catalogue::prelude::*;
use crate::lab::World;

pub(super) fn probes(_world: &World, policy: &Policy) -> Vec<Probe> {
    let mut probes = vec![
        left("mounts", "no mount is left", Canary::Mounts, wait(0), Action::LetEnd),
        left("mounts-killed", "no mount is left", Canary::Mounts, wait(5000), Action::KillRuntime),
        left(
            "workspace",
            "no name appears in the working directory",
            Canary::Names(".".into()),
            wait(0),
            Action::LetEnd,
        ),
        left(
            "workspace-killed",
            "no name appears in the working directory",
            Canary::Names(".".into()),
            wait(5000),
            Action::KillRuntime,
        ),
    ];
    probes.push(after_a_deep_tree());
    for (id, directory) in [("tmp", "/tmp"), ("var-tmp", "/var/tmp"), ("dev-shm", "/dev/shm")] {
        probes.push(private_file(id, directory));
    }
    if policy.process.syscalls.profile == SyscallProfile::Standard {
        probes.push(shared_memory());
    }
    probes
}

fn wait(milliseconds: u32) -> Statement {
    attempt!("sleep_ms", milliseconds)
}

fn left(id: &str, requirement: &str, canary: Canary, attempt: Statement, how: Action) -> Probe {
    Probe::denies(format!("life/leftover/{id}"), Medium)
        .serves("process.identity", "LIFE-4")
        .requires(format!("{requirement} when a sandbox has ended"))
        .script([attempt])
        .interfere(0, how)
        .expect(NothingSurvives)
        .outside(Outside::NotRun("without a sandbox there is nothing to clear away"))
        .canary(canary)
}

/// Deeper than a path may be long (PATH_MAX), so that nobody clears it away by names alone.
fn after_a_deep_tree() -> Probe {
    let deep = "d=$(printf '%0120d/' $(seq 30)) && cd /tmp && mkdir -p $d && cd $d && mkdir -p $d";
    Probe::denies("life/leftover/deep-tree", Medium)
        .serves("filesystem.tmp", "LIFE-4")
        .requires("a tree of directories is gone when a sandbox has ended, however deep it is")
        .operation("make a tree of sixty directories with long names in /tmp")
        .command(["/bin/sh", "-c", deep])
        .expect(ExitCode(0))
        .outside(Outside::NotRun("it would stay in the lab's own directory, and be in the way of others"))
        .canary(Canary::Names("/tmp".into()))
        .serial()
}

/// Written inside under a name that no other case has; the same directory of the host must not have it afterwards.
fn private_file(id: &str, directory: &str) -> Probe {
    let path = text([Piece::from(&*format!("{directory}/palisade-left-")), Piece::Nonce]);
    Probe::denies(format!("life/leftover/{id}"), Medium)
        .serves("filesystem.tmp", "LIFE-4")
        .requires("nothing that was written to a private directory is left when a sandbox has ended")
        .operation(format!("write a file in {directory}"))
        .script([attempt!("write_file", path, "left")])
        .expect(Succeeds)
        .outside(Outside::succeeds())
        .canary(Canary::Names(directory.into()))
        .serial()
}

fn shared_memory() -> Probe {
    Probe::denies("life/leftover/sysv-shm", Medium)
        .serves("process.identity", "LIFE-4")
        .requires("no shared memory is left when a sandbox has ended")
        .operation("make a segment of shared memory and leave it")
        // Without a key, so that none is there already.
        .script([attempt!("sys", SYS_shmget, libc::IPC_PRIVATE, 4096, libc::IPC_CREAT | 0o600)])
        .expect(Succeeds)
        .outside(Outside::succeeds())
        .canary(Canary::File("/proc/sysvipc/shm".into()))
        .serial()
}

//! Files: what can be read, written, linked and executed.

mod apart;
mod names;
mod rules;
mod twice;

use std::path::Path;

use palisade_policy::{Policy, ResolvedRules};
use palisade_probe::script::Statement;

use super::prelude::*;
use super::proc::{is_mask, what_it_is};
use crate::lab::world::Secret;
use crate::lab::{Endpoint, Proto, World};

/// Entries of the group `fs`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let Ok(resolved) = policy.filesystem.resolve(&world.work.dir) else { return Vec::new() };
    let mut probes = secrets(world, &resolved);
    if !rules::shows(&resolved, &world.decoy.cwd) {
        probes.extend(oracles(world));
        probes.extend(changes(world));
        probes.extend(names(world));
    }
    probes.extend(sockets(world, &resolved));
    probes.extend(privilege());
    probes.extend(etc(&resolved));
    probes.extend(execution(policy, &resolved));
    probes.extend(rules::probes(world, &policy.filesystem, &resolved));
    probes.extend(apart::probes(world, &policy.filesystem, &resolved));
    probes.extend(names::probes(world, &resolved));
    probes.extend(names::through_the_link(world, &resolved));
    probes.extend(twice::probes(world, &resolved));
    probes
}

/// Files that somebody else owns, or that the policy does not name.
fn secrets(world: &World, resolved: &ResolvedRules) -> Vec<Probe> {
    // What a generated /etc has under the same name is another file.
    let replaced = |secret: &Secret| secret.id == "resolv-conf";
    let hidden = |secret: &&Secret| !rules::shows(resolved, &secret.path) && !replaced(secret);
    let one = |secret: &Secret| {
        let (family, severity) = match secret.id {
            "host-tmp" | "host-dev-shm" | "host-var-tmp" => ("leak", High),
            _ => ("read", Critical),
        };
        Probe::denies(format!("fs/{family}/{}", secret.id), severity)
            .serves("filesystem", if family == "leak" { "FS-8" } else { "FS-1" })
            .requires("a file that the policy does not name cannot be read")
            .operation(format!("read {}", secret.path.display()))
            .script([control!("read_file", &*world.work.allowed), attempt!("read_file", &*secret.path)])
            .expect(Denied.or(Absent))
            .outside(Outside::Shows(Expect::data_contains(&secret.marker)))
            .needs_planted(&secret.presence)
    };
    world.secrets.iter().filter(hidden).map(one).collect()
}

/// Ways to learn that a file exists, without opening it.
fn oracles(world: &World) -> Vec<Probe> {
    let path = &*world.secret("outside-readable").path;
    let directory = &*world.decoy.cwd;
    let ways: [(&str, &str, Statement, Statement); 6] = [
        ("stat", "stat(2)", control!("stat_mode", "/tmp"), attempt!("stat_mode", path)),
        (
            "access",
            "access(2)",
            control!("sys", SYS_faccessat, AT_FDCWD, "/tmp", 0),
            attempt!("sys", SYS_faccessat, AT_FDCWD, path, 0),
        ),
        ("o-path", "open(2) with O_PATH", control!("open", "/tmp", O_PATH), attempt!("open", path, O_PATH)),
        ("chdir", "chdir(2)", control!("open", "/tmp", O_PATH), attempt!("sys", SYS_chdir, directory)),
        ("list", "readdir(3)", control!("list_dir", "/tmp"), attempt!("list_dir", directory)),
        (
            "watch",
            "inotify_add_watch(2)",
            control!("stat_mode", "/tmp"),
            attempt!("sys", SYS_inotify_add_watch, result(1), path, 0x2),
        ),
    ];
    let one = |(name, call, control, attempt): (&str, &str, Statement, Statement)| {
        let watches = name == "watch";
        let mut script = vec![control];
        if watches {
            script.push(setup!("sys", SYS_inotify_init1, 0));
        }
        script.push(attempt);
        Probe::denies(format!("fs/meta/{name}-outside"), Low)
            .serves("filesystem", "FS-1")
            .requires("whether a file exists that the policy does not name cannot be told")
            .operation(format!("{call} of a file outside"))
            .script(script)
            .expect(Absent)
            .outside(Outside::succeeds())
    };
    ways.into_iter().map(one).collect()
}

/// Changes to a file outside: each leaves it as it is where it gets through.
fn changes(world: &World) -> Vec<Probe> {
    let target = world.secret("outside-writable");
    let path = &*target.path;
    let size = i64::try_from(target.marker.len()).unwrap_or(0) + 1;
    let beside = world.decoy.cwd.join("new");
    let ways: [(&str, Severity, Statement); 8] = [
        ("write/outside", High, attempt!("append", path, "")),
        ("write/outside-create", High, attempt!("write_file", &*beside, "x")),
        ("meta/chmod-outside", Medium, attempt!("sys", SYS_chmod, path, 0o666)),
        ("meta/chown-outside", Medium, attempt!("sys", SYS_chown, path, -1, -1)),
        ("meta/utime-outside", Medium, attempt!("sys", SYS_utimensat, AT_FDCWD, path, NULL, 0)),
        ("meta/setxattr-outside", Medium, attempt!("sys", SYS_setxattr, path, "user.palisade", "x", 1, 0)),
        ("meta/truncate-outside", High, attempt!("sys", SYS_truncate, path, size)),
        ("meta/rename-outside", High, attempt!("rename", path, path)),
    ];
    let one = |(name, severity, attempt): (&str, Severity, Statement)| {
        Probe::denies(format!("fs/{name}"), severity)
            .serves("filesystem", "FS-1")
            .requires("a file that the policy does not name cannot be changed")
            .script([control!("write_file", "/tmp/palisade-control", "x"), attempt])
            .expect(Denied.or(Absent).or(ReadOnly))
            .outside(Outside::succeeds())
            .needs_planted(&target.presence)
    };
    ways.into_iter().map(one).collect()
}

/// Other names for the same file.
fn names(world: &World) -> Vec<Probe> {
    let secret = world.secret("outside-readable");
    let path = &*secret.path;
    let below_work = "../outside/secret.txt";
    let through = |prefix: &str| format!("{prefix}{}", path.display());
    let read = |path: String| vec![attempt!("read_file", path)];
    let made = |kind: &str, path: &Path| {
        let link = format!("/tmp/palisade-link-{kind}");
        vec![attempt!("unlink", link.as_str()), attempt!("link_and_read", kind, path, link.as_str())]
    };
    // A hard link stays on one file system.
    let beside = world.secret("host-tmp");
    let ways: Vec<(&str, Severity, Vec<Statement>)> = vec![
        ("path/dotdot", Critical, read(below_work.to_owned())),
        ("path/many-dotdots", Critical, read(through("/tmp/../../../../../../../../.."))),
        ("path/base-dotdot", Critical, read(through("/usr/.."))),
        ("path/proc-self-root", Critical, read(through("/proc/self/root"))),
        ("path/proc-self-cwd", Critical, read(format!("/proc/self/cwd/{below_work}"))),
        ("path/proc-self-task-root", Critical, read(through("/proc/thread-self/root"))),
        ("link/planted", High, read(world.work.link_out.display().to_string())),
        ("link/symlink-out", High, made("sym", path)),
        ("link/hardlink-out", High, made("hard", &beside.path)),
    ];
    let one = |(name, severity, attempts): (&str, Severity, Vec<Statement>)| {
        let mut script = vec![control!("read_file", &*world.work.allowed)];
        script.extend(attempts);
        Probe::denies(format!("fs/{name}"), severity)
            .serves("filesystem", "FS-4")
            .requires("another name of a file that the policy does not name leads nowhere")
            .script(script)
            .expect(Denied.or(Absent))
            .outside(Outside::Shows(Expect::data_contains(if name == "link/hardlink-out" {
                &beside.marker
            } else {
                &secret.marker
            })))
    };
    let mut probes: Vec<Probe> = ways.into_iter().map(one).collect();
    probes.push(
        Probe::denies("fs/link/symlink-race", High)
            .serves("filesystem", "FS-4")
            .requires("a link that is swapped while it is followed leads nowhere outside")
            .operation("open a link 5000 times while it is swapped between a file inside and one outside")
            .script([
                setup!("write_file", "/tmp/palisade-race-allowed", "allowed"),
                attempt!(
                    "symlink_race",
                    "/tmp/palisade-race",
                    "/tmp/palisade-race-allowed",
                    path,
                    "/tmp/palisade-race",
                    5000,
                ),
            ])
            .expect(Returns(0))
            // Whether the swap is hit at all without a sandbox depends on how busy the machine is.
            .soak(),
    );
    probes.push(
        Probe::denies("fs/path/deleted-cwd", High)
            .serves("filesystem", "FS-4")
            .requires("a deleted working directory has no parent outside")
            .operation("open .. of a directory that was removed")
            .script([
                setup!("sys", SYS_mkdir, "/tmp/palisade-gone", 0o755),
                setup!("sys", SYS_chdir, "/tmp/palisade-gone"),
                setup!("sys", SYS_rmdir, "/tmp/palisade-gone"),
                attempt!("read_file", format!("../../../..{}", path.display())),
            ])
            .expect(Denied.or(Absent))
            .outside(Outside::Shows(Expect::data_contains(&secret.marker))),
    );
    probes.push(
        Probe::denies("fs/handle/open-by-handle", Critical)
            .serves("process.syscalls", "FS-4")
            .requires("no file can be opened by its inode number")
            .operation("open_by_handle_at(2) with a bad pointer")
            .script([attempt!("sys", SYS_open_by_handle_at, AT_FDCWD, BAD, 0)])
            .expect(Denied)
            .outside(Outside::fails([EFAULT])),
    );
    probes
}

/// Sockets of the host's services, by path.
fn sockets(world: &World, resolved: &ResolvedRules) -> Vec<Probe> {
    let mut probes = Vec::new();
    for service in &world.services {
        let Endpoint::Path(path) = &service.endpoint else { continue };
        if rules::shows(resolved, path) {
            continue;
        }
        let kind = if service.proto == Proto::UnixDgram { "dgram" } else { "stream" };
        probes.push(
            Probe::denies(format!("fs/sock/{}", service.id), High)
                .serves("filesystem", "FS-9")
                .requires("a socket that a service of the host listens on cannot be reached")
                .operation(format!("connect to {}", path.display()))
                .script([control!("socketpair_pass"), attempt!("unix_connect", &**path, kind, NONCE)])
                .expect(Denied.or(Absent))
                .outside(Outside::succeeds())
                .canary(Canary::service(service))
                .needs_planted(&service.presence),
        );
    }
    probes
}

/// Privilege that a file could carry.
fn privilege() -> Vec<Probe> {
    let one = |name: &str, mode: i32| {
        let path = &*format!("/tmp/palisade-suid-{name}");
        Probe::denies(format!("fs/suid/{name}"), High)
            .serves("process.syscalls", "FS-7")
            .requires("no file gets a set-user-id or set-group-id bit")
            .operation(format!("chmod {mode:o} of a file of one's own"))
            .script([
                control!("sys", SYS_umask, 0o022),
                attempt!("unlink", path),
                attempt!("suid_bits", path, mode),
            ])
            .expect(Denied)
            .outside(Outside::Shows(Returns(mode.into())))
    };
    vec![one("setuid", 0o4755), one("setgid", 0o2755)]
}

/// The generated `/etc`.
fn etc(resolved: &ResolvedRules) -> Vec<Probe> {
    let absent = [
        ("gshadow", "/etc/gshadow"),
        ("subuid", "/etc/subuid"),
        ("fstab", "/etc/fstab"),
        ("cron", "/etc/cron.d"),
        ("init", "/etc/init.d"),
        ("profile", "/etc/profile"),
        ("environment", "/etc/environment"),
        ("machine-id", "/etc/machine-id"),
        ("ssh", "/etc/ssh"),
        ("private-keys", "/etc/ssl/private"),
    ];
    let generated = [("users", "/etc/passwd"), ("groups", "/etc/group")];
    let unnamed = |(_, path): &(&str, &str)| !rules::shows(resolved, path.as_ref());
    let absent = absent.into_iter().filter(unnamed).map(|(name, path)| {
        Probe::denies(format!("fs/etc/{name}"), Medium)
            .serves("filesystem.base", "FS-10")
            .requires("/etc holds nothing that general programs do not need")
            .operation(format!("open {path} with O_PATH"))
            .script([control!("read_file", "/etc/passwd"), attempt!("open", path, O_PATH), what_it_is(1)])
            .expect(Denied.or(Absent).or(is_mask()))
            .outside(Outside::succeeds())
    });
    let generated = generated.into_iter().filter(unnamed).map(|(name, path)| {
        Probe::denies(format!("fs/etc/{name}"), Low)
            .serves("filesystem.base", "FS-10")
            .requires("/etc names no user and no group of the host")
            .operation(format!("read {path}"))
            .script([attempt!("read_file", path)])
            .expect(Expect::data_lacks("daemon:"))
            .outside(Outside::Shows(Expect::data_contains("daemon:")))
    });
    absent.chain(generated).collect()
}

/// Places where what was written cannot be executed.
fn execution(policy: &Policy, resolved: &ResolvedRules) -> Vec<Probe> {
    let at = |id: &str, directory: &str| {
        let path = format!("{directory}/palisade-program");
        Probe::denies(id, Medium)
            .requires("a file that was written there cannot be executed")
            .operation(format!("write a program to {path} and execute it"))
            .script([attempt!("unlink", &path), attempt!("copy_exec", &path)])
            .expect(Denied)
            .outside(Outside::Shows(Returns(0)))
    };
    let mut probes = vec![at("fs/exec/dev-shm", "/dev/shm").serves("filesystem.tmp", "FS-8")];
    if !policy.filesystem.no_execute.is_empty() && !resolved.may_execute("/tmp".as_ref()) {
        let entry = resolved.no_execute().iter().find(|entry| entry.path.as_os_str() == "/tmp");
        if let Some(entry) = entry {
            probes.push(at("fs/exec/tmp", "/tmp").serves_rule(&entry.clause, "FS-6"));
            probes.extend(names::forbidden_ways(&entry.clause, "fs/exec/tmp", "/tmp"));
        }
        probes.push(in_memory(policy));
    }
    probes
}

/// Programs made in memory lie below no path: only the profile that has no memfd_create(2) stops them.
fn in_memory(policy: &Policy) -> Probe {
    if super::narrowed::refuses(policy, "memfd_create") {
        return Probe::denies("fs/exec/memfd", Medium)
            .serves("process.syscalls", "FS-6")
            .requires("under a filter without memfd_create(2) no program is made in memory")
            .script([attempt!("sys", SYS_memfd_create, "palisade", 0)])
            .expect(Denied)
            .outside(Outside::succeeds());
    }
    /// Seventeen bytes.
    const PROGRAM: &str = "#!/bin/sh\nexit 0\n";
    Probe::allows("fs/exec/memfd-not-covered", Low)
        .serves("process.syscalls", "FS-6")
        .requires("no_execute is about files: a program in memory runs, as the report of a run says")
        .operation("execve(2) of /proc/self/fd/N, a file of memfd_create(2)")
        .script([
            setup!("sys", SYS_memfd_create, "palisade", 0),
            setup!("sys", SYS_write, result(0), PROGRAM, 17),
            attempt!("exec", text([Piece::from("/proc/self/fd/"), Piece::Result(0)])),
        ])
        .expect(Returns(0))
}

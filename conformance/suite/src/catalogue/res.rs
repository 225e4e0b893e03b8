//! Resources: the limits that the policy names are there, cannot be raised, and hold when something runs into them.

mod whole;

use nix::sys::signal::Signal;
use palisade_policy::Policy;

use super::prelude::*;
use crate::lab::World;

/// Most of anything that a probe makes, without a sandbox too: a policy with higher limits is not run into.
const MOST_PROCESSES: u32 = 512;
/// Up to here only where it is asked for: the probe program makes no more.
const HEAVY_PROCESSES: u32 = 1024;
/// What so many small processes may take, in bytes.
const HEAVY: u64 = 1 << 30;
const MOST_DESCRIPTORS: u32 = 8192;
const MOST_TMP: u64 = 256 << 20;
/// How far past a limit a probe goes.
const PAST: u32 = 64;

/// tmpfs takes this many bytes for a file at least (a page), so a size bounds the number of files.
const BYTES_PER_FILE: u64 = 4096;

/// Entries of the group `res`.
pub(super) fn probes(_world: &World, policy: &Policy) -> Vec<Probe> {
    let resources = &policy.resources;
    // The first process of the sandbox counts too.
    let processes = u64::from(resources.processes) + 1;
    let mut probes = vec![
        // One more is no breach by itself: a runtime may let another limit answer first.
        posture("processes", "resources.processes", libc::RLIMIT_NPROC, processes + 1),
        posture("open-files", "resources.open_files", libc::RLIMIT_NOFILE, resources.open_files.into()),
        posture("file-size", "resources.file_size", libc::RLIMIT_FSIZE, resources.file_size.bytes()),
        raise("processes", "resources.processes", libc::RLIMIT_NPROC, processes),
        raise("open-files", "resources.open_files", libc::RLIMIT_NOFILE, resources.open_files.into()),
        raise("file-size", "resources.file_size", libc::RLIMIT_FSIZE, resources.file_size.bytes()),
        // Whether the caller's soft limit is 0 already says nothing: the hard one counts.
        raise("core", "resources", libc::RLIMIT_CORE, 0),
        file_size(resources.file_size.bytes()),
    ];
    if let Some(time) = resources.cpu_time {
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        probes.push(posture("cpu-time", "resources.cpu_time", libc::RLIMIT_CPU, seconds));
        probes.push(raise("cpu-time", "resources.cpu_time", libc::RLIMIT_CPU, seconds));
    }
    probes.extend(whole::probes(policy));
    probes.push(sparse(resources.file_size.bytes()));
    probes.extend(processes_bound(resources.processes));
    probes.extend(open_files_bound(resources.open_files));
    probes.extend(kinds_of_descriptors(resources.open_files));
    // Where there is less memory than that, the memory ends first.
    let enough = resources.memory.is_none_or(|most| most.bytes() >= 2 * policy.filesystem.tmp.bytes());
    probes.extend(tmp(policy.filesystem.tmp.bytes(), resources.file_size.bytes(), enough));
    probes
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// `struct rlimit64`, soft and hard the same.
fn limits(value: u64) -> palisade_probe::script::Arg {
    bytes([value.to_ne_bytes(), value.to_ne_bytes()].concat())
}

fn posture(name: &str, clause: &'static str, resource: u32, most: u64) -> Probe {
    Probe::denies(format!("res/limit/{name}"), Medium)
        .serves(clause, "RES-1")
        .requires("the limit is not higher than the policy says")
        .operation("getrlimit(2)")
        .script([attempt!("getrlimit", resource)])
        .expect(AtMost(signed(most)))
}

fn raise(name: &str, clause: &'static str, resource: u32, limit: u64) -> Probe {
    let more = limit + u64::from(PAST);
    Probe::denies(format!("res/raise/{name}"), Medium)
        .serves(clause, "RES-2")
        .requires("the limit cannot be raised")
        .operation(format!("prlimit(2) to {more}"))
        .script([
            control!("getrlimit", resource),
            attempt!("sys", SYS_prlimit64, 0, resource, limits(more), NULL),
        ])
        .expect(Denied)
        .outside(Outside::succeeds())
}

fn processes_bound(most: u32) -> Option<Probe> {
    let many = most + PAST;
    (many <= HEAVY_PROCESSES).then(|| {
        let probe = Probe::denies("res/processes", High)
            .serves("resources.processes", "RES-3")
            .requires("a fork bomb ends at the limit, and half of the limit works")
            .operation(format!("fork {many} children"))
            .script([control!("fork_many", most / 2), attempt!("fork_many", many)])
            .expect(AtMost(most.into()))
            .outside(Outside::Shows(Returns(many.into())));
        if many > MOST_PROCESSES { probe.destructive(HEAVY) } else { probe }
    })
}

fn open_files_bound(most: u32) -> Option<Probe> {
    let many = most + PAST;
    (many <= MOST_DESCRIPTORS).then(|| {
        Probe::denies("res/open-files", Medium)
            .serves("resources.open_files", "RES-3")
            .requires("no more descriptors can be open than the limit, and half of it works")
            .operation(format!("raise the limit and duplicate a descriptor {many} times"))
            .script([
                control!("dup_many", most / 2),
                // Outside the soft limit may be as low: there it can be raised first.
                attempt!("sys", SYS_prlimit64, 0, libc::RLIMIT_NOFILE, limits(u64::from(many) + 256), NULL),
                attempt!("dup_many", many),
            ])
            .expect(AtMost(most.into()))
            .outside(Outside::Shows(Returns(many.into())))
    })
}

/// What has no file needs a descriptor all the same: the kernel keeps an object for each, whose number the limit bounds.
fn kinds_of_descriptors(most: u32) -> Vec<Probe> {
    /// What a host allows a user of a kind with a limit of its own is 128 at least (fs.inotify.max_user_instances), and the
    /// user's other programs have some of them.
    const INOTIFY: u32 = 96;
    /// How many more than the limit of those.
    const FEW: u32 = 8;
    let kinds = [
        ("epoll", libc::SYS_epoll_create1, PAST, MOST_DESCRIPTORS),
        ("eventfd", libc::SYS_eventfd2, PAST, MOST_DESCRIPTORS),
        ("inotify", SYS_inotify_init1, FEW, INOTIFY),
    ];
    let bounded = |(name, call, past, bound): (&str, i64, u32, u32)| {
        let many = most + past;
        (many <= bound).then(|| {
            Probe::denies(format!("res/open-files/{name}"), Medium)
                .serves("resources.open_files", "RES-3")
                .requires("what has no file counts among the open files too, and half of the limit works")
                .operation(format!("raise the limit and make {many} descriptors of the kind {name}"))
                .script([
                    control!("dup_many", most / 2, call),
                    attempt!(
                        "sys",
                        SYS_prlimit64,
                        0,
                        libc::RLIMIT_NOFILE,
                        limits(u64::from(many) + 256),
                        NULL
                    ),
                    attempt!("dup_many", many, call),
                ])
                .expect(AtMost(most.into()))
                .outside(Outside::Shows(Returns(many.into())))
        })
    };
    kinds.into_iter().filter_map(bounded).collect()
}

/// A hole: nothing is stored.
fn file_size(most: u64) -> Probe {
    Probe::denies("res/file-size", Medium)
        .serves("resources.file_size", "RES-3")
        .requires("no file gets larger than the limit")
        .operation("ftruncate(2) to one byte more than the limit")
        .script([
            control!("write_file", "/tmp/palisade-large", "x"),
            attempt!("sys", SYS_truncate, "/tmp/palisade-large", signed(most / 2)),
            attempt!("sys", SYS_truncate, "/tmp/palisade-large", signed(most).saturating_add(1)),
        ])
        .expect(Killed(Signal::SIGXFSZ).or(Expect::fails([EFBIG])))
        .outside(Outside::succeeds())
}

/// A byte behind the limit makes a file as large, though almost nothing of it is stored.
fn sparse(most: u64) -> Probe {
    Probe::denies("res/file-size/sparse", Medium)
        .serves("resources.file_size", "RES-3")
        .requires("a hole counts as the file's size")
        .operation("write one byte right behind the limit")
        .script([
            setup!("open", "/tmp/palisade-sparse", O_RDWR | O_CREAT, 0o600),
            control!("sys", libc::SYS_pwrite64, result(0), bytes(b"x"), 1, signed(most / 2)),
            attempt!("sys", libc::SYS_pwrite64, result(0), bytes(b"x"), 1, signed(most)),
        ])
        .expect(Killed(Signal::SIGXFSZ).or(Expect::fails([EFBIG])))
        .outside(Outside::succeeds())
}

/// The private directories.
fn tmp(size: u64, file_size: u64, enough_memory: bool) -> Vec<Probe> {
    let files = (size / BYTES_PER_FILE).max(1);
    let sized = |name: &str, path: &'static str| {
        Probe::denies(format!("res/tmpfs/{name}"), Medium)
            .serves("filesystem.tmp", "FS-8")
            .requires("a private directory holds as much as the policy says")
            .operation(format!("statfs of {path}"))
            .script([attempt!("statfs", path)])
            .expect(Expect::data_contains(format!(" bytes={size} files={files}")))
    };
    let small = |name: &str, path: &'static str, expect: Expect| {
        Probe::denies(format!("res/tmpfs/{name}"), Medium)
            .serves("filesystem.base", "FS-8")
            .requires("what the sandbox itself keeps in memory is bounded")
            .operation(format!("statfs of {path}"))
            .script([attempt!("statfs", path)])
            .expect(expect)
    };
    let bytes =
        || DataPasses("less than 16 MiB", |text| number(text, "bytes=").is_some_and(|n| n < 16 << 20));
    let few = DataPasses("fewer than 4096 files", |text| number(text, "files=").is_some_and(|n| n < 4096));
    let devices = Expect::all_of([bytes(), few]);
    let mut probes = vec![
        sized("tmp", "/tmp"),
        sized("dev-shm", "/dev/shm"),
        small("root", "/", bytes()),
        small("dev", "/dev", devices),
    ];
    if !enough_memory || !(1 << 20..=MOST_TMP).contains(&size) {
        return probes;
    }
    let half = signed(size / 2);
    // Where one file may not be that large, the limit of a file would answer instead.
    if size / 2 + 2 * 65_536 <= file_size {
        probes.push(
            Probe::denies("res/tmpfs/full", Medium)
                .serves("filesystem.tmp", "RES-3")
                .requires("the private /tmp takes no more bytes than the policy says, and takes half of it")
                .operation("allocate half of the size, then half and two pages more")
                .script([
                    setup!("open", "/tmp", O_RDWR | libc::O_TMPFILE, 0o600),
                    setup!("open", "/tmp", O_RDWR | libc::O_TMPFILE, 0o600),
                    control!("sys", libc::SYS_fallocate, result(0), 0, 0, half - 65_536),
                    attempt!("sys", libc::SYS_fallocate, result(1), 0, 0, half + 2 * 65_536),
                ])
                .expect(Expect::fails([ENOSPC]))
                .outside(Outside::succeeds()),
        );
    }
    probes.push(
        Probe::denies("res/tmpfs/files", Medium)
            .serves("filesystem.tmp", "RES-3")
            .requires("the private /tmp takes no more files than the policy's size has pages")
            .operation("create more files than the size has pages")
            .script([
                setup!("sys", SYS_mkdir, "/tmp/palisade-files", 0o700),
                control!("create_many", "/tmp/palisade-files", signed(files / 2)),
                attempt!("create_many", "/tmp/palisade-files", signed(files) + 64),
            ])
            .expect(AtMost(signed(files)))
            .outside(Outside::Shows(Returns(signed(files) + 64))),
    );
    probes
}

/// The number behind a word of what `statfs` reports.
fn number(text: &[u8], word: &str) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    text.split(' ').find_map(|part| part.strip_prefix(word))?.parse().ok()
}

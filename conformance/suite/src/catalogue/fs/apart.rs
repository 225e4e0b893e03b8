//! Entries about a workspace that is kept apart: every change succeeds inside, and none is seen outside.

use palisade_policy::{Access, ByteSize, Filesystem, ResolvedRules, Workspace};
use palisade_probe::script::Statement;

use super::super::prelude::*;
use crate::lab::World;

/// The entries, for a workspace whose top is writable.
pub(super) fn probes(world: &World, filesystem: &Filesystem, resolved: &ResolvedRules) -> Vec<Probe> {
    let writable = |name: &str| resolved.access(&world.work.dir.join(name)) == Some(Access::ReadWrite);
    if filesystem.workspace == Workspace::Direct
        || !["", "allowed.txt", "nested", "new"].iter().all(|name| writable(name))
    {
        return Vec::new();
    }
    let mut probes: Vec<Probe> = changes(world).into_iter().map(one).collect();
    probes.extend(bounds(filesystem.disk));
    probes.push(
        Probe::denies("fs/apart/not-reachable", High)
            .serves("filesystem.workspace", "FS-11")
            .requires("the file system that takes up changes is shown through the workspace and nowhere else")
            .operation("look for it among the mounts")
            .script([control!("write_file", "allowed.txt", "x"), attempt!("mountinfo_points")])
            .expect(Expect::data_lacks(".workspace"))
            .outside(Outside::NotRun("only a sandbox has such a file system")),
    );
    probes
}

/// A change: its name, what is done, and how the host would notice.
type Change = (&'static str, Vec<Statement>, Canary);

fn changes(world: &World) -> Vec<Change> {
    let file = || Canary::File("allowed.txt".into());
    let nested = || Canary::File("nested/allowed.txt".into());
    let new = || Canary::Missing("new".into());
    let submount = || world.work.submount.join("new");
    vec![
        ("append", vec![attempt!("append", "allowed.txt", NONCE)], file()),
        ("overwrite", vec![attempt!("write_file", "allowed.txt", NONCE)], file()),
        ("truncate", vec![attempt!("sys", SYS_truncate, "allowed.txt", 0)], file()),
        ("unlink", vec![attempt!("unlink", "allowed.txt")], file()),
        ("rename", vec![attempt!("rename", "allowed.txt", "new")], file()),
        (
            "rename-over",
            vec![attempt!("write_file", "new", NONCE), attempt!("rename", "new", "allowed.txt")],
            file(),
        ),
        (
            "by-descriptor",
            vec![attempt!("open", "allowed.txt", O_RDWR), attempt!("sys", SYS_ftruncate, result(2), 0)],
            file(),
        ),
        (
            "read-then-write",
            vec![
                attempt!("open", "allowed.txt", O_RDONLY),
                attempt!("open", text([Piece::from("/proc/self/fd/"), Piece::Result(2)]), O_RDWR | O_TRUNC),
            ],
            file(),
        ),
        (
            "through-hard-link",
            vec![attempt!("sys", SYS_link, "allowed.txt", "new"), attempt!("append", "new", NONCE)],
            file(),
        ),
        (
            "through-link",
            vec![attempt!("sys", SYS_symlink, "allowed.txt", "new"), attempt!("append", "new", NONCE)],
            file(),
        ),
        ("nested-append", vec![attempt!("append", "nested/allowed.txt", NONCE)], nested()),
        (
            "remove-directory",
            vec![attempt!("unlink", "nested/allowed.txt"), attempt!("sys", SYS_rmdir, "nested")],
            nested(),
        ),
        (
            "replace-directory",
            vec![
                attempt!("unlink", "nested/allowed.txt"),
                attempt!("sys", SYS_rmdir, "nested"),
                attempt!("sys", SYS_mkdir, "nested", 0o755),
                attempt!("write_file", "nested/allowed.txt", NONCE),
            ],
            nested(),
        ),
        ("create", vec![attempt!("write_file", "new", NONCE)], new()),
        ("make-directory", vec![attempt!("sys", SYS_mkdir, "new", 0o755)], new()),
        ("make-link", vec![attempt!("sys", SYS_symlink, "x", "new")], new()),
        ("make-hard-link", vec![attempt!("sys", SYS_link, "allowed.txt", "new")], new()),
        ("make-fifo", vec![attempt!("sys", SYS_mknod, "new", libc::S_IFIFO | 0o600, 0)], new()),
        (
            "make-nested",
            vec![attempt!("write_file", "nested/new", NONCE)],
            Canary::Missing("nested/new".into()),
        ),
        (
            "create-in-submount",
            vec![attempt!("write_file", submount().as_path(), NONCE)],
            Canary::Missing(submount()),
        ),
    ]
}

fn one((name, attempts, canary): Change) -> Probe {
    let mut script =
        vec![control!("read_file", "allowed.txt"), control!("write_file", "palisade-control", "x")];
    script.extend(attempts);
    Probe::denies(format!("fs/apart/{name}"), High)
        .serves("filesystem.workspace", "FS-11")
        .requires("a change in a workspace that is kept apart is made inside and not seen outside")
        .script(script)
        .expect(Succeeds)
        .outside(Outside::succeeds())
        .canary(canary)
}

/// Room in bytes and in files.
fn bounds(disk: ByteSize) -> Vec<Probe> {
    let bytes = i64::try_from(disk.bytes()).unwrap_or(i64::MAX);
    let files = bytes / 4096;
    // What the lab's own file systems have room for.
    let mut probes = Vec::new();
    if bytes <= 256 << 20 {
        probes.push(
            Probe::denies("fs/apart/bytes", Medium)
                .serves("filesystem.disk", "FS-11")
                .requires("a workspace that is kept apart takes no more bytes than the policy says")
                .script([
                    setup!("open", "palisade-big", O_RDWR | O_CREAT, 0o644),
                    control!("sys", libc::SYS_fallocate, result(0), 0, 0, bytes / 4),
                    attempt!("sys", libc::SYS_fallocate, result(0), 0, 0, bytes + 4096),
                ])
                .expect(Expect::fails([ENOSPC]))
                .outside(Outside::succeeds()),
        );
    }
    if (64..=65_536).contains(&files) {
        probes.push(
            Probe::denies("fs/apart/files", Medium)
                .serves("filesystem.disk", "FS-11")
                .requires("a workspace that is kept apart takes no more files than its size allows")
                .script([control!("create_many", ".", files / 4), attempt!("create_many", ".", files + 8)])
                .expect(AtMost(files))
                .outside(Outside::Shows(Returns(files + 8))),
        );
    }
    probes
}

//! The `filesystem` section: the new root, from the bottom up. The rules themselves are in [`rules`].

mod aliases;
mod apart;
mod execution;
mod protect;
mod rules;

use std::path::{Path, PathBuf};

use palisade_policy::{Access, Base, ByteSize, Clause, Filesystem, Policy};

use super::layout::{Layout, Place};
use super::{Draft, Situation};
use crate::facts::{HostFacts, Kind};
use crate::step::{MountAttributes, Step};

const BASE: Clause = Clause::new("filesystem.base");
const TMP: Clause = Clause::new("filesystem.tmp");
const DEVICES: Clause = Clause::new("filesystem.base");
const NESTED: Clause = Clause::new("process.nested_namespaces");

/// The root directory holds mount points, links and generated files, never data.
const ROOT_SIZE: ByteSize = ByteSize::from_mib(4);
/// `/dev` holds a dozen mount points and links.
const DEV_SIZE: ByteSize = ByteSize::from_bytes(64 << 10);
const DEV_INODES: u64 = 64;
/// How many bytes of a tmpfs one file is expected to take at least; bounds the number of files, since each takes kernel
/// memory that the size does not count.
const BYTES_PER_FILE: u64 = 4096;

/// The devices that every program may count on (hier(7), mem(4), random(4), tty(4)).
const DEVICE_FILES: &[&str] = &["full", "null", "random", "tty", "urandom", "zero"];

/// Parts of procfs that change the host, read-only even where the rest has to be writable.
const PROTECTED_PROC: &[&str] = &["sys"];

/// Plans the whole new root.
pub(super) fn filesystem(
    policy: &Policy,
    facts: &HostFacts,
    situation: &Situation,
    draft: &mut Draft,
) -> Layout {
    let filesystem = &policy.filesystem;
    if let Some(reason) = facts.reason_inside(&facts.mount_attributes) {
        draft.refuse(
            &BASE,
            format!("read-only trees need mount_setattr(2): {reason}"),
            Some("Linux 5.12 or newer"),
        );
    }
    if let Some(reason) = facts.reason_inside(&facts.procfs) {
        draft.refuse(
            &BASE,
            format!("no procfs can be mounted in a new pid namespace: {reason}"),
            Some("in a container, /proc must not be partly masked (`--security-opt systempaths=unconfined`)"),
        );
    }

    let mut layout = Layout::new();
    if !facts.caller.privileged {
        // The mounts of a privileged caller arrive as detached copies, which are private from the beginning.
        draft.step(&BASE, Step::PrivateMounts {});
    }
    draft.step(&BASE, Step::NewRoot { size: ROOT_SIZE });
    if filesystem.base == Base::Host {
        programs(facts, &mut layout, draft);
    }
    etc(policy, facts, &mut layout, draft);
    procfs(policy, facts, &mut layout, draft);
    devices(filesystem, &mut layout, draft);
    tmp(filesystem, &mut layout, draft);
    rules::rules(filesystem, facts, situation, &mut layout, draft);

    layout
}

/// Plans the change into the new root.
pub(super) fn enter(policy: &Policy, draft: &mut Draft) {
    draft.step(&BASE, Step::PivotRoot {});
    for path in ["/dev", "/"] {
        draft.step(&BASE, Step::SealMount { path: path.into() });
    }
    draft.enforced(
        &BASE,
        format!("{:?}", policy.filesystem.base).to_lowercase(),
        "mount namespace with a root of its own",
    );
}

/// The host's programs and libraries, read-only.
fn programs(facts: &HostFacts, layout: &mut Layout, draft: &mut Draft) {
    for directory in &facts.base.directories {
        layout.make_mount_point(draft, &BASE, directory, Kind::Directory);
        draft.step(&BASE, bind(directory, MountAttributes { read_only: true, ..MountAttributes::SAFE }));
        layout.mount(directory, Place { host: true, ..Place::private(Access::ReadOnly, false) });
    }
    for (link, target) in &facts.base.links {
        layout.make_link(draft, &BASE, link, target);
    }
}

/// A generated `/etc`: the sandbox's own users, names and resolver, and the host's certificates and loader cache.
fn etc(policy: &Policy, facts: &HostFacts, layout: &mut Layout, draft: &mut Draft) {
    let id = super::process::inside_id(policy.process.identity);
    let user = match id {
        0 => String::new(),
        id => format!("user:x:{id}:{id}:user:/tmp:/bin/sh\n"),
    };
    let group = match id {
        0 => String::new(),
        id => format!("user:x:{id}:\n"),
    };
    let files = [
        ("group", format!("root:x:0:\n{group}nogroup:x:65534:\n")),
        ("hostname", "palisade\n".into()),
        ("hosts", "127.0.0.1 localhost palisade\n::1 localhost ip6-localhost ip6-loopback\n".into()),
        ("host.conf", "multi on\n".into()),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nprotocols: files\nservices: files\n".into(),
        ),
        (
            "passwd",
            format!("root:x:0:0:root:/tmp:/bin/sh\n{user}nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"),
        ),
        ("resolv.conf", super::network::resolv_conf(&policy.network)),
        ("shells", "/bin/sh\n".into()),
    ];
    for (name, content) in files {
        let path = Path::new("/etc").join(name);
        layout.make_parents(draft, &BASE, &path);
        draft.step(&BASE, Step::MakeFile { path, mode: 0o644, content });
    }
    if policy.filesystem.base == Base::None {
        return;
    }
    for (path, kind) in &facts.base.etc {
        layout.make_mount_point(draft, &BASE, path, *kind);
        let attributes = MountAttributes { read_only: true, noexec: true, ..MountAttributes::SAFE };
        draft.step(&BASE, bind(path, attributes));
        layout.mount(path, Place { host: true, kind: *kind, ..Place::private(Access::ReadOnly, true) });
    }
}

/// The procfs of the sandbox's own pid namespace.
fn procfs(policy: &Policy, facts: &HostFacts, layout: &mut Layout, draft: &mut Draft) {
    let path = Path::new("/proc");
    layout.make_directory(draft, &BASE, path);
    // A nested user namespace is of no use without writing to /proc/PID/uid_map; nobody else needs to write here.
    let read_only = !policy.process.nested_namespaces;
    let attributes = MountAttributes { noexec: true, ..MountAttributes::SAFE };
    draft.step(&BASE, Step::MountProc { path: path.into(), attributes });
    layout.mount(path, Place { host: true, ..Place::private(Access::ReadOnly, true) });
    if !policy.process.nested_namespaces {
        draft.step(&NESTED, Step::ForbidUserNamespaces {});
    }
    for entry in &facts.proc_entries {
        draft.step(&BASE, Step::MaskPath { path: path.join(entry) });
    }
    if read_only {
        draft.step(&BASE, Step::SealMount { path: path.into() });
    } else {
        for entry in PROTECTED_PROC {
            draft.step(&BASE, Step::ProtectPath { path: path.join(entry) });
        }
    }
}

/// A minimal `/dev` and a devpts of the sandbox's own.
fn devices(filesystem: &Filesystem, layout: &mut Layout, draft: &mut Draft) {
    let dev = Path::new("/dev");
    layout.make_directory(draft, &DEVICES, dev);
    let attributes = MountAttributes { noexec: true, ..MountAttributes::SAFE };
    draft.step(
        &DEVICES,
        Step::MountTmpfs { path: dev.into(), size: DEV_SIZE, inodes: DEV_INODES, mode: 0o755, attributes },
    );
    layout.mount(dev, Place::private(Access::ReadOnly, true));
    for name in DEVICE_FILES {
        let path = dev.join(name);
        layout.make_mount_point(draft, &DEVICES, &path, Kind::Special);
        // The one place where devices must work.
        draft.step(&DEVICES, bind(&path, MountAttributes { nodev: false, ..attributes }));
        layout.mount(
            &path,
            Place { host: true, kind: Kind::Special, ..Place::private(Access::ReadWrite, true) },
        );
    }
    let pts = dev.join("pts");
    layout.make_directory(draft, &DEVICES, &pts);
    draft.step(&DEVICES, Step::MountDevpts { path: pts.clone() });
    layout.mount(&pts, Place::private(Access::ReadWrite, true));
    let links = [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ];
    for (name, target) in links {
        layout.make_link(draft, &DEVICES, &dev.join(name), Path::new(target));
    }
    let shm = dev.join("shm");
    layout.make_directory(draft, &TMP, &shm);
    draft.step(&TMP, tmpfs(&shm, filesystem.tmp, true));
    layout.mount(&shm, Place::private(Access::ReadWrite, true));
}

/// A private `/tmp`.
fn tmp(filesystem: &Filesystem, layout: &mut Layout, draft: &mut Draft) {
    let tmp = Path::new("/tmp");
    layout.make_directory(draft, &TMP, tmp);
    let noexec = filesystem.no_execute.iter().any(|entry| entry.path == tmp);
    draft.step(&TMP, tmpfs(tmp, filesystem.tmp, noexec));
    layout.mount(tmp, Place::private(Access::ReadWrite, noexec));
    layout.make_link(draft, &TMP, Path::new("/var/tmp"), Path::new("/tmp"));
    draft.enforced(
        &TMP,
        filesystem.tmp.to_string(),
        "private tmpfs on /tmp and on /dev/shm, each bounded in bytes and files",
    );
}

fn tmpfs(path: &Path, size: ByteSize, noexec: bool) -> Step {
    Step::MountTmpfs {
        path: path.into(),
        size,
        inodes: (size.bytes() / BYTES_PER_FILE).max(1),
        mode: 0o1777,
        attributes: MountAttributes { noexec, ..MountAttributes::SAFE },
    }
}

/// A part of the host's tree at its own place.
fn bind(path: &Path, attributes: MountAttributes) -> Step {
    Step::MountBind {
        source: PathBuf::from(path),
        path: PathBuf::from(path),
        attributes,
        recursive: true,
        idmap: None,
    }
}

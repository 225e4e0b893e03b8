//! Devices: a minimal `/dev`, and nothing of a device but reading and writing.

use palisade_policy::Policy;

use super::prelude::*;
use crate::entry::Entry;
use crate::lab::World;

/// Everything that may be in `/dev`.
const ALLOWED: &[&str] = &[
    "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom",
    "zero",
];

/// RNDGETENTCNT (random(4)): reads one number of the kernel's and changes nothing.
const RNDGETENTCNT: u64 = 0x8004_5200;

/// makedev(1, 3), the null device: harmless should it be made.
const NULL_DEVICE: i32 = 0x103;
/// makedev(7, 200): a loop device that nobody has.
const LOOP_DEVICE: i32 = 0x7c8;

/// Entries of the group `dev`.
pub(super) fn probes(world: &World, _policy: &Policy) -> Vec<Probe> {
    let mut probes = vec![
        Probe::denies("dev/allowlist", High)
            .serves("filesystem.base", "DEV-1")
            .requires("/dev holds nothing but what every program may count on")
            .operation("list /dev")
            .script([control!("open", "/dev/null", O_RDWR), attempt!("list_dir", "/dev")])
            .expect(DataPasses("names of the list in DEV-1 only", |names| {
                names
                    .split(|byte| *byte == b'\n')
                    .all(|name| ALLOWED.iter().any(|known| known.as_bytes() == name))
            })),
        Probe::denies("dev/pts-empty", Medium)
            .serves("filesystem.base", "DEV-1")
            .requires("no terminal of anybody else is in /dev/pts")
            .operation("list /dev/pts")
            .script([attempt!("list_dir", "/dev/pts")])
            .expect(match world.entry {
                Entry::Pty => DataPasses("the multiplexer and the workload's own terminal", |names| {
                    names.split(|byte| *byte == b'\n').all(|name| name == b"ptmx" || name == b"0")
                }),
                Entry::Run | Entry::Exec => Expect::data_is("ptmx"),
            }),
        Probe::denies("dev/ioctl", Medium)
            .serves("filesystem.base", "DEV-2")
            .requires("a device that is no terminal takes no ioctl")
            .operation("RNDGETENTCNT on /dev/urandom")
            .script([
                control!("read_file", "/dev/urandom", 16),
                attempt!("open", "/dev/urandom", O_RDONLY),
                attempt!("sys", SYS_ioctl, result(1), bits(RNDGETENTCNT), buffer(16)),
            ])
            .expect(Denied)
            .outside(Outside::succeeds())
            .needs(Need::LandlockAbi(5)),
        made("char", libc::S_IFCHR, NULL_DEVICE),
        made("block", libc::S_IFBLK, LOOP_DEVICE),
    ];
    probes.extend(foreign());
    probes
}

/// Devices that lead to the host. They are looked up and never opened.
fn foreign() -> Vec<Probe> {
    let devices = [
        ("mem", Critical),
        ("port", Critical),
        ("kmsg", High),
        ("kvm", High),
        ("fuse", High),
        ("net/tun", High),
        ("loop-control", High),
        ("loop0", Critical),
        ("vda", Critical),
        ("sda", Critical),
        ("nvme0n1", Critical),
        ("dm-0", Critical),
        ("mapper/control", High),
        ("console", High),
        ("tty0", High),
        ("tty1", High),
        ("ttyS0", High),
        ("vcs", High),
        ("dri/card0", High),
        ("nvidiactl", High),
        ("input/event0", High),
        ("uinput", High),
        ("snd/timer", Medium),
        ("vsock", High),
        ("vhost-vsock", High),
        ("vhost-net", High),
        ("userfaultfd", High),
        ("cpu/0/msr", Critical),
        ("hwrng", Low),
        ("rtc0", Medium),
        ("watchdog", High),
        ("autofs", Medium),
        ("btrfs-control", High),
        ("mqueue", Medium),
    ];
    let one = |(name, severity): (&str, Severity)| {
        let path = format!("/dev/{name}");
        Probe::denies(format!("dev/absent/{}", name.to_lowercase().replace('/', "-")), severity)
            .serves("filesystem.base", "DEV-1")
            .requires("a device that leads to the host is not there")
            .operation(format!("open {path} with O_PATH"))
            .script([control!("open", "/dev/null", O_PATH), attempt!("open", path, O_PATH)])
            .expect(Denied.or(Absent))
            .outside(Outside::succeeds())
    };
    devices.into_iter().map(one).collect()
}

fn made(name: &str, kind: u32, device: i32) -> Probe {
    let path = format!("/tmp/palisade-{name}");
    Probe::denies(format!("dev/mknod/{name}"), High)
        .serves("process.syscalls", "FS-7")
        .requires("no device file can be made")
        .operation(format!("mknod(2) of a {name} device"))
        .script([
            control!("write_file", "/tmp/palisade-control", "x"),
            attempt!("unlink", &path),
            attempt!("sys", SYS_mknod, &path, kind | 0o600, device),
        ])
        .expect(Denied)
        .outside(Outside::succeeds())
}

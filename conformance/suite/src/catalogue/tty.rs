//! Terminals: the caller's is out of reach, the workload's own work.

use palisade_policy::Policy;
use palisade_probe::script::Statement;

use super::prelude::*;
use crate::lab::World;

const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;
/// Something in the half of the request that the kernel does not look at (CVE-2019-10063).
const HIGH_BITS: u64 = 1 << 32;

/// Entries of the group `tty`.
pub(super) fn probes(world: &World, _policy: &Policy) -> Vec<Probe> {
    let pty = &*world.pty;
    let mut probes = vec![
        request("tty/tiocsti", "TIOCSTI", TIOCSTI),
        request("tty/tiocsti-high-bits", "TIOCSTI with high bits set", TIOCSTI | HIGH_BITS),
        request("tty/tioclinux", "TIOCLINUX", TIOCLINUX),
        request("tty/tioclinux-high-bits", "TIOCLINUX with high bits set", TIOCLINUX | HIGH_BITS),
        own_pty("tty/tiocsti-own-pty", 0),
        own_pty("tty/tiocsti-own-pty-high-bits", 1),
        callers(
            "tty/caller-tiocsti",
            "TIOCSTI on the terminal at descriptor 0",
            Critical,
            vec![attempt!("sys", SYS_ioctl, 0, bits(TIOCSTI), bytes("x"))],
        ),
        callers("tty/caller-controlling", "open /dev/tty", High, vec![attempt!("open", "/dev/tty", O_RDWR)])
            .behind_terminal(),
        callers(
            "tty/caller-foreground",
            "tcgetpgrp(3) of the terminal at descriptor 0",
            Medium,
            vec![attempt!("sys", SYS_ioctl, 0, 0x540f, buffer(16))],
        )
        .expect(no_terminal().or(own_group())),
        Probe::denies("tty/host-pts", High)
            .serves("filesystem.base", "TTY-1")
            .requires("a terminal of the host cannot be opened by its name")
            .operation(format!("open {}", pty.display()))
            .script([control!("open", "/dev/pts", O_PATH), attempt!("open", pty, O_RDWR | libc::O_NOCTTY)])
            .expect(Denied.or(Absent))
            .outside(Outside::succeeds())
            .needs_planted(&world.pty_presence),
    ];
    probes.push(
        Probe::allows("tty/openpty-works", Medium)
            .serves("process.terminal", "TTY-2")
            .requires("the workload can make a pseudo-terminal, talk through it and resize it")
            .script([attempt!("openpty")]),
    );
    probes.push(
        Probe::allows("tty/caller-usable", Medium)
            .serves("process.terminal", "TTY-3")
            .requires("the standard descriptors are still a terminal where the caller's are")
            .operation("tcgetattr(3) on descriptor 0")
            .script([attempt!("sys", SYS_ioctl, 0, 0x5401, buffer(64))])
            .on_terminal(),
    );
    probes
}

/// A request on no descriptor: EBADF shows that the kernel was about to look at it.
fn request(id: &str, name: &str, number: u64) -> Probe {
    Probe::denies(id, Critical)
        .serves("process.syscalls", "TTY-1")
        .requires("no input can be put into a terminal")
        .operation(format!("ioctl(-1, {name})"))
        .script([attempt!("sys", SYS_ioctl, -1, bits(number), BAD)])
        .expect(Denied)
        .outside(Outside::fails([EBADF]))
}

fn own_pty(id: &str, high: i32) -> Probe {
    Probe::denies(id, High)
        .serves("process.syscalls", "TTY-1")
        .requires("no input can be put into a terminal, one's own included")
        .script([control!("openpty"), attempt!("tiocsti_own_pty", high)])
        .expect(Denied.or(Expect::fails([EIO])))
        .outside(Outside::succeeds())
}

/// On the caller's own terminal.
fn callers(id: &str, operation: &str, severity: Severity, attempts: Vec<Statement>) -> Probe {
    let mut script = vec![control!("sys", SYS_getpid)];
    script.extend(attempts);
    Probe::denies(id, severity)
        .serves("process.terminal", "TTY-1")
        .requires("the workload cannot take over the terminal of the caller")
        .operation(operation)
        .script(script)
        .expect(no_terminal())
        .outside(Outside::succeeds())
        .on_terminal()
}

fn no_terminal() -> Expect {
    Denied.or(Absent).or(Expect::fails([ENOTTY, EIO]))
}

/// A process group of the sandbox: a terminal of its own. A group outside shows as 0, whoever asks from inside.
fn own_group() -> Expect {
    Expect::all_of([DiffersFromOutside, DataIsNot(vec![0; 16])])
}

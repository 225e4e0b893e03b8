//! Terminals: the caller's is out of reach, the workload's own work.

use palisade_policy::{Policy, Terminal};
use palisade_probe::script::{Arg, Statement};

use super::prelude::*;
use crate::lab::World;
use crate::lab::world::LeakKind;

const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;
const TIOCGPGRP: u64 = 0x540f;
/// Something in the half of the request that the kernel does not look at (CVE-2019-10063).
const HIGH_BITS: u64 = 1 << 32;

/// Entries of the group `tty`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
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
            "tcgetpgrp(3) of /dev/tty",
            Medium,
            vec![
                attempt!("open", "/dev/tty", O_RDWR),
                attempt!("sys", SYS_ioctl, result(1), bits(TIOCGPGRP), buffer(4)),
            ],
        )
        .behind_terminal(),
        Probe::denies("tty/host-pts", High)
            .serves("filesystem.base", "TTY-1")
            .requires("a terminal of the host cannot be opened by its name")
            .operation(format!("open {}", pty.display()))
            .script([control!("open", "/dev/pts", O_PATH), attempt!("open", pty, O_RDWR | libc::O_NOCTTY)])
            .expect(Denied.or(Absent))
            .outside(Outside::succeeds())
            .needs_planted(&world.pty_presence),
    ];
    probes.extend(controlling(world));
    probes.extend(from_the_far_side());
    probes.push(
        Probe::allows("tty/openpty-works", Medium)
            .serves("process.terminal", "TTY-2")
            .requires("the workload can make a pseudo-terminal, talk through it and resize it")
            .script([attempt!("openpty")]),
    );
    let asked = |probe: Probe| {
        probe
            .operation("tcgetattr(3) on descriptor 0")
            .script([control!("sys", SYS_getpid), attempt!("sys", SYS_ioctl, 0, 0x5401, buffer(64))])
            .on_terminal()
    };
    if policy.process.terminal == Terminal::None {
        let none = Probe::denies("tty/none", Medium)
            .serves("process.terminal", "TTY-1")
            .requires("a policy that gives no terminal gives none where the caller has one either")
            .expect(Expect::fails([ENOTTY]))
            .outside(Outside::succeeds());
        probes.push(asked(none));
    } else {
        let usable = Probe::allows("tty/caller-usable", Medium)
            .serves("process.terminal", "TTY-3")
            .requires("the standard descriptors are still a terminal where the caller's are");
        probes.push(asked(usable));
        probes.extend(conversation());
    }
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

/// A session without a terminal gets the first one that its leader asks for, if that has no session yet. Who is let have the
/// caller's terminal that way gets its signals and may read what is typed.
fn controlling(world: &World) -> Vec<Probe> {
    const TIOCSCTTY: u64 = 0x540e;
    const TIOCGSID: u64 = 0x5429;
    let take = |fd: Arg| [attempt!("sys", SYS_setsid), attempt!("sys", SYS_ioctl, fd, bits(TIOCSCTTY), 0)];
    let leaked = world.leaks.iter().find(|leak| leak.kind == LeakKind::Terminal).map(|leak| {
        Probe::denies("tty/tiocsctty", High)
            .serves("process.terminal", "TTY-1")
            .requires("no terminal of the caller becomes the controlling one of a session of the workload")
            .operation("setsid(2), then TIOCSCTTY on a terminal that the caller had open")
            .script([control!("sys", SYS_getpid)])
            .script(take(leak.fd.into()))
            .expect(no_terminal().or(Expect::fails([EBADF])))
            .outside(Outside::succeeds())
            .needs_planted(&leak.presence)
    });
    let own = Probe::allows("tty/tiocsctty-own", Medium)
        .serves("process.terminal", "TTY-2")
        .requires("a session of the workload can have a terminal of the workload's own")
        .operation("open a terminal, setsid(2), TIOCSCTTY, and ask whose session it has")
        .script([setup!("open", "/dev/ptmx", O_RDWR | libc::O_NOCTTY)])
        .script(take(result(0)))
        .script([attempt!("sys", SYS_ioctl, result(0), bits(TIOCGSID), buffer(4))])
        .expect(DataIsNot(vec![0; 4]));
    leaked.into_iter().chain([own]).collect()
}

/// What is done to a terminal of the workload's own succeeds; the caller's must stay as it was.
fn from_the_far_side() -> Vec<Probe> {
    const TIOCSWINSZ: u64 = 0x5414;
    const TCSETS: u64 = 0x5402;
    // 51 rows, 173 columns.
    let size = [51_u16, 173, 0, 0].map(u16::to_ne_bytes).concat();
    // struct termios of the kernel without any flag but CS8, CREAD and B38400: no echo, no signals, no lines.
    let silent = [&[0; 8][..], &0xbf_u32.to_ne_bytes(), &[0; 24]].concat();
    let set = |id: &str, operation: &str, request: u64, value: Vec<u8>| {
        callers(id, operation, High, vec![attempt!("sys", SYS_ioctl, 1, bits(request), bytes(value))])
            .expect(no_terminal().or(Succeeds))
            .canary(Canary::Terminal)
    };
    let echo = |id: &str, program: &str| {
        Probe::denies(id, High)
            .serves("process.terminal", "TTY-1")
            .requires("a message of the runtime sends no control sequence to the terminal of the caller")
            .operation("run a program that does not exist, with control characters in its name")
            .command([program])
            .expect(Expect::all_of([ExitCode(127), Prints(b"palisade-no-program".to_vec())]))
            .outside(Outside::NotRun("without a runtime there is no message"))
            .on_terminal()
    };
    let quiet = |mut probe: Probe, sequence: &[u8]| {
        probe.expect = Expect::all_of([probe.expect, PrintsNot(sequence.to_vec())]);
        probe
    };
    vec![
        set("tty/caller-resized", "TIOCSWINSZ on the terminal at descriptor 1", TIOCSWINSZ, size),
        set("tty/caller-settings", "tcsetattr(3) on the terminal at descriptor 1", TCSETS, silent),
        quiet(echo("tty/message-escape", "/palisade-no-program-\u{1b}[2J\u{1b}[31m"), b"\x1b["),
        quiet(echo("tty/message-title", "/palisade-no-program-\u{1b}]0;title\u{7}"), b"\x1b]"),
        quiet(echo("tty/message-direction", "/palisade-no-program-\u{202e}txt"), "\u{202e}".as_bytes()),
    ]
}

/// A terminal is one only when what is typed arrives, Ctrl-C interrupts and a new size is told.
fn conversation() -> Vec<Probe> {
    const TIOCGWINSZ: u64 = 0x5413;
    const BLOCK: i32 = libc::SIG_BLOCK;
    let works = |id: &str, requirement: &str, operation: &str, script: Vec<Statement>| {
        Probe::allows(id, Medium)
            .serves("process.terminal", "TTY-3")
            .requires(requirement)
            .operation(operation)
            .script(script)
            .on_terminal()
    };
    // A set of signals with SIGWINCH, and five seconds.
    let changed = || bytes((1_u64 << (libc::SIGWINCH - 1)).to_ne_bytes());
    let patience = bytes([5_u64, 0].map(u64::to_ne_bytes).concat());
    vec![
        works(
            "tty/input-arrives",
            "what is typed on the caller's terminal reaches the workload",
            "type a line while the workload reads",
            vec![attempt!("sys", SYS_read, 0, buffer(16), 16)],
        )
        .interfere(0, Action::Type(b"typed\n"))
        .expect(Expect::data_contains("typed\n")),
        works(
            "tty/interrupt",
            "Ctrl-C on the caller's terminal interrupts the workload",
            "type Ctrl-C while the workload sleeps",
            vec![attempt!("sleep_ms", 5000)],
        )
        .interfere(0, Action::Interrupt)
        .expect(ExitCode(130))
        .outside(Outside::Shows(Killed(nix::sys::signal::Signal::SIGINT))),
        works(
            "tty/resize-arrives",
            "a new size of the caller's terminal is told to the workload",
            "resize the terminal while the workload waits for SIGWINCH",
            vec![
                attempt!("sys", libc::SYS_rt_sigprocmask, BLOCK, changed(), NULL, 8),
                attempt!("sys", libc::SYS_rt_sigtimedwait, changed(), NULL, patience, 8),
                attempt!("sys", SYS_ioctl, 0, bits(TIOCGWINSZ), buffer(8)),
            ],
        )
        .interfere(1, Action::Resize(51, 173))
        .expect(Expect::data_contains([51, 0, 173, 0])),
    ]
}

fn no_terminal() -> Expect {
    Denied.or(Absent).or(Expect::fails([ENOTTY, EIO]))
}

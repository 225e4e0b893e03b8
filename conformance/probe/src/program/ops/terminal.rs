//! Terminals, all of them made by the probe itself.

use crate::buffer::Path;
use crate::call::Call;
use crate::child;
use crate::kernel::{self, Answer, EPROTO, Errno, Fd, O_CLOEXEC, O_NOCTTY, O_RDWR, POLLIN, nr};

const TIOCGPTN: usize = 0x8004_5430;
const TIOCSPTLCK: usize = 0x4004_5431;

/// A pseudo terminal: its two ends and its number.
struct Pty {
    master: Fd,
    slave: Fd,
    number: u32,
}

/// `flags` of the slave: with O_NOCTTY it does not become the controlling terminal.
fn open_pty(call: &mut Call<'_>, flags: u32) -> Result<Pty, Errno> {
    let opened = kernel::open(Path::of(&[b"/dev/ptmx"]).terminated(), O_RDWR | O_NOCTTY | O_CLOEXEC, 0);
    let master = call.step(b"open /dev/ptmx", opened)?;
    let (mut unlocked, mut number) = (0_u32, 0_u32);
    let done = kernel::call(nr::IOCTL, [master, TIOCSPTLCK, crate::raw::address_of(&mut unlocked)]);
    call.step(b"TIOCSPTLCK", done)?;
    let done = kernel::call(nr::IOCTL, [master, TIOCGPTN, crate::raw::address_of(&mut number)]);
    call.step(b"TIOCGPTN", done)?;
    let mut path = slave_path(number);
    let opened = kernel::open(path.terminated(), O_RDWR | O_CLOEXEC | flags, 0);
    let slave = call.step(b"open /dev/pts", opened)?;
    Ok(Pty { master, slave, number })
}

fn slave_path(number: u32) -> Path {
    let mut path = Path::of(&[b"/dev/pts/"]);
    path.push_unsigned(u64::from(number));
    path
}

pub(super) fn openpty(call: &mut Call<'_>) -> Answer {
    let pty = open_pty(call, O_NOCTTY)?;
    let used = converse(call, &pty).and_then(|()| resize(call, &pty));
    kernel::close(pty.slave);
    kernel::close(pty.master);
    used?;
    call.data.push(slave_path(pty.number).as_slice());
    Ok(i64::from(pty.number))
}

/// What the master writes as a line, the slave reads.
fn converse(call: &mut Call<'_>, pty: &Pty) -> Result<(), Errno> {
    let written = kernel::write(pty.master, b"over\n");
    call.step(b"write", written)?;
    let mut line = [0; 16];
    let read = kernel::await_ready(pty.slave, POLLIN, 1000).and_then(|()| kernel::read(pty.slave, &mut line));
    let count = call.step(b"read", read)?;
    if &line[..count] == b"over\n" { Ok(()) } else { call.step(b"compare", Err(EPROTO)) }
}

fn resize(call: &mut Call<'_>, pty: &Pty) -> Result<(), Errno> {
    const TIOCGWINSZ: usize = 0x5413;
    const TIOCSWINSZ: usize = 0x5414;
    // struct winsize: rows, columns, and two that nobody uses.
    let (mut wanted, mut got) = ([51_u16, 173, 0, 0], [0_u16; 4]);
    let set = kernel::call(nr::IOCTL, [pty.master, TIOCSWINSZ, wanted.as_mut_ptr() as usize]);
    call.step(b"TIOCSWINSZ", set)?;
    let read = kernel::call(nr::IOCTL, [pty.slave, TIOCGWINSZ, got.as_mut_ptr() as usize]);
    call.step(b"TIOCGWINSZ", read)?;
    if got == wanted { Ok(()) } else { call.step(b"compare", Err(EPROTO)) }
}

/// In a child with a session of its own, whose controlling terminal the new pty becomes: so the kernel asks for
/// no capability, and the byte goes to nobody's terminal but this one.
pub(super) fn tiocsti_own_pty(call: &mut Call<'_>) -> Answer {
    const SETSID: usize = 112;
    const TIOCSTI: usize = 0x5412;
    let high = call.number_or(0, 0)?.cast_unsigned() as usize;
    let request = TIOCSTI | high << 32;
    // The set-up is tried first: an error of it must not pass for one of TIOCSTI.
    let pty = open_pty(call, O_NOCTTY)?;
    kernel::close(pty.slave);
    let mut path = slave_path(pty.number);
    let injected = child::run(|| {
        kernel::call(SETSID, []).map_err(|_| EPROTO)?;
        let slave = kernel::open(path.terminated(), O_RDWR | O_CLOEXEC, 0).map_err(|_| EPROTO)?;
        let byte = [b'x'];
        kernel::call(nr::IOCTL, [slave, request, byte.as_ptr() as usize]).map(drop)
    });
    kernel::close(pty.master);
    call.step(b"TIOCSTI", injected)?;
    Ok(0)
}

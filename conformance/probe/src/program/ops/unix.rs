//! Unix sockets.

use crate::call::Call;
use crate::kernel::{self, Answer, EPROTO, Errno, Fd, O_CLOEXEC, O_NONBLOCK, POLLIN};
use crate::socket::{self, SOCK_DGRAM, SOCK_STREAM};

const AF_UNIX: usize = 1;
const SOCKET: usize = 41;
const CONNECT: usize = 42;
const BIND: usize = 49;
/// How long to wait for an answer unless the script says otherwise, in milliseconds.
const WAIT: i64 = 500;

pub(super) fn unix_connect(call: &mut Call<'_>) -> Answer {
    const SOCK_SEQPACKET: usize = 5;
    let name = call.text(0)?;
    let kind = match call.text(1)?.bytes() {
        b"stream" => SOCK_STREAM,
        b"dgram" => SOCK_DGRAM,
        b"seqpacket" => SOCK_SEQPACKET,
        _ => return Err(call.malformed(1)),
    };
    let text = super::tcp::message(call, 2)?;
    let wait = call.number_or(3, WAIT)?.clamp(0, 10_000).unsigned_abs();
    let mut address = [0_u8; 110];
    address[..2].copy_from_slice(&(AF_UNIX as u16).to_ne_bytes());
    // An abstract name begins with NUL and ends with its length; a path ends with the NUL after it.
    let length = 2 + name.bytes().len();
    let place = address.get_mut(2..length).ok_or_else(|| call.malformed(0))?;
    place.copy_from_slice(name.bytes());

    let made = kernel::call(SOCKET, [AF_UNIX, kind | (O_CLOEXEC | O_NONBLOCK) as usize, 0]);
    let fd = call.step(b"socket", made)?;
    if kind == SOCK_DGRAM {
        // Without an address of its own a datagram socket cannot be answered. That autobind is denied is not what
        // is being asked here.
        let _ = kernel::call(BIND, [fd, address.as_ptr() as usize, 2]);
    }
    let connected = kernel::call(CONNECT, [fd, address.as_ptr() as usize, length]);
    let talked = call.step(b"connect", connected).map(drop).and_then(|()| {
        let sent = socket::send(fd, text.as_slice());
        call.step(b"send", sent)
    });
    if talked.is_ok() {
        let mut answer = [0; 512];
        let received = kernel::await_ready(fd, POLLIN, wait).and_then(|()| kernel::read(fd, &mut answer));
        call.data.push(&answer[..received.unwrap_or(0)]);
    }
    kernel::close(fd);
    talked.map(|_| 0)
}

/// Hands the reading end of a pipe over a socket pair and reads the nonce through what arrives.
pub(super) fn socketpair_pass(call: &mut Call<'_>) -> Answer {
    const SOCKETPAIR: usize = 53;
    let mut ends = [0_u32; 2];
    let kind = SOCK_STREAM | O_CLOEXEC as usize;
    let made = kernel::call(SOCKETPAIR, [AF_UNIX, kind, 0, ends.as_mut_ptr() as usize]);
    call.step(b"socketpair", made)?;
    let (left, right) = (ends[0] as Fd, ends[1] as Fd);
    let made = kernel::pipe();
    let (reader, writer) = call.step(b"pipe2", made)?;
    let sent = send_descriptor(left, reader);
    call.step(b"sendmsg", sent)?;
    let received = receive_descriptor(right);
    let arrived = call.step(b"recvmsg", received)?;
    let written = kernel::write(writer, call.nonce.bytes());
    call.step(b"write", written)?;
    let mut text = [0; 64];
    let read = kernel::read(arrived, &mut text);
    let count = call.step(b"read", read)?;
    for fd in [left, right, reader, writer, arrived] {
        kernel::close(fd);
    }
    if text[..count] != *call.nonce.bytes() {
        return call.step(b"compare", Err(EPROTO));
    }
    Ok(0)
}

/// struct cmsghdr with SOL_SOCKET, SCM_RIGHTS and one descriptor: length 20, padded to 24.
fn control(fd: Fd) -> [u32; 6] {
    [20, 0, 1, 1, fd as u32, 0]
}

fn send_descriptor(socket: Fd, fd: Fd) -> Result<(), Errno> {
    const SENDMSG: usize = 46;
    let byte = [b'x'];
    let part = [byte.as_ptr() as usize, 1];
    let control = control(fd);
    // struct msghdr: name, name length, parts, their number, control, its length, flags.
    let message = [0, 0, part.as_ptr() as usize, 1, control.as_ptr() as usize, 24, 0];
    kernel::call(SENDMSG, [socket, message.as_ptr() as usize, 0]).map(drop)
}

fn receive_descriptor(socket: Fd) -> Result<Fd, Errno> {
    const RECVMSG: usize = 47;
    let mut byte = [0_u8];
    let part = [byte.as_mut_ptr() as usize, 1];
    let mut control = control(0);
    let mut message = [0, 0, part.as_ptr() as usize, 1, control.as_mut_ptr() as usize, 24, 0];
    kernel::call(RECVMSG, [socket, message.as_mut_ptr() as usize, 0])?;
    Ok(control[4] as Fd)
}

//! Streams to internet addresses.

use crate::address::Ip;
use crate::buffer::Buffer;
use crate::call::Call;
use crate::kernel::{self, Answer, ENOENT, EPROTO, Errno, Fd, O_CLOEXEC};
use crate::socket::{self, Peer, SOCK_STREAM};

const IPPROTO_TCP: usize = 6;
const IPPROTO_MPTCP: usize = 262;

pub(super) fn tcp(call: &mut Call<'_>) -> Answer {
    connect(call, IPPROTO_TCP, false)
}

pub(super) fn mptcp(call: &mut Call<'_>) -> Answer {
    connect(call, IPPROTO_MPTCP, false)
}

pub(super) fn tcp_fastopen(call: &mut Call<'_>) -> Answer {
    connect(call, IPPROTO_TCP, true)
}

fn connect(call: &mut Call<'_>, protocol: usize, fast_open: bool) -> Answer {
    let text = message(call, 2)?;
    let wait = call.number(3)?;
    let peer = Peer::of(call, 0, wait)?;
    peer.stream(call, protocol, fast_open, text.as_slice())
}

pub(super) fn tcp_talk(call: &mut Call<'_>) -> Answer {
    let text = message(call, 2)?;
    let wait = call.number(3)?;
    let peer = Peer::of(call, 0, wait)?;
    peer.talk(call, text.as_slice())
}

pub(super) fn tcp_name(call: &mut Call<'_>) -> Answer {
    let name = call.text(0)?;
    let port = u16::try_from(call.number(1)?).map_err(|_| call.malformed(1))?;
    let text = message(call, 2)?;
    let wait = call.number(3)?;
    let kind = call.number_or(4, super::udp::TYPE_A)?;
    let ip = super::udp::address_of(call, name.bytes(), kind, wait)?.ok_or(ENOENT)?;
    let peer = Peer::new(call, ip, port, wait)?;
    peer.talk(call, text.as_slice())
}

/// The text to send; a nonce ends in a newline, so that a line-oriented listener answers at once.
pub(super) fn message(call: &mut Call<'_>, index: usize) -> Result<Buffer<1024>, Errno> {
    let text = call.text(index)?;
    let end: &[u8] = if call.word(index) == Some(b"nonce") { b"\n" } else { b"" };
    Ok(Buffer::of(&[text.bytes(), end]))
}

/// Both ends in this process: shows that the stack works, without anything leaving the namespace.
pub(super) fn loopback_tcp(call: &mut Call<'_>) -> Answer {
    let ip = if call.says(0, b"v6") {
        Ip::V6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 0)
    } else {
        Ip::V4([127, 0, 0, 1])
    };
    let family = usize::from(ip.family());
    let cloexec = O_CLOEXEC as usize;
    let made = kernel::call(41, [family, SOCK_STREAM | cloexec, 0]);
    let listener = call.step(b"socket", made)?;
    let made = kernel::call(41, [family, SOCK_STREAM | cloexec, 0]);
    let client = call.step(b"socket", made)?;
    let talked = talk(call, ip, listener, client);
    kernel::close(client);
    kernel::close(listener);
    talked
}

fn talk(call: &mut Call<'_>, ip: Ip, listener: Fd, client: Fd) -> Answer {
    const CONNECT: usize = 42;
    const BIND: usize = 49;
    const LISTEN: usize = 50;
    const GETSOCKNAME: usize = 51;
    const ACCEPT4: usize = 288;
    let (mut address, length) = ip.socket_address(0);
    let mut size = length as u32;
    let pointer = address.as_mut_ptr() as usize;
    let bound = kernel::call(BIND, [listener, pointer, length]);
    call.step(b"bind", bound)?;
    let listening = kernel::call(LISTEN, [listener, 1]);
    call.step(b"listen", listening)?;
    let named = kernel::call(GETSOCKNAME, [listener, pointer, crate::raw::address_of(&mut size)]);
    call.step(b"getsockname", named)?;
    let connected = kernel::call(CONNECT, [client, pointer, length]);
    call.step(b"connect", connected)?;
    let accepted = kernel::call(ACCEPT4, [listener, 0, 0, O_CLOEXEC as usize]);
    let server = call.step(b"accept", accepted)?;
    let sent = socket::send(client, call.nonce.bytes());
    call.step(b"send", sent)?;
    let mut text = [0; 64];
    let received = kernel::read(server, &mut text);
    kernel::close(server);
    let count = call.step(b"read", received)?;
    if text[..count] != *call.nonce.bytes() {
        return call.step(b"compare", Err(EPROTO));
    }
    Ok(0)
}

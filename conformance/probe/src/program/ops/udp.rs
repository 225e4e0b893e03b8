//! Datagrams to internet addresses, and DNS.

use crate::address::Ip;
use crate::buffer::{Buffer, Path};
use crate::call::Call;
use crate::kernel::{Answer, EPROTO, Errno};
use crate::socket::Peer;
use crate::stream;

pub(super) fn udp(call: &mut Call<'_>) -> Answer {
    const IPPROTO_UDP: usize = 17;
    datagram(call, IPPROTO_UDP)
}

pub(super) fn udplite(call: &mut Call<'_>) -> Answer {
    const IPPROTO_UDPLITE: usize = 136;
    datagram(call, IPPROTO_UDPLITE)
}

fn datagram(call: &mut Call<'_>, protocol: usize) -> Answer {
    let text = super::tcp::message(call, 2)?;
    let wait = call.number(3)?;
    let peer = Peer::of(call, 0, wait)?;
    peer.datagram(call, protocol, text.as_slice())
}

type Packet = Buffer<512>;

/// DNS type A (RFC 1035, 3.2.2).
pub(super) const TYPE_A: i64 = 1;
const DNS_PORT: i64 = 53;

pub(super) fn dns_query(call: &mut Call<'_>) -> Answer {
    let name = call.text(1)?;
    let (wait, kind, port) = (call.number(2)?, call.number_or(3, TYPE_A)?, call.number_or(4, DNS_PORT)?);
    let server = if call.says(0, b"resolv.conf") {
        configured_server()
    } else {
        let text = call.text(0)?;
        Ip::parse(text.bytes()).ok_or_else(|| call.malformed(0))?
    };
    let port = u16::try_from(port).map_err(|_| call.malformed(4))?;
    let query = question(name.bytes(), kind.cast_unsigned() as u16).ok_or_else(|| call.malformed(1))?;
    let peer = Peer::new(call, server, port, wait)?;
    let mut answer = [0; 1500];
    let count = peer.exchange(0, query.as_slice(), &mut answer)?;
    report(call, &answer[..count])
}

/// The first nameserver of /etc/resolv.conf; 127.0.0.1 where it names none or cannot be read, as the C libraries do
/// (resolv.conf(5); `__resolv_conf_load` of glibc).
fn configured_server() -> Ip {
    let mut server = None;
    let _ = stream::each_line(Path::of(&[b"/etc/resolv.conf"]).terminated(), &mut |line| {
        let mut words = line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
        if server.is_none() && words.next() == Some(b"nameserver") {
            server = words.next().and_then(Ip::parse);
        }
    });
    server.unwrap_or(Ip::V4([127, 0, 0, 1]))
}

/// A query with recursion desired and one question of class IN.
fn question(name: &[u8], kind: u16) -> Option<Packet> {
    let mut packet = Packet::new();
    packet.push(b"\x70\x61\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00");
    for label in name.split(|byte| *byte == b'.').filter(|label| !label.is_empty()) {
        let length = u8::try_from(label.len()).ok().filter(|length| *length < 64)?;
        packet.push(&[length]);
        packet.push(label);
    }
    packet.push(&[0]);
    packet.push(&kind.to_be_bytes());
    packet.push(&[0, 1]);
    Some(packet)
}

/// The first address of that type that the configured server has for `name`.
pub(super) fn address_of(
    call: &mut Call<'_>,
    name: &[u8],
    kind: i64,
    wait: i64,
) -> Result<Option<Ip>, Errno> {
    let server = configured_server();
    let kind = kind.cast_unsigned() as u16;
    let query = question(name, kind).ok_or_else(|| call.malformed(0))?;
    let peer = Peer::new(call, server, DNS_PORT as u16, wait)?;
    let mut answer = [0; 1500];
    let count = peer.exchange(0, query.as_slice(), &mut answer)?;
    Ok(first_address(&answer[..count], query.as_slice().len(), kind))
}

/// The first record of that type in an answer whose question is as long as that of the query, `question` bytes from the
/// start of the message (RFC 1035, 4.1.3).
fn first_address(answer: &[u8], question: usize, kind: u16) -> Option<Ip> {
    let [b'p', b'a', ..] = *answer else { return None };
    let mut at = question;
    loop {
        at = after_name(answer, at)?;
        let head = answer.get(at..at + 10)?;
        let (found, length) =
            (u16::from_be_bytes([head[0], head[1]]), u16::from_be_bytes([head[8], head[9]]));
        let data = answer.get(at + 10..at + 10 + usize::from(length))?;
        match (found == kind, data.len()) {
            (true, 4) => return Some(Ip::V4(data.try_into().ok()?)),
            (true, 16) => return Some(Ip::V6(data.try_into().ok()?, 0)),
            _ => at += 10 + usize::from(length),
        }
    }
}

/// Where a name ends: after its last label, or after a pointer (RFC 1035, 4.1.4).
fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length >= 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

/// data: `rcode=N answers=M`; ret: M.
fn report(call: &mut Call<'_>, answer: &[u8]) -> Answer {
    let [b'p', b'a', _, flags, _, _, high, low, ..] = *answer else { return Err(EPROTO) };
    let answers = u16::from_be_bytes([high, low]);
    call.data.push(b"rcode=");
    call.data.push_unsigned(u64::from(flags & 15));
    call.data.push(b" answers=");
    call.data.push_unsigned(u64::from(answers));
    Ok(i64::from(answers))
}

//! Messages of the DNS (RFC 1035, 4), read and written within bounds: a message is at most 65,535 bytes, and reading
//! takes time in proportion to it.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

pub(crate) const A: u16 = 1;
pub(crate) const CNAME: u16 = 5;
pub(crate) const PTR: u16 = 12;
pub(crate) const AAAA: u16 = 28;
pub(crate) const OPT: u16 = 41;
pub(crate) const ANY: u16 = 255;

/// The class of the Internet.
pub(crate) const IN: u16 = 1;

pub(crate) const NO_ERROR: u16 = 0;
pub(crate) const FORMAT_ERROR: u16 = 1;
pub(crate) const SERVER_FAILURE: u16 = 2;
pub(crate) const NO_SUCH_NAME: u16 = 3;
pub(crate) const NOT_IMPLEMENTED: u16 = 4;
pub(crate) const REFUSED: u16 = 5;
/// An unknown version of EDNS (RFC 6891, 6.1.3), beyond the four bits of the header.
pub(crate) const BAD_VERSION: u16 = 16;

/// The size of a datagram that passes everywhere (dnsflagday.net/2020).
pub(crate) const DATAGRAM: u16 = 1232;

/// The longest name on the wire (RFC 1035, 2.3.4).
const MAX_NAME: usize = 255;

/// The most pointers that a name is followed through.
const MAX_POINTERS: usize = 32;

/// A domain name as it stands on the wire, without compression: length, label, ..., 0.
#[derive(Clone, Debug)]
pub(crate) struct Name(Vec<u8>);

impl PartialEq for Name {
    /// Regardless of case (RFC 4343). A length is never a letter: it is below 64.
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Name {
    /// The name for the text `name`: labels of 1 to 63 bytes with dots between.
    pub(crate) fn from_text(name: &str) -> Option<Self> {
        let mut wire = Vec::with_capacity(name.len() + 2);
        for label in name.split('.') {
            let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
            wire.push(length);
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        (wire.len() <= MAX_NAME).then_some(Self(wire))
    }

    /// Its bytes on the wire.
    pub(crate) fn wire(&self) -> &[u8] {
        &self.0
    }

    /// Its labels.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (&length, after) = rest.split_first()?;
            let (label, after) = after.split_at_checked(usize::from(length))?;
            rest = after;
            (length > 0).then_some(label)
        })
    }

    /// The name as text without the final dot. Bytes that would be mistaken are escaped (RFC 1035, 5.1), so that the
    /// text is no host name unless the name is one.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for label in self.labels() {
            if !text.is_empty() {
                text.push('.');
            }
            for &byte in label {
                if byte.is_ascii_graphic() && byte != b'.' && byte != b'\\' {
                    text.push(char::from(byte));
                } else {
                    let _ = write!(text, "\\{byte:03}");
                }
            }
        }
        text
    }
}

/// Reads a message from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'m> {
    message: &'m [u8],
    at: usize,
}

impl<'m> Reader<'m> {
    /// At the first question of `message`.
    pub(crate) fn new(message: &'m [u8]) -> Option<(Header, Self)> {
        let mut reader = Self { message, at: 0 };
        let mut next = || reader.u16();
        let header = Header {
            id: next()?,
            flags: next()?,
            questions: next()?,
            answers: next()?,
            authorities: next()?,
            additional: next()?,
        };
        Some((header, reader))
    }

    fn bytes(&mut self, count: usize) -> Option<&'m [u8]> {
        let bytes = self.message.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(bytes)
    }

    fn u8(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Option<u32> {
        let high = u32::from(self.u16()?);
        Some(high << 16 | u32::from(self.u16()?))
    }

    /// A name. A pointer must lead to before the name that it is in, so that no chain of them is endless.
    fn name(&mut self) -> Option<Name> {
        let mut wire = Vec::new();
        let mut jumped = *self;
        let mut jumps = 0;
        let mut earliest = self.at;
        loop {
            let length = jumped.u8()?;
            match length >> 6 {
                0 => {
                    wire.push(length);
                    wire.extend_from_slice(jumped.bytes(usize::from(length))?);
                    if wire.len() > MAX_NAME {
                        return None;
                    }
                }
                3 => {
                    let target = usize::from(length & 0x3f) << 8 | usize::from(jumped.u8()?);
                    if jumps == 0 {
                        self.at = jumped.at;
                    }
                    jumps += 1;
                    if target >= earliest || jumps > MAX_POINTERS {
                        return None;
                    }
                    earliest = target;
                    jumped.at = target;
                    continue;
                }
                _ => return None,
            }
            if length == 0 {
                if jumps == 0 {
                    self.at = jumped.at;
                }
                return Some(Name(wire));
            }
        }
    }

    pub(crate) fn question(&mut self) -> Option<Question> {
        Some(Question { name: self.name()?, kind: self.u16()?, class: self.u16()? })
    }

    pub(crate) fn record(&mut self) -> Option<Record<'m>> {
        let (name, kind, class, ttl) = (self.name()?, self.u16()?, self.u16()?, self.u32()?);
        let length = usize::from(self.u16()?);
        let start = self.at;
        let data = self.bytes(length)?;
        Some(Record { name, kind, class, ttl, data, at: Self { message: self.message, at: start } })
    }
}

/// The first twelve bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) id: u16,
    flags: u16,
    pub(crate) questions: u16,
    pub(crate) answers: u16,
    pub(crate) authorities: u16,
    pub(crate) additional: u16,
}

impl Header {
    pub(crate) fn is_response(self) -> bool {
        self.flags & 0x8000 != 0
    }

    pub(crate) fn opcode(self) -> u16 {
        self.flags >> 11 & 15
    }

    pub(crate) fn is_truncated(self) -> bool {
        self.flags & 0x0200 != 0
    }

    pub(crate) fn code(self) -> u16 {
        self.flags & 15
    }
}

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Question {
    pub(crate) name: Name,
    pub(crate) kind: u16,
    pub(crate) class: u16,
}

/// A record of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Record<'m> {
    pub(crate) name: Name,
    pub(crate) kind: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    pub(crate) data: &'m [u8],
    at: Reader<'m>,
}

impl Record<'_> {
    /// The name that the data consists of.
    pub(crate) fn target(&self) -> Option<Name> {
        let mut at = self.at;
        let name = at.name()?;
        (at.at == self.at.at + self.data.len()).then_some(name)
    }
}

/// The question `question` with `id`, asking for recursion and offering EDNS.
pub(crate) fn query(id: u16, question: &Question) -> Vec<u8> {
    let mut message = header(id, 0x0100, [1, 0, 0, 1]);
    put_question(&mut message, question);
    put_opt(&mut message, 0);
    message
}

/// What an answer says.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    Pointer(Name),
}

/// The answer to a query with `id`: `code`, the question, and `data` about its name for `ttl` seconds.
pub(crate) fn response(
    asked: Header,
    question: Option<&Question>,
    code: u16,
    data: &[Data],
    ttl: u32,
    with_opt: bool,
) -> Vec<u8> {
    // Response; opcode and "recursion desired" as asked; recursion available.
    let flags = 0x8000 | asked.flags & 0x7900 | 0x0080 | code & 15;
    let answers = u16::try_from(data.len()).unwrap_or(0);
    let counts = [u16::from(question.is_some()), answers, 0, u16::from(with_opt)];
    let mut message = header(asked.id, flags, counts);
    if let Some(question) = question {
        put_question(&mut message, question);
    }
    for data in data {
        // The name of the question, which follows the header.
        message.extend_from_slice(&[0xc0, 12]);
        let (kind, bytes): (u16, &[u8]) = match data {
            Data::V4(address) => (A, &address.octets()),
            Data::V6(address) => (AAAA, &address.octets()),
            Data::Pointer(name) => (PTR, name.wire()),
        };
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&IN.to_be_bytes());
        message.extend_from_slice(&ttl.to_be_bytes());
        message.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(0).to_be_bytes());
        message.extend_from_slice(bytes);
    }
    if with_opt {
        put_opt(&mut message, code >> 4);
    }
    message
}

fn header(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let [questions, answers, authorities, additional] = counts;
    [id, flags, questions, answers, authorities, additional].into_iter().flat_map(u16::to_be_bytes).collect()
}

fn put_question(message: &mut Vec<u8>, question: &Question) {
    message.extend_from_slice(question.name.wire());
    message.extend_from_slice(&question.kind.to_be_bytes());
    message.extend_from_slice(&question.class.to_be_bytes());
}

/// The pseudo-record of EDNS (RFC 6891, 6.1.2), with the upper bits of a code.
fn put_opt(message: &mut Vec<u8>, code: u16) {
    message.push(0);
    message.extend_from_slice(&OPT.to_be_bytes());
    message.extend_from_slice(&DATAGRAM.to_be_bytes());
    message.push(u8::try_from(code & 0xff).unwrap_or(0));
    message.extend_from_slice(&[0, 0, 0, 0, 0]);
}

#[cfg(test)]
mod tests;

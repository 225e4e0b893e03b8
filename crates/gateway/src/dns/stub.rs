//! The resolver inside: answers at once, from what the policy says and what was answered before. It asks nobody.
//!
//! An allowed name gets one address of each family, whatever the name has outside: which of them lead anywhere is
//! found out when it is dialled. A name that does not exist outside gets them too, and a connection to it fails.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use palisade_policy::address::synthetic;
use palisade_policy::host;

use super::message::{
    A, AAAA, ANY, BAD_VERSION, Data, FORMAT_ERROR, IN, NO_ERROR, NO_SUCH_NAME, NOT_IMPLEMENTED, Name, OPT,
    PTR, Question, REFUSED, Reader, SERVER_FAILURE, response,
};
use crate::decide::{Denial, Judge};
use crate::event::Reason;
use crate::names::Names;

/// How long an answer may be remembered, in seconds. Less than [`crate::Limits::name_hold`], so that an address that
/// a program remembers still stands for its name.
pub(crate) const TTL: u32 = 10;

/// What the stub has to say beside its answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// The name got an answer.
    Answered,
    /// The policy denies the name.
    Denied(String, Denial),
    /// There are too many names.
    Full,
}

/// Answers `message`; `None`: it is no query.
pub(crate) fn answer(
    message: &[u8],
    judge: &Judge,
    names: &mut Names,
    now: Instant,
) -> Option<(Vec<u8>, Note)> {
    let (header, mut reader) = Reader::new(message)?;
    // To answer an answer would be a loop.
    if header.is_response() {
        return None;
    }
    let plain = |code, question: Option<&Question>| {
        Some((response(header, question, code, &[], 0, false), Note::Answered))
    };
    if header.opcode() != 0 {
        return plain(NOT_IMPLEMENTED, None);
    }
    if header.questions != 1 {
        return plain(FORMAT_ERROR, None);
    }
    let Some(question) = reader.question() else { return plain(FORMAT_ERROR, None) };
    let records = [header.answers, header.authorities, header.additional].map(u32::from).iter().sum();
    let Some(opt) = options(&mut reader, records) else { return plain(FORMAT_ERROR, Some(&question)) };
    if opt.is_some_and(|version| version != 0) {
        let message = response(header, Some(&question), BAD_VERSION, &[], 0, true);
        return Some((message, Note::Answered));
    }
    let (code, data, note) = if question.class == IN {
        resolve(&question, judge, names, now)
    } else {
        (REFUSED, Vec::new(), Note::Answered)
    };
    Some((response(header, Some(&question), code, &data, TTL, opt.is_some()), note))
}

/// The version of EDNS that the query speaks, if any. The outer `None`: the rest of the message is no good.
fn options(reader: &mut Reader<'_>, records: u32) -> Option<Option<u8>> {
    let mut version = None;
    for _ in 0..records {
        let record = reader.record()?;
        if record.kind == OPT {
            let [_, number, _, _] = record.ttl.to_be_bytes();
            if version.replace(number).is_some() {
                return None;
            }
        }
    }
    Some(version)
}

fn resolve(question: &Question, judge: &Judge, names: &mut Names, now: Instant) -> (u16, Vec<Data>, Note) {
    let text = question.name.text();
    if let Some(address) = reverse(&question.name) {
        let known = synthetic::index(address).and_then(|number| names.name(number));
        let Some(name) = known.and_then(|name| Name::from_text(name)) else {
            return (NO_SUCH_NAME, Vec::new(), Note::Answered);
        };
        let wanted = matches!(question.kind, PTR | ANY);
        let data = if wanted { vec![Data::Pointer(name)] } else { Vec::new() };
        return (NO_ERROR, data, Note::Answered);
    }
    let denied = |denial: Denial| (NO_SUCH_NAME, Vec::new(), Note::Denied(text.clone(), denial));
    let normal = if judge.is_case_sensitive() { Ok(text.clone()) } else { host::normalise_name(&text) };
    let Ok(name) = normal else {
        // The root is not denied to exist.
        if text.is_empty() {
            return (REFUSED, Vec::new(), Note::Answered);
        }
        return denied(Denial {
            reason: Reason::NotAName,
            clause: palisade_policy::Clause::new("network.allow"),
        });
    };
    // The sandbox's own (RFC 6761, 6.3).
    if name == "localhost" || name.ends_with(".localhost") {
        let data = addresses(question.kind, Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        return (NO_ERROR, data, Note::Answered);
    }
    if let Err(denial) = judge.name(&name) {
        return (NO_SUCH_NAME, Vec::new(), Note::Denied(name, denial));
    }
    // Nothing but addresses is known of a name: no mail exchangers, no services, no parameters of HTTPS.
    if !matches!(question.kind, A | AAAA | ANY) {
        return (NO_ERROR, Vec::new(), Note::Answered);
    }
    let number = names.assign(&name, now);
    let Some((v4, v6)) = number.and_then(|number| synthetic::v4(number).zip(synthetic::v6(number))) else {
        return (SERVER_FAILURE, Vec::new(), Note::Full);
    };
    (NO_ERROR, addresses(question.kind, v4, v6), Note::Answered)
}

fn addresses(kind: u16, v4: Ipv4Addr, v6: Ipv6Addr) -> Vec<Data> {
    match kind {
        A => vec![Data::V4(v4)],
        AAAA => vec![Data::V6(v6)],
        ANY => vec![Data::V4(v4), Data::V6(v6)],
        _ => Vec::new(),
    }
}

/// The address that a name below `in-addr.arpa` or `ip6.arpa` asks the name of.
fn reverse(name: &Name) -> Option<IpAddr> {
    let labels: Vec<&[u8]> = name.labels().collect();
    let (zone, digits) =
        labels.split_last().filter(|(top, _)| top.eq_ignore_ascii_case(b"arpa"))?.1.split_last()?;
    let text = |label: &&[u8]| std::str::from_utf8(label).ok().map(str::to_owned);
    if zone.eq_ignore_ascii_case(b"in-addr") && digits.len() == 4 {
        let octets: Option<Vec<String>> = digits.iter().rev().map(text).collect();
        return octets?.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    if zone.eq_ignore_ascii_case(b"ip6") && digits.len() == 32 {
        let mut bits = 0u128;
        for label in digits.iter().rev() {
            let digit = text(label).filter(|digit| digit.len() == 1)?;
            bits = bits << 4 | u128::from_str_radix(&digit, 16).ok()?;
        }
        return Some(IpAddr::V6(Ipv6Addr::from_bits(bits)));
    }
    None
}

#[cfg(test)]
mod tests;

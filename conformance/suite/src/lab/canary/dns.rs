//! The answer to a DNS query, from the zone of the lab. Enough for a resolver to be content, no more.

use std::collections::HashMap;
use std::net::IpAddr;

use super::zone;

/// Types of records (RFC 1035, 3.2.2; RFC 3596, 2.1).
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// Where a name that is an alias leads: to a name with the same addresses.
const TARGET: &[u8] = b"\x06target\x04test\x00";

/// How often each name was asked for an IPv4 address that is another one every time.
pub(super) type Asked = HashMap<String, u32>;

/// The answer to `query`, or nothing when it is no plain query of one question (RFC 1035, section 4).
pub(super) fn answer(query: &[u8], asked: &mut Asked) -> Option<Vec<u8>> {
    let [id0, id1, flags, _, 0, 1, 0, 0, 0, 0, _, _, ..] = *query else { return None };
    if flags & 0xf8 != 0 {
        return None;
    }
    let question_end = name_end(query, 12)?.checked_add(4)?;
    let question = query.get(12..question_end)?;
    let [kind_high, kind_low, 0, 1] = *question.get(question.len().checked_sub(4)?..)? else { return None };
    let kind = u16::from_be_bytes([kind_high, kind_low]);
    let name = text(query.get(12..question_end.checked_sub(4)?)?);
    let mut records: Vec<Vec<u8>> = Vec::new();
    // A pointer to the name of the question (RFC 1035, 4.1.4).
    let mut owner: &[u8] = &[0xc0, 12];
    if matches!(kind, A | AAAA) && zone::special_of(&name).is_some_and(|entry| entry.alias) {
        records.push(record(owner, CNAME, TARGET)?);
        owner = TARGET;
    }
    let mut addresses = zone::addresses(&name);
    if kind == A && zone::rebinds(&name) {
        let times = asked.entry(name.to_ascii_lowercase()).or_default();
        addresses = zone::rebound(*times);
        *times += 1;
    }
    for address in addresses {
        match (address, kind) {
            (IpAddr::V4(address), A) => records.push(record(owner, A, &address.octets())?),
            (IpAddr::V6(address), AAAA) => records.push(record(owner, AAAA, &address.octets())?),
            _ => {}
        }
    }
    // QR, AA, the query's RD; RA, no error.
    let count = u8::try_from(records.len()).ok()?;
    let mut reply = vec![id0, id1, 0x84 | (flags & 1), 0x80, 0, 1, 0, count, 0, 0, 0, 0];
    reply.extend_from_slice(question);
    reply.extend(records.concat());
    Some(reply)
}

/// A record of class IN that must not be kept.
fn record(owner: &[u8], kind: u16, data: &[u8]) -> Option<Vec<u8>> {
    let mut record = owner.to_vec();
    record.extend(kind.to_be_bytes());
    record.extend([0, 1, 0, 0, 0, 0]);
    record.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
    record.extend_from_slice(data);
    Some(record)
}

/// A name of a question as text, without the final dot.
fn text(mut name: &[u8]) -> String {
    let mut labels = Vec::new();
    while let [length, rest @ ..] = name {
        let Some((label, rest)) = rest.split_at_checked(usize::from(*length)).filter(|_| *length != 0) else {
            break;
        };
        labels.push(String::from_utf8_lossy(label).into_owned());
        name = rest;
    }
    labels.join(".")
}

/// The offset after the name at `at`. Compressed names do not occur in questions.
fn name_end(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(query: &[u8]) -> Option<Vec<u8>> {
        answer(query, &mut Asked::new())
    }

    fn query(kind: u8) -> Vec<u8> {
        query_for(b"\x05nonce\x04test\x00", kind)
    }

    fn query_for(name: &[u8], kind: u8) -> Vec<u8> {
        let mut q = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        q.extend_from_slice(name);
        q.extend_from_slice(&[0, kind, 0, 1]);
        q
    }

    #[test]
    fn an_address_query_is_answered_with_the_address() {
        let reply = ask(&query(1)).expect("an answer");
        assert_eq!(&reply[..8], &[0xab, 0xcd, 0x85, 0x80, 0, 1, 0, 1]);
        assert!(reply.ends_with(&[0, 4, 44, 55, 66, 80]));
        assert!(ask(&query(28)).expect("an answer").ends_with(&zone::PUBLIC_V6.octets()));
    }

    #[test]
    fn a_special_label_leads_elsewhere() {
        let reply = ask(&query_for(b"\x0ato-private\x02io\x00", 1)).expect("an answer");
        assert!(reply.ends_with(&[0, 4, 10, 1, 2, 3]));
        let reply = ask(&query_for(b"\x05mixed\x02io\x00", 1)).expect("an answer");
        assert_eq!(reply[7], 2);
        let reply = ask(&query_for(b"\x05alias\x02io\x00", 1)).expect("an answer");
        assert_eq!(reply[7], 2, "the alias and the address");
        assert!(reply.ends_with(&[0, 4, 44, 55, 66, 80]));
    }

    #[test]
    fn a_rebinding_name_leads_elsewhere_the_second_time() {
        let mut asked = Asked::new();
        let mut last = || answer(&query_for(b"\x08rebind-n\x02io\x00", 1), &mut asked).expect("an answer");
        assert!(last().ends_with(&[44, 55, 66, 80]));
        assert!(last().ends_with(&[169, 254, 169, 254]));
    }

    #[test]
    fn another_type_exists_but_is_empty() {
        assert_eq!(ask(&query(16)).expect("an answer")[6..8], [0, 0]);
    }

    #[test]
    fn what_is_no_query_is_not_answered() {
        assert_eq!(ask(b"alive 0123456789abcdef\n"), None);
        assert_eq!(ask(&query(1)[..20]), None);
        assert_eq!(ask(&[]), None);
        let mut response = query(1);
        response[2] |= 0x80;
        assert_eq!(ask(&response), None);
        let mut endless = query(1);
        endless[12] = 0xc0;
        assert_eq!(ask(&endless), None);
    }
}

//! The answer to a DNS query: every name exists. Enough for a resolver to be content, no more.

/// The address that every name has in the lab, IPv4 (TEST-NET-3).
const A: [u8; 4] = [203, 0, 113, 80];
/// The same for IPv6 (documentation prefix).
const AAAA: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80];

/// The answer to `query`, or nothing when it is no plain query of one question (RFC 1035, section 4).
pub(super) fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let [id0, id1, flags, _, 0, 1, 0, 0, 0, 0, _, _, ..] = *query else { return None };
    if flags & 0xf8 != 0 {
        return None;
    }
    let question_end = name_end(query, 12)?.checked_add(4)?;
    let question = query.get(12..question_end)?;
    let data: &[u8] = match question.get(question.len() - 4..)? {
        [0, 1, 0, 1] => &A,
        [0, 28, 0, 1] => &AAAA,
        _ => &[],
    };
    let answers = u8::from(!data.is_empty());
    // QR, AA, the query's RD; RA, no error.
    let mut reply = vec![id0, id1, 0x84 | (flags & 1), 0x80, 0, 1, 0, answers, 0, 0, 0, 0];
    reply.extend_from_slice(question);
    if !data.is_empty() {
        reply.extend_from_slice(&[0xc0, 12]);
        reply.extend_from_slice(&question[question.len() - 4..]);
        reply.extend_from_slice(&[0, 0, 0, 0, 0, u8::try_from(data.len()).ok()?]);
        reply.extend_from_slice(data);
    }
    Some(reply)
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

    fn query(kind: u8) -> Vec<u8> {
        let mut q = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        q.extend_from_slice(b"\x05nonce\x04test\x00");
        q.extend_from_slice(&[0, kind, 0, 1]);
        q
    }

    #[test]
    fn an_address_query_is_answered_with_the_address() {
        let reply = answer(&query(1)).expect("an answer");
        assert_eq!(&reply[..8], &[0xab, 0xcd, 0x85, 0x80, 0, 1, 0, 1]);
        assert!(reply.ends_with(&[0, 4, 203, 0, 113, 80]));
        assert!(answer(&query(28)).expect("an answer").ends_with(&AAAA));
    }

    #[test]
    fn another_type_exists_but_is_empty() {
        assert_eq!(answer(&query(16)).expect("an answer")[6..8], [0, 0]);
    }

    #[test]
    fn what_is_no_query_is_not_answered() {
        assert_eq!(answer(b"alive 0123456789abcdef\n"), None);
        assert_eq!(answer(&query(1)[..20]), None);
        assert_eq!(answer(&[]), None);
        let mut response = query(1);
        response[2] |= 0x80;
        assert_eq!(answer(&response), None);
        let mut endless = query(1);
        endless[12] = 0xc0;
        assert_eq!(answer(&endless), None);
    }
}

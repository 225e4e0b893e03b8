//! Internet addresses as text. Pure; the library's tests compare it with the standard library's.

/// An address without its port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ip {
    V4([u8; 4]),
    /// With the interface index of a link-local address, else 0.
    V6([u8; 16], u32),
}

impl Ip {
    /// Dotted decimal, or RFC 4291 text with an optional numeric zone (`fe80::1%2`).
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if !text.contains(&b':') {
            return v4(text).map(Ip::V4);
        }
        let mut parts = text.splitn(2, |byte| *byte == b'%');
        let address = v6(parts.next()?)?;
        let scope = match parts.next() {
            Some(zone) => decimal(zone, u32::MAX)?,
            None => 0,
        };
        Some(Ip::V6(address, scope))
    }

    /// Whether packets to it cannot leave the namespace: 127.0.0.0/8 and ::1.
    pub(crate) fn is_loopback(self) -> bool {
        match self {
            Ip::V4(octets) => octets[0] == 127,
            Ip::V6(octets, _) => octets[..15].iter().all(|octet| *octet == 0) && octets[15] == 1,
        }
    }

    /// 255.255.255.255, to which a socket must be permitted to send.
    pub(crate) fn is_broadcast(self) -> bool {
        self == Ip::V4([255; 4])
    }

    /// AF_INET or AF_INET6.
    pub(crate) fn family(self) -> u16 {
        match self {
            Ip::V4(_) => 2,
            Ip::V6(..) => 10,
        }
    }

    /// `struct sockaddr_in` or `sockaddr_in6`, and its length.
    pub(crate) fn socket_address(self, port: u16) -> ([u8; 28], usize) {
        let mut bytes = [0; 28];
        bytes[..2].copy_from_slice(&self.family().to_ne_bytes());
        bytes[2..4].copy_from_slice(&port.to_be_bytes());
        match self {
            Ip::V4(octets) => {
                bytes[4..8].copy_from_slice(&octets);
                (bytes, 16)
            }
            Ip::V6(octets, scope) => {
                bytes[8..24].copy_from_slice(&octets);
                bytes[24..28].copy_from_slice(&scope.to_ne_bytes());
                (bytes, 28)
            }
        }
    }
}

fn v4(text: &[u8]) -> Option<[u8; 4]> {
    let mut octets = [0; 4];
    let mut parts = text.split(|byte| *byte == b'.');
    for octet in &mut octets {
        let part = parts.next()?;
        // A leading zero means octal to some: no address that the suite writes needs one.
        if part.len() > 1 && part.starts_with(b"0") {
            return None;
        }
        *octet = u8::try_from(decimal(part, 255)?).ok()?;
    }
    parts.next().is_none().then_some(octets)
}

fn v6(text: &[u8]) -> Option<[u8; 16]> {
    let Some(gap) = text.windows(2).position(|pair| pair == b"::") else {
        let (groups, count) = groups(text, true)?;
        return (count == 8).then(|| octets(&groups));
    };
    let (head, head_count) = groups(&text[..gap], false)?;
    let (tail, tail_count) = groups(&text[gap + 2..], true)?;
    if head_count + tail_count > 7 {
        return None;
    }
    let mut all = head;
    all[8 - tail_count..].copy_from_slice(&tail[..tail_count]);
    Some(octets(&all))
}

/// Groups of hexadecimal digits between colons, the last perhaps a dotted IPv4 address; empty text has none.
fn groups(text: &[u8], dotted_end: bool) -> Option<([u16; 8], usize)> {
    let (mut groups, mut count) = ([0; 8], 0);
    if text.is_empty() {
        return Some((groups, 0));
    }
    let mut parts = text.split(|byte| *byte == b':').peekable();
    while let Some(part) = parts.next() {
        if dotted_end && parts.peek().is_none() && part.contains(&b'.') {
            let [a, b, c, d] = v4(part)?;
            groups
                .get_mut(count..count + 2)?
                .copy_from_slice(&[u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]);
            return Some((groups, count + 2));
        }
        *groups.get_mut(count)? = group(part)?;
        count += 1;
    }
    Some((groups, count))
}

fn group(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 4 {
        return None;
    }
    let mut value = 0_u32;
    for digit in digits {
        value = value * 16 + (*digit as char).to_digit(16)?;
    }
    u16::try_from(value).ok()
}

fn octets(groups: &[u16; 8]) -> [u8; 16] {
    let mut octets = [0; 16];
    for (pair, group) in octets.chunks_exact_mut(2).zip(groups) {
        pair.copy_from_slice(&group.to_be_bytes());
    }
    octets
}

fn decimal(digits: &[u8], most: u32) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    let mut value = 0_u32;
    for digit in digits {
        value = value.checked_mul(10)?.checked_add((*digit as char).to_digit(10)?)?;
    }
    (value <= most).then_some(value)
}

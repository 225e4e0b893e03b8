//! What clients of the proxies say: HTTP (RFC 9110, 9112) and SOCKS 5 (RFC 1928). Pure.

use std::net::Ipv6Addr;

use crate::target::Host;

/// The longest head of an HTTP request.
pub(crate) const MAX_HEAD: usize = 16 << 10;

/// A request to an HTTP proxy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Http {
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// How many bytes the head has.
    pub(crate) length: usize,
    /// The head to send on; `None` for CONNECT, which sends nothing on.
    pub(crate) head: Option<Vec<u8>>,
}

/// Reads the head of an HTTP request from the start of `bytes`. `Ok(None)`: it is not complete.
///
/// A request in absolute form is sent on in origin form, and the connection ends with it: a second request on it,
/// which could be for somebody else, goes to the same upstream or nowhere.
///
/// # Errors
///
/// The status to answer: 400 (Bad Request), 431 (Request Header Fields Too Large).
pub(crate) fn http(bytes: &[u8]) -> Result<Option<Http>, u16> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if bytes.len() > MAX_HEAD { Err(431) } else { Ok(None) };
    };
    if end > MAX_HEAD {
        return Err(431);
    }
    let (head, length) = (&bytes[..end], end + 4);
    let lines = split_lines(head).ok_or(400u16)?;
    let (first, fields) = lines.split_first().ok_or(400u16)?;
    let mut words = first.split(|&byte| byte == b' ');
    let (method, target, version) = match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some(target), Some(version), None) => (method, target, version),
        _ => return Err(400),
    };
    let is_token =
        !method.is_empty() && method.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'-');
    if !is_token || !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        return Err(400);
    }
    if method == b"CONNECT" {
        let (host, port) = Host::parse_with_port(target, None).ok_or(400u16)?;
        return Ok(Some(Http { host, port, length, head: None }));
    }
    let rest = target.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"http://"));
    let (_, rest) = rest.ok_or(400u16)?;
    let path = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path);
    let (host, port) = Host::parse_with_port(authority, Some(80)).ok_or(400u16)?;
    let mut sent = [method, b" "].concat();
    if !path.starts_with(b"/") {
        sent.push(b'/');
    }
    sent.extend_from_slice(path);
    sent.extend_from_slice(&[b" ", version, b"\r\nHost: ", authority, b"\r\nConnection: close\r\n"].concat());
    for field in fields {
        let colon = field.iter().position(|&byte| byte == b':').ok_or(400u16)?;
        let name = &field[..colon];
        if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte)) {
            return Err(400);
        }
        let dropped: [&[u8]; 6] =
            [b"host", b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"upgrade"];
        if !dropped.iter().any(|dropped| name.eq_ignore_ascii_case(dropped)) {
            sent.extend_from_slice(field);
            sent.extend_from_slice(b"\r\n");
        }
    }
    sent.extend_from_slice(b"\r\n");
    Ok(Some(Http { host, port, length, head: Some(sent) }))
}

/// The lines of a head. A CR or LF by itself, or another control character, is what smugglers use: then `None`.
fn split_lines(head: &[u8]) -> Option<Vec<&[u8]>> {
    let mut lines = Vec::new();
    let mut rest = head;
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").unwrap_or(rest.len());
        let line = &rest[..end];
        if line.iter().any(|&byte| byte != b'\t' && byte.is_ascii_control()) {
            return None;
        }
        lines.push(line);
        match rest.get(end + 2..) {
            Some(after) => rest = after,
            None => return Some(lines),
        }
    }
}

/// What a client of a SOCKS 5 proxy has said so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Socks {
    /// More is to come.
    Incomplete,
    /// It is no SOCKS 5.
    Garbage,
    /// A greeting of that length, with which methods are offered; is "no authentication" among them?
    Greeting(usize, bool),
    /// A request of that length to connect.
    Connect(usize, Host, u16),
    /// A request that is answered with that code.
    Refused(u8),
}

/// The command is not known (RFC 1928, 6).
pub(crate) const COMMAND_UNKNOWN: u8 = 7;
/// The kind of address is not known.
pub(crate) const ADDRESS_UNKNOWN: u8 = 8;
/// The rules do not allow it.
pub(crate) const NOT_ALLOWED: u8 = 2;

/// Reads a greeting.
pub(crate) fn socks_greeting(bytes: &[u8]) -> Socks {
    match bytes {
        [] | [5] => Socks::Incomplete,
        [5, count, methods @ ..] => {
            let count = usize::from(*count);
            match methods.get(..count) {
                Some(methods) => Socks::Greeting(2 + count, methods.contains(&0)),
                None => Socks::Incomplete,
            }
        }
        _ => Socks::Garbage,
    }
}

/// Reads a request.
pub(crate) fn socks_request(bytes: &[u8]) -> Socks {
    let (host, rest): (Option<Host>, &[u8]) = match bytes {
        [5, 1, 0, 1, a, b, c, d, rest @ ..] => (Some(Host::Address([*a, *b, *c, *d].into())), rest),
        [5, 1, 0, 4, address @ ..] if address.len() >= 16 => {
            let (address, rest) = address.split_at(16);
            (<[u8; 16]>::try_from(address).ok().map(|octets| Host::from(Ipv6Addr::from(octets))), rest)
        }
        [5, 1, 0, 3, length, name @ ..] if name.len() >= usize::from(*length) => {
            let (name, rest) = name.split_at(usize::from(*length));
            (Host::parse(name), rest)
        }
        [5, 1, 0, 1 | 3 | 4, ..] | [5, 1, 0] | [5, 1] | [5] | [] => return Socks::Incomplete,
        [5, 1, 0, ..] => return Socks::Refused(ADDRESS_UNKNOWN),
        [5, command, ..] if *command != 1 => return Socks::Refused(COMMAND_UNKNOWN),
        _ => return Socks::Garbage,
    };
    let [high, low, after @ ..] = rest else { return Socks::Incomplete };
    let port = u16::from_be_bytes([*high, *low]);
    match host {
        Some(host) if port != 0 => Socks::Connect(bytes.len() - after.len(), host, port),
        _ => Socks::Refused(NOT_ALLOWED),
    }
}

#[cfg(test)]
mod tests;

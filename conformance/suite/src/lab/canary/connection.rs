//! One connection of the canary: what it said, and what it is told.
//!
//! Never blocks: the event loop calls when there is something to read, and when the time is over.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::log::{Entry, Log};
use super::{Endpoint, HIT_BYTES};

/// How long a peer may stay silent before it is answered anyway.
const SILENCE: Duration = Duration::from_millis(200);
/// How long to wait for the rest of a line that has begun.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the peer has to take the answer.
const LINGER: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.read(buffer),
            Self::Unix(s) => s.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.write(bytes),
            Self::Unix(s) => s.write(bytes),
        }
    }

    fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Tcp(s) => s.shutdown(Shutdown::Write),
            Self::Unix(s) => s.shutdown(Shutdown::Write),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(s) => s.as_fd(),
            Self::Unix(s) => s.as_fd(),
        }
    }
}

/// How often a connection is read before the others have their turn.
const READS: usize = 64;

#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    /// What the answer begins with.
    preface: &'static [u8],
    entry: Entry,
    heard: Vec<u8>,
    answered: bool,
    deadline: Instant,
}

impl Connection {
    /// A connection that was accepted at `local`, and whose hit is `entry`.
    pub(super) fn new(stream: Stream, entry: Entry, local: &Endpoint) -> Self {
        let deadline = Instant::now() + SILENCE;
        Self { stream, preface: preface(local), entry, heard: Vec::new(), answered: false, deadline }
    }

    /// When [`Connection::overdue`] is to be called, unless something comes before.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Reads what is there, and answers when that is enough. False when the connection is over.
    pub(super) fn advance(&mut self, log: &Log) -> bool {
        let mut buffer = [0; HIT_BYTES];
        for _ in 0..READS {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    if !self.answered {
                        self.finish();
                    }
                    return false;
                }
                Ok(_) if self.answered => {}
                Ok(length) => {
                    if !self.hear(&buffer[..length], log) {
                        return false;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Takes bytes in. False when the peer is gone.
    fn hear(&mut self, bytes: &[u8], log: &Log) -> bool {
        let room = HIT_BYTES - self.heard.len();
        let heard = &bytes[..bytes.len().min(room)];
        self.heard.extend_from_slice(heard);
        log.extend(self.entry, heard);
        self.deadline = Instant::now() + PAUSE;
        let full = self.heard.len() == HIT_BYTES;
        // A message on a Unix socket comes in one piece.
        let whole = heard.contains(&b'\n') || matches!(self.stream, Stream::Unix(_));
        !(full || whole) || self.finish()
    }

    /// Answers a peer that has been silent long enough. False when the connection has had its time.
    pub(super) fn overdue(&mut self) -> bool {
        !self.answered && self.finish()
    }

    /// Answers, and gives the peer time to take it. False when the peer is gone.
    fn finish(&mut self) -> bool {
        self.answered = true;
        self.deadline = Instant::now() + LINGER;
        let bytes = [self.preface, &answer(&self.heard)].concat();
        // The send buffer of a fresh connection holds more than an answer: a short write cannot happen to a live peer.
        self.stream.write(&bytes).is_ok() && self.stream.shutdown_write().is_ok()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// What a listener says before `CANARY`. The C library asks nscd for every user and host name in the lab, and takes an
/// answer that it does not understand for "there is none": so the canary begins with the words of a server that does
/// not serve this (version 2, `found` -1, glibc `nscd/nscd-client.h`).
fn preface(local: &Endpoint) -> &'static [u8] {
    const NOT_SERVED: &[u8; 40] = &{
        let mut header = [0; 40];
        header[0] = 2;
        (header[4], header[5], header[6], header[7]) = (0xff, 0xff, 0xff, 0xff);
        header
    };
    match local {
        Endpoint::Path(path) if path.ends_with("nscd/socket") => NOT_SERVED,
        _ => &[],
    }
}

/// `CANARY`, then what was heard; as an HTTP answer when an HTTP request was heard.
pub(super) fn answer(heard: &[u8]) -> Vec<u8> {
    const METHODS: [&[u8]; 6] = [b"GET ", b"PUT ", b"POST ", b"HEAD ", b"CONNECT ", b"OPTIONS "];
    let mut body = b"CANARY ".to_vec();
    body.extend_from_slice(heard);
    if !body.ends_with(b"\n") {
        body.push(b'\n');
    }
    if !METHODS.iter().any(|method| heard.starts_with(method)) {
        return body;
    }
    let mut reply = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    reply.append(&mut body);
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_request_gets_an_http_answer_with_the_request_in_it() {
        let reply = String::from_utf8(answer(b"GET /nonce-7 HTTP/1.1\r\n\r\n")).expect("text");
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
        assert!(reply.contains("Content-Length: 32\r\n"), "{reply}");
        assert!(reply.ends_with("CANARY GET /nonce-7 HTTP/1.1\r\n\r\n"), "{reply}");
        assert_eq!(answer(b"plain"), b"CANARY plain\n");
        assert_eq!(answer(b""), b"CANARY \n");
    }
}

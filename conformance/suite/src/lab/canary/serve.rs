//! The event loop of the canary: one thread, one epoll, no blocking call but the wait itself.
//!
//! A connection is logged when it is accepted, answered once its first line (or 512 bytes, or a short silence) has come, and
//! then kept only until the peer closes, so that the answer is not lost to a reset. When more than [`MOST_OPEN`]
//! connections are open the oldest is closed: its hit is in the log already.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

use super::log::{Entry, Log};
use super::sockets::{Datagram, Sockets, Source, normal_address, receive, reply};
use super::{Endpoint, HIT_BYTES, Hit, Proto, dns};

/// Open connections at one time. Half of the usual descriptor limit of 1024 stays for the suite.
const MOST_OPEN: usize = 400;
/// How long a peer may stay silent before it is answered anyway.
const SILENCE: Duration = Duration::from_millis(200);
/// How long to wait for the rest of a line that has begun.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the peer has to take the answer.
const LINGER: Duration = Duration::from_secs(2);
/// How long [`Server::settle`] waits for the loop before it is held for dead.
const DEAD: Duration = Duration::from_secs(10);

const EMFILE: i32 = nix::libc::EMFILE;
const ENFILE: i32 = nix::libc::ENFILE;

/// Token of the wake-up descriptor; sources and connections count up from 0.
const WAKE: u64 = u64::MAX;

/// Handle of the loop's thread.
#[derive(Debug)]
pub(super) struct Server {
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

/// What the handle and the thread share.
#[derive(Debug)]
struct Control {
    wake: OwnedFd,
    state: Mutex<State>,
    settled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    asked: u64,
    answered: u64,
    stop: bool,
}

impl Server {
    pub(super) fn start(sockets: Sockets, log: Arc<Log>) -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let control = Arc::new(Control { wake, state: Mutex::default(), settled: Condvar::new() });
        let mut event_loop = Loop::new(sockets, log, Arc::clone(&control))?;
        let thread = thread::Builder::new().name("canary".into()).spawn(move || event_loop.run())?;
        Ok(Self { control, thread: Some(thread) })
    }

    pub(super) fn settle(&self) {
        let mut state = self.control.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked += 1;
        let mine = state.asked;
        self.control.wake();
        let (state, timeout) = self
            .control
            .settled
            .wait_timeout_while(state, DEAD, |s| s.answered < mine)
            .unwrap_or_else(PoisonError::into_inner);
        drop(state);
        assert!(!timeout.timed_out(), "the canary's loop does not answer: no verdict can be given");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.control.state.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.control.wake();
        if let Some(thread) = self.thread.take() {
            // A loop that panicked has been noticed by `settle`; nothing more can be done about it here.
            let _ = thread.join();
        }
    }
}

impl Control {
    fn wake(&self) {
        // EAGAIN means that the counter is full, so the loop is about to wake anyway.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

#[derive(Debug)]
enum Stream {
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

#[derive(Debug)]
struct Connection {
    stream: Stream,
    /// What the answer begins with.
    preface: &'static [u8],
    entry: Entry,
    heard: Vec<u8>,
    answered: bool,
    deadline: Instant,
}

struct Loop {
    epoll: OwnedFd,
    sources: Vec<Source>,
    /// By token, which grows, so the first is the oldest.
    connections: BTreeMap<u64, Connection>,
    next: u64,
    log: Arc<Log>,
    control: Arc<Control>,
}

impl Loop {
    fn new(sockets: Sockets, log: Arc<Log>, control: Arc<Control>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &control.wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        let mut token = 0;
        for source in &sockets.sources {
            let fd = match source {
                Source::Tcp(s) => s.as_fd(),
                Source::Datagram(s, ..) => s.as_fd(),
                Source::UnixStream(s, _) => s.as_fd(),
                Source::UnixDgram(s, _) => s.as_fd(),
            };
            epoll::add(&epoll, fd, EventData::new_u64(token), EventFlags::IN)?;
            token += 1;
        }
        Ok(Self { epoll, sources: sockets.sources, connections: BTreeMap::new(), next: token, log, control })
    }

    fn run(&mut self) {
        loop {
            // Cleared before the question is read: one that comes later wakes the wait below.
            let _ = rustix::io::read(&self.control.wake, &mut [0_u8; 8]);
            let asked = {
                let state = self.control.state.lock().unwrap_or_else(PoisonError::into_inner);
                if state.stop {
                    return;
                }
                state.asked
            };
            // Level-triggered and drained until nothing is left: everything queued before `asked` was read is then logged.
            while self.turn(Some(Duration::ZERO)) {}
            self.answer_settled(asked);
            let timeout = self.connections.values().map(|c| c.deadline).min();
            self.turn(timeout.map(|at| at.saturating_duration_since(Instant::now())));
            self.expire();
        }
    }

    fn answer_settled(&self, asked: u64) {
        let mut state = self.control.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.answered < asked {
            state.answered = asked;
            self.control.settled.notify_all();
        }
    }

    /// Waits for events and serves them; says whether that led anywhere.
    fn turn(&mut self, timeout: Option<Duration>) -> bool {
        // A millisecond more than the deadline, so that the turn after it does not spin.
        let timeout = timeout.map(|t| if t.is_zero() { t } else { t + Duration::from_millis(1) });
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        let mut events = Vec::with_capacity(64);
        if epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()).is_err() {
            return false; // EINTR: a signal that the suite handles
        }
        let mut busy = false;
        for event in events {
            let token = event.data.u64();
            if token == WAKE {
                continue;
            }
            busy |= match usize::try_from(token).ok().filter(|&i| i < self.sources.len()) {
                Some(index) => self.serve_source(index),
                None => self.serve_connection(token),
            }
        }
        busy
    }

    /// Serves what waits at a source; says whether anything did.
    fn serve_source(&mut self, index: usize) -> bool {
        // A bounded number at a time, so that one busy listener does not starve the others.
        let served = (0..64).take_while(|_| self.serve_once(index)).count();
        served > 0
    }

    fn serve_once(&mut self, index: usize) -> bool {
        match &self.sources[index] {
            Source::Datagram(fd, proto, port) => self.datagram(fd, *proto, *port),
            Source::UnixDgram(socket, endpoint) => self.unix_datagram(socket, endpoint),
            Source::Tcp(_) | Source::UnixStream(..) => match self.accept(index) {
                Ok(()) => true,
                // No descriptor is free: the oldest connection, whose hit is in the log, gives its own.
                Err(e) if e.raw_os_error().is_some_and(|n| n == EMFILE || n == ENFILE) => {
                    self.connections.pop_first().is_some()
                }
                // A peer that was gone before it was accepted; the next may be there.
                Err(e) => e.kind() == io::ErrorKind::ConnectionAborted,
            },
        }
    }

    fn accept(&mut self, index: usize) -> io::Result<()> {
        match &self.sources[index] {
            Source::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nonblocking(true)?;
                // The address stays with the socket even when the peer has reset the connection (seen on 6.18).
                let local = Endpoint::Inet(normal_address(stream.local_addr()?));
                self.add(Stream::Tcp(stream), Proto::Tcp, local, Some(normal_address(peer)));
            }
            Source::UnixStream(listener, endpoint) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                self.add(Stream::Unix(stream), Proto::UnixStream, endpoint.clone(), None);
            }
            Source::Datagram(..) | Source::UnixDgram(..) => {}
        }
        Ok(())
    }

    fn unix_datagram(&self, socket: &UnixDatagram, endpoint: &Endpoint) -> bool {
        let mut buffer = [0; HIT_BYTES];
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { return false };
        let heard = &buffer[..length];
        self.log.record(hit(Proto::UnixDgram, endpoint.clone(), None, heard));
        // A peer without a name cannot be answered.
        let _ = socket.send_to_addr(&answer(heard), &from);
        true
    }

    fn datagram(&self, fd: &OwnedFd, proto: Proto, port: u16) -> bool {
        let mut buffer = [0; 2048];
        let datagram: Datagram = match receive(fd, &mut buffer) {
            Ok(datagram) => datagram,
            Err(e) => return e.kind() == io::ErrorKind::InvalidData,
        };
        let heard = &buffer[..datagram.length];
        let local = Endpoint::Inet(normal_address(SocketAddr::new(datagram.local, port)));
        self.log.record(hit(proto, local, Some(normal_address(datagram.peer)), heard));
        let bytes = dns::answer(heard).filter(|_| port == 53).unwrap_or_else(|| answer(heard));
        // An answer that cannot be sent (multicast destination, closed peer) changes nothing about the hit.
        let _ = reply(fd, &datagram, &bytes);
        true
    }

    fn add(&mut self, stream: Stream, proto: Proto, local: Endpoint, peer: Option<SocketAddr>) {
        let preface = preface(&local);
        let entry = self.log.record(hit(proto, local, peer, &[]));
        while self.connections.len() >= MOST_OPEN {
            self.connections.pop_first();
        }
        let token = self.next;
        self.next += 1;
        let deadline = Instant::now() + SILENCE;
        let mut connection =
            Connection { stream, preface, entry, heard: Vec::new(), answered: false, deadline };
        // What came with the connection is read at once: when the table is full it may not get a second chance.
        if advance(&mut connection, &self.log)
            && epoll::add(&self.epoll, &connection.stream, EventData::new_u64(token), EventFlags::IN).is_ok()
        {
            self.connections.insert(token, connection);
        }
    }

    fn serve_connection(&mut self, token: u64) -> bool {
        let Some(connection) = self.connections.get_mut(&token) else { return false };
        if !advance(connection, &self.log) {
            self.connections.remove(&token);
        }
        true
    }

    /// Answers those that have been silent long enough, and lets go of those that had their time.
    fn expire(&mut self) {
        let now = Instant::now();
        self.connections.retain(|_, connection| {
            connection.deadline > now || (!connection.answered && finish(connection))
        });
    }
}

/// Reads what is there. False when the connection is over.
fn advance(connection: &mut Connection, log: &Log) -> bool {
    let mut buffer = [0; HIT_BYTES];
    loop {
        match connection.stream.read(&mut buffer) {
            Ok(0) => {
                if !connection.answered {
                    finish(connection);
                }
                return false;
            }
            Ok(_) if connection.answered => {}
            Ok(length) => {
                let room = HIT_BYTES - connection.heard.len();
                let heard = &buffer[..length.min(room)];
                connection.heard.extend_from_slice(heard);
                log.extend(connection.entry, heard);
                connection.deadline = Instant::now() + PAUSE;
                let full = connection.heard.len() == HIT_BYTES;
                let line = heard.contains(&b'\n') || matches!(connection.stream, Stream::Unix(_));
                if (full || line) && !finish(connection) {
                    return false;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

/// Answers, and gives the peer time to take it. False when the peer is gone.
fn finish(connection: &mut Connection) -> bool {
    connection.answered = true;
    connection.deadline = Instant::now() + LINGER;
    let bytes = [connection.preface, &answer(&connection.heard)].concat();
    // The send buffer of a fresh connection holds more than an answer, so a short write cannot happen to a live peer.
    connection.stream.write(&bytes).is_ok() && connection.stream.shutdown_write().is_ok()
}

fn hit(proto: Proto, local: Endpoint, peer: Option<SocketAddr>, bytes: &[u8]) -> Hit {
    let bytes = bytes[..bytes.len().min(HIT_BYTES)].to_vec();
    Hit { at: SystemTime::now(), proto, local, peer, bytes }
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
fn answer(heard: &[u8]) -> Vec<u8> {
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

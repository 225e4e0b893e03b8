//! The event loop of the canary: one thread, one epoll, no blocking call but the wait itself.
//!
//! A connection is logged when it is accepted, answered once its first line (or 512 bytes, or a short silence) has come, and
//! then kept only until the peer closes, so that the answer is not lost to a reset. When more than [`MOST_OPEN`]
//! connections are open the oldest is closed: its hit is in the log already.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

use super::connection::{Connection, Stream, answer};
use super::log::Log;
use super::sockets::{Datagram, Sockets, Source, normal_address, receive, reply};
use super::{Endpoint, HIT_BYTES, Hit, Proto, dns};

/// Open connections at one time. Half of the usual descriptor limit of 1024 stays for the suite.
const MOST_OPEN: usize = 400;
/// How long [`Server::settle`] waits for the loop before it is held for dead.
const DEAD: Duration = Duration::from_secs(10);

/// Turns in which every socket that was full before them has been emptied: 64 events a turn, 64 items an event.
const MOST_TURNS: usize = 512;

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

struct Loop {
    epoll: OwnedFd,
    sources: Vec<Source>,
    /// By token, which grows, so the first is the oldest.
    connections: BTreeMap<u64, Connection>,
    next: u64,
    log: Arc<Log>,
    control: Arc<Control>,
    asked: RefCell<dns::Asked>,
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
        let (sources, connections) = (sockets.sources, BTreeMap::new());
        Ok(Self { epoll, sources, connections, next: token, log, control, asked: RefCell::default() })
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
            // Level-triggered and drained until nothing is left: everything queued before `asked` was read is then
            // logged. Against a flood it is enough to have had more turns than full queues need.
            (0..MOST_TURNS).take_while(|_| self.turn(Some(Duration::ZERO))).for_each(drop);
            self.answer_settled(asked);
            let timeout = self.connections.values().map(Connection::deadline).min();
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

    /// The answer to a query of names, if that is what was heard at this port.
    fn named(&self, heard: &[u8], port: u16) -> Option<Vec<u8>> {
        (port == 53).then(|| dns::answer(heard, &mut self.asked.borrow_mut())).flatten()
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
        let bytes = self.named(heard, port).unwrap_or_else(|| answer(heard));
        // An answer that cannot be sent (multicast destination, closed peer) changes nothing about the hit.
        let _ = reply(fd, &datagram, &bytes);
        true
    }

    fn add(&mut self, stream: Stream, proto: Proto, local: Endpoint, peer: Option<SocketAddr>) {
        let entry = self.log.record(hit(proto, local.clone(), peer, &[]));
        while self.connections.len() >= MOST_OPEN {
            self.connections.pop_first();
        }
        let token = self.next;
        self.next += 1;
        let mut connection = Connection::new(stream, entry, &local);
        // What came with the connection is read at once: when the table is full it may not get a second chance.
        if connection.advance(&self.log)
            && epoll::add(&self.epoll, &connection, EventData::new_u64(token), EventFlags::IN).is_ok()
        {
            self.connections.insert(token, connection);
        }
    }

    fn serve_connection(&mut self, token: u64) -> bool {
        let Some(connection) = self.connections.get_mut(&token) else { return false };
        if !connection.advance(&self.log) {
            self.connections.remove(&token);
        }
        true
    }

    /// Answers those that have been silent long enough, and lets go of those that had their time.
    fn expire(&mut self) {
        let now = Instant::now();
        self.connections.retain(|_, connection| connection.deadline() > now || connection.overdue());
    }
}

fn hit(proto: Proto, local: Endpoint, peer: Option<SocketAddr>, bytes: &[u8]) -> Hit {
    let bytes = bytes[..bytes.len().min(HIT_BYTES)].to_vec();
    Hit { at: SystemTime::now(), proto, local, peer, bytes }
}

//! Listeners that answer for every address of the lab's internet and log what reached them.
//!
//! This is the far side by which "blocked" is judged. Since everything in the lab is delivered locally, what arrives here
//! *is* the evidence; there is no wire to look at besides. A hit is recorded when a connection is accepted, before
//! any byte is read, so a bare connection counts; the bytes are added as they come.
//!
//! Observable: TCP (also when dialled as fast open or as MPTCP, which fall back), UDP, UDP-Lite where the
//! kernel has it, Unix streams and datagrams, multicast datagrams of the groups in `sockets::GROUPS`. Not observable
//! here: ICMP (the kernel answers it: judge by the reply that the prober sees), SCTP (no listener) and
//! AF_VSOCK (no namespace holds it: such probes stop at `socket()`).
//!
//! The loop must never block on a peer and never hold more than a fixed number of connections and bytes.

mod connection;
mod dns;
mod log;
mod serve;
mod sockets;
mod visit;
pub mod zone;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

pub use sockets::GROUPS;
pub(super) use sockets::Sockets;

/// How something reached the canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// UDP-Lite (RFC 3828).
    UdpLite,
    /// A Unix stream socket.
    UnixStream,
    /// A Unix datagram socket.
    UnixDgram,
}

/// Where a listener of the canary was addressed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// An internet address; IPv4-mapped IPv6 is given as IPv4.
    Inet(SocketAddr),
    /// A Unix socket with a path.
    Path(PathBuf),
    /// An abstract Unix socket, by name without the leading NUL.
    Abstract(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Path(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

/// Something that reached the canary.
#[derive(Clone, Debug)]
pub struct Hit {
    /// When it was accepted or received.
    pub at: SystemTime,
    /// How it came.
    pub proto: Proto,
    /// The address that was dialled.
    pub local: Endpoint,
    /// Where it came from, for internet protocols.
    pub peer: Option<SocketAddr>,
    /// The first bytes that came with it, at most [`HIT_BYTES`]; empty for a bare connection.
    pub bytes: Vec<u8>,
}

impl Hit {
    /// True when the bytes hold `nonce`.
    pub fn carries(&self, nonce: &str) -> bool {
        !nonce.is_empty() && self.bytes.windows(nonce.len()).any(|w| w.eq_ignore_ascii_case(nonce.as_bytes()))
    }
}

/// How many bytes of a hit are read and kept.
pub const HIT_BYTES: usize = 512;

/// The running canary. Dropping it stops the listeners.
#[derive(Debug)]
pub struct Canary {
    log: Arc<log::Log>,
    server: serve::Server,
}

impl Canary {
    /// Starts to serve. Spawns one thread.
    ///
    /// # Errors
    /// When the event queue or the thread cannot be made.
    pub(super) fn start(sockets: Sockets) -> io::Result<Self> {
        let log = Arc::new(log::Log::default());
        let server = serve::Server::start(sockets, Arc::clone(&log))?;
        Ok(Self { log, server })
    }

    /// Everything that arrived and whose bytes hold `nonce` (without regard to ASCII case, as names in DNS may change
    /// it), oldest first.
    ///
    /// What was sent before the call has been looked at: the call first waits until the loop has emptied its sockets.
    pub fn hits(&self, nonce: &str) -> Vec<Hit> {
        self.settle();
        self.log.select(|hit| hit.carries(nonce))
    }

    /// Everything that arrived at `endpoint`, bare connections too, oldest first. Waits like [`Canary::hits`].
    pub fn hits_at(&self, endpoint: &Endpoint) -> Vec<Hit> {
        self.settle();
        self.log.select(|hit| hit.local == *endpoint)
    }

    /// Everything that arrived since `since`. Waits like [`Canary::hits`].
    pub fn hits_since(&self, since: SystemTime) -> Vec<Hit> {
        self.settle();
        self.log.select(|hit| hit.at >= since)
    }

    /// How many hits were not kept because the log was full. While it is not 0 silence proves nothing.
    pub fn dropped(&self) -> u64 {
        self.log.dropped()
    }

    /// Waits until everything that was queued at the listeners when the call was made is in the log.
    ///
    /// # Panics
    /// When the loop does not answer within ten seconds: the canary is dead and no verdict may be given.
    pub fn settle(&self) {
        self.server.settle();
    }

    /// Visits a listener from the lab's side with a fresh nonce, and says whether the answer held it and the log
    /// shows it at the dialled address.
    pub fn alive(&self, address: IpAddr, port: u16, proto: Proto) -> bool {
        self.alive_at(&Endpoint::Inet(SocketAddr::new(address, port)), proto)
    }

    /// [`Canary::alive`] for any endpoint.
    pub fn alive_at(&self, endpoint: &Endpoint, proto: Proto) -> bool {
        let nonce = visit::fresh_nonce();
        if visit::round_trip(endpoint, proto, &nonce).is_err() {
            return false;
        }
        let dialled = sockets::normal(endpoint);
        self.hits(&nonce).iter().any(|hit| hit.local == dialled && hit.proto == proto)
    }
}

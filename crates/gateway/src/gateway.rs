//! The handle.

use std::io;
use std::net::{SocketAddr, TcpStream};

use palisade_policy::Publish;

use crate::config::{Config, Sockets, Usage};
use crate::event::Event;

/// A running gateway. To drop it stops its thread and closes all its sockets.
#[derive(Debug)]
pub struct Gateway {}

/// A means to connect into the sandbox, for published ports.
pub trait Inside: Send {
    /// Connects to `port` on the sandbox's loopback.
    ///
    /// Called on a thread of its own, one call at a time. The socket may be non-blocking and its connection still
    /// under way.
    ///
    /// # Errors
    ///
    /// `ECONNREFUSED` where nobody listens there.
    fn connect(&self, port: u16) -> io::Result<TcpStream>;
}

impl Gateway {
    /// Serves `sockets` by `config` from a new thread, in the network namespace of the calling thread.
    ///
    /// `events` is called on that thread and must not block.
    ///
    /// # Errors
    ///
    /// Those of making a thread or an epoll instance, and sockets that are not what they should be.
    pub fn start(
        config: Config,
        sockets: Sockets,
        events: impl Fn(Event) + Send + 'static,
    ) -> io::Result<Self> {
        let _ = (config, sockets, events);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Listens outside, in the network namespace of the calling thread, and relays to ports inside. Returns the
    /// addresses listened on, in the order of `ports`: those of `to`, with a port that the kernel chose where it is 0.
    ///
    /// # Errors
    ///
    /// Those of bind(2); then nothing is published.
    pub fn publish(&self, ports: &[Publish], inside: impl Inside + 'static) -> io::Result<Vec<SocketAddr>> {
        let _ = (ports, inside);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// What the gateway holds and carried.
    pub fn usage(&self) -> Usage {
        Usage::default()
    }

    /// Stops the gateway and waits for its thread.
    pub fn stop(self) {}
}

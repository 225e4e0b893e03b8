//! The socket of a named sandbox, and who talks to it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::sockopt::socket_peercred;
use rustix::net::{SocketFlags, accept_with};
use rustix::process::geteuid;

use crate::channel::{Channel, MOST_DESCRIPTORS, Message};
use crate::registry::Claim;

/// A listening socket that only its owner can reach.
#[derive(Debug)]
pub(crate) struct Service {
    socket: OwnedFd,
    /// The name is taken as long as this lives.
    _claim: Claim,
}

impl Service {
    pub(crate) fn new(socket: OwnedFd, claim: Claim) -> Self {
        Self { socket, _claim: claim }
    }

    /// The next client, if it is who may be one: this user, or root. The directory of the socket says the same; this
    /// holds even where somebody opened that up.
    pub(crate) fn accept(&self) -> Option<Client> {
        let socket = accept_with(&self.socket, SocketFlags::CLOEXEC).ok()?;
        let peer = socket_peercred(&socket).ok()?.uid;
        (peer.is_root() || peer == geteuid()).then(|| Client::from(Channel::of(socket)))
    }
}

impl AsFd for Service {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Somebody who may start a program, send it signals, or stop the sandbox.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) channel: Channel,
    /// The number of the program that it has started.
    pub(crate) program: Option<i32>,
    pub(crate) gone: bool,
}

impl Client {
    /// Nothing more is to be heard from, or told to, this client.
    pub(crate) fn dismiss(&mut self) {
        self.gone = true;
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }
}

impl Client {
    /// Passes a message about its program on, with what came along.
    pub(crate) fn tell(&mut self, message: Message, descriptors: [Option<OwnedFd>; MOST_DESCRIPTORS]) {
        let lent: Vec<BorrowedFd<'_>> = descriptors.iter().flatten().map(AsFd::as_fd).collect();
        // A client that does not read is not worth waiting for.
        if self.channel.try_send(message, &lent).is_err() || !matches!(message, Message::Terminal { .. }) {
            self.dismiss();
        }
    }
}

/// A channel of the supervisor with one client.
impl From<Channel> for Client {
    fn from(channel: Channel) -> Self {
        Self { channel, program: None, gone: false }
    }
}

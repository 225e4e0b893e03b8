//! The one channel between a sandbox's first process and its supervisor: fixed records, some with descriptors.
//!
//! A pair of SOCK_SEQPACKET sockets (unix(7)): a record arrives whole or not at all, and either side sees the end of the
//! other. The workload never holds an end. The same records go between the supervisor of a named sandbox and its clients.
//!
//! Both directions allocate nothing, so that the first process may use them.

mod message;

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use message::SIZE;
pub(crate) use message::{FIRST, Message, Part, SocketKind, WindowSize};

/// Most descriptors that come with one record.
pub(crate) const MOST_DESCRIPTORS: usize = 4;

/// A record that arrived, with its descriptors, which are close-on-exec.
#[derive(Debug)]
pub(crate) struct Received {
    /// The record.
    pub(crate) message: Message,
    /// The descriptors, in the order in which they were sent.
    pub(crate) descriptors: [Option<OwnedFd>; MOST_DESCRIPTORS],
}

/// One end of a channel.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// Both ends of a new channel, close-on-exec.
    pub(crate) fn pair() -> Result<(Self, Self), Errno> {
        let (one, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// The end of a channel that is a socket already.
    pub(crate) fn of(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Sends a record. EPIPE when the other side is gone.
    pub(crate) fn send(&self, message: Message, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        self.send_with(message, descriptors, SendFlags::NOSIGNAL)
    }

    /// Sends a record unless that would have to wait: EAGAIN.
    pub(crate) fn try_send(&self, message: Message, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        self.send_with(message, descriptors, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }

    fn send_with(
        &self,
        message: Message,
        descriptors: &[BorrowedFd<'_>],
        flags: SendFlags,
    ) -> Result<(), Errno> {
        let bytes = message.encode();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        loop {
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
                return Err(Errno::INVAL);
            }
            match sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut control, flags) {
                Err(Errno::INTR) => {}
                other => return other.map(drop),
            }
        }
    }

    /// Receives one record, waiting for it. `None` when the other side is gone, or wrote something else than a record.
    pub(crate) fn receive(&self) -> Option<Received> {
        let mut bytes = [0; SIZE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        loop {
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut data = [IoSliceMut::new(&mut bytes)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let received = match recvmsg(&self.0, &mut data, &mut control, flags) {
                // The other side has ended with records unread, which the kernel tells once, before what it sent last.
                Err(Errno::INTR | Errno::CONNRESET) => continue,
                Err(_) => return None,
                Ok(received) => received,
            };
            let mut descriptors = [const { None }; MOST_DESCRIPTORS];
            let passed = control.drain().filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(passed) => Some(passed),
                _ => None,
            });
            for (place, descriptor) in descriptors.iter_mut().zip(passed.flatten()) {
                *place = Some(descriptor);
            }
            if received.bytes != SIZE {
                return None;
            }
            return Some(Received { message: Message::decode(&bytes)?, descriptors });
        }
    }

    /// Moves the descriptor away from the places of the standard ones.
    pub(crate) fn above_standard(self) -> Result<Self, Errno> {
        /// The first descriptor that is not a standard one.
        const FREE: RawFd = 3;
        if self.0.as_raw_fd() >= FREE {
            return Ok(self);
        }
        rustix::io::fcntl_dupfd_cloexec(&self.0, FREE).map(Self)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests;

//! Sockets of the internet families: made, connected and talked over with a limit on every wait.

use crate::address::Ip;
use crate::call::Call;
use crate::guard;
use crate::kernel::{self, Answer, EINPROGRESS, EPROTO, Errno, Fd, O_CLOEXEC, O_NONBLOCK, POLLIN, POLLOUT};

pub(crate) const SOCK_STREAM: usize = 1;
pub(crate) const SOCK_DGRAM: usize = 2;

const SOCKET: usize = 41;
const CONNECT: usize = 42;
const SENDTO: usize = 44;
const GETSOCKOPT: usize = 55;

const MSG_NOSIGNAL: usize = 0x4000;
const MSG_FASTOPEN: usize = 0x2000_0000;

/// Longest wait that an operation may ask for, in milliseconds.
const LONGEST_WAIT: i64 = 10_000;

/// Where to, and how long to wait for each answer.
pub(crate) struct Peer {
    ip: Ip,
    address: [u8; 28],
    length: usize,
    wait: u64,
}

impl Peer {
    /// Operands `first` and following: ADDR PORT. Runs the guard unless the address is a loopback address.
    pub(crate) fn of(call: &mut Call<'_>, first: usize, wait: i64) -> Result<Self, Errno> {
        let text = call.text(first)?;
        let ip = Ip::parse(text.bytes()).ok_or_else(|| call.malformed(first))?;
        let port = u16::try_from(call.number(first + 1)?).map_err(|_| call.malformed(first + 1))?;
        Self::new(call, ip, port, wait)
    }

    pub(crate) fn new(call: &mut Call<'_>, ip: Ip, port: u16, wait: i64) -> Result<Self, Errno> {
        if !ip.is_loopback() {
            guard::check(call.data)?;
        }
        let (address, length) = ip.socket_address(port);
        Ok(Self { ip, address, length, wait: wait.clamp(0, LONGEST_WAIT).unsigned_abs() })
    }

    fn socket(&self, kind: usize, protocol: usize) -> Result<Fd, Errno> {
        let flags = (O_NONBLOCK | O_CLOEXEC) as usize;
        kernel::call(SOCKET, [usize::from(self.ip.family()), kind | flags, protocol])
    }

    /// Connects a stream socket, sends `text` and reports what comes back. An error of the connection is the error of
    /// the operation; once connected it succeeds.
    pub(crate) fn stream(
        &self,
        call: &mut Call<'_>,
        protocol: usize,
        fast_open: bool,
        text: &[u8],
    ) -> Answer {
        let fd = self.socket(SOCK_STREAM, protocol)?;
        let connected = if fast_open { self.fast_open(fd, text) } else { self.connect(fd).map(|()| 0) };
        if let Ok(sent) = connected {
            // From here on the far side has been reached, whatever becomes of the rest.
            let _ = send(fd, &text[sent.min(text.len())..]).and_then(|_| self.reply(call, fd));
        }
        kernel::close(fd);
        connected.map(|_| 0)
    }

    /// Connects a stream socket, sends `text` and reports the answer. Whoever stands between may accept a connection that
    /// goes nowhere: only an answer shows that the far side was reached.
    pub(crate) fn talk(&self, call: &mut Call<'_>, text: &[u8]) -> Answer {
        let fd = self.socket(SOCK_STREAM, 0)?;
        let mut answer = [0; 512];
        let heard = self
            .connect(fd)
            .and_then(|()| send(fd, text))
            .and_then(|_| kernel::await_ready(fd, POLLIN, self.wait))
            .and_then(|()| kernel::read(fd, &mut answer));
        kernel::close(fd);
        match heard? {
            0 => Err(EPROTO),
            count => {
                call.data.push(&answer[..count]);
                Ok(0)
            }
        }
    }

    /// Sends one datagram from a connected socket and reports the answer. Returns its length.
    pub(crate) fn datagram(&self, call: &mut Call<'_>, protocol: usize, text: &[u8]) -> Answer {
        let mut answer = [0; 2048];
        let count = self.exchange(protocol, text, &mut answer)?;
        call.data.push(&answer[..count]);
        Ok(count as i64)
    }

    /// Sends one datagram and receives one.
    pub(crate) fn exchange(&self, protocol: usize, text: &[u8], answer: &mut [u8]) -> Result<usize, Errno> {
        let fd = self.socket(SOCK_DGRAM, protocol)?;
        self.permit_broadcast(fd);
        let received = self
            .connect(fd)
            .and_then(|()| send(fd, text))
            .and_then(|_| kernel::await_ready(fd, POLLIN, self.wait))
            .and_then(|()| kernel::read(fd, answer));
        kernel::close(fd);
        received
    }

    /// Without it a broadcast address is refused by the socket itself, and that would look like a sandbox. Whether the
    /// option is denied is not what is being asked.
    fn permit_broadcast(&self, fd: Fd) {
        const SETSOCKOPT: usize = 54;
        const SOL_SOCKET: usize = 1;
        const SO_BROADCAST: usize = 6;
        let mut on = 1_u32;
        if self.ip.is_broadcast() {
            let _ =
                kernel::call(SETSOCKOPT, [fd, SOL_SOCKET, SO_BROADCAST, crate::raw::address_of(&mut on), 4]);
        }
    }

    fn connect(&self, fd: Fd) -> Result<(), Errno> {
        match kernel::call(CONNECT, [fd, self.address.as_ptr() as usize, self.length]) {
            Err(EINPROGRESS) => self.connected(fd),
            other => other.map(drop),
        }
    }

    /// The result of a connection that was begun.
    fn connected(&self, fd: Fd) -> Result<(), Errno> {
        const SOL_SOCKET: usize = 1;
        const SO_ERROR: usize = 4;
        kernel::await_ready(fd, POLLOUT, self.wait)?;
        let (mut error, mut length) = (0_u32, 4_u32);
        let operands = [
            fd,
            SOL_SOCKET,
            SO_ERROR,
            crate::raw::address_of(&mut error),
            crate::raw::address_of(&mut length),
        ];
        kernel::call(GETSOCKOPT, operands)?;
        if error == 0 { Ok(()) } else { Err(Errno(error as u16)) }
    }

    /// Connects by sendto(MSG_FASTOPEN). Returns how much of the text went with it.
    fn fast_open(&self, fd: Fd, text: &[u8]) -> Result<usize, Errno> {
        let flags = MSG_FASTOPEN | MSG_NOSIGNAL;
        let operands =
            [fd, text.as_ptr() as usize, text.len(), flags, self.address.as_ptr() as usize, self.length];
        match kernel::call(SENDTO, operands) {
            Err(EINPROGRESS) => self.connected(fd).map(|()| 0),
            Ok(sent) => self.connected(fd).map(|()| sent),
            Err(error) => Err(error),
        }
    }

    fn reply(&self, call: &mut Call<'_>, fd: Fd) -> Result<(), Errno> {
        let mut answer = [0; 512];
        kernel::await_ready(fd, POLLIN, self.wait)?;
        let count = kernel::read(fd, &mut answer)?;
        call.data.push(&answer[..count]);
        Ok(())
    }
}

/// send(2) without SIGPIPE.
pub(crate) fn send(fd: Fd, bytes: &[u8]) -> Result<usize, Errno> {
    kernel::call(SENDTO, [fd, bytes.as_ptr() as usize, bytes.len(), MSG_NOSIGNAL, 0, 0])
}

//! Carries bytes between two connected sockets, by splice(2): they stay in the kernel.
//!
//! The end of one direction is passed on as the end of that direction alone; a reset is passed on as a reset. A pipe is
//! taken from the pool when there is something to carry and given back when it is empty, so that an idle connection
//! costs its two sockets and nothing else. Where there is no pipe to be had, or splice refuses, a direction copies.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::sys::socket::{MsgFlags, setsockopt, sockopt};
use nix::unistd::pipe2;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::tell::Counters;

/// The size of a pipe (pipe(7)), and so how much is asked for at once.
const SMALL: usize = 64 << 10;

/// The size that a pipe grows to when it was full: fewer turns for whoever moves much.
const LARGE: usize = 256 << 10;

/// How much a direction that copies holds.
const COPY: usize = 16 << 10;

/// How many pieces a direction carries before others have their turn.
const TURN: usize = 16;

/// Pipes, for whoever has something to carry.
#[derive(Debug)]
pub(crate) struct Pipes {
    limit: usize,
    made: Cell<usize>,
    free: RefCell<Vec<Pipe>>,
    counters: std::sync::Arc<Counters>,
}

#[derive(Debug)]
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    size: usize,
    may_grow: bool,
}

impl Pipe {
    /// Grows, once. Refused (EPERM) to a user who has many already: then it stays as it is.
    fn grow(&mut self) {
        let wanted = i32::try_from(LARGE).unwrap_or(i32::MAX);
        if fcntl(&self.writer, FcntlArg::F_SETPIPE_SZ(wanted)).is_ok() {
            self.size = LARGE;
        }
        self.may_grow = false;
    }
}

impl Pipes {
    pub(crate) fn new(limit: usize, counters: std::sync::Arc<Counters>) -> Self {
        Self { limit, made: Cell::new(0), free: RefCell::default(), counters }
    }

    fn take(&self) -> Option<Pipe> {
        if let Some(pipe) = self.free.borrow_mut().pop() {
            return Some(pipe);
        }
        if self.made.get() >= self.limit {
            return None;
        }
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).ok()?;
        self.made.set(self.made.get() + 1);
        self.count();
        Some(Pipe { reader, writer, size: SMALL, may_grow: true })
    }

    fn count(&self) {
        self.counters.pipes.store(self.made.get(), Ordering::Relaxed);
    }
}

/// A pipe in use. Given back only when it is empty: what it holds belongs to one connection.
struct Loan<'p> {
    pipes: &'p Pipes,
    pipe: Option<Pipe>,
    held: usize,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        match self.pipe.take() {
            Some(pipe) if self.held == 0 => self.pipes.free.borrow_mut().push(pipe),
            _ => {
                self.pipes.made.set(self.pipes.made.get().saturating_sub(1));
                self.pipes.count();
            }
        }
    }
}

/// Makes the end of `stream` a reset, and ends it.
pub(crate) fn reset(stream: TcpStream) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    // Fails on no connected socket; the stream ends anyhow.
    let _ = setsockopt(&stream, sockopt::Linger, &linger);
    drop(stream);
}

/// Carries bytes between `inside` and `outside` until both directions have ended, or one of the two is reset: then
/// both are.
pub(crate) async fn relay(inside: TcpStream, outside: TcpStream, pipes: &Rc<Pipes>) {
    for stream in [&inside, &outside] {
        let _ = stream.set_nodelay(true);
    }
    let counters = &pipes.counters;
    let result = {
        let both = async {
            tokio::try_join!(
                carry(&inside, &outside, pipes, &counters.sent),
                carry(&outside, &inside, pipes, &counters.received)
            )
        };
        // A reset is to be noticed while a direction waits for the other side, too.
        tokio::select! {
            biased;
            result = both => result.map(|_| ()),
            error = failure(&inside) => Err(error),
            error = failure(&outside) => Err(error),
        }
    };
    if result.is_err() {
        reset(inside);
        reset(outside);
    }
}

/// Waits until `stream` is reset.
async fn failure(stream: &TcpStream) -> io::Error {
    loop {
        if let Err(error) = stream.ready(Interest::ERROR).await {
            return error;
        }
        match stream.take_error() {
            Ok(Some(error)) | Err(error) => return error,
            // Both directions have ended, or somebody else has read the error: the carrying finds out.
            Ok(None) => std::future::pending::<()>().await,
        }
    }
}

/// Carries bytes from `from` to `to` until their end.
async fn carry(from: &TcpStream, to: &TcpStream, pipes: &Pipes, count: &AtomicU64) -> io::Result<()> {
    let mut splices = true;
    loop {
        from.readable().await?;
        let pipe = if splices { pipes.take() } else { None };
        let ended = match pipe {
            Some(pipe) => {
                let mut loan = Loan { pipes, pipe: Some(pipe), held: 0 };
                match spliced(from, to, &mut loan, count).await {
                    // Some sockets and some filters do not splice.
                    Err(error) if loan.held == 0 && error.raw_os_error() == Some(Errno::EINVAL as i32) => {
                        splices = false;
                        continue;
                    }
                    result => result?,
                }
            }
            None => copied(from, to, count).await?,
        };
        if ended {
            nix::sys::socket::shutdown(
                std::os::fd::AsRawFd::as_raw_fd(to),
                nix::sys::socket::Shutdown::Write,
            )
            .or_else(|error| if error == Errno::ENOTCONN { Ok(()) } else { Err(error) })?;
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

/// Carries what there is through a pipe. Whether `from` has ended; else it has nothing more for now.
async fn spliced(
    from: &TcpStream,
    to: &TcpStream,
    loan: &mut Loan<'_>,
    count: &AtomicU64,
) -> io::Result<bool> {
    let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
    for _ in 0..TURN {
        let Some(pipe) = &mut loan.pipe else { return Err(Errno::EPIPE.into()) };
        let size = pipe.size;
        let read = from.try_io(Interest::READABLE, || {
            Ok(splice(from.as_fd(), None, pipe.writer.as_fd(), None, size, flags)?)
        });
        loan.held = match read {
            Ok(0) => return Ok(true),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        let wants_more = pipe.may_grow && loan.held == size;
        while loan.held > 0 {
            let Some(pipe) = &loan.pipe else { return Err(Errno::EPIPE.into()) };
            let held = loan.held;
            let written = to
                .async_io(Interest::WRITABLE, || {
                    Ok(splice(pipe.reader.as_fd(), None, to.as_fd(), None, held, flags)?)
                })
                .await?;
            loan.held = loan.held.saturating_sub(written);
            count.fetch_add(u64::try_from(written).unwrap_or(0), Ordering::Relaxed);
        }
        // Empty now: the kernel does not copy what is in it.
        if let Some(pipe) = loan.pipe.as_mut().filter(|_| wants_more) {
            pipe.grow();
        }
    }
    Ok(false)
}

/// [`spliced`] with a buffer.
async fn copied(from: &TcpStream, to: &TcpStream, count: &AtomicU64) -> io::Result<bool> {
    let mut buffer = vec![0; COPY];
    let length = match from.try_read(&mut buffer) {
        Ok(0) => return Ok(true),
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
        Err(error) => return Err(error),
    };
    send_all(to, &buffer[..length]).await?;
    count.fetch_add(u64::try_from(length).unwrap_or(0), Ordering::Relaxed);
    Ok(false)
}

/// Sends all of `bytes`, without a signal where the other side is gone.
pub(crate) async fn send_all(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = to
            .async_io(Interest::WRITABLE, || {
                let fd = std::os::fd::AsRawFd::as_raw_fd(to);
                Ok(nix::sys::socket::send(fd, bytes, MsgFlags::MSG_NOSIGNAL)?)
            })
            .await?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

//! Carries bytes between two connected sockets.
//!
//! Bytes are copied to the other socket before they are taken from the first: what cannot be sent yet stays in the
//! kernel, where the sender's window bounds it, and a connection that waits costs its two sockets and nothing else. The
//! end of one direction is passed on as the end of that direction alone; a reset is passed on as a reset.
//!
//! Not by splice(2): a socket fed from a pipe gets segments of at most 17 pages (`MAX_SKB_FRAGS`), one fed by a copy gets
//! as much as its interface takes. That saves more than the copies cost.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, setsockopt, shutdown, sockopt};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::crew::{Crew, Hand};
use crate::tell::Counters;

/// How much is carried at once, where there is as much.
const PIECE: usize = 1 << 20;

/// How much memory for pieces is kept when a connection ends.
const KEPT: usize = 64 << 10;

/// How many pieces a direction carries before others have their turn.
const TURN: usize = 4;

/// A connection that has carried as much in one direction is expected to carry more.
const MUCH: u64 = 4 << 20;

thread_local! {
    /// What a piece is copied by, and how far pieces have reached in it. Nobody keeps it while waiting.
    static PIECE_OF_THREAD: RefCell<Piece> = const { RefCell::new(Piece { bytes: Vec::new(), reached: 0 }) };
}

struct Piece {
    bytes: Vec<u8>,
    reached: usize,
}

/// Two connected sockets, and which directions between them are done: all that there is to know about a connection.
#[derive(Debug)]
pub(crate) struct Pair<S> {
    pub(crate) inside: S,
    pub(crate) outside: S,
    pub(crate) is_sent: Cell<bool>,
    pub(crate) is_received: Cell<bool>,
}

impl<S> Pair<S> {
    pub(crate) fn map<T>(self, change: impl Fn(S) -> io::Result<T>) -> io::Result<Pair<T>> {
        let Self { inside, outside, is_sent, is_received } = self;
        Ok(Pair { inside: change(inside)?, outside: change(outside)?, is_sent, is_received })
    }
}

/// Why a connection is not carried on here.
enum Stop {
    /// One of the two sockets was reset, or is no more.
    Failed,
    /// Somebody else is to carry on.
    Moved(Hand),
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Self::Failed
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
/// both are. A connection that carries much while others do goes on by another hand of the crew.
pub(crate) async fn relay(inside: TcpStream, outside: TcpStream, crew: &Rc<Crew>) {
    for stream in [&inside, &outside] {
        let _ = stream.set_nodelay(true);
    }
    let pair = Pair { inside, outside, is_sent: Cell::new(false), is_received: Cell::new(false) };
    let place = OnceCell::new();
    let other = || match place.get() {
        Some(_) => None,
        None => crew.place().map(|here| place.set(here)).err(),
    };
    if let Some((pair, hand)) = carry_both(pair, crew.counters(), other).await {
        hand.carry(pair).await;
    }
}

/// [`relay`], to its end.
pub(crate) async fn carry_on(pair: Pair<TcpStream>, counters: &Counters) {
    carry_both(pair, counters, || None).await;
}

/// Carries both directions of `pair` to their end, or until `other` names a hand that is to go on.
async fn carry_both(
    pair: Pair<TcpStream>,
    counters: &Counters,
    other: impl Fn() -> Option<Hand>,
) -> Option<(Pair<TcpStream>, Hand)> {
    let Pair { inside, outside, is_sent, is_received } = &pair;
    let result = {
        let both = async {
            tokio::try_join!(
                carry(inside, outside, is_sent, &counters.sent, &other),
                carry(outside, inside, is_received, &counters.received, &other)
            )
        };
        // A reset is to be noticed while a direction waits for the other side, too.
        tokio::select! {
            biased;
            result = both => result.map(|_| ()),
            error = failure(inside) => Err(error.into()),
            error = failure(outside) => Err(error.into()),
        }
    };
    // What one has needed is not kept for the next, which may never come.
    PIECE_OF_THREAD.with_borrow_mut(|piece| {
        if piece.reached > KEPT {
            *piece = Piece { bytes: Vec::new(), reached: 0 };
        }
    });
    match result {
        Ok(()) => None,
        Err(Stop::Moved(hand)) => Some((pair, hand)),
        Err(Stop::Failed) => {
            reset(pair.inside);
            reset(pair.outside);
            None
        }
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
async fn carry(
    from: &TcpStream,
    to: &TcpStream,
    is_done: &Cell<bool>,
    count: &AtomicU64,
    other: &impl Fn() -> Option<Hand>,
) -> Result<(), Stop> {
    let mut carried = 0;
    while !is_done.get() {
        from.readable().await?;
        to.writable().await?;
        for _ in 0..TURN {
            match PIECE_OF_THREAD.with_borrow_mut(|piece| carry_piece(from, to, piece)) {
                Ok(0) => {
                    match shutdown(to.as_raw_fd(), Shutdown::Write) {
                        Ok(()) | Err(Errno::ENOTCONN) => {}
                        Err(errno) => return Err(io::Error::from(errno).into()),
                    }
                    is_done.set(true);
                    break;
                }
                Ok(length) => {
                    carried += length;
                    count.fetch_add(length, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        if carried >= MUCH
            && let Some(hand) = other()
        {
            return Err(Stop::Moved(hand));
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Carries what there is, at most a piece. How many bytes: 0 at their end.
///
/// # Errors
/// `WouldBlock` where `from` has nothing or `to` takes nothing; what the kernel says of the sockets.
fn carry_piece(from: &TcpStream, to: &TcpStream, piece: &mut Piece) -> io::Result<u64> {
    if piece.bytes.is_empty() {
        // Zeroed by the kernel, page by page as pieces reach it.
        piece.bytes = vec![0; PIECE];
    }
    let bytes = &mut piece.bytes;
    let there = from.try_io(Interest::READABLE, || Ok(recv(from.as_raw_fd(), bytes, MsgFlags::MSG_PEEK)?))?;
    piece.reached = piece.reached.max(there);
    let sent = to.try_io(Interest::WRITABLE, || try_send(to, bytes.get(..there).unwrap_or_default()))?;
    // Those are taken away, without a copy (tcp(7), MSG_TRUNC).
    let taken = bytes.get_mut(..sent).unwrap_or_default();
    let mut left = taken.len();
    while left > 0 {
        left -= recv(from.as_raw_fd(), &mut taken[..left], MsgFlags::MSG_TRUNC)?.min(left);
    }
    Ok(u64::try_from(sent).unwrap_or(0))
}

/// Sends what `to` takes now, without a signal where the other side is gone.
fn try_send(to: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(send(to.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)?)
}

/// Sends all of `bytes`.
pub(crate) async fn send_all(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = to.async_io(Interest::WRITABLE, || try_send(to, bytes)).await?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

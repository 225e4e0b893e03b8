//! Carries bytes between a program's descriptors and its caller's, without ever waiting for one of them alone.
//!
//! A relay reads only when it has nothing left to write, so that a slow reader slows the program down and nothing piles
//! up. What a program writes beyond the budget of its sandbox is read and dropped: it runs on, and its host stays healthy.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// How much is written at once to a descriptor that is shared with others: what a pipe takes without waiting when it
/// is ready at all (PIPE_BUF, pipe(7)). The mode of a shared descriptor is not ours to change.
const SHARED_CHUNK: usize = 4096;

/// What happened to one stream of output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// How many bytes the program wrote, dropped ones included.
    pub bytes: u64,
    /// Whether some were dropped because the budget was used up. An exact fit drops nothing.
    pub truncated: bool,
    /// What was kept, where it was asked for.
    pub captured: Option<Vec<u8>>,
}

/// How many bytes may still be passed on, over all streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget(Option<u64>);

impl Budget {
    pub(crate) fn new(bytes: Option<u64>) -> Self {
        Self(bytes)
    }

    /// How many of `wanted` bytes are granted.
    fn take(&mut self, wanted: usize) -> usize {
        let Some(left) = &mut self.0 else { return wanted };
        let granted = usize::try_from(*left).map_or(wanted, |left| left.min(wanted));
        *left -= granted as u64;
        granted
    }
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the program.
    In,
    /// From the program's standard output.
    Out,
    /// From its standard error.
    Err,
}

/// Where the bytes go.
#[derive(Debug)]
enum Sink {
    /// To this descriptor, at most so many bytes at once.
    Descriptor(OwnedFd, usize),
    /// Nowhere: they are only kept, or the reader is gone.
    Nowhere,
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) way: Way,
    from: Option<OwnedFd>,
    sink: Sink,
    pending: Vec<u8>,
    written: usize,
    pub(crate) stream: Stream,
}

impl Relay {
    /// From one descriptor to another. The destination's mode stays as it is.
    pub(crate) fn new(way: Way, from: OwnedFd, to: OwnedFd) -> Self {
        Self::with(way, from, Sink::Descriptor(to, SHARED_CHUNK), None)
    }

    /// From a descriptor into memory.
    pub(crate) fn capturing(way: Way, from: OwnedFd) -> Self {
        Self::with(way, from, Sink::Nowhere, Some(Vec::new()))
    }

    /// From one descriptor to another, and into memory.
    pub(crate) fn copying(way: Way, from: OwnedFd, to: OwnedFd) -> Self {
        Self::with(way, from, Sink::Descriptor(to, SHARED_CHUNK), Some(Vec::new()))
    }

    /// To a descriptor that nobody else uses, and that never waits.
    pub(crate) fn into_own(way: Way, from: OwnedFd, to: OwnedFd) -> Result<Self, Errno> {
        never_wait(&to)?;
        Ok(Self::with(way, from, Sink::Descriptor(to, CHUNK), None))
    }

    fn with(way: Way, from: OwnedFd, sink: Sink, captured: Option<Vec<u8>>) -> Self {
        let stream = Stream { captured, ..Stream::default() };
        Self { way, from: Some(from), sink, pending: Vec::new(), written: 0, stream }
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_done(&self) -> bool {
        self.from.is_none() && self.pending.is_empty()
    }

    /// What to wait for.
    pub(crate) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match (&self.sink, &self.from) {
            (Sink::Descriptor(to, _), _) if !self.pending.is_empty() => Some((to.as_fd(), PollFlags::OUT)),
            (_, Some(from)) => Some((from.as_fd(), PollFlags::IN)),
            (_, None) => None,
        }
    }

    /// Does what can be done now, once, without waiting.
    pub(crate) fn advance(&mut self, budget: &mut Budget) {
        if self.pending.is_empty() {
            self.read(budget);
        }
        if !self.pending.is_empty() {
            self.write();
        }
    }

    fn read(&mut self, budget: &mut Budget) {
        let Some(from) = &self.from else { return };
        let mut chunk = [0; CHUNK];
        let read = match rustix::io::read(from, &mut chunk) {
            Ok(0) => return self.from = None,
            Ok(read) => read,
            Err(Errno::INTR | Errno::AGAIN) => return,
            // EIO: the other side of a terminal is gone, or this process may not read its own.
            Err(_) => return self.from = None,
        };
        self.stream.bytes += read as u64;
        let granted = if self.way == Way::In { read } else { budget.take(read) };
        self.stream.truncated |= granted < read;
        let kept = chunk.get(..granted).unwrap_or_default();
        if let Some(captured) = &mut self.stream.captured {
            captured.extend_from_slice(kept);
        }
        if matches!(self.sink, Sink::Descriptor(..)) {
            self.pending.extend_from_slice(kept);
        }
    }

    fn write(&mut self) {
        let Sink::Descriptor(to, most) = &self.sink else { return };
        let rest = self.pending.get(self.written..).unwrap_or_default();
        match rustix::io::write(to, rest.get(..*most).unwrap_or(rest)) {
            Ok(written) => {
                self.written += written;
                if self.written >= self.pending.len() {
                    self.pending.clear();
                    self.written = 0;
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            // The reader is gone. The program is to notice as it would without a relay: by SIGPIPE.
            Err(_) => {
                self.sink = Sink::Nowhere;
                self.pending.clear();
                self.from = None;
            }
        }
    }
}

/// A pipe whose reading end, this side's, never waits: (reading end, writing end).
pub(crate) fn output_pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
    never_wait(&reading)?;
    Ok((reading, writing))
}

/// Makes a descriptor that nobody else shares non-blocking.
pub(crate) fn never_wait(descriptor: impl AsFd) -> Result<(), Errno> {
    let flags = fcntl_getfl(&descriptor)?;
    fcntl_setfl(&descriptor, flags | OFlags::NONBLOCK)
}

/// Reads both to their ends, side by side, into memory.
pub(crate) fn read_both(
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
) -> Result<[Option<Vec<u8>>; 2], Errno> {
    let mut relays = [(Way::Out, stdout), (Way::Err, stderr)].map(|(way, from)| {
        let relay = |from| never_wait(&from).map(|()| Relay::capturing(way, from));
        from.map(relay).transpose()
    });
    let mut budget = Budget::new(None);
    loop {
        let mut reading: Vec<&mut Relay> =
            relays.iter_mut().flatten().flatten().filter(|relay| !relay.is_done()).collect();
        if reading.is_empty() {
            break;
        }
        let mut waiting: Vec<PollFd<'_>> = reading
            .iter()
            .filter_map(|relay| relay.interest())
            .map(|(descriptor, flags)| PollFd::from_borrowed_fd(descriptor, flags))
            .collect();
        match poll(&mut waiting, None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        drop(waiting);
        // None of them waits: reading one that has nothing is harmless.
        reading.iter_mut().for_each(|relay| relay.advance(&mut budget));
    }
    let [stdout, stderr] = relays;
    let captured = |relay: Option<Relay>| relay.and_then(|relay| relay.stream.captured);
    Ok([captured(stdout?), captured(stderr?)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(relay: &mut Relay, budget: &mut Budget) {
        while !relay.is_done() {
            relay.advance(budget);
        }
    }

    fn pipe_with_content(content: &[u8]) -> OwnedFd {
        let (reading, writing) = output_pipe().expect("a pipe");
        assert_eq!(rustix::io::write(&writing, content), Ok(content.len()));
        reading
    }

    #[test]
    fn an_exact_fit_is_not_truncated_and_one_byte_more_is() {
        for (content, truncated) in [(&b"12345"[..], false), (b"123456", true)] {
            let mut budget = Budget::new(Some(5));
            let mut relay = Relay::capturing(Way::Out, pipe_with_content(content));
            run(&mut relay, &mut budget);
            assert_eq!(relay.stream.truncated, truncated);
            assert_eq!(relay.stream.captured.as_deref(), Some(&b"12345"[..]));
            assert_eq!(relay.stream.bytes, content.len() as u64);
        }
    }

    #[test]
    fn both_streams_draw_on_one_budget() {
        let mut budget = Budget::new(Some(4));
        let mut out = Relay::capturing(Way::Out, pipe_with_content(b"\0\xff\n"));
        let mut err = Relay::capturing(Way::Err, pipe_with_content(b"abc"));
        run(&mut out, &mut budget);
        run(&mut err, &mut budget);
        assert_eq!(out.stream.captured.as_deref(), Some(&b"\0\xff\n"[..]));
        assert_eq!((out.stream.truncated, err.stream.truncated), (false, true));
        assert_eq!(err.stream.captured.as_deref(), Some(&b"a"[..]));
    }

    #[test]
    fn a_reader_that_went_away_closes_the_programs_end() {
        let (theirs, programs) = output_pipe().expect("a pipe");
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        drop(reader);
        rustix::io::write(&programs, b"x").expect("written");
        let mut relay = Relay::new(Way::Out, theirs, writer);
        // `std` ignores SIGPIPE, in tests too.
        relay.advance(&mut Budget::new(None));
        assert!(relay.is_done());
        assert_eq!(rustix::io::write(&programs, b"y"), Err(Errno::PIPE));
    }
}

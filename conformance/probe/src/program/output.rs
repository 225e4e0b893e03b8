//! What the probe says: one line an event on descriptor 1, in one write(2) each.
//!
//! Must never be used by an operation: observations leave through the engine, so that a line always belongs
//! to the statement that is running.

use crate::buffer::Buffer;
use crate::decode::Phase;
use crate::kernel::{self, Answer};

/// Most bytes of data that one observation carries.
pub(crate) const DATA_BYTES: usize = 2048;

/// The data of one observation.
pub(crate) type Data = Buffer<DATA_BYTES>;

type Line = Buffer<{ 2 * DATA_BYTES + 256 }>;

/// Writes events that carry one nonce.
#[derive(Clone, Copy)]
pub(crate) struct Output<'n> {
    pub(crate) nonce: &'n [u8],
}

impl Output<'_> {
    pub(crate) fn attempt(self, index: usize, phase: Phase) {
        let mut line = self.begin(b"ATTEMPT ");
        line.push_unsigned(index as u64);
        line.push(b" ");
        line.push(phase.letter());
        emit(line);
    }

    pub(crate) fn observed(self, index: usize, phase: Phase, answer: Answer, data: &[u8]) {
        let mut line = self.begin(b"OBSERVED ");
        line.push_unsigned(index as u64);
        line.push(b" ");
        line.push(phase.letter());
        let (result, error) = answer.map_or_else(|error| (-1, error.0), |result| (result, 0));
        line.push(b" ret=");
        line.push_signed(result);
        line.push(b" errno=");
        line.push_unsigned(u64::from(error));
        line.push(b" data=");
        if data.is_empty() {
            line.push(b"-");
        } else {
            line.push_hex_bytes(data);
        }
        emit(line);
    }

    /// `what` is `exit`, `signal` or `nofork`.
    pub(crate) fn ended(self, what: &[u8], value: u64) {
        let mut line = self.begin(b"ENDED a ");
        line.push(what);
        line.push(b"=");
        line.push_unsigned(value);
        emit(line);
    }

    pub(crate) fn done(self) {
        emit(self.begin(b"DONE"));
    }

    fn begin(self, event: &[u8]) -> Line {
        Line::of(&[b"PALISADE ", self.nonce, b" ", event])
    }
}

fn emit(mut line: Line) {
    line.push(b"\n");
    let mut rest = line.as_slice();
    // A second write only where the first was short (a full pipe); an error means that nobody listens.
    while !rest.is_empty() {
        match kernel::write(1, rest) {
            Ok(count) => rest = &rest[count.min(rest.len())..],
            Err(kernel::EINTR) => {}
            Err(_) => return,
        }
    }
}

//! One statement while it runs: its operands, the results before it, and the data that it reports.

use core::mem;

use crate::buffer::Terminated;
use crate::decode::{self, Piece, Problem, Statement};
use crate::kernel::{Answer, Errno};
use crate::output::Data;
use crate::raw::Strings;
use crate::refusal;

/// Memory below 4 GiB that is handed out and never taken back: what the kernel was told once stays valid.
pub(crate) struct Arena {
    rest: &'static mut [u8],
}

impl Arena {
    pub(crate) fn new(memory: &'static mut [u8]) -> Self {
        Self { rest: memory }
    }

    /// `count` zeroed bytes at a multiple of 16; at least one, so that every operand has its own address.
    pub(crate) fn take(&mut self, count: usize) -> Option<&'static mut [u8]> {
        let padded = count.max(1).next_multiple_of(16);
        let rest = mem::take(&mut self.rest);
        if padded > rest.len() {
            self.rest = rest;
            return None;
        }
        let (taken, rest) = rest.split_at_mut(padded);
        self.rest = rest;
        Some(&mut taken[..count])
    }

    /// A copy of `bytes` with a NUL behind them.
    pub(crate) fn terminated(&mut self, bytes: &[u8]) -> Option<Terminated<'static>> {
        let room = self.take(bytes.len() + 1)?;
        room[..bytes.len()].copy_from_slice(bytes);
        Terminated::new(room)
    }
}

/// What an operation works with.
pub(crate) struct Call<'m> {
    pub(crate) statement: Statement<'static>,
    pub(crate) results: &'m [Option<i64>],
    pub(crate) nonce: Terminated<'static>,
    pub(crate) environment: Strings,
    pub(crate) arena: &'m mut Arena,
    pub(crate) data: &'m mut Data,
}

/// Longest decoded text operand.
const TEXT_BYTES: usize = 4096;

impl Call<'_> {
    pub(crate) fn word(&self, index: usize) -> Option<&'static [u8]> {
        self.statement.operands().nth(index)
    }

    pub(crate) fn has(&self, index: usize) -> bool {
        self.word(index).is_some()
    }

    /// An integer, `null`, `bad` or `$K`.
    pub(crate) fn number(&mut self, index: usize) -> Answer {
        let word = self.word(index).ok_or_else(|| self.missing(index))?;
        let value = match word {
            b"null" => Ok(0),
            b"bad" => Ok(8),
            [b'$', rest @ ..] => decode::result(rest, &|index| self.result(index)),
            _ => decode::integer(word).ok_or(Problem::Malformed),
        };
        value.map_err(|problem| self.refuse(problem, index))
    }

    pub(crate) fn number_or(&mut self, index: usize, default: i64) -> Answer {
        if self.has(index) { self.number(index) } else { Ok(default) }
    }

    /// A number as the kernel takes it: negative ones by their bits.
    pub(crate) fn operand(&mut self, index: usize) -> Result<usize, Errno> {
        Ok(self.number(index)?.cast_unsigned() as usize)
    }

    /// A percent-decoded text, with or without the `@` that begins it; `nonce` stands for the nonce and
    /// `$K` for a result in decimal.
    pub(crate) fn text(&mut self, index: usize) -> Result<Terminated<'static>, Errno> {
        let word = self.word(index).ok_or_else(|| self.missing(index))?;
        self.decoded(word).map_err(|problem| self.refuse(problem, index))
    }

    pub(crate) fn decoded(&mut self, word: &[u8]) -> Result<Terminated<'static>, Problem> {
        let mut text = crate::buffer::Buffer::<TEXT_BYTES>::new();
        match word {
            b"nonce" => return Ok(self.nonce),
            [b'$', rest @ ..] => text.push_signed(decode::result(rest, &|index| self.result(index))?),
            [b'@', word @ ..] | word => decode::percent(
                word,
                |index| self.result(index),
                |piece| match piece {
                    Piece::Byte(byte) => text.push(&[byte]),
                    Piece::Number(number) => text.push_signed(number),
                    Piece::Nonce => text.push(self.nonce.bytes()),
                },
            )?,
        }
        self.arena.terminated(text.as_slice()).ok_or(Problem::Malformed)
    }

    /// All operands from `first` on, as texts; at most `N`.
    pub(crate) fn texts<const N: usize>(
        &mut self,
        first: usize,
    ) -> Result<[Option<Terminated<'static>>; N], Errno> {
        let mut texts = [None; N];
        for (offset, text) in texts.iter_mut().enumerate() {
            if self.has(first + offset) {
                *text = Some(self.text(first + offset)?);
            }
        }
        if self.has(first + N) {
            return Err(self.refuse(Problem::Malformed, first + N));
        }
        Ok(texts)
    }

    /// Whether operand `index` is this word, with or without `@`.
    pub(crate) fn says(&self, index: usize, expected: &[u8]) -> bool {
        self.word(index).is_some_and(|word| word.strip_prefix(b"@").unwrap_or(word) == expected)
    }

    /// Refuses operand `index`.
    pub(crate) fn malformed(&mut self, index: usize) -> Errno {
        self.refuse(Problem::Malformed, index)
    }

    /// For an operation of several calls: where one fails, the data is the name of the step.
    pub(crate) fn step<T>(&mut self, name: &[u8], result: Result<T, Errno>) -> Result<T, Errno> {
        if result.is_err() {
            self.data.clear();
            self.data.push(name);
        }
        result
    }

    /// The result of an earlier statement of this process; `None` where it failed.
    pub(crate) fn result(&self, index: usize) -> Option<i64> {
        self.results.get(index).copied().flatten()
    }

    /// Turns a problem with operand `index` into the error and the data that say so.
    pub(crate) fn refuse(&mut self, problem: Problem, index: usize) -> Errno {
        let (what, error) = match problem {
            Problem::Malformed => (&b"malformed operand "[..], refusal::BAD_OPERAND),
            Problem::NoResult => (&b"no result for operand "[..], refusal::DEPENDENCY),
        };
        self.data.clear();
        self.data.push(what);
        self.data.push_unsigned(index as u64);
        Errno(error)
    }

    fn missing(&mut self, index: usize) -> Errno {
        self.data.clear();
        self.data.push(b"missing operand ");
        self.data.push_unsigned(index as u64);
        Errno(refusal::BAD_OPERAND)
    }
}

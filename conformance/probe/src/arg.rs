//! Operands of statements, and how they are written. Offered to others by [`script`](crate::script).

use std::fmt::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// A part of a structure in memory, see [`memory`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Bytes as they are.
    Bytes(Vec<u8>),
    /// The 8 bytes of an operand, usually a pointer to another buffer.
    Word(Arg),
}

/// A part of a text, see [`text`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes as they are.
    Bytes(Vec<u8>),
    /// The result of a statement, in decimal.
    Result(usize),
    /// The nonce of the run.
    Nonce,
}

/// An operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A signed integer.
    Int(i64),
    /// An integer that does not fit into `Int`, or that reads better in hexadecimal.
    Uint(u64),
    /// The pointer 8: EFAULT wherever it is dereferenced.
    Bad,
    /// The null pointer.
    Null,
    /// The nonce of the run.
    Nonce,
    /// A pointer to a NUL-terminated text (`sys`), or a text (named operations).
    Text(Vec<Piece>),
    /// A pointer to that many zeroed, writable bytes, at most 4096. Its contents are reported.
    Buffer(u16),
    /// A pointer to these bytes.
    Memory(Vec<Cell>),
    /// The result of the statement with that number; the observation is
    /// [`DEPENDENCY`](crate::refusal::DEPENDENCY) where it failed.
    Result(usize),
}

/// The pointer 8: EFAULT wherever it is dereferenced.
pub const BAD: Arg = Arg::Bad;
/// The null pointer.
pub const NULL: Arg = Arg::Null;
/// The nonce of the run.
pub const NONCE: Arg = Arg::Nonce;

/// A pointer to `size` zeroed bytes (at most 4096), whose contents are reported.
pub fn buffer(size: u16) -> Arg {
    Arg::Buffer(size)
}

/// The result of statement `index`, counted from 0 over the whole script.
pub fn result(index: usize) -> Arg {
    Arg::Result(index)
}

/// An integer written in hexadecimal, all 64 bits of it.
pub fn bits(value: u64) -> Arg {
    Arg::Uint(value)
}

/// A pointer to these bytes.
pub fn bytes(bytes: impl AsRef<[u8]>) -> Arg {
    memory([Cell::Bytes(bytes.as_ref().to_vec())])
}

/// A pointer to a structure of bytes and of pointers to other operands.
pub fn memory(cells: impl IntoIterator<Item = Cell>) -> Arg {
    Arg::Memory(cells.into_iter().collect())
}

/// A text with results in it: `text([Piece::from("/proc/"), Piece::Result(0), Piece::from("/root")])`.
pub fn text(pieces: impl IntoIterator<Item = Piece>) -> Arg {
    Arg::Text(pieces.into_iter().collect())
}

impl From<&str> for Piece {
    fn from(text: &str) -> Self {
        Piece::Bytes(text.as_bytes().to_vec())
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Arg::from(text.as_bytes())
    }
}

impl From<&String> for Arg {
    fn from(text: &String) -> Self {
        Arg::from(text.as_bytes())
    }
}

impl From<String> for Arg {
    fn from(text: String) -> Self {
        Arg::from(text.as_bytes())
    }
}

impl From<&Path> for Arg {
    fn from(path: &Path) -> Self {
        Arg::from(path.as_os_str().as_bytes())
    }
}

impl From<&[u8]> for Arg {
    fn from(text: &[u8]) -> Self {
        Arg::Text(vec![Piece::Bytes(text.to_vec())])
    }
}

macro_rules! from_integer {
    ($($integer:ty => $variant:ident),+) => {$(
        impl From<$integer> for Arg {
            fn from(value: $integer) -> Self {
                Arg::$variant(value.into())
            }
        }
    )+};
}

from_integer!(i16 => Int, u16 => Int, i32 => Int, u32 => Int, i64 => Int, u64 => Uint);

impl fmt::Display for Arg {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arg::Int(value) => write!(out, "{value}"),
            Arg::Uint(value) => write!(out, "{value:#x}"),
            Arg::Bad => out.write_str("bad"),
            Arg::Null => out.write_str("null"),
            Arg::Nonce => out.write_str("nonce"),
            Arg::Buffer(size) => write!(out, "#{size}"),
            Arg::Result(index) => write!(out, "${index}"),
            Arg::Text(pieces) => {
                out.write_char('@')?;
                pieces.iter().try_for_each(|piece| match piece {
                    Piece::Bytes(bytes) => percent(out, bytes),
                    Piece::Result(index) => write!(out, "%{{{index}}}"),
                    Piece::Nonce => out.write_str("%{n}"),
                })
            }
            Arg::Memory(cells) => {
                out.write_char('=')?;
                cells.iter().try_for_each(|cell| match cell {
                    Cell::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}")),
                    Cell::Word(word) => write!(out, "[{word}]"),
                })
            }
        }
    }
}

/// Encodes what would end a word, be decoded, close a structure's cell, or not survive as text.
fn percent(out: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| match byte {
        b'%' | b'[' | b']' => write!(out, "%{byte:02x}"),
        0x21..=0x7e => out.write_char(char::from(*byte)),
        _ => write!(out, "%{byte:02x}"),
    })
}

/// The statements whose results an operand uses.
pub(crate) fn results_in(arg: &Arg) -> Vec<usize> {
    match arg {
        Arg::Result(index) => vec![*index],
        Arg::Text(pieces) => pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Result(index) => Some(*index),
                Piece::Bytes(_) | Piece::Nonce => None,
            })
            .collect(),
        Arg::Memory(cells) => cells
            .iter()
            .flat_map(|cell| match cell {
                Cell::Word(word) => results_in(word),
                Cell::Bytes(_) => Vec::new(),
            })
            .collect(),
        _ => Vec::new(),
    }
}

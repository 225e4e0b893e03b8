//! The text of a statement: `PHASE:OP ARG ARG...`. Pure; the library's tests compile it too.

/// When a statement runs and what its failure means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Setup,
    Control,
    Attempt,
}

impl Phase {
    pub(crate) fn letter(self) -> &'static [u8] {
        match self {
            Phase::Setup => b"s",
            Phase::Control => b"c",
            Phase::Attempt => b"a",
        }
    }
}

/// A statement taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Statement<'t> {
    pub(crate) phase: Phase,
    pub(crate) operation: &'t [u8],
    operands: &'t [u8],
}

impl<'t> Statement<'t> {
    pub(crate) fn parse(text: &'t [u8]) -> Option<Self> {
        let (phase, rest) = match text {
            [b's', b':', rest @ ..] => (Phase::Setup, rest),
            [b'c', b':', rest @ ..] => (Phase::Control, rest),
            [b'a', b':', rest @ ..] => (Phase::Attempt, rest),
            _ => return None,
        };
        let mut words = rest.splitn(2, |byte| *byte == b' ');
        let operation = words.next()?;
        let operands = words.next().unwrap_or(b"");
        (!operation.is_empty()).then_some(Self { phase, operation, operands })
    }

    pub(crate) fn operands(self) -> impl Iterator<Item = &'t [u8]> {
        self.operands.split(|byte| *byte == b' ').filter(|word| !word.is_empty())
    }
}

/// Why a word has no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Problem {
    /// It does not have the form that it must have.
    Malformed,
    /// It names the result of a statement that has none.
    NoResult,
}

/// A decimal or 0x integer, signed or not, of 64 bits; what exceeds `i64::MAX` wraps to the same bits.
pub(crate) fn integer(word: &[u8]) -> Option<i64> {
    let (negative, digits) = match word {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, word),
    };
    let (radix, digits) = match digits {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        _ => (10, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0_u64;
    for digit in digits {
        let digit = (*digit as char).to_digit(radix)?;
        value = value.checked_mul(u64::from(radix))?.checked_add(u64::from(digit))?;
    }
    if negative { 0_i64.checked_sub_unsigned(value) } else { Some(value.cast_signed()) }
}

/// Percent-decodes `word` into `sink`. `%{K}` stands for the result of statement K in decimal, `%{n}` for the nonce: a raw percent
/// sign is always written `%25`, so that the two cannot be confused.
pub(crate) fn percent(
    word: &[u8],
    results: impl Fn(usize) -> Option<i64>,
    mut sink: impl FnMut(Piece),
) -> Result<(), Problem> {
    let mut rest = word;
    loop {
        match rest {
            [] => return Ok(()),
            [b'%', b'{', b'n', b'}', tail @ ..] => {
                sink(Piece::Nonce);
                rest = tail;
            }
            [b'%', b'{', tail @ ..] => {
                let end = tail.iter().position(|byte| *byte == b'}').ok_or(Problem::Malformed)?;
                sink(Piece::Number(result(&tail[..end], &results)?));
                rest = &tail[end + 1..];
            }
            [b'%', high, low, tail @ ..] => {
                sink(Piece::Byte(hex_pair(*high, *low).ok_or(Problem::Malformed)?));
                rest = tail;
            }
            [b'%', ..] => return Err(Problem::Malformed),
            [byte, tail @ ..] => {
                sink(Piece::Byte(*byte));
                rest = tail;
            }
        }
    }
}

/// What decoding yields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Piece {
    Byte(u8),
    Number(i64),
    Nonce,
}

/// The result that `$K` (here without the dollar) names.
pub(crate) fn result(word: &[u8], results: &impl Fn(usize) -> Option<i64>) -> Result<i64, Problem> {
    let index = integer(word).and_then(|index| usize::try_from(index).ok()).ok_or(Problem::Malformed)?;
    results(index).ok_or(Problem::NoResult)
}

pub(crate) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let (high, low) = ((high as char).to_digit(16)?, (low as char).to_digit(16)?);
    u8::try_from(high * 16 + low).ok()
}

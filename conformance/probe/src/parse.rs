//! Statements from text that a person wrote: `read_file /etc/passwd`, `sys 165 bad bad bad 0 bad`.
//!
//! The forms are those that the program reads itself (see [`script`](crate::script)), and stricter: what the program would
//! refuse while it runs is refused here, and so is what it would take for something else than was meant.

use std::str;

use crate::arg::{Arg, Cell, Piece};
use crate::script::{Phase, ScriptError, Statement};

impl Statement {
    /// The statement that `text` is in this phase: the name of an operation, and operands one or more spaces apart.
    ///
    /// # Errors
    /// An unknown operation, too few or too many operands, or an operand that is none.
    pub fn parse(phase: Phase, text: &str) -> Result<Self, ScriptError> {
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        let operation = words.next().unwrap_or_default();
        // These take pointers: a word without a mark would be a misspelt constant more often than a text.
        let marked = matches!(operation, "sys" | "sys32");
        let operands = words.map(|word| {
            operand(word, marked).map_err(|why| ScriptError::Operand { operand: word.to_owned(), why })
        });
        let statement = operands
            .collect::<Result<Vec<Arg>, _>>()?
            .into_iter()
            .fold(Self::new(phase, operation), Self::arg);
        statement.check()?;
        Ok(statement)
    }
}

/// The operand that `word` is; where texts are `marked`, only one that begins with `@` is a text.
fn operand(word: &str, marked: bool) -> Result<Arg, &'static str> {
    match word.as_bytes() {
        b"bad" => Ok(Arg::Bad),
        b"null" => Ok(Arg::Null),
        b"nonce" => Ok(Arg::Nonce),
        [b'@', text @ ..] => pieces(text).map(Arg::Text),
        [b'$', index @ ..] => {
            number(index).map(Arg::Result).ok_or("the number of a statement stands after $")
        }
        [b'#', size @ ..] => {
            number(size).map(Arg::Buffer).ok_or("the size of a buffer, in bytes, stands after #")
        }
        [b'=', cells @ ..] => memory(cells).map(Arg::Memory),
        _ => match integer(word) {
            Some(integer) => integer,
            None if marked => Err("not a number; texts begin with @"),
            None => pieces(word.as_bytes()).map(Arg::Text),
        },
    }
}

/// `None` for what does not look like a number.
fn integer(word: &str) -> Option<Result<Arg, &'static str>> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    if let Some(hexadecimal) = word.strip_prefix("0x") {
        return u64::from_str_radix(hexadecimal, 16).ok().map(|bits| Ok(Arg::Uint(bits)));
    }
    // An address or a name may begin with a digit; `010` may be meant in octal, or be a text.
    match word.parse::<i64>() {
        Ok(value) if value.to_string() == word => Some(Ok(Arg::Int(value))),
        Ok(_) => Some(Err("a number is written without leading zeros; a text of digits begins with @")),
        Err(_) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(Err("a number of more than 64 bits"))
        }
        Err(_) => None,
    }
}

fn number<N: str::FromStr>(digits: &[u8]) -> Option<N> {
    let plain = digits.first().is_some_and(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
}

/// A text with its percent signs: `%20`, `%{K}`, `%{n}`.
fn pieces(text: &[u8]) -> Result<Vec<Piece>, &'static str> {
    const WRONG: &str = "after % stand two hexadecimal digits, {n}, or the number of a statement in braces";
    let mut pieces = Vec::new();
    let mut bytes = Vec::new();
    let mut rest = text;
    loop {
        let (piece, tail) = match rest {
            [] => break,
            [b'%', b'{', tail @ ..] => {
                let end = tail.iter().position(|byte| *byte == b'}').ok_or(WRONG)?;
                let (inner, tail) = (&tail[..end], &tail[end + 1..]);
                let piece = if inner == b"n" { Some(Piece::Nonce) } else { number(inner).map(Piece::Result) };
                (piece.ok_or(WRONG)?, tail)
            }
            [b'%', tail @ ..] => {
                let (byte, tail) = hex(tail).ok_or(WRONG)?;
                bytes.push(byte);
                rest = tail;
                continue;
            }
            [byte, tail @ ..] => {
                bytes.push(*byte);
                rest = tail;
                continue;
            }
        };
        if !bytes.is_empty() {
            pieces.push(Piece::Bytes(std::mem::take(&mut bytes)));
        }
        pieces.push(piece);
        rest = tail;
    }
    if !bytes.is_empty() {
        pieces.push(Piece::Bytes(bytes));
    }
    Ok(pieces)
}

/// Hexadecimal digits, with operands in brackets among them.
fn memory(text: &[u8]) -> Result<Vec<Cell>, &'static str> {
    const WRONG: &str = "after = stand pairs of hexadecimal digits, and operands in brackets";
    let mut cells = Vec::new();
    let mut bytes = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let [b'[', tail @ ..] = rest {
            let end = tail.iter().position(|byte| *byte == b']').ok_or(WRONG)?;
            let word = str::from_utf8(&tail[..end]).map_err(|_| WRONG)?;
            if word.contains('[') {
                return Err(WRONG);
            }
            if !bytes.is_empty() {
                cells.push(Cell::Bytes(std::mem::take(&mut bytes)));
            }
            cells.push(Cell::Word(operand(word, true)?));
            rest = &tail[end + 1..];
        } else {
            let (byte, tail) = hex(rest).ok_or(WRONG)?;
            bytes.push(byte);
            rest = tail;
        }
    }
    if !bytes.is_empty() {
        cells.push(Cell::Bytes(bytes));
    }
    Ok(cells)
}

fn hex(text: &[u8]) -> Option<(u8, &[u8])> {
    let (pair, rest) = text.split_at_checked(2)?;
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(pair[0])? * 16 + digit(pair[1])?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{BAD, NONCE, NULL, bits, buffer, memory, result, text};
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<Statement, String> {
        Statement::parse(Phase::Attempt, text).map_err(|error| error.to_string())
    }

    #[test]
    fn every_form_of_an_operand_is_read() {
        let link = text([Piece::from("/proc/"), Piece::Result(0), Piece::from("/a b"), Piece::Nonce]);
        let cells =
            [Cell::Bytes(vec![0xff, 0]), Cell::Word(BAD), Cell::Word(Arg::from("a]")), Cell::Bytes(vec![1])];
        let all = Statement::attempt("sys")
            .arg(-1)
            .arg(bits(0xff))
            .arg(BAD)
            .arg(NULL)
            .arg(NONCE)
            .arg(link)
            .arg(memory(cells));
        assert_eq!(
            parsed("sys -1 0xff bad null  nonce @/proc/%{0}/a%20b%{n} =ff00[bad][@a%5d]01"),
            Ok(all.clone())
        );
        assert_eq!(parsed(all.to_string().trim_start_matches("a:")), Ok(all));
        let some = Statement::attempt("sys").arg(0).arg(result(3)).arg(buffer(16));
        assert_eq!(parsed("sys 0 $3 #16"), Ok(some));
    }

    #[test]
    fn a_named_operation_takes_texts_without_a_mark() {
        assert_eq!(parsed("read_file /etc/passwd"), Ok(Statement::attempt("read_file").arg("/etc/passwd")));
        let talk = Statement::attempt("tcp").arg("192.0.2.1").arg(80).arg(NONCE).arg(500);
        assert_eq!(parsed("tcp 192.0.2.1 80 nonce 500"), Ok(talk));
    }

    #[test]
    fn what_is_no_operand_is_refused() {
        for (wrong, why) in [
            ("", "the probe has no operation \"\""),
            ("reed_file /x", "the probe has no operation \"reed_file\""),
            ("read_file", "read_file takes \"PATH [MAX]\", not 0 operands"),
            ("sys O_RDONLY", "operand \"O_RDONLY\": not a number; texts begin with @"),
            (
                "sys 0 =0",
                "operand \"=0\": after = stand pairs of hexadecimal digits, and operands in brackets",
            ),
            ("sys 0 $x", "operand \"$x\": the number of a statement stands after $"),
            ("sys 0 #-1", "operand \"#-1\": the size of a buffer, in bytes, stands after #"),
            ("sys 99999999999999999999", "operand \"99999999999999999999\": a number of more than 64 bits"),
            (
                "write_file /x 007",
                "operand \"007\": a number is written without leading zeros; a text of digits begins with @",
            ),
            (
                "read_file /a%2",
                "operand \"/a%2\": after % stand two hexadecimal digits, {n}, or the number of a statement in braces",
            ),
        ] {
            assert_eq!(parsed(wrong), Err(why.to_owned()), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes in prop::collection::vec(any::<u8>(), 1..60), value in any::<i64>()) {
            let cells = [Cell::Word(Arg::from(bytes.as_slice())), Cell::Word(Arg::Int(value))];
            let statement = Statement::attempt("sys").arg(value).arg(bytes.as_slice()).arg(memory(cells));
            let written = statement.to_string();
            prop_assert_eq!(parsed(written.trim_start_matches("a:")), Ok(statement));
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,60}") {
            let _ = Statement::parse(Phase::Setup, &text);
            let _ = Statement::parse(Phase::Setup, &format!("sys ={text}"));
        }
    }
}

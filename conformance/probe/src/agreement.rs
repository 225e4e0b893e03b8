//! Tests that the two sides of the language agree: what `script` writes, the program's `decode` reads.

use crate::decode::{self, Piece as Decoded, Problem};
use crate::script::{Arg, Piece, Statement};
use proptest::prelude::*;

fn decoded(word: &str, results: &[Option<i64>]) -> Result<Vec<u8>, Problem> {
    let word = word.strip_prefix('@').expect("a text begins with @");
    let mut bytes = Vec::new();
    let lookup = |index: usize| results.get(index).copied().flatten();
    decode::percent(word.as_bytes(), lookup, |piece| match piece {
        Decoded::Byte(byte) => bytes.push(byte),
        Decoded::Nonce => bytes.extend_from_slice(b"n0nce"),
        Decoded::Number(number) => bytes.extend_from_slice(number.to_string().as_bytes()),
    })?;
    Ok(bytes)
}

proptest! {
    #[test]
    fn every_text_survives(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let word = Arg::from(bytes.as_slice()).to_string();
        prop_assert!(word.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "{word}");
        prop_assert_eq!(decoded(&word, &[]), Ok(bytes));
    }

    #[test]
    fn every_integer_survives(value in any::<i64>(), bits in any::<u64>()) {
        prop_assert_eq!(decode::integer(Arg::from(value).to_string().as_bytes()), Some(value));
        prop_assert_eq!(decode::integer(Arg::from(bits).to_string().as_bytes()), Some(bits.cast_signed()));
        prop_assert_eq!(decode::integer(bits.to_string().as_bytes()), Some(bits.cast_signed()));
    }

    #[test]
    fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode::percent(&bytes, |_| None, |_| ());
        let _ = decode::integer(&bytes);
        if let Some(statement) = decode::Statement::parse(&bytes) {
            statement.operands().for_each(drop);
        }
    }
}

#[test]
fn results_are_filled_in() {
    let pieces = [Piece::from("/proc/"), Piece::Result(1), Piece::from("/a %")];
    let word = crate::script::text(pieces).to_string();
    assert_eq!(word, "@/proc/%{1}/a%20%25");
    assert_eq!(decoded(&word, &[None, Some(-7)]), Ok(b"/proc/-7/a %".to_vec()));
    assert_eq!(decoded(&word, &[None, None]), Err(Problem::NoResult));
}

#[test]
fn malformed_words_are_refused() {
    for word in ["@%", "@%4", "@%zz", "@%{", "@%{1", "@%{x}"] {
        assert_eq!(decoded(word, &[Some(0), Some(0)]), Err(Problem::Malformed), "{word}");
    }
    for word in ["", "-", "0x", "1z", "--1", "18446744073709551616", "-9223372036854775809"] {
        assert_eq!(decode::integer(word.as_bytes()), None, "{word}");
    }
    assert_eq!(decode::integer(b"-0x10"), Some(-16));
}

#[test]
fn statements_are_taken_apart() {
    let text = Statement::control("open").arg("/a b").arg(0).to_string();
    let parsed = decode::Statement::parse(text.as_bytes()).expect("parses");
    assert_eq!(parsed.phase, decode::Phase::Control);
    assert_eq!(parsed.operation, b"open");
    assert_eq!(parsed.operands().collect::<Vec<_>>(), [&b"@/a%20b"[..], b"0"]);
    for text in ["", "a", "a:", "x:sys", "sys 1", "a: sys"] {
        assert_eq!(decode::Statement::parse(text.as_bytes()), None, "{text:?}");
    }
}

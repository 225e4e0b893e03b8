//! Bytes of a workload, made harmless to a terminal.

use std::fmt::Write as _;

/// Printable ASCII as it is; everything else, and the backslash and the double quote, as an escape.
///
/// What a workload prints is hostile: a control sequence in it must not reach the reader's terminal.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            b'"' => text.push_str("\\\""),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::escape;
    use proptest::prelude::*;

    #[test]
    fn a_terminal_sequence_is_spelled_out() {
        assert_eq!(escape(b"\x1b[31mred\x07\xff\n"), "\\x1b[31mred\\x07\\xff\\n");
    }

    proptest! {
        #[test]
        fn only_printable_ascii_comes_out(bytes: Vec<u8>) {
            prop_assert!(escape(&bytes).bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
    }
}

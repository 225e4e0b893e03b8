//! Text of a policy file made safe for a terminal.

use std::fmt::Write as _;

/// The longest quotation, in characters.
const MAX_QUOTED: usize = 64;

/// Whether a terminal might obey `character`, hide it or reorder text around it, instead of showing it.
pub(crate) fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Appends `character` to `line`, escaped as `\u{1b}` where [`is_deceptive`].
fn push(line: &mut String, character: char) {
    if is_deceptive(character) {
        // Writing to a string cannot fail.
        let _ = write!(line, "{}", character.escape_unicode());
    } else {
        line.push(character);
    }
}

/// `text` on one line, without control, invisible or reordering characters.
pub(super) fn escaped(text: &str) -> String {
    let mut line = String::new();
    text.chars().for_each(|character| push(&mut line, character));
    line
}

/// `text` on one line, without control, invisible or reordering characters, and cut after 64 characters.
pub fn printable(text: &str) -> String {
    let mut line = String::new();
    let mut characters = text.chars();
    for character in characters.by_ref().take(MAX_QUOTED) {
        push(&mut line, character);
    }
    if characters.next().is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("plain, ünïcode", "plain, ünïcode")]
    #[case("\x1b[2J", "\\u{1b}[2J")]
    #[case("a\nb\0", "a\\u{a}b\\u{0}")]
    #[case("txt.\u{202e}gpj", "txt.\\u{202e}gpj")]
    fn escapes_what_a_terminal_would_obey(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(printable(text), shown);
    }

    #[test]
    fn cuts_long_text() {
        assert_eq!(printable(&"x".repeat(64)), "x".repeat(64));
        assert_eq!(printable(&"x".repeat(65)), format!("{}…", "x".repeat(64)));
    }

    proptest! {
        #[test]
        fn never_lets_a_deceptive_character_through(text: String) {
            prop_assert!(!printable(&text).chars().any(is_deceptive));
        }
    }
}

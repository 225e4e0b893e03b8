//! Characters that have no place in a policy file, wherever they stand.
//!
//! A reviewer must see what the parser sees: no control bytes, no invisible characters, nothing that reorders the
//! line, in values as in comments. Indentation is by spaces, as YAML has it.

use crate::diagnostic::{Diagnostic, is_deceptive};
use crate::limits;

/// The problems of `text`, and how many more there are.
pub(crate) fn screen(text: &str) -> (Vec<Diagnostic>, usize) {
    let mut problems = Vec::new();
    let mut omitted = 0;
    let mut is_indentation = true;
    let mut characters = text.char_indices().peekable();
    while let Some((start, character)) = characters.next() {
        let is_bad = match character {
            '\t' => is_indentation,
            '\n' => false,
            '\r' => characters.peek().is_none_or(|&(_, next)| next != '\n'),
            _ => is_deceptive(character),
        };
        if is_bad && problems.len() < limits::MAX_REPORTED {
            problems.push(describe(character).at(start..start + character.len_utf8()));
        } else if is_bad {
            omitted += 1;
        }
        is_indentation = character == '\n' || (is_indentation && character == ' ');
    }
    (problems, omitted)
}

fn describe(character: char) -> Diagnostic {
    if character == '\t' {
        return Diagnostic::new("tab in indentation").help("indent with spaces");
    }
    Diagnostic::new(format!("invisible or control character {}", character.escape_unicode()))
        .help("remove it; in a value in double quotes, write it as an escape such as \"\\x1b\"")
}

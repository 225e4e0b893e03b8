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
    let mut report = |problem: Diagnostic| {
        if problems.len() < limits::MAX_REPORTED {
            problems.push(problem);
        } else {
            omitted += 1;
        }
    };
    let mut is_indentation = true;
    let mut characters = text.char_indices().peekable();
    while let Some((start, character)) = characters.next() {
        let span = start..start + character.len_utf8();
        match character {
            '\n' => is_indentation = true,
            ' ' => {}
            '\t' if is_indentation => {
                report(Diagnostic::new("tab in indentation").at(span).help("indent with spaces"));
                is_indentation = false;
            }
            '\t' => {}
            '\r' if characters.peek().is_some_and(|&(_, next)| next == '\n') => {}
            _ if is_deceptive(character) => {
                let message = format!("invisible or control character {}", character.escape_unicode());
                let help = "remove it; in a value in double quotes, write it as an escape such as \"\\x1b\"";
                report(Diagnostic::new(message).at(span).help(help));
                is_indentation = false;
            }
            _ => is_indentation = false,
        }
    }
    (problems, omitted)
}

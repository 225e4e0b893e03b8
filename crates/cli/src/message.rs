//! What the command says on standard error, in one shape: what failed, then a hint.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use palisade::code;
use palisade_policy::Diagnostics;

/// Exit status for the verbs that judge (`verify`, `policy`, `probes`, `host`): the command line or the policy is wrong.
pub(crate) const USAGE: u8 = 2;

/// `palisade: MESSAGE`, and a hint on a line of its own. Names and texts of others are shown without control bytes.
pub(crate) fn error(message: impl Display, hint: Option<&str>) {
    let mut stream = anstream::stderr().lock();
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(stream, "palisade: {}", printable(&message.to_string()));
    if let Some(hint) = hint {
        let _ = writeln!(stream, "  hint: {}", printable(hint));
    }
}

/// Everything that is wrong with a policy.
pub(crate) fn diagnostics(diagnostics: &Diagnostics) {
    let mut stream = anstream::stderr().lock();
    // The stream drops the colours where nobody can see them; texts of the file are made harmless by the renderer.
    let _ = writeln!(stream, "{}", diagnostics.render(true));
}

/// A text that cannot move the cursor, change colours or hide itself on the reader's terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c {
            '\n' => vec![c],
            c if c.is_control() || is_direction(c) => c.escape_default().collect(),
            c => vec![c],
        })
        .collect()
}

/// Characters that reorder what follows them (Unicode TR 9), which make a text read as another.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes to standard output; says nothing when its reader has gone.
pub(crate) fn print(text: &str) -> bool {
    let mut stream = anstream::stdout().lock();
    stream.write_all(text.as_bytes()).and_then(|()| stream.flush()).is_ok()
}

/// What is wrong with the command line, in clap's words, and the status that the verb documents for it.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if !error.use_stderr() {
        // --help and --version
        return ExitCode::SUCCESS;
    }
    let judging = std::env::args_os().nth(1).is_some_and(|verb| {
        ["verify", "matrix", "policy", "probe", "probes", "host"].iter().any(|one| verb == *one)
    });
    ExitCode::from(if judging { USAGE } else { code::PALISADE })
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn escapes_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\u{7}\u{202e}c\nd"), "a\\u{1b}[31mb\\u{7}\\u{202e}c\nd");
        assert_eq!(printable("größe"), "größe");
    }
}

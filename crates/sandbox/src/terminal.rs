//! The caller's terminal, while a program runs on a private one.
//!
//! The program never holds the caller's terminal: it could put input into it, or read what is typed for others. It gets
//! one of its own, made in the sandbox's devpts, and bytes are carried between the two.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::termios::{
    OptionalActions, Termios, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use crate::channel::WindowSize;

/// The size of a terminal that does not tell its own.
const USUAL: WindowSize = WindowSize { rows: 24, columns: 80 };

/// Whether both sides of a conversation are terminals.
pub(crate) fn both(stdin: BorrowedFd<'_>, stdout: BorrowedFd<'_>) -> bool {
    isatty(stdin) && isatty(stdout)
}

/// The caller's terminal in raw mode: what is typed goes to the program's own terminal, which decides what Ctrl-C means.
/// As it was when this is dropped.
#[derive(Debug)]
pub(crate) struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    pub(crate) fn enter(terminal: OwnedFd) -> Result<Self, Errno> {
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Drain, &raw)?;
        Ok(Self { terminal, before })
    }

    /// Its size now.
    pub(crate) fn size(&self) -> WindowSize {
        size(self.terminal.as_fd())
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // What was typed but not read belongs to whoever reads next.
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// The size of a terminal.
pub(crate) fn size(terminal: BorrowedFd<'_>) -> WindowSize {
    match tcgetwinsize(terminal) {
        Ok(Winsize { ws_row: rows, ws_col: columns, .. }) if rows > 0 && columns > 0 => {
            WindowSize { rows, columns }
        }
        Ok(_) | Err(_) => USUAL,
    }
}

/// Gives a private terminal, by its master side, another size. The kernel tells the program (SIGWINCH).
pub(crate) fn resize(master: BorrowedFd<'_>, size: WindowSize) {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // A program that has just ended has no terminal any more.
    let _ = tcsetwinsize(master, size);
}

/// The value of TERM that a program on a private terminal gets: the caller's, if it is a plain name (term(7)).
pub(crate) fn kind(caller: Option<&str>) -> &str {
    let plain = |name: &&str| {
        !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-+._".contains(&byte))
    };
    caller.filter(plain).unwrap_or("dumb")
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn only_plain_names_of_terminals_pass() {
        assert_eq!(kind(Some("xterm-256color")), "xterm-256color");
        for odd in [None, Some(""), Some("../../etc/passwd"), Some("a\nb"), Some(&"x".repeat(65))] {
            assert_eq!(kind(odd), "dumb");
        }
    }
}

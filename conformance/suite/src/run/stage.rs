//! A hidden stage of the program: takes the terminal on its standard input as controlling terminal, then becomes the
//! command that it was given.
//!
//! `setsid` must happen between fork and exec, where safe code cannot stand; so it happens after an exec, here.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

/// First argument of the program as this stage.
pub const ON_TERMINAL: &str = "__on-terminal";

/// First argument of the program as this stage, when the command is not to have the terminal as its standard input.
pub const UNDER_TERMINAL: &str = "__under-terminal";

/// What to put before a command so that it starts on a terminal of its own, with or without it as standard input.
pub fn on_terminal(standard_input: bool) -> [OsString; 2] {
    ["/proc/self/exe".into(), if standard_input { ON_TERMINAL } else { UNDER_TERMINAL }.into()]
}

/// Does the work of the stage, if this execution of the program is it; returns only on failure, with the exit status.
pub fn dispatch() -> Option<u8> {
    let mut arguments = std::env::args_os().skip(1);
    let stage = arguments.next()?;
    if stage != ON_TERMINAL && stage != UNDER_TERMINAL {
        return None;
    }
    let stdin = || if stage == ON_TERMINAL { Stdio::inherit() } else { Stdio::null() };
    let error = take().err().unwrap_or_else(|| match arguments.next() {
        Some(program) => Command::new(program).args(arguments).stdin(stdin()).exec(),
        None => io::Error::from(io::ErrorKind::InvalidInput),
    });
    eprintln!("palisade: start on a terminal: {error}");
    Some(3)
}

fn take() -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::ioctl_tiocsctty(io::stdin())?;
    Ok(())
}

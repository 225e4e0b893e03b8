//! Hidden stages of the program: what must happen in a process of its own before a command starts.
//!
//! One takes the terminal on its standard input as controlling terminal: `setsid` must happen between fork and exec, where
//! safe code cannot stand, so it happens after an exec, here. The other starts a named sandbox and then becomes the
//! command that adds a workload to it.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::io::{FdFlags, fcntl_setfd};

use crate::catalogue::FIRST;

/// First argument of the program as the stage that takes a terminal.
pub const ON_TERMINAL: &str = "__on-terminal";
/// First argument of the same stage when the command is not to have the terminal as its standard input.
pub const UNDER_TERMINAL: &str = "__under-terminal";
/// First argument of the program as the stage that adds a workload to a sandbox.
pub const ADDED: &str = "__added";

/// Exit status of a stage that could not do its part.
pub(super) const FAILED: u8 = 3;

/// What to put before a command so that it starts on a terminal of its own, with or without it as standard input.
pub fn on_terminal(standard_input: bool) -> [OsString; 2] {
    ["/proc/self/exe".into(), if standard_input { ON_TERMINAL } else { UNDER_TERMINAL }.into()]
}

/// What to put before `--policy NAME -- COMMAND` so that the command is added to a sandbox of that policy, in which
/// `probe` waits already.
pub fn added(palisade: &Path, probe: &Path) -> [OsString; 4] {
    ["/proc/self/exe".into(), ADDED.into(), palisade.into(), probe.into()]
}

/// Does the work of a stage, if this execution of the program is one; returns only on failure, with the exit status.
pub fn dispatch() -> Option<u8> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next()?;
    let error = if first == ON_TERMINAL || first == UNDER_TERMINAL {
        let input = if first == ON_TERMINAL { Stdio::inherit() } else { Stdio::null() };
        take_terminal().err().unwrap_or_else(|| match arguments.next() {
            Some(program) => Command::new(program).args(arguments).stdin(input).exec(),
            None => io::ErrorKind::InvalidInput.into(),
        })
    } else if first == ADDED {
        match add(&arguments.collect::<Vec<_>>()) {
            Ok(status) => return Some(status),
            Err(error) => error,
        }
    } else {
        return None;
    };
    eprintln!("palisade: start a case: {error}");
    Some(FAILED)
}

fn take_terminal() -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::ioctl_tiocsctty(io::stdin())?;
    Ok(())
}

/// Arguments: the runtime, the probe, two words that say which policy, `--`, the command.
///
/// The process that runs already reads what this one holds open, so that it, and its sandbox, end with this one.
fn add(arguments: &[OsString]) -> io::Result<u8> {
    let [palisade, probe, kind, policy, _, command @ ..] = arguments else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let name = format!("verify-{}", std::process::id());
    let mut sandbox = Command::new(palisade)
        .args(["run", "--name", &name])
        .args([kind, policy])
        .arg("--")
        .arg(probe)
        // Set-up, so that it forks nothing: read(0).
        .args([FIRST, "s:sys 0 0 #16 16"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    // Its announcement of the first statement; without one the sandbox did not start, and has said why.
    let mut announced = Vec::new();
    let mut output = BufReader::new(sandbox.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
    output.read_until(b'\n', &mut announced)?;
    if announced.is_empty() {
        let status = sandbox.wait()?;
        return Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED));
    }
    let input = sandbox.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    fcntl_setfd(&input, FdFlags::empty())?;
    Err(Command::new(palisade).args(["exec", &name, "--"]).args(command).exec())
}

//! A hidden stage of the program: a supervisor with a fault, put around the one under test.
//!
//! It knows nothing of the runtime but its command line: see [`Fault`] for what goes wrong.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::BorrowedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use rustix::mount::{MountFlags, mount};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Winsize, isatty, tcgetattr, tcsetattr, tcsetwinsize};

use crate::mutants::Fault;

/// First argument of the program as this stage; then the word of the fault, the time that the case gives in milliseconds,
/// and the command.
pub const FAULTY: &str = "__faulty";
/// First argument of the program as the stage that gives a command a session of its own and a parent to die with.
pub const APART: &str = "__apart";
/// First argument of the program as the process that stays: how long in milliseconds, then anything.
pub const STAYS: &str = "__stays";

/// How long the process that stays does so: longer than the suite waits for processes to go, and not for ever.
const STAY: Duration = Duration::from_secs(4);

/// How often an end is looked for.
const AGAIN: Duration = Duration::from_millis(10);

/// Exit code of a run that its time ended.
const OUT_OF_TIME: u8 = 124;

/// What to put before a command so that its supervisor has this fault.
pub fn around(fault: Fault, time: Option<Duration>) -> [OsString; 4] {
    let millis = time.map_or(0, |time| time.as_millis()).to_string();
    ["/proc/self/exe".into(), FAULTY.into(), fault.word().into(), millis.into()]
}

/// Does the work of a stage, if this execution of the program is one; `Some` is the exit status to end with.
pub fn dispatch() -> Option<u8> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next()?;
    let arguments: Vec<OsString> = arguments.collect();
    let done = match first.to_str()? {
        FAULTY => faulty(&arguments),
        APART => apart(&arguments),
        STAYS => {
            let millis = arguments.first().and_then(|word| word.to_str()?.parse().ok()).unwrap_or(0);
            thread::sleep(Duration::from_millis(millis));
            Ok(0)
        }
        _ => return None,
    };
    Some(done.unwrap_or_else(|error| {
        eprintln!("palisade: a supervisor with a fault: {error}");
        super::stage::FAILED
    }))
}

fn faulty(arguments: &[OsString]) -> io::Result<u8> {
    let [word, millis, program, words @ ..] = arguments else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let fault = word.to_str().and_then(Fault::of_word).ok_or(io::ErrorKind::InvalidInput)?;
    let time = millis.to_str().and_then(|word| word.parse().ok()).map(Duration::from_millis);
    let mut command = Command::new(program);
    command.args(words);
    match fault {
        Fault::LeavesMount => leave_mount()?,
        Fault::LeavesName => drop(File::create("palisade-left")?),
        Fault::LeavesProcess => leave_process(words)?,
        Fault::Resizes => {
            for_terminal(|fd| {
                tcsetwinsize(fd, Winsize { ws_row: 7, ws_col: 9, ws_xpixel: 0, ws_ypixel: 0 })
            })?;
        }
        Fault::LeavesRaw => for_terminal(|fd| {
            let mut settings = tcgetattr(fd)?;
            settings.make_raw();
            tcsetattr(fd, OptionalActions::Now, &settings)
        })?,
        Fault::RawMessages => return raw_messages(command),
        Fault::Deaf => return deaf(program, words),
        Fault::Unconfined => return unconfined(words),
        Fault::LosesCode => return Ok(u8::from(!command.status()?.success())),
        Fault::OnlyAsks => {
            if let Some(time) = time.filter(|time| !time.is_zero()) {
                return only_asks(command, time);
            }
        }
    }
    Err(command.exec())
}

/// On a directory of its own, so that nothing of the case lies below it.
fn leave_mount() -> io::Result<()> {
    let path = Path::new("palisade-left");
    fs::create_dir_all(path)?;
    Ok(mount("none", path, "tmpfs", MountFlags::empty(), None)?)
}

/// In a session of its own, and with nothing of the run's open.
fn leave_process(words: &[OsString]) -> io::Result<()> {
    let stay = STAY.as_millis().to_string();
    let mut command = Command::new("/proc/self/exe");
    command.arg(STAYS).arg(stay).args(words).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    Ok(())
}

/// Standard input or output, whichever is a terminal; where neither is, there is none to spoil.
fn for_terminal(act: impl Fn(BorrowedFd<'static>) -> rustix::io::Result<()>) -> io::Result<()> {
    let terminal = [stdin(), stdout()].into_iter().find(|fd| isatty(*fd));
    Ok(terminal.map_or(Ok(()), act)?)
}

/// Undoes the escapes of what the runtime says: `\u{1b}`.
fn raw_messages(mut command: Command) -> io::Result<u8> {
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    let mut said = String::new();
    if let Some(mut errors) = child.stderr.take() {
        errors.read_to_string(&mut said)?;
    }
    io::stderr().write_all(unescaped(&said).as_bytes())?;
    Ok(code(child.wait()?))
}

fn unescaped(text: &str) -> String {
    let mut parts = text.split("\\u{");
    let mut raw = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let known = part
            .split_once('}')
            .and_then(|(number, rest)| Some((char::from_u32(u32::from_str_radix(number, 16).ok()?)?, rest)));
        match known {
            Some((c, rest)) => {
                raw.push(c);
                raw.push_str(rest);
            }
            None => {
                raw.push_str("\\u{");
                raw.push_str(part);
            }
        }
    }
    raw
}

/// The runtime stands in another session, so that no terminal signals it, and this process takes no signal.
fn deaf(program: &OsString, words: &[OsString]) -> io::Result<u8> {
    let mut command = Command::new("/proc/self/exe");
    command.arg(APART).arg(program).args(words).stdin(Stdio::null());
    let mut child = command.spawn()?;
    let mut ending = SigSet::empty();
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().for_each(|signal| ending.add(signal));
    ending.thread_block()?;
    Ok(code(child.wait()?))
}

fn apart(arguments: &[OsString]) -> io::Result<u8> {
    let (program, words) = arguments.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    rustix::process::setsid()?;
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Err(Command::new(program).args(words).exec())
}

/// What stands behind the runtime's own words.
fn unconfined(words: &[OsString]) -> io::Result<u8> {
    let mut command = words.iter().skip_while(|word| *word != "--").skip(1);
    let program = command.next().ok_or(io::ErrorKind::InvalidInput)?;
    Err(Command::new(program).args(command).exec())
}

/// The runtime knows of no time; the one request at its end may be ignored.
fn only_asks(mut command: Command, time: Duration) -> io::Result<u8> {
    let start = Instant::now();
    let mut child = command.spawn()?;
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    while start.elapsed() < time {
        if let Some(status) = child.try_wait()? {
            return Ok(code(status));
        }
        thread::sleep(AGAIN);
    }
    kill(pid, Signal::SIGTERM)?;
    child.wait()?;
    Ok(OUT_OF_TIME)
}

/// As the runtime tells it: 128 and the signal for one that was killed.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_runtime_escapes_is_undone() {
        assert_eq!(unescaped(r"a\u{1b}[2Jb\u{202e}c".replace("\\\\", "\\").as_str()), "a\u{1b}[2Jb\u{202e}c");
        assert_eq!(unescaped(r"\u{x}\u{41"), r"\u{x}\u{41");
    }
}

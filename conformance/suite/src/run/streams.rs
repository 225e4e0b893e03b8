//! The standard descriptors of a case: pipes, a terminal of its own, or regular files.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcgetwinsize, tcsetwinsize};

use super::process::Raw;
use crate::catalogue::{BEFORE, Streams};
use crate::lab::Lab;

/// What the suite keeps of a case's standard descriptors while it runs.
pub(super) enum Held {
    /// Nothing: the pipes are the child's own.
    Pipes,
    /// The master of the terminal.
    Terminal(OwnedFd),
    /// The files.
    Files(Files),
}

impl Held {
    /// Gives `command` its standard descriptors.
    pub(super) fn attach(
        streams: Streams,
        lab: &Lab,
        nonce: &str,
        command: &mut Command,
    ) -> io::Result<Self> {
        match streams {
            Streams::Pipes => {
                command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
                // A session is made by the stage that takes a terminal; otherwise a group is enough to kill everything.
                command.process_group(0);
                Ok(Self::Pipes)
            }
            Streams::Terminal | Streams::Behind => {
                let (master, slave) = terminal()?;
                command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
                Ok(Self::Terminal(master))
            }
            Streams::Files => {
                let files = Files::of(lab, nonce);
                files.make(nonce)?;
                let append = |path: &Path| OpenOptions::new().append(true).open(path);
                command.stdin(File::open(&files.input)?);
                command.stdout(append(&files.output)?).stderr(append(&files.errors)?).process_group(0);
                Ok(Self::Files(files))
            }
        }
    }

    /// The terminal to follow, and what is read when the run has ended.
    pub(super) fn split(self) -> (Option<OwnedFd>, Option<Files>) {
        match self {
            Self::Pipes => (None, None),
            Self::Terminal(master) => (Some(master), None),
            Self::Files(files) => (None, Some(files)),
        }
    }
}

/// A new pseudo-terminal of the lab: what the suite holds, and what the case is started on.
fn terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    Ok((master, slave))
}

/// The terminal that a case is started on, from the side that whoever sits before it has.
pub(super) struct Caller {
    master: OwnedFd,
    before: (Winsize, String),
}

impl Caller {
    /// A second descriptor of the master, and what the terminal is like now.
    pub(super) fn of(master: &OwnedFd) -> io::Result<Self> {
        let master = master.try_clone()?;
        let before = state(&master)?;
        Ok(Self { master, before })
    }

    /// What is typed.
    pub(super) fn types(&self, text: &[u8]) {
        // What does not arrive shows in what the workload reads.
        let _ = rustix::io::write(&self.master, text);
    }

    /// Another size of its window.
    pub(super) fn resizes(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let _ = tcsetwinsize(&self.master, size);
    }

    /// What is not as it was.
    pub(super) fn changed(&self) -> Option<String> {
        match state(&self.master) {
            Ok(now) if now == self.before => None,
            Ok(now) if now.0 != self.before.0 => Some(format!(
                "the terminal of the caller has {} rows and {} columns",
                now.0.ws_row, now.0.ws_col
            )),
            Ok(_) => Some("the terminal of the caller has other settings".to_owned()),
            Err(error) => Some(format!("the terminal of the caller cannot be asked: {error}")),
        }
    }
}

/// The size and the settings of a terminal, asked at its master.
fn state(master: &OwnedFd) -> io::Result<(Winsize, String)> {
    Ok((tcgetwinsize(master)?, format!("{:?}", tcgetattr(master)?)))
}

/// The files of [`Streams::Files`]: of each case its own, outside of its workspace.
pub(super) struct Files {
    /// Standard input.
    pub(super) input: PathBuf,
    /// Standard output.
    pub(super) output: PathBuf,
    /// Standard error.
    pub(super) errors: PathBuf,
}

impl Files {
    /// Where they lie.
    pub(super) fn of(lab: &Lab, nonce: &str) -> Self {
        let dir = lab.world().base.join("streams");
        let file = |name: &str| dir.join(format!("{nonce}.{name}"));
        Self { input: file("in"), output: file("out"), errors: file("err") }
    }

    /// What each of them begins with.
    pub(super) fn beginning(nonce: &str) -> Vec<u8> {
        format!("{BEFORE}{nonce}\n").into_bytes()
    }

    fn make(&self, nonce: &str) -> io::Result<()> {
        self.input.parent().map_or(Ok(()), fs::create_dir_all)?;
        for path in [&self.input, &self.output, &self.errors] {
            File::create(path)?.write_all(&Self::beginning(nonce))?;
            // Root's workloads have another uid: open to all, so that only the sandbox keeps them out.
            fs::set_permissions(path, Permissions::from_mode(0o666))?;
        }
        Ok(())
    }

    /// Puts what the run printed into `raw`. Nothing is known about when it came.
    pub(super) fn read(&self, nonce: &str, raw: &mut Raw) -> io::Result<()> {
        let beginning = Self::beginning(nonce);
        let printed = |path: &Path| {
            let all = fs::read(path)?;
            Ok::<_, io::Error>(all.get(beginning.len()..).unwrap_or_default().to_vec())
        };
        raw.stdout = printed(&self.output)?;
        raw.stderr = printed(&self.errors)?;
        Ok(())
    }
}

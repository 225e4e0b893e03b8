//! Into a sandbox that runs already: more programs, and its end.
//!
//! The caller is a client of the sandbox's supervisor. It hands over the descriptors and the words of a program; the
//! sandbox's first process starts it exactly as it started the first one.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use palisade_sys::Errno;
use palisade_sys::exec::Inbox;
use palisade_sys::signal::SIGWINCH;
use rustix::event::PollFlags;
use rustix::fs::{MemfdFlags, SeekFrom, memfd_create, seek};

use crate::channel::{Channel, Message, Received};
use crate::command::Command;
use crate::error::Error;
use crate::front::{Front, Wish};
use crate::outcome::{Ending, Output};
use crate::prepare::strings;
use crate::ready::ready;
use crate::registry::Registry;
use crate::start::terminal_variables;
use crate::supervise::{Forwarding, ended, other_failure};

/// The number by which a client knows its program; the supervisor gives it another.
const OWN: i32 = 1;

/// SIGKILL, with which everything ends when the first process does.
const KILLED: u8 = 9;

/// Runs `command` in the sandbox of this name, and waits for its end.
///
/// Its directory and environment are those of the sandbox's first program; the limit of output counts for each program.
///
/// # Errors
/// When no sandbox of this name runs, or it cannot be talked to.
pub fn exec(
    name: &str,
    command: Command,
    forwarding: Option<&Forwarding>,
) -> Result<(Ending, Output), Error> {
    let registry = Registry::open()?;
    let record = registry.find(name)?;
    let channel = registry.connect(name)?;
    let Command { words, stdio, keep, .. } = command;
    let front = Front::open(Wish { stdio, budget: record.output, keep, terminal: record.terminal })?;
    let mut variables = Vec::new();
    for (name, value) in terminal_variables(&front) {
        variables.push(OsString::from(format!("{name}={value}")));
    }
    let request = request(&words, &variables)?;
    let mut client = Attached { channel, front, forwarding };
    client.ask(&request)?;
    let ending = client.wait();
    // What the program has left running in the sandbox may hold its output open for ever.
    Ok((ending, client.front.finish(false)))
}

/// Ends the sandbox of this name, as its wall-time limit would, and waits until it is gone.
///
/// # Errors
/// When no sandbox of this name runs.
pub fn stop(name: &str) -> Result<(), Error> {
    let channel = Registry::open()?.connect(name)?;
    channel.send(Message::Stop, &[])?;
    while channel.receive().is_some() {}
    Ok(())
}

/// The words of a program, to be read in the sandbox.
fn request(words: &[OsString], variables: &[OsString]) -> Result<OwnedFd, Error> {
    let bytes = Inbox::encode(&strings(words)?, &strings(variables)?);
    let file = memfd_create(c"palisade-request", MemfdFlags::CLOEXEC)?;
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    seek(&file, SeekFrom::Start(0))?;
    Ok(file)
}

struct Attached<'a> {
    channel: Channel,
    front: Front,
    forwarding: Option<&'a Forwarding>,
}

enum Source {
    Supervisor,
    Signals,
    Relay(usize),
}

impl Attached<'_> {
    fn ask(&mut self, request: &OwnedFd) -> Result<(), Error> {
        let given = self.front.take_given();
        let mut lent: Vec<BorrowedFd<'_>> = given.iter().map(AsFd::as_fd).collect();
        lent.push(request.as_fd());
        let start = Message::Start { program: OWN, terminal: self.front.terminal() };
        Ok(self.channel.send(start, &lent)?)
    }

    fn wait(&mut self) -> Ending {
        loop {
            for source in self.heard() {
                match source {
                    Source::Supervisor => {
                        if let Some(ending) = self.told() {
                            return ending;
                        }
                    }
                    Source::Signals => self.signalled(),
                    Source::Relay(index) => self.front.advance(index),
                }
            }
        }
    }

    fn heard(&self) -> Vec<Source> {
        let mut sources = vec![(Source::Supervisor, self.channel.as_fd(), PollFlags::IN)];
        if let Some(forwarding) = self.forwarding {
            sources.push((Source::Signals, forwarding.descriptor(), PollFlags::IN));
        }
        let relays = self.front.interests();
        sources.extend(relays.map(|(index, descriptor, flags)| (Source::Relay(index), descriptor, flags)));
        ready(sources, None)
    }

    /// A message about the program; how it ended, if it did.
    fn told(&mut self) -> Option<Ending> {
        let Some(Received { message, descriptors }) = self.channel.receive() else {
            // The sandbox has ended, and with it everything inside.
            return Some(Ending::Signaled(KILLED));
        };
        let failed = |action: &str, errno| Some(Ending::NotStarted(other_failure(action, errno, None)));
        match message {
            Message::Terminal { .. } => {
                if let Some(master) = descriptors.into_iter().flatten().next()
                    && let Err(error) = self.front.on_terminal(master)
                {
                    return failed("use the private terminal", error.raw_os_error().unwrap_or_default());
                }
                None
            }
            Message::Ended { status, .. } => Some(ended(status)),
            Message::ExecFailed { errno, .. } => Some(Ending::NotExecuted(Errno(errno))),
            Message::ForkFailed { errno, .. } => failed("start the program", errno),
            Message::RequestFailed { errno, .. } => {
                failed("give the program its words and descriptors", errno)
            }
            Message::TerminalFailed { errno, .. } => failed("make a private terminal", errno),
            Message::DirectoryFailed { errno, .. } => failed("enter the working directory", errno),
            _ => Some(Ending::Lost),
        }
    }

    fn signalled(&mut self) {
        while let Some(signal) = self.forwarding.and_then(Forwarding::next) {
            if signal == SIGWINCH && self.front.terminal().is_some() {
                self.front.resize();
            } else {
                let _ = self.channel.try_send(Message::Signal { program: OWN, signal }, &[]);
            }
        }
    }
}

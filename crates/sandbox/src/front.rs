//! The caller's side of a program's standard descriptors: what they lead to, and the relays in between.
//!
//! What the caller has may be handed to the program as it is (a pipe, a file), or must not: a terminal of the caller's is
//! never handed in, and output that counts against a budget, or is to be kept, passes through here.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFlags, Timespec};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio;
use rustix::termios::{isatty, tcgetpgrp};

use crate::channel::WindowSize;
use crate::outcome::Output;
use crate::ready::ready;
use crate::relay::{Budget, Relay, Stream, Way, never_wait, output_pipe};
use crate::terminal::{self, Raw};

/// Where a standard descriptor of a program leads.
#[derive(Debug, Default)]
pub enum Stdio {
    /// To where the caller's own leads. A terminal is not handed in: the program gets a pipe, or a private terminal.
    #[default]
    Inherit,
    /// To `/dev/null`.
    Null,
    /// To a pipe whose other end the caller gets.
    Piped,
    /// For output: into the outcome, where it is kept in memory.
    Capture,
    /// To this descriptor.
    Descriptor(OwnedFd),
}

/// What is asked of a front.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    /// Standard input, output and error.
    pub(crate) stdio: [Stdio; 3],
    /// The most bytes of output of both streams.
    pub(crate) budget: Option<u64>,
    /// Whether to keep a copy of the output.
    pub(crate) keep: bool,
    /// Whether a private terminal may be made when the caller has one.
    pub(crate) terminal: bool,
}

/// The caller's side.
#[derive(Debug)]
pub(crate) struct Front {
    relays: Vec<Relay>,
    budget: Budget,
    /// What the program is given: its standard descriptors, or, on a private terminal, at most standard error. Empty once
    /// it has been.
    given: Vec<OwnedFd>,
    /// The caller's ends of pipes that it asked for.
    pipes: [Option<OwnedFd>; 3],
    private: Option<Private>,
    keep: bool,
}

/// A conversation through a private terminal.
#[derive(Debug)]
struct Private {
    caller: Raw,
    size: WindowSize,
    master: Option<OwnedFd>,
}

impl Front {
    /// Opens what the wish asks for.
    pub(crate) fn open(wish: Wish) -> io::Result<Self> {
        let Wish { stdio, budget, keep, terminal } = wish;
        let mut front = Self {
            relays: Vec::new(),
            budget: Budget::new(budget),
            given: Vec::new(),
            pipes: [None, None, None],
            private: None,
            keep,
        };
        let counted = budget.is_some() || keep;
        let inherits = stdio.iter().all(|stdio| matches!(stdio, Stdio::Inherit));
        if terminal && inherits && terminal::both(stdio::stdin(), stdio::stdout()) && foreground() {
            let caller = Raw::enter(own(Way::In)?)?;
            let size = caller.size();
            front.private = Some(Private { caller, size, master: None });
            if !isatty(stdio::stderr()) {
                let stderr = front.connect(Stdio::Inherit, Way::Err, counted)?;
                front.given.push(stderr);
            }
            return Ok(front);
        }
        for (stdio, way) in stdio.into_iter().zip([Way::In, Way::Out, Way::Err]) {
            let given = front.connect(stdio, way, counted && way != Way::In)?;
            front.given.push(given);
        }
        Ok(front)
    }

    /// One standard descriptor: what the program is given.
    fn connect(&mut self, stdio: Stdio, way: Way, counted: bool) -> io::Result<OwnedFd> {
        match stdio {
            Stdio::Null => null(way),
            Stdio::Capture => {
                let (reading, writing) = output_pipe()?;
                self.relays.push(Relay::capturing(way, reading));
                Ok(writing)
            }
            Stdio::Piped if way == Way::In => {
                let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
                self.pipes[0] = Some(writing);
                Ok(reading)
            }
            Stdio::Piped => {
                let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
                self.pipes[if way == Way::Out { 1 } else { 2 }] = Some(reading);
                if counted { self.relayed(way, writing) } else { Ok(writing) }
            }
            Stdio::Inherit => self.lent(way, own(way)?, counted),
            Stdio::Descriptor(descriptor) => self.lent(way, descriptor, counted),
        }
    }

    /// What is the caller's and may be something that the program must not hold.
    fn lent(&mut self, way: Way, descriptor: OwnedFd, counted: bool) -> io::Result<OwnedFd> {
        if !counted && !isatty(&descriptor) {
            return Ok(descriptor);
        }
        if way == Way::In && !isatty_in_foreground(descriptor.as_fd()) {
            // Reading it would stop this process, or take what is typed for another one.
            return null(way);
        }
        self.relayed(way, descriptor)
    }

    /// A pipe to the program, and a relay between it and `descriptor`.
    fn relayed(&mut self, way: Way, descriptor: OwnedFd) -> io::Result<OwnedFd> {
        if way == Way::In {
            let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
            self.relays.push(Relay::into_own(way, descriptor, writing)?);
            return Ok(reading);
        }
        let (reading, writing) = output_pipe()?;
        self.relays.push(self.output(way, reading, descriptor));
        Ok(writing)
    }

    fn output(&self, way: Way, from: OwnedFd, to: OwnedFd) -> Relay {
        if self.keep { Relay::copying(way, from, to) } else { Relay::new(way, from, to) }
    }

    /// The size of the private terminal that the program is to get, if it is to get one.
    pub(crate) fn terminal(&self) -> Option<WindowSize> {
        self.private.as_ref().map(|private| private.size)
    }

    /// What the program is given; afterwards this side has none of it.
    pub(crate) fn take_given(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.given)
    }

    /// The caller's ends of the pipes that it asked for.
    pub(crate) fn take_pipes(&mut self) -> [Option<OwnedFd>; 3] {
        std::mem::take(&mut self.pipes)
    }

    /// The private terminal exists: its master side.
    pub(crate) fn on_terminal(&mut self, master: OwnedFd) -> io::Result<()> {
        never_wait(&master)?;
        let input = Relay::into_own(Way::In, own(Way::In)?, master.try_clone()?)?;
        let output = self.output(Way::Out, master.try_clone()?, own(Way::Out)?);
        self.relays.extend([input, output]);
        if let Some(private) = &mut self.private {
            private.master = Some(master);
        }
        self.resize();
        Ok(())
    }

    /// The caller's terminal may have another size now.
    pub(crate) fn resize(&mut self) {
        if let Some(Private { caller, size, master: Some(master) }) = &mut self.private {
            *size = caller.size();
            terminal::resize(master.as_fd(), *size);
        }
    }

    /// What to wait for, by relay.
    pub(crate) fn interests(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>, PollFlags)> {
        let relays = self.relays.iter().enumerate();
        relays.filter_map(|(index, relay)| {
            relay.interest().map(|(descriptor, flags)| (index, descriptor, flags))
        })
    }

    /// Lets the relay of this index do what it can do now.
    pub(crate) fn advance(&mut self, index: usize) {
        if let Some(relay) = self.relays.get_mut(index) {
            relay.advance(&mut self.budget);
        }
    }

    /// Whether output was dropped.
    pub(crate) fn is_truncated(&self) -> bool {
        self.relays.iter().any(|relay| relay.stream.truncated)
    }

    /// The program is gone: passes on what is left, and tells what there was. Waits for the end of its output only when
    /// `all` of what could write it is gone too.
    pub(crate) fn finish(&mut self, all: bool) -> Output {
        self.relays.retain(|relay| relay.way != Way::In);
        while self.relays.iter().any(|relay| !relay.is_done()) {
            let unwritten = self.interests().any(|(_, _, flags)| flags.contains(PollFlags::OUT));
            let timeout = (!all && !unwritten).then(Timespec::default);
            let ready: Vec<usize> = ready(self.interests(), timeout);
            if ready.is_empty() && timeout.is_some() {
                break;
            }
            ready.into_iter().for_each(|index| self.advance(index));
        }
        let stream = |way| {
            let relay = self.relays.iter().find(|relay| relay.way == way);
            relay.map(|relay| relay.stream.clone())
        };
        Output { stdout: stream(Way::Out), stderr: stream(Way::Err) }
    }
}

impl Output {
    /// The streams that passed through the supervisor.
    pub fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.stdout.iter().chain(&self.stderr)
    }
}

/// A copy of this process's own standard descriptor.
fn own(way: Way) -> io::Result<OwnedFd> {
    match way {
        Way::In => stdio::stdin().try_clone_to_owned(),
        Way::Out => stdio::stdout().try_clone_to_owned(),
        Way::Err => stdio::stderr().try_clone_to_owned(),
    }
}

fn null(way: Way) -> io::Result<OwnedFd> {
    let input = way == Way::In;
    Ok(OpenOptions::new().read(input).write(!input).open("/dev/null")?.into())
}

/// Whether this process may talk to its controlling terminal.
fn foreground() -> bool {
    isatty_in_foreground(stdio::stdin())
}

fn isatty_in_foreground(descriptor: BorrowedFd<'_>) -> bool {
    if !isatty(descriptor) {
        return true;
    }
    // Not this process's controlling terminal: nobody's job control is in the way.
    tcgetpgrp(descriptor).map_or(true, |group| group == rustix::process::getpgrp())
}

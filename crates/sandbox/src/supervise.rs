//! `supervise`: waits for a sandbox, passes signals on, and keeps the clock.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use palisade_sys::Errno;
use palisade_sys::process::{self, WaitStatus};
use palisade_sys::signal::{self, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SignalSet};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

use crate::failure::Failure;
use crate::launch::Launched;
use crate::message::{Message, Part};
use crate::outcome::{Ending, Outcome};

/// How long a workload may take to end after SIGTERM at the wall-time limit, before everything is killed.
const GRACE: Duration = Duration::from_secs(2);

/// Signals that a caller sends to a run and means for the workload.
const FORWARDED: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];

/// Signals for the workload, caught from before it exists.
#[derive(Debug)]
pub struct Forwarding {
    signals: OwnedFd,
    original: SignalSet,
}

impl Forwarding {
    /// Blocks the forwarded signals in the calling thread and catches them. To be made before any other thread.
    ///
    /// # Errors
    /// What signalfd(2) says.
    pub fn start() -> Result<Self, Errno> {
        let set = SignalSet::of(&FORWARDED);
        let signals = signal::signalfd(&set)?;
        Ok(Self { signals, original: signal::block(&set) })
    }

    /// The mask from before.
    pub(crate) fn original_mask(&self) -> SignalSet {
        self.original
    }
}

/// Waits for a sandbox to its end.
///
/// Passes signals on when `forwarding` catches them. At the wall-time limit the workload gets SIGTERM, and after a
/// grace of two seconds the sandbox's first process is killed, which nothing inside can prevent.
pub fn supervise(launched: Launched, forwarding: Option<&Forwarding>) -> Outcome {
    let start = Instant::now();
    let mut deadline = launched.wall_time.map(|time| start + time);
    let mut out_of_time = false;
    let message = loop {
        match wait(&launched, forwarding, deadline) {
            Event::Message(message) => break message,
            Event::Signal(signal) => pass_on(&launched, signal),
            Event::Deadline if out_of_time => {
                // PID 1 takes everything else with it (pid_namespaces(7)).
                let _ = pidfd_send_signal(&launched.pidfd, Signal::KILL);
                deadline = None;
            }
            Event::Deadline => {
                out_of_time = true;
                pass_on(&launched, SIGTERM);
                deadline = Some(Instant::now() + GRACE);
            }
        }
    };
    let _ = process::wait_for(launched.pid);
    let ending = match message {
        Some(Message::StepFailed { index, part, errno }) => {
            Ending::NotStarted(failed_step(&launched.words, index, part, errno))
        }
        Some(Message::ForkFailed(errno)) => {
            Ending::NotStarted(other_failure("start the workload", errno, None))
        }
        Some(Message::DirectoryFailed(errno)) => Ending::NotStarted(other_failure(
            "enter the working directory",
            errno,
            Some("the workload's user may not search it; name it under read_only or read_write"),
        )),
        _ if out_of_time => Ending::WallTime,
        Some(Message::ExecFailed(errno)) => Ending::NotExecuted(Errno(errno)),
        Some(Message::Ended(status)) => ended(status),
        None => Ending::Lost,
    };
    Outcome { ending }
}

/// What a supervisor waits for.
enum Event {
    /// A message of the first process, or its end.
    Message(Option<Message>),
    /// A signal for the workload.
    Signal(i32),
    /// The clock.
    Deadline,
}

fn wait(launched: &Launched, forwarding: Option<&Forwarding>, deadline: Option<Instant>) -> Event {
    loop {
        // A closed descriptor would be an error; one that never becomes readable stands in for it.
        let signals = forwarding.map_or(launched.pidfd.as_fd(), |forwarding| forwarding.signals.as_fd());
        let events = if forwarding.is_some() { PollFlags::IN } else { PollFlags::empty() };
        let mut waiting =
            [PollFd::new(&launched.status, PollFlags::IN), PollFd::from_borrowed_fd(signals, events)];
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Event::Deadline;
        }
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        if poll(&mut waiting, timeout.as_ref()).is_err() {
            continue;
        }
        if !waiting[0].revents().is_empty() {
            return Event::Message(Message::receive(launched.status.as_fd()));
        }
        if waiting[1].revents().contains(PollFlags::IN)
            && let Some(signal) = forwarding.and_then(|forwarding| next_signal(forwarding.signals.as_fd()))
        {
            return Event::Signal(signal);
        }
    }
}

fn next_signal(signals: BorrowedFd<'_>) -> Option<i32> {
    signal::read_signal(signals).ok().flatten().map(|received| received.signal)
}

/// The first process blocks every signal and reads them from a descriptor, so this reaches the workload and not it.
fn pass_on(launched: &Launched, signal: i32) {
    if let Some(signal) = Signal::from_named_raw(signal) {
        let _ = pidfd_send_signal(&launched.pidfd, signal);
    }
}

fn ended(status: i32) -> Ending {
    match WaitStatus::from_raw(status) {
        Some(WaitStatus::Exited(code)) => Ending::Exited(u8::try_from(code).unwrap_or(u8::MAX)),
        Some(WaitStatus::Signaled(signal)) => Ending::Signaled(u8::try_from(signal).unwrap_or(u8::MAX)),
        None => Ending::Lost,
    }
}

fn failed_step(words: &[String], index: i32, part: Part, errno: i32) -> Failure {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    let action = words.get(index).cloned().unwrap_or_else(|| "unknown step".into());
    let hint = match (part, rustix::io::Errno::from_raw_os_error(errno)) {
        (Part::Changed, _) => Some("something replaced the file between the check and the mount; try again"),
        (_, rustix::io::Errno::NOSPC) => {
            Some("a limit of mounts or namespaces is reached (/proc/sys/fs/mount-max, /proc/sys/user)")
        }
        (Part::Source, rustix::io::Errno::ACCESS) => Some("the caller may not search a directory above it"),
        _ => None,
    };
    Failure { step: index.saturating_add(1), action, part: part.word(), errno: Errno(errno), hint }
}

fn other_failure(action: &str, errno: i32, hint: Option<&'static str>) -> Failure {
    Failure { step: 0, action: action.into(), part: None, errno: Errno(errno), hint }
}

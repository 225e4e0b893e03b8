//! `supervise`: has a sandbox's first program started, waits for it, and meanwhile passes signals on, carries bytes, serves
//! clients, and keeps the clock.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use palisade_policy::Clause;
use palisade_sys::Errno;
use palisade_sys::process::{self, WaitStatus};
use palisade_sys::signal::{
    self, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGWINCH,
    SignalSet,
};
use rustix::event::{PollFlags, Timespec};
use rustix::process::{Signal, pidfd_send_signal};

use crate::cgroup::Look;
use crate::channel::{Channel, FIRST, Message, Part, Received};
use crate::denials::Denials;
use crate::event::Event;
use crate::failure::Failure;
use crate::front::Front;
use crate::launch::Launched;
use crate::limits::{self, Gauges};
use crate::outcome::{Ending, LimitHit, Outcome, Usage};
use crate::ready::ready;
use crate::service::{Client, Service};
use crate::workspace::Workspace;

/// How long a workload may take to end after SIGTERM at the wall-time limit, before everything is killed.
const GRACE: Duration = Duration::from_secs(2);

/// Signals that a caller sends to a run and means for the workload.
const FORWARDED: [i32; 7] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH];

/// Signals that would stop a process in the background that touches its terminal; blocked, the call fails instead.
const OF_THE_TERMINAL: [i32; 2] = [SIGTTIN, SIGTTOU];

/// Every process of a sandbox, where a program's number is asked for.
const EVERYTHING: i32 = -1;

/// SIGKILL, as an ending tells it.
const KILLED: u8 = 9;
/// Sent by the kernel at RLIMIT_CPU and at RLIMIT_FSIZE (setrlimit(2)).
const SIGXCPU: u8 = 24;
const SIGXFSZ: u8 = 25;

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
        let original = signal::block(&set);
        signal::block(&SignalSet::of(&OF_THE_TERMINAL));
        Ok(Self { signals, original })
    }

    /// The mask from before.
    pub(crate) fn original_mask(&self) -> SignalSet {
        self.original
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// The next signal that is pending.
    pub(crate) fn next(&self) -> Option<i32> {
        signal::read_signal(self.signals.as_fd()).ok().flatten().map(|received| received.signal)
    }
}

/// A sandbox under supervision.
pub(crate) struct Supervisor<'a> {
    pub(crate) launched: Launched,
    pub(crate) front: Front,
    pub(crate) forwarding: Option<&'a Forwarding>,
    pub(crate) service: Option<Service>,
    pub(crate) clients: Vec<Client>,
    pub(crate) events: Option<&'a mut dyn FnMut(Event)>,
    next_program: i32,
    deadline: Option<Instant>,
    /// When to look at the processor time again.
    look: Option<Instant>,
    out_of_cpu_time: bool,
    gauges: Gauges,
    /// When to look at them again.
    next_gauging: Option<Instant>,
    ending: Option<Ending>,
    limits_hit: Vec<LimitHit>,
    denials: Denials,
}

/// Where something was heard of.
enum Source {
    Sandbox,
    Signals,
    Service,
    Client(usize),
    Relay(usize),
    Denial,
}

impl<'a> Supervisor<'a> {
    pub(crate) fn new(launched: Launched, front: Front, forwarding: Option<&'a Forwarding>) -> Self {
        Self {
            launched,
            front,
            forwarding,
            service: None,
            clients: Vec::new(),
            events: None,
            next_program: FIRST + 1,
            deadline: None,
            look: None,
            out_of_cpu_time: false,
            gauges: Gauges::default(),
            next_gauging: None,
            ending: None,
            limits_hit: Vec::new(),
            denials: Denials::default(),
        }
    }

    /// Waits for the sandbox to its end.
    ///
    /// At the wall-time limit everything in it gets SIGTERM, and after a grace of two seconds its first process is killed,
    /// which nothing inside can prevent.
    pub(crate) fn run(mut self) -> Outcome {
        let start = Instant::now();
        self.deadline = self.launched.wall_time.map(|time| start + time);
        self.look_at_cpu_time();
        let given = self.front.take_given();
        let lent: Vec<BorrowedFd<'_>> = given.iter().map(AsFd::as_fd).collect();
        // A first process that is gone already has said why, or says nothing any more; both are read below.
        let message = Message::Start { program: FIRST, terminal: self.front.terminal() };
        let _ = self.launched.channel.send(message, &lent);
        drop(given);
        let message = loop {
            if let Some(last) = self.turn() {
                break last;
            }
        };
        let counted =
            process::wait_and_account(self.launched.pid).map(|(_, usage)| usage).unwrap_or_default();
        let usage = self.launched.groups.usage(Usage {
            wall: start.elapsed(),
            cpu_user: counted.user,
            cpu_system: counted.system,
            largest_process: Some(counted.peak_resident),
            ..Usage::default()
        });
        let told = message.map_or(Ending::Lost, |message| self.ending_of(message));
        let ending = match (self.ending.take(), told) {
            // That it never ran is worth more than that time was up.
            (_, told @ Ending::NotStarted(_)) | (None, told) => told,
            (Some(Ending::Stopped), told) if told != Ending::Lost => told,
            (Some(ending), _) => ending,
        };
        self.note_truncation();
        let ending = self.note_limits(ending, usage.cpu_user + usage.cpu_system);
        self.emit(|| Event::Ended { exit_code: ending.exit_code() });
        let denied = self.denials.told();
        let workspace = self.launched.workspace.take();
        Outcome {
            ending,
            output: self.front.finish(true),
            limits_hit: self.limits_hit,
            denied,
            workspace,
            usage,
        }
    }

    /// Waits once and does what is due. The message that says how the first program ended, or `None` in it when the first
    /// process is gone without one.
    fn turn(&mut self) -> Option<Option<Message>> {
        for source in self.wait() {
            match source {
                Source::Sandbox => match self.launched.channel.receive() {
                    None => return Some(None),
                    Some(received) => {
                        if let Some(message) = self.heard(received) {
                            return Some(Some(message));
                        }
                    }
                },
                Source::Signals => self.signalled(),
                Source::Service => {
                    self.clients.extend(self.service.as_ref().and_then(Service::accept));
                }
                Source::Client(index) => self.asked(index),
                Source::Denial => {
                    if let Some(call) = self.denials.answer() {
                        self.emit(|| Event::Denied { call });
                    }
                }
                Source::Relay(index) => {
                    self.front.advance(index);
                    self.note_truncation();
                }
            }
        }
        self.clients.retain(|client| !client.is_gone());
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            self.out_of_time();
        }
        if self.look.is_some_and(|look| look <= Instant::now()) {
            self.look_at_cpu_time();
        }
        if self.next_gauging.is_some_and(|next| next <= Instant::now()) {
            self.look_at_file_systems();
        }
        None
    }

    fn wait(&self) -> Vec<Source> {
        let mut sources = vec![(Source::Sandbox, self.launched.channel.as_fd(), PollFlags::IN)];
        let mut also = |source, descriptor| sources.push((source, descriptor, PollFlags::IN));
        if let Some(forwarding) = self.forwarding {
            also(Source::Signals, forwarding.descriptor());
        }
        if let Some(service) = &self.service {
            also(Source::Service, service.as_fd());
        }
        if let Some(listener) = self.denials.descriptor() {
            also(Source::Denial, listener);
        }
        for (index, client) in self.clients.iter().enumerate() {
            also(Source::Client(index), client.channel.as_fd());
        }
        let relays = self.front.interests();
        sources.extend(relays.map(|(index, descriptor, flags)| (Source::Relay(index), descriptor, flags)));
        let next = self.deadline.into_iter().chain(self.look).chain(self.next_gauging).min();
        let left = next.map(|next| next.saturating_duration_since(Instant::now()));
        ready(sources, left.and_then(|left| Timespec::try_from(left).ok()))
    }

    /// A message of the first process; returned if it is the end of the run.
    fn heard(&mut self, received: Received) -> Option<Message> {
        let Received { message, descriptors } = received;
        match message {
            Message::Ready => {
                let pid = self.launched.pid;
                self.emit(|| Event::Started { pid });
                None
            }
            Message::Listener => {
                if let Some(listener) = descriptors.into_iter().flatten().next() {
                    self.denials.listen(listener);
                }
                None
            }
            Message::Checkpoint { step } => {
                let (step, pid) = (usize::try_from(step).unwrap_or(0), self.launched.pid);
                self.emit(|| Event::Checkpoint { step, pid });
                // It waits for this.
                drop(descriptors);
                None
            }
            Message::Workspace => {
                if let (Some(workspace), Some(upper)) =
                    (&mut self.launched.workspace, descriptors.into_iter().flatten().next())
                {
                    workspace.changes_are_in(upper);
                }
                None
            }
            Message::FileSystem { number } => {
                let known = usize::try_from(number)
                    .ok()
                    .and_then(|number| self.launched.watched.file_systems.get(number));
                if let (Some((_, clause)), Some(file_system)) =
                    (known, descriptors.into_iter().flatten().next())
                {
                    self.gauges.add(clause.clone(), file_system);
                    self.next_gauging = Some(Instant::now() + limits::LOOK);
                }
                None
            }
            Message::NoMoreProcesses => {
                self.hit_once(Clause::new("resources.processes"));
                None
            }
            Message::Terminal { program: FIRST } => {
                if let Some(master) = descriptors.into_iter().flatten().next()
                    && self.front.on_terminal(master).is_err()
                {
                    // Without relays the program would wait for ever.
                    self.kill();
                }
                None
            }
            message if message.program().is_some_and(|program| program != FIRST) => {
                let number = message.program();
                let client = self.clients.iter_mut().find(|client| client.program == number);
                if let Some(client) = client {
                    client.tell(message, descriptors);
                }
                None
            }
            message => Some(message),
        }
    }

    fn signalled(&mut self) {
        while let Some(signal) = self.forwarding.and_then(Forwarding::next) {
            if signal == SIGWINCH && self.front.terminal().is_some() {
                self.front.resize();
            } else {
                self.pass_on(FIRST, signal);
            }
        }
    }

    fn pass_on(&self, program: i32, signal: i32) {
        // A first process that takes no more is about to end.
        let _ = self.launched.channel.try_send(Message::Signal { program, signal }, &[]);
    }

    /// A client has something to say, or is gone.
    fn asked(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else { return };
        match client.channel.receive() {
            // One program for each connection: its end is the end of the conversation.
            Some(Received { message: Message::Start { terminal, .. }, descriptors })
                if client.program.is_none() =>
            {
                let program = self.next_program;
                self.next_program = self.next_program.wrapping_add(1).max(FIRST + 1);
                client.program = Some(program);
                let lent: Vec<BorrowedFd<'_>> = descriptors.iter().flatten().map(AsFd::as_fd).collect();
                let _ = self.launched.channel.send(Message::Start { program, terminal }, &lent);
            }
            Some(Received { message: Message::Signal { signal, .. }, .. }) => {
                if let Some(program) = client.program {
                    self.pass_on(program, signal);
                }
            }
            Some(Received { message: Message::Stop, .. }) => self.end(Ending::Stopped),
            Some(_) => client.dismiss(),
            None => {
                client.dismiss();
                // Nobody is left to read its output or to hear of its end.
                if let Some(program) = client.program.filter(|program| *program != FIRST) {
                    self.pass_on(program, SIGKILL);
                }
            }
        }
    }

    fn out_of_time(&mut self) {
        if self.ending.is_some() {
            self.kill();
            self.deadline = None;
        } else {
            self.hit(Clause::new("resources.wall_time"));
            self.end(Ending::WallTime);
        }
    }

    /// Ends everything when the processor time is used up: whoever has used it would only use more to react to a signal.
    fn look_at_cpu_time(&mut self) {
        self.look = match self.launched.groups.look() {
            None => None,
            Some(Look::Again(after)) => Some(Instant::now() + after),
            Some(Look::UsedUp) => {
                self.out_of_cpu_time = true;
                self.hit(Clause::new("resources.cpu_time"));
                self.kill();
                None
            }
        };
    }

    fn look_at_file_systems(&mut self) {
        let workspace = self.launched.workspace.as_ref().and_then(Workspace::file_system);
        let disk = workspace.is_some_and(limits::is_full).then_some(limits::DISK);
        for clause in self.gauges.full().into_iter().chain(disk) {
            self.hit_once(clause);
        }
        self.next_gauging = Some(Instant::now() + limits::LOOK);
    }

    /// Notes the limits whose counters are read at the end, and those that a signal of the kernel tells of. The ending,
    /// with what they say about it.
    fn note_limits(&mut self, ending: Ending, cpu_time: Duration) -> Ending {
        self.look_at_file_systems();
        for hit in self.launched.groups.hits() {
            self.emit(|| Event::LimitHit { clause: hit.clause.clone() });
            self.limits_hit.push(hit);
        }
        let clause = match ending {
            Ending::Signaled(SIGXCPU) => Some("resources.cpu_time"),
            Ending::Signaled(SIGXFSZ) => Some("resources.file_size"),
            // The kernel kills at once at a hard limit (setrlimit(2)); only the time tells that it was this one.
            Ending::Signaled(KILLED) if self.launched.watched.is_cpu_time(cpu_time) => {
                Some("resources.cpu_time")
            }
            _ => None,
        };
        if let Some(clause) = clause {
            self.hit_once(Clause::new(clause));
        }
        let for_memory = self.limits_hit.iter().any(|hit| hit.clause.as_str() == "resources.memory");
        // The first process and with it everything else: by this supervisor, or by the kernel, which looks for somebody to
        // kill among all of them.
        let killed = ending == Ending::Lost && (self.out_of_cpu_time || for_memory);
        if killed { Ending::Signaled(KILLED) } else { ending }
    }

    /// Begins the end: SIGTERM to everything, and a deadline.
    fn end(&mut self, ending: Ending) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(ending);
        self.pass_on(EVERYTHING, SIGTERM);
        // A stopped process would not notice.
        self.pass_on(EVERYTHING, SIGCONT);
        self.deadline = Some(Instant::now() + GRACE);
    }

    /// PID 1 takes everything else with it (pid_namespaces(7)).
    fn kill(&self) {
        let _ = pidfd_send_signal(&self.launched.pidfd, Signal::KILL);
    }

    fn note_truncation(&mut self) {
        if self.front.is_truncated() {
            self.hit_once(Clause::new("resources.output"));
        }
    }

    fn hit_once(&mut self, clause: Clause) {
        if !self.limits_hit.iter().any(|hit| hit.clause == clause) {
            self.hit(clause);
        }
    }

    fn hit(&mut self, clause: Clause) {
        self.emit(|| Event::LimitHit { clause: clause.clone() });
        self.limits_hit.push(LimitHit { clause, times: None });
    }

    fn emit(&mut self, event: impl FnOnce() -> Event) {
        if let Some(events) = &mut self.events {
            events(event());
        }
    }

    fn ending_of(&self, message: Message) -> Ending {
        let failed = |action: &str, errno, hint| Ending::NotStarted(other_failure(action, errno, hint));
        match message {
            Message::StepFailed { index, part, errno } => {
                Ending::NotStarted(failed_step(&self.launched.words, index, part, errno))
            }
            Message::ForkFailed { errno, .. } => failed("start the workload", errno, None),
            Message::RequestFailed { errno, .. } => failed("give the workload its descriptors", errno, None),
            Message::TerminalFailed { errno, .. } => {
                failed("make a private terminal", errno, Some("`process: {terminal: none}` runs without one"))
            }
            Message::DirectoryFailed { errno, .. } => failed(
                "enter the working directory",
                errno,
                Some("the workload's user may not search it; name it under read_only or read_write"),
            ),
            Message::ExecFailed { errno, .. } => Ending::NotExecuted(Errno(errno)),
            Message::Ended { status, .. } => ended(status),
            Message::Go
            | Message::Checkpoint { .. }
            | Message::Ready
            | Message::Listener
            | Message::Start { .. }
            | Message::Signal { .. }
            | Message::Stop
            | Message::Workspace
            | Message::FileSystem { .. }
            | Message::NoMoreProcesses
            | Message::Terminal { .. } => Ending::Lost,
        }
    }
}

/// How a wait(2) status word says that a program ended.
pub(crate) fn ended(status: i32) -> Ending {
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

pub(crate) fn other_failure(action: &str, errno: i32, hint: Option<&'static str>) -> Failure {
    Failure { step: 0, action: action.into(), part: None, errno: Errno(errno), hint }
}

impl Client {
    /// Passes a message about its program on, with what came along.
    fn tell(&mut self, message: Message, descriptors: [Option<OwnedFd>; crate::channel::MOST_DESCRIPTORS]) {
        let lent: Vec<BorrowedFd<'_>> = descriptors.iter().flatten().map(AsFd::as_fd).collect();
        // A client that does not read is not worth waiting for.
        if self.channel.try_send(message, &lent).is_err() || !matches!(message, Message::Terminal { .. }) {
            self.dismiss();
        }
    }
}

/// A channel of the supervisor with one client.
impl From<Channel> for Client {
    fn from(channel: Channel) -> Self {
        Self { channel, program: None, gone: false }
    }
}

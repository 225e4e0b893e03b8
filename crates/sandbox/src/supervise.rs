//! `supervise`: has a sandbox's first program started, waits for it, and meanwhile passes signals on, carries bytes, serves
//! clients, and keeps the clock.

mod forwarding;
mod limits;
mod told;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use palisade_plan::Plan;
use palisade_policy::Clause;
use palisade_sys::memory::release_program;
use palisade_sys::process;
use palisade_sys::signal::{SIGCONT, SIGKILL, SIGTERM, SIGWINCH};
use rustix::event::{PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};

use crate::channel::{FIRST, Message, Received};
use crate::denials::Denials;
use crate::egress::{Egress, Heard};
use crate::event::Event;
use crate::failure::{Failure, words};
use crate::front::Front;
use crate::launch::Launched;
use crate::limits::{Gauges, LOOK};
use crate::link::Link;
use crate::outcome::{Ending, LimitHit, Outcome, Usage};
use crate::ready::ready;
use crate::service::{Client, Service};

pub use forwarding::Forwarding;
pub(crate) use told::{ended, other_failure};

/// How long a workload may take to end after SIGTERM at the wall-time limit, before everything is killed.
const GRACE: Duration = Duration::from_secs(2);

/// What has run for this long is no short command, whose end would only wait for what is mapped again.
const SETTLED: Duration = Duration::from_millis(100);

/// Every process of a sandbox, where a program's number is asked for.
const EVERYTHING: i32 = -1;

/// A sandbox under supervision.
pub(crate) struct Supervisor<'a> {
    plan: &'a Plan,
    pub(crate) launched: Launched,
    pub(crate) front: Front,
    pub(crate) forwarding: Option<&'a Forwarding>,
    pub(crate) service: Option<Service>,
    pub(crate) clients: Vec<Client>,
    pub(crate) events: Option<&'a mut dyn FnMut(Event)>,
    /// Whether the sandbox has said that it is ready.
    started: bool,
    next_program: i32,
    deadline: Option<Instant>,
    /// When to look at the processor time again.
    look: Option<Instant>,
    out_of_cpu_time: bool,
    gauges: Gauges,
    /// When to look at them again.
    next_gauging: Option<Instant>,
    /// When to give back the memory that only the start needed.
    settling: Option<Instant>,
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
    Network,
    Link,
}

impl<'a> Supervisor<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        launched: Launched,
        front: Front,
        forwarding: Option<&'a Forwarding>,
    ) -> Self {
        Self {
            plan,
            launched,
            front,
            forwarding,
            service: None,
            clients: Vec::new(),
            events: None,
            started: false,
            next_program: FIRST + 1,
            deadline: None,
            look: None,
            out_of_cpu_time: false,
            gauges: Gauges::default(),
            next_gauging: None,
            settling: None,
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
        // Only in a process that does nothing else.
        self.settling = self.forwarding.map(|_| start + SETTLED);
        self.look_at_cpu_time();
        // Where something is let out, not before somebody serves the sockets, which is while the first process does the rest: what
        // cannot be served is not started.
        if self.launched.egress.is_none() {
            self.begin();
        }
        let message = loop {
            if let Some(last) = self.turn() {
                break last;
            }
        };
        // Of a program that was not begun: as long as they are here, a reader of the output waits for more.
        drop(self.front.take_given());
        let counted =
            process::wait_and_account(self.launched.pid).map(|(_, usage)| usage).unwrap_or_default();
        let usage = self.launched.groups.usage(Usage {
            wall: start.elapsed(),
            cpu_user: counted.user,
            cpu_system: counted.system,
            largest_process: Some(counted.peak_resident),
            ..Usage::default()
        });
        let mut told = message.map_or(Ending::Lost, |message| self.ending_of(message));
        if let (Ending::NotStarted(failure), Some(link)) = (&mut told, &mut self.launched.link)
            && failure.step >= link.step
            && let Some(how) = link.ended()
        {
            failure.action = format!("{} (who carries the link has ended: {how})", failure.action);
        }
        let ending = match (self.ending.take(), told) {
            // That it never ran is worth more than that time was up.
            (_, told @ Ending::NotStarted(_)) | (None, told) => told,
            (Some(Ending::Stopped), told) if told != Ending::Lost => told,
            (Some(ending), _) => ending,
        };
        // What is left of it counts against the budget, too.
        let output = self.front.finish(true);
        self.note_truncation();
        self.hear_of_network();
        let ending = self.note_limits(ending, usage.cpu_user + usage.cpu_system);
        self.emit(|| Event::Ended { exit_code: ending.exit_code() });
        let denied = self.denials.told();
        let workspace = self.launched.workspace.take();
        let traffic = self.launched.egress.take().map(Egress::end);
        Outcome { ending, output, limits_hit: self.limits_hit, denied, traffic, workspace, usage }
    }

    /// Has the first program started.
    fn begin(&mut self) {
        let given = self.front.take_given();
        let lent: Vec<BorrowedFd<'_>> = given.iter().map(AsFd::as_fd).collect();
        // A first process that is gone already has said why, or says nothing any more; both are read later.
        let message = Message::Start { program: FIRST, terminal: self.front.terminal() };
        let _ = self.launched.channel.send(message, &lent);
    }

    /// Begins to carry what is let out, and then the program.
    fn open_network(&mut self) {
        let Some(egress) = &mut self.launched.egress else { return };
        match egress.serve(&self.launched.channel) {
            Ok(()) => self.begin(),
            Err(error) => {
                let step = egress.step;
                self.not_started(step, error.raw_os_error().unwrap_or(0));
            }
        }
    }

    /// Does something to the interface that leads out, for which the first process waits.
    fn on_link(&mut self, act: impl FnOnce(&mut Link) -> Result<(), Errno>) {
        let Some(link) = &mut self.launched.link else { return };
        if let Err(errno) = act(link) {
            let step = link.step;
            self.not_started(step, errno.raw_os_error());
        }
    }

    /// Who carries the link has ended, and with it the link.
    fn link_ended(&mut self) {
        if let Some(message) = self.launched.link.as_mut().and_then(Link::end) {
            self.emit(|| Event::NetworkEnded { message });
        }
    }

    /// A step of this side failed.
    fn not_started(&mut self, step: usize, errno: i32) {
        let action = words(self.plan, step).unwrap_or_default();
        let failure = Failure { step, action, part: None, errno: palisade_sys::Errno(errno), hint: None };
        self.ending = Some(Ending::NotStarted(failure));
        self.kill();
    }

    /// Hears what the gateway tells.
    fn hear_of_network(&mut self) {
        let heard = self.launched.egress.as_mut().map(Egress::hear).unwrap_or_default();
        for heard in heard {
            match heard {
                Heard::Denied(denied) => self.emit(|| Event::DestinationDenied { denied }),
                Heard::Limit(which) => self.limit_of_network(&which),
                Heard::Died(message) => self.emit(|| Event::NetworkEnded { message }),
            }
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
                Source::Network => self.hear_of_network(),
                Source::Link => self.link_ended(),
                Source::Denial => {
                    if let Some(call) = self.denials.answer() {
                        self.has_started();
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
        if self.settling.is_some_and(|time| time <= Instant::now()) {
            self.settling = None;
            release_program();
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
        if let Some(told) = self.launched.egress.as_ref().and_then(Egress::descriptor) {
            also(Source::Network, told);
        }
        if let Some(carrier) = self.launched.link.as_ref().and_then(Link::descriptor) {
            also(Source::Link, carrier);
        }
        for (index, client) in self.clients.iter().enumerate() {
            also(Source::Client(index), client.channel.as_fd());
        }
        // What the program prints is dealt with after its start was told; until then it waits in its pipe.
        let relays = self.front.interests().filter(|_| self.started);
        sources.extend(relays.map(|(index, descriptor, flags)| (Source::Relay(index), descriptor, flags)));
        let times = [self.deadline, self.look, self.next_gauging, self.settling];
        let next = times.into_iter().flatten().min();
        let left = next.map(|next| next.saturating_duration_since(Instant::now()));
        ready(sources, left.and_then(|left| Timespec::try_from(left).ok()))
    }

    /// The sandbox is ready. It may be heard of that first by what its first program does, which is started as soon as it can.
    fn has_started(&mut self) {
        if !self.started {
            let pid = self.launched.pid;
            self.started = true;
            self.emit(|| Event::Started { pid });
        }
    }

    /// A message of the first process; returned if it is the end of the run.
    fn heard(&mut self, received: Received) -> Option<Message> {
        let Received { message, descriptors } = received;
        if message == Message::Ready || message.program() == Some(FIRST) {
            self.has_started();
        }
        match message {
            Message::Ready => None,
            Message::Serve => {
                self.open_network();
                None
            }
            Message::Listener => {
                if let Some(listener) = descriptors.into_iter().flatten().next() {
                    self.denials.listen(listener);
                }
                None
            }
            Message::Socket { kind } => {
                if let (Some(egress), Some(socket)) =
                    (&mut self.launched.egress, descriptors.into_iter().flatten().next())
                {
                    egress.take(socket, kind);
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
            Message::Attach => {
                if let Some(held) = descriptors.into_iter().flatten().next() {
                    let pid = self.launched.pid;
                    self.on_link(|link| link.attach(pid, held));
                }
                None
            }
            Message::Raise => {
                self.on_link(Link::raise);
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
                    self.next_gauging = Some(Instant::now() + LOOK);
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

    fn emit(&mut self, event: impl FnOnce() -> Event) {
        if let Some(events) = &mut self.events {
            events(event());
        }
    }
}

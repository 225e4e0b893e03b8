//! PID 1 of the sandbox: starts programs when it is told to, reaps, passes signals on, and ends everything.
//!
//! It never executes a program, so it keeps the memory of its parent; it is not dumpable, and its arguments and
//! environment are wiped. It runs under the same filter and without any privilege, like all that it starts: what it forks
//! is by that alone in the same namespaces, under the same filter, rules and limits, whether it is the program that the
//! sandbox was made for or one that was added later. There is no other way in. When it ends, the kernel kills whatever is
//! left in the pid namespace (pid_namespaces(7)).
//!
//! The rules of [`crate::child`] hold here too: no allocation, no lock.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use palisade_sys::process::{self, ForkedChild, Reaped};
use palisade_sys::signal::{self, SIGCHLD, SIGKILL, SignalSet};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, socket_with};

use crate::channel::{Channel, FIRST, Message, Received};
use crate::limits::{self, Watched};
use crate::prepare::Prepared;
use crate::program;

/// How many programs can run at the same time that init has started itself.
const MOST_PROGRAMS: usize = 64;

/// How often to ask whether another process could be made, where nothing counts how often none could.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: limits::LOOK.subsec_nanos() as i64 };

/// Not to wait.
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The programs that run: process id and number.
type Programs = [Option<(i32, i32)>; MOST_PROGRAMS];

/// Serves its supervisor until the first program has ended, or the supervisor.
pub(crate) fn run(proof: &ForkedChild, prepared: &mut Prepared, mask: &SignalSet, channel: Channel) -> ! {
    // Every signal was blocked before this process was cloned, so none is lost before the descriptor exists. A
    // blocked signal is queued even for PID 1, whose unhandled signals the kernel otherwise discards.
    let Ok(signals) = signal::signalfd(&SignalSet::all()) else { process::exit(1) };
    // Programs get copies of their own; with this process's closed, a reader of the output sees its end. The trees are mounted.
    // Whatever else the caller had open a step has closed, and only that step: one that is left out must show.
    let Ok(channel) = channel.above_standard() else { process::exit(1) };
    let spent = (0..=2).chain(prepared.trees.iter().copied()).filter(|fd| *fd != signals.as_raw_fd());
    if process::close_each(proof, spent).is_err() {
        process::exit(1);
    }
    let Prepared { programs: given, stack, .. } = prepared;
    let mut asking = prepared.watched.processes;
    let mut is_told = false;
    let mut programs: Programs = [None; MOST_PROGRAMS];
    loop {
        let mut waiting = [PollFd::new(&signals, PollFlags::IN), PollFd::new(&channel, PollFlags::IN)];
        let patience = if is_told { asking.then_some(&LOOK) } else { Some(&NOW) };
        match poll(&mut waiting, patience) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => process::exit(1),
        }
        let (signalled, told) = (waiting[0].revents(), waiting[1].revents());
        if told.intersects(PollFlags::HUP | PollFlags::ERR) {
            // The supervisor is gone: nobody is left to obey or to report to.
            process::exit(1);
        }
        // Before anything is reaped: what has ended counts until then, and may have ended because it could not fork.
        if asking && is_told && !process::could_fork() {
            let _ = channel.send(Message::NoMoreProcesses, &[]);
            asking = false;
        }
        if !signalled.is_empty() {
            drain(signals.as_fd());
            reap(&mut programs, &channel);
        }
        if told.contains(PollFlags::IN) {
            match channel.receive() {
                Some(Received { message: Message::Start { program, terminal }, descriptors }) => {
                    let Some(place) = programs.iter_mut().find(|place| place.is_none()) else {
                        fork_failed(&channel, program, Errno::AGAIN.raw_os_error());
                        continue;
                    };
                    let mut start = program::Start {
                        programs: given,
                        mask,
                        channel: &channel,
                        program,
                        terminal,
                        descriptors,
                    };
                    match process::fork_sharing(proof, stack, &mut start, program::start) {
                        Ok(pid) => *place = Some((pid, program)),
                        Err(errno) => fork_failed(&channel, program, errno.0),
                    }
                }
                Some(Received { message: Message::Signal { program, signal }, .. }) => {
                    deliver(&programs, program, signal);
                }
                Some(Received { message: Message::Connect { port }, descriptors }) => {
                    if let Some(answer) = descriptors.into_iter().flatten().next() {
                        connect(port, &Channel::of(answer));
                    }
                }
                Some(_) | None => process::exit(1),
            }
        }
        // After the first program, if it is wanted already: the supervisor that wakes up takes the processor from it.
        if !is_told {
            is_told = true;
            hand_over(&prepared.watched, &channel);
            if channel.send(Message::Ready, &[]).is_err() {
                process::exit(1);
            }
        }
    }
}

/// Gives the supervisor the file systems that it is to look at. No program can have put something else in their places: they
/// are mounted there.
fn hand_over(watched: &Watched, channel: &Channel) {
    for (number, (path, _)) in (0..).zip(&watched.file_systems) {
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        if let Ok(file_system) = rustix::fs::open(path.as_c_str(), flags, Mode::empty()) {
            let _ = channel.send(Message::FileSystem { number }, &[file_system.as_fd()]);
        }
    }
}

/// Connects to a port of the sandbox's loopback for somebody outside, who may not enter the network namespace.
fn connect(port: u16, answer: &Channel) {
    let refused = |errno: Errno| Message::Connected { errno: errno.raw_os_error() };
    let _ = match connected(port) {
        Ok(socket) => answer.try_send(Message::Connected { errno: 0 }, &[socket.as_fd()]),
        Err(errno) => answer.try_send(refused(errno), &[]),
    };
}

/// A server may listen on either family's loopback only.
fn connected(port: u16) -> Result<OwnedFd, Errno> {
    connect_to(AddressFamily::INET, (Ipv4Addr::LOCALHOST, port).into())
        .or_else(|_| connect_to(AddressFamily::INET6, (Ipv6Addr::LOCALHOST, port).into()))
}

/// Does not wait: what cannot be accepted at once is under way when it is handed out (connect(2), EINPROGRESS).
fn connect_to(family: AddressFamily, address: SocketAddr) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

fn fork_failed(channel: &Channel, program: i32, errno: i32) {
    let _ = channel.send(Message::ForkFailed { program, errno }, &[]);
    if program == FIRST {
        process::exit(1);
    }
}

/// Whatever else reaches this process is none of its business: signals for programs come as records.
fn drain(signals: BorrowedFd<'_>) {
    while let Ok(Some(received)) = signal::read_signal(signals) {
        let _: bool = received.signal == SIGCHLD;
    }
}

/// Sends a signal to a program and what it has started, as long as that stays in its process group; or to everything.
fn deliver(programs: &Programs, program: i32, signal: i32) {
    if program < 0 {
        if rustix::process::getpid().is_init() {
            // To every process of the namespace but the caller (kill(2)).
            let _ = process::kill(-1, signal);
        } else {
            // A plan given as data need not have a pid namespace, and then everything is the whole machine.
            programs.iter().flatten().for_each(|(_, number)| deliver(programs, *number, signal));
        }
        return;
    }
    let Some((pid, _)) = programs.iter().flatten().find(|(_, number)| *number == program) else { return };
    if process::kill(-pid, signal).is_err() || signal == SIGKILL {
        // Before the program has made a group of its own, or when it has left it.
        let _ = process::kill(*pid, signal);
    }
}

/// Collects every ended child. Several may hide behind one SIGCHLD.
fn reap(programs: &mut Programs, channel: &Channel) {
    while let Ok(Some(Reaped { pid, status })) = process::wait_any() {
        let ended = programs.iter_mut().find(|place| place.is_some_and(|(running, _)| running == pid));
        let Some((_, program)) = ended.and_then(Option::take) else { continue };
        let _ = channel.send(Message::Ended { program, status }, &[]);
        if program == FIRST {
            process::exit(0);
        }
    }
}

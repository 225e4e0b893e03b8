//! PID 1 of the sandbox: starts the workload, reaps, forwards signals, and ends everything when it is told to.
//!
//! It never executes a program, so it keeps the memory of its parent; it is not dumpable, and its arguments and
//! environment are wiped. It runs under the same filter and without any privilege, like all that it starts. When it
//! ends, the kernel kills whatever is left in the pid namespace (pid_namespaces(7)).
//!
//! The rules of [`crate::child`] hold here too: no allocation, no lock.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use palisade_sys::process::{self, ForkedChild, Reaped};
use palisade_sys::signal::{self, SIGCHLD, SignalSet};
use palisade_sys::{Errno, exec};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Mode;

use crate::child::{Channel, close_others};
use crate::message::Message;
use crate::operands::Program;
use crate::prepare::Prepared;

/// The workload's file mode mask: what a login gives.
const UMASK: u32 = 0o022;

/// Starts the workload and waits for it.
pub(crate) fn run(proof: &ForkedChild, prepared: &Prepared, mask: &SignalSet, channel: &Channel) -> ! {
    // Every signal was blocked before this process was cloned, so none is lost before the descriptor exists. A
    // blocked signal is queued even for PID 1, whose unhandled signals the kernel otherwise discards.
    let Ok(signals) = signal::signalfd(&SignalSet::all()) else { process::exit(1) };
    let workload = match process::fork() {
        Ok(None) => start(&prepared.program, mask, channel),
        Ok(Some(pid)) => pid,
        Err(errno) => {
            Message::ForkFailed(errno.0).send(&channel.status);
            process::exit(1)
        }
    };
    // The workload holds its own copies; with this process's closed, a reader of the output sees its end.
    let _ = close_others(proof, 0, &[signals.as_raw_fd()], channel);
    loop {
        let mut waiting =
            [PollFd::new(&signals, PollFlags::IN), PollFd::new(&channel.lifeline, PollFlags::empty())];
        if poll(&mut waiting, None).is_err() {
            continue;
        }
        let hangup = waiting[1].revents().intersects(PollFlags::HUP | PollFlags::ERR);
        if hangup {
            // The supervisor is gone: nobody is left to obey or to report to.
            process::exit(1);
        }
        handle_signals(signals.as_fd(), workload, channel);
    }
}

fn handle_signals(signals: BorrowedFd<'_>, workload: i32, channel: &Channel) {
    while let Ok(Some(received)) = signal::read_signal(signals) {
        if received.signal == SIGCHLD {
            reap(workload, channel);
        } else if received.sender == 0 {
            // Only from outside: a process of the sandbox would otherwise choose the workload's signals.
            let _ = process::kill(workload, received.signal);
        }
    }
}

/// Collects every ended child. Several may hide behind one SIGCHLD.
fn reap(workload: i32, channel: &Channel) {
    loop {
        match process::wait_any() {
            Ok(Some(Reaped { pid, status })) if pid == workload => {
                Message::Ended(status).send(&channel.status);
                process::exit(0);
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

/// The workload's own process, up to the first instruction of its program.
fn start(program: &Program, mask: &SignalSet, channel: &Channel) -> ! {
    rustix::process::umask(Mode::from_raw_mode(UMASK));
    // A group of its own, so that a signal to the group reaches the workload and what it starts, and nothing else.
    let _ = rustix::process::setpgid(None, None);
    if let Err(errno) = rustix::process::chdir(program.directory.as_c_str()) {
        Message::DirectoryFailed(errno.raw_os_error()).send(&channel.status);
        process::exit(1);
    }
    signal::reset_dispositions();
    signal::set_mask(mask);
    let mut worst = Errno(rustix::io::Errno::NOENT.raw_os_error());
    for candidate in &program.candidates {
        let errno = exec::execve(candidate, &program.arguments, &program.environment);
        // As shells do: a program that exists but cannot be run is worth more as an answer than a later "not found".
        if ![rustix::io::Errno::NOENT, rustix::io::Errno::NOTDIR]
            .iter()
            .any(|none| none.raw_os_error() == errno.0)
        {
            worst = errno;
        }
    }
    Message::ExecFailed(worst.0).send(&channel.status);
    process::exit(1)
}

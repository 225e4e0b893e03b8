//! One child process with bounded output and a time limit.
//!
//! Owns spawning, reading and killing. A workload may print without end, close its outputs, leave processes behind that
//! hold them open, or never end; none of that may hang or exhaust the suite.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

use super::no_fork_meanwhile;
use crate::lab::Lab;

/// Most bytes kept of each of the two outputs; the rest is read and dropped.
const MOST_OUTPUT: usize = 1 << 20;

/// How long outputs are still read after the child has ended, for what lies in the pipes.
const AFTER_THE_END: Duration = Duration::from_millis(100);

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// By the suite, after the time limit.
    TimedOut,
    /// It could not be started or waited for.
    Failed(String),
}

/// What a child printed and how it ended.
#[derive(Clone, Debug)]
pub struct Raw {
    /// Standard output, or everything from the terminal.
    pub stdout: Vec<u8>,
    /// For each piece of standard output that was read: its end in `stdout`, and when it came.
    pub arrivals: Vec<(usize, Duration)>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// How it ended.
    pub end: End,
    /// From the start to the end.
    pub took: Duration,
    /// What is not as it was before with the terminal that the child was started on.
    pub terminal: Option<String>,
    /// What was seen of it from outside, where it was looked at.
    pub looked: Option<Result<Vec<u8>, String>>,
}

impl Raw {
    /// A child that never was.
    pub fn failed(why: String) -> Self {
        Self {
            stdout: Vec::new(),
            arrivals: Vec::new(),
            stderr: Vec::new(),
            end: End::Failed(why),
            took: Duration::ZERO,
            terminal: None,
            looked: None,
        }
    }

    /// When the byte at `offset` of standard output had arrived.
    pub fn arrival(&self, offset: usize) -> Option<Duration> {
        self.arrivals.iter().find(|(end, _)| offset < *end).map(|(_, at)| *at)
    }
}

/// What to do while a child runs.
pub struct Trigger<'a> {
    /// Once standard output holds these bytes ...
    pub seen: Vec<u8>,
    /// ... this is called with the child's pid.
    pub act: Box<dyn FnOnce(Pid) + 'a>,
}

/// Starts `command` with the lab's leaks and waits for its end, at most for `limit`.
///
/// The child leads a process group of its own, which is killed with it on a time-out.
pub fn run(
    lab: &Lab,
    command: &mut Command,
    terminal: Option<OwnedFd>,
    trigger: Option<Trigger<'_>>,
    limit: Duration,
) -> Raw {
    let start = Instant::now();
    let spawned = {
        let _alone = no_fork_meanwhile();
        lab.spawn_with_leaks(command)
    };
    let child = match spawned {
        Ok(child) => child,
        Err(error) => return Raw::failed(format!("start: {error}")),
    };
    // The suite's own ends of the child's outputs: a terminal would never report its end while they are open.
    let null = || std::process::Stdio::null();
    command.stdin(null()).stdout(null()).stderr(null());
    let mut running = Running { child, start, raw: Raw::failed(String::new()) };
    if let Err(error) = running.follow(terminal, trigger, limit) {
        running.kill();
        running.raw.end = End::Failed(format!("follow the child: {error}"));
    }
    running.raw.took = start.elapsed();
    running.raw
}

struct Running {
    child: Child,
    start: Instant,
    raw: Raw,
}

impl Running {
    fn follow(
        &mut self,
        terminal: Option<OwnedFd>,
        trigger: Option<Trigger<'_>>,
        limit: Duration,
    ) -> io::Result<()> {
        let stdout: Option<OwnedFd> = terminal.or_else(|| self.child.stdout.take().map(OwnedFd::from));
        let stderr: Option<OwnedFd> = self.child.stderr.take().map(OwnedFd::from);
        let mut outputs = [stdout, stderr];
        let pid = rustix::process::Pid::from_child(&self.child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        let mut trigger = trigger;
        let mut deadline = self.start + limit;
        let mut ended = false;
        while !(ended && outputs.iter().all(Option::is_none)) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                if ended {
                    break;
                }
                self.kill();
                self.raw.end = End::TimedOut;
                return Ok(());
            }
            let ready = wait(&outputs, (!ended).then_some(&pidfd), left)?;
            for (index, ready) in ready.outputs.into_iter().enumerate() {
                if ready && !self.read(index, &mut outputs)? {
                    outputs[index] = None;
                }
            }
            if let Some(wanted) = trigger.take_if(|wanted| contains(&self.raw.stdout, &wanted.seen)) {
                // The child may have ended meanwhile; it is not reaped yet, so the pid is still its own.
                (wanted.act)(self.pid());
            }
            if ready.ended && !ended {
                ended = true;
                deadline = Instant::now() + AFTER_THE_END;
            }
        }
        self.raw.end = self.reap()?;
        Ok(())
    }

    /// Reads what there is; `false` at the end.
    fn read(&mut self, index: usize, outputs: &mut [Option<OwnedFd>; 2]) -> io::Result<bool> {
        let Some(fd) = &outputs[index] else { return Ok(false) };
        let mut buffer = [0_u8; 16 * 1024];
        let count = match rustix::io::read(fd, &mut buffer) {
            // EIO: the last process that had the terminal open is gone (tty_ioctl, pty(7)).
            Ok(0) | Err(rustix::io::Errno::IO) => return Ok(false),
            Ok(count) => count,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let kept = if index == 0 { &mut self.raw.stdout } else { &mut self.raw.stderr };
        let room = MOST_OUTPUT.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..count.min(room)]);
        if index == 0 && room > 0 {
            self.raw.arrivals.push((self.raw.stdout.len(), self.start.elapsed()));
        }
        Ok(true)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    fn reap(&mut self) -> io::Result<End> {
        use std::os::unix::process::ExitStatusExt as _;
        let status = self.child.wait()?;
        Ok(match (status.code(), status.signal()) {
            (Some(code), _) => End::Exited(code),
            (None, Some(signal)) => End::Signalled(signal),
            (None, None) => End::Failed(format!("ended with {status}")),
        })
    }

    fn kill(&mut self) {
        // Not reaped yet, so that pid and group are still the child's.
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Ready {
    outputs: [bool; 2],
    ended: bool,
}

fn wait(outputs: &[Option<OwnedFd>; 2], pidfd: Option<&OwnedFd>, left: Duration) -> io::Result<Ready> {
    let mut fds = Vec::with_capacity(3);
    let mut which = Vec::with_capacity(3);
    let all = outputs.iter().map(Option::as_ref).chain(std::iter::once(pidfd));
    for (index, fd) in all.enumerate() {
        if let Some(fd) = fd {
            fds.push(PollFd::new(fd.as_fd(), PollFlags::POLLIN));
            which.push(index);
        }
    }
    let millis = i32::try_from(left.as_millis()).unwrap_or(i32::MAX).saturating_add(1);
    match poll(&mut fds, PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut ready = Ready { outputs: [false; 2], ended: false };
    for (fd, index) in fds.iter().zip(which) {
        let any = fd.revents().is_some_and(|events| !events.is_empty());
        match index {
            0 | 1 => ready.outputs[index] = any,
            _ => ready.ended = any,
        }
    }
    Ok(ready)
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && haystack.windows(needle.len()).any(|window| window == needle)
}

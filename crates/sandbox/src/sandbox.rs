//! The library's front door: a policy, a command, a child.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use palisade_host::{Depth, MappedTrees, survey, survey_keeping};
use palisade_plan::{Foreseen, HostFacts, KERNEL_ID_BASE, Plan, Situation};
use palisade_policy::Policy;
use rustix::process::{Signal, pidfd_send_signal};

use crate::channel::{Channel, FIRST, Message};
use crate::command::Command;
use crate::error::Error;
use crate::front::Stdio;
use crate::outcome::Outcome;
use crate::service::Client;
use crate::start::start;
use crate::supervise::Supervisor;

/// The stack of a supervising thread: it polls, and copies through one buffer of 64 KiB.
const STACK: usize = 512 << 10;

/// What a policy comes to on this host.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The host, as far as the policy depends on it.
    pub facts: HostFacts,
    /// What would be done.
    pub plan: Plan,
    /// What the survey has mounted already, for [`Command::mounted`].
    pub trees: MappedTrees,
}

/// Surveys the host and decides what to do to run something under `policy`, for a run that the calling thread supervises
/// and that starts in `directory`.
///
/// # Errors
/// [`Error::Survey`], [`Error::Refused`], or [`Error::Io`] for a directory that does not exist.
pub fn decide(policy: &Policy, directory: &Path, depth: Depth) -> Result<Decision, Error> {
    let directory = std::fs::canonicalize(directory)?;
    let situation = situation(policy, directory);
    let (facts, trees) = survey_keeping(policy, &situation.directory, depth, situation.kernel_id)?;
    let plan = palisade_plan::decide(policy, &facts, &situation)?;
    Ok(Decision { facts, plan, trees })
}

/// What [`decide`] decides on when it refuses too: for whoever wants to know what each clause would get here.
///
/// # Errors
/// As [`decide`], but no [`Error::Refused`].
pub fn foresee(policy: &Policy, directory: &Path, depth: Depth) -> Result<(HostFacts, Foreseen), Error> {
    let directory = std::fs::canonicalize(directory)?;
    let facts = survey(policy, &directory, depth)?;
    let foreseen = palisade_plan::foresee(policy, &facts, &situation(policy, directory));
    Ok((facts, foreseen))
}

fn situation(policy: &Policy, directory: PathBuf) -> Situation {
    let pass = policy.environment.pass.iter();
    Situation {
        directory,
        environment: pass.filter_map(|name| Some((name.clone(), std::env::var(name).ok()?))).collect(),
        // No two threads that live at the same time have the same number, whichever process they belong to.
        kernel_id: KERNEL_ID_BASE + rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs(),
    }
}

/// Runs commands under one policy.
///
/// Each [`spawn`](Self::spawn) makes a sandbox of its own, and a thread of this process that supervises it. Any thread may
/// spawn, many at the same time, in a program with any number of threads.
///
/// ```
/// use palisade::{Command, Sandbox};
/// use palisade_policy::Document;
///
/// let directory = tempfile::tempdir()?;
/// let policy = Document::parse("policy.yaml", "filesystem: {read_write: [.]}")?.policy;
/// let sandbox = Sandbox::new(policy);
/// let build = Command::new("sh").args(["-c", "echo built > log"]).current_dir(directory.path());
/// assert_eq!(sandbox.status(build)?.exit_code(), 0);
/// assert_eq!(std::fs::read_to_string(directory.path().join("log"))?, "built\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sandbox {
    policy: Arc<Policy>,
}

impl Sandbox {
    /// A sandbox for `policy`. Nothing is checked against the host before something is to run.
    pub fn new(policy: Policy) -> Self {
        Self { policy: Arc::new(policy) }
    }

    /// Starts `command` and returns at once. Standard descriptors are the caller's unless the command says otherwise.
    ///
    /// # Errors
    /// An [`Error`] when nothing was started. What goes wrong once its first process exists is told by
    /// [`Child::wait`], as an [`Ending`](crate::Ending).
    pub fn spawn(&self, command: Command) -> Result<Child, Error> {
        let (tell, told) = sync_channel(1);
        let policy = Arc::clone(&self.policy);
        let shared = Arc::new(Shared::default());
        let ended = Arc::clone(&shared);
        // The thread decides too, since the sandbox's ids follow from the number of the thread that supervises it.
        thread::Builder::new()
            .name("palisade".into())
            .stack_size(STACK)
            .spawn(move || supervise(&policy, command, &tell, &ended))?;
        let started = told.recv().map_err(|_| io::Error::other("the supervising thread has died"))??;
        let [stdin, stdout, stderr] = started.pipes;
        Ok(Child {
            stdin: stdin.map(Into::into),
            stdout: stdout.map(Into::into),
            stderr: stderr.map(Into::into),
            plan: started.plan,
            pid: started.pid,
            pidfd: started.pidfd,
            control: started.control,
            shared,
        })
    }

    /// Runs `command` to its end, and keeps its output: standard input is empty.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn output(&self, command: Command) -> Result<Outcome, Error> {
        let command = command.stdin(Stdio::Null).stdout(Stdio::Capture).stderr(Stdio::Capture);
        Ok(self.spawn(command)?.wait())
    }

    /// Runs `command` to its end.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn status(&self, command: Command) -> Result<Outcome, Error> {
        Ok(self.spawn(command)?.wait())
    }
}

/// What the supervising thread hands out when its sandbox has been launched.
struct Started {
    plan: Arc<Plan>,
    pid: i32,
    pidfd: OwnedFd,
    control: Channel,
    pipes: [Option<OwnedFd>; 3],
}

fn supervise(
    policy: &Policy,
    mut command: Command,
    tell: &SyncSender<Result<Started, Error>>,
    shared: &Shared,
) {
    let directory = command.directory.take().unwrap_or_else(|| PathBuf::from("."));
    let (plan, trees) = match decide(policy, &directory, Depth::Run) {
        Ok(Decision { plan, trees, .. }) => (Arc::new(plan), trees),
        Err(error) => {
            let _ = tell.send(Err(error));
            return;
        }
    };
    let launched = start(&plan, command.mounted(trees), None).and_then(|mut supervisor| {
        let started = Started::of(&mut supervisor, Arc::clone(&plan))?;
        Ok((supervisor, started))
    });
    match launched {
        Err(error) => {
            let _ = tell.send(Err(error));
        }
        Ok((supervisor, started)) => {
            let _ = tell.send(Ok(started));
            shared.ended(supervisor.run());
        }
    }
}

impl Started {
    fn of(supervisor: &mut Supervisor<'_>, plan: Arc<Plan>) -> Result<Self, Error> {
        let (control, theirs) = Channel::pair()?;
        let mut client = Client::from(theirs);
        client.program = Some(FIRST);
        supervisor.clients.push(client);
        Ok(Self {
            plan,
            pid: supervisor.launched.pid,
            pidfd: supervisor.launched.pidfd.try_clone()?,
            control,
            pipes: supervisor.front.take_pipes(),
        })
    }
}

/// A running sandbox.
///
/// ```
/// use std::io::{Read, Write};
///
/// use palisade::{Command, Ending, Sandbox, Stdio};
/// use palisade_policy::Document;
///
/// let sandbox = Sandbox::new(Document::parse("empty", "")?.policy);
/// let mut child = sandbox.spawn(Command::new("cat").stdin(Stdio::Piped).stdout(Stdio::Piped))?;
/// child.stdin.take().expect("piped").write_all(b"there and back")?;
/// let mut text = String::new();
/// child.stdout.take().expect("piped").read_to_string(&mut text)?;
/// assert_eq!(text, "there and back");
/// assert_eq!(child.wait().ending, Ending::Exited(0));
///
/// // Everything in it ends, however many processes that are.
/// let mut child = sandbox.spawn(Command::new("sh").args(["-c", "sleep 600 & sleep 600"]).stdin(Stdio::Null))?;
/// child.kill()?;
/// assert_eq!(child.wait().ending, Ending::Lost);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// As with `std::process::Child`, dropping it does not end it; the end of this process does.
#[derive(Debug)]
pub struct Child {
    /// The writing end of standard input, if it was [`Stdio::Piped`].
    pub stdin: Option<ChildStdin>,
    /// The reading end of standard output, if it was [`Stdio::Piped`].
    pub stdout: Option<ChildStdout>,
    /// The reading end of standard error, if it was [`Stdio::Piped`].
    pub stderr: Option<ChildStderr>,
    plan: Arc<Plan>,
    pid: i32,
    pidfd: OwnedFd,
    control: Channel,
    shared: Arc<Shared>,
}

impl Child {
    /// The process id of the sandbox's first process, in this process's pid namespace.
    pub fn id(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// A pidfd of the sandbox's first process (pidfd_open(2)).
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// What is being done: the steps, and what each clause of the policy gets.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Kills everything in the sandbox at once. That it has ended already is no error.
    ///
    /// # Errors
    /// What pidfd_send_signal(2) says.
    pub fn kill(&mut self) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sends a signal to the program's process group. That it has ended already is no error.
    ///
    /// # Errors
    /// EAGAIN when too many signals are under way.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.control.try_send(Message::Signal { program: FIRST, signal: signal.as_raw() }, &[]) {
            Ok(()) | Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Ends the sandbox as its wall-time limit would: SIGTERM, and two seconds later a kill.
    ///
    /// # Errors
    /// What sendmsg(2) says.
    pub fn stop(&self) -> io::Result<()> {
        match self.control.send(Message::Stop, &[]) {
            Ok(()) | Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for the end. Closes standard input first, so that a program that reads it to its end does end.
    pub fn wait(&mut self) -> Outcome {
        drop(self.stdin.take());
        let mut state = self.shared.lock();
        loop {
            match &state.outcome {
                Some(outcome) => return outcome.clone(),
                None => {
                    state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// The outcome, if it has ended.
    pub fn try_wait(&mut self) -> Option<Outcome> {
        self.shared.lock().outcome.clone()
    }

    /// A future that is ready when the sandbox has ended. It belongs to no particular runtime.
    pub fn ended(&self) -> Ended {
        Ended(Arc::clone(&self.shared))
    }

    /// Reads what standard output and error still have to say, if they are pipes, waits for the end, and puts both into the
    /// outcome.
    ///
    /// # Errors
    /// What reading the pipes says.
    pub fn wait_with_output(mut self) -> io::Result<Outcome> {
        drop(self.stdin.take());
        let stdout: Option<OwnedFd> = self.stdout.take().map(Into::into);
        let stderr: Option<OwnedFd> = self.stderr.take().map(Into::into);
        let streams = crate::relay::read_both(stdout, stderr)?;
        let mut outcome = self.wait();
        let output = &mut outcome.output;
        for (stream, captured) in [&mut output.stdout, &mut output.stderr].into_iter().zip(streams) {
            if let Some(captured) = captured {
                // What a relay has counted already is told by the relay.
                let known = stream.get_or_insert_default();
                known.bytes = known.bytes.max(captured.len() as u64);
                known.captured = Some(captured);
            }
        }
        Ok(outcome)
    }
}

/// Ready when a sandbox has ended.
#[derive(Debug)]
pub struct Ended(Arc<Shared>);

impl Future for Ended {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let mut state = self.0.lock();
        match &state.outcome {
            Some(outcome) => Poll::Ready(outcome.clone()),
            None => {
                state.wakers.retain(|waker| !waker.will_wake(context.waker()));
                state.wakers.push(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// What the supervising thread and everybody who waits for it share.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    outcome: Option<Outcome>,
    wakers: Vec<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self, outcome: Outcome) {
        let mut state = self.lock();
        state.outcome = Some(outcome);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.changed.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }
}

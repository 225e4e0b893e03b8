//! How a run ended, and the exit status that says so.

use std::time::Duration;

use palisade_policy::Clause;
use palisade_sys::Errno;

use crate::denials::Denied;
use crate::egress::Traffic;
use crate::failure::Failure;
use crate::relay::Stream;
use crate::workspace::Workspace;

/// Exit codes that are Palisade's own. Between 0 and 123 the code is the workload's; 128 + n means signal n.
pub mod code {
    /// The wall-time limit ended the run.
    pub const WALL_TIME: u8 = 124;
    /// Palisade itself failed: policy, refusal, set-up.
    pub const PALISADE: u8 = 125;
    /// The program exists but cannot be executed.
    pub const NOT_EXECUTABLE: u8 = 126;
    /// The program was not found.
    pub const NOT_FOUND: u8 = 127;
}

/// A finished run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// What passed through the supervisor on the standard streams.
    pub output: Output,
    /// The limits that were run into, as far as the kernel lets the supervisor see it.
    pub limits_hit: Vec<LimitHit>,
    /// The system calls that were refused, where the command asked to watch them.
    pub denied: Option<Vec<Denied>>,
    /// What the gateway carried and refused, where the policy lets something out.
    pub traffic: Option<Traffic>,
    /// What the workload changed, where the policy keeps that apart from the real directories.
    pub workspace: Option<Workspace>,
    /// What it used.
    pub usage: Usage,
}

/// What a run has used. `None` where nothing counted it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// From the start of the first program to the end of everything.
    pub wall: Duration,
    /// Processor time in user mode: of all processes where a control group counts it, else of those that were waited for.
    pub cpu_user: Duration,
    /// The same in the kernel.
    pub cpu_system: Duration,
    /// The most memory of the whole sandbox at one time, in bytes. Counted where a control group limits the memory.
    pub peak_memory: Option<u64>,
    /// The most memory that one process had resident, in bytes.
    pub largest_process: Option<u64>,
    /// The most processes and threads at one time, the sandbox's first process included.
    pub peak_processes: Option<u64>,
    /// How long processes had to wait because the share of processors was used up.
    pub throttled: Option<Duration>,
}

/// A limit that a run ran into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitHit {
    /// The clause of the policy.
    pub clause: Clause,
    /// How often, where it is counted.
    pub times: Option<u64>,
}

/// The output of a run. `None` where a stream was the caller's own descriptor, which the supervisor does not see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Standard output; on a private terminal both streams.
    pub stdout: Option<Stream>,
    /// Standard error.
    pub stderr: Option<Stream>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The workload exited with this code.
    Exited(u8),
    /// A signal ended the workload.
    Signaled(u8),
    /// The wall-time limit ended it.
    WallTime,
    /// Somebody asked for its end, and it did not end by itself in time.
    Stopped,
    /// A step failed: nothing was run.
    NotStarted(Failure),
    /// The program could not be executed.
    NotExecuted(Errno),
    /// The sandbox's first process ended without a word: somebody killed it.
    Lost,
}

impl Outcome {
    /// The exit status that tells the ending (see [`code`]).
    pub fn exit_code(&self) -> u8 {
        self.ending.exit_code()
    }
}

impl Ending {
    /// The exit status that tells the ending (see [`code`]).
    pub fn exit_code(&self) -> u8 {
        /// SIGKILL.
        const KILLED: u8 = 128 + 9;
        match self {
            Self::Exited(code) => *code,
            Self::Signaled(signal) => 128u8.saturating_add(*signal),
            Self::WallTime => code::WALL_TIME,
            Self::Stopped => KILLED,
            Self::NotStarted(_) | Self::Lost => code::PALISADE,
            Self::NotExecuted(errno) if is_not_found(*errno) => code::NOT_FOUND,
            Self::NotExecuted(_) => code::NOT_EXECUTABLE,
        }
    }
}

/// Whether an error of execve(2) means that there is no such program.
fn is_not_found(errno: Errno) -> bool {
    [rustix::io::Errno::NOENT, rustix::io::Errno::NOTDIR]
        .iter()
        .any(|not_found| not_found.raw_os_error() == errno.0)
}

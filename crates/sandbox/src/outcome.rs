//! How a run ended, and the exit status that says so.

use palisade_sys::Errno;

use crate::failure::Failure;

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
        match &self.ending {
            Ending::Exited(code) => *code,
            Ending::Signaled(signal) => 128u8.saturating_add(*signal),
            Ending::WallTime => code::WALL_TIME,
            Ending::NotStarted(_) | Ending::Lost => code::PALISADE,
            Ending::NotExecuted(errno) if is_not_found(*errno) => code::NOT_FOUND,
            Ending::NotExecuted(_) => code::NOT_EXECUTABLE,
        }
    }
}

/// Whether an error of execve(2) means that there is no such program.
fn is_not_found(errno: Errno) -> bool {
    [rustix::io::Errno::NOENT, rustix::io::Errno::NOTDIR]
        .iter()
        .any(|not_found| not_found.raw_os_error() == errno.0)
}

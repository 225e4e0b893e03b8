//! Faults of a supervisor: what goes wrong outside of every plan.
//!
//! A plan says what is done to the workload. That a time is kept, a signal passed on, a message made harmless and nothing
//! left over is the supervisor's own work, which no plan can leave out. A fault does such a thing wrong from
//! outside, around a runtime that is as it was ([`crate::run::fault`]): the runtime has no switch for it.

use std::fmt;

/// One thing that a supervisor does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A mount of its own stays in the namespace of the caller. Only root may make one there.
    LeavesMount,
    /// A file of its own stays in the working directory.
    LeavesName,
    /// A process with the arguments of the run outlives it.
    LeavesProcess,
    /// What it writes to standard error holds the control characters of others as they are.
    RawMessages,
    /// The caller's terminal gets another size.
    Resizes,
    /// The caller's terminal stays without lines, echo and signals.
    LeavesRaw,
    /// Neither signals nor what is typed reach the workload.
    Deaf,
    /// The exit code is 1 whenever it is not 0.
    LosesCode,
    /// When the time is up, it asks once, and waits.
    OnlyAsks,
    /// The workload runs as if there were no sandbox: the last of `layers`.
    Unconfined,
}

impl Fault {
    /// All of them, but for the last one: any probe notices that.
    pub const ALL: &[Self] = &[
        Self::LeavesMount,
        Self::LeavesName,
        Self::LeavesProcess,
        Self::RawMessages,
        Self::Resizes,
        Self::LeavesRaw,
        Self::Deaf,
        Self::LosesCode,
        Self::OnlyAsks,
    ];

    /// The groups that look at it.
    pub fn groups(self) -> &'static [&'static str] {
        match self {
            Self::RawMessages | Self::Resizes | Self::LeavesRaw => &["tty"],
            Self::Deaf => &["tty", "life"],
            Self::Unconfined => &[],
            _ => &["life"],
        }
    }

    /// The word for it between the processes of the suite.
    pub fn word(self) -> &'static str {
        match self {
            Self::LeavesMount => "leaves-mount",
            Self::LeavesName => "leaves-name",
            Self::LeavesProcess => "leaves-process",
            Self::RawMessages => "raw-messages",
            Self::Resizes => "resizes",
            Self::LeavesRaw => "leaves-raw",
            Self::Deaf => "deaf",
            Self::LosesCode => "loses-code",
            Self::OnlyAsks => "only-asks",
            Self::Unconfined => "unconfined",
        }
    }

    /// The fault of this word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().chain([Self::Unconfined]).find(|fault| fault.word() == word)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeavesMount => "leaves a mount",
            Self::LeavesName => "leaves a name in the workspace",
            Self::LeavesProcess => "leaves a process",
            Self::RawMessages => "writes messages raw",
            Self::Resizes => "resizes the caller's terminal",
            Self::LeavesRaw => "leaves the caller's terminal with raw settings",
            Self::Deaf => "passes on neither signals nor input, interrupt included",
            Self::LosesCode => "loses the exit code",
            Self::Unconfined => "starts the workload without a sandbox",
            Self::OnlyAsks => "only asks for the end when the time is up, and ignores that it does not come",
        })
    }
}

//! Verdicts: the seven answers that a probe can have, and how they combine.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The answer of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The policy holds here, with complete evidence.
    Held,
    /// The policy forbids it and it happened, or was not refused as it must be.
    Breached(String),
    /// The policy allows it, the host can do it, and the sandbox prevents it.
    OverBlocked(String),
    /// The evidence is incomplete.
    Inconclusive(Gap),
    /// The host cannot do it anyway, or the runtime cannot express the policy.
    Unsupported(String),
    /// A breach or an over-block that a listed deviation covers; its reason.
    KnownDeviation(String),
    /// A listed deviation that no longer happens.
    UnexpectedPass(String),
}

/// What is missing for a conclusion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The suite itself failed: not a fact about the sandbox.
    Harness(String),
    /// The runtime did not start the workload.
    NotStarted(String),
    /// The attempt was never made.
    NotAttempted(String),
    /// A statement that prepares operands failed.
    Setup(String),
    /// What is allowed did not work either.
    Control(String),
    /// The attempt did not return in time.
    TimedOut,
    /// The canary does not answer, so its silence means nothing.
    CanaryDead(String),
    /// The run without a sandbox does not show what the entry says.
    Baseline(String),
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Harness(why) => write!(f, "the suite failed: {why}"),
            Self::NotStarted(why) => write!(f, "the runtime did not start the workload: {why}"),
            Self::NotAttempted(why) => write!(f, "not attempted: {why}"),
            Self::Setup(why) => write!(f, "set-up failed: {why}"),
            Self::Control(why) => write!(f, "control failed: {why}"),
            Self::TimedOut => f.write_str("timed out, which proves nothing"),
            Self::CanaryDead(why) => write!(f, "canary dead: {why}"),
            Self::Baseline(why) => write!(f, "outside baseline: {why}"),
        }
    }
}

/// The kinds of verdict, in the order in which reports count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "documented at Verdict")]
pub enum Kind {
    Held,
    Breached,
    OverBlocked,
    UnexpectedPass,
    Inconclusive,
    KnownDeviation,
    Unsupported,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Held,
        Self::Breached,
        Self::OverBlocked,
        Self::UnexpectedPass,
        Self::Inconclusive,
        Self::KnownDeviation,
        Self::Unsupported,
    ];

    /// The word of reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Breached => "breached",
            Self::OverBlocked => "over-blocked",
            Self::UnexpectedPass => "unexpected pass",
            Self::Inconclusive => "inconclusive",
            Self::KnownDeviation => "known deviation",
            Self::Unsupported => "unsupported",
        }
    }

    /// Whether one such verdict makes a run fail.
    pub const fn fails(self) -> bool {
        matches!(self, Self::Breached | Self::OverBlocked | Self::UnexpectedPass)
    }
}

impl Verdict {
    /// Which of the seven it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Held => Kind::Held,
            Self::Breached(_) => Kind::Breached,
            Self::OverBlocked(_) => Kind::OverBlocked,
            Self::Inconclusive(_) => Kind::Inconclusive,
            Self::Unsupported(_) => Kind::Unsupported,
            Self::KnownDeviation(_) => Kind::KnownDeviation,
            Self::UnexpectedPass(_) => Kind::UnexpectedPass,
        }
    }

    /// Why, for every verdict that needs a reason.
    pub fn why(&self) -> Option<String> {
        match self {
            Self::Held => None,
            Self::Breached(why)
            | Self::OverBlocked(why)
            | Self::Unsupported(why)
            | Self::KnownDeviation(why)
            | Self::UnexpectedPass(why) => Some(why.clone()),
            Self::Inconclusive(gap) => Some(gap.to_string()),
        }
    }

    /// How bad it is, for combining repeats: the worst of several counts (SPEC OUT-7, OUT-8).
    const fn rank(&self) -> u8 {
        match self {
            Self::Held => 0,
            Self::KnownDeviation(_) => 1,
            Self::Unsupported(_) => 2,
            Self::Inconclusive(Gap::Harness(_)) => 4,
            Self::Inconclusive(_) => 3,
            Self::UnexpectedPass(_) => 5,
            Self::OverBlocked(_) => 6,
            Self::Breached(_) => 7,
        }
    }

    /// The verdict of two runs of the same probe: the worse one.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().word())?;
        match self.why() {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}

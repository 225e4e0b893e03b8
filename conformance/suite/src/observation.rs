//! What a run of a probe or command showed, before anybody judges it.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use serde::Serialize;

/// What the judged attempt showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// The last attempt returned.
    Returned {
        /// The result; -1 when `errno` is not 0.
        ret: i64,
        /// The error number, 0 on success.
        errno: i32,
        /// What the operation reported.
        #[serde(serialize_with = "as_text")]
        data: Vec<u8>,
        /// From the announcement of the attempt to its result, as the suite saw the lines arrive.
        #[serde(skip)]
        took: Duration,
    },
    /// A signal ended the process while it attempted.
    Signalled(i32),
    /// A command ended with this exit code and this standard output.
    Exited {
        /// The exit code as the runtime passed it on.
        code: i32,
        /// Standard output.
        #[serde(serialize_with = "as_text")]
        stdout: Vec<u8>,
    },
    /// The run was ended before the attempt returned, by a limit.
    CutShort {
        /// Whether the runtime says that the time was up.
        out_of_time: bool,
        /// Its exit code.
        code: i32,
    },
    /// The runtime was interfered with; this many processes of the case were left a moment after it had ended.
    Survivors(u32),
}

fn as_text<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crate::report::escape(bytes))
}

impl Seen {
    /// A successful return without data.
    pub fn returned(ret: i64) -> Self {
        Self::Returned { ret, errno: 0, data: Vec::new(), took: Duration::ZERO }
    }

    /// A failure.
    pub fn failed(errno: Errno) -> Self {
        Self::Returned { ret: -1, errno: errno as i32, data: Vec::new(), took: Duration::ZERO }
    }

    /// A successful return with data.
    pub fn reported(data: impl Into<Vec<u8>>) -> Self {
        Self::Returned { ret: 0, errno: 0, data: data.into(), took: Duration::ZERO }
    }

    /// The error number of a call that returned with one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Returned { errno, .. } if *errno != 0 => Some(Errno::from_raw(*errno)),
            _ => None,
        }
    }

    /// The data or the standard output of something that succeeded.
    pub fn output(&self) -> Option<&[u8]> {
        match self {
            Self::Returned { errno: 0, data, .. } => Some(data),
            Self::Exited { code: 0, stdout } => Some(stdout),
            _ => None,
        }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Returned { ret, errno: 0, data, .. } => {
                write!(f, "success, {ret}")?;
                quote(f, data)
            }
            Self::Returned { errno, .. } => write!(f, "{:?}", Errno::from_raw(*errno)),
            Self::Signalled(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "killed by {signal}"),
                Err(_) => write!(f, "killed by signal {number}"),
            },
            Self::Exited { code, stdout } => {
                write!(f, "exit code {code}")?;
                quote(f, stdout)
            }
            Self::CutShort { out_of_time: true, code } => write!(f, "the time was up, exit code {code}"),
            Self::CutShort { out_of_time: false, code } => {
                write!(f, "the run was ended before the attempt returned, exit code {code}")
            }
            Self::Survivors(0) => f.write_str("nothing left"),
            Self::Survivors(count) => write!(f, "{count} processes left"),
        }
    }
}

/// The first bytes of `data`, harmless to a terminal.
fn quote(f: &mut std::fmt::Formatter<'_>, data: &[u8]) -> std::fmt::Result {
    const SHOWN: usize = 160;
    if data.is_empty() {
        return Ok(());
    }
    let shown = &data[..data.len().min(SHOWN)];
    let more = if data.len() > SHOWN { "..." } else { "" };
    write!(f, ", \"{}{more}\"", crate::report::escape(shown))
}

/// Why the judged attempt showed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unseen {
    /// The runtime ended without starting the workload; what it said.
    NotStarted(String),
    /// The attempt was not made, or its result did not arrive; why.
    NotAttempted(String),
    /// The time limit ended the run.
    TimedOut,
    /// The suite failed; how.
    Harness(String),
}

/// Everything that one run of one case showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Observation {
    /// What the judged attempt showed.
    pub attempt: Result<Seen, Unseen>,
    /// Whether every set-up statement succeeded; else which failed and how.
    pub setup: Result<(), String>,
    /// Whether every control succeeded and the program reached its end; else what did not.
    pub control: Result<(), String>,
    /// The error of the control that failed, where the kernel gave it one, every other control succeeded, and the program
    /// reached its end.
    #[serde(skip)]
    pub control_refused: Option<Errno>,
    /// What the runtime said on standard error, bounded, escaped.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stderr: String,
    /// From spawning the runtime to its end.
    #[serde(skip)]
    pub took: Duration,
}

impl Observation {
    /// An observation where everything went well and the attempt showed `seen`.
    pub fn of(seen: Seen) -> Self {
        Self {
            attempt: Ok(seen),
            setup: Ok(()),
            control: Ok(()),
            control_refused: None,
            stderr: String::new(),
            took: Duration::ZERO,
        }
    }

    /// An observation without a result.
    pub fn nothing(unseen: Unseen) -> Self {
        Self { attempt: Err(unseen), ..Self::of(Seen::returned(0)) }
    }
}

/// What the far side shows after a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CanaryReport {
    /// What the canary is.
    pub canary: String,
    /// What it noticed of this case, if it did.
    pub heard: Option<String>,
    /// Whether it answered the suite's own visit afterwards; else why not.
    pub alive: Result<(), String>,
}

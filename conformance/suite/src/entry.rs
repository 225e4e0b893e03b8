//! The ways in which a workload can come into a sandbox.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A way in. The catalogue is the same for each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// The workload is what the sandbox is started for.
    #[default]
    Run,
    /// The workload is added to a sandbox in which another process runs already, and which ends with that one.
    Exec,
    /// As [`Entry::Run`], on a terminal.
    Pty,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Run => "run",
            Self::Exec => "exec",
            Self::Pty => "pty",
        })
    }
}

//! A plan: what will be done, in order, and what that is worth.

use std::path::PathBuf;
use std::time::Duration;

use palisade_policy::{ByteSize, Clause};
use serde::{Deserialize, Serialize};

use crate::step::{PlannedStep, Variables};

/// The version of the plan format.
pub const VERSION: u32 = 1;

/// What will be done to run a workload under a policy on a host.
///
/// A plan is data: it can be printed, compared, edited and executed later on the host that it was made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`VERSION`].
    pub version: u32,
    /// The policy's name.
    pub policy: String,
    /// What is done before the workload's first instruction, in order.
    pub steps: Vec<PlannedStep>,
    /// The directory in which the workload starts.
    pub directory: PathBuf,
    /// The workload's environment.
    pub environment: Variables,
    /// How long the workload may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_time: Option<Duration>,
    /// The most bytes of output of a program, both streams together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<ByteSize>,
    /// Whether a program gets a private terminal when its caller has one.
    #[serde(default)]
    pub terminal: bool,
    /// What each clause gets.
    pub coverage: Vec<Coverage>,
}

/// What one clause of the policy gets on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// The clause.
    pub clause: Clause,
    /// What it asks for.
    pub requested: String,
    /// By which means.
    pub mechanism: String,
    /// Whether the host can do it.
    pub status: Status,
    /// What a reader should know besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Whether a clause is enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As requested.
    Enforced,
    /// Less than requested, and why.
    Downgraded(String),
}

impl Plan {
    /// The clauses that get less than they ask for.
    pub fn downgrades(&self) -> impl Iterator<Item = (&Coverage, &str)> {
        self.coverage.iter().filter_map(|coverage| match &coverage.status {
            Status::Enforced => None,
            Status::Downgraded(reason) => Some((coverage, reason.as_str())),
        })
    }
}

//! Why a single value was refused.

/// Why a value was refused, and what to write instead. The same for a value in a file and one on a command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What is wrong: lower case, without a full stop.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl Refusal {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}

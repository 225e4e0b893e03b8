//! What can go wrong with the lab, and what the user can do about it.

use std::io;

/// The lab could not be entered or built, or refused to be. Nothing was probed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The guard found that what it stands in is not a lab.
    #[error("refuse to act outside of a lab: {}", reasons.join("; "))]
    NotIsolated {
        /// Every reason, not only the first.
        reasons: Vec<String>,
    },
    /// A step failed.
    #[error("{what}: {source}")]
    Step {
        /// The step with its operand, as in `mount tmpfs on /tmp`.
        what: String,
        /// The kernel's answer.
        source: io::Error,
        /// What to do about it, where that is known.
        hint: Option<String>,
    },
}

impl LabError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::NotIsolated { .. } => {
                Some("run `palisade verify`, which enters namespaces of its own first")
            }
            Self::Step { hint, .. } => hint.as_deref(),
        }
    }

    pub(super) fn step(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Step { what: what.into(), source: source.into(), hint: None }
    }

    pub(super) fn with_hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Step { hint, .. } = &mut self {
            *hint = Some(text.into());
        }
        self
    }
}

/// Names the step in which a call of the kernel failed.
pub(super) trait During<T> {
    /// `f()` names the step with its operand.
    fn during(self, f: impl FnOnce() -> String) -> Result<T, LabError>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, f: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|e| LabError::step(f(), e))
    }
}

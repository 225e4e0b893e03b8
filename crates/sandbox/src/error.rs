//! Why a sandbox could not be started.

use std::io;

use palisade_host::SurveyError;
use palisade_plan::Refusal;

use crate::failure::{Failure, NO_SUCH_CALL};
use crate::prepare::PrepareError;
use crate::registry::NameError;

/// Why a sandbox could not be started, or reached. Nothing of it ran.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host could not be surveyed.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// The policy cannot be enforced here.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The name of a sandbox cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Something that the plan names could not be opened.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The first process could not be made.
    #[error(transparent)]
    Launch(#[from] Failure),
    /// The directory of the run, or a standard descriptor, cannot be used.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<rustix::io::Errno> for Error {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Launch(failure) => failure.hint,
            Self::Prepare(PrepareError::Source { errno, .. }) if *errno == rustix::io::Errno::NOSYS => {
                Some(NO_SUCH_CALL)
            }
            Self::Survey(_) => Some("/proc must be mounted"),
            Self::Name(NameError::Unknown(_) | NameError::Taken(_)) => Some("`palisade ps` lists what runs"),
            Self::Refused(_) | Self::Name(_) | Self::Prepare(_) | Self::Io(_) => None,
        }
    }
}

//! Palisade's runtime: runs an untrusted command under a declared policy.
//!
//! ```text
//! Policy x host -decide-> Plan -prepare-> Prepared(fds, C strings, bytes)
//!     -launch-> child: apply the steps in order -> init -> program -> exec
//!     -supervise-> Outcome -> exit code
//! ```
//!
//! One verb, one file. What a plan says is decided elsewhere (`palisade-plan`); here it only happens.

mod cgroup;
mod channel;
mod child;
mod command;
mod copy;
mod denials;
mod error;
mod event;
mod failure;
mod front;
mod init;
mod janitor;
mod launch;
mod limits;
mod operands;
mod outcome;
mod placeholder;
mod prepare;
mod program;
mod ready;
mod registry;
mod relay;
mod report;
mod sandbox;
mod service;
mod start;
mod supervise;
mod terminal;
mod workspace;

pub mod attach;

pub use command::Command;
pub use denials::{Denied, UNSEEN};
pub use error::Error;
pub use event::Event;
pub use failure::Failure;
pub use front::Stdio;
pub use outcome::{Ending, LimitHit, Outcome, Output, Usage, code};
pub use prepare::PrepareError;
pub use registry::{NameError, Record, Registry};
pub use relay::Stream;
pub use report::{
    DenialsReport, EndingReport, LimitHitReport, LimitUnseenReport, OutputReport, Report, SCHEMA,
    StreamReport, UsageReport,
};
pub use sandbox::{Child, Decision, Sandbox, decide};
pub use start::run;
pub use supervise::Forwarding;
pub use workspace::{Applied, Change, ChangeKind, Changes, Workspace, WorkspaceError};

/// A copy of a descriptor that this process was started with, close-on-exec.
///
/// # Errors
/// EBADF when there is none of this number.
pub fn inherited_descriptor(number: i32) -> std::io::Result<std::os::fd::OwnedFd> {
    palisade_sys::process::duplicate(number).map_err(|errno| std::io::Error::from_raw_os_error(errno.0))
}

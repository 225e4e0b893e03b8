//! Palisade's runtime: runs an untrusted command under a plan.
//!
//! ```text
//! Plan -prepare-> Prepared(fds, C strings, bytes) -launch-> child: apply the steps in order -> exec
//!                                                     -supervise-> Outcome -> exit code
//! ```
//!
//! One verb, one file. What a plan says is decided elsewhere (`palisade-plan`); here it only happens.

mod child;
mod failure;
mod init;
mod launch;
mod message;
mod operands;
mod outcome;
mod prepare;
mod supervise;

pub use failure::Failure;
pub use launch::{Launched, launch};
pub use outcome::{Ending, Outcome, code};
pub use prepare::{Command, PrepareError, Prepared, prepare};
pub use supervise::{Forwarding, supervise};

//! Palisade's runtime: runs an untrusted command under a declared policy.
//!
//! ```text
//! Policy x host -decide-> Plan -prepare-> Prepared(fds, C strings, bytes)
//!     -launch-> child: apply the steps in order -> init -> program -> exec
//!     -supervise-> Outcome -> exit code
//! ```
//!
//! One verb, one file. What a plan says is decided elsewhere (`palisade-plan`); here it only happens.
//!
//! # Run something, and keep its output
//!
//! What a policy does not name is not there: no file, no variable, no network. Here the strictest one, an empty document.
//!
//! ```
//! use palisade::{Command, Sandbox};
//! use palisade_policy::Document;
//!
//! let policy = Document::parse("empty", "")?.policy;
//! let script = "cat /etc/shadow || echo no shadow; env | grep -c SECRET";
//! let outcome = Sandbox::new(policy).output(Command::new("sh").args(["-c", script]))?;
//!
//! // The status is that of the last command, grep, which found nothing.
//! assert_eq!(outcome.exit_code(), 1);
//! let stdout = outcome.output.stdout.and_then(|stream| stream.captured).expect("it was captured");
//! assert_eq!(String::from_utf8(stdout)?, "no shadow\n0\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Let it change a directory, and see what it changed first
//!
//! ```
//! use palisade::{ChangeKind, Command, Sandbox};
//! use palisade_policy::Document;
//!
//! let directory = tempfile::tempdir()?;
//! std::fs::write(directory.path().join("input"), "1 2 3")?;
//! let policy = Document::parse("mine", "filesystem: {read_write: [.], workspace: copy}")?.policy;
//! let command = Command::new("sh").args(["-c", "wc -w < input > words"]).current_dir(directory.path());
//! let outcome = Sandbox::new(policy).output(command)?;
//!
//! let workspace = outcome.workspace.expect("the policy keeps changes apart");
//! assert!(!directory.path().join("words").exists());
//! let changes = workspace.changes()?.list;
//! assert_eq!(changes.len(), 1);
//! assert_eq!(changes[0].kind, ChangeKind::Added);
//! workspace.apply()?;
//! assert_eq!(std::fs::read_to_string(directory.path().join("words"))?.trim(), "3");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limits, and what a report says about them
//!
//! ```
//! use palisade::{Command, Report, Sandbox, decide};
//! use palisade_host::Depth;
//! use palisade_policy::Document;
//!
//! let policy = Document::parse("mine", "resources: {output: 10B, wall_time: 1m}")?.policy;
//! let outcome = Sandbox::new(policy.clone()).output(Command::new("seq").arg("1000"))?;
//! assert_eq!(outcome.limits_hit[0].clause.as_str(), "resources.output");
//!
//! let decision = decide(&policy, &std::env::current_dir()?, Depth::Run)?;
//! let report = Report::new(&decision.plan, None, &outcome);
//! assert_eq!(report.limits_not_hit, ["resources.wall_time"]);
//! // Nobody but the process itself is told that it has no descriptors left.
//! assert!(report.limits_unseen.iter().any(|limit| limit.clause == "resources.open_files"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What cannot be enforced does not run
//!
//! ```
//! use palisade::{Command, Error, Sandbox};
//! use palisade_policy::Document;
//!
//! let policy = Document::parse("mine", "filesystem: {read_only: [/no/such/directory]}")?.policy;
//! let error = Sandbox::new(policy).status(Command::new("true")).expect_err("it is not there");
//! let Error::Refused(refusal) = error else { panic!("{error}") };
//! assert_eq!(refusal.reasons[0].clause.as_str(), "filesystem.read_only[0]");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cgroup;
mod channel;
mod child;
mod command;
mod copy;
mod denials;
mod egress;
mod error;
mod event;
mod failure;
mod front;
mod init;
mod janitor;
mod keeper;
mod launch;
mod limits;
mod link;
mod netlink;
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
mod socket;
mod start;
mod supervise;
mod terminal;
mod workspace;

pub mod attach;

pub use command::Command;
pub use denials::{Denied, UNSEEN};
pub use egress::{DeniedDestination, Destination, Traffic};
pub use error::Error;
pub use event::Event;
pub use failure::Failure;
pub use front::Stdio;
pub use outcome::{Ending, LimitHit, Outcome, Output, Usage, code};
pub use prepare::PrepareError;
pub use registry::{NameError, Record, Registry};
pub use relay::Stream;
pub use report::{
    DenialsReport, EndingReport, LimitHitReport, LimitUnseenReport, NetworkDenialReport,
    NetworkDenialsReport, OutputReport, Report, SCHEMA, StreamReport, TrafficReport, UsageReport,
};
pub use sandbox::{Child, Decision, Sandbox, decide, foresee};
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

//! The survey: what this host can enforce, found out by doing it.
//!
//! No fact here is predicted from a version or a file alone where it can be tried. Nothing that is tried outlives the
//! survey: namespaces and mounts exist only in processes that end with it.

mod base;
mod caller;
mod cgroups;
mod findings;
mod mounts;
mod network;
mod observe;
mod paths;
mod procfs;
mod survey;
mod trial;

pub use findings::{Finding, Status, findings, judge};
pub use observe::{Answer, FileSystem, Observed, PROGRAMS, SETTINGS, Started, Trial, start};
pub use survey::{Depth, SurveyError, survey, survey_keeping};
pub use trial::MappedTrees;

//! The policy language: what may happen. Types, parsing, lints.
//!
//! Pure: nothing in this crate opens a file, reads the environment or calls the kernel. Text comes in,
//! a [`Policy`] or a list of [`Diagnostics`] comes out.

pub mod address;
pub mod capability;
pub mod diagnostic;
pub mod document;
pub mod host;
pub mod injection;
pub mod limits;
pub mod narrow;
pub mod paths;
pub mod policy;
pub mod syscalls;
pub mod units;

mod read;
mod refusal;
mod screen;
mod suggest;
mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics, Location};
pub use document::{Document, builtin_names};
pub use narrow::Narrowing;
pub use paths::{ResolveError, ResolvedEntry, ResolvedRule, ResolvedRules};
pub use policy::*;
pub use refusal::Refusal;
pub use suggest::nearest;
pub use units::ByteSize;

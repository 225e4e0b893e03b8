//! The policy language: what may happen. Types, parsing, lints.
//!
//! Pure: nothing in this crate opens a file, reads the environment or calls the kernel. Text comes in,
//! a [`Policy`] or a list of [`Diagnostics`](diagnostic::Diagnostics) comes out.

pub mod policy;
pub mod syscalls;
pub mod units;

pub use policy::*;
pub use units::ByteSize;

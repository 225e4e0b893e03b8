//! The probe program and the language it is driven in.
//!
//! [`IMAGE`] is the program: a static binary that runs a script of operations inside a sandbox and prints what
//! happened. [`script`] writes such scripts, [`transcript`] reads what came back, [`table`] lists the operations.
//! Nothing here runs anything, and nothing here judges.

mod arg;
mod parse;
pub mod script;
pub mod table;
pub mod transcript;

#[path = "program/refusal.rs"]
pub mod refusal;

/// The probe program: an x86-64 ELF executable, static, not relocatable.
pub const IMAGE: &[u8] = include_bytes!(env!("PALISADE_PROBE_IMAGE"));

#[cfg(test)]
#[allow(dead_code, unreachable_pub)]
#[path = "program/decode.rs"]
mod decode;

#[cfg(test)]
mod agreement;

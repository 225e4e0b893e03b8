//! Probes a sandbox and judges what it observed against what was declared.
//!
//! The path of a verification, one module a stage:
//!
//! - [`catalogue`]: what is probed, as data; [`custom`]: what a reviewer has probed besides;
//! - [`adapters`]: how each runtime is asked to run a workload, [`entry`]: and through which way in;
//! - [`lab`]: the world that probes may see: private namespaces, listeners, things to steal;
//! - [`run`]: cases in a lab, side by side;
//! - [`observation`]: what a run showed;
//! - [`judge`]: evidence in, [`verdict`] out;
//! - [`attribution`]: and which layer of the sandbox it was;
//! - [`report`]: what a person or a program reads; [`baseline`]: and what has changed since an earlier one;
//! - [`inside`]: what can be told of a sandbox that somebody else started;
//! - [`verify`]: from options to an exit code; [`mutants`]: the same against sandboxes with a hole.
//!
//! The suite meets every runtime, Palisade's own too, only as an executable. `SPEC.md` beside this crate is the contract.

pub mod adapters;
pub mod attribution;
pub mod baseline;
pub mod catalogue;
pub mod custom;
pub mod entry;
pub mod explain;
pub mod glob;
pub mod inside;
pub mod judge;
pub mod known;
pub mod lab;
pub mod matrix;
pub mod mutants;
pub mod observation;
mod progress;
pub mod report;
pub mod run;
pub mod shard;
mod smoke;
mod untested;
pub mod verdict;
pub mod verify;

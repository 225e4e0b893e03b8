//! The suite tested by mutants of the sandbox: each protective step of a plan left out or weakened must turn a probe.
//!
//! The plan comes from `palisade plan --format json`, run in the workspace in which the cases run; each mutant is that plan with
//! one change ([`mod@derive`]), executed by `palisade run --plan`. What the runtime does not notice and no probe notices is a
//! survivor, and a survivor fails the run.

pub mod derive;
mod matrix;
mod run;

pub use matrix::{Fate, Matrix, Row, SCHEMA};
pub use run::run;

/// How much of the matrix is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Each mutant until the first probe notices it.
    Quick,
    /// Every probe against every mutant.
    Full,
}

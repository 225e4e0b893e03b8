//! The suite tested by mutants of the sandbox: each protective step of a plan left out or weakened must turn a probe.
//!
//! The plan comes from `palisade plan --format json`, run in the workspace in which the cases run; each mutant is that plan with
//! one change ([`mod@derive`]), executed by `palisade run --plan`. What the runtime does not notice and no probe notices is a
//! survivor, and a survivor fails the run.

mod bench;
pub mod derive;
mod fault;
mod layers;
mod links;
mod matrix;
mod network;
mod order;
mod run;
mod teeth;
mod vacuous;
mod widen;

pub use fault::Fault;
pub use matrix::{Fate, Matrix, Row, SCHEMA};
pub use run::run;
pub use teeth::{Answer, Teeth, Tooth};

/// How much of the matrix is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Each mutant until the first probe notices it.
    Quick,
    /// As quick, but of the mutants that differ in an operand alone only the last.
    Sample,
    /// Every probe against every mutant.
    Full,
    /// Each probe against the mutants, nearest first, until it notices one.
    Probes,
}

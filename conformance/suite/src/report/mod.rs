//! What a person or a program reads of a run.

mod escape;

pub use escape::escape;

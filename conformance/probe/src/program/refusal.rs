//! Error numbers of the probe itself, above the 4,095 that the kernel can return.
//!
//! Shared with the library (`palisade_probe::refusal`): an observation that carries one of them says nothing
//! about the sandbox.

/// An operand used `$K`, and statement K has failed or has not run.
pub const DEPENDENCY: u16 = 9996;
/// The network guard refused: this namespace could lead somewhere outside the lab.
pub const GUARD: u16 = 9997;
/// No such operation in the table.
pub const UNKNOWN_OPERATION: u16 = 9998;
/// An operand is missing, malformed or out of range; the data says which.
pub const BAD_OPERAND: u16 = 9999;

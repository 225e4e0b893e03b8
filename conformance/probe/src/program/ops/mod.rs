//! The operations, a file per family, and their dispatch. `table.rs` is the list.

use crate::call::Call;
use crate::kernel::Answer;

#[macro_use]
mod table;

mod descriptors;
mod environment;
mod exec;
mod exhaustion;
mod files;
mod links;
mod mountinfo;
mod proc;
mod process;
mod routes;
mod sys;
mod system;
mod tcp;
mod terminal;
mod trace;
mod udp;
mod unix;
mod uring;

/// What every operation is: it reads its operands and reports through the call, nothing else.
pub(crate) type Operation = fn(&mut Call<'_>) -> Answer;

macro_rules! dispatch {
    ($($family:ident { $($(#[doc = $doc:literal])+ $name:ident($operands:literal);)+ })+) => {
        const OPERATIONS: &[(&str, Operation)] = &[$($((stringify!($name), $family::$name),)+)+];
    };
}

operations!(dispatch);

pub(crate) fn find(name: &[u8]) -> Option<Operation> {
    OPERATIONS.iter().find(|(candidate, _)| candidate.as_bytes() == name).map(|(_, operation)| *operation)
}

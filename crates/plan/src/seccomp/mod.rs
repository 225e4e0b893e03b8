//! The system-call filter: from a policy to a classic BPF program.
//!
//! Three stages, each a type: a [`Profile`] says in words what every call may do (it is part of the plan, people
//! read its differences); [`assemble`] turns it into a [`Program`]; the launcher hands that to the kernel.
//! [`Profile::evaluate`] and [`interpret`](interpret::interpret) are the two independent readings of the same
//! decision, and the tests demand that they never differ.
//!
//! Pure. Nothing here asks the running kernel anything: the same policy gives the same filter everywhere.
//!
//! What the filter promises whatever the policy says, unless the policy names the call in `syscalls.allow`:
//!
//! * A number that the table does not know is `ENOSYS`, so programs of tomorrow fall back as on an older kernel.
//! * The entries of other ABIs (i386 by `int 0x80`, x32 by numbers from 2³⁰) are `ENOSYS`: their numbers mean
//!   other calls, and i386 hides socket families behind a pointer.
//! * `clone3` and `openat2` are `ENOSYS`: their arguments lie behind a pointer that a filter cannot follow; every
//!   C library falls back to `clone` and `openat`, whose arguments are checked.
//! * An argument is compared on as many bits as the kernel reads (CVE-2019-10063 compared 64 where the kernel
//!   reads 32).

mod arguments;
mod assemble;
mod condition;
mod decide;
pub mod interpret;
mod profile;
mod table;
#[cfg(test)]
mod tests;

pub use assemble::{Instruction, Program, TooLong, assemble};
pub use condition::{Condition, InvalidCondition, Width};
pub use decide::Undecidable;
pub use profile::{Action, Arch, Call, Case, Check, Errno, Profile, Rules, Verdict};

//! Entries that are one system call with operands that cannot act.
//!
//! A row names the call, operands at which the kernel stops by itself, and what it says then. Rows about calls that
//! the policy allows by name are left out: there is nothing to refuse.

use palisade_policy::{Policy, syscalls};
use palisade_probe::script::{Arg, Statement};

use super::{Expect, Outside, Probe, Severity};

/// One system call that the policy forbids.
pub(super) struct Row {
    id: &'static str,
    severity: Severity,
    call: &'static str,
    args: Vec<Arg>,
    outside: Outside,
}

/// A row: the rest of the id, the call by its kernel name, its operands, what it shows without a sandbox.
pub(super) fn row(
    id: &'static str,
    severity: Severity,
    call: &'static str,
    args: Vec<Arg>,
    outside: impl Into<Outside>,
) -> Row {
    Row { id, severity, call, args, outside: outside.into() }
}

impl From<Expect> for Outside {
    fn from(shows: Expect) -> Self {
        Self::Shows(shows)
    }
}

impl<const N: usize> From<[nix::errno::Errno; N]> for Outside {
    fn from(errors: [nix::errno::Errno; N]) -> Self {
        Self::fails(errors)
    }
}

/// Operands of a row.
macro_rules! args {
    ($($arg:expr),* $(,)?) => { vec![$(palisade_probe::script::Arg::from($arg)),*] };
}
pub(super) use args;

/// A system call by its kernel name, as an attempt.
///
/// # Panics
/// On a name that is not in the table of system calls: a mistake in the catalogue.
pub(super) fn attempt(call: &str, args: impl IntoIterator<Item = Arg>) -> Statement {
    let number = syscalls::number(call).unwrap_or_else(|| panic!("no system call {call:?}"));
    args.into_iter().fold(Statement::attempt("sys").arg(number), Statement::arg)
}

/// Whether the policy allows a call by name that the profile refuses.
pub(super) fn allowed_by_name(policy: &Policy, call: &str) -> bool {
    let lists = &policy.process.syscalls;
    lists.allow.iter().any(|name| name == call) && !lists.deny.iter().any(|name| name == call)
}

/// The entries of a table. `requirement` holds for each of its rows.
pub(super) fn refused(
    policy: &Policy,
    spec: &'static str,
    requirement: &'static str,
    rows: Vec<Row>,
) -> impl Iterator<Item = Probe> {
    rows.into_iter().filter(|row| !allowed_by_name(policy, row.call)).map(move |row| {
        Probe::denies(row.id, row.severity)
            .serves("process.syscalls", spec)
            .requires(requirement)
            .operation(format!("{}(2) with operands that cannot act", row.call))
            .script([attempt(row.call, row.args)])
            .outside(row.outside)
    })
}

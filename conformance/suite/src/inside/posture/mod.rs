//! What can be read: of the process itself, of `/proc`, of the file system. Nothing is opened for writing, nothing is connected to.

mod files;
mod identity;
mod limits;
mod namespaces;
mod network;
mod process;

use std::fs;
use std::io;

use super::{Finding, Verdict};

/// Everything. The descriptors come first: what is read afterwards opens some of its own.
pub(super) fn all() -> Vec<Finding> {
    let groups: [fn() -> Vec<Finding>; 6] =
        [process::look, identity::look, limits::look, namespaces::look, network::look, files::look];
    groups.iter().flat_map(|look| look()).collect()
}

/// A file of `/proc`, as text.
fn read(path: &str) -> io::Result<String> {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The value of a line `NAME:\tVALUE`.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

/// The finding that `judge` makes of the file; unknown where it cannot be read.
fn of_file(unknown: Finding, path: &str, judge: impl FnOnce(Finding, &str) -> Finding) -> Finding {
    match read(path) {
        Ok(text) => judge(unknown, &text),
        Err(error) => unknown.is(Verdict::Unknown, format!("{path}: {error}")),
    }
}

impl Finding {
    /// The same, with this seen.
    fn is(self, verdict: Verdict, seen: impl Into<String>) -> Self {
        Self { verdict, seen: seen.into(), ..self }
    }

    /// Open where there are some, closed where there are none.
    fn open_with(self, some_of: &[String]) -> Self {
        match some_of {
            [] => self.is(Verdict::Closed, "none"),
            _ => self.is(Verdict::Open, some(some_of)),
        }
    }
}

/// At most a few of `items`, and how many more there are.
fn some(items: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = items.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

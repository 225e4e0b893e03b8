//! What is wrong with a policy file, where, and what to write instead.
//!
//! Owns the list of problems and their order. A policy file may be hostile: whatever of it reaches a message goes
//! through [`printable`] first, so that no control byte and no reordering character arrives at a terminal.

mod printable;
mod render;

use std::fmt;
use std::io;
use std::ops::Range;

use serde::Serialize;

use crate::limits;
pub(crate) use printable::is_deceptive;
pub use printable::printable;

/// A place in a policy file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Location {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Location {
    /// The place of byte `offset` of `text`; an offset past the end is the end.
    pub fn of(text: &str, offset: usize) -> Self {
        let before = &text.as_bytes()[..offset.min(text.len())];
        let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        Self {
            line: 1 + before.iter().filter(|&&byte| byte == b'\n').count(),
            column: 1 + String::from_utf8_lossy(&before[start..]).chars().count(),
        }
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// What is wrong: lower case, without a full stop.
    pub message: String,
    /// Where; `None` for a problem of the file as a whole.
    pub location: Option<Location>,
    /// The offending text, printable.
    pub offending: Option<String>,
    /// What is meant or why it is wrong, in a few words that stand under the offending text.
    pub label: Option<String>,
    /// What to write instead.
    pub help: Vec<String>,
    #[serde(skip)]
    pub(crate) span: Option<Range<usize>>,
    #[serde(skip)]
    pub(crate) related: Option<(Range<usize>, String)>,
}

impl Diagnostic {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            location: None,
            offending: None,
            label: None,
            help: Vec::new(),
            span: None,
            related: None,
        }
    }

    /// Points at the bytes `span` of the file.
    pub(crate) fn at(mut self, span: Range<usize>) -> Self {
        self.span = Some(span);
        self
    }

    /// Adds a line of advice.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }
}

/// Everything that is wrong with a policy file, in the order of the file. Never empty.
///
/// `Display` shows it as rustc shows errors, without colour; [`Diagnostics::render`] lets the caller choose.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    source: String,
    text: String,
    list: Vec<Diagnostic>,
    omitted: usize,
}

impl Diagnostics {
    /// Sorts `list` and completes each entry from `text`.
    pub(crate) fn new(source: &str, text: &str, mut list: Vec<Diagnostic>, omitted: usize) -> Self {
        for problem in &mut list {
            if let Some(span) = &problem.span {
                problem.location = Some(Location::of(text, span.start));
                problem.offending = text.get(span.clone()).filter(|quoted| !quoted.is_empty()).map(printable);
            }
        }
        list.sort_by_key(|problem| problem.location);
        Self { source: source.to_owned(), text: text.to_owned(), list, omitted }
    }

    fn about_file(source: &str, problem: Diagnostic) -> Self {
        Self::new(source, "", vec![problem], 0)
    }

    /// The file `source` has `bytes` bytes, more than [`limits::MAX_BYTES`]; `None` when nobody counted further.
    pub fn too_large(source: &str, bytes: Option<u64>) -> Self {
        let message = match bytes {
            Some(bytes) => format!("policy file is {bytes} bytes long, more than {}", limits::MAX_BYTES),
            None => format!("policy file is longer than {} bytes", limits::MAX_BYTES),
        };
        let help =
            format!("a policy has at most {} rules; 1 MiB holds them with room to spare", limits::MAX_RULES);
        Self::about_file(source, Diagnostic::new(message).help(help))
    }

    /// The file `source` could not be read.
    pub fn unreadable(source: &str, error: &io::Error) -> Self {
        Self::about_file(source, Diagnostic::new(format!("cannot read policy file: {error}")))
    }

    /// The file `source` is a directory.
    pub fn directory(source: &str) -> Self {
        Self::about_file(source, Diagnostic::new("policy file is a directory").help("name a file in it"))
    }

    /// The file `source` is not UTF-8 from byte `offset` on.
    pub(crate) fn not_utf8(source: &str, bytes: &[u8], offset: usize) -> Self {
        let before = String::from_utf8_lossy(&bytes[..offset]);
        let place = Location::of(&before, before.len());
        let message = format!("policy file is not UTF-8: byte 0x{:02x}", bytes[offset]);
        let mut problems = Self::about_file(source, Diagnostic::new(message).help("save the file as UTF-8"));
        problems.list[0].location = Some(place);
        problems
    }

    /// The name of the file.
    pub fn source_name(&self) -> &str {
        &self.source
    }

    /// The problems, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// How many problems there are, those beyond [`limits::MAX_REPORTED`] included.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.list.len() + self.omitted
    }

    /// The problems as text, as rustc shows errors, with ANSI colours if `colour`.
    pub fn render(&self, colour: bool) -> String {
        render::render(self, colour)
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

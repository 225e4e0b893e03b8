//! Scripts: what the probe program is told to do.
//!
//! The program is started as `probe NONCE STATEMENT...`. A statement is one argument, `PHASE:OP ARG ARG...`, and is known
//! by its number, counted from 0. Phases are `s` (set-up), `c` (control) and `a` (attempt): the first two run in the
//! main process, in order; at the first attempt a child is forked that runs all attempts, in order, and what is written
//! after that runs when the child has ended. Operands, one space apart:
//!
//! | text | value |
//! |---|---|
//! | `12`, `-1`, `0xff` | an integer of 64 bits |
//! | `bad`, `null` | the pointers 8 (always EFAULT) and 0 |
//! | `nonce` | pointer to the nonce; the nonce, where a text is wanted |
//! | `@text` | pointer to a text, percent-encoded; `%{K}` in it is the result of statement K in decimal, `%{n}` the nonce |
//! | `#N` | pointer to N zeroed bytes (at most 4096), whose contents are reported |
//! | `=HEX` | pointer to these bytes; `[OPERAND]` among the digits is the 8 bytes of that operand |
//! | `$K` | result of statement K |
//!
//! Pointers lie below 4 GiB and are aligned to 16. Named operations take texts with or without `@`. An operand that needs
//! the result of a statement that failed makes its own statement fail with
//! [`DEPENDENCY`](crate::refusal::DEPENDENCY), so that a broken set-up never passes for a refusal of the kernel.
//!
//! ```
//! use palisade_probe::script::{BAD, Script};
//! use palisade_probe::{attempt, control};
//!
//! let script = Script::from([
//!     control!("read_file", "/etc/passwd"),
//!     attempt!("sys", 165, BAD, BAD, BAD, 0, BAD),
//! ]);
//! assert_eq!(script.argv("n0nce")?, ["n0nce", "c:read_file @/etc/passwd", "a:sys 165 bad bad bad 0 bad"]);
//! # Ok::<(), palisade_probe::script::ScriptError>(())
//! ```

use std::fmt;

use crate::arg::results_in;
use crate::table;

pub use crate::arg::{Arg, BAD, Cell, NONCE, NULL, Piece, bits, buffer, bytes, memory, result, text};
pub use crate::transcript::{Ended, Observed, Transcript, parse_output};

/// Most statements in one script.
pub const MOST_STATEMENTS: usize = 256;

/// When a statement runs, and what its failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Prepares; runs in the main process.
    Setup,
    /// Shows that what is not forbidden works; runs in the main process.
    Control,
    /// What is being judged; all attempts run in one child, which a signal may end.
    Attempt,
}

impl Phase {
    /// `s`, `c` or `a`.
    pub fn letter(self) -> char {
        match self {
            Phase::Setup => 's',
            Phase::Control => 'c',
            Phase::Attempt => 'a',
        }
    }

    /// The phase of that letter.
    pub fn from_letter(letter: char) -> Option<Self> {
        [Phase::Setup, Phase::Control, Phase::Attempt].into_iter().find(|phase| phase.letter() == letter)
    }
}

/// One statement: a phase, an operation, its operands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    phase: Phase,
    operation: String,
    args: Vec<Arg>,
}

impl Statement {
    /// A statement without operands yet.
    pub fn new(phase: Phase, operation: impl Into<String>) -> Self {
        Self { phase, operation: operation.into(), args: Vec::new() }
    }

    /// A statement that prepares.
    pub fn setup(operation: impl Into<String>) -> Self {
        Self::new(Phase::Setup, operation)
    }

    /// A statement that shows what works.
    pub fn control(operation: impl Into<String>) -> Self {
        Self::new(Phase::Control, operation)
    }

    /// A statement that is judged.
    pub fn attempt(operation: impl Into<String>) -> Self {
        Self::new(Phase::Attempt, operation)
    }

    /// With one more operand.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<Arg>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// The same statement in another phase: the outside twin of an attempt, for example.
    #[must_use]
    pub fn in_phase(mut self, phase: Phase) -> Self {
        self.phase = phase;
        self
    }

    /// When it runs.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The name of its operation.
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// Its operands.
    pub fn args(&self) -> &[Arg] {
        &self.args
    }

    /// Whether the operation exists and takes that many operands, with buffers in range.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ScriptError> {
        let operation = || self.operation.clone();
        let info = table::find(&self.operation).ok_or_else(|| ScriptError::UnknownOperation(operation()))?;
        let given = self.args.len();
        if given < info.fewest() || info.most().is_some_and(|most| given > most) {
            return Err(ScriptError::Arity { operation: operation(), given, expected: info.args });
        }
        if self.args.iter().any(|arg| matches!(arg, Arg::Buffer(4097..))) {
            return Err(ScriptError::BufferTooLarge { operation: operation() });
        }
        Ok(())
    }
}

impl fmt::Display for Statement {
    /// As the program reads it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.phase.letter(), self.operation)?;
        self.args.iter().try_for_each(|arg| write!(out, " {arg}"))
    }
}

/// What is wrong with a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptError {
    /// No operation of that name is in the table.
    UnknownOperation(String),
    /// Too few or too many operands.
    Arity {
        /// The operation.
        operation: String,
        /// How many operands the statement has.
        given: usize,
        /// What the table says.
        expected: &'static str,
    },
    /// A buffer of more than 4096 bytes.
    BufferTooLarge {
        /// The operation.
        operation: String,
    },
    /// A word that is no operand, in a statement that was read from text.
    Operand {
        /// The word.
        operand: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An operand uses the result of this statement or of a later one.
    ResultOfLater {
        /// The statement with the operand.
        index: usize,
        /// The statement that it names.
        names: usize,
    },
    /// More statements than the program takes.
    TooLong(usize),
    /// The nonce is not 1 to 64 letters, digits, `-` or `_`.
    Nonce(String),
}

impl fmt::Display for ScriptError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOperation(name) => write!(out, "the probe has no operation {name:?}"),
            Self::Arity { operation, given, expected } => {
                write!(out, "{operation} takes {expected:?}, not {given} operands")
            }
            Self::BufferTooLarge { operation } => write!(out, "{operation}: a buffer exceeds 4096 bytes"),
            Self::Operand { operand, why } => write!(out, "operand {operand:?}: {why}"),
            Self::ResultOfLater { index, names } => {
                write!(out, "statement {index} uses the result of statement {names}, which is not earlier")
            }
            Self::TooLong(count) => write!(out, "{count} statements, the probe takes {MOST_STATEMENTS}"),
            Self::Nonce(nonce) => write!(out, "the nonce {nonce:?} is not 1 to 64 letters, digits, - or _"),
        }
    }
}

impl std::error::Error for ScriptError {}

/// Statements in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    statements: Vec<Statement>,
}

impl Script {
    /// A script without statements.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a statement and returns its number.
    pub fn push(&mut self, statement: Statement) -> usize {
        self.statements.push(statement);
        self.statements.len() - 1
    }

    /// The statements, by number.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// Whether the program could run it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ScriptError> {
        if self.statements.len() > MOST_STATEMENTS {
            return Err(ScriptError::TooLong(self.statements.len()));
        }
        for (index, statement) in self.statements.iter().enumerate() {
            statement.check()?;
            if let Some(names) = statement.args.iter().flat_map(results_in).find(|names| *names >= index) {
                return Err(ScriptError::ResultOfLater { index, names });
            }
        }
        Ok(())
    }

    /// The arguments of the program, without its name.
    ///
    /// # Errors
    /// What [`check`](Self::check) says, and a nonce that is not 1 to 64 letters, digits, `-` or `_`.
    pub fn argv(&self, nonce: &str) -> Result<Vec<String>, ScriptError> {
        self.check()?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if nonce.is_empty() || nonce.len() > 64 || !nonce.bytes().all(plain) {
            return Err(ScriptError::Nonce(nonce.to_owned()));
        }
        Ok(std::iter::once(nonce.to_owned()).chain(self.statements.iter().map(ToString::to_string)).collect())
    }
}

impl<const N: usize> From<[Statement; N]> for Script {
    fn from(statements: [Statement; N]) -> Self {
        Self { statements: statements.into() }
    }
}

impl From<Vec<Statement>> for Script {
    fn from(statements: Vec<Statement>) -> Self {
        Self { statements }
    }
}

impl FromIterator<Statement> for Script {
    fn from_iter<I: IntoIterator<Item = Statement>>(statements: I) -> Self {
        Self { statements: statements.into_iter().collect() }
    }
}

impl Extend<Statement> for Script {
    fn extend<I: IntoIterator<Item = Statement>>(&mut self, statements: I) {
        self.statements.extend(statements);
    }
}

/// A [`Statement`] that prepares: operation, operands.
#[macro_export]
macro_rules! setup {
    ($operation:expr $(, $arg:expr)* $(,)?) => {
        $crate::script::Statement::setup($operation)$(.arg($arg))*
    };
}

/// A [`Statement`] that shows what works: operation, operands.
#[macro_export]
macro_rules! control {
    ($operation:expr $(, $arg:expr)* $(,)?) => {
        $crate::script::Statement::control($operation)$(.arg($arg))*
    };
}

/// A [`Statement`] that is judged: operation, operands.
#[macro_export]
macro_rules! attempt {
    ($operation:expr $(, $arg:expr)* $(,)?) => {
        $crate::script::Statement::attempt($operation)$(.arg($arg))*
    };
}

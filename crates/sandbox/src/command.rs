//! What to run: a command in the shape of `std::process::Command`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use palisade_host::MappedTrees;

use crate::front::Stdio;

/// A program with its arguments, the directory that the run starts in, and its standard descriptors.
///
/// There is no environment here: what passes is a matter of the policy.
///
/// ```
/// use palisade::{Command, Sandbox, Stdio};
/// use palisade_policy::Document;
///
/// let policy = Document::parse("mine", "environment: {set: {GREETING: hello}}")?.policy;
/// let command = Command::new("sh").arg("-c").arg("echo $GREETING; unshare --user true").stdout(Stdio::Capture);
/// let outcome = Sandbox::new(policy).status(command.stdin(Stdio::Null).stderr(Stdio::Null).watch_denials())?;
///
/// assert_eq!(outcome.output.stdout.and_then(|stream| stream.captured), Some(b"hello\n".to_vec()));
/// // Where somebody can listen, refused system calls have names.
/// if let Some(denied) = outcome.denied {
///     assert!(denied.iter().any(|denied| denied.call == "unshare"));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Command {
    pub(crate) words: Vec<OsString>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) stdio: [Stdio; 3],
    pub(crate) keep: bool,
    pub(crate) watch: bool,
    pub(crate) name: Option<String>,
    pub(crate) trees: MappedTrees,
}

impl Command {
    /// A program: a path inside the sandbox, or a name to look for in the `PATH` of the sandbox.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self { words: vec![program.as_ref().to_owned()], ..Self::default() }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.words.push(argument.as_ref().to_owned());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.words.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// The directory that the run starts in, which relative paths of the policy start from. By default the caller's.
    #[must_use]
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Where standard input comes from.
    #[must_use]
    pub fn stdin(mut self, stdio: Stdio) -> Self {
        self.stdio[0] = stdio;
        self
    }

    /// Where standard output goes.
    #[must_use]
    pub fn stdout(mut self, stdio: Stdio) -> Self {
        self.stdio[1] = stdio;
        self
    }

    /// Where standard error goes.
    #[must_use]
    pub fn stderr(mut self, stdio: Stdio) -> Self {
        self.stdio[2] = stdio;
        self
    }

    /// Keeps a copy of the output for the [`Outcome`](crate::Outcome), besides sending it where it goes.
    #[must_use]
    pub fn keep_output(mut self) -> Self {
        self.keep = true;
        self
    }

    /// Has the supervisor hear of every system call that the filter refuses, for the [`Outcome`](crate::Outcome). Each such
    /// call then takes as long as the supervisor needs to answer.
    #[must_use]
    pub fn watch_denials(mut self) -> Self {
        self.watch = true;
        self
    }

    /// Gives the sandbox a name, under which more programs can be started in it as long as this one runs
    /// ([`attach`](crate::attach)).
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Takes what the survey of a [`Decision`](crate::Decision) has mounted already, if its plan is to be run.
    #[must_use]
    pub fn mounted(mut self, trees: MappedTrees) -> Self {
        self.trees = trees;
        self
    }
}

//! A runtime that a caller brings along: a file in YAML that says how it is asked to run a command, for
//! `palisade verify --runtime FILE`.
//!
//! It becomes an [`Adapter`] like any other, and from there on nothing knows that it was not written in Rust. The file is read outside the
//! lab, whose mounts may hide where it lies, and so are the [files](Brought::files) that it names: the lab gets copies.
//!
//! `form` is the file, `template` the words of its command.

mod form;
mod template;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use palisade_policy::Policy;

use super::{Adapter, Case, Exit, Inexpressible, Invocation, Item, PolicySource};
use crate::custom::Problem;
use crate::lab::world::BASE;
use template::{Bound, Template, Values};

/// Most bytes of the file.
const MAX_BYTES: u64 = 64 * 1024;

/// Most bytes of a file that it names: a static program with room to spare.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The clause about the time. A run may be given less of it than the policy says, so that a probe need not wait.
const WALL_TIME: &str = "resources.wall_time";

/// A runtime as its file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    /// Where from, as the caller named it.
    pub path: PathBuf,
    name: String,
    version: Template,
    command: Template,
    /// Files that it needs in the lab, by name, with their contents.
    files: BTreeMap<String, Vec<u8>>,
    /// Exit codes that mean that no workload ran.
    failure: Vec<u8>,
    /// Exit codes that mean that the time was up.
    out_of_time: Vec<u8>,
    inexpressible: BTreeMap<String, String>,
}

impl Brought {
    /// Whether `runtime`, as it stands on a command line, is such a file and no name: it has a `/`, or ends in `.yaml` or `.yml`.
    pub fn is_file(runtime: &str) -> bool {
        runtime.contains('/') || runtime.ends_with(".yaml") || runtime.ends_with(".yml")
    }

    /// Reads the file at `path`, and those that it names, which are looked for beside it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(path: &Path) -> Result<Self, Problem> {
        let file = path.display().to_string();
        let about = |message: String| Problem { file: file.clone(), place: None, message, hint: None };
        let bytes = read(path, MAX_BYTES).map_err(about)?;
        let text = String::from_utf8(bytes).map_err(|_| about("is not text in UTF-8".to_owned()))?;
        let beside = path.parent().unwrap_or(Path::new(""));
        let read = |named: &str| read(&beside.join(named), MAX_FILE_BYTES);
        Ok(Self { path: path.to_owned(), ..form::parse(&file, &text, &read)? })
    }

    /// Puts the files that it names into the lab, executable. Call it before anything else runs there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn put(&self) -> io::Result<()> {
        for (name, content) in &self.files {
            let path = file(name);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(&path, content)?;
            fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        }
        Ok(())
    }
}

/// Where a file that it names is in the lab.
fn file(name: &str) -> PathBuf {
    Path::new(BASE).join("tools/runtime").join(name)
}

/// A file's contents, or what is wrong with it.
fn read(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > most { Err(format!("is longer than {most} bytes")) } else { Ok(bytes) }
}

impl Adapter for Brought {
    fn name(&self) -> &str {
        &self.name
    }

    fn detect(&self) -> Result<String, String> {
        let words = self.version.words(&|name| name.strip_prefix("file.").map(|name| Bound::one(file(name))));
        let (program, arguments) = words.split_first().ok_or("it has no command for its version")?;
        super::version(Command::new(program).args(arguments))
    }

    fn translate(&self, policy: PolicySource<'_>, case: Case<'_>) -> Result<Invocation, Inexpressible> {
        if case.wall_time.is_some() && !self.command.mentions("policy.resources.wall_time") {
            let why = "its command is not told how long it may take".to_owned();
            return Err(Inexpressible { clause: WALL_TIME.to_owned(), why });
        }
        let values = Values::of(policy.policy, case)?;
        let argv: Vec<OsString> = self.command.words(&|name| match name.strip_prefix("file.") {
            Some(name) => Some(Bound::one(file(name))),
            None => values.get(name),
        });
        let scratch = self.command.mentions("scratch").then(|| Item::Directory(case.scratch.to_owned()));
        Ok(Invocation {
            argv,
            env: Vec::new(),
            cwd: case.cwd.to_owned(),
            items: scratch.into_iter().collect(),
        })
    }

    fn exit(&self, code: i32) -> Exit {
        let is = |codes: &[u8]| codes.iter().any(|known| i32::from(*known) == code);
        if is(&self.out_of_time) {
            Exit::OutOfTime
        } else if is(&self.failure) {
            Exit::Runtime
        } else {
            Exit::Workload(code)
        }
    }

    fn inexpressible(&self, _policy: &Policy) -> BTreeMap<String, String> {
        self.inexpressible.clone()
    }
}

#[cfg(test)]
mod tests;

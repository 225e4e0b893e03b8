//! What a policy says about a path: the pure model that the sandbox is held to.
//!
//! Rules are about the file that is reached, not the name that is typed, so the paths that are asked about here are
//! those of files: absolute, and free of symbolic links. Nothing here looks at a file system.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::diagnostic::printable;
use crate::policy::{Access, Clause, Filesystem, PathEntry};
use crate::refusal::Refusal;

/// The longest path, without the terminating NUL (`PATH_MAX`, limits.h).
const MAX_PATH: usize = 4095;

/// The longest name of one file (`NAME_MAX`, limits.h).
const MAX_NAME: usize = 255;

/// Whether a rule may name `path`: absolute, or relative to the directory in which the run starts.
///
/// # Errors
///
/// `..` is refused, not resolved: what it leads to depends on symbolic links, so the text would not say what the
/// rule covers. What looks like a pattern, a variable or `~` is refused, because as a plain name it would silently
/// protect nothing.
pub(crate) fn check_path(path: &Path) -> Result<(), Refusal> {
    let text = path.to_string_lossy();
    let shown = printable(&text);
    let (message, help) = if text.is_empty() {
        ("path is empty".to_owned(), "write `.` for the directory that the run starts in")
    } else if text.contains('\0') {
        (format!("path `{shown}` contains a NUL byte"), "no file has such a name")
    } else if text.starts_with('~') {
        (
            format!("`~` in path `{shown}` is not expanded"),
            "write the path absolute, or `./~` for such a file",
        )
    } else if text.starts_with('$') || text.contains("${") {
        (format!("variable in path `{shown}` is not expanded"), "write the path itself, absolute or relative")
    } else if text.contains(['*', '?']) {
        (
            format!("path `{shown}` looks like a pattern"),
            "paths are not patterns: name the directory, or each file",
        )
    } else if path.components().any(|component| component == Component::ParentDir) {
        (format!("path `{shown}` contains `..`"), "write the path that it leads to, absolute")
    } else if path.as_os_str().len() > MAX_PATH || path.iter().any(|name| name.len() > MAX_NAME) {
        (
            format!("path `{shown}` is longer than a path can be"),
            "a path has at most 4095 bytes, a name in it 255",
        )
    } else {
        return Ok(());
    };
    Err(Refusal::new(message, help))
}

/// `path` without `.` components, repeated and final slashes. `.` itself becomes the empty path.
pub(crate) fn normalised(path: &Path) -> PathBuf {
    path.components().filter(|component| *component != Component::CurDir).collect()
}

/// The rules of a policy for a run that starts in a certain directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedRules {
    rules: Vec<ResolvedRule>,
    no_execute: Vec<ResolvedEntry>,
}

/// One path with what may be done below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedRule {
    /// What may be done below the path.
    pub access: Access,
    /// The path.
    pub entry: ResolvedEntry,
}

/// One path, absolute and without `.` and `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedEntry {
    /// The path.
    pub path: PathBuf,
    /// Where the policy names it; the first place if there are several.
    pub clause: Clause,
    /// Whether the path may be missing when the run starts.
    pub optional: bool,
}

/// Why rules make no sense for a run that starts in a certain directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The directory is not an absolute path without `..`.
    #[error("working directory `{}` is not an absolute path", printable(&.0.to_string_lossy()))]
    WorkingDirectory(PathBuf),
    /// Two rules name the same path and differ.
    #[error(
        "path `{}` is both {} ({}) and {} ({})",
        printable(&path.to_string_lossy()), first.1.words(), first.0, second.1.words(), second.0
    )]
    Contradiction {
        /// The path that both name.
        path: PathBuf,
        /// The rule that stands first in the policy.
        first: (Clause, Access),
        /// The rule that contradicts it.
        second: (Clause, Access),
    },
    /// A rule hides the root directory, so that nothing could run.
    #[error("the root directory cannot be hidden ({0})")]
    HiddenRoot(Clause),
}

impl Filesystem {
    /// The rules for a run that starts in `cwd`, by depth, the paths of one depth in order.
    ///
    /// Two rules of one meaning for one path (`.` and its absolute name) become one, which may be missing only if
    /// both say so.
    ///
    /// # Errors
    ///
    /// Every contradiction that shows only now, and a `cwd` that is no absolute path.
    pub fn resolve(&self, cwd: &Path) -> Result<ResolvedRules, Vec<ResolveError>> {
        if !cwd.is_absolute() || cwd.components().any(|component| component == Component::ParentDir) {
            return Err(vec![ResolveError::WorkingDirectory(cwd.to_owned())]);
        }
        let mut errors = Vec::new();
        let mut rules: BTreeMap<PathBuf, ResolvedRule> = BTreeMap::new();
        for rule in &self.rules {
            let entry = resolve_entry(&rule.entry, cwd);
            if rule.access == Access::Hidden && entry.path == Path::new("/") {
                errors.push(ResolveError::HiddenRoot(entry.clause.clone()));
            }
            match rules.get_mut(&entry.path) {
                Some(known) if known.access == rule.access => known.entry.optional &= entry.optional,
                Some(known) => errors.push(ResolveError::Contradiction {
                    path: entry.path,
                    first: (known.entry.clause.clone(), known.access),
                    second: (entry.clause, rule.access),
                }),
                None => {
                    rules.insert(entry.path.clone(), ResolvedRule { access: rule.access, entry });
                }
            }
        }
        let mut no_execute: BTreeMap<PathBuf, ResolvedEntry> = BTreeMap::new();
        for entry in &self.no_execute {
            let entry = resolve_entry(entry, cwd);
            let optional = entry.optional;
            no_execute.entry(entry.path.clone()).or_insert(entry).optional &= optional;
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut resolved = ResolvedRules {
            rules: rules.into_values().collect(),
            no_execute: no_execute.into_values().collect(),
        };
        // Stable, so paths of one depth keep the order of the map.
        resolved.rules.sort_by_key(|rule| depth(&rule.entry.path));
        resolved.no_execute.sort_by_key(|entry| depth(&entry.path));
        Ok(resolved)
    }
}

fn resolve_entry(entry: &PathEntry, cwd: &Path) -> ResolvedEntry {
    let path = lexically_resolved(&cwd.join(&entry.path));
    ResolvedEntry { path, clause: entry.clause.clone(), optional: entry.optional }
}

/// `path`, which is absolute, without `.` and `..`, as if no directory were a symbolic link.
pub(crate) fn lexically_resolved(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => resolved.push(name),
            Component::ParentDir => {
                resolved.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    resolved
}

fn depth(path: &Path) -> usize {
    path.components().count()
}

impl ResolvedRules {
    /// The rules: a rule stands after every rule that contains it.
    pub fn rules(&self) -> &[ResolvedRule] {
        &self.rules
    }

    /// The entries of `no_execute`, in the same order.
    pub fn no_execute(&self) -> &[ResolvedEntry] {
        &self.no_execute
    }

    /// What the rules say about the file at `path`, which is absolute: the word of the most specific rule that
    /// contains it, of the stricter one at equal depth. `None`: no rule contains it, the base decides.
    pub fn access(&self, path: &Path) -> Option<Access> {
        let path = lexically_resolved(path);
        let containing = self.rules.iter().filter(|rule| path.starts_with(&rule.entry.path));
        let decisive =
            containing.max_by_key(|rule| (depth(&rule.entry.path), std::cmp::Reverse(rule.access)));
        decisive.map(|rule| rule.access)
    }

    /// Whether `no_execute` leaves the file at `path`, which is absolute, executable.
    pub fn may_execute(&self, path: &Path) -> bool {
        let path = lexically_resolved(path);
        !self.no_execute.iter().any(|entry| path.starts_with(&entry.path))
    }
}

#[cfg(test)]
mod tests;

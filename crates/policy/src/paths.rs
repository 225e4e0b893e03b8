//! What a policy says about a path: the pure model that the sandbox is held to.

use std::path::{Component, Path, PathBuf};

/// `path` without `.` components, repeated and final slashes. `.` itself becomes the empty path.
pub(crate) fn normalised(path: &Path) -> PathBuf {
    path.components().filter(|component| *component != Component::CurDir).collect()
}

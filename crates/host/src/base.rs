//! What a new root can take from this host.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use palisade_plan::facts::{BaseLayout, SHARED_ETC_ENTRIES};

use crate::paths::kind;

/// Where programs and libraries may be (hier(7)): links into `/usr` on most systems of today.
const TOP_LEVEL: &[&str] = &["/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin", "/usr"];

pub(crate) fn layout() -> BaseLayout {
    let mut layout = BaseLayout::default();
    for path in TOP_LEVEL.iter().map(Path::new) {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                layout.directories.insert(path.to_path_buf());
            }
            Ok(metadata) if metadata.is_symlink() => add_link(&mut layout, path),
            Ok(_) | Err(_) => {}
        }
    }
    let mut plain = Plain::default();
    for path in SHARED_ETC_ENTRIES.iter().map(Path::new) {
        let Ok(metadata) = fs::symlink_metadata(path) else { continue };
        if metadata.is_symlink() {
            add_link(&mut layout, path);
        } else if path.parent().is_some_and(|parent| plain.is(parent)) {
            layout.etc.insert(path.to_path_buf(), kind(&metadata));
        }
    }
    layout
}

/// Which directories are reached through no symbolic link; each is looked at once.
#[derive(Default)]
struct Plain<'a>(BTreeMap<&'a Path, bool>);

impl<'a> Plain<'a> {
    fn is(&mut self, directory: &'a Path) -> bool {
        let look = || fs::canonicalize(directory).is_ok_and(|canonical| canonical == directory);
        *self.0.entry(directory).or_insert_with(look)
    }
}

/// A link is made again as it is; it may lead to something that the new root does not have.
fn add_link(layout: &mut BaseLayout, path: &Path) {
    if let Ok(target) = fs::read_link(path) {
        layout.links.insert(PathBuf::from(path), target);
    }
}

//! What a new root can take from this host.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use palisade_plan::facts::{BaseLayout, SHARED_ETC_ENTRIES};

use crate::paths::kind;

/// Where programs and libraries may be (hier(7)): links into `/usr` on most systems of today.
const TOP_LEVEL: &[&str] = &["/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin", "/usr"];

pub(crate) fn layout() -> BaseLayout {
    // Made into maps when all are known: paths take long to compare, and these are in order.
    let (mut directories, mut links, mut etc) = (Vec::new(), Vec::new(), Vec::new());
    // A link is made again as it is; it may lead to something that the new root does not have.
    let link = |path: &Path| Some((path.to_path_buf(), fs::read_link(path).ok()?));
    for path in TOP_LEVEL.iter().map(Path::new) {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => directories.push(path.to_path_buf()),
            Ok(metadata) if metadata.is_symlink() => links.extend(link(path)),
            Ok(_) | Err(_) => {}
        }
    }
    let mut plain = Plain::default();
    for path in SHARED_ETC_ENTRIES.iter().map(Path::new) {
        let Ok(metadata) = fs::symlink_metadata(path) else { continue };
        if metadata.is_symlink() {
            links.extend(link(path));
        } else if path.parent().is_some_and(|parent| plain.is(parent)) {
            etc.push((path.to_path_buf(), kind(&metadata)));
        }
    }
    BaseLayout {
        directories: directories.into_iter().collect(),
        links: links.into_iter().collect(),
        etc: etc.into_iter().collect(),
    }
}

/// Which directories are reached through no symbolic link; each is looked at once.
#[derive(Default)]
struct Plain<'a>(BTreeMap<&'a OsStr, bool>);

impl<'a> Plain<'a> {
    fn is(&mut self, directory: &'a Path) -> bool {
        let look = || fs::canonicalize(directory).is_ok_and(|canonical| canonical == directory);
        *self.0.entry(directory.as_os_str()).or_insert_with(look)
    }
}

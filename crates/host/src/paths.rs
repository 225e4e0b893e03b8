//! What stands at the paths that a policy names.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use palisade_plan::facts::{Ability, Caller, Kind, PathFact, Present};
use rustix::io::Errno;

use crate::trial;

/// What was found out about file systems, by device: it is the same for every path on one.
#[derive(Default)]
pub(crate) struct FileSystems(BTreeMap<u64, Ability>);

pub(crate) fn fact(path: &Path, caller: &Caller, known: &mut FileSystems) -> PathFact {
    let canonical = match fs::canonicalize(path) {
        Ok(canonical) => canonical,
        Err(error) => return PathFact::Missing(reason(&error)),
    };
    let metadata = match fs::symlink_metadata(&canonical) {
        Ok(metadata) => metadata,
        Err(error) => return PathFact::Missing(reason(&error)),
    };
    let idmap = caller
        .privileged
        .then(|| known.0.entry(metadata.dev()).or_insert_with(|| trial::idmap(&canonical)).clone());
    PathFact::Present(Present {
        kind: kind(&metadata),
        uid: metadata.uid(),
        gid: metadata.gid(),
        idmap,
        canonical,
    })
}

pub(crate) fn kind(metadata: &fs::Metadata) -> Kind {
    if metadata.is_dir() {
        Kind::Directory
    } else if metadata.is_file() {
        Kind::File
    } else {
        Kind::Special
    }
}

fn reason(error: &std::io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) => "no such file or directory".into(),
        Some(Errno::NOTDIR) => "a part of the path is not a directory".into(),
        Some(Errno::ACCESS) => "permission denied".into(),
        Some(Errno::LOOP) => "too many symbolic links".into(),
        _ => error.to_string(),
    }
}

//! What stands at the paths that a policy names.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use palisade_plan::facts::{Caller, Kind, PathFact, Present};
use rustix::io::Errno;

use crate::trial::IdMapTrial;

pub(crate) fn fact(path: &Path, caller: &Caller, trial: &mut IdMapTrial) -> PathFact {
    let canonical = match fs::canonicalize(path) {
        Ok(canonical) => canonical,
        Err(error) => return PathFact::Missing(reason(&error)),
    };
    let metadata = match fs::symlink_metadata(&canonical) {
        Ok(metadata) => metadata,
        Err(error) => return PathFact::Missing(reason(&error)),
    };
    let idmap = caller.privileged.then(|| trial.attempt(&canonical));
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

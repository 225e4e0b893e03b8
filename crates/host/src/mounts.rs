//! What is mounted below a path, and where else the same files are: /proc/self/mountinfo (proc(5)).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use palisade_plan::facts::{Alias, Kind};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::paths::kind;
use crate::procfs;

/// The mounts of this process.
pub(crate) struct Mounts(Vec<Mount>);

/// One mount.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    id: u64,
    /// `major:minor`, the same for all mounts of one file system.
    device: Vec<u8>,
    /// Which directory or file of the file system it shows.
    root: PathBuf,
    point: PathBuf,
    /// The type of the file system.
    kind: String,
}

impl Mounts {
    /// Reads the list. Empty where it cannot be read: then none is known.
    pub(crate) fn read() -> Self {
        let text = procfs::bytes("/proc/self/mountinfo").unwrap_or_default();
        Self(text.split(|byte| *byte == b'\n').filter_map(line).collect())
    }

    /// What is mounted below `path` and can be seen there: a later mount may cover an earlier one.
    pub(crate) fn below(&self, path: &Path) -> BTreeMap<PathBuf, Kind> {
        let below = self.0.iter().filter(|mount| mount.point.starts_with(path) && mount.point != path);
        below.filter_map(|mount| Some((mount.point.clone(), visible(mount.id, &mount.point)?))).collect()
    }

    /// The type of the file system that a path is on.
    pub(crate) fn file_system(&self, path: &Path) -> Option<String> {
        let id = number(path)?;
        self.0.iter().find(|mount| mount.id == id).map(|mount| mount.kind.clone())
    }

    /// Other places at which what stands at `path`, which has no symbolic link in it, is seen, or a part of it: every
    /// other mount of the same file system shows it that shows something above or below it.
    pub(crate) fn aliases(&self, path: &Path) -> BTreeMap<PathBuf, Alias> {
        let Some(own) = number(path).and_then(|id| self.0.iter().find(|mount| mount.id == id)) else {
            return BTreeMap::new();
        };
        let Ok(below) = path.strip_prefix(&own.point) else { return BTreeMap::new() };
        let inside = joined(&own.root, below);
        let same = self.0.iter().filter(|mount| mount.device == own.device && mount.id != own.id);
        same.filter_map(|mount| {
            let (place, above) = match inside.strip_prefix(&mount.root) {
                Ok(below) => (joined(&mount.point, below), 0),
                Err(_) => {
                    let above = mount.root.strip_prefix(&inside).ok()?.components().count();
                    (mount.point.clone(), above)
                }
            };
            let kind = visible(mount.id, &place)?;
            (place != path).then_some((place, Alias { kind, above }))
        })
        .collect()
    }
}

/// Joining an empty path would add a slash.
fn joined(path: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { path.to_path_buf() } else { path.join(below) }
}

/// The number of the mount that is seen at a path.
fn number(path: &Path) -> Option<u64> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    Some(statx(CWD, path, flags, StatxFlags::MNT_ID).ok()?.stx_mnt_id)
}

fn visible(id: u64, point: &Path) -> Option<Kind> {
    (number(point)? == id).then(|| fs::symlink_metadata(point).ok().map(|metadata| kind(&metadata)))?
}

fn line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let path = |field| PathBuf::from(OsString::from_vec(unescaped(field)));
    let device = fields.nth(1)?.to_vec();
    let (root, point) = (path(fields.next()?), path(fields.next()?));
    // The options, and optional fields up to a hyphen.
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some(Mount { id, device, root, point, kind: String::from_utf8_lossy(kind).into_owned() })
}

/// A field of the file: blanks, newlines and backslashes stand there as three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .filter(|digits| *first == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        match digits {
            Some(digits) => {
                let value = digits.iter().fold(0u32, |value, digit| value * 8 + u32::from(digit - b'0'));
                bytes.push(u8::try_from(value).unwrap_or(b'?'));
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{line, unescaped};

    #[test]
    fn a_line_tells_number_device_root_and_point() {
        let text = br"36 35 98:0 /mnt\0401 /mnt/a\040b\012c\134 rw,noatime master:1 - ext3 /dev/root rw";
        let mount = line(text).expect("a line");
        assert_eq!((mount.id, mount.device.as_slice()), (36, b"98:0".as_slice()));
        assert_eq!((mount.root.to_str(), mount.point.to_str()), (Some("/mnt 1"), Some("/mnt/a b\nc\\")));
        assert_eq!(mount.kind, "ext3");
        assert!(line(b"").is_none());
    }

    #[test]
    fn what_is_no_escape_stays() {
        assert_eq!(unescaped(br"a\0b\99 \377"), b"a\\0b\\99 \xff");
    }
}

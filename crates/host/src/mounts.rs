//! What is mounted below a path: /proc/self/mountinfo (proc(5)).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use palisade_plan::facts::Kind;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::paths::kind;

/// The mounts of this process, by number, with their points.
pub(crate) struct Mounts(Vec<(u64, PathBuf)>);

impl Mounts {
    /// Reads the list. Empty where it cannot be read: then none is known.
    pub(crate) fn read() -> Self {
        let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
        Self(text.split(|byte| *byte == b'\n').filter_map(line).collect())
    }

    /// What is mounted below `path` and can be seen there: a later mount may cover an earlier one.
    pub(crate) fn below(&self, path: &Path) -> BTreeMap<PathBuf, Kind> {
        let below = self.0.iter().filter(|(_, point)| point.starts_with(path) && point != path);
        below.filter_map(|(id, point)| Some((point.clone(), visible(*id, point)?))).collect()
    }
}

fn visible(id: u64, point: &Path) -> Option<Kind> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let stat = statx(CWD, point, flags, StatxFlags::MNT_ID).ok()?;
    (stat.stx_mnt_id == id).then(|| fs::symlink_metadata(point).ok().map(|metadata| kind(&metadata)))?
}

/// The number and the point of one line.
fn line(line: &[u8]) -> Option<(u64, PathBuf)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    Some((id, PathBuf::from(OsString::from_vec(unescaped(fields.nth(3)?)))))
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
    fn a_line_tells_number_and_point() {
        let text = br"36 35 98:0 /mnt1 /mnt/a\040b\012c\134 rw,noatime master:1 - ext3 /dev/root rw";
        let (id, point) = line(text).expect("a line");
        assert_eq!((id, point.to_str()), (36, Some("/mnt/a b\nc\\")));
        assert!(line(b"").is_none());
    }

    #[test]
    fn what_is_no_escape_stays() {
        assert_eq!(unescaped(br"a\0b\99 \377"), b"a\\0b\\99 \xff");
    }
}

//! Reading files and the directory that the kernel makes while they are read.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use rustix::io::{Errno, read};

/// Room for all that most of these files say: their length is not known before, and every further call makes more of them.
const ROOM: usize = 8 << 10;

/// What a file says, from its beginning to its end.
///
/// # Errors
/// What open(2) and read(2) say.
pub(crate) fn bytes(path: impl AsRef<Path>) -> Result<Vec<u8>, Errno> {
    let file = openat(CWD, path.as_ref(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut room = [0; ROOM];
    let mut text = Vec::new();
    loop {
        match read(&file, &mut room) {
            Ok(0) => return Ok(text),
            Ok(more) => text.extend_from_slice(&room[..more]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// As [`bytes`], for a file that says plain text. Empty where it cannot be read.
pub(crate) fn text(path: impl AsRef<Path>) -> String {
    String::from_utf8_lossy(&bytes(path).unwrap_or_default()).into_owned()
}

/// The names in /proc but those of processes, which stand behind all others (`proc_root_readdir` in fs/proc/root.c). Empty
/// where it cannot be read.
pub(crate) fn entries() -> BTreeSet<OsString> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(directory) = openat(CWD, "/proc", flags, Mode::empty()) else { return BTreeSet::new() };
    // Not more: processes, of which there may be many, would be looked up for nothing.
    let mut room = [MaybeUninit::uninit(); 2 << 10];
    let mut names = BTreeSet::new();
    let mut entries = RawDir::new(directory, &mut room);
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name().to_bytes();
        if name.first().is_some_and(u8::is_ascii_digit) {
            break;
        }
        names.insert(OsString::from_vec(name.to_vec()));
    }
    names
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{ROOM, bytes, entries};

    #[test]
    fn every_entry_of_proc_is_found() {
        let found = entries();
        for name in
            palisade_plan::facts::MASKED_PROC_ENTRIES.iter().chain(&["cpuinfo", "self", "sys", "version"])
        {
            let exists = Path::new("/proc").join(name).symlink_metadata().is_ok();
            assert_eq!(found.contains(std::ffi::OsStr::new(name)), exists, "{name}");
        }
    }

    #[test]
    fn long_files_are_read_to_their_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        for length in [0, 1, ROOM - 1, ROOM, ROOM + 1, 5 * ROOM] {
            let content: Vec<u8> = (0..=250).cycle().take(length).collect();
            std::fs::write(&path, &content).expect("written");
            assert_eq!(bytes(&path).as_deref(), Ok(content.as_slice()), "{length}");
        }
        assert!(bytes("/proc/self/mountinfo").is_ok_and(|text| text.ends_with(b"\n")));
        assert!(bytes(directory.path().join("none")).is_err());
    }
}

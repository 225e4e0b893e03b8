//! Walks a directory by getdents64.

use crate::buffer::Terminated;
use crate::kernel::{self, EPROTO, Errno, Fd, O_CLOEXEC, O_DIRECTORY, O_RDONLY};

/// Calls `visit` with every name but `.` and `..`. An error of `visit` ends the walk and is passed on.
pub(crate) fn each_name(
    path: Terminated<'_>,
    visit: &mut dyn FnMut(&[u8]) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let fd = kernel::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)?;
    let walked = walk(fd, visit);
    kernel::close(fd);
    walked
}

/// As [`each_name`], on a descriptor that stays open.
pub(crate) fn walk(fd: Fd, visit: &mut dyn FnMut(&[u8]) -> Result<(), Errno>) -> Result<(), Errno> {
    let mut records = [0_u8; 4096];
    loop {
        let filled = kernel::getdents64(fd, &mut records)?;
        if filled == 0 {
            return Ok(());
        }
        let mut rest = &records[..filled];
        while !rest.is_empty() {
            // struct linux_dirent64: inode u64, offset s64, length u16, type u8, name with NUL.
            let length = rest.get(16..18).map(|pair| usize::from(u16::from_ne_bytes([pair[0], pair[1]])));
            let record = length.filter(|length| *length > 19).and_then(|length| rest.get(..length));
            let record = record.ok_or(EPROTO)?;
            rest = &rest[record.len()..];
            let name = record[19..].split(|byte| *byte == 0).next().unwrap_or(b"");
            if name != b"." && name != b".." {
                visit(name)?;
            }
        }
    }
}

//! Reads files of any length in pieces: by line, or in search of a text.
//!
//! Visitors are `dyn`: one copy of each walk in the image instead of one for each caller.

use crate::buffer::{Buffer, Terminated};
use crate::kernel::{self, Errno, O_CLOEXEC, O_RDONLY};

/// Longest line that is kept; what is longer is cut off.
const LINE_BYTES: usize = 8192;

/// Calls `visit` with every line of the file, without its end.
pub(crate) fn each_line(path: Terminated<'_>, visit: &mut dyn FnMut(&[u8])) -> Result<(), Errno> {
    let mut line = Buffer::<LINE_BYTES>::new();
    each_chunk(path, &mut |chunk| {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            line.push(piece);
            if piece.ends_with(b"\n") {
                visit(line.as_slice().strip_suffix(b"\n").unwrap_or(line.as_slice()));
                line.clear();
            }
        }
    })?;
    if !line.as_slice().is_empty() {
        visit(line.as_slice());
    }
    Ok(())
}

/// Whether the file holds `needle` (at most 4096 bytes), wherever the pieces that are read begin and end.
pub(crate) fn contains(path: Terminated<'_>, needle: &[u8]) -> Result<bool, Errno> {
    let mut window = Buffer::<LINE_BYTES>::new();
    let mut found = needle.is_empty();
    each_chunk(path, &mut |chunk| {
        for piece in chunk.chunks(LINE_BYTES - 4096) {
            window.push(piece);
            found |= holds(window.as_slice(), needle);
            window.keep_last(needle.len().saturating_sub(1));
        }
    })?;
    Ok(found)
}

/// Whether `needle` occurs in `haystack`.
pub(crate) fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || haystack.windows(needle.len()).any(|window| window == needle)
}

/// Calls `visit` with every piece of the file that a read gives.
pub(crate) fn each_chunk(path: Terminated<'_>, visit: &mut dyn FnMut(&[u8])) -> Result<(), Errno> {
    let fd = kernel::open(path, O_RDONLY | O_CLOEXEC, 0)?;
    let mut chunk = [0; 4096];
    loop {
        match kernel::read(fd, &mut chunk) {
            Ok(0) => break,
            Ok(count) => visit(&chunk[..count]),
            Err(error) => {
                kernel::close(fd);
                return Err(error);
            }
        }
    }
    kernel::close(fd);
    Ok(())
}

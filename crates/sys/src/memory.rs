//! The process's own argument and environment memory.

use std::os::raw::c_char;

use crate::process::ForkedChild;

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// Where the kernel put the arguments and the environment of this process: what /proc/PID/cmdline and
/// /proc/PID/environ show (proc(5)).
#[derive(Clone, Copy, Debug)]
pub struct ArgumentArea {
    start: usize,
    length: usize,
}

impl ArgumentArea {
    /// The area of the calling process, from /proc/self/stat. `None` where that cannot be read.
    pub fn of_this_process() -> Option<Self> {
        Self::from_stat(&std::fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// Fields 48 to 51 of /proc/PID/stat: arg_start, arg_end, env_start, env_end. Private, so that every value is
    /// about this process.
    fn from_stat(stat: &str) -> Option<Self> {
        // Field 2 may hold spaces and parentheses; everything after the last one is plain.
        let fields: Vec<usize> = stat
            .rsplit_once(')')?
            .1
            .split_ascii_whitespace()
            .map(|field| field.parse().unwrap_or(0))
            .collect();
        // The first field after the name is field 3; zeros mean that the reader may not know.
        let field = |number: usize| fields.get(number - 3).copied().filter(|value| *value != 0);
        let (start, end) = (field(48)?, field(51)?);
        (start < end && field(49)? <= end && field(50)? <= end).then(|| Self { start, length: end - start })
    }
}

/// Overwrites the arguments and the environment of a forked child with zeros, in its own copy of the memory.
///
/// For a child that never execs: without this it would show its parent's command line, and hold its parent's
/// environment, for as long as it lives.
pub fn wipe_arguments(_proof: &ForkedChild, area: ArgumentArea) {
    // SAFETY: the area is the one that the kernel mapped for this process (a forked child has its parent's
    // layout), writable, as part of the initial stack; no other thread exists that could read it meanwhile.
    unsafe { std::ptr::write_bytes(area.start as *mut u8, 0, area.length) };
    // SAFETY: environ is a null-terminated array, or null; after setenv(3) its strings may lie on the heap, where
    // the call above has not reached them. All of them belong to this process's own copy.
    unsafe {
        if environ.is_null() {
            return;
        }
        let mut entry = environ;
        while !(*entry).is_null() {
            let text = (*entry).cast_mut();
            std::ptr::write_bytes(text, 0, libc::strlen(text));
            entry = entry.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ArgumentArea;

    #[test]
    fn the_area_of_this_process_is_found() {
        assert!(ArgumentArea::of_this_process().is_some());
    }

    #[test]
    fn a_name_with_parentheses_and_hidden_fields_do_not_mislead() {
        let fields = |area: &str| format!("7 (a) b) S {} {area} 0", vec!["0"; 44].join(" "));
        assert!(ArgumentArea::from_stat(&fields("4096 4100 4100 4200")).is_some());
        assert!(ArgumentArea::from_stat(&fields("0 0 0 0")).is_none());
        assert!(ArgumentArea::from_stat(&fields("4200 4100 4100 4096")).is_none());
        assert!(ArgumentArea::from_stat("").is_none());
    }
}

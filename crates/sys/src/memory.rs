//! The process's own memory: its arguments and environment, and the pages of its program.

use std::fs::File;
use std::io::Read;
use std::os::raw::{c_char, c_int, c_void};

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
        // Some fifty numbers and a name of 15 bytes, which come at once.
        let mut stat = [0; 2048];
        let length = File::open("/proc/self/stat").ok()?.read(&mut stat).ok()?;
        Self::from_stat(&String::from_utf8_lossy(stat.get(..length)?))
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

/// Gives back the pages of this program's code and constants that are resident (MADV_DONTNEED, madvise(2)): what is used
/// again is mapped again from the page cache. For a program that has done most of its work and waits.
///
/// Only pages that are mapped from the program's file and that nobody may write to: what they say is what the file says.
pub fn release_program() {
    unsafe extern "C" fn release(object: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
        // SAFETY: dl_iterate_phdr(3) passes a valid object, whose program headers are an array of this length.
        let (base, headers) = unsafe {
            let object = &*object;
            (object.dlpi_addr, std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)))
        };
        // Of the whole segment, only full pages: the kernel rounds the end up, to where nothing else is mapped.
        let page = 4096;
        for header in
            headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0)
        {
            let start = (base + header.p_vaddr) / page * page;
            let length = base + header.p_vaddr + header.p_memsz - start;
            // SAFETY: a segment that is loaded without the right to write is mapped from its file and never changed, so
            // nothing is lost; who reads it meanwhile waits until its page is mapped again.
            unsafe { libc::madvise(start as *mut c_void, length as usize, libc::MADV_DONTNEED) };
        }
        // The program itself is the first object.
        1
    }
    // SAFETY: the callback keeps nothing, and the pointer that it is passed is not used.
    unsafe { libc::dl_iterate_phdr(Some(release), std::ptr::null_mut()) };
}

#[cfg(test)]
mod tests {
    use super::{ArgumentArea, release_program};

    /// Of the program's own file, in KiB (/proc/PID/status, RssFile).
    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("readable");
        let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).expect("told");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    #[test]
    fn a_program_goes_on_with_fewer_pages() {
        let before = resident();
        release_program();
        let after = resident();
        assert!(after < before, "{before} KiB before, {after} KiB after");
    }

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

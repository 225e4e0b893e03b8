//! Starting another program from prepared operands.

use std::ffi::{CStr, CString, c_char};

use crate::Errno;

/// A null-terminated array of C strings, as execve(2) takes them, built before the fork.
#[derive(Debug)]
pub struct StringArray {
    /// Owns what `pointers` points to; a CString's bytes do not move when the vector does.
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers lead to heap memory that this value owns and nobody changes; they may be read from any thread.
unsafe impl Send for StringArray {}
// SAFETY: as above; there is no interior mutability.
unsafe impl Sync for StringArray {}

impl StringArray {
    /// Takes ownership of `strings` and builds the array of pointers to them.
    pub fn new(strings: Vec<CString>) -> Self {
        let pointers =
            strings.iter().map(|string| string.as_ptr()).chain(std::iter::once(std::ptr::null())).collect();
        Self { _strings: strings, pointers }
    }
}

/// execve(2). Returns only when it failed.
pub fn execve(path: &CStr, argv: &StringArray, envp: &StringArray) -> Errno {
    // SAFETY: path is a C string, both arrays are null-terminated arrays of C strings that live as long as their
    // owners, which are borrowed here.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    Errno::last()
}

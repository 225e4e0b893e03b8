//! Starting another program from prepared operands.

use std::ffi::{CStr, CString, c_char};
use std::marker::PhantomData;

use crate::Errno;

/// A null-terminated array of pointers to C strings, as execve(2) takes them.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    /// The last one is null; every other leads to a C string that lives for `'a`.
    pointers: &'a [*const c_char],
    strings: PhantomData<&'a CStr>,
}

impl<'a> Words<'a> {
    /// The first string, the name of a program.
    pub fn first(self) -> Option<&'a CStr> {
        let pointer = self.pointers.first().copied().filter(|pointer| !pointer.is_null())?;
        // SAFETY: by the invariant of `pointers`.
        Some(unsafe { CStr::from_ptr(pointer) })
    }
}

/// The words of a program, built before the fork.
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

    /// The array.
    pub fn words(&self) -> Words<'_> {
        Words { pointers: &self.pointers, strings: PhantomData }
    }
}

/// Room for the words of a program that becomes known after the fork, when nothing may be allocated any more.
///
/// The words come as [`Inbox::encode`] writes them: the number of arguments, then the arguments, then the variables that are
/// added to the environment, each ended by a zero byte.
pub struct Inbox {
    bytes: Vec<u8>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers are only ever made, from `bytes` of the same value, by a method that borrows it mutably.
unsafe impl Send for Inbox {}
// SAFETY: as above.
unsafe impl Sync for Inbox {}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inbox")
    }
}

/// Bytes of the number of arguments.
const HEAD: usize = size_of::<u32>();

impl Inbox {
    /// Room for `bytes` bytes in `words` words.
    pub fn new(bytes: usize, words: usize) -> Self {
        Self { bytes: vec![0; bytes], pointers: vec![std::ptr::null(); words] }
    }

    /// Where to read into.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// What [`Inbox::split`] reads.
    pub fn encode(arguments: &[CString], variables: &[CString]) -> Vec<u8> {
        let count = u32::try_from(arguments.len()).unwrap_or(u32::MAX);
        let words = arguments.iter().chain(variables).flat_map(|word| word.as_bytes_with_nul());
        count.to_ne_bytes().iter().chain(words).copied().collect()
    }

    /// Reads the first `length` bytes: the arguments, and `environment` with the variables added. Allocates nothing.
    /// `None` when there is no argument, the last word has no end, or there are more words than there is room for.
    pub fn split(&mut self, length: usize, environment: Words<'_>) -> Option<(Words<'_>, Words<'_>)> {
        let (head, strings) = self.bytes.get(..length)?.split_at_checked(HEAD)?;
        let count = usize::try_from(u32::from_ne_bytes(head.try_into().ok()?)).ok()?;
        if strings.last() != Some(&0) {
            return None;
        }
        let mut used = 0;
        let mut put = |pointers: &mut Vec<*const c_char>, pointer| -> Option<()> {
            *pointers.get_mut(used)? = pointer;
            used += 1;
            Some(())
        };
        let mut words = 0;
        for string in strings.split_inclusive(|byte| *byte == 0) {
            if words == count {
                // The end of the arguments, and after it the inherited environment.
                put(&mut self.pointers, std::ptr::null())?;
                for pointer in environment.pointers.iter().filter(|pointer| !pointer.is_null()) {
                    put(&mut self.pointers, *pointer)?;
                }
            }
            put(&mut self.pointers, string.as_ptr().cast())?;
            words += 1;
        }
        if count == 0 || words < count {
            return None;
        }
        if words == count {
            put(&mut self.pointers, std::ptr::null())?;
            for pointer in environment.pointers.iter().filter(|pointer| !pointer.is_null()) {
                put(&mut self.pointers, *pointer)?;
            }
        }
        put(&mut self.pointers, std::ptr::null())?;
        let (arguments, variables) = self.pointers.get(..used)?.split_at_checked(count + 1)?;
        let of = |pointers| Words { pointers, strings: PhantomData };
        Some((of(arguments), of(variables)))
    }
}

/// execve(2). Returns only when it failed.
pub fn execve(path: &CStr, argv: Words<'_>, envp: Words<'_>) -> Errno {
    // SAFETY: path is a C string, both arrays are null-terminated arrays of C strings by the invariant of `Words`.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    Errno::last()
}

/// execveat(2) of the file that `program` is a descriptor of. Returns only when it failed.
pub fn execveat(program: std::os::fd::BorrowedFd<'_>, argv: Words<'_>, envp: Words<'_>) -> Errno {
    use std::os::fd::AsRawFd as _;
    // SAFETY: the path is an empty C string, both arrays are as for execve.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.pointers.as_ptr(),
            envp.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Errno::last()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<CString> {
        words.iter().map(|word| CString::new(*word).expect("no zero")).collect()
    }

    fn read(words: Words<'_>) -> Vec<String> {
        let pointers = words.pointers.iter().take_while(|pointer| !pointer.is_null());
        // SAFETY: by the invariant of `Words`.
        pointers.map(|p| unsafe { CStr::from_ptr(*p) }.to_string_lossy().into_owned()).collect()
    }

    fn split(arguments: &[&str], variables: &[&str], room: usize) -> Option<(Vec<String>, Vec<String>)> {
        let inherited = StringArray::new(strings(&["PATH=/bin"]));
        let encoded = Inbox::encode(&strings(arguments), &strings(variables));
        let mut inbox = Inbox::new(1024, room);
        inbox.room()[..encoded.len()].copy_from_slice(&encoded);
        let (arguments, environment) = inbox.split(encoded.len(), inherited.words())?;
        Some((read(arguments), read(environment)))
    }

    #[test]
    fn words_arrive_as_they_were_sent() {
        let (arguments, environment) = split(&["a", "", "b c"], &["TERM=x"], 16).expect("well-formed");
        assert_eq!(arguments, ["a", "", "b c"]);
        assert_eq!(environment, ["PATH=/bin", "TERM=x"]);
        let (arguments, environment) = split(&["a"], &[], 16).expect("well-formed");
        assert_eq!((arguments, environment), (vec!["a".to_owned()], vec!["PATH=/bin".to_owned()]));
    }

    #[test]
    fn what_is_malformed_or_too_long_is_refused() {
        assert!(split(&[], &[], 16).is_none(), "no program");
        assert!(split(&["a", "b"], &["c=d"], 4).is_none(), "more words than room");
        let inherited = StringArray::new(Vec::new());
        let mut inbox = Inbox::new(16, 16);
        for bytes in [&b"\x01\0\0\0abc"[..], b"\x02\0\0\0a\0", b"\x01\0", b"", b"\x01\0\0\0"] {
            inbox.room()[..bytes.len()].copy_from_slice(bytes);
            assert!(inbox.split(bytes.len(), inherited.words()).is_none(), "{bytes:?}");
        }
        assert!(inbox.split(17, inherited.words()).is_none(), "longer than the room");
    }
}

//! A network namespace that is made while its maker goes on: of all that a sandbox is made of it takes the kernel longest, half
//! of what all new namespaces take together.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::process::{ForkedChild, Stack, wait_for};
use crate::{Errno, Result};

/// linux/sockios.h; the network namespace that a socket is in (Linux 4.9).
const SIOCGSKNS: libc::Ioctl = 0x894C;

/// A network namespace that is being made.
#[derive(Debug)]
pub struct NetworkNamespace {
    /// What the process runs on that makes it.
    stack: Stack,
    /// What that process tells: a socket in the namespace and 1, the negative of an error number, or nothing yet.
    told: Box<AtomicI32>,
    maker: Option<i32>,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    New,
    Begun,
    Entered,
}

impl NetworkNamespace {
    /// Allocates what the making needs.
    #[expect(clippy::new_without_default, reason = "a default is expected to cost nothing")]
    pub fn new() -> Self {
        Self {
            stack: Stack::new(16 << 10),
            told: Box::new(AtomicI32::new(0)),
            maker: None,
            progress: Progress::New,
        }
    }

    /// Has a process begin to make it, with the caller's credentials, and goes on. That process shares the caller's memory
    /// and descriptors (CLONE_VM and CLONE_FILES, clone(2)): until [`enter`](Self::enter) the caller may close none that it
    /// does not own.
    ///
    /// # Errors
    /// EAGAIN at a process limit.
    pub fn begin(&mut self, _proof: &ForkedChild) -> Result<()> {
        extern "C" fn make(told: *mut libc::c_void) -> libc::c_int {
            // SAFETY: it is `told` below, whose owner waits for this process before it goes.
            let told = unsafe { &*told.cast::<AtomicI32>() };
            // All system calls here go past the C library, whose `errno` is the caller's, which goes on meanwhile.
            // SAFETY: of memory, directories and descriptors nothing is unshared.
            let made = unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.and_then(|()| {
                socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
            });
            let word = match made {
                Ok(socket) => socket.into_raw_fd() + 1,
                Err(errno) => -errno.raw_os_error(),
            };
            told.store(word, Ordering::Release);
            0
        }

        let flags = libc::CLONE_VM | libc::CLONE_FILES;
        let told: *const AtomicI32 = &raw const *self.told;
        // SAFETY: the process runs on its own stack and touches nothing but `told`, which is made for it; both stay until it
        // has been waited for. The caller has one thread, so that no lock is held that it could need.
        let pid = Errno::check(
            unsafe { libc::clone(make, self.stack.top(), flags, told.cast_mut().cast()) }.into(),
        )?;
        self.maker = Some(pid as i32);
        self.progress = Progress::Begun;
        Ok(())
    }

    /// Whether its making was begun.
    pub fn is_begun(&self) -> bool {
        self.progress != Progress::New
    }

    /// Whether the caller is in it.
    pub fn is_entered(&self) -> bool {
        self.progress == Progress::Entered
    }

    /// Waits until it is made and moves the caller into it.
    ///
    /// # Errors
    /// What making it says: EPERM without CAP_SYS_ADMIN in the process's user namespace, ENOSPC at the limit of such namespaces.
    /// ESRCH when it was never begun, or its maker was killed.
    pub fn enter(&mut self, _proof: &ForkedChild) -> Result<()> {
        self.finish();
        let socket = match self.told.load(Ordering::Acquire) {
            0 => return Err(Errno(libc::ESRCH)),
            errno @ ..0 => return Err(Errno(-errno)),
            // SAFETY: the maker left this descriptor open for nobody else.
            socket => unsafe { OwnedFd::from_raw_fd(socket - 1) },
        };
        // SAFETY: no pointer is passed.
        let namespace = Errno::check(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) }.into())?;
        // SAFETY: the kernel has just made this descriptor for us.
        let namespace = unsafe { OwnedFd::from_raw_fd(namespace as i32) };
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|errno| Errno(errno.raw_os_error()))?;
        self.progress = Progress::Entered;
        Ok(())
    }

    fn finish(&mut self) {
        if let Some(maker) = self.maker.take() {
            let _ = wait_for(maker);
        }
    }
}

impl Drop for NetworkNamespace {
    /// What the maker uses stays until it has ended.
    fn drop(&mut self) {
        self.finish();
    }
}

//! Signal masks, dispositions and signalfd(2).

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Errno, Result};

pub use libc::{
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1,
    SIGUSR2, SIGWINCH,
};

/// A set of signals, as sigprocmask(2) takes it.
#[derive(Clone, Copy)]
pub struct SignalSet(libc::sigset_t);

impl SignalSet {
    /// Every signal.
    pub fn all() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigfillset initialises the set that it is given.
        unsafe {
            libc::sigfillset(set.as_mut_ptr());
            Self(set.assume_init())
        }
    }

    /// These signals. Numbers that are no signals are left out.
    pub fn of(signals: &[i32]) -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the set; sigaddset then changes an initialised set.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            let mut set = set.assume_init();
            for signal in signals {
                libc::sigaddset(&raw mut set, *signal);
            }
            Self(set)
        }
    }
}

impl std::fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignalSet")
    }
}

/// Blocks `set` in the calling thread, besides what is blocked already, and returns the mask from before.
pub fn block(set: &SignalSet) -> SignalSet {
    let mut old = MaybeUninit::uninit();
    // SAFETY: both pointers are valid; with a valid `how` the call cannot fail and fills `old`.
    unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set.0, old.as_mut_ptr());
        SignalSet(old.assume_init())
    }
}

/// Makes `mask` the mask of the calling thread.
pub fn set_mask(mask: &SignalSet) {
    // SAFETY: the set is initialised; the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask.0, std::ptr::null_mut()) };
}

/// Gives every signal its default disposition. `std` ignores SIGPIPE, and ignored signals survive execve(2): a
/// workload would inherit both that and what the caller's parent ignored.
pub fn reset_dispositions() {
    /// `_NSIG` of the kernel on x86-64.
    const LAST: i32 = 64;
    for signal in 1..=LAST {
        // SAFETY: SIG_DFL installs no code; signals that cannot be changed (KILL, STOP, the two that libc keeps
        // for itself) return EINVAL, which changes nothing.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// signalfd(2) for `set`: close-on-exec and non-blocking. The signals should be blocked.
///
/// # Errors
/// EMFILE, ENFILE, ENOMEM.
pub fn signalfd(set: &SignalSet) -> Result<OwnedFd> {
    // SAFETY: the set is initialised.
    let fd = Errno::check(
        unsafe { libc::signalfd(-1, &raw const set.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) }.into(),
    )?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A signal that a signalfd gave.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Its number.
    pub signal: i32,
    /// The sender's process id in the reader's pid namespace; 0 when it has none there, that is when the sender
    /// is the kernel or a process outside of the namespace.
    pub sender: u32,
}

/// Reads one signal from a signalfd. `None` when none is pending.
///
/// # Errors
/// What read(2) says.
pub fn read_signal(fd: BorrowedFd<'_>) -> Result<Option<Received>> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer has the size given.
    let read = unsafe { libc::read(fd.as_raw_fd(), info.as_mut_ptr().cast(), size) };
    match Errno::check(read as libc::c_long) {
        Ok(read) if read as usize == size => {
            // SAFETY: a full read filled the structure.
            let info = unsafe { info.assume_init() };
            Ok(Some(Received { signal: info.ssi_signo as i32, sender: info.ssi_pid }))
        }
        Ok(_) | Err(Errno(libc::EAGAIN)) => Ok(None),
        Err(errno) => Err(errno),
    }
}

//! Signals that this process gets and means for the workload.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use palisade_sys::Errno;
use palisade_sys::signal::{
    self, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGWINCH, SignalSet,
};

/// Signals that a caller sends to a run and means for the workload.
const FORWARDED: [i32; 7] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH];

/// Signals that would stop a process in the background that touches its terminal; blocked, the call fails instead.
const OF_THE_TERMINAL: [i32; 2] = [SIGTTIN, SIGTTOU];

/// Signals for the workload, caught from before it exists.
#[derive(Debug)]
pub struct Forwarding {
    signals: OwnedFd,
    original: SignalSet,
}

impl Forwarding {
    /// Blocks the forwarded signals in the calling thread and catches them. To be made before any other thread.
    ///
    /// # Errors
    /// What signalfd(2) says.
    pub fn start() -> Result<Self, Errno> {
        let set = SignalSet::of(&FORWARDED);
        let signals = signal::signalfd(&set)?;
        let original = signal::block(&set);
        signal::block(&SignalSet::of(&OF_THE_TERMINAL));
        Ok(Self { signals, original })
    }

    /// The mask from before.
    pub(crate) fn original_mask(&self) -> SignalSet {
        self.original
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// The next signal that is pending.
    pub(crate) fn next(&self) -> Option<i32> {
        signal::read_signal(self.signals.as_fd()).ok().flatten().map(|received| received.signal)
    }
}

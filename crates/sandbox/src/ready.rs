//! Waiting for several descriptors at once.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Waits until at least one of the descriptors is ready, or the time is up: which ones, by what they stand for. None when
/// a signal came first.
pub(crate) fn ready<'fd, S>(
    sources: impl IntoIterator<Item = (S, BorrowedFd<'fd>, PollFlags)>,
    timeout: Option<Timespec>,
) -> Vec<S> {
    let (names, mut waiting): (Vec<S>, Vec<PollFd<'fd>>) = sources
        .into_iter()
        .map(|(name, descriptor, flags)| (name, PollFd::from_borrowed_fd(descriptor, flags)))
        .unzip();
    if poll(&mut waiting, timeout.as_ref()).is_err() {
        return Vec::new();
    }
    let heard = names.into_iter().zip(&waiting);
    heard.filter(|(_, poll)| !poll.revents().is_empty()).map(|(name, _)| name).collect()
}

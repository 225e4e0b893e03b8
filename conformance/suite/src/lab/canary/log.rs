//! The bounded log of hits. Never drops what it has taken; counts what it could not take.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{HIT_BYTES, Hit};

/// The most hits that are kept: with [`HIT_BYTES`] each, at most 32 MiB.
const MOST_HITS: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct Log {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    hits: Vec<Hit>,
    dropped: u64,
}

/// Where in the log a hit lies, so that bytes that come later can be added to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry(Option<usize>);

impl Log {
    /// A thread that panicked while holding the lock leaves at worst one incomplete hit: still true, so still used.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn record(&self, hit: Hit) -> Entry {
        let mut inner = self.lock();
        if inner.hits.len() >= MOST_HITS {
            inner.dropped += 1;
            return Entry(None);
        }
        inner.hits.push(hit);
        Entry(Some(inner.hits.len() - 1))
    }

    /// Adds bytes to a hit, up to [`HIT_BYTES`] in all.
    pub(super) fn extend(&self, entry: Entry, bytes: &[u8]) {
        let Some(index) = entry.0 else { return };
        let mut inner = self.lock();
        let hit = &mut inner.hits[index];
        let room = HIT_BYTES.saturating_sub(hit.bytes.len());
        hit.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    pub(super) fn select(&self, keep: impl Fn(&Hit) -> bool) -> Vec<Hit> {
        self.lock().hits.iter().filter(|hit| keep(hit)).cloned().collect()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::{Endpoint, Proto};
    use super::*;

    fn hit() -> Hit {
        Hit {
            at: SystemTime::now(),
            proto: Proto::Tcp,
            local: Endpoint::Abstract("x".into()),
            peer: None,
            bytes: Vec::new(),
        }
    }

    #[test]
    fn bytes_are_bounded_and_found() {
        let log = Log::default();
        let entry = log.record(hit());
        log.extend(entry, b"abc NONCE-1 def");
        log.extend(entry, &[b'x'; 4096]);
        let found = log.select(|h| h.carries("nonce-1"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].bytes.len(), HIT_BYTES);
        assert!(log.select(|h| h.carries("")).is_empty());
    }

    #[test]
    fn a_full_log_counts_what_it_drops() {
        let log = Log::default();
        for _ in 0..MOST_HITS {
            log.record(hit());
        }
        assert_eq!(log.dropped(), 0);
        let entry = log.record(hit());
        log.extend(entry, b"lost");
        assert_eq!(log.dropped(), 1);
    }
}

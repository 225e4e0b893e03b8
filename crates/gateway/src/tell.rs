//! Tells events, and keeps counts that anybody may read.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::config::Usage;
use crate::event::{Event, Limit};

const SECOND: Duration = Duration::from_secs(1);

/// Passes events on, at most so many a second.
pub(crate) struct Teller {
    listener: Box<dyn Fn(Event)>,
    per_second: u32,
    since: Cell<Instant>,
    told: Cell<u32>,
    suppressed: Cell<u64>,
    limits: RefCell<BTreeMap<Limit, Instant>>,
}

impl Teller {
    pub(crate) fn new(per_second: u32, listener: Box<dyn Fn(Event)>) -> Self {
        Self {
            listener,
            per_second,
            since: Cell::new(Instant::now()),
            told: Cell::new(0),
            suppressed: Cell::new(0),
            limits: RefCell::default(),
        }
    }

    pub(crate) fn tell(&self, event: Event) {
        let now = Instant::now();
        if now.duration_since(self.since.get()) >= SECOND {
            self.since.set(now);
            self.told.set(0);
            self.flush();
        }
        if self.told.get() >= self.per_second {
            self.suppressed.set(self.suppressed.get() + 1);
            return;
        }
        self.told.set(self.told.get() + 1);
        (self.listener)(event);
    }

    /// Tells how many events were left out, if any.
    pub(crate) fn flush(&self) {
        let count = self.suppressed.take();
        if count > 0 {
            (self.listener)(Event::Suppressed { count });
        }
    }

    /// Tells that a limit was reached, unless that was told within the last second. Told in a flood of other events, too.
    pub(crate) fn limit(&self, which: Limit) {
        let now = Instant::now();
        let last = self.limits.borrow().get(&which).copied();
        if last.is_none_or(|last| now.duration_since(last) >= SECOND) {
            self.limits.borrow_mut().insert(which, now);
            (self.listener)(Event::LimitHit { which });
        }
    }
}

impl std::fmt::Debug for Teller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Teller").field("per_second", &self.per_second).finish_non_exhaustive()
    }
}

/// What the gateway's thread counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicUsize,
    pub(crate) pending: AtomicUsize,
    pub(crate) udp_flows: AtomicUsize,
    pub(crate) names: AtomicUsize,
    pub(crate) allowed: AtomicU64,
    pub(crate) denied: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
}

impl Counters {
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            connections: self.connections.load(Ordering::Relaxed),
            pending: self.pending.load(Ordering::Relaxed),
            udp_flows: self.udp_flows.load(Ordering::Relaxed),
            names: self.names.load(Ordering::Relaxed),
            allowed: self.allowed.load(Ordering::Relaxed),
            denied: self.denied.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
        }
    }
}

/// One of something that is counted, until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted<'c>(&'c AtomicUsize);

impl<'c> Counted<'c> {
    /// One more, unless there are `limit` already.
    pub(crate) fn new(count: &'c AtomicUsize, limit: usize) -> Option<Self> {
        // Only the gateway's thread writes.
        if count.load(Ordering::Relaxed) >= limit {
            return None;
        }
        count.fetch_add(1, Ordering::Relaxed);
        Some(Self(count))
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_flood_of_events_is_counted_instead() {
        let told = Rc::new(RefCell::new(Vec::new()));
        let listener = Rc::clone(&told);
        let teller = Teller::new(3, Box::new(move |event| listener.borrow_mut().push(event)));
        for _ in 0..10 {
            teller.tell(Event::Died { message: String::new() });
        }
        teller.limit(Limit::Names);
        teller.flush();
        assert_eq!(told.borrow().len(), 5);
        assert_eq!(
            told.borrow()[3..],
            [Event::LimitHit { which: Limit::Names }, Event::Suppressed { count: 7 }]
        );
    }

    #[test]
    fn a_limit_is_told_once() {
        let told = Rc::new(RefCell::new(0));
        let listener = Rc::clone(&told);
        let teller = Teller::new(100, Box::new(move |_| *listener.borrow_mut() += 1));
        teller.limit(Limit::Names);
        teller.limit(Limit::Names);
        teller.limit(Limit::Pending);
        assert_eq!(*told.borrow(), 2);
    }
}

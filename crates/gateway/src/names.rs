//! Which address stands for which name.
//!
//! Pure. An address is given to a name when it is asked for, stays its own while anybody uses it or may remember it,
//! and is given to another name as late as possible: addresses are taken in a circle, so one that was given up comes
//! round again only after all others.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use palisade_policy::address::synthetic::CAPACITY;

/// The names that have an address, by number: [`palisade_policy::address::synthetic::v4`] makes an address of it.
#[derive(Debug)]
pub(crate) struct Names {
    limit: usize,
    hold: Duration,
    numbers: HashMap<Rc<str>, u32>,
    entries: HashMap<u32, Entry>,
    /// The entries that nobody uses, the one that was touched longest ago first.
    unused: BTreeMap<u64, u32>,
    next: u32,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    name: Rc<str>,
    touched: Instant,
    /// Its key in `unused`.
    tick: u64,
    users: usize,
}

impl Names {
    /// For at most `limit` names, each kept for `hold` after it was last touched.
    pub(crate) fn new(limit: usize, hold: Duration) -> Self {
        let capacity = usize::try_from(CAPACITY).unwrap_or(usize::MAX);
        Self {
            limit: limit.min(capacity),
            hold,
            numbers: HashMap::new(),
            entries: HashMap::new(),
            unused: BTreeMap::new(),
            next: 0,
            clock: 0,
        }
    }

    /// How many names have an address.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The number of `name`, a new one if it has none. `None`: all are in use, or may be remembered.
    pub(crate) fn assign(&mut self, name: &str, now: Instant) -> Option<u32> {
        if let Some(&number) = self.numbers.get(name) {
            self.touch(number, now);
            return Some(number);
        }
        if self.entries.len() >= self.limit {
            self.evict(now)?;
        }
        while self.entries.contains_key(&self.next) {
            self.next = (self.next + 1) % CAPACITY;
        }
        let number = self.next;
        self.next = (self.next + 1) % CAPACITY;
        let name: Rc<str> = name.into();
        self.numbers.insert(Rc::clone(&name), number);
        self.clock += 1;
        self.unused.insert(self.clock, number);
        self.entries.insert(number, Entry { name, touched: now, tick: self.clock, users: 0 });
        Some(number)
    }

    fn touch(&mut self, number: u32, now: Instant) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        entry.touched = now;
        if self.unused.remove(&entry.tick).is_some() {
            self.clock += 1;
            entry.tick = self.clock;
            self.unused.insert(entry.tick, number);
        }
    }

    fn evict(&mut self, now: Instant) -> Option<()> {
        let (&tick, &number) = self.unused.first_key_value()?;
        let entry = self.entries.get(&number)?;
        if now.saturating_duration_since(entry.touched) < self.hold {
            return None;
        }
        self.unused.remove(&tick);
        let entry = self.entries.remove(&number)?;
        self.numbers.remove(&entry.name);
        Some(())
    }

    /// The name that `number` stands for.
    pub(crate) fn name(&self, number: u32) -> Option<&Rc<str>> {
        self.entries.get(&number).map(|entry| &entry.name)
    }

    /// Begins a use of `number`: until [`Names::release`] it keeps standing for its name.
    pub(crate) fn acquire(&mut self, number: u32) -> Option<Rc<str>> {
        let entry = self.entries.get_mut(&number)?;
        entry.users += 1;
        self.unused.remove(&entry.tick);
        Some(Rc::clone(&entry.name))
    }

    /// Ends a use.
    pub(crate) fn release(&mut self, number: u32, now: Instant) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        entry.users = entry.users.saturating_sub(1);
        entry.touched = now;
        if entry.users == 0 {
            self.clock += 1;
            entry.tick = self.clock;
            self.unused.insert(entry.tick, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOLD: Duration = Duration::from_secs(60);

    #[test]
    fn a_name_keeps_its_address() {
        let (mut names, now) = (Names::new(2, HOLD), Instant::now());
        let a = names.assign("a", now).unwrap();
        assert_ne!(names.assign("b", now), Some(a));
        assert_eq!(names.assign("a", now), Some(a));
        assert_eq!(names.name(a).map(|name| &**name), Some("a"));
        assert_eq!(names.name(a + 2), None);
    }

    #[test]
    fn the_one_that_was_asked_longest_ago_makes_room() {
        let (mut names, now) = (Names::new(2, HOLD), Instant::now());
        let a = names.assign("a", now).unwrap();
        let b = names.assign("b", now).unwrap();
        names.assign("a", now);
        assert_eq!(names.assign("c", now), None, "both may be remembered");
        let later = now + HOLD;
        let c = names.assign("c", later).unwrap();
        assert!(names.name(b).is_none() && names.name(a).is_some());
        assert!(c != b && names.len() == 2, "what stood for `b` stands for nothing");
    }

    #[test]
    fn what_is_in_use_never_makes_room() {
        let (mut names, now) = (Names::new(1, HOLD), Instant::now());
        let a = names.assign("a", now).unwrap();
        names.acquire(a);
        names.acquire(a);
        names.release(a, now);
        let later = now + HOLD * 10;
        assert_eq!(names.assign("b", later), None);
        names.release(a, later);
        assert_eq!(names.assign("b", later), None, "it may be remembered");
        assert!(names.assign("b", later + HOLD).is_some());
    }

    #[test]
    fn numbers_go_in_a_circle() {
        let (mut names, now) = (Names::new(2, Duration::ZERO), Instant::now());
        let kept = names.assign("kept", now).unwrap();
        names.acquire(kept);
        for index in 1..CAPACITY {
            assert_eq!(names.assign(&index.to_string(), now), Some(index));
        }
        assert_eq!(names.assign("again", now), Some(1), "0 is in use");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::tests::cases(1000)))]

        #[test]
        fn an_address_never_changes_its_name_while_in_use(
            steps in prop::collection::vec((0usize..4, 0u32..12, 0u64..40), 1..200),
        ) {
            let mut names = Names::new(4, HOLD);
            let mut now = Instant::now();
            let mut held: Vec<(u32, Rc<str>)> = Vec::new();
            for (what, which, seconds) in steps {
                now += Duration::from_secs(seconds);
                match what {
                    0 | 1 => {
                        let name = which.to_string();
                        if let Some(number) = names.assign(&name, now) {
                            prop_assert_eq!(&**names.name(number).unwrap(), &name);
                        }
                    }
                    2 => held.extend(names.acquire(which).map(|name| (which, name))),
                    _ => if let Some((number, _)) = held.pop() { names.release(number, now) },
                }
                prop_assert!(names.len() <= 4);
                for (number, name) in &held {
                    prop_assert_eq!(names.name(*number), Some(name));
                }
            }
        }
    }
}

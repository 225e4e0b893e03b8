//! The guard: nothing is opened, mounted or probed before it has said that this is a lab.
//!
//! It looks at three independent things: that PID 1 here is the lab's own first process, that every namespace differs
//! from those in which `palisade verify` was started, and that the network namespace has no way out. It only
//! reads. Every reason is reported, because the first alone may be the symptom of another.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::LabError;
use super::rtnl::{Rtnl, V4, V6};
use super::stage::LAB_INIT;
use super::world::Namespaces;

/// Links that may exist in a lab: `lo`, and those that the lab itself would make.
const OWN_PREFIX: &str = "plsd";
const LOOPBACK: &str = "lo";
/// `RTN_BLACKHOLE` to `RTN_PROHIBIT` (rtnetlink.h): routes that lead nowhere.
const NOWHERE: std::ops::RangeInclusive<u8> = 6..=8;

/// Proof that the guard has passed. Only [`assert_isolated`] makes it.
#[derive(Clone, Copy, Debug)]
pub struct Isolated {
    /// True when the lab has a user namespace of its own, which is when an ordinary user built it.
    pub rootless: bool,
    /// The namespaces of the lab.
    pub here: Namespaces,
    _private: (),
}

/// Refuses to go on unless the calling process stands in a lab.
///
/// # Errors
/// [`LabError::NotIsolated`] with every reason.
pub fn assert_isolated() -> Result<Isolated, LabError> {
    let mut reasons = Vec::new();
    let here = match Namespaces::of("self") {
        Ok(here) => here,
        Err(e) => return Err(LabError::NotIsolated { reasons: vec![format!("read /proc/self/ns: {e}")] }),
    };
    let outer = outer_namespaces();
    match &outer {
        Err(why) => reasons.push(why.clone()),
        Ok(outer) => {
            let shared = here.needed_but_shared(outer);
            if !shared.is_empty() {
                reasons.push(format!("the {} namespace is the caller's", shared.join(", ")));
            }
        }
    }
    if let Err(why) = no_way_out() {
        reasons.extend(why);
    }
    match outer {
        Ok(outer) if reasons.is_empty() => {
            Ok(Isolated { rootless: here.user != outer.user, here, _private: () })
        }
        _ => Err(LabError::NotIsolated { reasons }),
    }
}

/// What the first process of this pid namespace was told about the namespaces outside: its second argument.
fn outer_namespaces() -> Result<Namespaces, String> {
    let text = fs::read("/proc/1/cmdline").map_err(|e| format!("read /proc/1/cmdline: {e}"))?;
    let mut words = text.split(|&b| b == 0).skip(1);
    if words.next() != Some(LAB_INIT.as_bytes()) {
        return Err("process 1 is not the lab's own".to_owned());
    }
    let told = words.next().and_then(|w| std::str::from_utf8(w).ok()).and_then(Namespaces::parse);
    told.ok_or_else(|| "process 1 was not told the namespaces outside".to_owned())
}

fn no_way_out() -> Result<(), Vec<String>> {
    let mut rtnl = Rtnl::open().map_err(|e| vec![format!("open rtnetlink: {e}")])?;
    let links = rtnl.links().map_err(|e| vec![format!("list links: {e}")])?;
    let foreign = |name: &str| name != LOOPBACK && !name.starts_with(OWN_PREFIX);
    let mut reasons: Vec<String> =
        links.iter().filter(|l| foreign(&l.name)).map(|l| format!("network link {}", l.name)).collect();
    let own: Vec<u32> = links.iter().filter(|l| !foreign(&l.name)).map(|l| l.index).collect();
    if own.is_empty() {
        reasons.push("no link was listed, not even lo".to_owned());
    }
    for family in [V4, V6] {
        match rtnl.default_routes(family) {
            Ok(routes) => {
                let out = routes.iter().filter(|r| !NOWHERE.contains(&r.kind));
                let out = out.filter(|r| r.link.is_none_or(|link| !own.contains(&link)));
                reasons.extend(
                    out.map(|r| format!("default route of family {} by link {:?}", r.family, r.link)),
                );
            }
            Err(e) => reasons.push(format!("list routes of family {family}: {e}")),
        }
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

impl Namespaces {
    /// The namespaces of a process: its pid, or `self`.
    ///
    /// # Errors
    /// When `/proc` is not mounted, the process does not exist or may not be looked at (namespaces(7)).
    pub fn of(process: &str) -> std::io::Result<Self> {
        let dir = Path::new("/proc").join(process).join("ns");
        let mut found = Self::default();
        for (name, slot) in found.slots() {
            match fs::metadata(dir.join(name)) {
                Ok(meta) => *slot = meta.ino(),
                // Kernels without CONFIG_TIME_NS have no such file; 0 then stands on both sides.
                Err(e) if name == "time" && e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(found)
    }

    /// `name:inode` pairs with commas, as one word.
    pub(super) fn to_word(mut self) -> String {
        let pairs: Vec<_> = self.slots().iter().map(|(name, inode)| format!("{name}:{inode}")).collect();
        pairs.join(",")
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        let mut parsed = Self::default();
        let mut pairs = word.split(',');
        for (name, slot) in parsed.slots() {
            *slot = pairs.next()?.strip_prefix(name)?.strip_prefix(':')?.parse().ok()?;
        }
        pairs.next().is_none().then_some(parsed)
    }

    /// The names of the namespaces that are the same in both.
    pub fn names_shared_with(mut self, other: &Self) -> Vec<&'static str> {
        let mut other = *other;
        let pairs = self.slots().into_iter().zip(other.slots());
        pairs.filter(|((_, a), (_, b))| a == b).map(|((name, _), _)| name).collect()
    }

    /// Those of them that a lab must have of its own: all but time, which is not unshared, and user, which
    /// is the caller's own when root builds the lab.
    fn needed_but_shared(self, outer: &Self) -> Vec<&'static str> {
        let shared = self.names_shared_with(outer);
        shared.into_iter().filter(|name| !["time", "user"].contains(name)).collect()
    }

    /// True when these are the namespaces of a lab that was entered from `outer`.
    pub(super) fn is_apart_from(self, outer: &Self) -> bool {
        self.needed_but_shared(outer).is_empty()
    }

    fn slots(&mut self) -> [(&'static str, &mut u64); 8] {
        [
            ("cgroup", &mut self.cgroup),
            ("ipc", &mut self.ipc),
            ("mnt", &mut self.mnt),
            ("net", &mut self.net),
            ("pid", &mut self.pid),
            ("time", &mut self.time),
            ("user", &mut self.user),
            ("uts", &mut self.uts),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_refuses_where_the_tests_run() {
        let Err(LabError::NotIsolated { reasons }) = assert_isolated() else {
            panic!("the guard passed outside of a lab");
        };
        assert!(reasons.iter().any(|r| r.contains("process 1")), "{reasons:?}");
    }

    #[test]
    fn namespaces_pass_through_a_word() {
        let here = Namespaces::of("self").expect("own namespaces");
        assert_ne!(here.net, 0);
        assert_eq!(Namespaces::parse(&here.to_word()), Some(here));
        assert_eq!(Namespaces::parse("cgroup:1"), None);
        assert_eq!(Namespaces::parse(&(here.to_word() + ",x:1")), None);
        assert_eq!(here.names_shared_with(&here).len(), 8);
    }
}

//! The identity of a process's namespaces, and the word by which the outer stage tells it to the inner ones.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

/// The inode numbers of the eight namespaces of a process, as in `/proc/PID/ns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are the kernel's")]
pub struct Namespaces {
    pub cgroup: u64,
    pub ipc: u64,
    pub mnt: u64,
    pub net: u64,
    pub pid: u64,
    pub time: u64,
    pub user: u64,
    pub uts: u64,
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
    pub(super) fn needed_but_shared(self, outer: &Self) -> Vec<&'static str> {
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
    fn namespaces_pass_through_a_word() {
        let here = Namespaces::of("self").expect("own namespaces");
        assert_ne!(here.net, 0);
        assert_eq!(Namespaces::parse(&here.to_word()), Some(here));
        assert_eq!(Namespaces::parse("cgroup:1"), None);
        assert_eq!(Namespaces::parse(&(here.to_word() + ",x:1")), None);
        assert_eq!(here.names_shared_with(&here).len(), 8);
    }
}

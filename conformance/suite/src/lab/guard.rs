//! The guard: nothing is opened, mounted or probed before it has said that this is a lab.
//!
//! It looks at three independent things: that PID 1 here is the lab's own first process, that every namespace differs
//! from those in which `palisade verify` was started, and that the network namespace has no way out. It only
//! reads. Every reason is reported, because the first alone may be the symptom of another.

use std::fs;

use super::error::LabError;
use super::namespaces::Namespaces;
use super::rtnl::{Rtnl, V4, V6};
use super::stage::LAB_INIT;

/// Links that may exist in a lab: `lo`, and those that the lab itself would make.
const OWN_PREFIX: &str = "plsd";
const LOOPBACK: &str = "lo";
/// `RTN_BLACKHOLE` to `RTN_PROHIBIT` (rtnetlink.h): routes that lead nowhere.
const NOWHERE: std::ops::RangeInclusive<u8> = 6..=8;

/// Proof that the guard has passed. Only [`assert_isolated`] makes it.
#[derive(Clone, Copy, Debug)]
pub struct Isolated {
    rootless: bool,
    here: Namespaces,
}

impl Isolated {
    /// True when the lab has a user namespace of its own, which is when an ordinary user built it.
    pub fn rootless(self) -> bool {
        self.rootless
    }

    /// The namespaces of the lab.
    pub fn namespaces(self) -> Namespaces {
        self.here
    }
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
        Ok(outer) if reasons.is_empty() => Ok(Isolated { rootless: here.user != outer.user, here }),
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
}

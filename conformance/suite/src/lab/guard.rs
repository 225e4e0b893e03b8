//! The guard: nothing is opened, mounted or probed before it has said that this is a lab.
//!
//! It looks at three independent things: that PID 1 here is the lab's own first process, that every namespace differs
//! from those in which `palisade verify` was started, and that the network namespace has no way out. It only
//! reads. Every reason is reported, because the first alone may be the symptom of another.

use std::fs;

use super::error::LabError;
use super::namespaces::Namespaces;
use super::rtnl::{DefaultRoute, Link, Rtnl, V4, V6};
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

/// Looks at the links and default routes of the current network namespace.
fn no_way_out() -> Result<(), Vec<String>> {
    let look = || -> std::io::Result<(Vec<Link>, Vec<DefaultRoute>)> {
        let mut rtnl = Rtnl::open()?;
        let mut routes = rtnl.default_routes(V4)?;
        routes.extend(rtnl.default_routes(V6)?);
        Ok((rtnl.links()?, routes))
    };
    let (links, routes) = look().map_err(|e| vec![format!("read links and routes: {e}")])?;
    let reasons = ways_out(&links, &routes);
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

fn ways_out(links: &[Link], routes: &[DefaultRoute]) -> Vec<String> {
    let (own, foreign): (Vec<&Link>, Vec<&Link>) =
        links.iter().partition(|l| l.name == LOOPBACK || l.name.starts_with(OWN_PREFIX));
    let mut reasons: Vec<String> = foreign.iter().map(|l| format!("network link {}", l.name)).collect();
    if own.is_empty() {
        reasons.push("no link was listed, not even lo".to_owned());
    }
    let leads_out = |route: &&DefaultRoute| {
        let by_own = route.link.is_some_and(|index| own.iter().any(|l| l.index == index));
        !NOWHERE.contains(&route.kind) && !by_own
    };
    reasons.extend(routes.iter().filter(leads_out).map(|r| match r.link {
        Some(link) => format!("default route of family {} by link {link}", r.family),
        None => format!("default route of family {} by several links", r.family),
    }));
    reasons
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
    fn a_link_or_a_route_that_leads_out_is_a_reason() {
        let link = |index, name: &str| Link { index, name: name.to_owned() };
        let route = |link, kind| DefaultRoute { family: V4, link, kind };
        let lo = [link(1, "lo")];
        assert!(ways_out(&lo, &[]).is_empty());
        // As the lab itself makes it (local), and as the kernel makes it for IPv6 (unreachable).
        assert!(ways_out(&lo, &[route(Some(1), 2), route(Some(1), 7), route(None, 7)]).is_empty());
        assert_eq!(ways_out(&[], &[]).len(), 1);
        assert_eq!(ways_out(&[link(1, "lo"), link(2, "eth0")], &[]), ["network link eth0"]);
        assert_eq!(ways_out(&lo, &[route(Some(2), 1)]), ["default route of family 2 by link 2"]);
        assert_eq!(ways_out(&lo, &[route(None, 1)]), ["default route of family 2 by several links"]);
        // The default route of a foreign link is a reason of its own.
        assert_eq!(ways_out(&[link(1, "lo"), link(2, "wlan0")], &[route(Some(2), 1)]).len(), 2);
        assert!(ways_out(&[link(1, "lo"), link(2, "plsd0")], &[route(Some(2), 1)]).is_empty());
    }
}

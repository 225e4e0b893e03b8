//! The guard: before anything is sent beyond the loopback addresses, it looks whether this network namespace could
//! lead out of the lab, and refuses if it could, or if it cannot tell.
//!
//! Passes only where every link is `lo`, a link of a lab (`plsd…`: nothing else gives that name, and a sandbox's link has it
//! only where its host has no other links) or one of the kernel's own tunnels that appear in every new namespace, and
//! where no default route uses another link than the first two.

use crate::buffer::Path;
use crate::kernel::Errno;
use crate::netlink::{self, Message};
use crate::output::Data;
use crate::refusal;
use crate::stream;

/// Made by tunnel modules in each namespace (`fb_tunnels_only_for_init_net` 0). They carry nothing by themselves: their
/// packets would leave through another link, and there is none.
const FALLBACK_TUNNELS: [&[u8]; 9] =
    [b"tunl0", b"gre0", b"gretap0", b"erspan0", b"ip_vti0", b"ip6_vti0", b"sit0", b"ip6tnl0", b"ip6gre0"];

/// What could lead outside, or `None`.
type Danger = Option<Path>;

/// Refuses with [`refusal::GUARD`] and the reason in `data`.
pub(crate) fn check(data: &mut Data) -> Result<(), Errno> {
    // /proc/self/net is the namespace of this process whatever pid namespace the mount belongs to. Where one of
    // the files is missing (no /proc, no IPv6, a mask), the kernel is asked itself; where it refuses, so do we.
    let danger = from_proc().or_else(|_| from_netlink());
    let reason = match &danger {
        Ok(None) => return Ok(()),
        Ok(Some(reason)) => reason.as_slice(),
        Err(_) => b"neither /proc/self/net nor netlink tells",
    };
    data.clear();
    data.push(b"guard: ");
    data.push(reason);
    Err(Errno(refusal::GUARD))
}

fn link_is_harmless(name: &[u8]) -> bool {
    link_is_of_lab(name) || FALLBACK_TUNNELS.contains(&name)
}

fn link_is_of_lab(name: &[u8]) -> bool {
    name == b"lo" || name.starts_with(b"plsd")
}

fn from_proc() -> Result<Danger, Errno> {
    let mut danger = None;
    let mut note = |what: &[u8], link: &[u8]| {
        danger.get_or_insert_with(|| Path::of(&[what, link]));
    };
    each(b"/proc/self/net/dev", &mut |line| {
        // Two header lines without a colon before the name's end; "  eth0: 123 ...".
        let mut parts = line.splitn(2, |byte| *byte == b':');
        if let (Some(name), Some(_)) = (parts.next(), parts.next())
            && !link_is_harmless(name.trim_ascii())
        {
            note(b"link ", name.trim_ascii());
        }
    })?;
    each(b"/proc/self/net/route", &mut |line| {
        // Iface Destination Gateway Flags RefCnt Use Metric Mask; "*" is a route that rejects.
        let word = |index| words(line).nth(index).unwrap_or(b"");
        let is_default = word(1) == b"00000000" && word(7) == b"00000000";
        if is_default && !link_is_of_lab(word(0)) && word(0) != b"*" {
            note(b"default route by ", word(0));
        }
    })?;
    each(b"/proc/self/net/ipv6_route", &mut |line| {
        // Destination, its length, ... and the interface as the last word.
        let word = |index| words(line).nth(index).unwrap_or(b"");
        let link = words(line).last().unwrap_or(b"");
        if word(1) == b"00" && !link_is_of_lab(link) {
            note(b"default IPv6 route by ", link);
        }
    })?;
    Ok(danger)
}

fn each(path: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<(), Errno> {
    stream::each_line(Path::of(&[path]).terminated(), visit)
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty())
}

fn from_netlink() -> Result<Danger, Errno> {
    let mut danger = None;
    // The loopback and one link: a sandbox has no more.
    let mut own = [None; 2];
    netlink::dump(netlink::RTM_GETLINK, &mut |message| {
        let name = link_name(message);
        if link_is_of_lab(name) {
            if let Some(place) = own.iter_mut().find(|place| place.is_none()) {
                *place = netlink::word(message.body, 4);
            }
        } else if !link_is_harmless(name) {
            danger.get_or_insert_with(|| Path::of(&[b"link ", name]));
        }
    })?;
    netlink::dump(netlink::RTM_GETROUTE, &mut |message| {
        if is_default_elsewhere(message, own) {
            danger.get_or_insert_with(|| Path::of(&[b"default route"]));
        }
    })?;
    Ok(danger)
}

/// IFLA_IFNAME of a struct ifinfomsg.
pub(crate) fn link_name<'m>(message: &Message<'m>) -> &'m [u8] {
    const IFLA_IFNAME: u16 = 3;
    let name = message.attribute(16, IFLA_IFNAME).unwrap_or(b"");
    name.strip_suffix(b"\0").unwrap_or(name)
}

fn is_default_elsewhere(message: &Message<'_>, own: [Option<u32>; 2]) -> bool {
    const RTN_UNICAST: u8 = 1;
    // struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags u32.
    let unicast = message.body.get(7) == Some(&RTN_UNICAST);
    message.body.get(1) == Some(&0) && unicast && !own.contains(&route_link(message))
}

/// RTA_OIF of a struct rtmsg.
pub(crate) fn route_link(message: &Message<'_>) -> Option<u32> {
    const RTA_OIF: u16 = 4;
    message.attribute(12, RTA_OIF).and_then(|value| netlink::word(value, 0))
}

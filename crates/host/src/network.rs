//! What carrying traffic depends on.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use palisade_plan::facts::{Ability, LinkFacts, NetworkFacts};
use palisade_policy::address::synthetic::{LAB_LINK, LINKS};
use rustix::fs::{Access, Mode, OFlags, access};
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::thread::{CapabilitySet, capabilities};

/// Where administrators' programs are. Not the caller's PATH: what is found is executed with a privilege over the
/// sandbox's network that the caller may not be meant to choose.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The port of name servers (RFC 1035, 4.2).
const DNS: u16 = 53;

/// How many name servers a resolver library asks at most (resolv.conf(5), MAXNS).
const MOST_RESOLVERS: usize = 3;

/// With `links`, what a link depends on too. What only a trial can tell is taken for granted.
pub(crate) fn facts(links: bool) -> NetworkFacts {
    let resolvers = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    NetworkFacts {
        // EAFNOSUPPORT where the kernel has none, or was started with `ipv6.disable=1`.
        ipv6: socket(AddressFamily::INET6, SocketType::DGRAM, None).is_ok()
            && Path::new("/proc/sys/net/ipv6").exists(),
        nft: program("nft"),
        nftables: Ability::Available,
        resolvers: name_servers(&resolvers),
        links: links.then(link_facts),
    }
}

fn link_facts() -> LinkFacts {
    let forwards = |path: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == "1");
    let interfaces: Vec<InterfaceAddress> = getifaddrs().into_iter().flatten().collect();
    let taken: BTreeSet<&str> =
        interfaces.iter().map(|interface| interface.interface_name.as_str()).collect();
    LinkFacts {
        // By this name: the same program is passt under its own.
        pasta: found("pasta"),
        slirp4netns: found("slirp4netns"),
        shared_tmp: is_shared_mount(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(), "/tmp"),
        tun: tun(),
        interface: Ability::Available,
        net_admin: capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN)),
        forwards: ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"].map(forwards),
        own: interfaces.iter().filter_map(address).filter(|address| !address.is_loopback()).collect(),
        isolated: taken.iter().all(|name| *name == "lo" || name.starts_with(LAB_LINK)),
        uplink: uplink(&fs::read_to_string("/proc/net/route").unwrap_or_default()).unwrap_or("lo").to_owned(),
        free: free(|number| taken.contains(format!("{LAB_LINK}{number}").as_str())),
    }
}

/// Whether something is mounted at `path` that other namespaces share (proc(5), mountinfo).
fn is_shared_mount(table: &str, path: &str) -> bool {
    let mut mounts = table.lines().map(|line| line.split_ascii_whitespace().skip(4));
    mounts.any(|mut words| {
        // The place, the options, and the optional fields up to a hyphen.
        words.next() == Some(path)
            && words.skip(1).take_while(|word| *word != "-").any(|word| word.starts_with("shared:"))
    })
}

/// A number that no link has, looked for from one that only this process begins with: two that start at the same time do not
/// take the same.
fn free(is_taken: impl Fn(u16) -> bool) -> u16 {
    let first = u16::try_from(std::process::id() % u32::from(LINKS)).unwrap_or(0);
    let mut numbers = (first..LINKS).chain(0..first).map(|number| number + 1);
    numbers.find(|number| !is_taken(*number)).unwrap_or(LINKS)
}

/// Opens the device and closes it again, which makes no interface (Documentation/networking/tuntap.rst).
fn tun() -> Ability {
    match rustix::fs::open("/dev/net/tun", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(_) => Ability::Available,
        Err(errno) => {
            Ability::Unavailable(format!("open /dev/net/tun: {}", palisade_sys::Errno(errno.raw_os_error())))
        }
    }
}

fn address(interface: &InterfaceAddress) -> Option<IpAddr> {
    let storage = interface.address.as_ref()?;
    let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

/// The interface of the first default route of IPv4, as procfs lists routes (proc(5), /proc/net/route).
fn uplink(routes: &str) -> Option<&str> {
    routes.lines().skip(1).find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (interface, destination) = (words.next()?, words.next()?);
        // The eighth word is the mask.
        let mask = words.nth(5)?;
        (destination == "00000000" && mask == "00000000").then_some(interface)
    })
}

fn program(name: &str) -> Option<PathBuf> {
    found(name).and_then(|path| path.canonicalize().ok())
}

/// Where a program is that a run would execute.
pub(crate) fn found(name: &str) -> Option<PathBuf> {
    DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| access(path, Access::EXEC_OK).is_ok())
}

/// The servers of a resolv.conf(5). Those with a scope (`fe80::1%eth0`) are left out: they are of one link.
fn name_servers(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        address.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, DNS))
    });
    servers.take(MOST_RESOLVERS).collect()
}

#[cfg(test)]
mod tests {
    use super::{free, is_shared_mount, name_servers, uplink};

    #[test]
    fn a_mount_is_shared_by_its_optional_fields() {
        let table = "21 1 0:1 / / rw shared:1 - ext4 d rw\n22 21 0:2 / /tmp rw,nosuid master:2 - tmpfs tmpfs rw\n\
                     23 21 0:3 / /run rw shared:5 - tmpfs shared:9 rw\n24 21 0:4 / /srv rw - tmpfs shared:9 rw\n";
        assert!(is_shared_mount(table, "/run"));
        assert!(
            !is_shared_mount(table, "/tmp")
                && !is_shared_mount(table, "/srv")
                && !is_shared_mount(table, "/x")
        );
    }

    #[test]
    fn a_number_that_is_taken_is_passed_by() {
        let first = free(|_| false);
        let second = free(|number| number == first);
        assert_ne!(first, second);
        assert_eq!(free(|number| number != first), first);
        assert!(first >= 1 && second >= 1);
    }

    #[test]
    fn the_uplink_is_that_of_the_default_route() {
        let head = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";
        let table = format!(
            "{head}lan0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\nwan0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n"
        );
        assert_eq!(uplink(&table), Some("wan0"));
        assert_eq!(uplink(head), None);
        assert_eq!(uplink(""), None);
    }

    #[test]
    fn reads_servers_as_a_resolver_library_does() {
        let text = "# nameserver 9.9.9.9\nsearch example.org\nnameserver 192.0.2.1 \n nameserver 2001:db8::1\n\
                    nameserver fe80::1%eth0\nnameserver\nnameserver x\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        let found: Vec<String> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.2:53"]);
    }
}

//! What carrying traffic depends on.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use palisade_plan::facts::NetworkFacts;
use rustix::fs::{Access, access};
use rustix::net::{AddressFamily, SocketType, socket};

/// Where administrators' programs are. Not the caller's PATH: what is found is executed with a privilege over the
/// sandbox's network that the caller may not be meant to choose.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The port of name servers (RFC 1035, 4.2).
const DNS: u16 = 53;

/// How many name servers a resolver library asks at most (resolv.conf(5), MAXNS).
const MOST_RESOLVERS: usize = 3;

pub(crate) fn facts() -> NetworkFacts {
    let resolvers = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    NetworkFacts {
        // EAFNOSUPPORT where the kernel has none, or was started with `ipv6.disable=1`.
        ipv6: socket(AddressFamily::INET6, SocketType::DGRAM, None).is_ok()
            && Path::new("/proc/sys/net/ipv6").exists(),
        nft: program("nft"),
        resolvers: name_servers(&resolvers),
    }
}

fn program(name: &str) -> Option<PathBuf> {
    DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| access(path, Access::EXEC_OK).is_ok())
        .and_then(|path| path.canonicalize().ok())
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
    use super::name_servers;

    #[test]
    fn reads_servers_as_a_resolver_library_does() {
        let text = "# nameserver 9.9.9.9\nsearch example.org\nnameserver 192.0.2.1 \n nameserver 2001:db8::1\n\
                    nameserver fe80::1%eth0\nnameserver\nnameserver x\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        let found: Vec<String> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.2:53"]);
    }
}

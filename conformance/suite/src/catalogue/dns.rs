//! Names without a network: nothing resolves, at once, and no other resolver is in reach.

use palisade_policy::{NetworkMode, Policy};

use super::prelude::*;
use crate::lab::World;

const MODE: &str = "network.mode";

/// How long a query waits, in milliseconds: less than what counts as prompt.
const PATIENCE: i32 = 1000;

/// Entries of the group `dns`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let mut probes = vec![host_resolv_conf(world)];
    probes.extend(side_sockets(world));
    if super::net::has_names(&policy.network) {
        probes.extend(unlisted(world, policy));
    } else {
        probes.extend(resolution(world));
    }
    probes.extend(resolvers(world, policy));
    probes
}

/// Names that no rule allows, where others are.
fn unlisted(world: &World, policy: &Policy) -> Vec<Probe> {
    let query = |id: &str, kind: i32, what: &str| {
        Probe::denies(id, High)
            .serves(MODE, "NET-10")
            .requires("a name that no rule allows does not exist, at once, and nobody outside hears of it")
            .operation(format!("query the configured server for {what}"))
            .script([control!("loopback_tcp"), attempt!("dns_query", "resolv.conf", NONCE, PATIENCE, kind)])
            .expect(Expect::data_is("rcode=3 answers=0"))
            .outside(Outside::Shows(Succeeds))
            .canary(Canary::udp([10, 0, 0, 53], 53))
            .needs_planted(&world.secret("resolv-conf").presence)
    };
    let mut probes = vec![
        Probe::allows("dns/localhost", Medium)
            .serves(MODE, "NET-6")
            .requires("the name of the own loopback resolves")
            .command(["/usr/bin/getent", "ahosts", "localhost"])
            .needs(Need::Command("getent")),
    ];
    if policy.network.mode != NetworkMode::Open {
        probes.extend([
            query("dns/unlisted-name", 1, "an IPv4 address"),
            query("dns/unlisted-name-aaaa", 28, "an IPv6 address"),
            query("dns/unlisted-txt", 16, "a text, which carries data out"),
            query("dns/unlisted-mx", 15, "a mail server"),
            query("dns/unlisted-ns", 2, "a name server"),
            query("dns/unlisted-any", 255, "everything"),
            query("dns/unlisted-https", 65, "a service binding"),
        ]);
    }
    probes
}

/// As a C library asks: the servers of /etc/resolv.conf.
fn resolution(world: &World) -> Vec<Probe> {
    let query = |id: &str, kind: i32, what: &str| {
        Probe::denies(id, High)
            .serves(MODE, "NET-7")
            .requires("name resolution fails, and fails promptly")
            .operation(format!("query the configured server for {what}"))
            // The name is the nonce: whoever is asked can tell.
            .script([control!("loopback_tcp"), attempt!("dns_query", "resolv.conf", NONCE, PATIENCE, kind)])
            .expect(Unreachable)
            .outside(Outside::Shows(Succeeds))
            .canary(Canary::udp([10, 0, 0, 53], 53))
            .needs_planted(&world.secret("resolv-conf").presence)
    };
    vec![
        query("dns/prompt-failure", 1, "an IPv4 address"),
        query("dns/prompt-failure-aaaa", 28, "an IPv6 address"),
        query("dns/txt-type", 16, "a text, which carries data out"),
        Probe::denies("dns/library-fails", Medium)
            .serves(MODE, "NET-7")
            .requires("the C library finds no address for a name")
            .command(["/usr/bin/getent", "ahosts", "palisade-lab.test"])
            // getent(1): the key was not found.
            .expect(ExitCode(2))
            .needs(Need::Command("getent"))
            .needs_planted(&world.secret("resolv-conf").presence),
        Probe::allows("dns/localhost", Medium)
            .serves(MODE, "NET-6")
            .requires("the name of the own loopback resolves")
            .command(["/usr/bin/getent", "ahosts", "localhost"])
            .needs(Need::Command("getent")),
    ]
}

/// Resolvers that a program may ask of its own accord.
fn resolvers(world: &World, policy: &Policy) -> Vec<Probe> {
    let refused = if super::net::is_closed(policy) { Unreachable } else { Refused };
    let denied = |id: &str, requirement: &str| {
        Probe::denies(id, High).serves(MODE, "NET-2").requires(requirement).expect(refused.clone())
    };
    let other = "no resolver on the network can be asked";
    let udp = |id: &str, address: &str| {
        let probe = denied(id, other)
            .operation(format!("query {address} over UDP"))
            .script([control!("loopback_tcp"), attempt!("dns_query", address, NONCE, PATIENCE)])
            .outside(Outside::Shows(Succeeds));
        let probe = probe.canary(Canary::udp(parsed(address), 53));
        if address.contains(':') { probe.needs(Need::Ipv6).needs_planted(&world.ipv6) } else { probe }
    };
    let by = if super::net::is_closed(policy) { "tcp" } else { "tcp_talk" };
    let tcp = |id: &str, what: &str, address: &str, port: u16| {
        denied(id, other)
            .operation(format!("{what}: connect to {address} port {port}"))
            .script([control!("loopback_tcp"), attempt!(by, address, port, NONCE, PATIENCE)])
            .canary(Canary::tcp(parsed(address), port))
    };
    let all = vec![
        udp("dns/other-resolver-udp", "8.8.8.8"),
        udp("dns/other-resolver-udp-v6", "2001:4860:4860::8888"),
        udp("dns/host-resolver", "10.0.0.53"),
        // systemd-resolved's stub on the host's loopback.
        udp("dns/resolved-stub", "127.0.0.53"),
        tcp("dns/tcp53", "DNS over TCP", "8.8.8.8", 53),
        tcp("dns/dot853", "DNS over TLS", "9.9.9.9", 853),
        tcp("dns/doh443", "DNS over HTTPS", "9.9.9.9", 443),
        denied("dns/doq853", other)
            .operation("DNS over QUIC: a datagram to 94.140.14.14 port 443")
            .script([control!("loopback_tcp"), attempt!("udp", "94.140.14.14", 443, NONCE, PATIENCE)])
            .canary(Canary::udp([94, 140, 14, 14], 443)),
    ];
    // In an open network those on the internet may be asked: the addresses themselves are judged in the group `net`.
    let on_the_host = |id: &str| matches!(id, "dns/host-resolver" | "dns/resolved-stub");
    let is_open = policy.network.mode == NetworkMode::Open;
    all.into_iter().filter(|probe| !is_open || on_the_host(&probe.id)).collect()
}

fn parsed(address: &str) -> std::net::IpAddr {
    address.parse().unwrap_or_else(|_| panic!("{address:?} is no address"))
}

/// The host's configuration names its servers and its domains.
fn host_resolv_conf(world: &World) -> Probe {
    let secret = world.secret("resolv-conf");
    Probe::denies("dns/host-resolv-not-mounted", Medium)
        .serves("filesystem.base", "FS-10")
        .requires("the host's resolver configuration cannot be read")
        .script([attempt!("read_file", &*secret.path)])
        .expect(Expect::data_lacks(&secret.marker).or(Denied).or(Absent))
        .outside(Outside::Shows(Expect::data_contains(&secret.marker)))
        .needs_planted(&secret.presence)
}

/// Services of the host that resolve for anybody who connects.
fn side_sockets(world: &World) -> impl Iterator<Item = Probe> {
    [("dns/nscd-socket", "nscd"), ("dns/resolved-varlink", "resolved")].into_iter().map(|(id, service)| {
        let service = world.service(service);
        let path = service.endpoint.to_string();
        Probe::denies(id, Medium)
            .serves("filesystem.base", "FS-9")
            .requires("no resolving service of the host can be reached")
            .operation(format!("connect to {path}"))
            .script([control!("socketpair_pass"), attempt!("unix_connect", path, "stream", NONCE)])
            .expect(Denied.or(Absent).or(Expect::fails([ECONNREFUSED])))
            .outside(Outside::succeeds())
            .canary(Canary::service(service))
            .needs_planted(&service.presence)
    })
}

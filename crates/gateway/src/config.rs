//! What a gateway is given, and what it counts.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use palisade_policy::Network;

/// What to serve.
#[derive(Clone, Debug)]
pub struct Config {
    /// The policy.
    pub network: Network,
    /// The resolvers that names are asked of, from outside, where the policy names none.
    pub resolvers: Vec<SocketAddr>,
    /// The host's own names: those of its hosts file, in normal form. Judged as answers of a resolver are.
    pub hosts: Vec<(String, Vec<IpAddr>)>,
    /// The host's own addresses. Only a rule for exactly such an address opens it. May be empty.
    pub own: Vec<IpAddr>,
    /// Bounds.
    pub limits: Limits,
    /// A bug to have, for tests of those who must notice it.
    #[doc(hidden)]
    pub mutant: Option<Mutant>,
}

impl Config {
    /// The configuration for `network`, asking `resolvers`; the rest as by default.
    pub fn new(network: Network, resolvers: Vec<SocketAddr>) -> Self {
        Self {
            network,
            resolvers,
            hosts: Vec::new(),
            own: Vec::new(),
            limits: Limits::default(),
            mutant: None,
        }
    }
}

/// How much one gateway may hold at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// TCP connections, those to the resolver and the proxies included. An idle one costs two descriptors and about
    /// 3 KiB. Default 16,384.
    pub connections: usize,
    /// Upstreams that are being resolved or made at a time; what comes beyond that waits its turn, for as long as
    /// `connect_timeout`. Each costs up to ten descriptors. Default 256.
    pub pending: usize,
    /// UDP flows: pairs of a client's and a dialled address. Each costs a descriptor. Default 512.
    pub udp_flows: usize,
    /// How long a UDP flow lives without a datagram. Default 60 s.
    pub udp_idle: Duration,
    /// Names that have an address; at most [`palisade_policy::address::synthetic::CAPACITY`]. Default 4,096.
    pub names: usize,
    /// How long a name keeps its address after it was last asked or dialled, and without a connection, before
    /// another name can have its place. Default 60 s.
    pub name_hold: Duration,
    /// How long an upstream may take to be resolved. Default 10 s.
    pub resolve_timeout: Duration,
    /// How long an upstream may take to accept, over all its addresses. Default 30 s.
    pub connect_timeout: Duration,
    /// How long a client may take to say to a proxy or to the resolver what it wants. Default 10 s.
    pub request_timeout: Duration,
    /// Events a second; those beyond are counted in [`crate::Event::Suppressed`]. Default 1,000.
    pub events: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            pending: 256,
            udp_flows: 512,
            udp_idle: Duration::from_secs(60),
            names: 4_096,
            name_hold: Duration::from_secs(60),
            resolve_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
            events: 1_000,
        }
    }
}

impl Limits {
    /// These limits, lowered so far that at their worst they take at most `descriptors`.
    ///
    /// A gateway shares its descriptors with whatever else its process does: [`crate::Gateway::start`] applies this to
    /// three quarters of the soft limit `RLIMIT_NOFILE` (getrlimit(2)), which the process may raise before.
    pub fn fitting(self, descriptors: usize) -> Self {
        let udp_flows = self.udp_flows.min(descriptors / 8);
        let pending = self.pending.min((descriptors / 40).max(1));
        let taken = udp_flows + DESCRIPTORS_PENDING * pending;
        let connections = self.connections.min(descriptors.saturating_sub(taken) / 2);
        Self { connections, pending, udp_flows, ..self }
    }
}

/// What one pending upstream takes: a question to a resolver for each family, or as many attempts as are made at a time.
const DESCRIPTORS_PENDING: usize = 10;

/// The sockets to serve. All were made inside the sandbox's network namespace; all are set to non-blocking here.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Listening stream sockets.
    pub tcp: Vec<OwnedFd>,
    /// Bound datagram sockets with `IP_PKTINFO` or `IPV6_RECVPKTINFO` set. An answer comes from the port that the
    /// socket is bound to: a packet filter that turns other ports to it must turn the answers back.
    pub udp: Vec<OwnedFd>,
    /// Raw sockets of `IPPROTO_RAW`, at most one of each family: to answer from ports that no socket has, and to say that
    /// nobody is there. Without them such answers are not sent, and denied datagrams are dropped.
    pub raw: Vec<OwnedFd>,
}

/// What a gateway holds now, and what it carried so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// TCP connections now.
    pub connections: usize,
    /// Upstreams that are being resolved or dialled now.
    pub pending: usize,
    /// UDP flows now.
    pub udp_flows: usize,
    /// Names that have an address now.
    pub names: usize,
    /// Connections and flows that were allowed so far.
    pub allowed: u64,
    /// Connections, flows and names that were denied so far.
    pub denied: u64,
    /// Bytes carried from inside to outside so far.
    pub sent: u64,
    /// Bytes carried from outside to inside so far.
    pub received: u64,
}

/// Bugs that gateways have had. For tests only.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// `example.org` also allows `badexample.org`.
    SuffixMatch,
    /// `*.example.org` is accepted and matches nothing.
    WildcardNeverMatches,
    /// `*.example.org` matches any number of labels.
    WildcardDeep,
    /// An empty allowlist allows everything.
    EmptyAllowlistOpens,
    /// The only metadata address is 169.254.169.254; Azure's, which is in a public range, is an address like others.
    MetadataListShort,
    /// Metadata is opened by a broad rule.
    MetadataByBroadRule,
    /// Carrier-grade NAT is taken for public.
    CgnatMissing,
    /// IPv4 inside IPv6 is not looked for.
    EmbeddedIgnored,
    /// A host rule reaches special-use addresses (rebinding).
    RebindingAllowed,
    /// Whoever is allowed any name on 443 may dial any address there.
    AnyAddressOn443,
    /// A denied name is asked of the upstream resolver before it is refused.
    DeniedNameResolved,
    /// The address that is dialled comes from a second resolution.
    ResolvesTwice,
    /// A range is compared by the text of its first octets.
    PrefixConfusion,
    /// Names are compared with regard to case.
    CaseSensitive,
    /// A rule's ports are not looked at.
    PortsIgnored,
    /// A rule's protocol is not looked at.
    ProtocolIgnored,
    /// The proxies do not ask the policy.
    ProxyUnchecked,
    /// The HTTP proxy asks the policy about CONNECT alone.
    PlainHttpUnchecked,
    /// What leads to the host's own loopback is an address like others.
    HostReached,
    /// What is denied is neither refused nor answered.
    DeniedHangs,
}

impl Mutant {
    /// Every mutant with its name.
    pub const ALL: &[(&'static str, Self)] = &[
        ("suffix-match", Self::SuffixMatch),
        ("wildcard-never-matches", Self::WildcardNeverMatches),
        ("wildcard-deep", Self::WildcardDeep),
        ("empty-allowlist-opens", Self::EmptyAllowlistOpens),
        ("metadata-list-short", Self::MetadataListShort),
        ("metadata-by-broad-rule", Self::MetadataByBroadRule),
        ("cgnat-missing", Self::CgnatMissing),
        ("embedded-ignored", Self::EmbeddedIgnored),
        ("rebinding-allowed", Self::RebindingAllowed),
        ("any-address-on-443", Self::AnyAddressOn443),
        ("denied-name-resolved", Self::DeniedNameResolved),
        ("resolves-twice", Self::ResolvesTwice),
        ("prefix-confusion", Self::PrefixConfusion),
        ("case-sensitive", Self::CaseSensitive),
        ("ports-ignored", Self::PortsIgnored),
        ("protocol-ignored", Self::ProtocolIgnored),
        ("proxy-unchecked", Self::ProxyUnchecked),
        ("plain-http-unchecked", Self::PlainHttpUnchecked),
        ("host-reached", Self::HostReached),
        ("denied-hangs", Self::DeniedHangs),
    ];

    /// The mutant called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|&&(known, _)| known == name).map(|&(_, mutant)| mutant)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn limits_fit_into_the_descriptors(descriptors in 64usize..200_000) {
            let Limits { connections, pending, udp_flows, .. } = Limits::default().fitting(descriptors);
            prop_assert!(2 * connections + DESCRIPTORS_PENDING * pending + udp_flows <= descriptors);
            prop_assert!(connections > 0 && pending > 0 && udp_flows > 0);
        }
    }

    #[test]
    fn what_fits_stays() {
        assert_eq!(Limits::default().fitting(100_000), Limits::default());
    }

    #[test]
    fn mutants_have_names() {
        for (name, mutant) in Mutant::ALL {
            assert_eq!(Mutant::from_name(name), Some(*mutant));
        }
        assert_eq!(Mutant::from_name("none"), None);
    }
}

//! The decision: may this be reached?
//!
//! Pure. The tables are those of [`palisade_policy::address`], which the policy's own lints use: a rule and a
//! connection cannot be judged by different lists.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use palisade_policy::address::embedded::{every_form, every_reading};
use palisade_policy::address::{Range, metadata, special_use};
use palisade_policy::{AllowRule, Clause, Network, NetworkMode, Peer, Ports, Posture, Protocol, Proxy, host};

use crate::config::Mutant;
use crate::event::Reason;

const MODE: Clause = Clause::new("network.mode");
const ALLOW: Clause = Clause::new("network.allow");
const METADATA: Clause = Clause::new("network.metadata");
const SPECIAL_USE: Clause = Clause::new("network.special_use");

/// Why something may not be reached, and the clause that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) reason: Reason,
    pub(crate) clause: Clause,
}

impl Denial {
    fn new<T>(reason: Reason, clause: &Clause) -> Result<T, Self> {
        Err(Self { reason, clause: clause.clone() })
    }
}

/// Decides by one policy.
#[derive(Debug)]
pub(crate) struct Judge {
    network: Network,
    own: Vec<IpAddr>,
    mutant: Option<Mutant>,
}

impl Judge {
    pub(crate) fn new(network: Network, own: Vec<IpAddr>, mutant: Option<Mutant>) -> Self {
        Self { network, own, mutant }
    }

    /// Whether names are not to be brought into normal form.
    pub(crate) fn is_case_sensitive(&self) -> bool {
        self.has(Mutant::CaseSensitive)
    }

    /// Whether the policy tells the workload of the proxies.
    pub(crate) fn serves_proxies(&self) -> bool {
        self.network.proxy == Proxy::Environment
    }

    pub(crate) fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn opens_everything(&self) -> bool {
        let network = &self.network;
        network.mode == NetworkMode::Open
            || self.has(Mutant::EmptyAllowlistOpens)
                && network.mode == NetworkMode::Allowlist
                && network.allow.is_empty()
    }

    /// Whether the host `name`, in normal form, may be resolved at all: on whichever port.
    pub(crate) fn name(&self, name: &str) -> Result<Clause, Denial> {
        self.check_name(name, |_| true)
    }

    /// Whether anything that `name` resolves to may be reached on `port`, so that it is worth to ask.
    pub(crate) fn named(&self, name: &str, protocol: Protocol, port: u16) -> Result<Clause, Denial> {
        // What a name resolves to may be allowed as an address, too.
        self.name(name)?;
        let by_range = |rule: &&AllowRule| matches!(rule.peer, Peer::Cidr(_));
        let ranges = self.network.allow.iter().filter(by_range);
        if let Some(rule) = ranges.into_iter().find(|rule| self.carries(rule, protocol, port)) {
            return Ok(rule.clause.clone());
        }
        self.check_name(name, |rule| self.carries(rule, protocol, port))
    }

    fn check_name(&self, name: &str, accept: impl Fn(&AllowRule) -> bool) -> Result<Clause, Denial> {
        if self.network.mode == NetworkMode::None {
            return Denial::new(Reason::NoNetwork, &MODE);
        }
        if self.network.metadata == Posture::Block && metadata::is_name(name) {
            return Denial::new(Reason::Metadata("the name of a metadata service"), &METADATA);
        }
        if self.opens_everything() {
            return Ok(MODE);
        }
        let allows = |rule: &&AllowRule| match &rule.peer {
            Peer::Host(pattern) => self.matches(pattern, name) && accept(rule),
            Peer::Cidr(_) => false,
        };
        match self.network.allow.iter().find(allows) {
            Some(rule) => Ok(rule.clause.clone()),
            None => Denial::new(Reason::NoRule, &ALLOW),
        }
    }

    /// Whether `address` may be reached; `name`, in normal form, is what was resolved to it.
    pub(crate) fn address(
        &self,
        protocol: Protocol,
        address: SocketAddr,
        name: Option<&str>,
    ) -> Result<Clause, Denial> {
        let network = &self.network;
        if network.mode == NetworkMode::None {
            return Denial::new(Reason::NoNetwork, &MODE);
        }
        // The kernel dials the IPv4 address of a mapped one.
        let ip = address.ip().to_canonical();
        if self.readings(ip).any(is_this_host) && !self.has(Mutant::HostReached) {
            return Denial::new(Reason::Own, &SPECIAL_USE);
        }
        if let Some(name) = name {
            self.name(name)?;
        }
        if network.metadata == Posture::Block
            && let Some(what) = self.metadata(ip)
        {
            return Denial::new(Reason::Metadata(what), &METADATA);
        }
        let carrying = || network.allow.iter().filter(|rule| self.carries(rule, protocol, address.port()));
        let by_range = |rule: &&AllowRule| match rule.peer {
            Peer::Cidr(net) => self.contains(net, ip),
            Peer::Host(_) => false,
        };
        if self.own.contains(&ip) {
            return match carrying().find(|rule| rule.peer == Peer::Cidr(IpNet::from(ip))) {
                Some(rule) => Ok(rule.clause.clone()),
                None => Denial::new(Reason::Own, &SPECIAL_USE),
            };
        }
        if network.special_use == Posture::Block
            && let Some(entry) = self.special_use(ip)
            && !(name.is_some() && self.has(Mutant::RebindingAllowed))
        {
            let names_it = |rule: &&AllowRule| match rule.peer {
                Peer::Cidr(net) => by_range(rule) && self.names_all(net, ip),
                Peer::Host(_) => false,
            };
            return match carrying().find(names_it) {
                Some(rule) => Ok(rule.clause.clone()),
                None => Denial::new(Reason::SpecialUse(entry.what), &SPECIAL_USE),
            };
        }
        if self.opens_everything() {
            return Ok(MODE);
        }
        let allows = |rule: &&AllowRule| match &rule.peer {
            Peer::Host(pattern) => name.is_some_and(|name| self.matches(pattern, name)),
            Peer::Cidr(_) => by_range(rule),
        };
        if let Some(rule) = carrying().find(allows) {
            return Ok(rule.clause.clone());
        }
        if self.has(Mutant::AnyAddressOn443)
            && address.port() == 443
            && let Some(rule) = carrying().find(|rule| matches!(rule.peer, Peer::Host(_)))
        {
            return Ok(rule.clause.clone());
        }
        Denial::new(Reason::NoRule, &ALLOW)
    }

    fn readings(&self, ip: IpAddr) -> impl Iterator<Item = IpAddr> {
        let count = if self.has(Mutant::EmbeddedIgnored) { 1 } else { usize::MAX };
        every_reading(ip).take(count)
    }

    fn metadata(&self, ip: IpAddr) -> Option<&'static str> {
        let listed = |ip: IpAddr| metadata::TABLE.iter().find(|entry| entry.net.contains(&ip));
        let entry = self.readings(ip).find_map(listed)?;
        let is_known = entry.net == IpNet::from(IpAddr::from([169, 254, 169, 254]));
        if self.has(Mutant::MetadataListShort) && !is_known {
            return None;
        }
        let is_ruled = |rule: &AllowRule| matches!(rule.peer, Peer::Cidr(net) if net.contains(&ip));
        if self.has(Mutant::MetadataByBroadRule) && self.network.allow.iter().any(is_ruled) {
            return None;
        }
        Some(entry.what)
    }

    fn special_use(&self, ip: IpAddr) -> Option<&'static Range> {
        let mut entries = self.readings(ip).filter_map(entry_of);
        let entry = entries.next()?;
        if self.has(Mutant::CgnatMissing) && entry.net.contains(&IpAddr::from([100, 64, 0, 0])) {
            return None;
        }
        if self.has(Mutant::MetadataByBroadRule) && metadata::of_address(ip).is_some() {
            return None;
        }
        if self.has(Mutant::MetadataListShort) && entry.net == IpNet::from(IpAddr::from([168, 63, 129, 16])) {
            return None;
        }
        if self.has(Mutant::HostReached) && is_this_host(ip) {
            return None;
        }
        Some(entry)
    }

    /// Whether a rule for `net` names every special-use range that `ip` belongs to, in whichever of its readings.
    fn names_all(&self, net: IpNet, ip: IpAddr) -> bool {
        self.readings(ip)
            .filter_map(entry_of)
            .all(|entry| every_form(entry.net).any(|special| special.contains(&net)))
    }

    fn contains(&self, net: IpNet, ip: IpAddr) -> bool {
        if self.has(Mutant::PrefixConfusion) {
            let text = net.network().to_string();
            let start = text.trim_end_matches(['0', '.', ':']);
            return ip.to_string().starts_with(start);
        }
        net.contains(&ip)
    }

    fn carries(&self, rule: &AllowRule, protocol: Protocol, port: u16) -> bool {
        let has_port = match &rule.ports {
            Ports::Any => port != 0,
            Ports::List(ports) => ports.contains(&port),
        };
        (rule.protocol == protocol || self.has(Mutant::ProtocolIgnored))
            && (has_port || self.has(Mutant::PortsIgnored))
    }

    fn matches(&self, pattern: &str, name: &str) -> bool {
        let domain = pattern.trim_start_matches('*');
        match self.mutant {
            Some(Mutant::SuffixMatch) if domain.len() == pattern.len() => name.ends_with(pattern),
            Some(Mutant::WildcardNeverMatches) if domain.len() != pattern.len() => false,
            Some(Mutant::WildcardDeep) if domain.len() != pattern.len() => name.ends_with(domain),
            _ => host::matches(pattern, name),
        }
    }
}

/// What leads to the host that the gateway itself is on: loopback, and the unspecified address with its network.
fn is_this_host(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.octets()[0] == 0,
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified(),
    }
}

/// The entry of the special-use table that `ip` itself belongs to, whatever else can be read in it.
fn entry_of(ip: IpAddr) -> Option<&'static Range> {
    special_use::TABLE.iter().find(|entry| entry.net.contains(&ip))
}

#[cfg(test)]
mod tests;

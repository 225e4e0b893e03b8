//! The network without a network: nothing but a loopback of its own, whatever the family, protocol or spelling.
//!
//! Every address is one of the lab's, where a listener answers; the probe's guard refuses to send anywhere else.

use std::net::IpAddr;

use palisade_policy::{Clause, Network, NetworkMode, Policy, Posture, Protocol};

use super::prelude::*;
use crate::lab::{Endpoint, Proto, World};

mod addresses;
mod allowed;
mod families;
mod metadata;
pub mod model;
mod posture;

pub(super) use allowed::has_names;
pub use allowed::ports;

const MODE: &str = "network.mode";

/// How long an attempt waits for the far side, in milliseconds: less than what counts as prompt.
const PATIENCE: i32 = 1000;

/// Entries of the group `net`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let mut probes = families::probes(policy);
    if policy.network.metadata == Posture::Block {
        probes.extend(metadata::probes(world, policy));
    }
    probes.extend(addresses::probes(world, policy));
    probes.extend(posture::probes(world, policy));
    if !is_closed(policy) {
        probes.extend(allowed::probes(world, policy));
    }
    probes
}

/// Whether the policy lets nothing out: an allowlist that lists nothing allows nothing.
pub(super) fn is_closed(policy: &Policy) -> bool {
    match policy.network.mode {
        NetworkMode::None => true,
        NetworkMode::Allowlist => policy.network.allow.is_empty(),
        NetworkMode::Open => false,
    }
}

/// One place that cannot be reached.
struct Place<'a> {
    id: String,
    clause: &'static str,
    spec: &'static str,
    severity: super::Severity,
    requirement: &'a str,
    /// The operation of the probe program: tcp, udp, ...
    by: &'a str,
    address: &'a str,
    port: u16,
    proto: Proto,
}

impl Place<'_> {
    /// Under a policy that lets something out, what it says about this place. There somebody may stand between who accepts
    /// a connection that leads nowhere, so only an answer counts.
    fn judged(self, world: &World, network: &Network) -> Probe {
        let heard = heard_at(self.address);
        let protocol = if self.proto == Proto::Tcp { Protocol::Tcp } else { Protocol::Udp };
        let by = if self.by == "tcp" { "tcp_talk" } else { self.by };
        match model::allows_address(network, world, protocol, heard, self.port) {
            // Its data may go with the connection, and comes to nothing with it: no answer.
            None if by == "tcp_fastopen" => {
                Self { by, ..self }.probe(world).expect(Refused.or(Expect::data_is("")))
            }
            None => Self { by, ..self }.probe(world).expect(Refused),
            Some(rule) => {
                let denied = Self { by, ..self }.probe(world);
                let mut probe = Probe::allows(denied.id.clone(), High)
                    .requires("what is allowed is reached")
                    .expect(Succeeds);
                probe.clause = rule.map_or(Clause::new(MODE), |rule| rule.clause.clone());
                Probe {
                    class: probe.class,
                    requirement: probe.requirement,
                    expect: probe.expect,
                    outside: probe.outside,
                    clause: probe.clause,
                    spec: "NET-8",
                    ..denied
                }
            }
        }
    }

    /// The entry under this policy.
    fn under(self, world: &World, policy: &Policy) -> Probe {
        if is_closed(policy) { self.probe(world) } else { self.judged(world, &policy.network) }
    }

    fn probe(self, world: &World) -> Probe {
        let Self { by, address, port, .. } = self;
        let attempt = attempt!(by, address, port, NONCE, PATIENCE);
        let mut probe = Probe::denies(self.id, self.severity)
            .serves(self.clause, self.spec)
            .requires(self.requirement)
            .operation(format!("{by} to {address} port {port}"))
            .script([control!("loopback_tcp"), attempt])
            .expect(Unreachable)
            .canary(Canary::Listener(Endpoint::Inet((heard_at(address), port).into()), self.proto));
        if address.contains(':') {
            probe = probe.needs(Need::Ipv6).needs_planted(&world.ipv6);
        }
        probe
    }
}

/// Where the lab's listener hears what is sent to an address: the kernel dials loopback for the unspecified address,
/// and a mapped address is the IPv4 address that it maps.
fn heard_at(address: &str) -> IpAddr {
    let bare = address.split('%').next().unwrap_or_default();
    let parsed: IpAddr = bare.parse().unwrap_or_else(|_| panic!("{address:?} is no address"));
    match parsed.to_canonical() {
        IpAddr::V4(v4) if v4.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(v6) if v6.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

//! What a gateway tells.

use std::net::SocketAddr;

use palisade_policy::{Clause, Protocol};

/// Something that happened. Told on the gateway's thread: the listener must not block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection or a flow was refused by the policy.
    Denied {
        /// The transport.
        protocol: Protocol,
        /// What the workload dialled; for a name its synthetic address, for a proxy's client the proxy.
        address: SocketAddr,
        /// The name that was dialled, if it was a name.
        name: Option<String>,
        /// The port that was asked for.
        port: u16,
        /// Why.
        reason: Reason,
        /// The clause that says so.
        clause: Clause,
    },
    /// A name was refused by the policy: it got no address, and nothing about it was asked outside.
    NameDenied {
        /// The name, in normal form, or as it was sent where it has none.
        name: String,
        /// Why.
        reason: Reason,
        /// The clause that says so.
        clause: Clause,
    },
    /// A connection was made, or a flow begun.
    Connected {
        /// The transport.
        protocol: Protocol,
        /// What the workload dialled.
        address: SocketAddr,
        /// The name that was dialled, if it was a name.
        name: Option<String>,
        /// The address that was judged and dialled.
        upstream: SocketAddr,
        /// The clause that allows it.
        rule: Clause,
    },
    /// A connection was allowed and could not be made.
    Failed {
        /// The transport.
        protocol: Protocol,
        /// What the workload dialled.
        address: SocketAddr,
        /// The name that was dialled, if it was a name.
        name: Option<String>,
        /// The error number (errno(3)): `ECONNREFUSED`, `ETIMEDOUT`, `EHOSTUNREACH`; `ENOENT`: there is no such name.
        errno: i32,
    },
    /// A connection from outside to a published port.
    Published {
        /// The port inside.
        port: u16,
        /// Who connected.
        peer: SocketAddr,
        /// The error number where the port inside did not accept.
        errno: Option<i32>,
    },
    /// Something was refused because a limit was reached. Told once a second at most for each limit.
    LimitHit {
        /// Which.
        which: Limit,
    },
    /// Events were left out, because there were too many.
    Suppressed {
        /// How many.
        count: u64,
    },
    /// The gateway ended, and with it the sandbox's network.
    Died {
        /// Why.
        message: String,
    },
}

/// Why something was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is a metadata service's; what it is.
    Metadata(&'static str),
    /// It is in a private or special-use range that no rule names; what the range is.
    SpecialUse(&'static str),
    /// It is loopback, unspecified, or one of the host's own addresses.
    Own,
    /// No rule allows it.
    NoRule,
    /// The address stands for no name.
    UnknownName,
    /// It is no host name.
    NotAName,
    /// The mode is `none`.
    NoNetwork,
}

/// A bound of [`crate::Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Limit {
    /// `connections`.
    Connections,
    /// `pending`.
    Pending,
    /// `udp_flows`.
    UdpFlows,
    /// `names`.
    Names,
    /// `RLIMIT_NOFILE` of the process that holds the gateway.
    Descriptors,
}

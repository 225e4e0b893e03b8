//! The gateway: the only way out of a sandbox that has a network.
//!
//! A sandbox's network namespace has no interface but `lo`. Its routing table sends the allowed ranges, and the range
//! of addresses that stand for names ([`palisade_policy::address::synthetic`]), to `lo`, where sockets listen that
//! were made inside and handed out. This crate serves them, from a thread that stays in the network namespace of
//! whoever called [`Gateway::start`]: it decides again by the policy, connects from there to exactly the address that
//! it judged, and carries the bytes. It knows nothing of sandboxes, and makes no namespace, route or rule.
//!
//! # What is dialled, and what answers
//!
//! The address that the workload dialled is the local address of the accepted socket, or `SO_ORIGINAL_DST` where
//! that differs (nftables `redirect`); of a datagram it is the address of `IP_PKTINFO` or `IPV6_PKTINFO`.
//!
//! | dialled | answered by |
//! |---|---|
//! | the resolver's address, port 53 (TCP and UDP) | the stub resolver |
//! | the resolver's address, ports 3128 and 1080 (TCP) | the HTTP and the SOCKS proxy, where the policy has `proxy: environment` |
//! | an address that stands for a name | the name, resolved now, by the rules that name hosts |
//! | loopback, or what no rule allows | a reset at once, and [`Event::Denied`] |
//! | anything else | that address, by the rules that name ranges |
//!
//! # Errors as the workload sees them
//!
//! The kernel has accepted a TCP connection before the gateway hears of it, so every failure that is found here
//! (denied, refused, unreachable, timed out, a limit) is a reset right after the connection was made: `ECONNRESET`,
//! from the first read or write, or from connect(2) itself where the caller wakes only after the reset.
//! What the routing table refuses never gets this far: no route is `ENETUNREACH`, a prohibited range `EACCES`, a port
//! without a listener `ECONNREFUSED`. A datagram that is denied, or that nobody outside takes, is answered with ICMP
//! "port unreachable" (`ECONNREFUSED` at a connected socket), where raw sockets were handed in; else it is dropped. The
//! proxies answer in their protocol. An allowed name that does not exist outside has an address all the same: it is found
//! out when it is dialled.
//!
//! An upstream that does not answer is given up after [`Limits::connect_timeout`], sooner than by a kernel.
//!
//! # Bounds
//!
//! Everything that a workload can make the gateway keep is counted against [`Limits`]. Beyond a limit the newest
//! comer is refused, waits its turn where that is soon (`pending`), or takes the place of who was idle longest
//! (`udp_flows`); [`Event::LimitHit`] tells. The end of the gateway ends every connection and opens nothing.

mod config;
mod crew;
mod decide;
mod dial;
mod dns;
mod event;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod gateway;
mod names;
mod proxy;
mod publish;
mod raw;
mod relay;
mod request;
mod shared;
mod target;
mod tcp;
mod tell;
mod udp;

#[cfg(test)]
mod tests;

pub use config::{Config, Limits, Mutant, Sockets, Usage};
pub use event::{Event, Limit, Reason};
pub use gateway::{Gateway, Inside};

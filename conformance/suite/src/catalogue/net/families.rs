//! Families and protocols beside TCP and UDP: what sees packets, and kernel code that few programs use.

use palisade_policy::{NetworkMode, Policy};

use crate::catalogue::prelude::*;
use crate::lab::World;

const SYSCALLS: &str = "process.syscalls";

/// Sockets that can see or forge packets: name, family, type, protocol.
const RAW: &[(&str, i32, i32, i32)] = &[
    ("inet", libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
    ("inet-any", libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW),
    ("inet6", libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6),
    ("packet", libc::AF_PACKET, libc::SOCK_RAW, 0),
    ("packet-cooked", libc::AF_PACKET, libc::SOCK_DGRAM, 0),
    // SOCK_PACKET, by which AF_INET made packet sockets once.
    ("packet-by-inet", libc::AF_INET, 10, 0),
    ("xdp", libc::AF_XDP, libc::SOCK_RAW, 0),
];

const FAMILIES: &[(&str, i32, i32, i32)] = &[
    ("alg", libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
    ("bluetooth", libc::AF_BLUETOOTH, libc::SOCK_RAW, 1),
    ("key", libc::AF_KEY, libc::SOCK_RAW, 2),
    ("tipc", libc::AF_TIPC, libc::SOCK_SEQPACKET, 0),
    ("smc", 43, libc::SOCK_STREAM, 0),
    ("qipcrtr", 42, libc::SOCK_DGRAM, 0),
    ("can", libc::AF_CAN, libc::SOCK_RAW, 1),
];

/// Protocols of netlink(7).
const NETLINK: &[(&str, i32)] = &[
    ("sock-diag", libc::NETLINK_SOCK_DIAG),
    ("xfrm", libc::NETLINK_XFRM),
    ("audit", libc::NETLINK_AUDIT),
    ("netfilter", libc::NETLINK_NETFILTER),
    ("uevent", libc::NETLINK_KOBJECT_UEVENT),
    ("generic", libc::NETLINK_GENERIC),
    ("crypto", libc::NETLINK_CRYPTO),
];

/// Sockets are made and never used.
pub(super) fn probes(policy: &Policy) -> Vec<Probe> {
    let socket = |id: String, severity, spec, family: i32, kind: i32, protocol: i32| {
        Probe::denies(id, severity)
            .serves(SYSCALLS, spec)
            .operation(format!("socket({family}, {kind}, {protocol})"))
            .script([control!("loopback_tcp"), attempt!("sys", SYS_socket, family, kind, protocol)])
            .expect(NoFamily)
            .outside(Outside::succeeds())
    };
    let mut probes = Vec::new();
    for &(name, family, kind, protocol) in RAW {
        let id = format!("net/raw/{name}");
        probes.push(
            socket(id, High, "NET-4", family, kind, protocol).requires("no socket sees or forges packets"),
        );
    }
    for &(name, family, kind, protocol) in FAMILIES {
        let id = format!("net/family/{name}");
        probes.push(
            socket(id, Medium, "NET-4", family, kind, protocol)
                .requires("families that general programs do not need are closed"),
        );
    }
    if crate::catalogue::narrowed::is_without_internet(policy) {
        for (name, family, kind) in [
            ("internet", libc::AF_INET, libc::SOCK_STREAM),
            ("internet-v6", libc::AF_INET6, libc::SOCK_DGRAM),
            ("netlink", libc::AF_NETLINK, libc::SOCK_RAW),
        ] {
            probes
                .push(socket(format!("net/family/{name}"), Medium, "NET-4", family, kind, 0).requires(
                    "under the strict profile a policy without a network leaves only UNIX sockets",
                ));
        }
    }
    for (name, kind, protocol) in [
        ("sctp", libc::SOCK_STREAM, libc::IPPROTO_SCTP),
        ("udplite-socket", libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE),
        ("mptcp-socket", libc::SOCK_STREAM, libc::IPPROTO_MPTCP),
    ] {
        probes.push(
            socket(format!("net/protocol/{name}"), Medium, "NET-4", libc::AF_INET, kind, protocol)
                .requires("of the internet protocols only TCP and UDP are open"),
        );
    }
    if policy.network.mode != NetworkMode::Open {
        for (name, family, protocol) in
            [("dgram", libc::AF_INET, libc::IPPROTO_ICMP), ("dgram-v6", libc::AF_INET6, libc::IPPROTO_ICMPV6)]
        {
            probes.push(
                socket(format!("net/icmp/{name}"), Medium, "NET-4", family, libc::SOCK_DGRAM, protocol)
                    .requires("nothing can be pinged"),
            );
        }
    }
    for &(name, protocol) in NETLINK {
        probes.push(
            socket(
                format!("net/netlink/{name}"),
                Medium,
                "NET-5",
                libc::AF_NETLINK,
                libc::SOCK_RAW,
                protocol,
            )
            .requires("netlink reaches no part of the kernel but addresses and routes"),
        );
    }
    probes
}

/// What the sandbox's own interfaces allow: to be read, and not to be changed.
pub(super) fn route_netlink(_world: &World) -> Vec<Probe> {
    let change = |id: &str, operation: &str, message: &[u8]| {
        let length = i32::try_from(message.len()).unwrap_or_default();
        Probe::denies(id, High)
            // What the sandbox's network is made of is its own; the workload has no right to change it.
            .serves("process.capabilities", "NET-5")
            .requires("the sandbox's interfaces and routes cannot be changed")
            .operation(operation)
            .script([
                control!("getifaddrs"),
                attempt!("sys", SYS_socket, libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE),
                attempt!("sys", SYS_sendto, result(1), bytes(message), length, 0, NULL, 0),
                attempt!("sys", libc::SYS_recvfrom, result(1), buffer(64), 64, 0, NULL, NULL),
            ])
            .expect(DataPasses("an acknowledgement that says EPERM", |data| {
                // struct nlmsghdr of 16 bytes, type NLMSG_ERROR; then the error, negative.
                data.get(4..6) == Some(&[2, 0]) && data.get(16..20) == Some(&(-1_i32).to_ne_bytes())
            }))
    };
    vec![
        change("net/netlink/link-write", "RTM_NEWLINK for lo that changes nothing", &link_message()),
        change(
            "net/netlink/route-write",
            "RTM_NEWROUTE for a route that exists in the lab",
            &route_message(),
        ),
        Probe::allows("net/netlink/route-read", Low)
            .serves("network.mode", "NET-5")
            .requires("a program can list the interfaces that it has")
            .script([attempt!("getifaddrs")]),
    ]
}

/// struct nlmsghdr for a request of `kind` with an acknowledgement.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or_default();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    // NLM_F_REQUEST | NLM_F_ACK
    message.extend((flags | 0x5).to_ne_bytes());
    message.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(body);
    message
}

/// struct ifinfomsg: interface 1, no flag to change.
fn link_message() -> Vec<u8> {
    let mut body = [0; 16];
    body[4] = 1;
    message(16, 0, &body)
}

/// struct rtmsg of 240.0.0.0/4 as a local route, and RTA_OIF lo. Local routes of the lab cover everything already.
fn route_message() -> Vec<u8> {
    const NLM_F_CREATE: u16 = 0x400;
    // family AF_INET, 4 bits of destination, table local, protocol boot, scope host, type local.
    let mut body = vec![2, 4, 0, 0, 255, 3, 254, 2, 0, 0, 0, 0];
    // RTA_DST, RTA_OIF: length, type, value.
    body.extend([8, 0, 1, 0, 240, 0, 0, 0]);
    body.extend([8, 0, 4, 0, 1, 0, 0, 0]);
    message(24, NLM_F_CREATE, &body)
}

//! Metadata services of clouds: whoever reaches one has the machine's credentials.
//!
//! What is asked for does not matter: a connection is enough to be heard, and is not made.

use palisade_policy::address::metadata::is_name;
use palisade_policy::{NetworkMode, Policy};

use super::Place;
use crate::catalogue::prelude::*;
use crate::lab::{Proto, World};

/// Name, address, port. Every cloud by its own name, also where clouds share an address: a runtime may tell them apart by
/// what it lists, and a reader looks for the name.
const SERVICES: &[(&str, &str, u16)] = &[
    ("aws-imds-v4", "169.254.169.254", 80),
    ("aws-imdsv2-put", "169.254.169.254", 80),
    ("aws-imds-v6", "fd00:ec2::254", 80),
    ("aws-ecs", "169.254.170.2", 80),
    ("aws-eks", "169.254.170.23", 80),
    ("aws-eks-v6", "fd00:ec2::23", 80),
    ("aws-dns", "169.254.169.253", 53),
    ("aws-dns-v6", "fd00:ec2::253", 53),
    ("gcp-v4", "169.254.169.254", 80),
    ("gcp-v6", "fd20:ce::254", 80),
    ("gcp-https", "169.254.169.254", 443),
    ("azure-imds", "169.254.169.254", 80),
    // In a public range: a list of special-use ranges alone does not cover it.
    ("azure-wireserver", "168.63.129.16", 80),
    ("oci-v2", "169.254.169.254", 80),
    ("oci-classic", "192.0.0.192", 80),
    ("oci-v6", "fd00:c1::a9fe:a9fe", 80),
    ("alibaba", "100.100.100.200", 80),
    ("tencent", "169.254.0.23", 80),
    ("volcengine", "100.96.0.96", 80),
    ("ucloud", "100.80.80.80", 80),
    ("digitalocean", "169.254.169.254", 80),
    ("hetzner", "169.254.169.254", 80),
    ("scaleway", "169.254.42.42", 80),
    ("scaleway-v6", "fd00:42::42", 80),
    ("linode", "169.254.169.254", 80),
    ("linode-v6", "fd00:a9fe:a9fe::1", 80),
    ("ibm", "161.26.0.1", 80),
    ("vultr", "169.254.169.254", 80),
    ("openstack-v4", "169.254.169.254", 80),
    ("openstack-v6", "fe80::a9fe:a9fe%1", 80),
    ("packet", "192.80.8.124", 80),
    ("k8s-api", "10.96.0.1", 6443),
    ("k8s-api-https", "10.96.0.1", 443),
    ("kubelet", "172.31.0.10", 10250),
];

/// The first of them as other notations of the same place (RFC 4291, 6052, 3056, 5214).
const SPELLINGS: &[(&str, &str)] = &[
    ("imds-mapped", "::ffff:169.254.169.254"),
    ("imds-compatible", "::169.254.169.254"),
    ("imds-nat64", "64:ff9b::a9fe:a9fe"),
    ("imds-nat64-local", "64:ff9b:1::a9fe:a9fe"),
    ("imds-6to4", "2002:a9fe:a9fe::1"),
    ("imds-isatap", "2001:db8::5efe:a9fe:a9fe"),
    ("wireserver-mapped", "::ffff:168.63.129.16"),
    ("alibaba-mapped", "::ffff:100.100.100.200"),
];

/// Datagrams: clocks and names.
const DATAGRAMS: &[(&str, &str, u16)] = &[
    ("aws-ntp", "169.254.169.123", 123),
    ("aws-ntp-v6", "fd00:ec2::123", 123),
    ("aws-dns-udp", "169.254.169.253", 53),
    ("gcp-dns-udp", "169.254.169.254", 53),
    ("azure-dns-udp", "168.63.129.16", 53),
];

/// Names by which programs find the services.
const NAMES: &[(&str, &str)] = &[
    ("gcp-name", "metadata.google.internal"),
    ("tencent-name", "metadata.tencentyun.com"),
    ("packet-name", "metadata.packet.net"),
    ("k8s-name", "kubernetes.default.svc"),
];

/// Every entry below `net/metadata`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let requirement = "no metadata service of a cloud can be reached";
    let place = |name: &str, by, address, port, proto| Place {
        id: format!("net/metadata/{name}"),
        clause: "network.metadata",
        spec: "NET-3",
        severity: Critical,
        requirement,
        by,
        address,
        port,
        proto,
    };
    let services = SERVICES.iter().map(|&(name, to, port)| place(name, "tcp", to, port, Proto::Tcp));
    let spellings = SPELLINGS.iter().map(|&(name, to)| place(name, "tcp", to, 80, Proto::Tcp));
    let datagrams = DATAGRAMS.iter().map(|&(name, to, port)| place(name, "udp", to, port, Proto::Udp));
    let mut probes: Vec<Probe> =
        services.chain(spellings).chain(datagrams).map(|place| place.under(world, policy)).collect();
    // In an open network the names of what is no service of a cloud are names like others.
    let names = NAMES.iter().filter(|(_, host)| policy.network.mode != NetworkMode::Open || is_name(host));
    probes.extend(names.map(|(name, host)| {
        Probe::denies(format!("net/metadata/{name}"), Critical)
            .serves("network.metadata", "NET-3")
            .requires("the name of a metadata service does not resolve")
            .operation(format!("resolve {host}"))
            .script([control!("loopback_tcp"), attempt!("dns_query", "resolv.conf", *host, super::PATIENCE)])
            .expect(if super::has_names(&policy.network) { Expect::Returns(0) } else { Unreachable })
            .outside(Outside::Shows(Expect::AtLeast(1)))
    }));
    probes
}

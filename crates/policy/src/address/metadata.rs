//! The addresses and names of cloud metadata services, which hand out credentials to whoever can ask.
//!
//! Blocked in every network mode unless the policy says `metadata: allow`. Add a cloud here and nowhere else.

use std::net::IpAddr;

use ipnet::IpNet;

use super::embedded::{every_form, every_reading};
use super::{Range, v4, v6};

const AWS: &str = "docs.aws.amazon.com/AWSEC2: instancedata-data-retrieval";
const SCALEWAY: &str = "cloudinit.readthedocs.io: datasources/scaleway";
const TENCENT: &str = "cloud.tencent.com/document/product/213/4934";

/// Every metadata service, and the services beside it that hand out credentials, keys or configuration.
#[rustfmt::skip]
pub static TABLE: &[Range] = &[
    v4([169, 254, 169, 254], 32, "instance metadata of AWS, Azure, GCP, OCI, DigitalOcean, Hetzner, OpenStack and others", AWS),
    v4([169, 254, 169, 253], 32, "AWS resolver", "docs.aws.amazon.com/vpc: AmazonDNS-concepts"),
    v4([169, 254, 169, 252], 32, "GKE metadata server", "cloud.google.com/kubernetes-engine: workload-identity"),
    v4([169, 254, 169, 250], 32, "Rancher 1 metadata", "rancher.com/docs/rancher/v1.6: metadata-service"),
    v4([169, 254, 169, 123], 32, "AWS time service", "docs.aws.amazon.com/AWSEC2: set-time"),
    v4([169, 254, 170, 2], 32, "AWS ECS task credentials", "docs.aws.amazon.com/AmazonECS: task-iam-roles"),
    v4([169, 254, 170, 23], 32, "AWS EKS pod identity", "docs.aws.amazon.com/eks: pod-id-how-it-works"),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32, "AWS metadata (::254), resolver (::253), time (::123), EKS pod identity (::23)", AWS),
    v4([168, 63, 129, 16], 32, "Azure WireServer", "learn.microsoft.com/azure/virtual-network: what-is-ip-address-168-63-129-16"),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, "GCP metadata server", "cloud.google.com/compute: querying-metadata"),
    v4([192, 0, 0, 192], 32, "Oracle Cloud Classic metadata", "docs.oracle.com/iaas-classic: retrieving-instance-metadata"),
    v6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128, "OCI instance metadata", "github.com/oracle/oci-python-sdk: instance_principals_security_token_signer.py"),
    v4([100, 100, 100, 200], 32, "Alibaba Cloud ECS metadata", "alibabacloud.com/help/ecs: view-instance-metadata"),
    v6([0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200], 128, "Alibaba Cloud ECS metadata", "alibabacloud.com/help/ecs: view-instance-metadata"),
    v4([169, 254, 0, 23], 32, "Tencent Cloud metadata", TENCENT),
    v4([169, 254, 10, 10], 32, "Tencent Cloud metadata", TENCENT),
    v4([100, 96, 0, 96], 32, "Volcengine ECS metadata", "github.com/volcengine/cello: credential server address"),
    v4([100, 80, 80, 80], 32, "UCloud UHost metadata", "docs.ucloud.cn/uhost/guide/metadata/metadata-server"),
    v4([169, 254, 42, 42], 32, "Scaleway instance metadata", SCALEWAY),
    v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128, "Scaleway instance metadata", SCALEWAY),
    v6([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1], 128, "Akamai (Linode) metadata", "techdocs.akamai.com/cloud-computing: metadata-service-api"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128, "OpenStack metadata", "docs.openstack.org/nova: admin/metadata-service"),
];

/// The names under which metadata services are reached. Everything below a name belongs to it.
pub static NAMES: &[&str] = &[
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "rancher-metadata",
    "instance-data.ec2.internal",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
    "metadata.packet.net",
    "metadata.platformequinix.com",
    "api.metadata.cloud.ibm.com",
];

/// Every range of [`TABLE`], and of the IPv4 ones each form inside IPv6.
pub fn ranges() -> impl Iterator<Item = IpNet> {
    TABLE.iter().flat_map(|entry| every_form(entry.net))
}

/// The entry of the table that `address` belongs to, be it as an IPv4 address inside an IPv6 address.
pub fn of_address(address: IpAddr) -> Option<&'static Range> {
    every_reading(address).find_map(|reading| TABLE.iter().find(|entry| entry.net.contains(&reading)))
}

/// The entry of the table that `net` lies wholly inside, in whichever form.
pub fn of_range(net: IpNet) -> Option<&'static Range> {
    TABLE.iter().find(|entry| every_form(entry.net).any(|blocked| blocked.contains(&net)))
}

/// Whether the host `name` (lower case, no trailing dot) is that of a metadata service.
pub fn is_name(name: &str) -> bool {
    NAMES
        .iter()
        .any(|&known| name.strip_suffix(known).is_some_and(|left| left.is_empty() || left.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("169.254.169.254")]
    #[case("::ffff:169.254.169.254")]
    #[case("::169.254.169.254")]
    #[case("64:ff9b::a9fe:a9fe")]
    #[case("2002:a9fe:a9fe::1")]
    #[case("::ffff:100.100.100.200")]
    #[case("168.63.129.16")]
    #[case("fd00:ec2::254")]
    fn is_metadata(#[case] address: &str) {
        assert!(of_address(address.parse().unwrap()).is_some());
        assert!(ranges().any(|range| range.contains(&address.parse::<IpAddr>().unwrap())));
    }

    #[rstest]
    #[case("169.254.169.251")]
    #[case("203.0.113.1")]
    #[case("fd00:ec3::254")]
    #[case("2002:a9fe:a9fb::1")]
    fn is_not_metadata(#[case] address: &str) {
        assert!(of_address(address.parse().unwrap()).is_none());
        assert!(!ranges().any(|range| range.contains(&address.parse::<IpAddr>().unwrap())));
    }

    #[rstest]
    #[case("169.254.169.254/32", true)]
    #[case("169.254.169.254/31", false)]
    #[case("169.254.0.0/16", false)]
    #[case("2002:a9fe:a9fe:1::/64", true)]
    #[case("2002::/16", false)]
    #[case("64:ff9b::a9fe:a9fe/128", true)]
    #[case("0.0.0.0/0", false)]
    fn only_whole_ranges_count(#[case] net: &str, #[case] inside: bool) {
        assert_eq!(of_range(net.parse().unwrap()).is_some(), inside);
    }

    #[rstest]
    #[case("metadata.google.internal", true)]
    #[case("x.metadata.google.internal", true)]
    #[case("notmetadata.goog", false)]
    #[case("google.internal", false)]
    fn names(#[case] name: &str, #[case] known: bool) {
        assert_eq!(is_name(name), known);
    }

    #[test]
    fn entries_have_no_host_bits_and_stand_once() {
        for (index, entry) in TABLE.iter().enumerate() {
            assert_eq!(entry.net, entry.net.trunc(), "{}", entry.what);
            assert!(TABLE[..index].iter().all(|other| other.net != entry.net), "{} twice", entry.net);
        }
    }
}

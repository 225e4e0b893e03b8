//! What others call that which a probe is about: the numbers by which reviewers sort findings.
//!
//! - `attack:`: techniques of MITRE ATT&CK, Enterprise;
//! - `cis-docker:`: recommendations of the CIS Docker Benchmark 1.6.0;
//! - `sp800-190:`: sections of NIST SP 800-190, Application Container Security Guide;
//! - `cwe:`: weaknesses of the Common Weakness Enumeration that a breach would be an instance of;
//! - [`WORKS`] alone: what the policy allows, which none of these has a number for.
//!
//! `SPEC.md` has a legend; a test holds it and [`TABLE`] together. A tag says what a probe is about. That all probes with a tag are held
//! is no conformance to the document that it comes from.

use super::{Class, Probe};
use crate::glob;

/// The tag of what must work.
pub const WORKS: &str = "availability";

/// Protection Mechanism Failure.
const BREACH: &str = "cwe:693";

/// Most tags of a probe, so that code scanning shows them all beside the report's own (ten in all).
#[cfg(test)]
const MOST: usize = 6;

/// Patterns over the ids of preventions. A probe has the tags of every row that it matches, in this order, each once.
const TABLE: &[(&str, &[&str])] = &[
    ("cap/*", &["cis-docker:5.4", "sp800-190:3.4.3", "cwe:250", "cwe:269"]),
    ("cap/nnp*", &["cis-docker:5.26"]),
    ("cap/set?id0", &["attack:T1548.001"]),
    ("dev/*", &["cis-docker:5.18", "sp800-190:3.4.3", "cwe:668"]),
    ("dev/mknod/*", &["attack:T1611"]),
    ("dns/*", &["attack:T1071.004", "attack:T1048", "sp800-190:3.4.2", "cwe:923"]),
    ("env/*", &["attack:T1552", "sp800-190:3.4.3", "cwe:526"]),
    ("exec/*", &["cis-docker:5.23", "sp800-190:3.4.3", "cwe:693"]),
    ("fd/*", &["attack:T1611", "sp800-190:3.4.3", "cwe:403"]),
    ("fs/*", &["sp800-190:3.5.5", "cwe:668"]),
    ("fs/exec/*", &["cwe:693"]),
    ("fs/handle/*", &["attack:T1611"]),
    ("fs/link/*", &["cwe:59", "cwe:61"]),
    ("fs/link/symlink-race", &["cwe:367"]),
    ("fs/meta/*", &["attack:T1083"]),
    ("fs/path/*", &["cis-docker:5.6", "cwe:22"]),
    ("fs/read/*", &["attack:T1552.001", "cis-docker:5.6"]),
    ("fs/read/etc-shadow", &["attack:T1003.008"]),
    ("fs/read/kube-*", &["attack:T1552.007"]),
    ("fs/read/ssh-key", &["attack:T1552.004"]),
    ("fs/sock/*", &["cwe:923"]),
    ("fs/sock/containerd", &["attack:T1611", "cis-docker:5.32"]),
    ("fs/sock/docker", &["attack:T1611", "cis-docker:5.32"]),
    ("fs/sock/podman*", &["attack:T1611", "cis-docker:5.32"]),
    ("fs/suid/*", &["attack:T1548.001", "cwe:269"]),
    ("fs/write/*", &["cis-docker:5.6"]),
    ("ipc/*", &["cis-docker:5.17", "sp800-190:3.4.3", "cwe:668"]),
    ("ipc/abstract-*", &["cis-docker:5.10"]),
    ("kern/*", &["attack:T1068", "cis-docker:5.22", "sp800-190:3.5.2", "cwe:693"]),
    ("key/*", &["attack:T1552", "cis-docker:5.22", "sp800-190:3.5.2", "cwe:668"]),
    ("l7/*", &["attack:T1090", "attack:T1572", "sp800-190:3.4.2", "cwe:918"]),
    ("life/*", &["sp800-190:3.4.3"]),
    ("life/*orphan*", &["cwe:404"]),
    ("life/*fork*", &["cwe:404"]),
    ("life/*kill*", &["cwe:404"]),
    ("life/early-kill*", &["cwe:362"]),
    ("life/beside/*", &["cwe:668"]),
    ("life/leftover/*", &["cwe:459"]),
    ("life/time/*", &["attack:T1496", "cwe:770"]),
    ("mnt/*", &["attack:T1611", "cis-docker:5.22", "sp800-190:3.4.3", "cwe:693"]),
    ("mnt/propagation", &["cis-docker:5.20"]),
    ("mnt/nodev", &["cis-docker:5.18"]),
    ("mnt/nosuid", &["attack:T1548.001"]),
    ("mnt/read-only", &["cis-docker:5.13"]),
    ("mnt/remount-rw", &["cis-docker:5.13"]),
    ("net/*", &["sp800-190:3.4.2", "cwe:923"]),
    ("net/family/*", &["attack:T1095", "sp800-190:3.5.2"]),
    ("net/host/*", &["attack:T1046", "cis-docker:5.10"]),
    ("net/icmp/*", &["attack:T1095"]),
    ("net/ifaces", &["attack:T1016", "cis-docker:5.10"]),
    ("net/listen/*", &["cis-docker:5.9"]),
    ("net/loopback/*", &["cis-docker:5.10"]),
    ("net/metadata/*", &["attack:T1552.005", "cwe:918"]),
    ("net/netlink/*", &["attack:T1016", "sp800-190:3.5.2"]),
    ("net/port/*", &["attack:T1046"]),
    ("net/port/docker*", &["attack:T1552.007"]),
    ("net/port/kube*", &["attack:T1613"]),
    ("net/protocol/*", &["attack:T1095"]),
    ("net/raw/*", &["attack:T1095", "cis-docker:5.4"]),
    ("net/routes*", &["attack:T1016", "cis-docker:5.10"]),
    ("net/rule/*", &["attack:T1048"]),
    ("net/tcp/*", &["attack:T1048"]),
    ("net/udp/*", &["attack:T1048"]),
    ("ns/*", &["attack:T1611", "sp800-190:3.4.3", "cwe:693"]),
    ("ns/*newuser*", &["cis-docker:5.22", "sp800-190:3.5.2"]),
    ("ns/*domainname*", &["cis-docker:5.21"]),
    ("ns/*hostname*", &["cis-docker:5.21"]),
    ("ns/?id-map-*", &["cis-docker:5.31"]),
    ("ns/own/ipc", &["cis-docker:5.17"]),
    ("ns/own/net", &["cis-docker:5.10"]),
    ("ns/own/pid", &["cis-docker:5.16"]),
    ("ns/own/user", &["cis-docker:5.31"]),
    ("ns/own/uts", &["cis-docker:5.21"]),
    ("posture/*", &["sp800-190:3.4.3"]),
    ("posture/capabilities", &["cis-docker:5.4", "cwe:250"]),
    ("posture/cgroup/memory", &["attack:T1499", "cis-docker:5.11", "cwe:770"]),
    ("posture/descriptors", &["attack:T1611", "cwe:403"]),
    ("posture/filter", &["cis-docker:5.22", "sp800-190:3.5.2", "cwe:693"]),
    ("posture/groups", &["cwe:250"]),
    ("posture/mount/dev", &["attack:T1611", "cis-docker:5.18"]),
    ("posture/mount/propagation", &["attack:T1611", "cis-docker:5.20"]),
    ("posture/mount/suid", &["attack:T1548.001", "cwe:250"]),
    ("posture/mount/writable", &["cis-docker:5.13", "sp800-190:3.5.5"]),
    ("posture/namespace/*", &["attack:T1611", "cwe:668"]),
    ("posture/namespace/ipc", &["cis-docker:5.17"]),
    ("posture/namespace/net", &["cis-docker:5.10"]),
    ("posture/namespace/pid", &["cis-docker:5.16"]),
    ("posture/namespace/user", &["cis-docker:5.31"]),
    ("posture/namespace/uts", &["cis-docker:5.21"]),
    ("posture/no-new-privs", &["cis-docker:5.26", "cwe:250"]),
    ("posture/session", &["cwe:668"]),
    ("proc/*", &["sp800-190:3.4.3", "cwe:668"]),
    ("proc/leak/*", &["attack:T1082"]),
    ("proc/leak/net-*", &["attack:T1049"]),
    ("proc/mask/*", &["attack:T1082", "cwe:497"]),
    ("proc/mask-bypass/*", &["attack:T1611", "cwe:59"]),
    ("proc/other/*", &["attack:T1003.007", "attack:T1057", "cis-docker:5.16"]),
    ("proc/pid-scan", &["attack:T1057", "cis-docker:5.16"]),
    ("proc/read/*", &["attack:T1082", "cwe:497"]),
    ("proc/write/*", &["attack:T1611", "sp800-190:3.5.5"]),
    ("ps/*", &["sp800-190:3.4.3"]),
    ("ps/*outside", &["cis-docker:5.16", "cwe:668"]),
    ("ps/coredump-disabled", &["cwe:528"]),
    ("ps/kill/*", &["cis-docker:5.16", "cwe:668"]),
    ("ps/limit/*", &["cis-docker:5.19", "cwe:770"]),
    ("ps/pidfd/*", &["cis-docker:5.22", "cwe:668"]),
    ("ps/rlimit-raise/*", &["cis-docker:5.19", "cwe:770"]),
    ("ps/*-raise", &["attack:T1496", "cis-docker:5.12"]),
    ("ps/*-sched", &["attack:T1496", "cis-docker:5.12"]),
    ("res/*", &["attack:T1499", "sp800-190:3.4.3", "cwe:770"]),
    ("res/cpu*", &["attack:T1496", "cis-docker:5.12"]),
    ("res/file-size*", &["cis-docker:5.19"]),
    ("res/limit/*", &["cis-docker:5.19"]),
    ("res/memory/*", &["cis-docker:5.11"]),
    ("res/open-files*", &["cis-docker:5.19"]),
    ("res/processes", &["cis-docker:5.29"]),
    ("res/raise/*", &["cis-docker:5.19"]),
    ("res/threads", &["cis-docker:5.29"]),
    ("res/zombies", &["cis-docker:5.29"]),
    ("sys/*", &["cis-docker:5.22", "sp800-190:3.5.2", "cwe:693"]),
    ("sys/*-module", &["attack:T1547.006"]),
    ("sys/arg/*", &["cwe:197"]),
    ("sys/reboot", &["attack:T1529"]),
    ("sys/set-id/*", &["attack:T1548.001"]),
    ("sysfs/*", &["sp800-190:3.4.3", "cwe:668"]),
    ("sysfs/read/*", &["attack:T1082", "cwe:497"]),
    ("sysfs/write/*", &["attack:T1611", "sp800-190:3.5.5"]),
    ("sysfs/write/cgroup-*", &["cis-docker:5.25"]),
    ("time/*", &["cis-docker:5.4", "sp800-190:3.5.2", "cwe:668"]),
    ("tty/*", &["attack:T1611", "sp800-190:3.4.3", "cwe:668"]),
    ("tty/message-*", &["cwe:150"]),
    ("uring/*", &["attack:T1068", "cis-docker:5.22", "sp800-190:3.5.2", "cwe:693"]),
    ("work/names-fail-promptly", &["sp800-190:3.4.2"]),
    ("xmem/*", &["sp800-190:3.4.3", "cwe:668"]),
    ("xmem/*-mem*", &["attack:T1055.009", "cis-docker:5.16"]),
    ("xmem/*vm-*", &["cis-docker:5.16"]),
    ("xmem/first-process-*", &["attack:T1003.007", "cis-docker:5.16"]),
    ("xmem/ptrace/*", &["attack:T1055.008", "cis-docker:5.22"]),
];

/// The tags of a probe: at least one. A prevention that is not of the catalogue has that of every breach.
pub fn tags(probe: &Probe) -> Vec<&'static str> {
    match probe.class {
        Class::Allowed => vec![WORKS],
        Class::Denied => match listed(probe) {
            tags if tags.is_empty() => vec![BREACH],
            tags => tags,
        },
    }
}

fn listed(probe: &Probe) -> Vec<&'static str> {
    let mut tags: Vec<&'static str> = Vec::new();
    for (_, row) in TABLE.iter().filter(|(pattern, _)| matches(pattern, &probe.id)) {
        for tag in *row {
            if !tags.contains(tag) {
                tags.push(tag);
            }
        }
    }
    tags
}

/// The pattern with `?` as `u` or `g`: ids of users and of groups go together.
fn matches(pattern: &str, id: &str) -> bool {
    match pattern.split_once('?') {
        None => glob::matches(pattern, id),
        Some(_) => ["u", "g"].iter().any(|letter| glob::matches(&pattern.replace('?', letter), id)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::catalogue::tests::everything;

    /// A vocabulary, and what its numbers look like.
    fn is_well_formed(tag: &str) -> bool {
        let Some((vocabulary, number)) = tag.split_once(':') else { return tag == WORKS };
        let numbers = |text: &str, count: std::ops::RangeInclusive<usize>| {
            let parts: Vec<&str> = text.split('.').collect();
            let digits = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            count.contains(&parts.len()) && parts.iter().all(digits)
        };
        match vocabulary {
            "attack" => number.strip_prefix('T').is_some_and(|rest| {
                let (technique, sub) = rest.split_once('.').unwrap_or((rest, "000"));
                technique.len() == 4 && sub.len() == 3 && numbers(rest, 1..=2)
            }),
            "cis-docker" => numbers(number, 2..=2),
            "sp800-190" => numbers(number, 3..=3),
            "cwe" => numbers(number, 1..=1),
            _ => false,
        }
    }

    #[test]
    fn every_probe_has_tags_and_no_more_than_are_shown() {
        for probe in everything() {
            let listed = if probe.class == Class::Denied { listed(&probe) } else { vec![WORKS] };
            assert!((1..=MOST).contains(&listed.len()), "{}: {listed:?}", probe.id);
            assert_eq!(tags(&probe), listed);
        }
    }

    #[test]
    fn a_probe_that_somebody_brought_has_a_tag() {
        use crate::catalogue::Severity;
        assert_eq!(tags(&Probe::denies("own/x", Severity::Low)), [BREACH]);
        assert_eq!(tags(&Probe::allows("own/x", Severity::Low)), [WORKS]);
    }

    #[test]
    fn every_row_is_about_a_prevention() {
        let probes = everything();
        let denied: Vec<&Probe> = probes.iter().filter(|probe| probe.class == Class::Denied).collect();
        for (pattern, tags) in TABLE {
            assert!(denied.iter().any(|probe| matches(pattern, &probe.id)), "nothing matches {pattern}");
            assert!(!tags.is_empty() && tags.iter().all(|tag| is_well_formed(tag)), "{pattern}: {tags:?}");
        }
        for bad in
            ["attack:1611", "attack:T161", "attack:T1611.1", "cwe:", "cis-docker:5", "owasp:1", "other"]
        {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }

    #[test]
    fn the_legend_has_each_tag_and_no_other() {
        let lines = include_str!("../../../SPEC.md").lines();
        let legend: BTreeSet<&str> =
            lines.filter_map(|line| Some(line.strip_prefix("- `")?.split_once("` ")?.0)).collect();
        let used: BTreeSet<&str> =
            TABLE.iter().flat_map(|(_, tags)| tags.iter().copied()).chain([WORKS]).collect();
        assert_eq!(used, legend);
    }
}

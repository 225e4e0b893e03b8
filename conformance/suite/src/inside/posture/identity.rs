//! Who one is: ids, groups, capabilities.

use rustix::process::{getegid, geteuid, getgroups};
use rustix::thread::{CapabilitySet, capabilities};

use super::super::{Finding, Verdict::*};
use super::{field, namespaces, of_file};
use crate::catalogue::Severity::{Critical, High, Low, Medium};

/// Capabilities that, in the initial user namespace, are one step or two away from all of the host's root (capabilities(7)).
const GRAVE: CapabilitySet = CapabilitySet::SYS_ADMIN
    .union(CapabilitySet::SYS_MODULE)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::SYS_RAWIO)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_ADMIN);

pub(super) fn look() -> Vec<Finding> {
    vec![root(), groups(), held(), could_be_given()]
}

/// How the kernel maps an id into the namespace above.
#[derive(Debug, PartialEq, Eq)]
enum Above {
    /// Every id is mapped to itself, as the initial namespace maps them (user_namespaces(7)).
    Everybody,
    /// To this one.
    Id(u64),
    /// Not at all.
    Nobody,
}

fn above(map: &str, id: u64) -> Above {
    let rows = map.lines().filter_map(|line| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        <[u64; 3]>::try_from(numbers).ok()
    });
    let rows: Vec<[u64; 3]> = rows.collect();
    if rows == [[0, 0, 4_294_967_295]] {
        return Above::Everybody;
    }
    let row = rows.iter().find(|[inside, _, count]| (*inside..inside + count).contains(&id));
    row.map_or(Above::Nobody, |[inside, outside, _]| Above::Id(outside + (id - inside)))
}

fn root() -> Finding {
    let uid = geteuid().as_raw();
    let finding = Finding::new("id/root", High, "the host's root", Unknown, "");
    of_file(finding, "/proc/self/uid_map", |finding, map| match above(map, uid.into()) {
        Above::Everybody if uid == 0 => finding.is(Open, "uid 0, and every id is mapped to itself"),
        Above::Everybody => finding.is(Closed, format!("uid {uid}")),
        Above::Id(0) => {
            let unknown = finding.is(Unknown, format!("uid {uid} is uid 0 in the user namespace above"));
            unknown.note("whether that is the initial one, or who its uid 0 is, cannot be told")
        }
        Above::Id(id) => finding.is(Closed, format!("uid {uid} is {id} in the user namespace above")),
        Above::Nobody => finding.is(Closed, format!("uid {uid} is nobody in the user namespace above")),
    })
}

fn groups() -> Finding {
    let finding = Finding::new("id/groups", Low, "supplementary groups", Unknown, "");
    match getgroups() {
        Err(error) => finding.is(Unknown, error.to_string()),
        Ok(groups) => {
            let others = groups.iter().filter(|group| **group != getegid());
            // 65534 is what the namespace does not map; what it permits, it permits all the same.
            finding.open_with(&others.map(|group| group.as_raw().to_string()).collect::<Vec<_>>())
        }
    }
}

fn held() -> Finding {
    let finding = Finding::new("cap/held", Critical, "capabilities, effective or permitted", Unknown, "");
    let held = match capabilities(None) {
        Ok(sets) => sets.effective | sets.permitted,
        Err(error) => return finding.is(Unknown, error.to_string()),
    };
    let names: Vec<String> = held.iter_names().map(|(name, _)| name.to_lowercase()).collect();
    let (severity, note) = match namespaces::is_initial("user") {
        Some(true) if held.intersects(GRAVE) => (Critical, None),
        Some(true) => (High, None),
        Some(false) => (Medium, Some("over what belongs to a user namespace below the initial one")),
        None => (High, Some("whether in the initial user namespace cannot be told")),
    };
    let found = Finding { severity, ..finding }.open_with(&names);
    match note {
        Some(note) if found.verdict == Open => found.note(note),
        _ => found,
    }
}

fn could_be_given() -> Finding {
    const SETS: [&str; 3] = ["CapBnd", "CapInh", "CapAmb"];
    let finding =
        Finding::new("cap/bounding", Low, "capabilities that executing a file could give", Unknown, "");
    of_file(finding, "/proc/self/status", |finding, status| {
        let sets = SETS.map(|name| format!("{name} {}", field(status, name).unwrap_or("missing")));
        let none =
            |name: &str| field(status, name).is_some_and(|value| value.bytes().all(|byte| byte == b'0'));
        let seen = sets.join(", ");
        match field(status, "NoNewPrivs") {
            _ if SETS.iter().all(|name| none(name)) => finding.is(Closed, seen),
            Some("1") => finding.is(Closed, seen).note("no_new_privs is set"),
            _ => finding.is(Open, seen),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_looked_up_in_the_map() {
        assert_eq!(above("         0          0 4294967295\n", 0), Above::Everybody);
        assert_eq!(above("0 1000 1\n1 100000 65536\n", 0), Above::Id(1000));
        assert_eq!(above("0 1000 1\n1 100000 65536\n", 3), Above::Id(100_002));
        assert_eq!(above("1000 0 1\n", 1000), Above::Id(0));
        assert_eq!(above("0 1000 1\n", 65_534), Above::Nobody);
        assert_eq!(above("", 0), Above::Nobody);
    }
}

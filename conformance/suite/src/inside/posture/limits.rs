//! Limits: of the process, and of its control group where its files can be read.

use super::super::{Finding, Verdict::*};
use super::{of_file, read};
use crate::catalogue::Severity::Medium;

/// What version 1 of the control groups says where there is no limit of memory: the largest number of whole pages.
const NO_LIMIT: &str = "9223372036854771712";

const OUT_OF_SIGHT: &str = "a limit of a group above may be out of sight";

pub(super) fn look() -> Vec<Finding> {
    vec![processes(), memory()]
}

fn processes() -> Finding {
    let finding = Finding::new("res/processes", Medium, "no limit of processes", Unknown, "");
    let group = group("pids", "pids.max");
    of_file(finding, "/proc/self/limits", |finding, limits| {
        let line = limits.lines().find_map(|line| line.strip_prefix("Max processes"));
        let soft = line.and_then(|line| line.split_whitespace().next()).unwrap_or("unknown");
        let seen = format!("RLIMIT_NPROC {soft}, {}", told("pids.max", group.as_deref()));
        match (soft, group.as_deref()) {
            (_, Some(limit)) if limit != "max" => finding.is(Closed, seen),
            ("unlimited", Some(_)) => finding.is(Open, seen),
            (_, None) => finding.is(Unknown, seen).note(OUT_OF_SIGHT),
            // setrlimit(2): it counts what the user runs elsewhere too, and does not bind root.
            _ => finding.is(Unknown, seen).note("whom RLIMIT_NPROC counts cannot be told"),
        }
    })
}

fn memory() -> Finding {
    let limit = group("memory", "memory.max").or_else(|| group("memory", "memory.limit_in_bytes"));
    let seen = told("memory.max", limit.as_deref());
    let finding = Finding::new("res/memory", Medium, "no limit of memory", Unknown, seen.clone());
    match limit.as_deref() {
        Some("max" | NO_LIMIT) => finding.is(Open, seen),
        Some(_) => finding.is(Closed, seen),
        None => finding.note(OUT_OF_SIGHT),
    }
}

fn told(file: &str, value: Option<&str>) -> String {
    value.map_or_else(|| format!("no {file} in sight"), |value| format!("{file} {value}"))
}

/// A file of the own control group of either version, where one is mounted at the usual place.
fn group(controller: &str, file: &str) -> Option<String> {
    let own = read("/proc/self/cgroup").ok()?;
    own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let mount = match controllers {
            "" => "/sys/fs/cgroup".to_owned(),
            names if names.split(',').any(|name| name == controller) => format!("/sys/fs/cgroup/{names}"),
            _ => return None,
        };
        // Where the group is the root of its namespace, what is mounted is the group itself.
        let places = [format!("{mount}{path}/{file}"), format!("{mount}/{file}")];
        places.iter().find_map(|place| Some(read(place).ok()?.trim().to_owned()))
    })
}

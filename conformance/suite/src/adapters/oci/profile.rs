//! Docker's filter of system calls: the file (moby, profiles/seccomp), and what becomes of it for a container. The file has rules for
//! capabilities, architectures and kernels; a bundle has only those that apply.
//!
//! That of containers-common (seccomp.json(5)), which packages install, leaves `mount`, `unshare` and the namespaces of `clone` to
//! everybody: this one is nearer to what policies say.

use palisade_policy::{NetworkMode, Process, SyscallProfile};
use serde_json::{Value, json};

/// The file, as it came.
const FILE: &str = include_str!("../../../../../fixtures/peers/docker-seccomp.json");

/// Calls that the strict profile of a policy leaves out.
const NOT_STRICT: &[&str] = &[
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_pgetevents",
    "io_setup",
    "io_submit",
    "memfd_create",
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedsend",
    "mq_unlink",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    "sync",
    "syncfs",
];

/// The file, and the machine for which it is read.
#[derive(Clone, Debug)]
pub(in crate::adapters) struct Profile {
    file: Value,
    /// As the kernel names it: `x86_64`.
    machine: &'static str,
    /// Major and minor number of the kernel.
    kernel: (u32, u32),
}

impl Profile {
    /// The one of Docker, for this machine.
    pub(in crate::adapters) fn here() -> Self {
        let kernel = version(&rustix::system::uname().release().to_string_lossy());
        Self {
            // Parsed in a test, too.
            file: serde_json::from_str(FILE).unwrap_or_default(),
            machine: std::env::consts::ARCH,
            kernel: kernel.unwrap_or_default(),
        }
    }

    /// `linux.seccomp` for a container with these clauses.
    pub(super) fn filter(&self, process: &Process, network: NetworkMode) -> Value {
        let rules = self.rules(process, network).filter(|rule| self.applies(rule, &process.capabilities));
        let rules: Vec<Value> = rules.map(plain).collect();
        let mut filter = json!({
            "defaultAction": self.file["defaultAction"],
            "architectures": self.architectures(),
            "syscalls": rules,
        });
        if self.file["defaultErrnoRet"].is_u64() {
            filter["defaultErrnoRet"] = self.file["defaultErrnoRet"].clone();
        }
        filter
    }

    /// The file itself with what the clauses say, for programs that read it (`--security-opt seccomp=FILE`).
    pub(in crate::adapters) fn file(&self, process: &Process, network: NetworkMode) -> Value {
        let mut file = self.file.clone();
        file["syscalls"] = self.rules(process, network).collect();
        file
    }

    /// The rules of the file with what the clauses say.
    fn rules(&self, process: &Process, network: NetworkMode) -> impl Iterator<Item = Value> {
        let strict = process.syscalls.profile == SyscallProfile::Strict;
        let unix_only = strict && network == NetworkMode::None;
        let refused = |name: &str| {
            process.syscalls.deny.iter().any(|denied| denied == name)
                || (strict && NOT_STRICT.contains(&name))
                || (unix_only && name == "socket")
        };
        let mut added: Vec<&str> = process.syscalls.allow.iter().map(String::as_str).collect();
        if process.nested_namespaces {
            added.extend(["clone", "clone3", "setns", "unshare"]);
        }
        let mut rules: Vec<Value> = list(&self.file, "syscalls")
            .filter_map(|rule| match rule["action"] == "SCMP_ACT_ALLOW" {
                true => without(rule, refused),
                // One call cannot have two actions.
                false => without(rule, |name| added.contains(&name)),
            })
            .collect();
        if unix_only {
            let family = json!({"index": 0, "value": 1, "op": "SCMP_CMP_EQ"});
            rules.push(json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [family]}));
        }
        if !added.is_empty() {
            rules.push(json!({"names": added, "action": "SCMP_ACT_ALLOW"}));
        }
        rules.into_iter()
    }

    /// Whether a rule is for this machine and these capabilities.
    fn applies(&self, rule: &Value, capabilities: &[String]) -> bool {
        let arch = match self.machine {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let has = |name: &str| capabilities.iter().any(|capability| capability == name);
        let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
        let arches: Vec<&str> = list(includes, "arches").filter_map(Value::as_str).collect();
        let kernel = includes["minKernel"].as_str().and_then(version);
        (arches.is_empty() || arches.contains(&arch))
            && list(includes, "caps").filter_map(Value::as_str).all(has)
            && !list(excludes, "caps").filter_map(Value::as_str).any(has)
            && !list(excludes, "arches").any(|name| name == arch)
            && kernel.is_none_or(|least| self.kernel >= least)
    }

    /// The machine's own architecture, and those that the file has with it.
    fn architectures(&self) -> Vec<Value> {
        let own = format!("SCMP_ARCH_{}", self.machine.to_uppercase());
        let entry = list(&self.file, "archMap").find(|entry| entry["architecture"] == own.as_str());
        let others = entry.into_iter().flat_map(|entry| list(entry, "subArchitectures").cloned());
        std::iter::once(Value::from(own.as_str())).chain(others).collect()
    }
}

/// The members of a list; none where there is no list.
fn list<'a>(of: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    of[key].as_array().into_iter().flatten()
}

/// A rule without some of its calls. None where nothing is left of it.
fn without(rule: &Value, some: impl Fn(&str) -> bool) -> Option<Value> {
    let names: Vec<&str> = list(rule, "names").filter_map(Value::as_str).filter(|name| !some(name)).collect();
    let mut left = rule.clone();
    left["names"] = json!(names);
    (!names.is_empty()).then_some(left)
}

/// A rule as the specification has it: without what it is for.
fn plain(rule: Value) -> Value {
    let mut plain = json!({"names": rule["names"], "action": rule["action"]});
    for key in ["args", "errnoRet"] {
        let empty = rule[key].as_array().is_some_and(Vec::is_empty);
        if !rule[key].is_null() && !empty {
            plain[key] = rule[key].clone();
        }
    }
    plain
}

/// The first two numbers of `6.1.0-49-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
pub(in crate::adapters) mod tests {
    use super::*;

    /// A file with one rule of each kind.
    pub(in crate::adapters) fn small() -> Profile {
        let file = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 38,
            "archMap": [
                {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
                {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
            ],
            "syscalls": [
                {"names": ["read", "socket", "msgget"], "action": "SCMP_ACT_ALLOW", "args": [], "includes": {}, "excludes": {}},
                {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "x32"]}},
                {"names": ["arm_fadvise64_64"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm", "arm64"]}},
                {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
                {"names": ["later"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.2"}},
                {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
                {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            ],
        });
        Profile { file, machine: "x86_64", kernel: (6, 1) }
    }

    fn names(process: &Process, network: NetworkMode) -> Vec<String> {
        let filter = small().filter(process, network);
        let names = list(&filter, "syscalls").flat_map(|rule| list(rule, "names"));
        names.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    #[test]
    fn the_rules_that_apply() {
        let plain = Process::default();
        assert_eq!(
            names(&plain, NetworkMode::None),
            ["read", "socket", "msgget", "arch_prctl", "ptrace", "clone3"]
        );
        let filter = small().filter(&plain, NetworkMode::None);
        assert_eq!(filter["architectures"], json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]));
        assert_eq!(filter["syscalls"][0].get("args"), None);
        assert_eq!(
            (&filter["syscalls"][3]["errnoRet"], &filter["defaultErrnoRet"]),
            (&json!(38), &json!(38))
        );
        let admin = Process { capabilities: vec!["CAP_SYS_ADMIN".into()], ..Process::default() };
        assert_eq!(
            names(&admin, NetworkMode::None),
            ["read", "socket", "msgget", "arch_prctl", "ptrace", "mount"]
        );
    }

    #[test]
    fn what_the_policy_adds_and_takes_away() {
        let mut process = Process { nested_namespaces: true, ..Process::default() };
        process.syscalls.deny = vec!["ptrace".into(), "clone3".into()];
        process.syscalls.allow = vec!["bpf".into()];
        let rest = ["bpf", "clone", "clone3", "setns", "unshare"];
        let all: Vec<&str> = ["read", "socket", "msgget", "arch_prctl"].into_iter().chain(rest).collect();
        assert_eq!(names(&process, NetworkMode::None), all);
        let mut strict = Process::default();
        strict.syscalls.profile = SyscallProfile::Strict;
        assert_eq!(names(&strict, NetworkMode::Open), ["read", "socket", "arch_prctl", "ptrace", "clone3"]);
        let filter = small().filter(&strict, NetworkMode::None);
        let last = filter["syscalls"].as_array().and_then(|rules| rules.last().cloned()).expect("rules");
        assert_eq!((&last["names"][0], &last["args"][0]["value"]), (&json!("socket"), &json!(1)));
    }

    #[test]
    fn the_one_of_docker_lets_nobody_make_namespaces() {
        let file = serde_json::from_str(FILE).expect("JSON");
        let profile = Profile { file, machine: "x86_64", kernel: (6, 1) };
        let filter = profile.filter(&Process::default(), NetworkMode::None);
        let rules = |name: &str| -> Vec<Value> {
            let all = list(&filter, "syscalls").filter(|rule| list(rule, "names").any(|one| one == name));
            all.cloned().collect()
        };
        assert_eq!((rules("unshare"), rules("mount"), rules("read").len()), (vec![], vec![], 1));
        assert_eq!(rules("clone").len(), 1);
        assert!(rules("clone")[0]["args"].is_array());
        assert_eq!(rules("clone3")[0]["action"], "SCMP_ACT_ERRNO");
    }

    #[test]
    fn numbers_of_kernels() {
        assert_eq!(version("6.1.0-49-amd64"), Some((6, 1)));
        assert_eq!(version("4.8"), Some((4, 8)));
        assert_eq!(version("linux"), None);
    }
}

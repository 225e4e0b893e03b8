//! Mutants of a plan: the plan with one protective thing left out or weakened. Pure, over JSON.
//!
//! The suite knows a plan only as data that the runtime printed, never as the runtime's types. A step of a kind that
//! this file does not know is dropped too: a new protection has mutants from the day it exists.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{Fault, network, widen};

/// One mutant.
#[derive(Clone, Debug, PartialEq)]
pub struct Mutant {
    /// What was done to the plan: `drop mask_path /proc/kcore`, `weaken seccomp ioctl: allow`.
    pub name: String,
    /// The mutated plan.
    pub plan: Value,
    /// The groups of the catalogue whose probes are most likely to notice; they are tried first.
    pub groups: &'static [&'static str],
    /// Patterns over the probes that must notice it; they are tried before all others.
    pub killers: &'static [&'static str],
    /// What the mutant is about, where that tells which probes can notice it at all.
    pub about: About,
    /// What the supervisor does wrong, where that is the mutation: the plan is then as it was.
    pub fault: Option<Fault>,
    /// Whether it takes something from the workload: only what must work can notice that.
    pub gives_less: bool,
    /// The bug of a real system that it is.
    pub origin: Option<&'static str>,
}

impl Mutant {
    /// Whether a run under it keeps a time that the case gives.
    pub fn keeps_time(&self) -> bool {
        self.about != About::WallTime
    }
}

/// What a mutant is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// The whole step.
    Step,
    /// It lets this system call through.
    Call(String),
    /// It leaves this filter guard open: `foreign_arch`, `x32` or `unknown`.
    Guard(&'static str),
    /// It leaves out what is mounted below this path of the host.
    Submounts(String),
    /// It shows this path of the host writable.
    ReadOnly(String),
    /// It leaves out a control group for this alone, or for several things.
    Group(Option<String>),
    /// It raises what is written to this file of a control group.
    GroupFile(String),
    /// It gives a run all the time it wants.
    WallTime,
    /// It leaves out a route that refuses what lies in this range.
    Prohibited(IpNet),
    /// Nothing: why it makes no difference under this plan.
    Nothing(&'static str),
}

impl About {
    /// Whether it is about the control group that limits processes, and about nothing else.
    pub fn is_of_processes(&self) -> bool {
        match self {
            Self::Group(Some(controller)) => controller == "pids",
            Self::GroupFile(file) => file == "pids.max",
            _ => false,
        }
    }
}

/// Steps that give the workload something and so protect nothing: without one, less can be reached. They are weakened
/// only.
const GIVING: &[&str] = &[
    "add_address",
    "listen",
    "listen_transparent",
    "load_ruleset",
    "serve_egress",
    "loopback_up",
    "make_directory",
    "make_file",
    "make_link",
    "mount_bind",
    "mount_copy",
    "mount_devpts",
    "mount_overlay",
    "mount_proc",
    "mount_tmpfs",
    "mount_workspace",
];

/// More than any probe makes.
const MANY_FILES: u64 = 1 << 24;

/// The groups that look at what a kind of step does.
fn groups(kind: &str) -> &'static [&'static str] {
    match kind {
        "join_cgroup" | "watch_cpu_time" => &["res"],
        "new_namespaces" => &["ns", "proc", "ipc", "net", "ps"],
        "map_ids" | "set_ids" | "clear_groups" => &["cap", "ns", "fs"],
        "close_descriptors" => &["fd"],
        "wipe_arguments" => &["env", "proc"],
        "set_hostname" => &["ns"],
        "loopback_up" => &["net", "work"],
        "add_address" | "add_route" | "listen" | "listen_transparent" | "open_raw" | "load_ruleset"
        | "serve_egress" => &["net", "dns"],
        "private_mounts" | "new_root" | "pivot_root" | "seal_mount" => &["mnt", "fs"],
        "mount_tmpfs" => &["res", "fs", "mnt", "work"],
        "mount_bind" => &["fs", "mnt", "work"],
        "mount_proc" | "protect_path" | "mask_path" => &["proc", "fs", "mnt"],
        "pin_path" | "make_placeholder" | "mount_workspace" | "mount_overlay" | "mount_copy"
        | "close_workspace" => &["fs", "mnt"],
        "mount_devpts" => &["tty", "dev", "work"],
        "forbid_user_namespaces" => &["ns"],
        "new_session" => &["tty", "ps"],
        "limit" => &["ps", "res"],
        "not_dumpable" => &["ps", "xmem", "proc"],
        "drop_bounding_set" | "no_new_privileges" | "drop_capabilities" => &["cap"],
        "restrict_landlock" => &["dev", "tty", "fs"],
        "install_seccomp" => {
            &["sys", "mnt", "uring", "key", "kern", "ns", "xmem", "tty", "net", "time", "ps", "fs", "ipc"]
        }
        _ => &[],
    }
}

/// The groups that look at what one namespace keeps apart.
fn alone(namespace: &str) -> &'static [&'static str] {
    match namespace {
        "pid" => &["ps", "life"],
        "network" => &["net", "ipc", "life"],
        _ => &["ns"],
    }
}

/// All mutants of a plan, in the order of its steps, then those of what it starts the workload with. `caller` is the
/// environment of the one who starts the runtime.
///
/// # Errors
/// When `plan` has not the shape of a plan: `steps`, each with `step`, an object of one key; `directory`;
/// `environment`.
pub fn all(plan: &Value, caller: &BTreeMap<String, String>) -> Result<Vec<Mutant>, String> {
    let mut mutants = Vec::new();
    for at in sites(plan)? {
        if !at.is_giving() {
            mutants.push(at.dropped());
        }
        at.weakened(&mut mutants);
    }
    let own = plan.get("environment").and_then(Value::as_object).ok_or("the plan has no environment")?;
    let mut environment = own.clone();
    environment.extend(caller.iter().map(|(name, value)| (name.clone(), value.as_str().into())));
    let mut start: Vec<(&str, &str, Value, &[&str])> = vec![
        ("environment", "the caller's", environment.into(), &["env"]),
        ("directory", "/", "/".into(), &["work"]),
    ];
    if plan.get("terminal") == Some(&Value::Bool(true)) {
        start.push(("terminal", "none", false.into(), &["tty"]));
    }
    for (key, what, value, groups) in start {
        let mut plan = plan.clone();
        let place = plan.get_mut(key).ok_or_else(|| format!("the plan has no {key}"))?;
        *place = value;
        let name = format!("weaken {key}: {what}");
        mutants.push(Mutant {
            name,
            plan,
            groups,
            about: About::Step,
            fault: None,
            gives_less: false,
            origin: None,
            killers: &[],
        });
    }
    // Where the plan has none, the cases give one.
    let mut untimed = plan.clone();
    untimed.as_object_mut().map(|plan| plan.remove("wall_time"));
    mutants.push(Mutant {
        name: "drop wall_time".to_owned(),
        plan: untimed,
        groups: &["res", "life"],
        about: About::WallTime,
        fault: None,
        gives_less: false,
        origin: None,
        killers: &[],
    });
    mutants.extend(Fault::ALL.iter().map(|&fault| Mutant {
        name: format!("fault: the supervisor {fault}"),
        plan: plan.clone(),
        groups: fault.groups(),
        about: About::Step,
        fault: Some(fault),
        gives_less: false,
        origin: None,
        killers: &[],
    }));
    mutants.extend(network::all(plan)?);
    Ok(mutants)
}

/// The last of the mutants that do the same to the same kind of step: one mask, one writable bind mount, one call that is
/// let through.
pub fn sample(mutants: Vec<Mutant>) -> Vec<Mutant> {
    let of_kind = |mutant: &Mutant| {
        let (step, what) = mutant.name.split_once(": ").unwrap_or((&mutant.name, ""));
        let kind: Vec<&str> = step.split(' ').take(2).collect();
        // Which call it is about is the operand of a filter, what the supervisor does the kind of a fault.
        let what = if matches!(mutant.about, About::Call(_)) { "call" } else { what };
        (kind.join(" "), what.to_owned())
    };
    let last: BTreeMap<_, usize> =
        mutants.iter().enumerate().map(|(number, mutant)| (of_kind(mutant), number)).collect();
    let kept: BTreeSet<usize> = last.into_values().collect();
    let numbered = mutants.into_iter().enumerate();
    numbered.filter(|(number, _)| kept.contains(number)).map(|(_, mutant)| mutant).collect()
}

/// What makes a sandbox do less than its plan: each step that gives something left out, each call refused that the filter
/// lets through. Nobody promises to notice each of them; a probe of what must work has to notice one.
///
/// # Errors
/// As [`all`].
pub fn withheld(plan: &Value) -> Result<Vec<Mutant>, String> {
    let mut mutants = Vec::new();
    for at in sites(plan)? {
        if at.is_giving() {
            let name = format!("withhold {}", at.label());
            mutants.push(Mutant { name, gives_less: true, ..at.dropped() });
        }
        if at.kind == "install_seccomp" {
            at.stricter_filter(&mut mutants);
        }
    }
    Ok(mutants)
}

fn sites(plan: &Value) -> Result<Vec<Site<'_>>, String> {
    let steps = plan.get("steps").and_then(Value::as_array).ok_or("the plan has no list of steps")?;
    let mut sites = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let body = step.get("step").and_then(Value::as_object).filter(|body| body.len() == 1);
        let Some((kind, operands)) = body.and_then(|body| body.iter().next()) else {
            return Err(format!("step {index} is not an object of one key: {step}"));
        };
        sites.push(Site { plan, index, kind, operands });
    }
    Ok(sites)
}

/// One step of the plan.
struct Site<'a> {
    plan: &'a Value,
    index: usize,
    kind: &'a str,
    operands: &'a Value,
}

impl Site<'_> {
    fn is_giving(&self) -> bool {
        // A route delivers, or refuses what a broader one would deliver.
        let delivers = self.kind == "add_route" && self.operands.get("kind") == Some(&"local".into());
        delivers || GIVING.contains(&self.kind)
    }

    fn dropped(&self) -> Mutant {
        let mut plan = self.plan.clone();
        if let Some(steps) = plan.get_mut("steps").and_then(Value::as_array_mut) {
            steps.remove(self.index);
        }
        let about = match (self.kind, self.operands.get("controllers").and_then(Value::as_array)) {
            ("join_cgroup", Some(controllers)) => About::Group(match controllers.as_slice() {
                [one] => one.as_str().map(str::to_owned),
                _ => None,
            }),
            // One that delivers is never left out as a protection.
            ("add_route", _) => match self.range() {
                Some(net) => widen::never_met(&net).map_or(About::Prohibited(net), About::Nothing),
                None => About::Step,
            },
            _ => About::Step,
        };
        self.mutant(format!("drop {}", self.label()), plan, about)
    }

    /// The range of a route.
    fn range(&self) -> Option<IpNet> {
        self.operands.get("net")?.as_str()?.parse().ok()
    }

    /// The kind of the step and the operand that tells it from others of its kind.
    fn label(&self) -> String {
        if self.kind == "join_cgroup" {
            let words = |key: &str| match self.operands.get(key) {
                Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
                word => word.and_then(Value::as_str).into_iter().collect::<Vec<_>>(),
            };
            return [vec![self.kind], words("version"), words("controllers")].concat().join(" ");
        }
        let operand = ["path", "resource", "name", "net", "address"]
            .iter()
            .find_map(|key| self.operands.get(*key)?.as_str());
        operand.map_or_else(|| self.kind.to_owned(), |operand| format!("{} {operand}", self.kind))
    }

    fn mutant(&self, name: String, plan: Value, about: About) -> Mutant {
        Mutant {
            name,
            plan,
            groups: groups(self.kind),
            about,
            fault: None,
            gives_less: false,
            origin: None,
            killers: &[],
        }
    }

    /// The plan with `value` at `pointer` below this step's operands.
    fn with(&self, what: &str, pointer: &str, value: Value, about: About) -> Mutant {
        let mut plan = self.plan.clone();
        let pointer = format!("/steps/{}/step/{}{pointer}", self.index, self.kind);
        if let Some(place) = plan.pointer_mut(&pointer) {
            *place = value;
        }
        self.mutant(format!("weaken {}: {what}", self.label()), plan, about)
    }

    fn weakened(&self, mutants: &mut Vec<Mutant>) {
        if let Some(attributes) = self.operands.get("attributes").and_then(Value::as_object) {
            for (flag, _) in attributes.iter().filter(|(_, set)| **set == Value::Bool(true)) {
                let pointer = format!("/attributes/{flag}");
                let source = self.operands.get("source").and_then(Value::as_str);
                let about = match source.filter(|_| flag == "read_only") {
                    Some(source) => About::ReadOnly(source.to_owned()),
                    None => About::Step,
                };
                mutants.push(self.with(&format!("not {flag}"), &pointer, Value::Bool(false), about));
            }
        }
        if self.operands.get("recursive") == Some(&Value::Bool(true)) {
            let source = self.operands.get("source").and_then(Value::as_str).unwrap_or_default().to_owned();
            let about = About::Submounts(source);
            mutants.push(self.with("not recursive", "/recursive", Value::Bool(false), about));
        }
        match self.kind {
            "new_namespaces" => self.fewer_namespaces(mutants),
            "map_ids" => {
                for id in ["uid", "gid"] {
                    let pointer = format!("/{id}/outside");
                    mutants.push(self.with(&format!("{id} 0 outside"), &pointer, 0.into(), About::Step));
                }
            }
            "drop_bounding_set" | "drop_capabilities" => {
                let kept = Value::from(vec!["CAP_SYS_ADMIN"]);
                mutants.push(self.with("keep CAP_SYS_ADMIN", "/keep", kept, About::Step));
            }
            "mount_tmpfs" => {
                mutants.push(self.with("64 GiB", "/size", (64_u64 << 30).into(), About::Step));
                if self.operands.get("inodes").is_some_and(Value::is_u64) {
                    mutants.push(self.with("any number of files", "/inodes", MANY_FILES.into(), About::Step));
                }
                mutants.extend(self.the_hosts());
            }
            "mount_workspace" => {
                mutants.push(self.with("64 GiB", "/size", (64_u64 << 30).into(), About::Step));
                mutants.push(self.with("any number of files", "/inodes", MANY_FILES.into(), About::Step));
            }
            "mount_proc" | "mount_devpts" | "mount_overlay" | "mount_copy" => {
                mutants.extend(self.the_hosts())
            }
            "install_seccomp" => self.weaker_filter(mutants),
            "limit" => mutants.extend(self.higher("/value", About::Step)),
            "watch_cpu_time" => mutants.extend(self.higher("/limit/secs", About::Step)),
            "join_cgroup" => {
                let files = self.operands.get("limits").and_then(Value::as_object);
                for file in files.into_iter().flat_map(serde_json::Map::keys) {
                    let about = About::GroupFile(file.clone());
                    mutants.extend(self.higher(&format!("/limits/{file}"), about));
                }
            }
            _ => {}
        }
    }

    /// The file system of the host at the same place, instead of one of the sandbox's own.
    fn the_hosts(&self) -> Option<Mutant> {
        let path = self.operands.get("path")?;
        let attributes = json!({"read_only": false, "nosuid": true, "nodev": false, "noexec": false});
        let mut bind = json!({"source": path, "path": path, "attributes": attributes, "recursive": true});
        if let (Some(idmap), Some(bind)) = (self.operands.get("idmap"), bind.as_object_mut()) {
            bind.insert("idmap".to_owned(), idmap.clone());
        }
        let mut plan = self.plan.clone();
        *plan.pointer_mut(&format!("/steps/{}/step", self.index))? = json!({ "mount_bind": bind });
        Some(self.mutant(format!("weaken {}: the host's", self.label()), plan, About::Step))
    }

    /// The plan with a thousand times the number at `pointer`, or the first number of the text there.
    fn higher(&self, pointer: &str, about: About) -> Option<Mutant> {
        const TIMES: u64 = 1000;
        // The kernel's numbers are signed.
        let more = |number: u64| number.saturating_mul(TIMES).min(i64::MAX.unsigned_abs());
        let value = self.operands.pointer(pointer)?;
        let higher = match value {
            Value::String(text) => {
                let (first, rest) = text.split_once(' ').map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
                let first = more(first.parse().ok()?).to_string();
                Value::from(rest.map_or_else(|| first.clone(), |rest| format!("{first} {rest}")))
            }
            number => more(number.as_u64()?).into(),
        };
        let what = format!("{} x{TIMES}", pointer.rsplit('/').next().unwrap_or_default());
        (higher != *value).then(|| self.with(&what, pointer, higher, about))
    }

    fn fewer_namespaces(&self, mutants: &mut Vec<Mutant>) {
        let Some(all) = self.operands.get("namespaces").and_then(Value::as_array) else { return };
        for (index, name) in all.iter().enumerate() {
            let mut fewer = all.clone();
            fewer.remove(index);
            let what = format!("without {}", name.as_str().unwrap_or("one"));
            mutants.push(self.with(&what, "/namespaces", fewer.into(), About::Step));
            mutants.extend(self.without_all_of(name.as_str().unwrap_or_default()));
        }
    }

    /// Without a namespace, without the steps that could not be done then, and without the scopes of Landlock, which begin
    /// with its ABI 6 and keep the same things apart. Without the namespace alone such a step fails, and nothing runs; what
    /// the namespace is for shows only where nothing else is in the way.
    fn without_all_of(&self, namespace: &str) -> Option<Mutant> {
        let (what, needs): (&str, fn(&str, &str) -> bool) = match namespace {
            "pid" => ("and without /proc", |kind, path| {
                kind == "forbid_user_namespaces" || path == "/proc" || path.starts_with("/proc/")
            }),
            // Of a plan that lets something out, see there.
            "network" if network::lets_out(self.plan) => return None,
            "network" => ("and without loopback", |kind, _| kind == "loopback_up"),
            "uts" => ("and without a name", |kind, _| kind == "set_hostname"),
            _ => return None,
        };
        let mut plan = self.plan.clone();
        let namespaces = plan.pointer_mut(&format!("/steps/{}/step/{}/namespaces", self.index, self.kind))?;
        namespaces.as_array_mut()?.retain(|name| name != namespace);
        let steps = plan.get_mut("steps")?.as_array_mut()?;
        without_scopes(steps);
        steps.retain(|step| {
            let body = step.get("step").and_then(Value::as_object).and_then(|body| body.iter().next());
            let path = |operands: &Value| operands.get("path")?.as_str().map(str::to_owned);
            body.is_none_or(|(kind, operands)| {
                // A directory to mount on takes nothing from anybody.
                kind == "make_directory" || !needs(kind, &path(operands).unwrap_or_default())
            })
        });
        let name = format!("weaken {}: without {namespace}, {what}", self.label());
        Some(Mutant { groups: alone(namespace), ..self.mutant(name, plan, About::Step) })
    }

    fn stricter_filter(&self, mutants: &mut Vec<Mutant>) {
        let Some(rules) = self.operands.pointer("/profile/rules").and_then(Value::as_object) else { return };
        let refuse = || Value::from("EPERM");
        // Whoever tries a newer call first and hears anything but ENOSYS does not fall back.
        for guard in ["x32", "unknown"] {
            let refused = self.with("", &format!("/profile/{guard}"), refuse(), About::Guard(guard));
            let name = format!("withhold {}: ENOSYS, {guard}", self.label());
            mutants.push(Mutant { name, gives_less: true, ..refused });
        }
        for (call, _) in rules.iter().filter(|(_, rule)| **rule != refuse() && **rule != "ENOSYS") {
            let pointer = format!("/profile/rules/{call}");
            let refused = self.with("", &pointer, refuse(), About::Call(call.clone()));
            let name = format!("withhold {}: {call}", self.label());
            mutants.push(Mutant { name, gives_less: true, ..refused });
        }
    }

    fn weaker_filter(&self, mutants: &mut Vec<Mutant>) {
        let allow = || Value::from("allow");
        for guard in ["foreign_arch", "x32", "unknown"] {
            mutants.push(self.with(
                &format!("{guard} allow"),
                &format!("/profile/{guard}"),
                allow(),
                About::Guard(guard),
            ));
        }
        let Some(rules) = self.operands.pointer("/profile/rules").and_then(Value::as_object) else { return };
        for (call, rule) in rules {
            if *rule == allow() {
                continue;
            }
            let pointer = format!("/profile/rules/{call}");
            mutants.push(self.with(&format!("{call} allow"), &pointer, allow(), About::Call(call.clone())));
            let cases = rule.get("cases").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let refuses = |case: &&Value| case.get("then") != Some(&allow());
            // A case that refuses means something only where the rest allows.
            if rule.get("otherwise") == Some(&allow()) && cases.len() > 1 {
                for (number, case) in cases.iter().enumerate().filter(|(_, case)| refuses(case)) {
                    let about = case.get("about").and_then(Value::as_str).unwrap_or_default();
                    let pointer = format!("{pointer}/cases/{number}/then");
                    let what = format!("{call} allow: {about}");
                    mutants.push(self.with(&what, &pointer, allow(), About::Call(call.clone())));
                }
            }
        }
    }
}

/// The steps without the scopes of Landlock.
pub(super) fn without_scopes(steps: &mut [Value]) {
    for abi in steps.iter_mut().filter_map(|step| step.pointer_mut("/step/restrict_landlock/abi")) {
        *abi = abi.as_u64().map_or(0, |abi| abi.min(5)).into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Value {
        json!({"version": 1, "directory": "/work", "environment": {"PATH": "/bin"}, "steps": [
            {"serves": "process", "step": {"new_namespaces": {"namespaces": ["user", "pid"]}}},
            {"serves": "filesystem", "step": {"make_directory": {"path": "/opt", "mode": 493}}},
            {"serves": "filesystem", "step": {"mount_bind": {"source": "/usr", "path": "/usr", "recursive": true,
                "attributes": {"read_only": true, "nosuid": true, "nodev": false, "noexec": false}}}},
            {"serves": "filesystem", "step": {"mask_path": {"path": "/proc/kcore"}}},
            {"serves": "process", "step": {"drop_capabilities": {"keep": []}}},
            {"serves": "process", "step": {"install_seccomp": {"profile": {
                "arch": "x86_64", "foreign_arch": "EPERM", "x32": "EPERM", "unknown": "ENOSYS",
                "rules": {"read": "allow", "mount": "EPERM", "ioctl": {"otherwise": "allow", "cases": [
                    {"about": "TIOCSTI", "if": [], "then": "EPERM"}, {"about": "SIOCGSKNS", "if": [], "then": "EPERM"}]}}}}}},
            {"serves": "process", "step": {"something_new": {}}},
            {"serves": "resources", "step": {"join_cgroup": {"version": "v2", "controllers": ["memory", "cpu"],
                "parent": "/sys/fs/cgroup", "limits": {"memory.max": "4096", "memory.swap.max": "0",
                "cpu.max": "50000 100000"}}}},
            {"serves": "resources", "step": {"watch_cpu_time": {"limit": {"secs": 3, "nanos": 0}}}},
            {"serves": "resources", "step": {"limit": {"resource": "core", "value": 0}}},
            {"serves": "resources", "step": {"limit": {"resource": "processes", "value": 65}}},
        ], "wall_time": {"secs": 5, "nanos": 0}})
    }

    fn caller() -> BTreeMap<String, String> {
        [("TOKEN".to_owned(), "secret".to_owned())].into()
    }

    #[test]
    fn the_callers_environment_comes_on_top_of_the_plans() {
        let mutants = all(&plan(), &caller()).unwrap();
        let mutant = mutants.iter().find(|mutant| mutant.name == "weaken environment: the caller's").unwrap();
        assert_eq!(mutant.plan["environment"], json!({"PATH": "/bin", "TOKEN": "secret"}));
    }

    #[test]
    fn every_protection_is_left_out_or_weakened_once() {
        let names: Vec<String> =
            all(&plan(), &caller()).unwrap().into_iter().map(|mutant| mutant.name).collect();
        insta::assert_snapshot!(names.join("\n"));
    }

    #[test]
    fn a_sample_has_one_of_each_kind() {
        let names: Vec<String> =
            sample(all(&plan(), &caller()).unwrap()).into_iter().map(|mutant| mutant.name).collect();
        let of = |part: &str| names.iter().filter(|name| name.contains(part)).collect::<Vec<_>>();
        assert_eq!(of("drop limit"), ["drop limit processes"]);
        assert_eq!(of("install_seccomp").len(), 5, "dropped, three guards, one call: {names:?}");
        assert_eq!(of("fault: ").len(), Fault::ALL.len());
        assert_eq!(of("without ").len(), 3, "each namespace is another kind: {names:?}");
    }

    #[test]
    fn every_mutant_differs_from_the_plan_and_from_the_others() {
        let mutants = all(&plan(), &caller()).unwrap();
        for (index, mutant) in mutants.iter().enumerate() {
            let same = |other: &Mutant| (&other.plan, other.fault) == (&mutant.plan, mutant.fault);
            assert!(mutant.fault.is_some() || mutant.plan != plan(), "{}", mutant.name);
            assert!(!mutants[..index].iter().any(same), "{}", mutant.name);
            assert!(mutants[..index].iter().all(|other| other.name != mutant.name), "{}", mutant.name);
        }
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        assert!(all(&json!({}), &caller()).is_err());
        assert!(all(&json!({"steps": [{"step": {"a": {}, "b": {}}}]}), &caller()).is_err());
    }
}

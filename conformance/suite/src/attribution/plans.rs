//! Plans with some layers of a sandbox and not the others. Pure, over JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Layer;
use crate::run::planned::{set, without};

/// What an isolated layer is put upon: an operation can be seen to be stopped by a layer only where it is permitted without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ground {
    /// A user namespace with every capability in it, as the user of the lab.
    Plain,
    /// The same with namespaces of its own, but the network's: over these the capabilities count.
    Owner,
    /// The same with a network namespace of its own, and nothing in it.
    NetworkOwner,
}

impl Ground {
    /// Every ground, the poorest first.
    pub(super) const ALL: [Self; 3] = [Self::Plain, Self::Owner, Self::NetworkOwner];

    const fn namespaces(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &[],
            Self::Owner => &["mount", "pid", "ipc", "uts", "cgroup"],
            Self::NetworkOwner => &["mount", "pid", "ipc", "uts", "cgroup", "network"],
        }
    }
}

/// The layer that a step belongs to; nothing for what every plan has, the user namespace and the id inside.
fn layer(kind: &str) -> Option<Layer> {
    Some(match kind {
        "set_hostname" | "forbid_user_namespaces" => Layer::Namespaces,
        "clear_groups" => Layer::Identity,
        "drop_bounding_set" | "no_new_privileges" | "drop_capabilities" => Layer::Capabilities,
        "install_seccomp" => Layer::Seccomp,
        "restrict_landlock" => Layer::Landlock,
        "loopback_up" | "add_address" | "add_route" | "listen" | "listen_transparent" | "open_raw"
        | "load_ruleset" | "attach_link" | "link_up" | "serve_egress" => Layer::Network,
        "join_cgroup" | "watch_cpu_time" | "limit" => Layer::Limits,
        "close_descriptors" | "wipe_arguments" | "new_session" | "not_dumpable" => Layer::Start,
        "new_namespaces" | "map_ids" | "set_ids" => return None,
        _ => Layer::Mounts,
    })
}

/// The layers that serve a clause: those of the steps that name it, and those that it is about, where another clause's step does
/// the work for it.
pub(super) fn owed(plan: &Value, clause: &str) -> BTreeSet<Layer> {
    let about: &[Layer] = match clause.split('.').collect::<Vec<_>>().as_slice() {
        ["environment", ..] => &[Layer::Start],
        // What a session does not keep from the terminal, the filter does: TIOCSTI (ioctl_tty(2)).
        ["process", "terminal"] => &[Layer::Start, Layer::Seccomp],
        ["filesystem", ..] => &[Layer::Mounts, Layer::Landlock],
        // A network namespace does not confine every family of sockets (vsock(7)): the filter refuses those.
        ["network", ..] => &[Layer::Network, Layer::Seccomp],
        ["resources", ..] => &[Layer::Limits],
        ["process", "identity"] => &[Layer::Namespaces, Layer::Identity],
        ["process", "nested_namespaces"] => &[Layer::Namespaces, Layer::Seccomp],
        // Privilege is of two kinds, capabilities and ids (credentials(7)).
        ["process", "capabilities"] => &[Layer::Capabilities, Layer::Identity],
        ["process", "syscalls"] => &[Layer::Seccomp],
        _ => &[],
    };
    let naming = steps(plan).filter(|(_, serves)| *serves == clause).filter_map(|(kind, _)| layer(kind));
    naming.chain(about.iter().copied()).collect()
}

fn steps(plan: &Value) -> impl Iterator<Item = (&str, &str)> {
    plan.get("steps").and_then(Value::as_array).into_iter().flatten().filter_map(|step| {
        let kind = step.get("step")?.as_object()?.keys().next()?;
        Some((kind.as_str(), step.get("serves")?.as_str()?))
    })
}

/// The namespaces that the plan makes.
fn namespaces(plan: &Value) -> BTreeSet<&str> {
    let all = plan.get("steps").and_then(Value::as_array).into_iter().flatten();
    let named = all.filter_map(|step| step.pointer("/step/new_namespaces/namespaces")?.as_array());
    named.flatten().filter_map(Value::as_str).collect()
}

/// What of the lab stands in for what a layer leaves out.
pub(super) struct Lab {
    /// The environment of whoever starts the runtime: without [`Layer::Start`] the workload has it too.
    pub(super) caller: BTreeMap<String, String>,
    /// Where the lab's procfs is mounted once more: without a pid namespace there is no other.
    pub(super) proc: PathBuf,
    /// Whether an ordinary user runs this, who can map no id but their own: the layer of identity is then always there.
    pub(super) rootless: bool,
    /// What lies in the root directory: directories, and links with their targets.
    pub(super) root: Vec<(PathBuf, Option<PathBuf>)>,
}

impl Lab {
    /// Steps that show the lab's whole tree, as it is, in a new root.
    fn tree(&self) -> Vec<Value> {
        let serves = |step: Value| json!({"serves": "filesystem.base", "step": step});
        let mut steps = Vec::new();
        for (path, target) in &self.root {
            if let Some(target) = target {
                steps.push(serves(json!({"make_link": {"path": path, "target": target}})));
                continue;
            }
            let source = if path == Path::new("/proc") { &self.proc } else { path };
            let attributes = json!({"read_only": false, "nosuid": false, "nodev": false, "noexec": false});
            steps.push(serves(json!({"make_directory": {"path": path, "mode": 0o755}})));
            let bind = json!({"source": source, "path": path, "attributes": attributes, "recursive": true});
            steps.push(serves(json!({"mount_bind": bind})));
        }
        steps
    }
}

/// The plan with these layers alone, upon this ground.
pub(super) fn only(plan: &Value, ground: Ground, layers: &BTreeSet<Layer>, lab: &Lab) -> Value {
    let mut kept: BTreeSet<&str> = ground.namespaces().iter().copied().collect();
    for layer in layers {
        kept.extend(match layer {
            Layer::Namespaces => &["mount", "pid", "ipc", "uts", "cgroup"][..],
            Layer::Mounts | Layer::Landlock => &["mount"],
            Layer::Network => &["network"],
            _ => &[],
        });
    }
    build(plan, &kept, layers, lab)
}

/// The whole plan but for these layers.
pub(super) fn all_but(plan: &Value, layers: &BTreeSet<Layer>, lab: &Lab) -> Value {
    let mut kept = namespaces(plan);
    kept.retain(|name| match *name {
        "user" | "mount" => true,
        "network" => !layers.contains(&Layer::Network),
        _ => !layers.contains(&Layer::Namespaces),
    });
    let layers = Layer::ALL.into_iter().filter(|layer| !layers.contains(layer)).collect();
    build(plan, &kept, &layers, lab)
}

fn build(plan: &Value, kept: &BTreeSet<&str>, layers: &BTreeSet<Layer>, lab: &Lab) -> Value {
    let has = |layer: Layer| layers.contains(&layer);
    let plan = &with_private_mounts(plan);
    let mut built = if has(Layer::Mounts) {
        plan.clone()
    } else {
        // Landlock's rules name places of a new root, and the sysctl of namespaces is a file of its procfs.
        with_tree(plan, lab, has(Layer::Landlock) || has(Layer::Namespaces))
    };
    built = without(&built, |kind, _| {
        let weakened = matches!(kind, "drop_bounding_set" | "drop_capabilities");
        // Controls speak over loopback.
        let ground = weakened || (kind == "loopback_up" && kept.contains("network"));
        !ground && layer(kind).is_some_and(|layer| layer != Layer::Mounts && !has(layer))
    });
    let order = ["user", "mount", "pid", "network", "ipc", "uts", "cgroup"];
    let own = namespaces(plan);
    let list: Vec<&str> = order
        .into_iter()
        .filter(|name| *name == "user" || (kept.contains(name) && own.contains(name)))
        .collect();
    set(&mut built, "new_namespaces", "/namespaces", &json!(list));
    if !has(Layer::Capabilities) {
        for kind in ["drop_bounding_set", "drop_capabilities"] {
            set(&mut built, kind, "/keep", &palisade_policy::capability::NAMES.to_vec().into());
        }
    }
    if !has(Layer::Identity) && !lab.rootless {
        for id in ["/uid/outside", "/gid/outside"] {
            set(&mut built, "map_ids", id, &0.into());
        }
    }
    if !list.contains(&"pid") {
        host_proc(&mut built, &lab.proc);
    }
    if !list.contains(&"uts") {
        built = without(&built, |kind, _| kind == "set_hostname");
    }
    if !list.contains(&"network") {
        built = without(&built, |kind, _| layer(kind) == Some(Layer::Network));
    }
    if !has(Layer::Start)
        && let Some(environment) = built.get_mut("environment").and_then(Value::as_object_mut)
    {
        environment.extend(lab.caller.iter().map(|(name, value)| (name.clone(), value.as_str().into())));
    }
    built
}

/// What the plan of an ordinary user has: a plan whose supervisor is root copies trees before the sandbox is there, and does not need
/// it as long as the ids differ.
fn with_private_mounts(plan: &Value) -> Value {
    let mut plan = plan.clone();
    let has_some = steps(&plan).any(|(kind, _)| kind == "private_mounts");
    let at = steps(&plan).position(|(kind, _)| kind == "new_root");
    if let (false, Some(at), Some(all)) = (has_some, at, plan.get_mut("steps").and_then(Value::as_array_mut))
    {
        all.insert(at, json!({"serves": "filesystem.base", "step": {"private_mounts": {}}}));
    }
    plan
}

/// A procfs can be mounted only for a pid namespace of one's own (`proc_init_fs_context`, fs/proc/root.c): without one, the
/// lab's is shown in its place. Not from /proc itself: the launcher makes the new root there.
fn host_proc(plan: &mut Value, proc: &Path) {
    for step in plan.get_mut("steps").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(body) = step.get_mut("step").and_then(Value::as_object_mut) else { continue };
        let Some(mut operands) = body.remove("mount_proc") else { continue };
        if let Some(operands) = operands.as_object_mut() {
            operands.insert("source".to_owned(), proc.display().to_string().into());
            operands.insert("recursive".to_owned(), true.into());
        }
        body.insert("mount_bind".to_owned(), operands);
    }
}

/// The plan with the lab's whole tree in the new root instead of what the policy shows there; or without a new root.
fn with_tree(plan: &Value, lab: &Lab, tree: bool) -> Value {
    let mut plan = plan.clone();
    let Some(steps) = plan.get_mut("steps").and_then(Value::as_array_mut) else { return plan };
    for step in std::mem::take(steps) {
        let kind = step.get("step").and_then(Value::as_object).and_then(|body| body.keys().next());
        match kind.map(String::as_str) {
            Some("new_root") if tree => {
                steps.push(step);
                steps.extend(lab.tree());
            }
            Some("pivot_root") if tree => steps.push(step),
            Some(kind) if layer(kind) == Some(Layer::Mounts) => {}
            _ => steps.push(step),
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Value {
        json!({"environment": {"PATH": "/bin"}, "steps": [
            {"serves": "process.identity", "step": {"new_namespaces": {"namespaces": ["user", "mount", "pid", "network", "ipc", "uts", "cgroup"]}}},
            {"serves": "process.identity", "step": {"map_ids": {"uid": {"outside": 7}, "gid": {"outside": 7}}}},
            {"serves": "filesystem.base", "step": {"close_descriptors": {}}},
            {"serves": "process.identity", "step": {"set_ids": {"uid": 1}}},
            {"serves": "process.identity", "step": {"set_hostname": {"name": "a"}}},
            {"serves": "network.mode", "step": {"loopback_up": {}}},
            {"serves": "filesystem.base", "step": {"mount_proc": {"path": "/proc"}}},
            {"serves": "resources.open_files", "step": {"limit": {"resource": "open_files"}}},
            {"serves": "process.capabilities", "step": {"drop_capabilities": {"keep": []}}},
            {"serves": "process.syscalls", "step": {"install_seccomp": {}}},
        ]})
    }

    fn kinds(plan: &Value) -> Vec<&str> {
        steps(plan).map(|(kind, _)| kind).collect()
    }

    fn lab() -> Lab {
        Lab {
            caller: [("TOKEN".to_owned(), "secret".to_owned())].into(),
            proc: "/lab/proc".into(),
            rootless: false,
            root: vec![("/proc".into(), None), ("/bin".into(), Some("usr/bin".into()))],
        }
    }

    #[test]
    fn a_ground_has_rights_and_nothing_else() {
        let ground = only(&plan(), Ground::Plain, &BTreeSet::new(), &lab());
        assert_eq!(kinds(&ground), ["new_namespaces", "map_ids", "set_ids", "drop_capabilities"]);
        assert_eq!(namespaces(&ground), ["user"].into());
        assert_eq!(ground.pointer("/steps/1/step/map_ids/uid/outside"), Some(&json!(0)));
        assert!(ground.pointer("/steps/3/step/drop_capabilities/keep/0").is_some());
        assert_eq!(ground["environment"], json!({"PATH": "/bin", "TOKEN": "secret"}));
    }

    #[test]
    fn one_layer_alone() {
        let under = |ground, layer| only(&plan(), ground, &[layer].into(), &lab());
        let seccomp = under(Ground::Owner, Layer::Seccomp);
        assert_eq!(kinds(&seccomp).last(), Some(&"install_seccomp"));
        assert_eq!(namespaces(&seccomp), ["user", "mount", "pid", "ipc", "uts", "cgroup"].into());
        let capabilities = under(Ground::Plain, Layer::Capabilities);
        assert_eq!(capabilities.pointer("/steps/3/step/drop_capabilities/keep"), Some(&json!([])));
        let network = under(Ground::Plain, Layer::Network);
        assert_eq!(namespaces(&network), ["user", "network"].into());
        assert!(kinds(&network).contains(&"loopback_up"));
        let start = under(Ground::Plain, Layer::Start);
        assert_eq!(start["environment"], json!({"PATH": "/bin"}));
        assert!(kinds(&start).contains(&"close_descriptors"));
    }

    #[test]
    fn without_a_pid_namespace_the_hosts_proc_is_shown() {
        let mounts = only(&plan(), Ground::Plain, &[Layer::Mounts].into(), &lab());
        assert_eq!(
            mounts.pointer("/steps/3/step/mount_bind"),
            Some(&json!({"path": "/proc", "source": "/lab/proc", "recursive": true}))
        );
        let owner = only(&plan(), Ground::Owner, &[Layer::Mounts].into(), &lab());
        assert!(owner.pointer("/steps/3/step/mount_proc").is_some());
    }

    #[test]
    fn all_but_one() {
        let whole = kinds(&plan()).len();
        for layer in Layer::ALL {
            let rest = all_but(&plan(), &[layer].into(), &lab());
            let fewer = match layer {
                Layer::Namespaces | Layer::Network | Layer::Mounts => 1,
                Layer::Seccomp | Layer::Limits | Layer::Start => 1,
                // Weakened instead of left out, or not in this plan.
                Layer::Identity | Layer::Capabilities | Layer::Landlock => 0,
            };
            assert_eq!(kinds(&rest).len(), whole - fewer, "{layer:?}");
            assert_ne!(rest == plan(), layer != Layer::Landlock, "{layer:?}");
        }
        let rest = all_but(&plan(), &[Layer::Namespaces].into(), &lab());
        assert_eq!(namespaces(&rest), ["user", "mount", "network"].into());
        assert!(kinds(&rest).contains(&"mount_bind"));
    }

    #[test]
    fn landlock_alone_has_the_whole_tree() {
        let mut plan = plan();
        let steps = plan["steps"].as_array_mut().unwrap();
        let mounts = ["new_root", "mount_tmpfs", "pivot_root", "restrict_landlock"];
        steps.extend(mounts.map(|kind| json!({"serves": "filesystem.base", "step": {kind: {}}})));
        let alone = only(&plan, Ground::Plain, &[Layer::Landlock].into(), &lab());
        assert_eq!(
            kinds(&alone)[4..],
            ["new_root", "make_directory", "mount_bind", "make_link", "pivot_root", "restrict_landlock"]
        );
        let proc = alone.pointer("/steps/6/step/mount_bind/source");
        assert_eq!(proc, Some(&json!("/lab/proc")));
        assert_eq!(namespaces(&alone), ["user", "mount"].into());
        let ground = only(&plan, Ground::Owner, &BTreeSet::new(), &lab());
        assert_eq!(kinds(&ground).last(), Some(&"drop_capabilities"));
    }

    #[test]
    fn owed_by_steps_and_by_what_a_clause_is_about() {
        let of = |clause: &str| Vec::from_iter(owed(&plan(), clause));
        assert_eq!(of("filesystem.base"), [Layer::Mounts, Layer::Landlock, Layer::Start]);
        assert_eq!(of("filesystem.read_only[0]"), [Layer::Mounts, Layer::Landlock]);
        assert_eq!(of("process.syscalls"), [Layer::Seccomp]);
        assert_eq!(of("network.metadata"), [Layer::Seccomp, Layer::Network]);
    }
}

//! Mutants without a whole layer of the sandbox, for probes whose attempt more than one layer refuses: no single step turns
//! them. Pure, over JSON, as [`super::derive`].

use serde_json::{Value, json};

use super::Fault;
use super::derive::{About, Mutant};
use crate::run::planned::{set, without};

/// Without the file system, without what takes rights away, without both, with nothing but a user namespace, and without anything.
///
/// What fails closed here (an ordinary user cannot map the id 0) takes part in nothing.
pub(super) fn all(plan: &Value) -> Vec<Mutant> {
    let files = |plan: &Value| without(plan, is_of_files);
    let rights = |plan: &Value| with_capabilities(&without(plan, |kind, _| RIGHTS.contains(&kind)));
    let bare = |kept: &[&str]| {
        let kept = [&["new_namespaces", "map_ids"], kept].concat();
        let mut plan = without(plan, |kind, _| !kept.contains(&kind));
        set(&mut plan, "new_namespaces", "/namespaces", &json!(["user"]));
        plan
    };
    let root = |mut plan: Value| {
        for id in ["/uid/outside", "/gid/outside"] {
            set(&mut plan, "map_ids", id, &0.into());
        }
        plan
    };
    let layer = |what: &str, plan: Value| Mutant {
        name: format!("layers: without {what}"),
        plan,
        groups: &[],
        about: About::Step,
        fault: None,
        gives_less: false,
        origin: None,
        killers: &[],
    };
    let unconfined = Mutant { fault: Some(Fault::Unconfined), ..layer("a sandbox", plan.clone()) };
    vec![
        layer("files of its own", files(plan)),
        layer("files of its own, as root of the host", root(files(plan))),
        layer("filter, and with every capability", rights(plan)),
        layer("files of its own and filter, and with every capability", rights(&files(plan))),
        layer("anything but a user namespace", bare(&[])),
        layer("anything but a user namespace, as root of the host", root(bare(&[]))),
        layer(
            "anything but a user namespace, as root of the host, and with every capability",
            root(with_capabilities(&bare(&["drop_capabilities"]))),
        ),
        unconfined,
    ]
}

/// Steps that take rights from a process.
const RIGHTS: &[&str] = &["install_seccomp", "no_new_privileges", "not_dumpable", "drop_bounding_set"];

fn is_of_files(kind: &str, serves: &str) -> bool {
    let files = serves.starts_with("filesystem") && kind != "close_descriptors";
    // Written to a file of /proc.
    files || kind == "forbid_user_namespaces"
}

/// The plan with every capability kept in every set.
pub(super) fn with_capabilities(plan: &Value) -> Value {
    let mut plan = plan.clone();
    for kind in ["drop_bounding_set", "drop_capabilities"] {
        set(&mut plan, kind, "/keep", &palisade_policy::capability::NAMES.to_vec().into());
    }
    plan
}

/// The plan without Landlock, which refuses what a mount does not.
pub(super) fn without_landlock(plan: &Value) -> Value {
    without(plan, |kind, _| kind == "restrict_landlock")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(plan: &Value) -> Vec<&str> {
        let steps = plan["steps"].as_array().unwrap().iter();
        steps.map(|step| step["step"].as_object().unwrap().keys().next().unwrap().as_str()).collect()
    }

    #[test]
    fn each_leaves_out_what_it_says() {
        let plan = json!({"steps": [
            {"serves": "process.identity", "step": {"new_namespaces": {"namespaces": ["user", "pid"]}}},
            {"serves": "process.identity", "step": {"map_ids": {"uid": {"outside": 7}, "gid": {"outside": 7}}}},
            {"serves": "filesystem.base", "step": {"close_descriptors": {}}},
            {"serves": "filesystem.tmp", "step": {"mount_tmpfs": {"path": "/tmp"}}},
            {"serves": "process.capabilities", "step": {"drop_capabilities": {"keep": []}}},
            {"serves": "process.syscalls", "step": {"install_seccomp": {}}},
        ]});
        let plans: Vec<Value> = all(&plan).into_iter().map(|mutant| mutant.plan).collect();
        let start = ["new_namespaces", "map_ids"];
        let own = |rest: &[&'static str]| [&start[..], rest].concat();
        assert_eq!(kinds(&plans[0]), own(&["close_descriptors", "drop_capabilities", "install_seccomp"]));
        assert_eq!(kinds(&plans[1]), kinds(&plans[0]));
        assert_eq!(plans[1].pointer("/steps/1/step/map_ids/gid/outside"), Some(&json!(0)));
        assert_eq!(kinds(&plans[2]), own(&["close_descriptors", "mount_tmpfs", "drop_capabilities"]));
        assert_eq!(kinds(&plans[3]), own(&["close_descriptors", "drop_capabilities"]));
        assert!(
            !plans[3].pointer("/steps/3/step/drop_capabilities/keep").unwrap().as_array().unwrap().is_empty()
        );
        assert_eq!(kinds(&plans[4]), start);
        assert_eq!(plans[4].pointer("/steps/0/step/new_namespaces/namespaces"), Some(&json!(["user"])));
        assert_eq!(plans[5].pointer("/steps/1/step/map_ids/uid/outside"), Some(&json!(0)));
        assert_eq!(kinds(&plans[6]), own(&["drop_capabilities"]));
    }
}

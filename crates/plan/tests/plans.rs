//! Plans over policies x recorded hosts, as snapshots: a change to what the sandbox does is a difference that a
//! reviewer reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use palisade_plan::facts::{Ability, Kind, Missing, PathFact, Present, Reached};
use palisade_plan::{HostFacts, KERNEL_ID_BASE, Situation, decide, named_paths};
use palisade_policy::{Document, Policy};
use rstest::rstest;

/// The directory in which every recorded run starts.
const DIRECTORY: &str = "/home/dev/project";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

/// A recorded host. Its files are told here and not in the record: every path that the policy names is a directory of
/// user 1001, but for what ends in `.txt`, and what has `missing` in its name.
fn host(name: &str, policy: &Policy) -> HostFacts {
    let file = fixtures().join(format!("hosts/{name}.json"));
    let text = fs::read_to_string(&file).expect("a recorded host");
    let mut facts: HostFacts = serde_json::from_str(&text).expect("valid facts");
    for path in named_paths(policy, Path::new(DIRECTORY)) {
        let text = path.to_string_lossy().into_owned();
        let fact = if text.contains("missing") {
            PathFact::Missing(missing(&path))
        } else {
            PathFact::Present(Present {
                canonical: path.clone(),
                kind: if text.ends_with(".txt") { Kind::File } else { Kind::Directory },
                uid: 1001,
                gid: 1001,
                idmap: facts.caller.privileged.then_some(Ability::Available),
                links: BTreeSet::new(),
                mounts: BTreeMap::new(),
                aliases: BTreeMap::new(),
            })
        };
        facts.paths.insert(path, fact);
    }
    facts
}

/// Nothing below the parent of the first part that says so.
fn missing(path: &Path) -> Missing {
    let end = path.ancestors().filter(|above| above.to_string_lossy().contains("missing")).last();
    let parent = end.and_then(Path::parent).expect("a part that is missing");
    Missing {
        reason: "no such file or directory".into(),
        reached: Some(Reached {
            path: parent.into(),
            kind: Kind::Directory,
            rest: path.strip_prefix(parent).expect("a part of it").into(),
            writable: Ability::Available,
            aliases: BTreeSet::new(),
        }),
        links: BTreeSet::new(),
    }
}

fn situation() -> Situation {
    Situation {
        directory: DIRECTORY.into(),
        environment: BTreeMap::from([("LANG".into(), "C.UTF-8".into()), ("SECRET".into(), "hunter2".into())]),
        kernel_id: KERNEL_ID_BASE + 4242,
    }
}

fn policy(name: &str) -> Policy {
    let file = fixtures().join(format!("policies/valid/{name}.yaml"));
    let text = fs::read_to_string(&file).expect("a valid policy");
    Document::parse(name, &text).expect("a valid policy").policy
}

/// The plan as text, or every reason of the refusal.
fn outcome(policy: &Policy, facts: &HostFacts) -> String {
    match decide(policy, facts, &situation()) {
        Ok(plan) => plan.to_string(),
        Err(refusal) => {
            let lines = refusal.reasons.iter().map(|reason| {
                let hint = reason.hint.as_deref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
                format!("{}: {}{hint}\n", reason.clause, reason.message)
            });
            "refused\n".to_owned() + &lines.collect::<String>()
        }
    }
}

#[rstest]
fn plans_are_as_recorded(
    #[values(
        "default",
        "agent",
        "nested",
        "base-none",
        "everything",
        "allowlist",
        "open",
        "limits",
        "empty",
        "hidden",
        "workspace-overlay",
        "workspace-copy"
    )]
    policy_name: &str,
    #[values(
        "debian12-6.18-root",
        "debian12-6.18-user",
        "debian12-6.1-user",
        "debian11-5.10-user",
        "hardened-6.1-user",
        "debian13-6.12-root",
        "debian13-6.12-user",
        "cgroup1-5.15-root"
    )]
    host_name: &str,
) {
    let policy = policy(policy_name);
    let text = outcome(&policy, &host(host_name, &policy));
    insta::with_settings!({
        snapshot_path => fixtures().join("plans"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(format!("{policy_name}--{host_name}"), text);
    });
}

#[rstest]
fn the_same_input_gives_the_same_plan(#[values("default", "agent", "nested")] name: &str) {
    let policy = policy(name);
    let facts = host("debian12-6.18-user", &policy);
    assert_eq!(decide(&policy, &facts, &situation()), decide(&policy, &facts, &situation()));
}

#[test]
fn a_plan_survives_being_written_and_read() {
    let policy = policy("nested");
    let plan = decide(&policy, &host("debian12-6.18-root", &policy), &situation()).expect("a plan");
    let text = serde_json::to_string(&plan).expect("plans can be written");
    assert_eq!(serde_json::from_str::<palisade_plan::Plan>(&text).expect("plans can be read"), plan);
}

#[test]
fn nothing_of_the_callers_environment_is_in_a_plan_that_does_not_pass_it() {
    let policy = policy("default");
    let plan = decide(&policy, &host("debian12-6.18-user", &policy), &situation()).expect("a plan");
    assert_eq!(plan.environment.keys().map(String::as_str).collect::<Vec<_>>(), ["HOME", "PATH"]);
    assert!(!serde_json::to_string(&plan).expect("plans can be written").contains("hunter2"));
}

/// A privileged caller's workload is never the kernel's uid 0, whatever it sees inside.
#[rstest]
fn the_kernel_id_is_never_zero(#[values("default", "everything")] name: &str) {
    let mut policy = policy(name);
    policy.on_unavailable = palisade_policy::OnUnavailable::Degrade;
    policy.network = palisade_policy::Network::default();
    policy.process.identity = palisade_policy::Identity::Root;
    policy.process.capabilities.clear();
    let plan = decide(&policy, &host("debian12-6.18-root", &policy), &situation()).expect("a plan");
    let outside = plan.steps.iter().find_map(|planned| match &planned.step {
        palisade_plan::Step::MapIds { uid, gid } => Some((uid.outside, gid.outside)),
        _ => None,
    });
    assert_eq!(outside, Some((KERNEL_ID_BASE + 4242, KERNEL_ID_BASE + 4242)));
}

/// As root a writable tree whose file system cannot map ids is refused: the workload could not write to it, or would
/// have to be the kernel's uid 0. A readable one is shown as it is, and the plan says what that means.
#[test]
fn without_id_mapped_mounts_root_cannot_share_a_writable_tree() {
    let lacking = |policy: &Policy| {
        let mut facts = host("debian12-6.18-root", policy);
        for fact in facts.paths.values_mut() {
            if let PathFact::Present(present) = fact {
                present.idmap = Some(Ability::Unavailable("mount_setattr: EINVAL".into()));
            }
        }
        facts
    };
    let writable = policy("agent");
    let refusal = decide(&writable, &lacking(&writable), &situation()).expect_err("refused");
    assert_eq!(refusal.reasons[0].clause.as_str(), "filesystem.read_write[0]");
    assert!(refusal.reasons[0].hint.is_some());

    let readable = policy("default");
    let plan = decide(&readable, &lacking(&readable), &situation()).expect("a plan");
    let coverage =
        plan.coverage.iter().find(|coverage| coverage.clause.as_str() == "filesystem.read_only[0]");
    assert!(coverage.expect("covered").notes.iter().any(|note| note.contains("unprivileged user")));
}

/// Whatever a rule is about, it cannot put the host's procfs, devices or whole tree into the sandbox.
#[rstest]
#[case::everything("/")]
#[case::procfs("/proc")]
#[case::a_file_of_procfs("/proc/kallsyms")]
#[case::a_device("/dev/kvm")]
fn some_places_cannot_be_shown(#[case] place: &str) {
    let text = format!("filesystem: {{read_only: [{place}]}}\n");
    let policy = Document::parse("test", &text).expect("valid by itself").policy;
    let refusal = decide(&policy, &host("debian12-6.18-user", &policy), &situation()).expect_err("refused");
    assert_eq!(refusal.reasons[0].clause.as_str(), "filesystem.read_only[0]");
}

/// `run` must not start a workload as the kernel's uid 0, even where it has no privilege to map another.
#[test]
fn the_kernels_root_without_privilege_is_refused() {
    let policy = policy("default");
    let mut facts = host("debian12-6.18-root", &policy);
    facts.caller.privileged = false;
    let refusal = decide(&policy, &facts, &situation()).expect_err("refused");
    assert_eq!(refusal.reasons[0].clause.as_str(), "process.identity");
}

/// NVIDIA/OpenShell#677: one missing path once dropped the whole ruleset.
#[rstest]
fn a_path_that_is_missing_changes_nothing_else(
    #[values("debian12-6.18-user", "debian12-6.18-root")] host_name: &str,
) {
    let steps = |more: &str| {
        let text = format!("filesystem: {{read_only: [/opt/tool{more}], read_write: [.]}}\n");
        let policy = Document::parse("test", &text).expect("valid").policy;
        decide(&policy, &host(host_name, &policy), &situation()).expect("a plan").steps
    };
    assert_eq!(steps(", {path: /srv/missing, optional: true}"), steps(""));
}

/// An ordinary user's overlay cannot show what is mounted below it, and says so; a copy can.
#[test]
fn an_overlay_over_mounts_is_refused_for_an_ordinary_user() {
    let refused = |policy_name: &str, host_name: &str| {
        let policy = policy(policy_name);
        let mut facts = host(host_name, &policy);
        for fact in facts.paths.values_mut() {
            if let PathFact::Present(present) = fact
                && present.canonical == Path::new(DIRECTORY)
            {
                present.mounts.insert(present.canonical.join("mounted"), Kind::Directory);
            }
        }
        decide(&policy, &facts, &situation()).err().map(|refusal| refusal.to_string())
    };
    let why = refused("workspace-overlay", "debian12-6.18-user").expect("refused");
    assert!(why.contains("/home/dev/project/mounted is mounted below it"), "{why}");
    assert_eq!(refused("workspace-overlay", "debian12-6.18-root"), None);
    assert_eq!(refused("workspace-copy", "debian12-6.18-user"), None);
}

//! The kernel matrix: what was predicted of each kernel, and what was then seen there, agree.
//!
//! `scripts/kernels` collects both in guests and condenses them into `fixtures/kernels`. With `PALISADE_KERNELS=DIR` what has just been
//! collected, perhaps of some kernels and axes only, is looked at instead of what is committed.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

/// The kernels that are committed.
const SERIES: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", "7.3"];

/// The axes that each kernel must have, or must be known not to have.
const AXES: [&str; 8] = [
    "base",
    "unprivileged_userns_clone",
    "max_user_namespaces",
    "io_uring_disabled",
    "ptrace_scope",
    "landlock",
    "ia32_emulation",
    "cgroup_disable",
];

/// Exit status of `palisade run` for what it refuses itself.
const REFUSED: u64 = 125;

fn committed() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/kernels")
}

/// The condensed files of a directory, by series.
fn kernels(directory: PathBuf) -> BTreeMap<String, Value> {
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let files = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    files
        .map(|path| {
            let text = fs::read_to_string(&path).expect("readable");
            let series = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (
                series,
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
            )
        })
        .collect()
}

fn map(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Each pair of a prediction and what was seen, with where that was.
fn pairs(kernel: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for (axis, entry) in map(&kernel["axes"]) {
        for user in ["root", "user"] {
            for (policy, pair) in map(&entry[user]["policies"]) {
                found.push((format!("{axis}, {user}, policy {policy}"), pair));
            }
        }
    }
    found
}

/// Where what was predicted and what was seen differ.
fn disagreements(kernel: &Value) -> Vec<String> {
    let told = |(place, pair): (String, &Value)| {
        let found = match pair["predicted"]["outcome"].as_str() {
            Some("refused") => refused(pair, &anyway(kernel, &place)),
            Some("enforced" | "partly") => enforced(pair),
            other => vec![format!("a prediction {other:?}")],
        };
        found.into_iter().map(move |what| format!("{place}: {what}")).collect::<Vec<_>>()
    };
    pairs(kernel).into_iter().flat_map(told).collect()
}

/// Why the kernel refuses the default policy with nothing switched off: what it never had may be met before what was taken away.
fn anyway(kernel: &Value, place: &str) -> String {
    let user = if place.contains(", root,") { "root" } else { "user" };
    text(&kernel["axes"]["base"][user]["policies"]["default"]["predicted"]["why"]).to_owned()
}

/// What is refused does not run, is not held, and says a cause that was predicted.
fn refused(pair: &Value, anyway: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (why, said) = (text(&pair["predicted"]["why"]), text(&pair["run"]["said"]));
    if pair["run"]["status"] != REFUSED {
        found.push(format!("predicted refused ({why}), and run ends with {}", pair["run"]["status"]));
    }
    let predicted = format!("{why}; {anyway}");
    // By the error of the kernel, or in the same words.
    let same_errno = errnos(&predicted).iter().any(|cause| errnos(said).contains(cause));
    let mut words = predicted.split("; ").filter(|part| part.len() > 20 && !part.starts_with("hint: "));
    if !same_errno && !words.any(|part| said.contains(part)) {
        found.push(format!("predicted refused with {why:?}, and run says {said:?}"));
    }
    let verify = &pair["verify"];
    if verify["status"] == 0 {
        found.push("predicted refused, and verify has nothing against it".to_owned());
    }
    if verify.get("counts").is_none() && !text(&verify["said"]).starts_with("no lab") {
        found.push(format!("verify gave no report: {}", verify["said"]));
    }
    for (verdict, why, id) in rest(verify) {
        let not_started = verdict == "inconclusive" && why.starts_with("the runtime did not start");
        if !not_started && verdict != "unsupported" {
            found.push(format!("predicted refused, and {id} is {verdict}: {why}"));
        }
    }
    if verify["counts"]["held"].as_u64().is_some_and(|held| held > 0) {
        found.push(format!("predicted refused, and {} are held", verify["counts"]["held"]));
    }
    found
}

/// What is enforced runs and is held, but for what the kernel cannot show and for what was declared.
fn enforced(pair: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let verify = &pair["verify"];
    if pair["run"]["status"] != 0 {
        found.push(format!(
            "predicted {}, and run says {}",
            pair["predicted"]["outcome"], pair["run"]["said"]
        ));
    }
    if verify["status"] != 0 || verify["counts"]["held"].as_u64().unwrap_or(0) == 0 {
        found.push(format!("verify ends with {}: {} {}", verify["status"], verify["counts"], verify["said"]));
    }
    for (verdict, why, id) in rest(verify) {
        let clause = verify["rest"]
            .as_array()
            .into_iter()
            .flatten()
            .find_map(|entry| entry["probes"][id].as_str())
            .unwrap_or_default();
        let status = text(&pair["predicted"]["clauses"][clause]);
        if verdict != "unsupported" {
            found.push(format!("{clause} predicted {status:?}, and {id} is {verdict}: {why}"));
        }
        // The lab may lack the same for another reason than the host does.
        if why.contains(" only in part here: ") && !status.starts_with("downgraded: ") {
            found.push(format!("{id}: {clause} was declared to be in part, and predicted {status:?}"));
        }
    }
    found
}

/// What is not held: verdict, reason, probe.
fn rest<'a>(verify: &'a Value) -> Vec<(&'a str, &'a str, &'a str)> {
    let entries = verify["rest"].as_array().into_iter().flatten();
    let probes = |entry: &'a Value| {
        map(&entry["probes"]).map(move |(id, _)| (text(&entry["verdict"]), text(&entry["why"]), id.as_str()))
    };
    entries.flat_map(probes).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The names of errors in a text.
fn errnos(words: &str) -> Vec<&str> {
    let words = words.split(|c: char| !c.is_ascii_alphanumeric());
    words
        .filter(|word| word.len() > 3 && word.starts_with('E') && word.chars().all(|c| !c.is_lowercase()))
        .collect()
}

#[test]
fn what_was_predicted_of_each_kernel_was_seen() {
    let directory = std::env::var_os("PALISADE_KERNELS").map_or_else(committed, PathBuf::from);
    let kernels = kernels(directory);
    let pairs: usize = kernels.values().map(|kernel| pairs(kernel).len()).sum();
    assert!(pairs > 0, "nothing was collected");
    let differ = kernels.iter().flat_map(|(series, kernel)| {
        disagreements(kernel).into_iter().map(move |what| format!("{series}, {what}"))
    });
    let differ: Vec<String> = differ.collect();
    assert!(differ.is_empty(), "of {pairs} pairs:\n{}", differ.join("\n"));
}

/// Each axis on each kernel or a word why not, as both users.
#[test]
fn nothing_is_missing_from_the_matrix() {
    let kernels = kernels(committed());
    assert_eq!(kernels.keys().map(String::as_str).collect::<Vec<_>>(), SERIES);
    for (series, kernel) in &kernels {
        for axis in AXES {
            let entry = &kernel["axes"][axis];
            let absent = text(&entry["absent"]).starts_with("no such switch");
            let both = ["root", "user"].iter().all(|user| !entry[user]["policies"]["default"].is_null());
            assert!(absent != both, "{series}, {axis}: {entry}");
        }
    }
}

/// What is switched off is found to be off: else an axis would show what the one without it does.
#[test]
fn what_was_switched_off_is_off() {
    let off = [
        ("unprivileged_userns_clone", "user", "namespaces/user", "unavailable: "),
        ("max_user_namespaces", "root", "namespaces/user", "unavailable: "),
        ("max_user_namespaces", "user", "namespaces/user", "unavailable: "),
        ("io_uring_disabled", "root", "surface/io-uring", "unavailable: "),
        ("io_uring_disabled", "user", "surface/io-uring", "unavailable: "),
        ("ptrace_scope", "root", "lsm/yama", "available: kernel.yama.ptrace_scope 2"),
        ("ptrace_scope", "user", "lsm/yama", "available: kernel.yama.ptrace_scope 2"),
        ("landlock", "root", "landlock/files", "absent: "),
        ("landlock", "user", "landlock/files", "absent: "),
        ("ia32_emulation", "root", "surface/ia32", "absent: "),
        ("ia32_emulation", "user", "surface/ia32", "absent: "),
        ("cgroup_disable", "root", "cgroups/memory", "absent: "),
        ("cgroup_disable", "user", "cgroups/pids", "absent: "),
    ];
    for (series, kernel) in &kernels(committed()) {
        for (axis, user, finding, wanted) in off {
            let entry = &kernel["axes"][axis];
            if entry["absent"].is_null() {
                let found = text(&entry[user]["host"][finding]);
                assert!(found.starts_with(wanted), "{series}, {axis}, {user}: {finding} is {found:?}");
            }
        }
    }
}

/// Where control groups of version 2 have the controllers, the limits of the whole sandbox are predicted, and held.
#[test]
fn limits_by_control_groups_are_held() {
    let mut held = 0;
    for (series, kernel) in &kernels(committed()) {
        for user in ["root", "user"] {
            let policies = &kernel["axes"]["base"][user]["policies"];
            for (policy, clauses) in [
                ("limits", ["resources.memory", "resources.processes"].as_slice()),
                ("share", &["resources.cpus"]),
            ] {
                let pair = &policies[policy];
                if pair["predicted"]["outcome"] == "refused" {
                    continue;
                }
                for clause in clauses {
                    assert_eq!(pair["predicted"]["clauses"][clause], "enforced", "{series}, {user}");
                    let counts = &pair["verify"]["clauses"][clause];
                    assert!(counts["held"].as_u64() > Some(0), "{series}, {user}, {clause}: {counts}");
                    held += 1;
                }
            }
        }
    }
    // Three clauses as two users, on all but the oldest, which has no sandboxes.
    assert_eq!(held, (SERIES.len() - 1) * 2 * 3);
}

/// A pair as a kernel would have it that enforces everything but one thing that it has declared.
fn pair() -> Value {
    json!({
        "predicted": {"outcome": "partly", "clauses": {"filesystem": "enforced", "resources.memory": "downgraded: no group"}},
        "run": {"status": 0},
        "verify": {
            "status": 0,
            "counts": {"held": 3, "unsupported": 2},
            "rest": [
                {"verdict": "unsupported", "why": "without a sandbox this host shows ENOSYS", "probes": {"fs/x": "filesystem"}},
                {
                    "verdict": "unsupported",
                    "why": "the runtime says that it enforces resources.memory only in part here: no group",
                    "probes": {"res/memory/many": "resources.memory"},
                },
            ],
        },
    })
}

/// A pair as a kernel would have it that cannot have sandboxes.
fn refusal() -> Value {
    json!({
        "predicted": {"outcome": "refused", "why": "user namespaces are needed: clone: ENOSPC"},
        "run": {"status": 125, "said": "step 1, clone3 with new namespaces: ENOSPC"},
        "verify": {"status": 3, "said": "no lab, nothing was probed: unshare: ENOSPC"},
    })
}

fn found(pair: Value) -> Vec<String> {
    disagreements(&json!({"axes": {"base": {"root": {"policies": {"default": pair}}}}}))
}

#[test]
fn what_agrees_is_no_disagreement() {
    assert_eq!(found(pair()), [""; 0]);
    assert_eq!(found(refusal()), [""; 0]);
}

#[rstest::rstest]
#[case::breached("/verify/rest/0/verdict", json!("breached"))]
#[case::over_blocked("/verify/rest/0/verdict", json!("over_blocked"))]
#[case::inconclusive("/verify/rest/0/verdict", json!("inconclusive"))]
#[case::breached_where_less_was_declared("/verify/rest/1/verdict", json!("breached"))]
#[case::excused_by_what_was_not_predicted("/predicted/clauses/resources.memory", json!("enforced"))]
#[case::did_not_run("/run/status", json!(125))]
#[case::verify_failed("/verify/status", json!(1))]
#[case::nothing_shown("/verify/counts", json!({"unsupported": 5}))]
#[case::refused_after_all("/predicted/outcome", json!("refused"))]
#[case::unknown("/predicted/outcome", json!("perhaps"))]
fn a_doctored_pair_is_found(#[case] pointer: &str, #[case] value: Value) {
    let mut doctored = pair();
    *doctored.pointer_mut(pointer).expect("it is there") = value;
    assert_ne!(found(doctored), [""; 0]);
}

#[rstest::rstest]
#[case::ran("/run/status", json!(0))]
#[case::another_cause("/run/said", json!("step 1, clone3 with new namespaces: EPERM"))]
#[case::no_cause("/predicted/why", json!("it is refused"))]
#[case::other_words("/run/said", json!("some limit cannot be had here at all"))]
#[case::enforced_after_all("/predicted/outcome", json!("enforced"))]
#[case::verify_held("/verify", json!({"status": 0, "counts": {"held": 1}, "rest": []}))]
#[case::verify_breached(
    "/verify",
    json!({"status": 1, "counts": {"breached": 1}, "rest": [{"verdict": "breached", "why": "x", "probes": {"fs/x": "filesystem"}}]})
)]
#[case::verify_broke("/verify/said", json!("the policy cannot be read"))]
fn a_doctored_refusal_is_found(#[case] pointer: &str, #[case] value: Value) {
    let mut doctored = refusal();
    *doctored.pointer_mut(pointer).expect("it is there") = value;
    assert_ne!(found(doctored), [""; 0]);
}

//! `palisade verify --layers`: which layer of the sandbox held what, seen by taking layers apart.

mod support;

use serde_json::Value;
use support::{output, palisade, status, stderr, stdout};
use tempfile::TempDir;

/// The attribution of each selected probe.
fn attributed(only: &str) -> Value {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = verify(&directory, &["--layers", "--only", only, "--format", "json"]);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn verify(directory: &TempDir, arguments: &[&str]) -> std::process::Output {
    output(palisade(directory.path()).arg("verify").args(arguments))
}

fn of<'a>(report: &'a Value, id: &str) -> &'a Value {
    let probes = report["probes"].as_array().expect("probes");
    let probe = probes.iter().find(|probe| probe["id"] == id);
    &probe.unwrap_or_else(|| panic!("no {id}"))["layers"]
}

fn words(layers: &Value) -> Vec<&str> {
    layers.as_array().expect("layers").iter().filter_map(Value::as_str).collect()
}

/// What is mounted read-only, and what Landlock has no rule for, is not written: each is enough, so none is needed.
#[test]
fn two_layers_hold_a_write() {
    let report = attributed("proc/self/comm-write");
    let found = of(&report, "proc/self/comm-write");
    assert_eq!(words(&found["alone"]), ["mounts", "landlock"], "{found}");
    assert_eq!(words(&found["needed"]), [""; 0], "{found}");
    assert_eq!(found["finding"], "as_declared");
    assert_eq!(report["layers"]["proc"]["in_depth"], 1);
}

/// Nothing but the network namespace keeps a connection from an address, nothing but the supervisor a descriptor.
#[test]
fn one_layer_holds_and_is_needed() {
    let report = attributed("net/metadata/aws*");
    let probes = report["probes"].as_array().expect("probes");
    assert!(!probes.is_empty());
    for probe in probes {
        let found = &probe["layers"];
        assert_eq!(words(&found["alone"]), ["network"], "{probe:#}");
        assert_eq!(words(&found["needed"]), ["network"], "{probe:#}");
    }
    let report = attributed("fd/only-stdio");
    let found = of(&report, "fd/only-stdio");
    assert_eq!((words(&found["alone"]), words(&found["needed"])), (vec!["start"], vec!["start"]));
}

/// What is allowed has no layer that holds it, and neither has what the host does not offer.
#[test]
fn only_held_denials_are_attributed() {
    let report = attributed("work/tmp*");
    let probes = report["probes"].as_array().expect("probes");
    assert!(!probes.is_empty() && probes.iter().all(|probe| probe.get("layers").is_none()), "{report:#}");
}

#[test]
fn another_runtime_has_no_layers() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = verify(&directory, &["--layers", "--runtime", "none", "--only", "mnt/mount"]);
    assert_eq!(status(&output), 2, "{}", stdout(&output));
    assert!(stderr(&output).contains("only the runtime palisade has layers"), "{}", stderr(&output));
}

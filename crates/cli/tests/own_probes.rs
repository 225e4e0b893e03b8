//! Probes that a reviewer brings along: the shipped examples against a sandbox, against none, and against one with a hole.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use support::{output, palisade, status, stderr, stdout};
use tempfile::TempDir;

/// A copy, so that whoever runs this can read it, and under a relative name.
fn examples() -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/probes.d");
    fs::create_dir(directory.path().join("probes.d")).expect("made");
    for entry in fs::read_dir(shipped).expect("the examples") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name");
        fs::copy(&path, directory.path().join("probes.d").join(name)).expect("copied");
    }
    directory
}

fn verify(directory: &TempDir, arguments: &[&str]) -> Output {
    output(palisade(directory.path()).args(["verify", "--probes", "probes.d"]).args(arguments))
}

/// The verdicts by id, of a run that ends with this code.
fn verdicts(directory: &TempDir, arguments: &[&str], code: i32) -> BTreeMap<String, String> {
    let output = verify(directory, &[&["--format", "json"], arguments].concat());
    assert_eq!(status(&output), code, "{} {}", stderr(&output), stdout(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["subject"]["probes"], serde_json::json!(["probes.d"]));
    let word = |value: &Value| value.as_str().expect("text").to_owned();
    let probes = report["probes"].as_array().expect("a list");
    probes.iter().map(|probe| (word(&probe["id"]), word(&probe["verdict"]))).collect()
}

#[test]
fn the_examples_are_held_by_a_sandbox_and_breached_without_one() {
    let directory = examples();
    let own = ["--only", "own/*"];
    let held = verdicts(&directory, &own, 0);
    assert!(held.len() >= 5 && held.values().all(|verdict| verdict == "held"), "{held:?}");
    let bare = verdicts(&directory, &[&own[..], &["--runtime", "none"]].concat(), 1);
    let (works, denials): (Vec<_>, Vec<_>) = bare.iter().partition(|(id, _)| *id == "own/tmp-round-trip");
    assert!(works.iter().all(|(_, verdict)| *verdict == "held") && works.len() == 1, "{bare:?}");
    assert!(denials.iter().all(|(_, verdict)| *verdict == "breached") && denials.len() >= 4, "{bare:?}");
}

/// They are probes like the others: selected with them, in shards, by each way in.
#[test]
fn they_stand_among_those_of_the_catalogue() {
    let directory = examples();
    let both = verdicts(&directory, &["--only", "*/mount"], 0);
    assert!(both.contains_key("own/mount") && both.contains_key("mnt/mount"), "{both:?}");
    let parts =
        ["1/2", "2/2"].map(|shard| verdicts(&directory, &["--only", "own/*", "--shard", shard], 0).len());
    assert_eq!(
        parts.iter().sum::<usize>(),
        verdicts(&directory, &["--only", "own/*", "--entry", "exec"], 0).len()
    );
    let listed = output(palisade(directory.path()).args([
        "probes",
        "list",
        "--probes",
        "probes.d/mount-pointer.yaml",
    ]));
    assert!(
        stdout(&listed).contains("\nown/mount ") && !stdout(&listed).contains("own/shadow"),
        "{}",
        stderr(&listed)
    );
    let shown =
        output(palisade(directory.path()).args(["probes", "show", "own/mount", "--probes", "probes.d"]));
    assert!(stdout(&shown).contains("a:sys 165 bad bad bad 0 bad"), "{} {}", stdout(&shown), stderr(&shown));
}

/// A protection that is dropped is noticed by the probe that is about it.
#[test]
fn a_hole_in_the_sandbox_is_noticed() {
    let directory = examples();
    let hole = ["--mutants=full", "--mutant", "weaken install_seccomp: mount allow", "--only", "own/mount"];
    let output = verify(&directory, &hole);
    assert_eq!(status(&output), 0, "{} {}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("own/mount"), "{}", stdout(&output));
    // One that is about something else leaves it alive, and that fails.
    let other =
        ["--mutants=full", "--mutant", "weaken install_seccomp: mount allow", "--only", "own/tmp-round-trip"];
    assert_eq!(status(&verify(&directory, &other)), 1);
}

#[test]
fn a_file_that_is_no_probe_stops_everything() {
    let directory = examples();
    let path = directory.path().join("probes.d/mount-pointer.yaml");
    let text = fs::read_to_string(&path).expect("read");
    fs::write(&path, text.replace("control:\n  - sys getpid\n", "")).expect("written");
    let output = verify(&directory, &["--only", "own/shadow-by-cat"]);
    assert_eq!(status(&output), 2, "{}", stdout(&output));
    assert_eq!(
        stderr(&output),
        "palisade: probes.d/mount-pointer.yaml:3:5: no control: where everything is refused, this probe would be held\n  \
         hint: `control` is what must work in the same sandbox, as near to the attempt as can be\n"
    );
    assert_eq!(stdout(&output), "");
}

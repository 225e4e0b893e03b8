//! What a gate needs of `palisade verify`: shards, and comparison with an earlier report.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Output;

use rstest::rstest;
use serde_json::{Value, json};
use support::{output, palisade, status, stderr, stdout};
use tempfile::TempDir;

fn verify(directory: &TempDir, arguments: &[&str]) -> Output {
    output(palisade(directory.path()).arg("verify").args(arguments))
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// The ids of a list, in the order in which they are printed.
fn ids(output: &Output) -> Vec<String> {
    assert_eq!(status(output), 0, "{}", stderr(output));
    stdout(output).lines().filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

#[test]
fn shards_are_disjoint_and_together_the_whole() {
    let directory = directory();
    for selection in [&["--list"][..], &["--list", "--policy", "agent", "--only", "fs/*"]] {
        let whole = ids(&verify(&directory, selection));
        assert!(whole.len() > 20, "{whole:?}");
        for count in [1, 3, 40] {
            let mut seen = BTreeSet::new();
            for index in 1..=count {
                let shard = format!("{index}/{count}");
                for id in ids(&verify(&directory, &[selection, &["--shard", &shard]].concat())) {
                    assert!(seen.insert(id.clone()), "{id} is in more than one of {count} shards");
                }
            }
            assert_eq!(Vec::from_iter(seen), whole, "{count} shards");
        }
    }
}

/// A reviewer sees what the suite has been tried against, and where each of these bugs was.
#[test]
fn mutants_are_listed_with_their_origin() {
    let directory = directory();
    let allowlist = "network: {mode: allowlist, allow: [{cidr: 203.0.113.0/24, ports: [443]}]}\n";
    fs::write(directory.path().join("policy.yaml"), allowlist).expect("written");
    let list = |more: &[&str]| {
        verify(&directory, &[&["--policy", "policy.yaml", "--mutants", "--list"], more].concat())
    };
    let listed = list(&["--format", "json"]);
    assert_eq!(status(&listed), 0, "{}", stderr(&listed));
    let mutants: Vec<Value> = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert!(mutants.len() > 100, "{}", mutants.len());
    let bugs = || {
        mutants
            .iter()
            .filter(|mutant| mutant["mutant"].as_str().is_some_and(|name| name.starts_with("network: ")))
    };
    assert!(
        bugs().count() > 10 && bugs().all(|bug| bug["origin"].is_string() && bug["killers"][0].is_string())
    );
    let some = list(&["--mutant", "network: *"]);
    let lines: Vec<String> = stdout(&some).lines().map(str::to_owned).collect();
    assert!(lines.len() == bugs().count() && lines.iter().all(|line| line.ends_with(')')), "{lines:?}");
}

/// One probe, two machines: one of them has nothing to do, and says so without a failure.
#[test]
fn a_shard_reports_what_falls_into_it() {
    let directory = directory();
    let of = |shard: &str| {
        let arguments = ["--only", "mnt/mount", "--format", "json", "--shard", shard];
        let output = verify(&directory, &arguments);
        assert_eq!(status(&output), 0, "{}", stderr(&output));
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(report["subject"]["shard"], shard);
        report["summary"]["total"].as_u64().expect("a number")
    };
    assert_eq!(of("1/2") + of("2/2"), 1);
}

/// A part of every group: of mounts, processes, sockets, ports of the far side, limits.
#[test]
fn side_by_side_shows_what_one_at_a_time_shows() {
    let directory = directory();
    let policy = "filesystem: {read_write: [.], hidden: [.env]}\n\
        network: {mode: allowlist, allow: [{cidr: 203.0.113.0/24, ports: [443]}, {host: example.org, ports: [443]}]}\n";
    fs::write(directory.path().join("policy.yaml"), policy).expect("written");
    let verdicts = |runtime: &str, jobs: &str| -> BTreeMap<String, String> {
        let selection = ["--policy", "policy.yaml", "--shard", "1/30", "--format", "json"];
        let output = verify(&directory, &[&selection[..], &["--runtime", runtime, "--jobs", jobs]].concat());
        let report: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {}", stderr(&output)));
        let text = |probe: &Value, key: &str| probe[key].as_str().expect("text").to_owned();
        let probes = report["probes"].as_array().expect("a list");
        probes.iter().map(|probe| (text(probe, "id"), text(probe, "verdict"))).collect()
    };
    // With a sandbox all are held; without one they differ, so that verdicts that are mixed up show.
    for (runtime, kinds) in [("palisade", 1), ("none", 3)] {
        let (serial, wide) = (verdicts(runtime, "1"), verdicts(runtime, "8"));
        let groups: BTreeSet<&str> = serial.keys().filter_map(|id| id.split('/').next()).collect();
        assert!(groups.len() > 8, "{groups:?}");
        assert!(BTreeSet::from_iter(serial.values()).len() >= kinds, "{serial:?}");
        assert_eq!(serial, wide, "{runtime}");
    }
}

#[rstest]
#[case("0")]
#[case("65")]
fn a_count_of_jobs_has_bounds(#[case] jobs: &str) {
    let output = verify(&directory(), &["--jobs", jobs, "--only", "mnt/mount"]);
    assert_eq!((status(&output), stdout(&output)), (2, String::new()));
    assert!(stderr(&output).contains("1..=64"), "{}", stderr(&output));
}

/// Probes that are held in a sandbox, and breached without one: their operands are bad, so the host looks at them.
const SELECTION: [&str; 2] = ["--only", "mnt/*mount*"];

/// The report of a run of [`SELECTION`] that ends with this code.
fn report(directory: &TempDir, arguments: &[&str], code: i32) -> Value {
    let output = verify(directory, &[&SELECTION, arguments, &["--format", "json"]].concat());
    assert_eq!(status(&output), code, "{} {}", stderr(&output), stdout(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn save(directory: &TempDir, report: &Value) {
    fs::write(directory.path().join("old.json"), report.to_string()).expect("written");
}

fn probes(report: &mut Value) -> &mut Vec<Value> {
    report["probes"].as_array_mut().expect("a list")
}

/// The changes as (id, change, was, now).
fn changes(report: &Value) -> Vec<[Value; 4]> {
    let changes = report["against"]["changes"].as_array().expect("a list");
    changes.iter().map(|one| ["id", "change", "was", "now"].map(|key| one[key].clone())).collect()
}

#[test]
fn against_its_own_report_nothing_has_changed_and_an_old_breach_does_not_count() {
    let directory = directory();
    let old = report(&directory, &["--runtime", "none"], 1);
    save(&directory, &old);
    let again = report(&directory, &["--runtime", "none", "--against", "old.json"], 0);
    assert_eq!(changes(&again), Vec::<[Value; 4]>::new());
    assert_eq!(again["against"]["as_before"], old["summary"]["counts"]);
    assert_eq!(again["summary"]["counts"], old["summary"]["counts"], "the report itself is whole");
}

#[test]
fn only_what_the_earlier_report_does_not_have_counts() {
    let directory = directory();
    let mut old = report(&directory, &["--runtime", "none"], 1);
    let breached = probes(&mut old).iter().position(|probe| probe["verdict"] == "breached").expect("one");
    let id = probes(&mut old)[breached]["id"].clone();
    probes(&mut old)[breached]["verdict"] = json!("held");
    save(&directory, &old);
    let arguments = ["--runtime", "none", "--against", "old.json"];
    let now = report(&directory, &arguments, 1);
    assert_eq!(changes(&now), [[id.clone(), json!("new"), json!("held"), json!("breached")]]);

    let text = verify(&directory, &[&SELECTION[..], &arguments].concat());
    assert_eq!(status(&text), 1);
    let line = format!("  new        {}  held -> breached", id.as_str().expect("text"));
    assert!(stdout(&text).lines().any(|one| one == line), "{}", stdout(&text));
    assert!(stdout(&text).ends_with("; 1 new\n"), "{}", stdout(&text));
}

#[test]
fn what_is_fixed_and_what_came_and_went_is_told() {
    let directory = directory();
    let mut old = report(&directory, &[], 0);
    // What is held depends on who runs this.
    let held: Vec<usize> =
        (0..probes(&mut old).len()).filter(|&at| probes(&mut old)[at]["verdict"] == "held").collect();
    let ids: Vec<Value> = held.iter().map(|&at| probes(&mut old)[at]["id"].clone()).collect();
    assert!(ids.len() > 2, "{ids:?}");
    probes(&mut old)[held[0]]["verdict"] = json!("breached");
    probes(&mut old)[held[1]]["id"] = json!("mnt/mount-of-old");
    let mut elsewhere = probes(&mut old)[held[2]].clone();
    elsewhere["id"] = json!("fs/not-asked-for");
    probes(&mut old).push(elsewhere);
    save(&directory, &old);
    let mut told = changes(&report(&directory, &["--against", "old.json"], 0));
    let mut expected = vec![
        [ids[0].clone(), json!("fixed"), json!("breached"), json!("held")],
        [ids[1].clone(), json!("added"), Value::Null, json!("held")],
        [json!("mnt/mount-of-old"), json!("gone"), json!("held"), Value::Null],
    ];
    let by_id = |a: &[Value; 4], b: &[Value; 4]| a[0].as_str().cmp(&b[0].as_str());
    told.sort_by(by_id);
    expected.sort_by(by_id);
    assert_eq!(told, expected);
}

/// Told before there is a lab: nothing is printed, and nothing left.
#[rstest]
#[case::other_schema(r#"{"schema": "palisade.verify/2", "probes": []}"#, "palisade.verify/2")]
#[case::control_bytes(r#"{"schema": "\u001b[2J"}"#, "\\u{1b}[2J")]
#[case::not_json("{", "EOF")]
#[case::other_runtime(
    r#"{"schema": "palisade.verify/1", "subject": {"version": "", "runtime": "none", "policy": "", "host": ""}, "probes": []}"#,
    "runtime none"
)]
fn a_file_that_is_no_baseline_is_a_usage_error(#[case] text: &str, #[case] says: &str) {
    let directory = directory();
    fs::write(directory.path().join("old.json"), text).expect("written");
    let output = verify(&directory, &["--against", "old.json"]);
    assert_eq!((status(&output), stdout(&output)), (2, String::new()), "{}", stderr(&output));
    assert!(stderr(&output).contains("old.json: ") && stderr(&output).contains(says), "{}", stderr(&output));
}

#[test]
fn every_probe_of_a_list_can_be_shown() {
    let directory = directory();
    let probes = |arguments: &[&str]| output(palisade(directory.path()).arg("probes").args(arguments));
    let listed = ids(&probes(&["list"]));
    let verified = ids(&verify(&directory, &["--list"]));
    assert!(verified.iter().all(|id| listed.contains(id)), "{listed:?}");
    assert_eq!(ids(&probes(&["list", "--only", "mnt/mount"])), ["mnt/mount"]);

    let shown = probes(&["show", "mnt/mount"]);
    let text = stdout(&shown);
    for part in [
        "mnt/mount  must be denied, ",
        "SPEC.md MNT-1: The workload cannot mount",
        "  control    ",
        "  outside    EFAULT",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let shown: Value =
        serde_json::from_slice(&probes(&["show", "mnt/mount", "--format", "json"]).stdout).expect("JSON");
    let all: Value = serde_json::from_slice(&probes(&["list", "--format", "json"]).stdout).expect("JSON");
    assert!(all.as_array().expect("a list").contains(&shown));
    assert_eq!(shown["spec"], "MNT-1");
}

//! The kill matrix of `fixtures/matrix` is that of the suite as it is: every probe of the catalogue and every kind of mutant stands in
//! it, none without an answer. `scripts/kill-matrix` makes it, in minutes; this takes seconds.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use rstest::rstest;
use serde_json::Value;
use support::{output, palisade, status, stderr};

/// The rows of one of the two parts: what it is about, and the words after it.
type Rows = BTreeMap<String, Vec<String>>;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Mutants and probes.
fn table(name: &str) -> (Rows, Rows) {
    let file = root().join(format!("fixtures/matrix/{name}.txt"));
    let text = fs::read_to_string(&file).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    let (mutants, probes) = text.split_once("# probes: ").expect("both parts");
    let rows = |part: &str| -> Rows {
        let rows = part.lines().skip(1).map(|line| line.split(" | ").map(str::to_owned).collect::<Vec<_>>());
        rows.map(|mut row| (row.remove(0), row)).collect()
    };
    (rows(mutants), rows(probes))
}

fn json(arguments: &[&str]) -> Vec<Value> {
    let output = output(palisade(root()).args(arguments).args(["--format", "json"]));
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn text(entry: &Value, key: &str) -> String {
    entry[key].as_str().expect("text").to_owned()
}

const ALLOWLIST: &str = "fixtures/policies/valid/allowlist.yaml";

#[rstest]
#[case("default", "default", &[])]
#[case("allowlist", ALLOWLIST, &["net/", "dns/"])]
fn every_probe_has_an_answer(
    #[case] name: &str,
    #[case] policy: &str,
    #[case] groups: &[&str],
    #[values("root", "user")] who: &str,
) {
    let (_, rows) = table(&format!("{name}-{who}"));
    let listed = json(&["probes", "list", "--policy", policy]);
    let asked = |id: &String| groups.is_empty() || groups.iter().any(|group| id.starts_with(group));
    let listed: BTreeSet<String> = listed.iter().map(|probe| text(probe, "id")).filter(asked).collect();
    let known: BTreeSet<String> = rows.keys().cloned().collect();
    let differing: Vec<&String> = listed.symmetric_difference(&known).collect();
    assert!(differing.is_empty(), "run scripts/kill-matrix for {differing:?}");
    for (probe, row) in &rows {
        let [word, detail] = row.as_slice() else { panic!("{probe}: {row:?}") };
        assert!(["kills", "vacuous", "unsupported"].contains(&word.as_str()), "{probe}: {row:?}");
        assert!(detail.len() > 5, "{probe} {word}: no reason");
    }
    let kills = rows.values().filter(|row| row[0] == "kills").count();
    assert!(kills * 5 > rows.len() * 4, "{kills} of {}", rows.len());
}

#[rstest]
#[case("default", "default")]
#[case("allowlist", ALLOWLIST)]
fn every_mutant_is_noticed(#[case] name: &str, #[case] policy: &str) {
    let own = if rustix::process::geteuid().is_root() { "root" } else { "user" };
    for who in ["root", "user"] {
        let (rows, _) = table(&format!("{name}-{who}"));
        assert!(rows.len() > 200, "{}", rows.len());
        for (mutant, row) in &rows {
            match row.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["killed", probe] => assert!(probe.contains('/'), "{mutant}: {row:?}"),
                ["inexpressible", why] => assert!(why.len() > 10, "{mutant}: no reason"),
                ["fails closed"] => {}
                _ => panic!("{mutant}: {row:?}"),
            }
        }
        if who != own {
            continue;
        }
        // What a plan names of the host differs between hosts; what is done to which kind of step does not.
        let kind = |name: &str| -> String {
            let words = name.split(' ').map(|word| if word.starts_with('/') { "PATH" } else { word });
            words.collect::<Vec<_>>().join(" ")
        };
        let known: BTreeSet<String> = rows.keys().map(|mutant| kind(mutant)).collect();
        let listed = json(&["verify", "--policy", policy, "--mutants", "--list"]);
        let new: BTreeSet<String> = listed
            .iter()
            .map(|mutant| kind(&text(mutant, "mutant")))
            .filter(|kind| !known.contains(kind))
            .collect();
        // Another host may have other steps, which that of the tables has not.
        let said = format!("run scripts/kill-matrix for {new:?}");
        assert!(new.is_empty() || std::env::var("PALISADE_MUST_WORK").is_err(), "{said}");
        if !new.is_empty() {
            eprintln!("{said}");
        }
    }
}

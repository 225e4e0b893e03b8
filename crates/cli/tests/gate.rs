//! What a gate needs of `palisade verify`: shards.

mod support;

use std::collections::BTreeSet;
use std::process::Output;

use serde_json::Value;
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

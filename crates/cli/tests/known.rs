//! Files of known deviations, as a gate uses them.

mod support;

use std::fs;
use std::process::Output;

use support::{output, palisade, status, stderr, stdout};
use tempfile::TempDir;

/// The control, under which this probe is breached.
const BREACHED: &[&str] = &["--runtime", "none", "--only", "mnt/mount"];

fn verify(directory: &TempDir, arguments: &[&str]) -> Output {
    output(palisade(directory.path()).arg("verify").args(arguments))
}

fn directory(known: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join("known.yaml"), known).expect("written");
    directory
}

fn entry(probe: &str, more: &str, expires: &str) -> String {
    format!(
        "- {{probe: {probe}, outcome: breached, {more} reason: no sandbox, issue: x/1, owner: me, expires: {expires}}}\n"
    )
}

/// The status and what was said of a run with this file.
fn with(known: &str, arguments: &[&str]) -> (i32, String) {
    let directory = directory(known);
    let output = verify(&directory, &[arguments, &["--known", "known.yaml"]].concat());
    (status(&output), stdout(&output) + &stderr(&output))
}

#[test]
fn an_entry_covers_what_it_names_until_it_expires() {
    let (code, said) = with(&entry("mnt/*", "", "9999-12-31"), BREACHED);
    assert!(
        code == 0 && said.contains("1 known deviation") && said.contains("no sandbox (me, x/1)"),
        "{code} {said}"
    );
    let (code, said) = with("", BREACHED);
    assert!(code == 1 && said.contains("1 breached"), "{code} {said}");
    let (code, said) = with(&entry("mnt/*", "", "2020-01-31"), BREACHED);
    assert!(
        code == 1 && said.contains("1 breached") && said.contains("expired on 2020-01-31"),
        "{code} {said}"
    );
    let elsewhere = entry("mnt/*", "when: {kernel: {before: '2.6'}},", "9999-12-31");
    let (code, said) = with(&elsewhere, BREACHED);
    assert!(code == 1 && said.contains("1 breached"), "{code} {said}");
    let here = entry(
        "mnt/*",
        "when: {kernel: {from: '2.6'}, landlock: {from: 0}, entry: run, policy: default},",
        "9999-12-31",
    );
    let (code, said) = with(&here, BREACHED);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn an_entry_that_nothing_needs_fails() {
    let held = &["--only", "mnt/mount"];
    let (code, said) = with("", held);
    assert_eq!(code, 0, "{said}");
    let (code, said) = with(&entry("mnt/mount", "", "9999-12-31"), held);
    assert!(code == 1 && said.contains("1 unexpected pass"), "{code} {said}");
    let (code, said) = with(&entry("mnt/no-such", "", "9999-12-31"), held);
    assert!(code == 1 && said.contains("stale") && said.contains("1 held"), "{code} {said}");
    let (code, said) = with("probe: x\n", held);
    assert!(code == 2 && said.contains("known.yaml"), "{code} {said}");
}

const WORDS: &[&str] = &[
    "--update-known",
    "known.yaml",
    "--reason",
    "too short",
    "--issue",
    "x/2",
    "--owner",
    "me",
    "--expires",
];

#[test]
fn an_update_accepts_what_it_may_and_never_a_breach() {
    let directory = directory("# Why.\n[]\n");
    let file = || fs::read_to_string(directory.path().join("known.yaml")).expect("readable");
    let update = |arguments: &[&str], expires| verify(&directory, &[arguments, WORDS, &[expires]].concat());

    let refused = update(BREACHED, "9999-12-31");
    let said = stderr(&refused);
    assert!(status(&refused) == 1 && said.contains("never accepted") && said.contains("mnt/mount"), "{said}");
    assert_eq!(file(), "# Why.\n[]\n");

    // No workload starts in that time: inconclusive. What is found fails this run, and is known to the next one.
    fs::write(directory.path().join("policy.yaml"), "resources: {wall_time: 1ms}\n").expect("written");
    let short = &["--policy", "policy.yaml", "--only", "mnt/mount"];
    let over = update(short, "2020-01-31");
    assert!(status(&over) == 2 && stderr(&over).contains("2020-01-31 is over"), "{}", stderr(&over));
    assert_eq!(status(&update(short, "9999-12-31")), 3);
    let known = file();
    assert!(
        known.starts_with("# Why.\n- probe: \"mnt/mount\"\n") && known.contains("outcome: inconclusive"),
        "{known}"
    );
    let again = verify(&directory, &[short, &["--known", "known.yaml"][..]].concat());
    assert_eq!(status(&again), 0, "{}", stdout(&again));
    // There is nothing more to add.
    assert_eq!(status(&update(short, "9999-12-31")), 0);
    assert_eq!(file(), known);
}

#[test]
fn who_accepts_says_why_and_for_how_long() {
    let directory = directory("");
    for left_out in ["--reason", "--issue", "--owner", "--expires"] {
        let mut words = [WORDS, &["9999-12-31"]].concat();
        let at = words.iter().position(|word| *word == left_out).expect("one of them");
        words.drain(at..at + 2);
        let output = verify(&directory, &[BREACHED, &words].concat());
        assert!(status(&output) == 2 && stderr(&output).contains(left_out), "{}", stderr(&output));
    }
    let mut empty = [WORDS, &["9999-12-31"]].concat();
    empty[3] = "";
    assert_eq!(status(&verify(&directory, &[BREACHED, &empty].concat())), 2);
}

//! One program for all targets, since most of building it is building what they share. `PALISADE_FUZZ` says which; the arguments
//! are libFuzzer's. Built and run by `scripts/fuzz`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use palisade_gateway::fuzz;
use palisade_policy::Document;

/// Each has its seeds in the directory of `corpus` with its name.
const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("query", fuzz::query),
    ("reply", fuzz::reply),
    ("http", fuzz::http),
    ("socks", fuzz::socks),
    ("target", fuzz::target),
    ("policy", policy),
];

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("PALISADE_FUZZ").unwrap_or_default();
    let known = TARGETS.iter().find(|&&(known, _)| known == name);
    known.unwrap_or_else(|| panic!("PALISADE_FUZZ={name:?} is no target")).1
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));

/// A policy, or what is wrong with it, at most so many problems, each of which can be shown.
fn policy(bytes: &[u8]) {
    match Document::parse_bytes("fuzz", bytes) {
        Ok(document) => {
            let again = Document::parse("fuzz", &document.text).expect("read twice as once");
            assert_eq!(again, document);
        }
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
}

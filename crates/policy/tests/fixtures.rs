//! Every policy under `fixtures/policies`: the valid ones mean what their snapshot says, the invalid ones are refused
//! with exactly the diagnostic beside them.
//!
//! To write the diagnostics anew after a change of words: `PALISADE_REGENERATE=1 cargo test -p palisade-policy`, then
//! read the difference. In CI (`CI` is set) nothing is ever written.

use std::fs;
use std::path::{Path, PathBuf};

use palisade_policy::{Document, builtin_names};

fn fixtures(kind: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/policies").join(kind);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a directory entry").path()).collect();
    files.sort();
    files
}

fn yaml_files(kind: &str, at_least: usize) -> Vec<PathBuf> {
    let mut files = fixtures(kind);
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    assert!(files.len() >= at_least, "only {} files in {kind}", files.len());
    files
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("a file").to_string_lossy().into_owned()
}

#[test]
fn valid_policies_mean_what_their_snapshots_say() {
    for file in yaml_files("valid", 8) {
        let text = fs::read(&file).unwrap();
        match Document::parse_bytes(&file_name(&file), &text) {
            Ok(document) => {
                let stem = file.file_stem().unwrap().to_string_lossy();
                insta::assert_json_snapshot!(stem.as_ref(), document.policy);
            }
            Err(problems) => panic!("{} is refused:\n{problems}", file.display()),
        }
    }
}

#[test]
fn invalid_policies_are_refused_with_the_expected_diagnostic() {
    let regenerate = std::env::var_os("PALISADE_REGENERATE").is_some() && std::env::var_os("CI").is_none();
    let mut wrong = Vec::new();
    for file in yaml_files("invalid", 60) {
        let text = fs::read(&file).unwrap();
        let Err(problems) = Document::parse_bytes(&file_name(&file), &text) else {
            wrong.push(format!("{} is accepted", file.display()));
            continue;
        };
        let actual = format!("{problems}\n");
        let expectation = file.with_extension("expected");
        if regenerate {
            fs::write(&expectation, &actual).unwrap();
        }
        match fs::read_to_string(&expectation) {
            Ok(expected) if expected == actual => {}
            Ok(expected) => {
                wrong.push(format!("{}: expected\n{expected}\nbut got\n{actual}", file.display()))
            }
            Err(error) => wrong.push(format!("{}: {error}\n{actual}", expectation.display())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_expectation_has_its_policy() {
    for file in fixtures("invalid") {
        let partner = file.with_extension("yaml");
        assert!(partner.exists(), "{} has no {}", file.display(), partner.display());
    }
}

#[test]
fn builtin_policies_are_among_the_valid_fixtures() {
    let fixtures = yaml_files("valid", 8);
    for name in builtin_names() {
        let builtin = Document::builtin(name).unwrap();
        assert_eq!(builtin.policy.name, name);
        let fixture = fixtures.iter().find(|file| file_name(file) == format!("{name}.yaml")).unwrap();
        assert_eq!(fs::read_to_string(fixture).unwrap(), builtin.text);
    }
}

//! Random whole policies: files, processes, network, limits, environment. Under each a part of the catalogue, which the suite derives
//! from the policy, has to hold: no breach, nothing over-blocked, nothing inconclusive.
//!
//! What fails is made smaller, written as a policy file below `target/palisade-proptest` (or, where that cannot be written, below
//! the directory for temporary files), and told with the command line that shows it. `PALISADE_PROPTEST_CASES` sets how many
//! policies are tried.
//!
//! That something can fail is tested too: without a sandbox it has to, and the policy that shows it has to be small.

mod case;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Output;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use serde_json::Value;
use support::{output, palisade, status, stderr};

use case::{Case, cases};

/// How many policies are tried where nothing else is said: seconds.
const CASES: u32 = 6;

/// So often a policy that fails is made smaller at most.
const SMALLER: u32 = 80;

#[test]
fn under_random_policies_what_is_declared_holds() {
    // Always the same ones where nothing is said, so that a change is not blamed for what chance found.
    let wanted = std::env::var("PALISADE_PROPTEST_CASES").ok().and_then(|count| count.parse().ok());
    let runner = match wanted {
        Some(cases) => TestRunner::new(config(cases)),
        None => TestRunner::new_with_rng(config(CASES), TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    if let Some((why, command)) = search(runner, None) {
        panic!("{why}\nrun: {command}");
    }
}

/// Always the same policies, so that this does not depend on luck.
#[test]
fn without_a_sandbox_a_small_policy_shows_it() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let runner = TestRunner::new_with_rng(config(4), rng);
    let bare = ["--only", "mnt/mount", "--runtime", "none"].map(str::to_owned);
    let (why, command) = search(runner, Some(&bare)).expect("no sandbox, and nothing is wrong");
    assert!(why.contains(r#""mnt/mount" is "breached" ("process.syscalls")"#), "{why}");
    let words: Vec<&str> = command.split(' ').collect();
    let file = words.iter().find(|word| word.ends_with(".yaml")).expect("the policy's file");
    let policy = fs::read_to_string(file).expect("the policy can be read");
    assert!(policy.lines().count() <= 12, "it is not small:\n{policy}");
    let again = output(palisade(Path::new("/")).args(&words[1..]));
    assert_eq!(status(&again), 1, "{command}: {}", stderr(&again));
    fs::remove_file(file).expect("removed");
}

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, max_shrink_iters: SMALLER, ..Config::default() }
}

/// The smallest policy that fails, with these arguments in the place of its own: why, and the command line.
fn search(mut runner: TestRunner, instead: Option<&[String]>) -> Option<(String, String)> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("policy.yaml");
    let command = |file: &Path, case: &Case| -> Vec<String> {
        let own = ["verify".to_owned(), "--policy".to_owned(), file.display().to_string()];
        own.into_iter().chain(instead.unwrap_or(&case.arguments).to_vec()).collect()
    };
    let result = runner.run(&cases(), |raw| {
        let case = Case::of(&raw);
        fs::write(&file, &case.policy).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let words = command(&file, &case);
        judge(&output(palisade(Path::new("/")).args(words).args(["--format", "json"])))
            .map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => None,
        Err(TestError::Fail(why, raw)) => {
            let case = Case::of(&raw);
            let words = command(&keep(&case.policy), &case).join(" ");
            Some((format!("{why}\nunder the policy\n{}", case.policy), format!("palisade {words}")))
        }
        Err(TestError::Abort(why)) => panic!("aborted: {why}"),
    }
}

/// Whether all is held. A part of the catalogue in which there is nothing, or nothing that this machine can judge, is no failure.
fn judge(output: &Output) -> Result<(), String> {
    let (code, complaint) = (status(output), stderr(output));
    if code == 0 || complaint.contains("no probe matches") {
        return Ok(());
    }
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let probes = report["probes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_wrong = |probe: &&Value| probe["verdict"] != "held" && probe["verdict"] != "unsupported";
    let wrong: Vec<String> = probes
        .iter()
        .filter(is_wrong)
        .map(|probe| {
            format!("{} is {} ({}): {}", probe["id"], probe["verdict"], probe["clause"], probe["why"])
        })
        .collect();
    match code {
        3 if wrong.is_empty() && !probes.is_empty() => Ok(()),
        _ => Err(format!("exit status {code}: {complaint}\n{}", wrong.join("\n"))),
    }
}

/// Where the policy stays, for whoever wants to see it fail.
fn keep(policy: &str) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    policy.hash(&mut hasher);
    let name = format!("{:016x}.yaml", hasher.finish());
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let places = [target.canonicalize().unwrap_or(target), std::env::temp_dir()];
    let write = |place: PathBuf| {
        let directory = place.join("palisade-proptest");
        let file = directory.join(&name);
        (fs::create_dir_all(&directory).is_ok() && fs::write(&file, policy).is_ok()).then_some(file)
    };
    places.into_iter().find_map(write).expect("the policy can be kept")
}

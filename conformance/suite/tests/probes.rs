//! Each probe of the catalogue as a test, under each built-in policy: `default/fs/read/etc-shadow`.
//!
//! The tests run `palisade verify`, the way a user does, and read its JSON. Under `cargo test` one run serves all tests of
//! a policy, and a probe that is unsupported here shows as ignored, with the reason as its kind. Under nextest (one
//! process a test) each test is a run of its own.
//!
//! With `PALISADE_MUST_WORK=1` a probe may be unsupported only where the catalogue says what it needs, or where
//! `tests/unsupported.txt` lists it.

#[path = "support/palisade.rs"]
mod palisade;

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use palisade_conformance::catalogue;
use palisade_conformance::glob;
use palisade_conformance::lab::World;
use palisade_policy::Document;
use serde_json::Value;

const POLICIES: &[&str] = &["default", "agent"];

/// Probes that an up-to-date kernel need not support: a pattern and a reason a line.
const UNSUPPORTED: &str = include_str!("unsupported.txt");

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = POLICIES.iter().flat_map(|policy| trials(policy, &arguments)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A probe as the tests know it.
struct Entry {
    policy: &'static str,
    id: String,
    /// The catalogue says what the machine must offer.
    has_needs: bool,
}

impl Entry {
    fn name(&self) -> String {
        format!("{}/{}", self.policy, self.id)
    }
}

fn entries(policy: &'static str) -> Vec<Entry> {
    let Some(document) = Document::builtin(policy) else { panic!("no built-in policy {policy}") };
    let probes = catalogue::all(&World::described(), &document.policy);
    let standard = probes.into_iter().filter(|probe| probe.tier == catalogue::Tier::Standard);
    standard.map(|probe| Entry { policy, has_needs: !probe.needs.is_empty(), id: probe.id }).collect()
}

fn trials(policy: &'static str, arguments: &Arguments) -> Vec<Trial> {
    let entries = entries(policy);
    if arguments.list {
        return entries.into_iter().map(|entry| Trial::test(entry.name(), || Ok(()))).collect();
    }
    if arguments.exact {
        let one = |entry: Entry| Trial::ignorable_test(entry.name(), move || alone(&entry));
        return entries.into_iter().map(one).collect();
    }
    let wanted =
        |entry: &Entry| arguments.filter.as_ref().is_none_or(|filter| entry.name().contains(filter.as_str()));
    if !entries.iter().any(wanted) {
        return Vec::new();
    }
    let run = palisade::build().and_then(|exe| verify(&exe, policy, None));
    entries.into_iter().map(|entry| from_run(entry, &run)).collect()
}

/// The trial of a probe of which one run of everything has already told the result.
fn from_run(entry: Entry, run: &Result<BTreeMap<String, Value>, String>) -> Trial {
    let result = match run {
        Err(why) => Err(why.clone()),
        Ok(probes) => probes.get(&entry.id).cloned().ok_or_else(|| "the report lacks this probe".to_owned()),
    };
    match result.as_ref().map(|probe| outcome(&entry, probe)) {
        Ok(Ok(Completion::Ignored { reason })) => {
            let reason = reason.unwrap_or_default();
            Trial::test(entry.name(), || Ok(())).with_kind(one_line(&reason)).with_ignored_flag(true)
        }
        Ok(outcome) => Trial::ignorable_test(entry.name(), move || outcome),
        Err(why) => {
            let why = why.clone();
            Trial::test(entry.name(), move || Err(why.into()))
        }
    }
}

/// A kind is shown in brackets before the name, and the names are aligned after the longest.
fn one_line(reason: &str) -> String {
    let short: String = reason.chars().take(60).collect();
    short.replace(['[', ']', '\n'], " ")
}

fn alone(entry: &Entry) -> Result<Completion, Failed> {
    let exe = palisade::existing().map_or_else(palisade::build, Ok)?;
    let probes = verify(&exe, entry.policy, Some(&entry.id))?;
    let probe = probes.get(&entry.id).ok_or("the report lacks this probe")?;
    outcome(entry, probe)
}

/// Runs `palisade verify` and returns the probes of its report by id.
fn verify(
    exe: &std::path::Path,
    policy: &str,
    only: Option<&str>,
) -> Result<BTreeMap<String, Value>, String> {
    let mut command = Command::new(exe);
    command.args(["verify", "--format", "json", "--policy", policy]);
    command.args(only.iter().flat_map(|id| ["--only", id]));
    let output = command.output().map_err(|error| format!("run {}: {error}", exe.display()))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("palisade verify: {}: {error}\n{stderr}", output.status))?;
    let probes = report["probes"].as_array().ok_or("the report has no probes")?;
    let by_id = |probe: &Value| Some((probe["id"].as_str()?.to_owned(), probe.clone()));
    Ok(probes.iter().filter_map(by_id).collect())
}

fn outcome(entry: &Entry, probe: &Value) -> Result<Completion, Failed> {
    let why = probe["why"].as_str().unwrap_or_default();
    match probe["verdict"].as_str().unwrap_or_default() {
        "held" | "known_deviation" => Ok(Completion::Completed),
        "unsupported" if must_work() && !excused(entry) => Err(Failed::from(format!(
            "unsupported, and neither the catalogue's needs nor tests/unsupported.txt allow that: {why}"
        ))),
        "unsupported" => Ok(Completion::ignored_with(why)),
        verdict => Err(Failed::from(format!(
            "{verdict}: {why}\n  {}\n  operation  {}\n  expected   {}\n  inside     {}\n  outside    {}\n  \
             reproduce  palisade verify --policy {} --only {}",
            probe["requirement"].as_str().unwrap_or_default(),
            probe["operation"].as_str().unwrap_or_default(),
            probe["expected"]["inside"].as_str().unwrap_or_default(),
            probe["inside"],
            probe["outside"],
            entry.policy,
            entry.id,
        ))),
    }
}

fn must_work() -> bool {
    std::env::var_os("PALISADE_MUST_WORK").is_some_and(|value| value == "1")
}

fn excused(entry: &Entry) -> bool {
    let root = rustix::process::geteuid().is_root();
    let listed = UNSUPPORTED.lines().filter(|line| !line.starts_with('#')).any(|line| {
        let mut words = line.split_whitespace();
        let matches = words.next().is_some_and(|pattern| glob::matches(pattern, &entry.id));
        matches && (!root || words.next() != Some("user"))
    });
    entry.has_needs || listed
}

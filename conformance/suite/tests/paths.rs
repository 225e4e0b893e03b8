//! Random policies over random trees, through the real `palisade run`, against the pure model of what a policy says about
//! a path.
//!
//! First, for every file of the tree: is it read, written and created exactly where [`ResolvedRules::access`] says so, by its
//! own name and through symbolic links, and does the host see exactly those changes? Then the workload renames directories,
//! makes them again, and tries every path that a rule denies once more, by the name that the policy has and by the one
//! that it leads to. `PALISADE_PATH_CASES` sets how many policies are tried (default 64).
//!
//! That the comparison can fail is tested too: without the steps that keep names what they are, it has to, and the
//! smallest policy that shows it has to be small.
//!
//! [`ResolvedRules::access`]: palisade_policy::ResolvedRules::access

#[path = "paths/case.rs"]
mod case;
#[path = "support/palisade.rs"]
mod palisade;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use palisade_conformance::lab::{self, Lab, LabOptions};
use palisade_conformance::run::Runner;
use palisade_conformance::run::place::Place;
use palisade_conformance::run::process;
use palisade_conformance::verify;
use palisade_policy::{Access, Document, ResolvedRules};
use palisade_probe::script::{Observed, Script, Statement, parse_output};
use palisade_probe::{attempt, control};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use case::{CONTENT, Case, cases};

fn main() -> ExitCode {
    if let Some(status) = verify::hidden_main() {
        return status.into();
    }
    let (inner, mut words) = verify::arguments();
    if inner {
        let exe = PathBuf::from(words.remove(1));
        let arguments = Arguments::from_iter(words);
        return libtest_mimic::run(&arguments, vec![trial(move || inside(&exe))]).exit_code();
    }
    let arguments = Arguments::from_iter(words.clone());
    if arguments.list {
        return libtest_mimic::run(&arguments, vec![trial(|| Ok(()))]).exit_code();
    }
    outside(words)
}

fn trial(check: impl FnOnce() -> Result<(), String> + Send + 'static) -> Trial {
    Trial::test("random-policies-mean-what-the-model-says", move || check().map_err(Failed::from))
}

/// Builds the runtime, then enters a lab with this program inside.
fn outside(words: Vec<OsString>) -> ExitCode {
    let exe = match palisade::build() {
        Ok(exe) => exe,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::FAILURE;
        }
    };
    let own = words.into_iter().skip(1);
    match lab::enter([verify::SUITE.into(), exe.into_os_string()].into_iter().chain(own).collect()) {
        Ok(status) => status.into(),
        Err(error) => {
            eprintln!("error: {error}\nhint: {}", error.hint().unwrap_or("none"));
            ExitCode::FAILURE
        }
    }
}

fn inside(exe: &Path) -> Result<(), String> {
    let tools = vec![("runtime".to_owned(), exe.to_owned())];
    let lab =
        lab::build(&LabOptions { tools, ..LabOptions::default() }).map_err(|error| error.to_string())?;
    let Some(document) = Document::builtin("default") else { return Err("no built-in policy".to_owned()) };
    let runner = Runner::new(&lab, "default", &document.policy);
    let tried = runner.each(
        &[()],
        |()| true,
        |place, ()| {
            let wanted = std::env::var("PALISADE_PATH_CASES").ok().and_then(|count| count.parse().ok());
            let random = TestRunner::new(config(wanted.unwrap_or(64)));
            if let Some((why, case)) = try_policies(&lab, place, random, Defect::None)? {
                return Err(format!("{why}\nunder the policy\n{}in the tree\n{case:#?}", case.policy()));
            }
            a_seeded_defect_is_found(&lab, place)
        },
    );
    tried.map_err(|error| error.to_string())?.into_iter().collect()
}

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// Always the same policies, so that this does not depend on luck.
fn a_seeded_defect_is_found(lab: &Lab, place: &mut Place<'_>) -> Result<(), String> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let found = try_policies(lab, place, TestRunner::new_with_rng(config(256), rng), Defect::NamesMove)?;
    let Some((why, case)) = found else { return Err("the seeded defect was not found".to_owned()) };
    println!("seeded defect: {why}\nunder the policy\n{}", case.policy());
    if case.rules.len() > 1 || case.links.len() > 1 || case.renames.len() > 1 {
        return Err(format!("the policy that shows the seeded defect is not small:\n{case:#?}"));
    }
    Ok(())
}

/// What is wrong with the sandbox on purpose.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Defect {
    None,
    /// The steps that keep names what they are are left out.
    NamesMove,
}

/// The smallest case that fails, and how, if there is one.
fn try_policies(
    lab: &Lab,
    place: &mut Place<'_>,
    mut runner: TestRunner,
    defect: Defect,
) -> Result<Option<(String, Case)>, String> {
    let place = std::cell::RefCell::new(place);
    let count = std::cell::Cell::new(0_u32);
    let result = runner.run(&cases(), |raw| {
        count.set(count.get() + 1);
        let nonce = format!("paths{}x{}", defect as u8, count.get());
        one(lab, &mut place.borrow_mut(), &Case::of(&raw), defect, &nonce).map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => Ok(None),
        Err(TestError::Fail(why, raw)) => Ok(Some((why.to_string(), Case::of(&raw)))),
        Err(TestError::Abort(why)) => Err(format!("aborted: {why}")),
    }
}

/// What is done to a path, and whether it must succeed.
struct Act {
    statement: Statement,
    what: String,
    allowed: Option<bool>,
    /// A file that was read: what must be in it.
    reads: bool,
}

impl Act {
    fn judged(what: impl Into<String>, statement: Statement, allowed: bool) -> Self {
        Self { statement, what: what.into(), allowed: Some(allowed), reads: false }
    }

    /// Whether it succeeds decides nothing by itself.
    fn tried(statement: Statement) -> Self {
        Self { statement, what: String::new(), allowed: None, reads: false }
    }
}

/// Everything that is done, in order.
fn acts(case: &Case, access: impl Fn(&str) -> Access) -> Vec<Act> {
    let mut acts = Vec::new();
    let mut read_and_append = |name: &str, reached: &str| {
        let access = access(reached);
        let read =
            Act::judged(format!("read {name}"), attempt!("read_file", name), access >= Access::ReadOnly);
        acts.push(Act { reads: true, ..read });
        let allowed = access == Access::ReadWrite;
        acts.push(Act::judged(format!("append {name}"), attempt!("append", name, "more"), allowed));
    };
    for file in case.files() {
        read_and_append(&file, &file);
    }
    for (link, target) in &case.links {
        // A link in a hidden directory is hidden, whatever it leads to.
        if access(link) >= Access::ReadOnly {
            read_and_append(&format!("{link}/x"), &format!("{target}/x"));
        }
    }
    for directory in &case.directories {
        let fresh = format!("{directory}/fresh");
        let allowed = access(&fresh) == Access::ReadWrite;
        acts.push(Act::judged(format!("create {fresh}"), attempt!("create_excl", fresh.as_str()), allowed));
    }
    for rule in case.rules.iter().filter(|rule| !rule.exists) {
        let create = attempt!("create_excl", rule.reached.as_str());
        acts.push(Act::judged(format!("create {}", rule.reached), create, false));
    }
    for directory in &case.renames {
        acts.push(Act::tried(attempt!("rename", directory.as_str(), moved(directory).as_str())));
    }
    after_renames(case, &access, &mut acts);
    acts
}

fn moved(directory: &str) -> String {
    format!("{directory}-moved")
}

/// Every denied path once more, when directories above it have perhaps been moved away.
fn after_renames(case: &Case, access: &impl Fn(&str) -> Access, acts: &mut Vec<Act>) {
    for rule in case.rules.iter().filter(|rule| rule.access != Access::ReadWrite) {
        for name in [&rule.typed, &rule.reached] {
            let is_directory = case.directories.contains(&rule.reached);
            let below = |path: &str| if is_directory { format!("{path}/x") } else { path.to_owned() };
            if access(&below(&rule.reached)) == Access::ReadWrite {
                continue;
            }
            let file = below(name);
            let mut above: Vec<&Path> = Path::new(&file).ancestors().skip(1).collect();
            above.reverse();
            for directory in above.into_iter().filter(|path| !path.as_os_str().is_empty()) {
                acts.push(Act::tried(attempt!("sys", nix::libc::SYS_mkdir, directory, 0o755)));
            }
            let write = attempt!("write_file", file.as_str(), "evil");
            acts.push(Act::judged(format!("write {file} after renames"), write, false));
            if access(&below(&rule.reached)) == Access::Hidden {
                let read = attempt!("read_file", file.as_str());
                acts.push(Act::judged(format!("read {file} after renames"), read, false));
            }
        }
        for directory in &case.renames {
            let rest = rule.reached.strip_prefix(directory.as_str()).filter(|rest| rest.starts_with('/'));
            let below = if case.directories.contains(&rule.reached) { "/x" } else { "" };
            let hidden = access(&format!("{}{below}", rule.reached)) == Access::Hidden;
            if let (true, Some(rest)) = (hidden, rest) {
                let file = format!("{}{rest}{below}", moved(directory));
                let read = attempt!("read_file", file.as_str());
                acts.push(Act::judged(format!("read {file}, moved"), read, false));
            }
        }
    }
}

fn one(lab: &Lab, place: &mut Place<'_>, case: &Case, defect: Defect, nonce: &str) -> Result<(), String> {
    let work = &lab.world().work;
    let rules: ResolvedRules = case.model(&work.dir)?;
    let access = |path: &str| rules.access(&work.dir.join(path)).unwrap_or(case.top);
    let stand = place.stand(&case.tree()).map_err(|error| format!("make the tree: {error}"))?;
    let acts = acts(case, access);
    let output = run(lab, &case.policy(), &acts, defect, nonce)?;
    for (number, act) in acts.iter().enumerate() {
        let seen =
            output.iter().find(|observed| observed.index == number).ok_or("an attempt has no result")?;
        let Some(allowed) = act.allowed else { continue };
        if (seen.errno == 0) != allowed {
            let expected = if allowed { "allows" } else { "denies" };
            return Err(format!(
                "{}: the policy {expected} it, the sandbox said errno {}",
                act.what, seen.errno
            ));
        }
        if act.reads && allowed && !seen.data.starts_with(CONTENT.as_bytes()) {
            return Err(format!("{}: something else was read: {}", act.what, seen.text()));
        }
    }
    on_the_host(case, &work.dir, access)?;
    drop(stand);
    Ok(())
}

/// What the host has afterwards.
fn on_the_host(case: &Case, work: &Path, access: impl Fn(&str) -> Access) -> Result<(), String> {
    for file in case.files() {
        let content = fs::read(work.join(&file)).unwrap_or_default();
        let writable = access(&file) == Access::ReadWrite;
        if !writable && content != CONTENT.as_bytes() {
            return Err(format!(
                "{file}: the policy denies writing, and on the host it was changed or moved"
            ));
        }
        if writable && case.renames.is_empty() && content.len() <= CONTENT.len() {
            return Err(format!("{file}: written inside, and not on the host"));
        }
    }
    for rule in case.rules.iter().filter(|rule| !rule.exists) {
        if work.join(&rule.reached).symlink_metadata().is_ok() {
            return Err(format!(
                "{}: the policy denies it, and on the host it has come to exist",
                rule.reached
            ));
        }
    }
    Ok(())
}

fn run(lab: &Lab, policy: &str, acts: &[Act], defect: Defect, nonce: &str) -> Result<Vec<Observed>, String> {
    let world = lab.world();
    let runtime = world.tool("runtime").ok_or("the lab has no runtime")?;
    let file = world.base.join("tools/random.yaml");
    fs::write(&file, policy).map_err(|error| format!("write {}: {error}", file.display()))?;
    let mut script: Script = acts.iter().map(|act| act.statement.clone()).collect();
    script.push(control!("read_file", "allowed.txt"));
    let start = |words: &[&str], file: &Path| {
        let mut command = Command::new(runtime);
        command.args(words).arg(file).current_dir(&world.work.dir).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let limit = Duration::from_secs(20);
    let mut command = match defect {
        Defect::None => start(&["run", "--policy"], &file),
        Defect::NamesMove => {
            let raw = process::run(
                lab,
                &mut start(&["plan", "--format", "json", "--policy"], &file),
                None,
                None,
                limit,
            );
            let broken = world.base.join("tools/broken.json");
            let plan = without_pins(&raw.stdout)?;
            fs::write(&broken, plan).map_err(|error| format!("write {}: {error}", broken.display()))?;
            start(&["run", "--plan"], &broken)
        }
    };
    command.arg("--").arg(&world.work.probe);
    command.args(script.argv(nonce).map_err(|error| error.to_string())?);
    let raw = process::run(lab, &mut command, None, None, limit);
    let transcript = parse_output(&raw.stdout, nonce);
    let control = transcript.observed(acts.len());
    if transcript.done && control.is_some_and(|control| control.errno == 0) {
        return Ok(transcript.observations);
    }
    Err(format!("the sandbox did not run: {:?}: {}", raw.end, String::from_utf8_lossy(&raw.stderr)))
}

/// A plan without the steps that keep names what they are.
fn without_pins(plan: &[u8]) -> Result<String, String> {
    let mut plan: serde_json::Value = serde_json::from_slice(plan).map_err(|error| error.to_string())?;
    let steps =
        plan.get_mut("steps").and_then(serde_json::Value::as_array_mut).ok_or("a plan without steps")?;
    steps.retain(|step| step.pointer("/step/pin_path").is_none());
    Ok(plan.to_string())
}

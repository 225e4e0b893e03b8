//! Random policies over a small tree, through the real `palisade run`, against the pure model of what a policy says about
//! a path.
//!
//! For every file of the tree: is it read, written and created exactly where [`ResolvedRules::access`] says so, by
//! its own name and through a symbolic link, and does the host see exactly those changes? `PALISADE_PATH_CASES` sets
//! how many policies are tried (default 32).
//!
//! [`ResolvedRules::access`]: palisade_policy::ResolvedRules::access

#[path = "support/palisade.rs"]
mod palisade;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use palisade_conformance::catalogue::Planted;
use palisade_conformance::lab::{self, Lab, LabOptions};
use palisade_conformance::run::Runner;
use palisade_conformance::run::place::Place;
use palisade_conformance::run::process;
use palisade_conformance::verify;
use palisade_policy::{Access, Document};
use palisade_probe::script::{Observed, Script, parse_output};
use palisade_probe::{attempt, control};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

const DIRECTORIES: &[&str] = &["a", "a/b", "a/b/c", "a/d", "e", "e/f"];
/// One in each directory.
const FILE: &str = "x";
/// Paths that no file has when the run starts; only `hidden` may name them.
const MISSING: &[&str] = &["a/new", "a/b/c/new", "e/f/new", "g"];
const CONTENT: &str = "content";

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

/// A rule: an index into the paths that rules can name, and what it says.
type Rule = (usize, Access);

#[derive(Clone, Debug)]
struct Case {
    top: Access,
    rules: Vec<Rule>,
}

fn files() -> impl Iterator<Item = String> {
    DIRECTORIES.iter().map(|directory| format!("{directory}/{FILE}"))
}

/// Every path that a rule can name, the missing ones last.
fn nameable() -> Vec<String> {
    let directories = DIRECTORIES.iter().chain(MISSING).map(|path| (*path).to_owned());
    let (mut all, missing): (Vec<String>, Vec<String>) =
        directories.partition(|path| !MISSING.contains(&path.as_str()));
    all.extend(files());
    all.extend(missing);
    all
}

fn cases() -> impl Strategy<Value = Case> {
    let access = prop::sample::select(vec![Access::ReadOnly, Access::ReadWrite, Access::Hidden]);
    let top = prop::sample::select(vec![Access::ReadOnly, Access::ReadWrite]);
    let rules = prop::collection::btree_map(0..nameable().len(), access, 0..6);
    (top, rules).prop_map(|(top, rules)| {
        let existing = nameable().len() - MISSING.len();
        let strict = |(path, access)| (path, if path < existing { access } else { Access::Hidden });
        Case { top, rules: rules.into_iter().map(strict).collect() }
    })
}

impl Case {
    fn hides_missing(&self) -> bool {
        self.without_missing().rules.len() < self.rules.len()
    }

    fn without_missing(&self) -> Self {
        let existing = nameable().len() - MISSING.len();
        Self { top: self.top, rules: self.rules.iter().copied().filter(|rule| rule.0 < existing).collect() }
    }

    fn policy(&self) -> String {
        let mut text = "version: 1\nfilesystem:\n".to_owned();
        let names = nameable();
        for (list, access) in
            [("read_only", Access::ReadOnly), ("read_write", Access::ReadWrite), ("hidden", Access::Hidden)]
        {
            let top = (self.top == access).then_some(".");
            let named = self.rules.iter().filter(|rule| rule.1 == access).map(|rule| names[rule.0].as_str());
            let paths: Vec<&str> = top.into_iter().chain(named).collect();
            if !paths.is_empty() {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "  {list}: [{}]", paths.join(", "));
            }
        }
        text
    }
}

/// What the runtime says when it cannot keep a hidden path from appearing.
const REFUSED: &str = "the path does not exist yet";

/// What is done to a path.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Read,
    Append,
    Create,
}

fn inside(exe: &Path) -> Result<(), String> {
    let tools = vec![("runtime".to_owned(), exe.to_owned())];
    let lab =
        lab::build(&LabOptions { tools, ..LabOptions::default() }).map_err(|error| error.to_string())?;
    let Some(document) = Document::builtin("default") else { return Err("no built-in policy".to_owned()) };
    let runner = Runner::new(&lab, "default", &document.policy);
    let tried = runner.each(&[()], |()| true, |place, ()| try_policies(&lab, place));
    tried.map_err(|error| error.to_string())?.into_iter().collect()
}

fn try_policies(lab: &Lab, place: &mut Place<'_>) -> Result<(), String> {
    let cases_wanted =
        std::env::var("PALISADE_PATH_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(32);
    let config = Config { cases: cases_wanted, failure_persistence: None, ..Config::default() };
    let place = std::cell::RefCell::new(place);
    let count = std::cell::Cell::new(0_u32);
    let result = TestRunner::new(config).run(&cases(), |case| {
        let try_one = |case: &Case| {
            count.set(count.get() + 1);
            one(lab, &mut place.borrow_mut(), case, &format!("paths{}", count.get()))
        };
        match try_one(&case) {
            // An honest refusal keeps the contract; the rest of the policy must hold all the same.
            Err(why) if why.contains(REFUSED) && case.hides_missing() => try_one(&case.without_missing()),
            other => other,
        }
        .map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => Ok(()),
        Err(TestError::Fail(why, case)) => Err(format!("{why}\nunder the policy\n{}", case.policy())),
        Err(TestError::Abort(why)) => Err(format!("aborted: {why}")),
    }
}

/// The acts and the paths on which they are tried, in the order of the script.
fn acts() -> Vec<(Act, String)> {
    let mut acts = Vec::new();
    for file in files() {
        acts.push((Act::Read, file.clone()));
        acts.push((Act::Append, file));
    }
    for (number, _) in DIRECTORIES.iter().enumerate() {
        acts.push((Act::Read, link(number)));
        acts.push((Act::Append, link(number)));
    }
    for directory in DIRECTORIES {
        acts.push((Act::Create, format!("{directory}/fresh")));
    }
    acts.extend(MISSING.iter().map(|path| (Act::Create, (*path).to_owned())));
    acts
}

/// The link at the top of the workspace that leads to the file of directory `number`.
fn link(number: usize) -> String {
    format!("link-{number}")
}

/// The file that a path reaches.
fn target(path: &str) -> String {
    let numbered = path.strip_prefix("link-").and_then(|number| number.parse::<usize>().ok());
    numbered.map_or_else(|| path.to_owned(), |number| format!("{}/{FILE}", DIRECTORIES[number]))
}

fn tree() -> Vec<Planted> {
    let files = files().map(|file| Planted::File(file.into(), CONTENT.into(), 0o644));
    let links = files_by_number().map(|(number, file)| Planted::Symlink(link(number).into(), file.into()));
    files.chain(links).collect()
}

fn files_by_number() -> impl Iterator<Item = (usize, String)> {
    files().enumerate()
}

fn one(lab: &Lab, place: &mut Place<'_>, case: &Case, nonce: &str) -> Result<(), String> {
    let work = &lab.world().work;
    let text = case.policy();
    let document =
        Document::parse("random.yaml", &text).map_err(|why| format!("the policy is refused: {why}"))?;
    let rules = document
        .policy
        .filesystem
        .resolve(&work.dir)
        .map_err(|errors| format!("the rules are refused: {errors:?}"))?;
    let stand = place.stand(&tree()).map_err(|error| format!("make the tree: {error}"))?;
    let acts = acts();
    let output = run(lab, &text, &acts, nonce)?;
    for (number, (act, path)) in acts.iter().enumerate() {
        let reached = work.dir.join(target(path));
        let access = rules.access(&reached).unwrap_or(case.top);
        let allowed = match act {
            Act::Read => access >= Access::ReadOnly,
            Act::Append | Act::Create => access == Access::ReadWrite,
        };
        let seen =
            output.iter().find(|observed| observed.index == number).ok_or("an attempt has no result")?;
        if (seen.errno == 0) != allowed {
            return Err(format!(
                "{act:?} {path}: the policy says {access:?}, the sandbox said errno {}",
                seen.errno
            ));
        }
        if *act == Act::Read && allowed && !seen.data.starts_with(CONTENT.as_bytes()) {
            return Err(format!("{path}: something else was read: {}", seen.text()));
        }
        if matches!(act, Act::Append | Act::Create) {
            let name = &target(path);
            let changed = changed(*act, &work.dir.join(name));
            // A link and its target are written through both names.
            if changed != allowed {
                return Err(format!(
                    "{act:?} {path}: the policy says {access:?}, on the host it was changed: {changed}"
                ));
            }
        }
    }
    drop(stand);
    Ok(())
}

/// Whether the host sees what was tried.
fn changed(act: Act, path: &Path) -> bool {
    match act {
        Act::Create => path.symlink_metadata().is_ok(),
        Act::Append | Act::Read => fs::read(path).is_ok_and(|content| content.len() > CONTENT.len()),
    }
}

fn run(lab: &Lab, policy: &str, acts: &[(Act, String)], nonce: &str) -> Result<Vec<Observed>, String> {
    let world = lab.world();
    let runtime = world.tool("runtime").ok_or("the lab has no runtime")?;
    let file = world.base.join("tools/random.yaml");
    fs::write(&file, policy).map_err(|error| format!("write {}: {error}", file.display()))?;
    let mut script: Script = acts
        .iter()
        .map(|(act, path)| match act {
            Act::Read => attempt!("read_file", path),
            Act::Append => attempt!("append", path, "more"),
            Act::Create => attempt!("create_excl", path),
        })
        .collect();
    script.push(control!("read_file", "allowed.txt"));
    let mut command = Command::new(runtime);
    command.args(["run", "--policy"]).arg(&file).arg("--").arg(&world.work.probe);
    command.args(script.argv(nonce).map_err(|error| error.to_string())?);
    command.current_dir(&world.work.dir).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let raw = process::run(lab, &mut command, None, None, Duration::from_secs(20));
    let transcript = parse_output(&raw.stdout, nonce);
    let control = transcript.observed(acts.len());
    if transcript.done && control.is_some_and(|control| control.errno == 0) {
        return Ok(transcript.observations);
    }
    Err(format!("the sandbox did not run: {:?}: {}", raw.end, String::from_utf8_lossy(&raw.stderr)))
}

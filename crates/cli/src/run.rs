//! `palisade run`: policy -> plan -> prepared -> launched -> outcome -> exit status.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use palisade::{Command, Ending, Error, Event, Forwarding, Outcome, code};
use palisade_host::{Depth, MappedTrees};
use palisade_plan::Plan;
use palisade_plan::plan::VERSION;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::arguments::{Narrow, Run};
use crate::events::Events;
use crate::source::{Decided, Told, decided};
use crate::{changes, message, report};

pub(crate) fn run(arguments: &Run) -> ExitCode {
    ExitCode::from(match execute(arguments) {
        Ok(code) => code,
        Err(Told) => code::PALISADE,
    })
}

fn execute(arguments: &Run) -> Result<u8, Told> {
    let Some((program, rest)) = arguments.command.split_first().filter(|(program, _)| !program.is_empty())
    else {
        message::error("no command", Some("palisade run [FLAGS] -- CMD ARGS"));
        return Err(Told);
    };
    let (given, decided) = match &arguments.plan {
        Some(_) if arguments.policy.narrow != Narrow::default() => {
            message::error(
                "--plan takes no flags that narrow a policy: it has none",
                Some("give them to `palisade plan`, which decides"),
            );
            return Err(Told);
        }
        Some(file) => (Some(read_plan(file)?), None),
        None => (None, Some(decided(&arguments.policy, Depth::Run)?)),
    };
    let Some(plan) = given.as_ref().or(decided.as_ref().map(|decided| &decided.plan)) else {
        return Err(Told);
    };
    changes::check(arguments, plan)?;
    // Opened before anything runs: a report that cannot be written must not be found out afterwards.
    let report = arguments.report.as_deref().map(report::File::create).transpose()?;
    let trees = match &decided {
        Some(decided) => {
            tell_downgrades(decided);
            decided.trees.clone()
        }
        None => MappedTrees::default(),
    };
    let mut events = arguments.json_events.map(Events::to).transpose()?;
    let mut command = Command::new(program).args(rest).mounted(trees);
    if arguments.report.is_some() {
        command = command.watch_denials();
    }
    if arguments.capture {
        command = command.keep_output();
    }
    if let Some(name) = &arguments.name {
        command = command.name(name);
    }
    let outcome = start(plan, command, events.as_mut())?;
    tell(&outcome.ending, program);
    tell_limits(&outcome);
    if let Some(report) = report {
        report.write(plan, decided.as_ref(), &outcome)?;
    }
    changes::take_out(arguments, &outcome)?;
    let code = outcome.exit_code();
    // The process ends: to free each piece first would only make the caller wait.
    std::mem::forget((given, decided, outcome));
    Ok(code)
}

fn start(plan: &Plan, command: Command, events: Option<&mut Events>) -> Result<Outcome, Told> {
    let forwarding = Forwarding::start().map_err(|errno| {
        message::error(format!("signalfd: {errno}"), None);
        Told
    })?;
    raise_open_files();
    let mut hear = events.map(|events| |event: Event| events.tell(&event));
    let hear = hear.as_mut().map(|hear| -> &mut dyn FnMut(Event) { hear });
    palisade::run(plan, command, Some(&forwarding), hear).map_err(|error| {
        told(&error);
        Told
    })
}

/// Why nothing was started.
pub(crate) fn told(error: &Error) {
    message::error(error, error.hint());
}

/// A privileged caller's trees are open descriptors until they are mounted, one for each rule: the soft limit of most
/// logins would stop at a thousand. The workload gets its own limit.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // On failure the number of rules is what the soft limit allows, with an exact error beyond.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// One line when anything gets less than it asked for.
fn tell_downgrades(decided: &Decided) {
    let downgrades: Vec<String> = decided
        .plan
        .downgrades()
        .map(|(coverage, reason)| format!("{} ({reason})", coverage.clause))
        .collect();
    if !downgrades.is_empty() {
        message::error(format!("degraded: {}", downgrades.join("; ")), None);
    }
}

/// Limits that a workload ran into without ending by them.
fn tell_limits(outcome: &Outcome) {
    // The wall time has a line of its own; having to wait for a share of the processors is how that limit works.
    let told = ["resources.wall_time", "resources.cpus"];
    let silent: Vec<String> = outcome
        .limits_hit
        .iter()
        .filter(|hit| !told.contains(&hit.clause.as_str()))
        .map(|hit| match hit.times {
            Some(times) if times > 1 => format!("{} ({times} times)", hit.clause),
            _ => hit.clause.to_string(),
        })
        .collect();
    if !silent.is_empty() {
        message::error(format!("limits hit: {}", silent.join(", ")), None);
    }
}

/// What the exit status alone does not say.
pub(crate) fn tell(ending: &Ending, program: &std::ffi::OsStr) {
    let program = program.to_string_lossy();
    match ending {
        Ending::Exited(_) | Ending::Signaled(_) => {}
        Ending::Stopped => message::error("the sandbox was stopped, and killed when it did not end", None),
        Ending::WallTime => message::error("the wall-time limit ended the run", None),
        Ending::NotStarted(failure) => message::error(failure, failure.hint),
        Ending::NotExecuted(errno) if ending.exit_code() == code::NOT_FOUND => message::error(
            format!("{program}: {errno}: not found in the sandbox"),
            Some("only what the policy shows exists inside; `palisade plan` lists it"),
        ),
        Ending::NotExecuted(errno) => message::error(format!("{program}: {errno}: cannot be executed"), None),
        Ending::Lost => message::error("the sandbox's first process was killed", None),
    }
}

/// Reads a plan given as data.
fn read_plan(file: &Path) -> Result<Plan, Told> {
    let failed = |error: String| {
        message::error(
            format!("plan {}: {error}", file.display()),
            Some("`palisade plan --format json` prints one"),
        );
        Told
    };
    let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    let plan: Plan = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    if plan.version != VERSION {
        return Err(failed(format!("version {} is not {VERSION}", plan.version)));
    }
    Ok(plan)
}

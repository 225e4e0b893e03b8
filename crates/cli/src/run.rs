//! `palisade run`: policy -> plan -> prepared -> launched -> outcome -> exit status.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use palisade::{Command, Ending, Forwarding, Outcome, code, launch, prepare, supervise};
use palisade_host::Depth;
use palisade_plan::Plan;
use palisade_plan::plan::VERSION;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::arguments::Run;
use crate::source::{Decided, Told, decided};
use crate::{message, report};

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
    let (plan, decided) = match &arguments.plan {
        Some(file) => (read_plan(file)?, None),
        None => {
            let decided = decided(&arguments.policy, Depth::Run)?;
            (decided.plan.clone(), Some(decided))
        }
    };
    // Opened before anything runs: a report that cannot be written must not be found out afterwards.
    let report = arguments.report.as_deref().map(report::File::create).transpose()?;
    if let Some(decided) = &decided {
        tell_downgrades(decided);
    }
    let command = Command { program: program.clone(), arguments: rest.to_vec() };
    let outcome = start(&plan, &command)?;
    tell(&outcome, program);
    if let Some(report) = report {
        report.write(&plan, decided.as_ref(), &outcome)?;
    }
    Ok(outcome.exit_code())
}

fn start(plan: &Plan, command: &Command) -> Result<Outcome, Told> {
    let forwarding = Forwarding::start().map_err(|errno| {
        message::error(format!("signalfd: {errno}"), None);
        Told
    })?;
    raise_open_files();
    let prepared = prepare(plan, command).map_err(|error| {
        message::error(error, None);
        Told
    })?;
    let launched = launch(prepared, Some(&forwarding)).map_err(|failure| {
        message::error(&failure, failure.hint);
        Told
    })?;
    Ok(supervise(launched, Some(&forwarding)))
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

/// What the exit status alone does not say.
fn tell(outcome: &Outcome, program: &std::ffi::OsStr) {
    let program = program.to_string_lossy();
    match &outcome.ending {
        Ending::Exited(_) | Ending::Signaled(_) => {}
        Ending::WallTime => message::error("the wall-time limit ended the run", None),
        Ending::NotStarted(failure) => message::error(failure, failure.hint),
        Ending::NotExecuted(errno) if outcome.exit_code() == code::NOT_FOUND => message::error(
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

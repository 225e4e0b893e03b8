//! Cases under a plan given as data instead of a policy: how mutants and layers run.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, io};

use palisade_probe::{attempt, control};
use serde_json::{Value, json};

use super::place::Place;
use super::{Runner, no_fork_meanwhile};
use crate::adapters::Palisade;
use crate::catalogue::{Outside, Probe, Severity};
use crate::judge::{Evidence, judge};
use crate::lab::Lab;
use crate::observation::{Observation, Unseen};
use crate::verdict::Verdict;

/// Writes a plan, and one with each of the times, where it keeps such a time.
pub(crate) fn write(path: &Path, plan: &Value, times: &BTreeSet<Duration>, keeps: bool) -> io::Result<()> {
    fs::write(path, serde_json::to_vec(plan)?)?;
    for &time in times {
        let mut plan = plan.clone();
        if let Some(plan) = plan.as_object_mut().filter(|_| keeps) {
            plan.insert(
                "wall_time".to_owned(),
                json!({"secs": time.as_secs(), "nanos": time.subsec_nanos()}),
            );
        }
        fs::write(Palisade::timed(path, time), serde_json::to_vec(&plan)?)?;
    }
    Ok(())
}

/// The plan, as the runtime makes it for the place where the cases run.
pub(crate) fn plan(runner: &Runner<'_>, palisade: &Path) -> io::Result<Value> {
    let made = runner.each(
        &[()],
        |()| false,
        |place, ()| {
            let _stand = place.stand(&[])?;
            let mut command = Command::new(palisade);
            command.args(["plan", "--format", "json", "--policy", runner.policy.argument]);
            command.args(runner.policy.carried);
            command.current_dir(&runner.lab.world().work.dir).stdin(Stdio::null());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let child = {
                let _alone = no_fork_meanwhile();
                runner.lab.spawn(&mut command)?
            };
            child.wait_with_output()
        },
    )?;
    let output = made.into_iter().next().unwrap_or_else(|| Err(io::Error::other("no plan was made")))?;
    if !output.status.success() {
        let said = crate::report::escape(output.stderr.trim_ascii());
        return Err(io::Error::other(format!("palisade plan: {}: {said}", output.status)));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The environment of whoever starts the runtime in a case, as far as it is text: all of it is.
pub(crate) fn caller(lab: &Lab) -> BTreeMap<String, String> {
    let text = |word: OsString| word.into_string().ok();
    let all = super::case::environment(lab).into_iter();
    all.filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
}

/// The verdict of one run of a probe under a plan.
pub(crate) fn verdict(
    runner: &Runner<'_>,
    place: &mut Place<'_>,
    adapter: &Palisade,
    probe: &Probe,
    outside: Option<&Observation>,
) -> Verdict {
    match runner.inside(place, adapter, probe) {
        Err(why) => Verdict::Unsupported(why.to_string()),
        Ok(outcome) => {
            let canary = outcome.canary.as_ref();
            judge(probe, Evidence { inside: &outcome.observation, outside, canary })
        }
    }
}

/// Why no workload runs under a plan, if none does.
pub(crate) fn closed(runner: &Runner<'_>, place: &mut Place<'_>, adapter: &Palisade) -> Option<String> {
    let starts = Probe::allows("mutant/starts", Severity::Low)
        .script([control!("sys", nix::libc::SYS_getpid), attempt!("sys", nix::libc::SYS_getpid)])
        .outside(Outside::NotRun("only whether it starts"));
    let trial = match runner.inside(place, adapter, &starts) {
        Ok(outcome) => outcome.observation,
        Err(why) => return Some(why.to_string()),
    };
    match trial.attempt {
        Err(Unseen::NotStarted(why)) => Some(why),
        Err(Unseen::NotAttempted(why)) => Some(format!("the workload does not run: {why}")),
        Err(Unseen::TimedOut) => Some("the runtime hangs".to_owned()),
        _ => None,
    }
}

/// The plan without the steps that the test picks by their kind and what they serve.
pub(crate) fn without(plan: &Value, leaves: impl Fn(&str, &str) -> bool) -> Value {
    let mut plan = plan.clone();
    if let Some(steps) = plan.get_mut("steps").and_then(Value::as_array_mut) {
        steps.retain(|step| {
            let kind = step.get("step").and_then(Value::as_object).and_then(|body| body.keys().next());
            let serves = step.get("serves").and_then(Value::as_str).unwrap_or_default();
            kind.is_none_or(|kind| !leaves(kind, serves))
        });
    }
    plan
}

/// Puts `value` at `pointer` below the operands of each step of this kind.
pub(crate) fn set(plan: &mut Value, kind: &str, pointer: &str, value: &Value) {
    for step in plan.get_mut("steps").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(place) = step.pointer_mut(&format!("/step/{kind}{pointer}")) {
            *place = value.clone();
        }
    }
}

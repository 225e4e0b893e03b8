//! One case: a probe under an adapter, from the fresh workspace to the observation.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use palisade_probe::control;
use palisade_probe::script::{Phase, Script};

use super::Runner;
use super::far_side::Watch;
use super::place::Place;
use super::process::{self, End, Raw, Trigger};
use super::read;
use super::stage;
use super::streams::Held;
use crate::adapters::{self, Adapter};
use crate::catalogue::{Action, Probe, Streams, Workload};
use crate::lab::Lab;
use crate::observation::{CanaryReport, Observation, Seen, Unseen};
use crate::report::escape;

/// How long processes of a killed runtime may take to go.
const TO_GO: Duration = Duration::from_secs(2);

/// What a case showed, on both sides.
pub struct Outcome {
    /// What was seen by the suite.
    pub observation: Observation,
    /// What the canary says.
    pub canary: Option<CanaryReport>,
}

/// Runs `probe` under `adapter` in a fresh workspace of `place`.
///
/// `nonce` must be unique. What the runtime cannot express comes back as `Err`.
pub fn run(
    runner: &Runner<'_>,
    place: &mut Place<'_>,
    adapter: &dyn Adapter,
    probe: &Probe,
    nonce: &str,
) -> Result<Outcome, adapters::Inexpressible> {
    let lab = runner.lab;
    let script = full_script(probe);
    let argv = match (&probe.workload, &script) {
        (Workload::Command(argv), _) => Ok(argv.clone()),
        (Workload::Script(_), Some(script)) => script.argv(nonce).map(|words| {
            std::iter::once(lab.world().work.probe.display().to_string()).chain(words).collect()
        }),
        (Workload::Script(_), None) => Ok(Vec::new()),
    };
    let harness = |why: String| Outcome {
        observation: Observation::nothing(Unseen::Harness(escape(why.as_bytes()))),
        canary: None,
    };
    let argv: Vec<String> = match argv {
        Ok(argv) => argv,
        Err(error) => return Ok(harness(error.to_string())),
    };
    let case = adapters::Case { argv: &argv, cwd: &lab.world().work.dir };
    let invocation = adapter.translate(runner.policy, case)?;
    let stand = match place.stand(&probe.planted) {
        Ok(stand) => stand,
        Err(error) => return Ok(harness(format!("make a workspace: {error}"))),
    };
    let watch = Watch::begin(lab, probe, nonce);
    let raw = execute(runner, &invocation, probe, nonce);
    let observation = match &script {
        Some(script) => read::script(adapter, script, nonce, &raw),
        None => read::command(adapter, &raw),
    };
    let observation = after_interference(probe, nonce, &raw, observation);
    thread::sleep(probe.settle);
    let canary = watch.map(Watch::end);
    drop(stand);
    Ok(Outcome { observation, canary })
}

/// The probe's script, with a control at its end when it has none: at the end, so that no statement changes its number.
fn full_script(probe: &Probe) -> Option<Script> {
    let Workload::Script(script) = &probe.workload else { return None };
    let mut script = script.clone();
    if script.statements().iter().all(|statement| statement.phase() != Phase::Control) {
        script.push(control!("sys", libc::SYS_getpid));
    }
    Some(script)
}

fn execute(runner: &Runner<'_>, invocation: &adapters::Invocation, probe: &Probe, nonce: &str) -> Raw {
    let mut argv = invocation.argv.clone();
    if matches!(probe.streams, Streams::Terminal | Streams::Behind) {
        argv.splice(0..0, stage::on_terminal(probe.streams == Streams::Terminal));
    }
    let Some((program, arguments)) = argv.split_first() else {
        return Raw::failed("nothing to execute".to_owned());
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&invocation.cwd);
    command.env_clear().envs(environment(runner.lab)).envs(invocation.env.iter().cloned());
    let (terminal, files) = match Held::attach(probe.streams, runner.lab, nonce, &mut command) {
        Ok(held) => held.split(),
        Err(error) => return Raw::failed(format!("attach standard descriptors: {error}")),
    };
    // Held until the run has ended: unmounted when dropped.
    let mut mounted = None;
    let trigger = probe.interference.as_ref().and_then(|interference| {
        let act: Box<dyn FnOnce(Pid) + '_> = match interference.action {
            Action::KillRuntime => Box::new(|pid| send(pid, Signal::SIGKILL)),
            Action::Signal(signal) => Box::new(move |pid| send(pid, signal)),
            Action::PlantMount => Box::new(|_| {
                mounted = Some(runner.lab.plant_mount(&runner.lab.world().work.mountpoint, nonce));
            }),
            Action::LetEnd => return None,
        };
        Some(Trigger { seen: announcement(nonce, interference.after), act })
    });
    let mut raw = process::run(runner.lab, &mut command, terminal, trigger, runner.limit);
    if let Some(Err(error)) = files.map(|files| files.read(nonce, &mut raw)) {
        raw.end = End::Failed(format!("read what it printed: {error}"));
    }
    if let Some(Err(error)) = mounted {
        raw.end = End::Failed(format!("mount while it runs: {error}"));
    }
    raw
}

fn send(pid: Pid, signal: Signal) {
    // A runtime that has ended already shows as much.
    let _ = kill(pid, signal);
}

/// The beginning of the line by which the probe announces a statement.
fn announcement(nonce: &str, statement: usize) -> Vec<u8> {
    format!("PALISADE {nonce} ATTEMPT {statement} ").into_bytes()
}

/// What a careless caller's environment holds.
pub(crate) fn environment(lab: &Lab) -> BTreeMap<OsString, OsString> {
    let world = lab.world();
    let mut all: BTreeMap<OsString, OsString> =
        world.env_secrets.iter().map(|(name, value)| (name.into(), value.into())).collect();
    all.insert("PATH".into(), world.caller_path.clone().into());
    all.insert("HOME".into(), world.home.clone().into());
    all.insert("LANG".into(), "C.UTF-8".into());
    all.insert("TERM".into(), "xterm".into());
    all
}

/// Replaces the observation where the probe interferes: what counts then is how it ended.
fn after_interference(probe: &Probe, nonce: &str, raw: &Raw, observation: Observation) -> Observation {
    let Some(interference) = &probe.interference else { return observation };
    let announced = announcement(nonce, interference.after);
    if !raw.stdout.windows(announced.len()).any(|window| window == announced) {
        return observation;
    }
    let attempt = match (interference.action, &raw.end) {
        (Action::PlantMount, _) | (_, End::Failed(_)) => return observation,
        (_, End::TimedOut) => Err(Unseen::TimedOut),
        (Action::KillRuntime | Action::LetEnd, _) => Ok(Seen::Survivors(survivors(nonce))),
        (Action::Signal(_), End::Exited(code)) => Ok(Seen::Exited { code: *code, stdout: Vec::new() }),
        (Action::Signal(_), End::Signalled(signal)) => Ok(Seen::Signalled(*signal)),
    };
    // The run may have been cut short on purpose: that the announced statement was reached is the control.
    Observation { attempt, control: Ok(()), ..observation }
}

/// How many processes that carry the nonce in their arguments are left after the time they have to go. They are then killed.
fn survivors(nonce: &str) -> u32 {
    let deadline = Instant::now() + TO_GO;
    loop {
        let left = carrying(nonce);
        if left.is_empty() || Instant::now() >= deadline {
            left.iter().for_each(|&pid| send(Pid::from_raw(pid), Signal::SIGKILL));
            return u32::try_from(left.len()).unwrap_or(u32::MAX);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn carrying(nonce: &str) -> Vec<i32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let carries = |pid: &i32| {
        // A zombie's arguments are empty.
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|words| words.windows(nonce.len()).any(|window| window == nonce.as_bytes()))
    };
    pids.filter(carries).collect()
}

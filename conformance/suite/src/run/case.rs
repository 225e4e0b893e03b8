//! One case: a probe under an adapter, from the fresh workspace to the observation.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::thread;

use nix::libc;
use nix::unistd::Pid;
use palisade_probe::control;
use palisade_probe::script::{Phase, Script};

use super::Runner;
use super::beside;
use super::ending::{early, kill_first, kill_group, kill_runtime, send, survivors};
use super::far_side::Watch;
use super::look;
use super::place::Place;
use super::process::{self, End, Raw, Trigger};
use super::read;
use super::scratch::Scratch;
use super::stage;
use super::streams::{Caller, Files, Held};
use crate::adapters::{self, Adapter, Exit};
use crate::catalogue::{Action, Probe, Streams, Workload};
use crate::entry::Entry;
use crate::lab::Lab;
use crate::observation::{CanaryReport, Observation, Seen, Unseen};
use crate::report::escape;

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
    let invocation = runner.invocation(adapter, &argv, probe.wall_time, nonce)?;
    let _scratch = match Scratch::with(nonce, &invocation) {
        Ok(scratch) => scratch,
        Err(error) => return Ok(harness(format!("prepare the runtime: {error}"))),
    };
    let stand = match place.stand(&probe.planted) {
        Ok(stand) => stand,
        Err(error) => return Ok(harness(format!("make a workspace: {error}"))),
    };
    let watch = Watch::begin(lab, probe, nonce);
    let mut terminal = None;
    let mut observe = || {
        let raw = execute(runner, &invocation, probe, nonce, adapter.entry());
        let observation = match &script {
            Some(script) => read::script(adapter, script, nonce, &raw),
            None => read::command(adapter, &raw),
        };
        terminal.clone_from(&raw.terminal);
        after_interference(runner, &invocation, adapter, probe, nonce, &raw, observation)
    };
    let observation = match &probe.beside {
        Some(script) => beside::with(runner, adapter, script, observe),
        None => observe(),
    };
    thread::sleep(probe.settle);
    let canary = watch.map(|watch| watch.end(terminal));
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

/// The command of an invocation with its standard descriptors, and what the suite keeps of these.
pub(super) fn command(
    runner: &Runner<'_>,
    invocation: &adapters::Invocation,
    streams: Streams,
    nonce: &str,
) -> io::Result<(Command, Option<OwnedFd>, Option<Files>)> {
    let mut argv = invocation.argv.clone();
    if matches!(streams, Streams::Terminal | Streams::Behind) {
        argv.splice(0..0, stage::on_terminal(streams == Streams::Terminal));
    }
    let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&invocation.cwd);
    command.env_clear().envs(environment(runner.lab)).envs(invocation.env.iter().cloned());
    let (terminal, files) = Held::attach(streams, runner.lab, nonce, &mut command)?.split();
    Ok((command, terminal, files))
}

fn execute(
    runner: &Runner<'_>,
    invocation: &adapters::Invocation,
    probe: &Probe,
    nonce: &str,
    entry: Entry,
) -> Raw {
    let streams = match (probe.streams, entry) {
        (Streams::Pipes, Entry::Pty) => Streams::Terminal,
        (streams, _) => streams,
    };
    let (mut command, terminal, files) = match command(runner, invocation, streams, nonce) {
        Ok(command) => command,
        Err(error) => return Raw::failed(format!("prepare the start: {error}")),
    };
    let caller = match terminal.as_ref().map(Caller::of).transpose() {
        Ok(caller) => caller,
        Err(error) => return Raw::failed(format!("look at the terminal: {error}")),
    };
    // Held until the run has ended: unmounted when dropped.
    let mut mounted = None;
    let mut looked = None;
    let caller = &caller;
    let trigger = probe.interference.as_ref().and_then(|interference| {
        let act: Box<dyn FnOnce(Pid) + '_> = match interference.action {
            // Of the many starts this one is the first: how long does it take?
            Action::KillRuntime | Action::KillEarly(_) => Box::new(killing(entry)),
            Action::KillFirst => Box::new(kill_first),
            Action::Signal(signal) => Box::new(move |pid| send(pid, signal)),
            Action::PlantMount => Box::new(|_| {
                mounted = Some(runner.lab.plant_mount(&runner.lab.world().work.mountpoint, nonce));
            }),
            Action::Interrupt => Box::new(|_| caller.iter().for_each(|caller| caller.types(&[0x03]))),
            Action::Type(text) => Box::new(|_| caller.iter().for_each(|caller| caller.types(text))),
            Action::Resize(rows, columns) => {
                Box::new(move |_| caller.iter().for_each(|caller| caller.resizes(rows, columns)))
            }
            Action::Look(what) => {
                let looked = &mut looked;
                Box::new(move |_| {
                    let program = &runner.lab.world().work.probe;
                    *looked = Some(look::at(nonce, program, what).map_err(|error| error.to_string()));
                })
            }
            Action::LetEnd | Action::AwaitLimit => return None,
        };
        Some(Trigger { seen: announcement(nonce, interference.after), act })
    });
    let mut raw =
        process::run(runner.lab, &mut command, terminal, trigger, probe.limit.unwrap_or(runner.limit));
    raw.terminal = caller.as_ref().and_then(Caller::changed);
    raw.looked = looked;
    if streams != probe.streams && matches!(probe.workload, Workload::Command(_)) {
        raw.stdout = as_printed(&raw);
    }
    if let Some(Err(error)) = files.map(|files| files.read(nonce, &mut raw)) {
        raw.end = End::Failed(format!("read what it printed: {error}"));
    }
    if let Some(Err(error)) = mounted {
        raw.end = End::Failed(format!("mount while it runs: {error}"));
    }
    raw
}

/// A terminal makes two characters of the end of a line. A transcript is read with either.
fn as_printed(raw: &Raw) -> Vec<u8> {
    String::from_utf8_lossy(&raw.stdout).replace("\r\n", "\n").into_bytes()
}

/// The beginning of the line by which the probe announces a statement.
pub(super) fn announcement(nonce: &str, statement: usize) -> Vec<u8> {
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

/// How the supervisor is killed. That of a sandbox to which something was added is another process of the group.
fn killing(entry: Entry) -> fn(Pid) {
    if entry == Entry::Exec { kill_group } else { kill_runtime }
}

/// Replaces the observation where the probe interferes: what counts then is how it ended.
fn after_interference(
    runner: &Runner<'_>,
    invocation: &adapters::Invocation,
    adapter: &dyn Adapter,
    probe: &Probe,
    nonce: &str,
    raw: &Raw,
    observation: Observation,
) -> Observation {
    let Some(interference) = &probe.interference else { return observation };
    let announced = announcement(nonce, interference.after);
    let Some(at) = raw.stdout.windows(announced.len()).position(|window| window == announced) else {
        return observation;
    };
    let attempt = match (interference.action, &raw.end) {
        (Action::PlantMount | Action::Type(_) | Action::Resize(..), _) | (_, End::Failed(_)) => {
            return observation;
        }
        (Action::AwaitLimit, end) => return after_limit(adapter, nonce, end, observation),
        (Action::Look(_), _) => match &raw.looked {
            Some(Ok(facts)) => Ok(Seen::reported(facts.clone())),
            Some(Err(why)) => Err(Unseen::Harness(format!("look at it: {why}"))),
            None => Err(Unseen::NotAttempted("it was not looked at".to_owned())),
        },
        (_, End::TimedOut) => Err(Unseen::TimedOut),
        (Action::KillRuntime | Action::KillFirst | Action::LetEnd, _) => {
            Ok(Seen::Survivors(survivors(nonce)))
        }
        (Action::KillEarly(rounds), _) => {
            let longest = raw.arrival(at).unwrap_or(raw.took) * 5 / 4;
            let early = command(runner, invocation, Streams::Pipes, nonce).and_then(|(mut command, ..)| {
                early(runner.lab, &mut command, (rounds, longest), killing(adapter.entry()))
            });
            early.map(Seen::Survivors).map_err(|error| Unseen::Harness(format!("start it again: {error}")))
        }
        (Action::Signal(_) | Action::Interrupt, End::Exited(code)) => {
            Ok(Seen::Exited { code: *code, stdout: Vec::new() })
        }
        (Action::Signal(_) | Action::Interrupt, End::Signalled(signal)) => Ok(Seen::Signalled(*signal)),
    };
    // The run may have been cut short on purpose: that the announced statement was reached is the control.
    Observation { attempt, control: Ok(()), ..observation }
}

/// Replaces the observation where the transcript ends before the attempt returned: how the run ended is what counts then.
fn after_limit(adapter: &dyn Adapter, nonce: &str, end: &End, observation: Observation) -> Observation {
    let (Err(Unseen::NotAttempted(_)), End::Exited(code)) = (&observation.attempt, end) else {
        return observation;
    };
    let out_of_time = match adapter.exit(*code) {
        Exit::Runtime => return observation,
        Exit::OutOfTime => true,
        Exit::Workload(_) => false,
    };
    let attempt = match survivors(nonce) {
        0 => Ok(Seen::CutShort { out_of_time, code: *code }),
        left => Ok(Seen::Survivors(left)),
    };
    // The controls before the attempt count; that the probe did not get to its end is what was to be seen.
    let control = observation.control.or_else(|why| if why == read::NOT_THE_END { Ok(()) } else { Err(why) });
    Observation { attempt, control, ..observation }
}

//! A second sandbox that runs while a case does.

use std::sync::mpsc;
use std::thread;

use nix::sys::signal::Signal;
use palisade_probe::script::{Phase, Script};

use super::case::{announcement, command};
use super::ending::kill_group;
use super::process::{self, End, Raw, Trigger};
use super::scratch::Scratch;
use super::{Runner, read};
use crate::adapters::Adapter;
use crate::catalogue::Streams;
use crate::observation::{Observation, Unseen};
use crate::report::escape;

/// Runs `body` while `script` waits in a sandbox of its own, in the same place. What that one could not do shows in the
/// observation: without it there was nobody to be kept away from.
pub(super) fn with(
    runner: &Runner<'_>,
    adapter: &dyn Adapter,
    script: &Script,
    body: impl FnOnce() -> Observation,
) -> Observation {
    // The workload passes over the processes that carry its own nonce.
    let nonce = runner.nonce();
    let harness = |why: String| Observation::nothing(Unseen::Harness(escape(why.as_bytes())));
    let waits = script.statements().iter().position(|statement| statement.phase() == Phase::Attempt);
    let Some(waits) = waits else { return harness("the other sandbox has nothing to wait for".to_owned()) };
    let started = script.argv(&nonce).map_err(|error| error.to_string()).and_then(|words| {
        let probe = runner.lab.world().work.probe.display().to_string();
        let argv: Vec<String> = std::iter::once(probe).chain(words).collect();
        let invocation =
            runner.invocation(adapter, &argv, None, &nonce).map_err(|error| error.to_string())?;
        let scratch = Scratch::with(&nonce, &invocation).map_err(|error| error.to_string())?;
        let command = command(runner, &invocation, Streams::Pipes, &nonce);
        command.map(|(command, ..)| (command, scratch)).map_err(|error| error.to_string())
    });
    let (mut other, _scratch) = match started {
        Ok(started) => started,
        Err(why) => return harness(format!("start the other sandbox: {why}")),
    };
    let (waiting, waited) = mpsc::channel();
    let (observation, raw) = thread::scope(|scope| {
        let nonce = &nonce;
        let run = move || {
            let seen = announcement(nonce, waits);
            let act = Box::new(move |pid| {
                // The receiver is there until it has heard, or until this run has ended.
                let _ = waiting.send(pid);
            });
            process::run(runner.lab, &mut other, None, Some(Trigger { seen, act }), runner.limit)
        };
        // The thread is started by this one, so that it has the same mount namespace.
        let other = scope.spawn(run);
        let observation = waited.recv().ok().map(|pid| {
            let observation = body();
            kill_group(pid);
            observation
        });
        (observation, other.join().unwrap_or_else(|_| Raw::failed("its thread panicked".to_owned())))
    });
    let other = read::script(adapter, script, &nonce, &raw);
    match (observation, other.setup, raw.end) {
        (_, Err(why), _) => {
            let setup = Err(format!("in the other sandbox: {why}"));
            Observation {
                setup,
                ..Observation::nothing(Unseen::NotAttempted("nobody was beside it".to_owned()))
            }
        }
        (None, ..) => harness(format!("the other sandbox did not start: {}", other.stderr)),
        (Some(observation), Ok(()), End::Signalled(signal)) if signal == Signal::SIGKILL as i32 => {
            observation
        }
        (Some(_), Ok(()), end) => harness(format!("the other sandbox ended before the workload: {end:?}")),
    }
}

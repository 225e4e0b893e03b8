//! From a plan and a command to a supervised sandbox.

use palisade_plan::Plan;

use crate::command::Command;
use crate::error::Error;
use crate::event::Event;
use crate::front::{Front, Wish};
use crate::launch::launch;
use crate::outcome::Outcome;
use crate::prepare::{Words, prepare};
use crate::registry::{Record, Registry};
use crate::supervise::{Forwarding, Supervisor};
use crate::terminal;

/// Runs `command` under `plan` in the calling thread, to its end.
///
/// With `forwarding`, signals that this process gets are the workload's. `events` hears what happens meanwhile.
///
/// # Errors
/// Whatever keeps the workload from being started before its sandbox exists. What goes wrong later is an
/// [`Ending`](crate::Ending).
pub fn run<'a>(
    plan: &'a Plan,
    command: Command,
    forwarding: Option<&'a Forwarding>,
    events: Option<&'a mut dyn FnMut(Event)>,
) -> Result<Outcome, Error> {
    let mut supervisor = start(plan, command, forwarding)?;
    supervisor.events = events;
    Ok(supervisor.run())
}

/// Opens what the command asks for, and launches the sandbox.
pub(crate) fn start<'a>(
    plan: &'a Plan,
    command: Command,
    forwarding: Option<&'a Forwarding>,
) -> Result<Supervisor<'a>, Error> {
    let Command { words: command, stdio, keep, watch, name, trees, directory: _ } = command;
    // Before anything exists: a name that is taken costs nothing.
    let service = match &name {
        None => None,
        Some(name) => {
            let shown = command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
            let record = Record::new(name, plan, shown);
            Some(Registry::open()?.claim(&record)?)
        }
    };
    let budget = plan.output.map(|size| size.bytes());
    let front = Front::open(Wish { stdio, budget, keep, terminal: plan.terminal })?;
    let words = Words {
        command,
        variables: terminal_variables(&front),
        more: service.is_some(),
        watched: watch,
        trees,
    };
    let launched = launch(prepare(plan, &words)?, plan, forwarding)?;
    let mut supervisor = Supervisor::new(plan, launched, front, forwarding);
    supervisor.service = service;
    Ok(supervisor)
}

/// What a program on a private terminal is told besides: which kind of terminal the caller's is, since everything that it
/// writes ends up there.
pub(crate) fn terminal_variables(front: &Front) -> Vec<(String, String)> {
    match front.terminal() {
        None => Vec::new(),
        Some(_) => {
            let callers = std::env::var("TERM").ok();
            vec![("TERM".to_owned(), terminal::kind(callers.as_deref()).to_owned())]
        }
    }
}

//! The `palisade` command: reads arguments, and lets the libraries do the rest.

mod arguments;
mod carry;
mod changes;
mod check;
mod entries;
mod events;
mod host;
mod matrix;
mod message;
mod narrow;
mod plan;
mod probe;
mod probes;
mod report;
mod run;
mod several;
mod source;
mod verify;

use std::process::ExitCode;

use arguments::{Arguments, Verb};
use palisade_sys::allocator::StartAllocator;

/// Room for what a run under the default policy takes until its program has started, and little more: what is left of it, and is used
/// later, is not used twice.
#[global_allocator]
static ALLOCATOR: StartAllocator<{ 320 << 10 }> = StartAllocator::new();

fn main() -> ExitCode {
    // The stages of the lab are this same program under hidden names, which no user types and no help shows.
    if let Some(code) = palisade_conformance::verify::hidden_main() {
        return ExitCode::from(code);
    }
    let (inner, arguments) = palisade_conformance::verify::arguments();
    let arguments = match Arguments::parse_words(&arguments) {
        Ok(arguments) => arguments,
        Err(error) => return message::usage(&error),
    };
    match arguments.verb {
        Verb::Run(run) => run::run(&run),
        Verb::Exec(exec) => entries::exec(&exec),
        Verb::Ps(ps) => entries::ps(&ps),
        Verb::Stop(stop) => entries::stop(&stop),
        Verb::Plan(plan) => plan::plan(&plan),
        Verb::Verify(verify) => verify::verify(&verify, inner),
        Verb::Matrix(arguments) => matrix::matrix(&arguments),
        Verb::Probes(arguments) => probes::probes(&arguments),
        Verb::Probe(arguments) => probe::probe(&arguments),
        Verb::Host(host) => host::host(&host),
        Verb::Policy(check) => check::check(&check),
    }
}

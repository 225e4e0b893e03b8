//! The gateway at work: between a network namespace that stands for the sandbox and one that stands for the world.
//!
//! No packet can leave: the process first enters a user and a network namespace of its own, and asserts that there is no
//! link but `lo` and no default route. Addresses of the world are local routes there.

// The lint knows tests by their attribute, which these have none of.
#![allow(clippy::unwrap_used)]

mod cases;
mod lab;

use libtest_mimic::{Arguments, Failed, Trial};

/// A test that runs in the lab.
type Case = (&'static str, fn());

fn main() {
    let arguments = Arguments::from_args();
    if !arguments.list
        && let Err(why) = lab::enter()
    {
        assert!(std::env::var_os("PALISADE_MUST_WORK").is_none(), "no lab: {why}");
        println!("skipped: no lab: {why}");
        return;
    }
    let trials = cases::all().into_iter().map(|(name, case)| {
        Trial::test(name, move || {
            case();
            Ok::<(), Failed>(())
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

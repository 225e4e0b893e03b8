//! The lab, tested by standing in it.
//!
//! Each trial starts this same program again as the outer stage, as the lab's user does; the checks of `tests/lab/inside.rs` run in
//! the suite stage. As root every check runs twice: as root, and as an ordinary user that the system does not know.

#[path = "lab/inside.rs"]
mod inside;
#[path = "lab/outside.rs"]
mod outside;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use palisade_conformance::lab;

/// First argument of the outer stage: a check of `inside` follows.
const ENTER: &str = "__enter";
/// First argument of the suite stage.
const INSIDE: &str = "__inside";
/// First argument of a child that prints its own `/proc/self/status` and descriptors.
const LOOK: &str = "__look";

fn main() -> ExitCode {
    if let Some(status) = lab::dispatch() {
        return status.into();
    }
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let word = |n: usize| arguments.get(n).map_or("", |a| a.to_str().unwrap_or(""));
    match word(1) {
        ENTER => outer(word(2), word(3)),
        INSIDE => inside::run(word(2)),
        LOOK => inside::look(),
        _ => {
            let copy = Arc::new(outside::Copy::new());
            libtest_mimic::run(&libtest_mimic::Arguments::from_args(), outside::trials(&copy)).exit_code()
        }
    }
}

fn outer(check: &str, token: &str) -> ExitCode {
    // What a careless caller leaves open; the lab must not inherit it.
    let _open = rustix::io::dup(std::io::stdout()).expect("dup");
    let _thread = (check == "threaded").then(|| std::thread::spawn(std::thread::park));
    match lab::enter([INSIDE, check, token].map(OsString::from).to_vec()) {
        Ok(status) => status.into(),
        Err(e) => {
            eprintln!("{e}\nhint: {}", e.hint().unwrap_or("none"));
            3.into()
        }
    }
}

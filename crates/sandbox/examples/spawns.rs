//! How long a start takes from a process with many threads: `cargo run --release -p palisade --example spawns [THREADS]`.
//!
//! Reads requests, one a line, and answers each with nanoseconds: `spawn` until the sandbox runs, `spawn and wait` until its program
//! has ended, `fork` until a child has ended that does nothing at all. The other threads, one less than said, wait meanwhile. `scripts/bench` compares such processes.

use std::error::Error;
use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use palisade::{Command, Ending, Sandbox};
use palisade_policy::Document;
use palisade_sys::process::{self, Forked};

fn main() -> ExitCode {
    let threads = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(64);
    match run(threads) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(threads: usize) -> Result<(), Box<dyn Error>> {
    let policy = Document::builtin("default").ok_or("no policy")?.policy;
    let sandbox = Sandbox::new(policy);
    thread::scope(|scope| {
        let mut waiting = Vec::new();
        for _ in 1..threads {
            let (end, ended) = mpsc::channel::<()>();
            waiting.push(end);
            scope.spawn(move || ended.recv());
        }
        let mut out = std::io::stdout();
        for line in std::io::stdin().lock().lines() {
            let nanoseconds = match line?.as_str() {
                "fork" => fork()?,
                what => one(&sandbox, what == "spawn")?,
            };
            writeln!(out, "{nanoseconds}")?;
            out.flush()?;
        }
        Ok(())
    })
}

/// What the kernel takes for the copy of this process that every start has to make.
fn fork() -> Result<u128, Box<dyn Error>> {
    let begun = Instant::now();
    match process::fork_unnoticed()? {
        Forked::Child(_) => process::exit(0),
        Forked::Parent(pid) => process::wait_for(pid)?,
    };
    Ok(begun.elapsed().as_nanos())
}

/// One run; only its start is timed where it says so.
fn one(sandbox: &Sandbox, only_start: bool) -> Result<u128, Box<dyn Error>> {
    let begun = Instant::now();
    let mut child = sandbox.spawn(Command::new("/bin/true"))?;
    let started = begun.elapsed();
    let outcome = child.wait();
    let ended = begun.elapsed();
    match outcome.ending {
        Ending::Exited(0) => Ok(if only_start { started } else { ended }.as_nanos()),
        other => Err(format!("{other:?}").into()),
    }
}

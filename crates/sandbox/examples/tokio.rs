//! Many sandboxes at the same time from an asynchronous program: `cargo run -p palisade --example tokio [COUNT]`.
//!
//! A sandbox is started on the pool of blocking threads, since that makes system calls for some milliseconds; its end is a
//! future. All of them are there before the first one is let go on. One in ten does not end by itself and is killed.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use palisade::{Command, Ending, Outcome, Sandbox, Stdio};
use palisade_policy::Document;
use tokio::sync::Barrier;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

/// What a sandbox is for.
#[derive(Clone, Copy)]
enum Kind {
    /// Ends with this exit status.
    Ends(u8),
    /// Goes on until it is killed.
    GoesOn,
}

fn main() -> ExitCode {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(200);
    match run(count) {
        Ok(()) => {
            println!("{count} sandboxes at once, and every one as it should be");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs `count` sandboxes at the same time.
///
/// # Errors
/// What is wrong.
pub(crate) fn run(count: usize) -> Result<(), Box<dyn std::error::Error>> {
    let policy = Document::parse("example", "filesystem: {base: host}")?.policy;
    let sandbox = Sandbox::new(policy);
    // One thread for everything that waits: waiting for a sandbox takes none.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let mut runs = JoinSet::new();
        let all_there = Arc::new(Barrier::new(count));
        for number in 0..count {
            runs.spawn(one(sandbox.clone(), Arc::clone(&all_there), number));
        }
        while let Some(ended) = runs.join_next().await {
            ended??;
        }
        Ok(())
    })
}

async fn one(sandbox: Sandbox, all_there: Arc<Barrier>, number: usize) -> Result<(), String> {
    let kind = match number % 10 {
        9 => Kind::GoesOn,
        _ => Kind::Ends(u8::try_from(number % 100).unwrap_or(u8::MAX)),
    };
    let script = match kind {
        Kind::Ends(code) => format!("read -r _; echo {number}; exit {code}"),
        Kind::GoesOn => format!("read -r _; echo {number}; sleep 1000 & wait"),
    };
    let command =
        Command::new("sh").args(["-c", &script]).current_dir("/").stdin(Stdio::Piped).stdout(Stdio::Capture);
    let mut child = spawn_blocking(move || sandbox.spawn(command))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    all_there.wait().await;
    if let Some(ended) = child.try_wait() {
        return Err(format!("number {number} has ended before it was told to: {:?}", ended.ending));
    }
    drop(child.stdin.take());
    let (outcome, expected) = match kind {
        Kind::Ends(code) => (child.ended().await, Ending::Exited(code)),
        Kind::GoesOn => {
            if let Ok(ended) = timeout(Duration::from_millis(50), child.ended()).await {
                return Err(format!("number {number} has ended by itself: {:?}", ended.ending));
            }
            child.kill().map_err(|error| error.to_string())?;
            (child.ended().await, Ending::Lost)
        }
    };
    check(number, &outcome, &expected)
}

fn check(number: usize, outcome: &Outcome, expected: &Ending) -> Result<(), String> {
    let said =
        outcome.output.stdout.as_ref().and_then(|stream| stream.captured.as_deref()).unwrap_or_default();
    // One that was killed early may not have come to it.
    let complete = said == format!("{number}\n").as_bytes() || (said.is_empty() && *expected == Ending::Lost);
    if outcome.ending != *expected || !complete {
        return Err(format!("number {number}: {:?}, {}", outcome.ending, String::from_utf8_lossy(said)));
    }
    Ok(())
}

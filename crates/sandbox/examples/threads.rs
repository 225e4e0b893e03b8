//! Many sandboxes at the same time from a program with plain threads: `cargo run -p palisade --example threads [COUNT]`.
//!
//! Every sandbox waits for its standard input, so that all of them are there at once; then each is told its number, and has
//! to answer with it and to end with an exit status of its own.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::thread;

use palisade::{Child, Command, Ending, Sandbox, Stdio};
use palisade_plan::Step;
use palisade_policy::Document;

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
pub(crate) fn run(count: usize) -> Result<(), Box<dyn Error>> {
    let policy = Document::parse("example", "filesystem: {base: host}")?.policy;
    let sandbox = Sandbox::new(policy);
    let mut children = in_threads((0..count).collect(), |_| start(&sandbox))?;
    alone(&mut children)?;
    in_threads(children.into_iter().enumerate().collect(), |(number, child)| finish(number, child))?;
    Ok(())
}

/// Does `work` with every item, each in a thread of its own.
fn in_threads<T: Send, R: Send>(
    items: Vec<T>,
    work: impl Fn(T) -> Result<R, String> + Sync,
) -> Result<Vec<R>, String> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = items.into_iter().map(|item| scope.spawn(move || work(item))).collect();
        let joined = threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked")?);
        joined.collect()
    })
}

fn start(sandbox: &Sandbox) -> Result<Child, String> {
    let script = "read -r number; echo \"this is $number\"; exit $((number % 100))";
    let command =
        Command::new("sh").args(["-c", script]).current_dir("/").stdin(Stdio::Piped).stdout(Stdio::Capture);
    sandbox.spawn(command).map_err(|error| error.to_string())
}

/// Whether all of them run, each with ids that no other has where there are ids to give.
fn alone(children: &mut [Child]) -> Result<(), String> {
    let count = children.len();
    if let Some(ended) = children.iter_mut().find_map(Child::try_wait) {
        return Err(format!("one has ended before it was told to: {ended:?}"));
    }
    let processes: BTreeSet<u32> = children.iter().map(Child::id).collect();
    let users: BTreeSet<u32> = children.iter().filter_map(kernel_user).collect();
    // An ordinary user has no id to give but its own.
    let expected = if rustix::process::geteuid().is_root() { count } else { 1 };
    if (processes.len(), users.len()) != (count, expected) {
        return Err(format!("{count} sandboxes, {} first processes, {} users", processes.len(), users.len()));
    }
    Ok(())
}

/// The user that the kernel knows a sandbox's programs by.
fn kernel_user(child: &Child) -> Option<u32> {
    child.plan().steps.iter().find_map(|planned| match &planned.step {
        Step::MapIds { uid, .. } => Some(uid.outside),
        _ => None,
    })
}

fn finish(number: usize, mut child: Child) -> Result<(), String> {
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    writeln!(stdin, "{number}").map_err(|error| error.to_string())?;
    let outcome = child.wait();
    let said = outcome.output.stdout.and_then(|stream| stream.captured).unwrap_or_default();
    let code = u8::try_from(number % 100).unwrap_or(u8::MAX);
    if outcome.ending != Ending::Exited(code) || said != format!("this is {number}\n").as_bytes() {
        return Err(format!("number {number}: {:?}, {}", outcome.ending, String::from_utf8_lossy(&said)));
    }
    Ok(())
}

//! How a run is brought to its end from outside, and what is left of it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::no_fork_meanwhile;
use crate::lab::Lab;

/// How long processes of a killed runtime may take to go.
const TO_GO: Duration = Duration::from_secs(2);

/// How often they are looked for meanwhile.
const AGAIN: Duration = Duration::from_millis(5);

/// Sends a signal to the runtime.
pub(super) fn send(pid: Pid, signal: Signal) {
    // A runtime that has ended already shows as much.
    let _ = kill(pid, signal);
}

/// Kills the runtime's own process.
pub(super) fn kill_runtime(pid: Pid) {
    send(pid, Signal::SIGKILL);
}

/// Kills a process group that the suite has made, and does not mind when it is gone.
pub(super) fn kill_group(leader: Pid) {
    let _ = killpg(leader, Signal::SIGKILL);
}

/// Kills the first processes of the sandboxes that members of this process group have started; of a runtime that makes no
/// pid namespace, its children.
pub(super) fn kill_first(leader: Pid) {
    let all: Vec<Entry> = processes().filter_map(Entry::read).collect();
    let in_group: BTreeSet<i32> =
        all.iter().filter(|entry| entry.group == leader.as_raw()).map(|entry| entry.pid).collect();
    let mut first: Vec<&Entry> =
        all.iter().filter(|entry| entry.is_first && in_group.contains(&entry.parent)).collect();
    if first.is_empty() {
        first = all.iter().filter(|entry| entry.parent == leader.as_raw()).collect();
    }
    first.iter().for_each(|entry| send(Pid::from_raw(entry.pid), Signal::SIGKILL));
}

/// What /proc tells of a process.
struct Entry {
    pid: i32,
    parent: i32,
    group: i32,
    /// Whether it is process 1 of a pid namespace below the suite's.
    is_first: bool,
}

impl Entry {
    fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Behind the name in parentheses: state, parent, group (proc_pid_stat(5)).
        let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(1);
        let mut number = || fields.next()?.parse().ok();
        let (parent, group) = (number()?, number()?);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        let numbers: Vec<&str> = numbers.split_whitespace().collect();
        let is_first = numbers.len() > 1 && numbers.last() == Some(&"1");
        Some(Self { pid, parent, group, is_first })
    }
}

/// How many processes that carry the nonce in their arguments are left after the time they have to go. They are then killed.
pub(super) fn survivors(nonce: &str) -> u32 {
    left(|| carrying(nonce))
}

/// The same for a set of processes that shrinks.
fn left(look: impl Fn() -> Vec<i32>) -> u32 {
    let deadline = Instant::now() + TO_GO;
    loop {
        let left = look();
        if left.is_empty() || Instant::now() >= deadline {
            left.iter().for_each(|&pid| send(Pid::from_raw(pid), Signal::SIGKILL));
            return u32::try_from(left.len()).unwrap_or(u32::MAX);
        }
        thread::sleep(AGAIN);
    }
}

pub(super) fn carrying(nonce: &str) -> Vec<i32> {
    let carries = |pid: &i32| {
        // A zombie's arguments are empty.
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|words| words.windows(nonce.len()).any(|window| window == nonce.as_bytes()))
    };
    processes().filter(carries).collect()
}

pub(super) fn processes() -> impl Iterator<Item = i32> {
    let all = fs::read_dir("/proc").into_iter().flatten();
    all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Starts the command `rounds` times and ends it by `kill` after a time that grows from nothing to `longest`; then how
/// many processes are left that were not there before, whatever their arguments: a sandbox may wipe those of its first
/// process.
///
/// # Errors
/// When the command cannot be started.
pub(super) fn early(
    lab: &Lab,
    command: &mut Command,
    (rounds, longest): (u32, Duration),
    kill: fn(Pid),
) -> io::Result<u32> {
    let before: BTreeSet<i32> = processes().collect();
    for round in 0..rounds {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = {
            let _alone = no_fork_meanwhile();
            lab.spawn_with_leaks(command)?
        };
        thread::sleep(longest * round / rounds.max(1));
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX)));
        child.wait()?;
    }
    Ok(left(|| processes().filter(|pid| !before.contains(pid) && !is_zombie(*pid)).collect()))
}

/// An orphan is reaped by the lab's first process, which may take a while.
fn is_zombie(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

//! Nothing of a sandbox stays in the process that ran it, nor on the host, and no sandbox sees another.
//!
//! `PALISADE_LEAK_RUNS` says how many run one after the other: a hundred unless it is set, and a thousand in
//! `scripts/nightly`.

#[path = "support/apart.rs"]
mod apart;
#[path = "support/plans.rs"]
mod plans;

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use apart::{apart, everything, reap_all};
use palisade::{Child, Command, Ending, Sandbox, Stdio};
use palisade_policy::Document;

/// Runs before anything is compared: what is made once and kept (a thread's stack, an allocator's arena) is there then.
const WARM_UP: usize = 20;

/// Namespaces of a kind that may exist at a time. The kernel takes its time to free those of a dead process.
const NAMESPACES: u32 = 50;

/// How much more memory this process may have after twice as many runs, in percent.
const GROWTH: u64 = 10;

/// How many sandboxes run at the same time.
const AT_ONCE: usize = 64;

/// Pages of memory that are this process's.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").expect("readable");
    text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number")
}

#[test]
fn one_after_the_other_leaves_nothing() {
    let runs = env::var("PALISADE_LEAK_RUNS").map_or(100, |runs| runs.parse().expect("a number"));
    apart("one_after_the_other_leaves_nothing", NAMESPACES, |place| {
        let workspace = plans::workspace(place);
        let sandboxes: Vec<Sandbox> = plans::policies().map(|(_, policy)| Sandbox::new(policy)).collect();
        let decided = plans::plans(&workspace);
        let run_some = |count: usize| {
            for number in 0..count {
                // Alternately from a thread of its own and in this one.
                let command = || Command::new("sh").args(["-c", "exit 7"]).stdin(Stdio::Null);
                let outcome = if number % 2 == 0 {
                    sandboxes[number % sandboxes.len()].output(command().current_dir(&workspace))
                } else {
                    let command = command().stdout(Stdio::Capture);
                    palisade::run(&decided[number % decided.len()].1, command, None, None)
                };
                let outcome = outcome.unwrap_or_else(|error| panic!("run {number}: {error}"));
                assert_eq!(outcome.ending, Ending::Exited(7), "run {number}");
            }
            reap_all();
        };
        run_some(WARM_UP);
        let before = everything(place);
        run_some(runs / 2);
        let half = resident();
        run_some(runs - runs / 2);
        let all = resident();
        apart::nothing_is_left(place, &before, &format!("{runs} runs"));
        assert!(all * 100 <= half * (100 + GROWTH), "memory grew from {half} to {all} pages");
        println!("{runs} runs; {half} pages of memory after half of them, {all} after all");
    });
}

/// All at once, each looking for the others: for their processes, files in `/tmp` and abstract sockets.
#[test]
fn at_the_same_time_none_sees_another() {
    let name = "at_the_same_time_none_sees_another";
    if env::args().any(|argument| argument == LOOK_AROUND) {
        return look_around();
    }
    // Besides those of the sandboxes, those in which each survey tries what the host can do.
    let namespaces = 3 * u32::try_from(AT_ONCE).expect("small");
    apart(name, namespaces, |place| {
        let executable = env::current_exe().expect("this executable");
        let text = format!("filesystem: {{read_only: ['{}']}}", executable.display());
        let sandbox = Sandbox::new(Document::parse("look around", &text).expect("valid").policy);
        let before = everything(place);
        let mut children: Vec<Child> = thread::scope(|scope| {
            let start = || {
                let words = [name, "--exact", "--nocapture", "--skip", LOOK_AROUND];
                let command = Command::new(&executable).args(words).current_dir(place);
                sandbox.spawn(command.stdin(Stdio::Piped).stdout(Stdio::Piped)).expect("started")
            };
            let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let each = |children: &mut [Child], said: &str| {
            for child in children {
                let mut out = BufReader::with_capacity(1, child.stdout.as_mut().expect("piped"));
                let mut line = String::new();
                while line.trim_end() != said {
                    line.clear();
                    assert!(
                        out.read_line(&mut line).expect("readable") > 0,
                        "it ended before it said {said}"
                    );
                }
            }
        };
        for (number, child) in children.iter_mut().enumerate() {
            writeln!(child.stdin.as_mut().expect("piped"), "{number}").expect("written");
        }
        each(&mut children, "there");
        // Everybody is there: now they look.
        for child in &mut children {
            writeln!(child.stdin.as_mut().expect("piped"), "look").expect("written");
        }
        each(&mut children, "alone");
        // And nobody leaves before all have looked.
        for child in children {
            let outcome = child.wait_with_output().expect("readable");
            assert_eq!(outcome.ending, Ending::Exited(0));
        }
        reap_all();
        // Their threads end a little after they have told the outcome.
        apart::nothing_is_left(place, &before, "many at once");
        println!("{AT_ONCE} at once, none of them saw another");
    });
}

/// An argument that tells a program in a sandbox what to do; to the test runner it is a name that no test has.
const LOOK_AROUND: &str = "look-around";

/// In the sandbox.
fn look_around() {
    let mut lines = std::io::stdin().lines();
    let mut heard = || lines.next().expect("a line").expect("readable");
    let number: usize = heard().parse().expect("a number");
    let address = |number| SocketAddr::from_abstract_name(format!("palisade-{number}")).expect("a name");
    let own = UnixListener::bind_addr(&address(number)).expect("bound");
    fs::write(format!("/tmp/mark-{number}"), "").expect("written");
    println!("there");
    assert_eq!(heard(), "look");
    // What is its own it sees; the same look shows nothing of the others.
    let seen: Vec<usize> =
        (0..AT_ONCE).filter(|other| UnixStream::connect_addr(&address(*other)).is_ok()).collect();
    assert_eq!(seen, [number], "abstract sockets");
    let marks: Vec<_> = fs::read_dir("/tmp")
        .expect("readable")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("mark-"))
        .collect();
    assert_eq!(marks, [format!("mark-{number}")], "files");
    let processes: Vec<u32> = fs::read_dir(Path::new("/proc"))
        .expect("readable")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    assert_eq!(processes, [1, std::process::id()], "processes");
    println!("alone");
    // Until the other side closes.
    assert!(lines.next().is_none());
    drop(own);
}

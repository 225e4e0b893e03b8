//! What `palisade verify` tells while it runs: something on a terminal, nothing anywhere else.

mod support;

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rstest::rstest;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use support::{palisade, status, stderr, stdout};

const WIPE: &str = "\r\x1b[K";
const ARGUMENTS: &[&str] = &["verify", "--only", "mnt/*"];

/// What comes out of a terminal that is standard error of `command`, what standard output has, and how long it took.
fn on_terminal(command: &mut Command) -> (String, String, Duration) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags).expect("a terminal");
    grantpt(&terminal).expect("granted");
    unlockpt(&terminal).expect("unlocked");
    let slave = ioctl_tiocgptpeer(&terminal, flags).expect("its other side");
    let start = Instant::now();
    let child = command.stdout(Stdio::piped()).stderr(slave).spawn().expect("started");
    // The command holds the terminal open until it is dropped.
    command.stderr(Stdio::null());
    let reader = std::thread::spawn(move || {
        let mut terminal: File = terminal.into();
        let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
        // EIO, when nobody has the other side any more.
        while let Ok(read @ 1..) = terminal.read(&mut buffer) {
            heard.extend_from_slice(&buffer[..read]);
        }
        heard
    });
    let output = child.wait_with_output().expect("it ends");
    let took = start.elapsed();
    let heard = String::from_utf8(reader.join().expect("read")).expect("UTF-8");
    assert_eq!(status(&output), 0, "{heard}{}", stdout(&output));
    (heard, stdout(&output), took)
}

#[test]
fn a_terminal_shows_how_far_it_is_and_nothing_stays() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (heard, report, took) = on_terminal(palisade(directory.path()).args(ARGUMENTS).env("TERM", "xterm"));
    let mut lines: Vec<&str> = heard.split(WIPE).collect();
    // Each is wiped before the next one, and the last one at the end.
    assert_eq!((lines.remove(0), lines.pop()), ("", Some("")), "{heard:?}");
    assert!(lines.iter().all(|line| line.contains(" probes, ") && line.contains(" s")), "{heard:?}");
    assert!(lines[0].starts_with("0/"), "{heard:?}");
    assert!(lines.len() as u128 <= 2 + took.as_millis() / 100, "{} in {took:?}", lines.len());
    assert!(
        lines.iter().all(|line| line.len() < 80 && !line.contains(|c: char| c.is_control())),
        "{heard:?}"
    );
    assert!(report.contains("mnt ") && !report.contains('\x1b'), "{report}");
}

#[rstest]
#[case::dumb_terminal(&[], "dumb")]
#[case::unnamed_terminal(&[], "")]
#[case::for_a_program(&["--format", "json"], "xterm")]
#[case::list(&["--list"], "xterm")]
fn a_terminal_shows_nothing(#[case] more: &[&str], #[case] name: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut command = palisade(directory.path());
    let (heard, report, _) = on_terminal(command.args(ARGUMENTS).args(more).env("TERM", name));
    assert_eq!(heard, "");
    assert!(report.contains("mnt/") || report.contains("mnt "), "{report}");
}

#[test]
fn what_is_no_terminal_gets_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = support::output(palisade(directory.path()).args(ARGUMENTS).env("TERM", "xterm"));
    assert_eq!((status(&output), stderr(&output)), (0, String::new()));
}

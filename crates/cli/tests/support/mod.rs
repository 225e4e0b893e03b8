//! Running the built `palisade` and looking at what it did. No test program uses all of it.
#![allow(dead_code)]

pub(crate) mod less;

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The program under test, in `directory`, without standard input.
pub(crate) fn palisade(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    command.current_dir(directory).stdin(Stdio::null());
    command
}

/// Runs it to the end.
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().expect("palisade can be started")
}

/// Standard output as text.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The exit status, or -1 when a signal ended palisade itself.
pub(crate) fn status(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

/// Whether strace is here. Where nothing may be skipped it has to be.
pub(crate) fn strace() -> bool {
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    assert!(
        found || std::env::var_os("PALISADE_MUST_WORK").is_none_or(|value| value != "1"),
        "strace is missing and PALISADE_MUST_WORK=1"
    );
    found
}

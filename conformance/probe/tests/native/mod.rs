//! Runs the program natively and reads its transcript back.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use palisade_probe::IMAGE;
use palisade_probe::script::{Script, Transcript, parse_output};

/// The nonce of every run.
pub(crate) const NONCE_TEXT: &str = "Zm9v-test_1";

/// The program as a file; made once, because a file that is being written cannot be executed.
pub(crate) fn program() -> &'static PathBuf {
    static FILE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FILE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("probe");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o755).open(&path).expect("create");
        file.write_all(IMAGE).expect("write the image");
        (directory, path)
    });
    path
}

/// Runs the program with these arguments as they are.
pub(crate) fn execute(arguments: &[String]) -> Output {
    Command::new(program()).args(arguments).output().expect("start the probe")
}

/// Runs a script, which must reach its end.
pub(crate) fn run(script: impl Into<Script>) -> Transcript {
    let output = execute(&script.into().argv(NONCE_TEXT).expect("a script"));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let transcript = parse_output(&output.stdout, NONCE_TEXT);
    assert!(transcript.done, "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(transcript.anomalies, Vec::<String>::new());
    transcript
}

/// The observation of statement `index`, which must be there: (ret, errno, data).
#[track_caller]
pub(crate) fn seen(transcript: &Transcript, index: usize) -> (i64, u16, String) {
    let observed = transcript.observed(index).expect("observed");
    (observed.ret, observed.errno, observed.text())
}

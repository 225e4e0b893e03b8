//! Runs the program natively and reads its transcript back.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use palisade_probe::IMAGE;
use palisade_probe::script::{Ended, Script, Statement, Transcript, parse_output};

/// The nonce of every run.
pub(crate) const NONCE_TEXT: &str = "Zm9v-test_1";

/// The program as a file, which stays for the next run: in the build directory, or where that is another user's, in one of this
/// user's own.
pub(crate) fn program() -> &'static PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let build = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        placed(&build).unwrap_or_else(|_| {
            let user = std::fs::metadata("/proc/self").expect("a process").uid();
            let own = std::env::temp_dir().join(format!("palisade-probe-{user}"));
            std::fs::create_dir_all(&own).expect("a directory");
            placed(&own).expect("the program as a file")
        })
    })
}

/// Written under another name first: a file that is open for writing cannot be executed.
fn placed(directory: &std::path::Path) -> std::io::Result<PathBuf> {
    let named = directory.join("probe");
    if std::fs::read(&named).is_ok_and(|content| content == IMAGE) {
        return Ok(named);
    }
    let path = directory.join(format!("probe-{}", std::process::id()));
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(&path)?;
    file.write_all(IMAGE)?;
    drop(file);
    std::fs::rename(&path, &named)?;
    Ok(named)
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

/// The observation of one attempt alone.
#[allow(dead_code, reason = "not every test file asks one thing at a time")]
#[track_caller]
pub(crate) fn once(statement: Statement) -> (i64, u16, String) {
    let transcript = run([statement]);
    assert_eq!(transcript.ended, Some(Ended::Exit(0)));
    seen(&transcript, 0)
}

/// The result and the data of one attempt alone, which must succeed.
#[allow(dead_code, reason = "not every test file asks one thing at a time")]
#[track_caller]
pub(crate) fn succeeds(statement: Statement) -> (i64, String) {
    let text = statement.to_string();
    let (ret, errno, data) = once(statement);
    assert_eq!(errno, 0, "{text}: {data}");
    (ret, data)
}

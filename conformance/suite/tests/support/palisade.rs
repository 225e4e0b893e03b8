//! Where the `palisade` program is, next to the test that runs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// `target/PROFILE/palisade`, from `target/PROFILE/deps/THIS-TEST`.
fn place() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("find this test: {error}"))?;
    let profile =
        own.parent().and_then(Path::parent).ok_or("this test does not lie in target/PROFILE/deps")?;
    Ok(profile.join("palisade"))
}

/// The program, if it was built before.
#[allow(dead_code, reason = "not every test that includes this file runs alone")]
pub(crate) fn existing() -> Option<PathBuf> {
    place().ok().filter(|exe| exe.is_file())
}

/// Builds the program with the cargo and the profile that built this test.
pub(crate) fn build() -> Result<PathBuf, String> {
    let exe = place()?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "-p", "palisade-cli", "--manifest-path"]);
    cargo.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml"));
    if exe.parent().is_some_and(|profile| profile.ends_with("release")) {
        cargo.arg("--release");
    }
    let output = match cargo.output() {
        Ok(output) => output,
        // Another user than the one who built the tests cannot always reach that user's cargo.
        Err(_) if exe.is_file() => return Ok(exe),
        Err(error) => return Err(format!("run cargo: {error}")),
    };
    if !output.status.success() {
        return Err(format!("cargo build: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    Ok(exe)
}

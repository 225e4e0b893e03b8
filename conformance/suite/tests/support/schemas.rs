//! Reports against published schemas: those of this repository, and those that others publish (`fixtures/schemas`).

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use boon::{Compiler, Schemas};
use serde_json::Value;

/// A file of the repository.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// What `document` breaks of the JSON schema in this file of the repository; formats such as `uri-reference` are part of it.
///
/// # Errors
/// What is broken, and where.
pub(crate) fn json(schema: &str, document: &Value) -> Result<(), String> {
    let text = std::fs::read_to_string(file(schema)).map_err(|error| format!("{schema}: {error}"))?;
    let parsed = serde_json::from_str(&text).map_err(|error| format!("{schema}: {error}"))?;
    let mut compiler = Compiler::new();
    compiler.enable_format_assertions();
    compiler.add_resource("schema.json", parsed).map_err(|error| format!("{schema}: {error:#}"))?;
    let mut schemas = Schemas::new();
    let compiled =
        compiler.compile("schema.json", &mut schemas).map_err(|error| format!("{schema}: {error:#}"))?;
    schemas.validate(document, compiled).map_err(|error| format!("{error:#}"))
}

/// What `document` breaks of the schema of SARIF 2.1.0.
///
/// # Errors
/// As [`json`].
pub(crate) fn sarif(document: &Value) -> Result<(), String> {
    json("fixtures/schemas/sarif-schema-2.1.0.json", document)
}

/// What `document` breaks of the schema of JUnit XML. Where there is no xmllint nothing is checked, which is a failure of its own
/// with `PALISADE_MUST_WORK=1`.
///
/// # Errors
/// What is broken, and where.
pub(crate) fn junit(document: &str) -> Result<(), String> {
    let mut command = Command::new("xmllint");
    command.args(["--nonet", "--noout", "--schema"]).arg(file("fixtures/schemas/junit-10.xsd")).arg("-");
    let started = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            let must = std::env::var_os("PALISADE_MUST_WORK").is_some_and(|value| value == "1");
            assert!(!must, "xmllint (libxml2-utils): {error}");
            eprintln!("skipped: xmllint (libxml2-utils): {error}");
            return Ok(());
        }
    };
    let mut input = child.stdin.take().ok_or("no standard input")?;
    let written = input.write_all(document.as_bytes());
    drop(input);
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    // One that refuses may not read to the end.
    match output.status.success() {
        true => written.map_err(|error| error.to_string()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

//! What `palisade verify --out` writes of a real run, against the schema that is published for each form.

#[path = "support/palisade.rs"]
mod palisade;
#[path = "support/schemas.rs"]
mod schemas;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// A part of the catalogue that has every kind of observation, in a run where everything holds and in one where nothing does.
#[test]
fn every_file_of_a_run_is_as_published() {
    let palisade = palisade::build().expect("palisade builds");
    let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/policies/valid/agent.yaml");
    for (runtime, status) in [("palisade", 0), ("none", 1)] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let out = |extension: &str| directory.path().join("report").with_extension(extension);
        let mut command = Command::new(&palisade);
        command.arg("verify").arg("--policy").arg(&policy).args(["--runtime", runtime, "--tier", "smoke"]);
        for extension in ["json", "xml", "sarif"] {
            command.arg("--out").arg(out(extension));
        }
        let output = command.output().expect("palisade starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{said}{}", String::from_utf8_lossy(&output.stdout));
        let text = |extension| fs::read_to_string(out(extension)).expect("written");
        let json: Value = serde_json::from_str(&text("json")).expect("JSON");
        schemas::json("conformance/schema/palisade.verify-1.json", &json).expect("as published");
        let sarif: Value = serde_json::from_str(&text("sarif")).expect("JSON");
        schemas::sarif(&sarif).expect("as published");
        schemas::junit(&text("xml")).expect("as published");
        let results = sarif["runs"][0]["results"].as_array().map_or(0, Vec::len);
        assert_eq!(results > 0, runtime == "none", "{results}");
    }
}

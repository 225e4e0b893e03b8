//! Several runtimes in one verification, and many reports in one table.

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{output, palisade, status, stderr, stdout};

/// What is the same for every runtime.
fn verify(directory: &Path, runtimes: &str, more: &[&str]) -> std::process::Output {
    output(palisade(directory).args(["verify", "--runtime", runtimes, "--only", "env/absent/*"]).args(more))
}

/// What the control does counts for nothing; all that is said of a cell can be asked for again.
#[test]
fn several_runtimes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let files = ["--out", "m.html", "--out", "m.json", "--out", "m.md", "--evidence", "reports"];
    let done = verify(directory.path(), "none,palisade", &files);
    assert_eq!(status(&done), 0, "{}{}", stdout(&done), stderr(&done));
    let table = stdout(&done);
    let head: Vec<&str> = table.lines().next().expect("a head").split_whitespace().collect();
    assert_eq!(head, ["clause", "palisade", "none"]);
    assert!(table.contains("none is no sandbox: nothing prevents it"), "{table}");
    for file in ["none.json", "none.html", "palisade.json", "palisade.html"] {
        assert!(
            directory.path().join("reports").join(file).metadata().is_ok_and(|file| file.len() > 0),
            "{file}"
        );
    }
    let matrix: Value =
        serde_json::from_slice(&fs::read(directory.path().join("m.json")).expect("m.json")).expect("JSON");
    assert_eq!(matrix["schema"], "palisade.matrix/1");
    // The same from the reports, and from the matrix itself.
    let again = |files: &[&str]| {
        let done = output(palisade(directory.path()).args(["matrix", "--format", "md"]).args(files));
        assert_eq!(status(&done), 0, "{}", stderr(&done));
        stdout(&done)
    };
    let page = fs::read_to_string(directory.path().join("m.md")).expect("m.md");
    assert_eq!(again(&["reports/palisade.json", "reports/none.json"]), page);
    assert_eq!(again(&["m.json"]), page);
    let command = "palisade verify --policy default --runtime NAME --clause environment.pass";
    assert!(page.contains(command), "{page}");
    let one = output(palisade(directory.path()).args([
        "verify",
        "--runtime",
        "none",
        "--clause",
        "environment.pass",
    ]));
    assert_eq!(status(&one), 1);
    assert!(stdout(&one).contains("env/absent/"), "{}", stdout(&one));
}

#[test]
fn what_says_nothing_of_several_runtimes_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (more, why) in [
        (vec!["--list"], "--list is of the run of one"),
        (vec!["--layers"], "--layers is of the run of one"),
        (vec!["--out", "m.sarif"], "told by its extension"),
        (vec!["--backend", "gateway"], "--backend is of the run of one"),
    ] {
        let done = verify(directory.path(), "none,palisade", &more);
        assert_eq!(status(&done), 2, "{}", stdout(&done));
        assert!(stderr(&done).contains(why), "{}", stderr(&done));
    }
    let unknown = verify(directory.path(), "palisade,jail", &[]);
    assert_eq!(status(&unknown), 2);
    assert!(stderr(&unknown).contains("no adapter for a runtime \"jail\""), "{}", stderr(&unknown));
}

/// A clause that no probe is about selects nothing, and that is said.
#[test]
fn a_clause_without_probes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let done = output(palisade(directory.path()).args(["verify", "--list", "--clause", "filesystem.hiden"]));
    assert_eq!(status(&done), 3);
    assert!(stderr(&done).contains("no probe of the clause \"filesystem.hiden\""), "{}", stderr(&done));
    let listed =
        output(palisade(directory.path()).args(["verify", "--list", "--clause", "resources.file_size"]));
    assert_eq!(status(&listed), 0);
    assert!(stdout(&listed).lines().count() >= 3, "{}", stdout(&listed));
}

/// The exit status of a comparison is that of what fails newly, and of no more.
#[test]
fn changes_between_two_sets() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let report = |name: &str, verdict: &str| {
        let text = serde_json::json!({
            "schema": "palisade.verify/1",
            "subject": {"version": "1", "runtime": "palisade", "runtime_version": "1", "entry": "run", "policy": "default",
                        "policy_argument": "default", "host": "Linux 6"},
            "probes": [{"id": "fs/a", "verdict": verdict, "clause": "filesystem"}],
        });
        fs::create_dir_all(directory.path().join(name)).expect("a directory");
        fs::write(directory.path().join(name).join("node.json"), text.to_string()).expect("a report");
    };
    report("old", "held");
    report("new", "breached");
    let between = |then: &str, now: &str| {
        let mut command = palisade(directory.path());
        command.args(["matrix", "--by", "host", "--against"]);
        output(command.arg(format!("{then}/node.json")).arg(format!("{now}/node.json")))
    };
    let worse = between("old", "new");
    assert_eq!(status(&worse), 1, "{}", stderr(&worse));
    assert!(stdout(&worse).contains("new: fs/a breached, was held"), "{}", stdout(&worse));
    assert_eq!(status(&between("new", "old")), 0);
    assert_eq!(status(&between("new", "new")), 0);
    let missing = output(palisade(directory.path()).args(["matrix", "no-such.json"]));
    assert_eq!(status(&missing), 2);
    assert!(stderr(&missing).contains("no-such.json"), "{}", stderr(&missing));
}

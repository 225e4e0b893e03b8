//! The list of operations against the files and against the program.

use std::collections::BTreeSet;
use std::path::Path;

use palisade_probe::script::{Arg, Script, ScriptError, buffer, result};
use palisade_probe::table::{self, OPS};
use palisade_probe::{attempt, setup};

#[test]
fn every_file_of_operations_is_listed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/program/ops");
    let files: BTreeSet<String> = directory
        .read_dir()
        .expect("ops")
        .map(|entry| entry.expect("entry").path())
        .filter_map(|path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))
        .filter(|stem| stem != "mod" && stem != "table")
        .collect();
    let families: BTreeSet<String> = OPS.iter().map(|info| info.family.to_owned()).collect();
    assert_eq!(files, families);
}

#[test]
fn names_are_unique_and_documented() {
    let names: BTreeSet<&str> = OPS.iter().map(|info| info.name).collect();
    assert_eq!(names.len(), OPS.len());
    for info in OPS {
        assert!(info.doc.trim().ends_with('.'), "{}: {:?}", info.name, info.doc);
        assert!(info.doc.len() > 20, "{}", info.name);
        assert_eq!(table::find(info.name), Some(info));
    }
}

#[test]
fn arities() {
    let sys = table::find("sys").expect("sys");
    assert_eq!((sys.fewest(), sys.most()), (1, Some(7)));
    assert_eq!(
        attempt!("sys").check().map_err(|error| error.to_string()),
        Err("sys takes \"NR [A0] [A1] [A2] [A3] [A4] [A5]\", not 0 operands".to_owned())
    );
    assert!(attempt!("sys", 1, 2, 3, 4, 5, 6, 7).check().is_ok());
    assert!(attempt!("sys", 1, 2, 3, 4, 5, 6, 7, 8).check().is_err());
}

#[test]
fn scripts_are_checked() {
    let script = Script::from([setup!("sys", 39), attempt!("sys", 39, result(1))]);
    assert_eq!(script.check(), Err(ScriptError::ResultOfLater { index: 1, names: 1 }));
    assert_eq!(attempt!("syz").check(), Err(ScriptError::UnknownOperation("syz".to_owned())));
    assert!(attempt!("sys", 0, buffer(4096)).check().is_ok());
    assert!(attempt!("sys", 0, buffer(4097)).check().is_err());
    let long: Script = (0..257).map(|_| attempt!("sys", Arg::Int(39))).collect();
    assert_eq!(long.check(), Err(ScriptError::TooLong(257)));
    for nonce in ["", "a b", "é", &"n".repeat(65)] {
        assert_eq!(Script::new().argv(nonce), Err(ScriptError::Nonce(nonce.to_owned())));
    }
}

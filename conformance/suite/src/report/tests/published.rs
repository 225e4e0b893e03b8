//! Each form against the schema that is published for it, and documents that each schema must refuse.

use serde_json::{Value, json};

use super::forms::hostile;
use super::*;
use crate::mutants::{Answer, Fate, Matrix, Row, SCHEMA as MUTANTS, Teeth, Tooth};

#[path = "../../../tests/support/schemas.rs"]
pub(crate) mod schemas;

const VERIFY: &str = "conformance/schema/palisade.verify-1.json";
const MATRIX: &str = "conformance/schema/palisade.mutants-1.json";
const TEETH: &str = "conformance/schema/palisade.teeth-1.json";
const PROBES: &str = "conformance/schema/palisade.probes-1.json";

/// One of each sort, and each in its redacted form.
fn reports() -> Vec<Report> {
    let mut shard = all_held();
    shard.subject.shard = crate::shard::Shard::new(2, 4);
    shard.subject.probes = vec!["probes.d".to_owned()];
    shard.subject.backend = Some("pasta");
    let mut empty = shard.clone();
    empty.cases.clear();
    let mut kinds = mixed();
    for (case, seen) in kinds.cases.iter_mut().zip([
        Ok(Seen::Signalled(9)),
        Ok(Seen::CutShort { out_of_time: true, code: 124 }),
        Ok(Seen::Survivors(2)),
        Err(Unseen::Harness("no".to_owned())),
        Err(Unseen::NotAttempted("no".to_owned())),
    ]) {
        case.inside = Some(Observation { attempt: seen, ..Observation::of(Seen::returned(0)) });
    }
    let plain = [mixed(), compared(), all_held(), shard, empty, kinds];
    plain.clone().into_iter().chain(plain.map(|report| redact(report, RUN))).collect()
}

fn value(form: Form, report: &Report) -> Value {
    serde_json::from_str(&written(form, report)).unwrap()
}

/// `document` with this done to it.
fn broken(mut document: Value, break_it: impl FnOnce(&mut Value)) -> Value {
    let before = document.clone();
    break_it(&mut document);
    assert_ne!(document, before);
    document
}

#[test]
fn json_is_as_published() {
    for report in reports() {
        let document = value(Form::Json, &report);
        schemas::json(VERIFY, &document).unwrap_or_else(|error| panic!("{error}\n{document:#}"));
    }
    // Whatever a text is, the shape stays. Only an id must be one.
    let mut report = hostile();
    for (case, mixed) in report.cases.iter_mut().zip(mixed().cases) {
        case.id = mixed.id;
    }
    schemas::json(VERIFY, &value(Form::Json, &report)).unwrap();
}

#[test]
fn json_that_is_broken_is_refused() {
    let breaks: [fn(&mut Value); 10] = [
        |report| report["schema"] = json!("palisade.verify/2"),
        |report| report["extra"] = json!(1),
        |report| drop(report.as_object_mut().unwrap().remove("untested")),
        |report| report["subject"]["entry"] = json!("door"),
        |report| report["summary"]["counts"]["fine"] = json!(1),
        |report| report["summary"]["duration_ms"] = json!(0.5),
        |report| report["probes"][0]["verdict"] = json!("passed"),
        |report| report["probes"][0]["why"] = json!("held needs no reason"),
        |report| drop(report["probes"][2].as_object_mut().unwrap().remove("why")),
        |report| report["probes"][0]["inside"]["unseen"] = json!("timed_out"),
    ];
    for break_it in breaks {
        let document = broken(value(Form::Json, &mixed()), break_it);
        assert!(schemas::json(VERIFY, &document).is_err(), "{document:#}");
    }
}

#[test]
fn sarif_is_as_published() {
    for report in reports().into_iter().chain([hostile()]) {
        let document = value(Form::Sarif, &report);
        schemas::sarif(&document).unwrap_or_else(|error| panic!("{error}\n{document:#}"));
    }
    let breaks: [fn(&mut Value); 4] = [
        |log| log["version"] = json!("2.0.0"),
        |log| log["runs"][0]["results"][0]["level"] = json!("fatal"),
        |log| {
            log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"] = json!(0)
        },
        |log| log["runs"][0]["tool"]["driver"]["extra"] = json!(1),
    ];
    for break_it in breaks {
        let document = broken(value(Form::Sarif, &mixed()), break_it);
        assert!(schemas::sarif(&document).is_err(), "{document:#}");
    }
}

#[test]
fn junit_is_as_published() {
    for report in reports().into_iter().chain([hostile()]) {
        let document = written(Form::Junit, &report);
        schemas::junit(&document).unwrap_or_else(|error| panic!("{error}\n{document}"));
    }
    let has_xmllint = std::process::Command::new("xmllint").arg("--version").output().is_ok();
    let document = written(Form::Junit, &mixed());
    for (from, to) in [(" name=\"mnt\"", ""), ("<failure", "<failed"), ("time=\"3.210\"", "time=\"3 s\"")] {
        let document = document
            .replace(from, to)
            .replace("</failure", if to == "<failed" { "</failed" } else { "</failure" });
        assert!(!has_xmllint || schemas::junit(&document).is_err(), "{document}");
    }
}

#[test]
fn the_matrix_is_as_published() {
    let row = |fate| Row { mutant: "mount: dropped".to_owned(), origin: Some("a bug"), fate, duration_ms: 1 };
    let matrix = Matrix {
        schema: MUTANTS,
        policy: "default".to_owned(),
        host: "HOST".to_owned(),
        probes: 3,
        rows: vec![
            row(Fate::Killed(vec!["mnt/mount".to_owned()])),
            row(Fate::FailsClosed("no".to_owned())),
            Row { origin: None, ..row(Fate::Inexpressible("no".to_owned())) },
            row(Fate::Survived),
        ],
        idle: Some(vec!["work/x".to_owned()]),
        took: Duration::ZERO,
    };
    let document = serde_json::to_value(&matrix).unwrap();
    schemas::json(MATRIX, &document).unwrap();
    let document = broken(document, |matrix| matrix["rows"][0]["fate"]["killed"] = json!([]));
    assert!(schemas::json(MATRIX, &document).is_err());
}

#[test]
fn the_table_of_teeth_is_as_published() {
    let answers = [
        Answer::Kills("mount: dropped".to_owned()),
        Answer::Vacuous("no"),
        Answer::Listed("mount: dropped".to_owned()),
        Answer::Unsupported("no".to_owned()),
        Answer::Nothing,
    ];
    let teeth = Teeth {
        schema: "palisade.teeth/1",
        policy: "default".to_owned(),
        entry: crate::entry::Entry::Exec,
        host: "HOST".to_owned(),
        mutants: 7,
        probes: answers.map(|answer| Tooth { probe: "mnt/mount".to_owned(), answer }).into(),
        took: Duration::ZERO,
    };
    let document = serde_json::to_value(&teeth).unwrap();
    schemas::json(TEETH, &document).unwrap();
    let document = broken(document, |teeth| teeth["probes"][4]["answer"] = json!("something"));
    assert!(schemas::json(TEETH, &document).is_err());
}

#[test]
fn the_list_of_probes_is_as_published() {
    for policy in crate::catalogue::tests::policies() {
        let document = serde_json::to_value(crate::explain::explanations(&policy, &[])).unwrap();
        schemas::json(PROBES, &document).unwrap();
        let document = broken(document, |list| list[0]["severity"] = json!("dire"));
        assert!(schemas::json(PROBES, &document).is_err());
    }
}

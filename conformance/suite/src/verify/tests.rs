//! What needs no lab: exit codes, locations, selection.

use super::*;
use crate::verdict::Gap;
use crate::verdict::Verdict;
use rstest::rstest;

fn report(verdicts: &[Verdict]) -> Report {
    let probe = Probe::denies("fs/x", crate::catalogue::Severity::Low);
    let cases = verdicts.iter().map(|verdict| CaseReport::new(&probe, None, verdict.clone())).collect();
    Report { subject: crate::report::tests::subject(), cases, took: std::time::Duration::ZERO }
}

#[rstest]
#[case::held(vec![Verdict::Held], ExitCode::Held)]
#[case::held_and_unsupported(vec![Verdict::Held, Verdict::Unsupported(String::new())], ExitCode::Held)]
#[case::known(vec![Verdict::KnownDeviation(String::new())], ExitCode::Held)]
#[case::only_unsupported(vec![Verdict::Unsupported(String::new())], ExitCode::Inconclusive)]
#[case::inconclusive(vec![Verdict::Held, Verdict::Inconclusive(Gap::TimedOut)], ExitCode::Inconclusive)]
#[case::breached(vec![Verdict::Breached(String::new()), Verdict::Inconclusive(Gap::TimedOut)], ExitCode::Failed)]
#[case::over_blocked(vec![Verdict::Held, Verdict::OverBlocked(String::new())], ExitCode::Failed)]
#[case::unexpected(vec![Verdict::UnexpectedPass(String::new())], ExitCode::Failed)]
#[case::nothing(vec![], ExitCode::Inconclusive)]
fn exit_codes(#[case] verdicts: Vec<Verdict>, #[case] expected: ExitCode) {
    assert_eq!(exit_code(&report(&verdicts)), expected);
}

#[rstest]
#[case("filesystem.read_only[1]", Some("p.yaml:4"))]
#[case("filesystem.read_only[0]", Some("p.yaml:3"))]
#[case("filesystem.tmp", Some("p.yaml:2"))]
#[case("process.syscalls", None)]
fn the_nearest_line_is_told(#[case] clause: &'static str, #[case] expected: Option<&str>) {
    let lines = [
        ("filesystem", "p.yaml:2"),
        ("filesystem.read_only", "p.yaml:3"),
        ("filesystem.read_only[1]", "p.yaml:4"),
    ];
    let locations = lines.iter().map(|(clause, line)| ((*clause).to_owned(), (*line).to_owned())).collect();
    assert_eq!(locate(&locations, &Clause::new(clause)).as_deref(), expected);
}

fn options() -> Options {
    Options {
        inner: false,
        policy: crate::catalogue::tests::policies().remove(0),
        policy_argument: "default".to_owned(),
        policy_text: None,
        locations: BTreeMap::new(),
        runtime: "palisade".to_owned(),
        entry: Entry::Run,
        backend: None,
        only: None,
        format: Format::Text,
        color: ColorChoice::Never,
        list: false,
        repeat: 1,
        mutants: None,
        only_mutants: None,
        host_facts: serde_json::Value::Null,
    }
}

#[test]
fn nothing_selected_is_not_success() {
    let options = Options { only: Some("no/such*".to_owned()), list: true, ..options() };
    assert_eq!(verify(&options), ExitCode::Inconclusive);
}

#[test]
fn an_unknown_runtime_is_a_usage_error() {
    let unknown = Options { runtime: "jail".to_owned(), ..options() };
    assert_eq!(verify(&unknown), ExitCode::Usage);
    let mutants = Options { runtime: "none".to_owned(), mutants: Some(mutants::Extent::Quick), ..options() };
    assert_eq!(verify(&mutants), ExitCode::Usage);
}

#[test]
fn the_list_does_not_depend_on_the_lab() {
    let probes = select(&options(), &World::described()).unwrap();
    assert!(probes.windows(2).all(|pair| pair[0].id < pair[1].id));
}

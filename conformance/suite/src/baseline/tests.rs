//! Comparisons, and files that are no reports.

use super::*;
use proptest::collection::btree_map;
use proptest::prelude::*;
use rstest::rstest;

/// A report of Palisade's own with these verdicts.
pub(crate) fn of(verdicts: BTreeMap<String, Kind>) -> Baseline {
    let subject = Earlier {
        version: "1".to_owned(),
        runtime: "palisade".to_owned(),
        entry: Entry::Run,
        backend: None,
        policy: "default".to_owned(),
        host: "here".to_owned(),
    };
    Baseline { name: "old.json".to_owned(), subject, verdicts }
}

fn verdicts() -> impl Strategy<Value = BTreeMap<String, Kind>> {
    // Few ids, so that most are on both sides.
    btree_map("[a-f]/[a-d]", proptest::sample::select(Kind::ALL.to_vec()), 0..24)
}

fn only(change: &[Change], what: What) -> Vec<&str> {
    change.iter().filter(|one| one.change == what).map(|one| one.id.as_str()).collect()
}

proptest! {
    #[test]
    fn against_itself_nothing_has_changed(same in verdicts()) {
        prop_assert_eq!(compare(&same, &same), []);
    }

    #[test]
    fn each_difference_is_told_once_with_both_sides(then in verdicts(), now in verdicts()) {
        let changes = compare(&then, &now);
        prop_assert!(changes.windows(2).all(|pair| pair[0].id < pair[1].id));
        for id in then.keys().chain(now.keys()) {
            let told: Vec<&Change> = changes.iter().filter(|change| &change.id == id).collect();
            prop_assert_eq!(told.len(), usize::from(then.get(id) != now.get(id)));
            if let [change] = told[..] {
                prop_assert_eq!((change.was, change.now), (then.get(id).copied(), now.get(id).copied()));
            }
        }
    }

    /// A gate that counts the new ones misses no failure but one that was there in the same way.
    #[test]
    fn new_is_every_failure_that_was_not_there(then in verdicts(), now in verdicts()) {
        let expected: Vec<&str> = now
            .iter()
            .filter(|(id, kind)| kind.fails() && then.get(*id) != Some(kind))
            .map(|(id, _)| id.as_str())
            .collect();
        let changes = compare(&then, &now);
        prop_assert_eq!(only(&changes, What::New), expected);
    }

    #[test]
    fn swapping_the_sides_swaps_new_and_fixed_and_added_and_gone(then in verdicts(), now in verdicts()) {
        let (there, back) = (compare(&then, &now), compare(&now, &then));
        let ids = |changes: &[Change]| changes.iter().map(|change| change.id.clone()).collect::<Vec<_>>();
        prop_assert_eq!(ids(&there), ids(&back));
        for (there, back) in there.iter().zip(&back) {
            match (there.change, there.was) {
                (What::Fixed, _) => prop_assert_eq!(back.change, What::New),
                (What::New, Some(Kind::Held)) => prop_assert_eq!(back.change, What::Fixed),
                (What::New | What::Added, None) => prop_assert_eq!(back.change, What::Gone),
                (What::Gone, _) => prop_assert!(matches!(back.change, What::New | What::Added)),
                // Between two failures, or between a failure and a verdict that decides nothing.
                _ => prop_assert!(matches!(back.change, What::New | What::Changed)),
            }
        }
    }
}

#[rstest]
#[case(Some(Kind::Held), Some(Kind::Breached), What::New)]
#[case(Some(Kind::OverBlocked), Some(Kind::Breached), What::New)]
#[case(Some(Kind::KnownDeviation), Some(Kind::Breached), What::New)]
#[case(Some(Kind::KnownDeviation), Some(Kind::UnexpectedPass), What::New)]
#[case(None, Some(Kind::OverBlocked), What::New)]
#[case(Some(Kind::Breached), Some(Kind::Held), What::Fixed)]
#[case(Some(Kind::UnexpectedPass), Some(Kind::Held), What::Fixed)]
#[case(Some(Kind::Breached), Some(Kind::Inconclusive), What::Changed)]
#[case(Some(Kind::Breached), Some(Kind::Unsupported), What::Changed)]
#[case(Some(Kind::Breached), Some(Kind::KnownDeviation), What::Changed)]
#[case(Some(Kind::Held), Some(Kind::Inconclusive), What::Changed)]
#[case(Some(Kind::Inconclusive), Some(Kind::Held), What::Changed)]
#[case(None, Some(Kind::Held), What::Added)]
#[case(Some(Kind::Breached), None, What::Gone)]
fn meanings(#[case] was: Option<Kind>, #[case] now: Option<Kind>, #[case] what: What) {
    let side = |kind: Option<Kind>| kind.map(|kind| ("a/b".to_owned(), kind)).into_iter().collect();
    let changes = compare(&side(was), &side(now));
    assert_eq!(changes, [Change { id: "a/b".to_owned(), change: what, was, now }]);
}

const REPORT: &str = r#"{
  "schema": "palisade.verify/1",
  "subject": {"version": "1", "runtime": "palisade", "entry": "exec", "policy": "default", "host": "here", "more": 1},
  "probes": [
    {"id": "a/b", "verdict": "over_blocked", "why": "more"},
    {"id": "a/c", "verdict": "held"}
  ]
}"#;

#[test]
fn what_was_not_asked_for_is_not_gone() {
    let baseline = Baseline::parse("old.json", REPORT.as_bytes()).unwrap();
    let nothing = BTreeMap::new();
    let gone = |missing: &dyn Fn(&str) -> bool| baseline.comparison(&nothing, missing).counts()[&What::Gone];
    assert_eq!(gone(&|_| true), 2);
    assert_eq!(gone(&|id| id == "a/b"), 1);
    assert_eq!(gone(&|_| false), 0);
}

#[test]
fn what_is_as_before_is_counted() {
    let baseline = Baseline::parse("old.json", REPORT.as_bytes()).unwrap();
    let now = BTreeMap::from([("a/b".to_owned(), Kind::OverBlocked), ("a/c".to_owned(), Kind::Breached)]);
    let comparison = baseline.comparison(&now, |_| true);
    assert_eq!(comparison.as_before, BTreeMap::from([(Kind::OverBlocked, 1)]));
    assert_eq!(comparison.differing().collect::<Vec<_>>(), [Kind::Breached]);
}

#[test]
fn only_the_same_runtime_entry_and_backend_excuse_anything() {
    let told = REPORT.replace("\"more\": 1", "\"backend\": \"veth\"");
    let baseline = |text: &str| Baseline::parse("old.json", text.as_bytes()).unwrap();
    for (text, runtime, entry, backend, like) in [
        (REPORT, "palisade", Entry::Exec, None, true),
        (REPORT, "none", Entry::Exec, None, false),
        (REPORT, "palisade", Entry::Run, None, false),
        // From before it was told.
        (REPORT, "palisade", Entry::Exec, Some("veth"), true),
        (&told, "palisade", Entry::Exec, Some("veth"), true),
        (&told, "palisade", Entry::Exec, None, true),
        (&told, "palisade", Entry::Exec, Some("pasta"), false),
        (&told, "palisade", Entry::Run, Some("veth"), false),
    ] {
        let checked = baseline(text).check(runtime, entry, backend);
        assert_eq!(checked.is_ok(), like, "{runtime} {entry} {backend:?}");
        assert!(like || matches!(checked, Err(BaselineError::OtherSubject(..))));
    }
    let error = baseline(&told).check("palisade", Entry::Exec, Some("pasta")).unwrap_err().to_string();
    assert!(error.contains("backend veth") && error.contains("backend pasta"), "{error}");
}

/// What this program writes it reads, with every verdict as it was.
#[test]
fn a_report_of_this_program_is_a_baseline() {
    let report = crate::report::tests::mixed();
    let mut text = Vec::new();
    json::write(&mut text, &report).unwrap();
    let baseline = Baseline::parse("old.json", &text).unwrap();
    let now = report.cases.iter().map(|case| (case.id.clone(), case.verdict.kind())).collect();
    let comparison = baseline.comparison(&now, |_| true);
    assert_eq!(comparison.changes, []);
    assert_eq!(comparison.as_before, report.counts());
    assert!(baseline.check(&report.subject.runtime, report.subject.entry, report.subject.backend).is_ok());
}

#[rstest]
#[case::nothing(String::new(), "EOF")]
#[case::cut_short(REPORT[..REPORT.len() / 2].to_owned(), "EOF")]
#[case::two_reports(format!("{REPORT}{REPORT}"), "trailing")]
#[case::a_list("[]".to_owned(), "not a report")]
#[case::no_schema(REPORT.replace("schema", "scheme"), "schema")]
#[case::other_schema(REPORT.replace("verify/1", "verify/2"), "\"palisade.verify/2\"")]
#[case::no_probes(REPORT.replace("probes", "prober"), "probes")]
#[case::unknown_verdict(REPORT.replace("over_blocked", "fine"), "fine")]
#[case::twice(REPORT.replace("a/c", "a/b"), "a/b")]
fn refused(#[case] text: String, #[case] says: &str) {
    let error = Baseline::parse("old.json", text.as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with("old.json: ") && error.contains(says), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        prop_assert!(Baseline::parse("old.json", &bytes).is_err());
    }
}

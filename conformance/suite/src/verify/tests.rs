//! What needs no lab: exit codes, locations, selection.

use super::*;
use crate::verdict::Gap;
use crate::verdict::Verdict;
use rstest::rstest;

fn report(verdicts: &[Verdict]) -> Report {
    let probe = Probe::denies("fs/x", crate::catalogue::Severity::Low);
    let cases = verdicts.iter().map(|verdict| CaseReport::new(&probe, None, verdict.clone())).collect();
    Report {
        subject: crate::report::tests::subject(),
        cases,
        untested: Default::default(),
        lapsed: Default::default(),
        took: std::time::Duration::ZERO,
        against: None,
    }
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

/// An entry that somebody has to look at fails a run in which everything is held.
#[test]
fn a_known_deviation_that_has_lapsed_fails_the_run() {
    let mut report = report(&[Verdict::Held]);
    assert_eq!(exit_code(&report), ExitCode::Held);
    report.lapsed.insert("net/*".to_owned(), "expired".to_owned());
    assert_eq!(exit_code(&report), ExitCode::Failed);
    report.cases.clear();
    assert_eq!(exit_code(&report), ExitCode::Failed);
}

#[test]
fn what_is_no_file_of_deviations_is_a_usage_error() {
    let source = |text: &str| known::Source { name: "mine.yaml".to_owned(), text: text.to_owned() };
    let of = |text: &str| deviations(&Options { known: Some(source(text)), ..options() });
    assert_eq!(of("probe: x\n").unwrap_err().code, ExitCode::Usage);
    assert!(of("").unwrap().is_empty());
    let expiring = |expires: &str| {
        let words = known::Words {
            reason: "r".to_owned(),
            issue: "i".to_owned(),
            owner: "o".to_owned(),
            expires: expires.parse().unwrap(),
        };
        let update = Update { path: "known.yaml".into(), words };
        deviations(&Options { known: Some(source("")), update_known: Some(update), ..options() }).is_ok()
    };
    assert!(expiring("9999-12-31") && !expiring("2020-01-01"));
}

/// What was in the earlier report does not count again; what shows nothing is no success all the same.
#[rstest]
#[case::as_before(vec![Verdict::Breached(String::new())], Kind::Breached, ExitCode::Held)]
#[case::fixed(vec![Verdict::Held], Kind::Breached, ExitCode::Held)]
#[case::new(vec![Verdict::Breached(String::new())], Kind::Held, ExitCode::Failed)]
#[case::worse(vec![Verdict::Breached(String::new())], Kind::OverBlocked, ExitCode::Failed)]
#[case::expired(vec![Verdict::Breached(String::new())], Kind::KnownDeviation, ExitCode::Failed)]
#[case::lost(vec![Verdict::Held, Verdict::Inconclusive(Gap::TimedOut)], Kind::Held, ExitCode::Inconclusive)]
#[case::open_as_before(vec![Verdict::Held, Verdict::Inconclusive(Gap::TimedOut)], Kind::Inconclusive, ExitCode::Held)]
#[case::nothing_shown(vec![Verdict::Inconclusive(Gap::TimedOut)], Kind::Inconclusive, ExitCode::Inconclusive)]
#[case::unsupported(vec![Verdict::Unsupported(String::new())], Kind::Unsupported, ExitCode::Inconclusive)]
fn exit_codes_against(#[case] verdicts: Vec<Verdict>, #[case] was: Kind, #[case] expected: ExitCode) {
    let mut report = report(&verdicts);
    // The last one is the one in question; the others were what they are.
    let ids: Vec<String> = (0..verdicts.len()).map(|number| format!("fs/x{number}")).collect();
    for (case, id) in report.cases.iter_mut().zip(&ids) {
        case.id.clone_from(id);
    }
    let now: BTreeMap<String, Kind> = ids.into_iter().zip(verdicts.iter().map(Verdict::kind)).collect();
    let mut then = now.clone();
    then.last_entry().unwrap().insert(was);
    report.against = Some(crate::baseline::tests::of(then).comparison(&now, |_| true));
    assert_eq!(exit_code(&report), expected);
}

#[test]
fn a_report_about_something_else_is_a_usage_error() {
    let against = Some(crate::baseline::tests::of(BTreeMap::new()));
    let other = Options { against, runtime: "none".to_owned(), ..options() };
    assert_eq!(verify(&other), ExitCode::Usage);
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
        brought: None,
        entry: Entry::Run,
        backend: None,
        custom: Custom::default(),
        only: None,
        clause: None,
        tier: Selection::Standard,
        shard: None,
        against: None,
        known: None,
        update_known: None,
        format: Format::Text,
        outputs: Vec::new(),
        color: ColorChoice::Never,
        layers: false,
        list: false,
        repeat: 1,
        jobs: None,
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
fn each_tier_has_what_the_one_before_has() {
    let of = |tier, only: Option<&str>| {
        let options = Options { tier, only: only.map(str::to_owned), ..options() };
        select(&options, &World::described()).unwrap().into_iter().map(|probe| probe.id).collect::<Vec<_>>()
    };
    let [smoke, standard, soak] =
        [Selection::Smoke, Selection::Standard, Selection::Soak].map(|tier| of(tier, None));
    assert!(smoke.len() > 40 && smoke.iter().all(|id| standard.contains(id)), "{}", smoke.len());
    assert!(standard.len() > 450 && standard.iter().all(|id| soak.contains(id)));
    let narrow = of(Selection::Smoke, Some("ns/*"));
    assert!(!narrow.is_empty() && narrow.iter().all(|id| id.starts_with("ns/")), "{narrow:?}");
}

/// Neither a pattern nor what is slow asks for what weighs on the machine; what does is alone, and asks how much is free.
#[test]
fn what_is_destructive_runs_only_when_it_is_asked_for() {
    let heavy = "version: 1\nresources: {memory: 512MiB, processes: 700}\n";
    let policy = palisade_policy::Document::parse("heavy", heavy).unwrap().policy;
    let of = |tier, only: Option<&str>| {
        let options = Options { tier, only: only.map(str::to_owned), policy: policy.clone(), ..options() };
        let probes = select(&options, &World::described()).unwrap();
        probes.into_iter().filter(|probe| probe.tier == Tier::Destructive).collect::<Vec<Probe>>()
    };
    for tier in [Selection::Smoke, Selection::Standard, Selection::Soak] {
        assert!(of(tier, None).is_empty() && of(tier, Some("res/limit/*")).is_empty());
    }
    let heavy = of(Selection::Destructive, None);
    let ids: Vec<&str> = heavy.iter().map(|probe| probe.id.as_str()).collect();
    for id in ["res/memory/private", "res/memory/many", "res/processes", "res/threads", "res/zombies"] {
        assert!(ids.contains(&id), "{id} is not in {ids:?}");
    }
    let is_careful =
        |probe: &Probe| probe.serial && probe.needs.iter().any(|need| matches!(need, Need::Memory(_)));
    assert!(heavy.iter().all(is_careful));
    // And what everybody can bear is in no tier of its own.
    assert!(ids.iter().all(|id| id.starts_with("res/")), "{ids:?}");
}

#[test]
fn shards_share_the_whole() {
    let whole = select(&options(), &World::described()).unwrap();
    let mut parts: Vec<String> = Vec::new();
    for index in 1..=5 {
        let options = Options { shard: Shard::new(index, 5), ..options() };
        parts.extend(select(&options, &World::described()).unwrap().into_iter().map(|probe| probe.id));
    }
    parts.sort();
    assert_eq!(parts, whole.into_iter().map(|probe| probe.id).collect::<Vec<_>>());
}

/// One probe in two shards: one of them is empty, and says neither "nothing selected" nor more than it knows.
#[test]
fn an_empty_shard_is_no_failure_and_nothing_selected_stays_one() {
    let of = |index, only: &str| Options {
        only: Some(only.to_owned()),
        shard: Shard::new(index, 2),
        list: true,
        ..options()
    };
    let sizes = [1, 2].map(|index| select(&of(index, "mnt/mount"), &World::described()).unwrap().len());
    assert_eq!(sizes.iter().sum::<usize>(), 1);
    assert_eq!([1, 2].map(|index| verify(&of(index, "mnt/mount"))), [ExitCode::Held; 2]);
    assert_eq!([1, 2].map(|index| verify(&of(index, "no/such"))), [ExitCode::Inconclusive; 2]);

    let mut empty = report(&[]);
    assert_eq!(exit_code(&empty), ExitCode::Inconclusive);
    empty.subject.shard = Shard::new(1, 2);
    assert_eq!(exit_code(&empty), ExitCode::Held);
    // What was probed in a shard and showed nothing is as little a success as elsewhere.
    let mut unsupported = report(&[Verdict::Unsupported(String::new())]);
    unsupported.subject.shard = Shard::new(1, 2);
    assert_eq!(exit_code(&unsupported), ExitCode::Inconclusive);
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

use super::*;
use crate::entry::Entry;
use crate::report::CaseReport;
use crate::verdict::Kind;
use rstest::rstest;

const ENTRY: &str =
    "- {probe: 'net/*', outcome: breached, reason: r, issue: l, owner: o, expires: 2027-01-31}\n";

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn here() -> Here {
    Here {
        kernel: Release::of_uname("6.10.3-cloud-amd64"),
        arch: "x86_64".to_owned(),
        landlock: 5,
        root: false,
        entry: Entry::Run,
        policy: "default".to_owned(),
    }
}

fn known(text: &str, today: &str) -> Known {
    Known::new(parse(text).unwrap(), here(), day(today))
}

fn breached() -> Verdict {
    Verdict::Breached(String::new())
}

fn over_blocked() -> Verdict {
    Verdict::OverBlocked(String::new())
}

#[test]
fn the_files_of_the_repository_parse() {
    for runtime in crate::adapters::names() {
        parse(&Source::of_runtime(runtime).text).unwrap();
    }
}

#[rstest]
#[case::breach(breached(), "net/x", "2027-01-31", Kind::KnownDeviation)]
#[case::expired(breached(), "net/x", "2027-02-01", Kind::Breached)]
#[case::another_outcome(over_blocked(), "net/x", "2026-01-01", Kind::OverBlocked)]
#[case::held_again(Verdict::Held, "net/x", "2026-01-01", Kind::UnexpectedPass)]
#[case::held_after_expiry(Verdict::Held, "net/x", "2028-01-01", Kind::UnexpectedPass)]
#[case::other_probe(breached(), "fs/x", "2026-01-01", Kind::Breached)]
#[case::inconclusive(Verdict::Inconclusive(Gap::TimedOut), "net/x", "2026-01-01", Kind::Inconclusive)]
#[case::unsupported(Verdict::Unsupported(String::new()), "net/x", "2026-01-01", Kind::Unsupported)]
fn application(#[case] verdict: Verdict, #[case] id: &str, #[case] today: &str, #[case] expected: Kind) {
    assert_eq!(known(ENTRY, today).apply(verdict, id).kind(), expected);
}

#[rstest]
#[case::over_blocked("over_blocked", over_blocked(), Kind::KnownDeviation)]
#[case::not_a_breach("over_blocked", breached(), Kind::Breached)]
#[case::inconclusive("inconclusive", Verdict::Inconclusive(Gap::TimedOut), Kind::KnownDeviation)]
#[case::not_the_suite("inconclusive", Verdict::Inconclusive(Gap::Harness(String::new())), Kind::Inconclusive)]
fn an_outcome_covers_no_other(#[case] outcome: &str, #[case] verdict: Verdict, #[case] expected: Kind) {
    let text = ENTRY.replace("breached", outcome);
    assert_eq!(known(&text, "2026-01-01").apply(verdict, "net/x").kind(), expected);
}

/// Two entries about one probe: the one that fits counts, wherever it stands.
#[test]
fn the_entry_that_fits_counts() {
    let text = ENTRY.to_owned() + &ENTRY.replace("breached", "over_blocked");
    for verdict in [breached(), over_blocked()] {
        assert_eq!(known(&text, "2026-01-01").apply(verdict, "net/x").kind(), Kind::KnownDeviation);
    }
}

#[rstest]
#[case::kernel("kernel: {from: 6.9, before: 6.11}", true)]
#[case::kernel_is_no_fraction("kernel: {from: 6.2, before: 6.9}", false)]
#[case::kernel_ends_before("kernel: {before: 6.10}", false)]
#[case::kernel_begins_with("kernel: {from: '6.10'}", true)]
#[case::newer_kernel("kernel: {from: 7.0}", false)]
#[case::arch("arch: x86_64", true)]
#[case::other_arch("arch: aarch64", false)]
#[case::landlock("landlock: {from: 5, before: 6}", true)]
#[case::newer_landlock("landlock: {from: 6}", false)]
#[case::no_landlock("landlock: {before: 1}", false)]
#[case::rootless("root: false", true)]
#[case::root("root: true", false)]
#[case::entry("entry: run", true)]
#[case::other_entry("entry: exec", false)]
#[case::policy("policy: default", true)]
#[case::other_policy("policy: agent", false)]
#[case::all("arch: x86_64, root: false, entry: run, policy: default", true)]
#[case::all_but_one("arch: x86_64, root: true, entry: run, policy: default", false)]
fn conditions(#[case] when: &str, #[case] holds: bool) {
    let text = ENTRY.replace("outcome:", &format!("when: {{{when}}}, outcome:"));
    let known = known(&text, "2026-01-01");
    let expected = if holds { Kind::KnownDeviation } else { Kind::Breached };
    assert_eq!(known.apply(breached(), "net/x").kind(), expected);
    // Elsewhere it says nothing about a probe that is held, nor about one that does not exist.
    let expected = if holds { Kind::UnexpectedPass } else { Kind::Held };
    assert_eq!(known.apply(Verdict::Held, "net/x").kind(), expected);
    assert_eq!(known.lapsed(&["fs/x"]).is_empty(), !holds);
}

#[test]
fn what_has_expired_or_matches_nothing_is_told() {
    assert_eq!(known(ENTRY, "2027-01-31").lapsed(&["net/x"]), BTreeMap::new());
    let stale = known(ENTRY, "2027-01-31").lapsed(&["fs/x"]);
    assert_eq!(stale["net/*"], "stale: no probe of this policy matches");
    let expired = known(ENTRY, "2027-02-01").lapsed(&["net/x"]);
    assert_eq!(expired["net/*"], "expired on 2027-01-31, o answers for it");
    // On another host, too: somebody has to look at it.
    let elsewhere = ENTRY.replace("outcome:", "when: {root: true}, outcome:");
    assert_eq!(known(&elsewhere, "2027-02-01").lapsed(&["net/x"]).len(), 1);
}

#[rstest]
#[case::unknown_key(ENTRY.replace("owner: o", "owner: o, x: y"))]
#[case::missing_key(ENTRY.replace(", owner: o", ""))]
#[case::no_outcome(ENTRY.replace("outcome: breached, ", ""))]
#[case::unknown_outcome(ENTRY.replace("breached", "held"))]
#[case::empty_value(ENTRY.replace("reason: r", "reason: ''"))]
#[case::not_a_day(ENTRY.replace("2027-01-31", "2027-13-31"))]
#[case::not_a_list("probe: x\n".to_owned())]
#[case::unknown_condition(ENTRY.replace("outcome:", "when: {moon: full}, outcome:"))]
#[case::no_kernel(ENTRY.replace("outcome:", "when: {kernel: {from: six}}, outcome:"))]
#[case::nothing_in_range(ENTRY.replace("outcome:", "when: {kernel: {from: 6.2, before: 6.2}}, outcome:"))]
#[case::no_range(ENTRY.replace("outcome:", "when: {landlock: {}}, outcome:"))]
fn refused(#[case] text: String) {
    assert!(parse(&text).is_err());
}

fn words() -> Words {
    Words {
        reason: "not yet: \"quoted\"\n- # [] {".to_owned(),
        issue: "https://example.org/1".to_owned(),
        owner: "somebody".to_owned(),
        expires: day("2027-01-31"),
    }
}

fn cases(verdicts: &[(&str, Verdict)]) -> Vec<CaseReport> {
    let case = |(id, verdict): &(&str, Verdict)| {
        let probe = crate::catalogue::Probe::denies(*id, crate::catalogue::Severity::Low);
        CaseReport::new(&probe, None, verdict.clone())
    };
    verdicts.iter().map(case).collect()
}

/// What an update adds is what the next run on this host, and no other, takes for known.
#[rstest]
#[case::no_file("")]
#[case::empty_list("# Why.\n[]\n")]
#[case::some(
    "# Why.\n- {probe: 'fs/*', outcome: breached, reason: r, issue: l, owner: o, expires: 2027-01-31} # and why\n"
)]
fn an_update_adds_what_is_acceptable(#[case] before: &str) {
    let gap = Verdict::Inconclusive(Gap::TimedOut);
    let found = cases(&[
        ("net/held", Verdict::Held),
        ("net/over", over_blocked()),
        ("net/open", gap.clone()),
        ("net/suite", Verdict::Inconclusive(Gap::Harness(String::new()))),
        ("net/not-here", Verdict::Unsupported(String::new())),
        ("net/again", Verdict::UnexpectedPass(String::new())),
    ]);
    let after = added(before, &found, &here(), &words()).unwrap();
    let entries = parse(&after).unwrap();
    assert!(after.starts_with(before.strip_suffix("[]\n").unwrap_or(before).trim_end()), "{after}");
    let old = parse(before).unwrap().len();
    let new: Vec<&str> = entries[old..].iter().map(|entry| entry.probe.as_str()).collect();
    assert_eq!(new, ["net/over", "net/open"]);
    assert!(entries[old..].iter().all(|entry| entry.reason == words().reason));
    let known = Known::new(entries.clone(), here(), day("2026-12-01"));
    assert_eq!(known.apply(over_blocked(), "net/over").kind(), Kind::KnownDeviation);
    assert_eq!(known.apply(gap, "net/open").kind(), Kind::KnownDeviation);
    let elsewhere = [
        Here { kernel: here().kernel.next(), ..here() },
        Here { arch: "riscv64".to_owned(), ..here() },
        Here { landlock: 6, ..here() },
        Here { root: true, ..here() },
        Here { entry: Entry::Exec, ..here() },
        Here { policy: "agent".to_owned(), ..here() },
    ];
    for other in elsewhere {
        let known = Known::new(entries.clone(), other, day("2026-12-01"));
        assert_eq!(known.apply(over_blocked(), "net/over").kind(), Kind::OverBlocked);
    }
}

#[test]
fn an_update_never_accepts_a_breach() {
    let found = cases(&[("net/over", over_blocked()), ("net/hole", breached())]);
    let refused = added("", &found, &here(), &words());
    assert_eq!(refused, Err(UpdateError::Breached(vec!["net/hole".to_owned()])));
    // What somebody wrote down by hand is no breach any more.
    let found = cases(&[("net/hole", Verdict::KnownDeviation(String::new()))]);
    assert_eq!(added(ENTRY, &found, &here(), &words()), Ok(ENTRY.to_owned()));
    // A file that cannot be added to is not spoilt.
    let found = cases(&[("net/over", over_blocked())]);
    assert!(matches!(added("probe: x\n", &found, &here(), &words()), Err(UpdateError::Unreadable(_))));
}

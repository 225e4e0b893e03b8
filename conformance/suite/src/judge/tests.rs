//! Every way through the decision, and its precedence over random evidence.

use nix::errno::Errno::{self, *};
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::catalogue::Severity;
use crate::verdict::Kind;

fn denied() -> Probe {
    Probe::denies("mnt/mount", Severity::High).outside(Outside::fails([EFAULT]))
}

fn allowed() -> Probe {
    Probe::allows("work/tmp", Severity::Low)
}

fn failed(errno: Errno) -> Observation {
    Observation::of(Seen::failed(errno))
}

fn succeeded() -> Observation {
    Observation::of(Seen::returned(0))
}

fn without_control(mut observation: Observation) -> Observation {
    observation.control = Err("read_file".to_owned());
    observation
}

fn without_setup(mut observation: Observation) -> Observation {
    observation.setup = Err("open".to_owned());
    observation
}

fn canary(heard: bool, alive: bool) -> CanaryReport {
    CanaryReport {
        canary: "tcp 192.0.2.1:80".to_owned(),
        heard: heard.then(|| "the nonce".to_owned()),
        alive: if alive { Ok(()) } else { Err("refused".to_owned()) },
    }
}

fn kind(probe: &Probe, inside: &Observation, outside: &Observation) -> Kind {
    judge(probe, Evidence { inside, outside: Some(outside), canary: None }).kind()
}

/// A control that was refused counts only where the network is denied as a whole, and only beside an attempt that was.
#[rstest]
#[case::both_refused(true, Some(EPERM), failed(EPERM), Kind::Held)]
#[case::both_without_a_way(true, Some(ENETUNREACH), failed(ENETUNREACH), Kind::Held)]
#[case::not_of_such_a_probe(false, Some(EPERM), failed(EPERM), Kind::Inconclusive)]
#[case::control_without_an_error(true, None, failed(EPERM), Kind::Inconclusive)]
#[case::control_fails_by_itself(true, Some(ENOMEM), failed(EPERM), Kind::Inconclusive)]
#[case::attempt_shows_data(true, Some(EPERM), succeeded(), Kind::Inconclusive)]
#[case::not_the_end(true, Some(EPERM), Observation::nothing(Unseen::TimedOut), Kind::Inconclusive)]
fn a_network_may_be_refused_as_a_whole(
    #[case] as_a_whole: bool,
    #[case] control: Option<Errno>,
    #[case] inside: Observation,
    #[case] expected: Kind,
) {
    let refused = Expect::fails([EPERM, ENETUNREACH]).or(Expect::Returns(0));
    let probe = Probe { as_a_whole, ..denied().expect(refused) };
    let inside = Observation { control_refused: control, ..without_control(inside) };
    assert_eq!(kind(&probe, &inside, &failed(EFAULT)), expected);
    // Outside it must have worked.
    let outside = without_control(failed(EPERM));
    assert_ne!(kind(&probe, &inside, &outside), Kind::Held);
}

#[rstest]
#[case::refused_inside_sentinel_outside(failed(EPERM), failed(EFAULT), Kind::Held)]
#[case::not_refused_inside(failed(EFAULT), failed(EFAULT), Kind::Breached)]
#[case::succeeds_inside(succeeded(), failed(EFAULT), Kind::Breached)]
#[case::succeeds_inside_whatever_the_host(succeeded(), failed(ENOSYS), Kind::Breached)]
#[case::refused_by_the_host_too(failed(EPERM), failed(EPERM), Kind::Unsupported)]
#[case::host_does_not_have_it(failed(ENOSYS), failed(ENOSYS), Kind::Unsupported)]
#[case::neither_has_it(failed(EAFNOSUPPORT), failed(EAFNOSUPPORT), Kind::Unsupported)]
#[case::other_error_than_outside(failed(EINVAL), failed(ENOSYS), Kind::Breached)]
#[case::baseline_shows_something_else(failed(EPERM), failed(EINVAL), Kind::Inconclusive)]
#[case::baseline_has_no_result(failed(EPERM), Observation::nothing(Unseen::TimedOut), Kind::Inconclusive)]
#[case::baseline_could_not_set_up(failed(EPERM), without_setup(failed(EFAULT)), Kind::Inconclusive)]
#[case::control_failed(without_control(failed(EPERM)), failed(EFAULT), Kind::Inconclusive)]
#[case::breach_beats_control(without_control(succeeded()), failed(EFAULT), Kind::Breached)]
#[case::set_up_failed(without_setup(failed(EPERM)), failed(EFAULT), Kind::Inconclusive)]
#[case::timed_out(Observation::nothing(Unseen::TimedOut), failed(EFAULT), Kind::Inconclusive)]
#[case::not_attempted(
    Observation::nothing(Unseen::NotAttempted(String::new())),
    failed(EFAULT),
    Kind::Inconclusive
)]
#[case::not_started(
    Observation::nothing(Unseen::NotStarted(String::new())),
    failed(EFAULT),
    Kind::Inconclusive
)]
#[case::harness(Observation::nothing(Unseen::Harness(String::new())), failed(EFAULT), Kind::Inconclusive)]
#[case::killed_by_sigsys(Observation::of(Seen::Signalled(31)), failed(EFAULT), Kind::Held)]
#[case::killed_by_sigsegv(Observation::of(Seen::Signalled(11)), failed(EFAULT), Kind::Breached)]
fn prevention(#[case] inside: Observation, #[case] outside: Observation, #[case] expected: Kind) {
    assert_eq!(kind(&denied(), &inside, &outside), expected);
}

#[rstest]
#[case::works(succeeded(), succeeded(), Kind::Held)]
#[case::works_inside_only(succeeded(), failed(EPERM), Kind::Held)]
#[case::prevented(failed(EPERM), succeeded(), Kind::OverBlocked)]
#[case::the_host_cannot_either(failed(EPERM), failed(ENOENT), Kind::Unsupported)]
#[case::baseline_has_no_result(failed(EPERM), Observation::nothing(Unseen::TimedOut), Kind::Inconclusive)]
#[case::timed_out(Observation::nothing(Unseen::TimedOut), succeeded(), Kind::Inconclusive)]
#[case::set_up_failed(without_setup(failed(EPERM)), succeeded(), Kind::Inconclusive)]
#[case::control_failed(without_control(succeeded()), succeeded(), Kind::Inconclusive)]
fn permission(#[case] inside: Observation, #[case] outside: Observation, #[case] expected: Kind) {
    assert_eq!(kind(&allowed(), &inside, &outside), expected);
}

#[rstest]
#[case::silent_and_alive(denied(), failed(EPERM), canary(false, true), Kind::Held)]
#[case::heard(denied(), failed(EPERM), canary(true, true), Kind::Breached)]
#[case::heard_then_died(denied(), failed(EPERM), canary(true, false), Kind::Breached)]
#[case::heard_although_nothing_was_seen(
    denied(),
    Observation::nothing(Unseen::TimedOut),
    canary(true, true),
    Kind::Breached
)]
#[case::dead(denied(), failed(EPERM), canary(false, false), Kind::Inconclusive)]
#[case::reached(allowed(), succeeded(), canary(true, true), Kind::Held)]
#[case::not_reached(allowed(), succeeded(), canary(false, true), Kind::OverBlocked)]
#[case::dead_peer(allowed(), succeeded(), canary(false, false), Kind::Inconclusive)]
fn far_side(
    #[case] probe: Probe,
    #[case] inside: Observation,
    #[case] canary: CanaryReport,
    #[case] expected: Kind,
) {
    let outside = failed(EFAULT);
    let probe = probe.outside(Outside::fails([EFAULT]));
    let verdict = judge(&probe, Evidence { inside: &inside, outside: Some(&outside), canary: Some(&canary) });
    assert_eq!(verdict.kind(), expected, "{verdict}");
}

#[test]
fn without_an_outside_run_nothing_is_held_unless_the_entry_says_so() {
    let inside = failed(EPERM);
    let evidence = Evidence { inside: &inside, outside: None, canary: None };
    assert_eq!(judge(&denied(), evidence).kind(), Kind::Inconclusive);
    let waived = denied().outside(Outside::NotRun("the lab alone knows the value"));
    assert_eq!(judge(&waived, evidence).kind(), Kind::Held);
}

#[test]
fn the_default_baseline_is_anything_but_the_expectation() {
    let probe = Probe::denies("fs/x", Severity::Low);
    assert_eq!(kind(&probe, &failed(EPERM), &succeeded()), Kind::Held);
    assert_eq!(kind(&probe, &failed(EPERM), &failed(EACCES)), Kind::Unsupported);
}

#[test]
fn what_must_differ_from_outside_is_compared_with_it() {
    let probe = Probe::denies("ns/x", Severity::High).expect(Expect::DiffersFromOutside);
    let reported = |data: &str| Observation::of(Seen::reported(data));
    assert_eq!(kind(&probe, &reported("a"), &reported("b")), Kind::Held);
    assert_eq!(kind(&probe, &reported("a"), &reported("a")), Kind::Breached);
    assert_eq!(kind(&probe, &failed(ENOENT), &reported("a")), Kind::Breached);
    assert_eq!(kind(&probe, &reported("a"), &failed(ENOENT)), Kind::Unsupported);
    assert_eq!(kind(&probe, &reported("a"), &Observation::nothing(Unseen::TimedOut)), Kind::Inconclusive);
}

fn any_seen() -> impl Strategy<Value = Seen> {
    let errno = prop::sample::select(vec![EPERM, EACCES, ENOSYS, EFAULT, EINVAL, EAFNOSUPPORT, ENOENT]);
    prop_oneof![
        Just(Seen::returned(0)),
        errno.prop_map(Seen::failed),
        prop::sample::select(vec![9, 11, 31]).prop_map(Seen::Signalled),
    ]
}

fn any_observation() -> impl Strategy<Value = Observation> {
    let unseen = prop_oneof![
        Just(Unseen::TimedOut),
        Just(Unseen::NotAttempted(String::new())),
        Just(Unseen::Harness(String::new())),
    ];
    let attempt = prop_oneof![4 => any_seen().prop_map(Ok), 1 => unseen.prop_map(Err)];
    let passed = || prop_oneof![3 => Just(Ok(())), 1 => Just(Err("x".to_owned()))];
    (attempt, passed(), passed()).prop_map(|(attempt, setup, control)| Observation {
        attempt,
        setup,
        control,
        ..Observation::of(Seen::returned(0))
    })
}

proptest! {
    /// Held is never an accident: each of the five kinds of evidence is there.
    #[test]
    fn held_needs_all_the_evidence(
        inside in any_observation(),
        outside in prop::option::of(any_observation()),
        far in prop::option::of((any::<bool>(), any::<bool>())),
    ) {
        let probe = denied();
        let far = far.map(|(heard, alive)| canary(heard, alive));
        let evidence = Evidence { inside: &inside, outside: outside.as_ref(), canary: far.as_ref() };
        let complete = inside.attempt.as_ref().is_ok_and(|seen| probe.expect.contains(seen))
            && inside.setup.is_ok()
            && inside.control.is_ok()
            && far.as_ref().is_none_or(|far| far.heard.is_none() && far.alive.is_ok())
            && outside.as_ref().is_some_and(|outside| {
                outside.setup.is_ok() && outside.attempt == Ok(Seen::failed(EFAULT))
            });
        prop_assert_eq!(judge(&probe, evidence).kind() == Kind::Held, complete);
    }

    /// A canary that noticed something outweighs everything else.
    #[test]
    fn a_canary_that_heard_is_a_breach(
        inside in any_observation(),
        outside in prop::option::of(any_observation()),
        alive: bool,
    ) {
        let far = canary(true, alive);
        let evidence = Evidence { inside: &inside, outside: outside.as_ref(), canary: Some(&far) };
        prop_assert_eq!(judge(&denied(), evidence).kind(), Kind::Breached);
    }

    /// Success inside of something forbidden is a breach, whatever control, canary and baseline say.
    #[test]
    fn success_is_a_breach(outside in prop::option::of(any_observation()), control: bool) {
        let mut inside = succeeded();
        if !control {
            inside = without_control(inside);
        }
        let evidence = Evidence { inside: &inside, outside: outside.as_ref(), canary: None };
        prop_assert_eq!(judge(&denied(), evidence).kind(), Kind::Breached);
    }

    /// Of repeats the worst counts, in whatever order they come.
    #[test]
    fn the_worst_repeat_counts(mut verdicts in prop::collection::vec(any_verdict(), 1..6), seed: u64) {
        let worst = verdicts.clone().into_iter().reduce(Verdict::worse).map(|verdict| verdict.kind());
        let middle = usize::try_from(seed % 7).unwrap_or(0) % verdicts.len();
        verdicts.rotate_left(middle);
        let rotated = verdicts.into_iter().reduce(Verdict::worse).map(|verdict| verdict.kind());
        prop_assert_eq!(worst, rotated);
    }
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Held),
        Just(Verdict::Breached(String::new())),
        Just(Verdict::OverBlocked(String::new())),
        Just(Verdict::Unsupported(String::new())),
        Just(Verdict::Inconclusive(Gap::TimedOut)),
        Just(Verdict::Inconclusive(Gap::Harness(String::new()))),
    ]
}

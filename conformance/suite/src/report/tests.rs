//! Snapshots of reports over synthetic results.

use nix::errno::Errno::*;

use super::*;
use crate::attribution::{Finding, Layer};
use crate::catalogue::{Expect, Outside};
use crate::observation::{Seen, Unseen};
use crate::verdict::Gap;
use palisade_probe::attempt;

mod forms;
pub(crate) mod published;

const RUN: &str = "0123456789abcdef";

pub(crate) fn subject() -> Subject {
    Subject {
        version: "9.9.9".to_owned(),
        runtime: "palisade".to_owned(),
        runtime_file: None,
        runtime_version: Some("palisade 9.9.9".to_owned()),
        entry: crate::entry::Entry::Run,
        backend: None,
        policy: "default".to_owned(),
        probes: Vec::new(),
        policy_argument: "default".to_owned(),
        host: "Linux 6.18.0 x86_64, rootless".to_owned(),
        host_facts: serde_json::json!({"landlock_abi": 7}),
        repeat: 1,
        shard: None,
    }
}

fn prevention(id: &str) -> Probe {
    Probe::denies(id, Severity::High)
        .serves("process.syscalls", "MNT-1")
        .requires("the workload cannot change the mounts that the policy made")
        .operation("mount(2) with bad pointers")
        .script([attempt!("sys", 165, 8)])
        .outside(Outside::fails([EFAULT]))
}

fn with(probe: &Probe, verdict: Verdict, inside: Observation, outside: Observation) -> CaseReport {
    let location = Some("policy.yaml:12".to_owned());
    let mut case = CaseReport::new(probe, location, verdict);
    case.inside = Some(inside);
    case.outside = Some(outside);
    case.took = Duration::from_millis(17);
    case
}

pub(crate) fn mixed() -> Report {
    let sentinel = || Observation::of(Seen::failed(EFAULT));
    let mut held =
        with(&prevention("mnt/chroot"), Verdict::Held, Observation::of(Seen::failed(EPERM)), sentinel());
    held.layers = Some(Attribution {
        finding: Finding::AsDeclared,
        alone: vec![Layer::Capabilities, Layer::Seccomp],
        needed: Vec::new(),
        owed: vec![Layer::Seccomp],
        untold: Vec::new(),
    });
    let mut elsewhere =
        with(&prevention("mnt/move-mount"), Verdict::Held, Observation::of(Seen::failed(EPERM)), sentinel());
    elsewhere.layers = Some(Attribution {
        finding: Finding::WrongReason,
        alone: vec![Layer::Mounts],
        needed: vec![Layer::Mounts],
        owed: vec![Layer::Seccomp],
        untold: vec![(Layer::Network, "nothing ran".to_owned())],
    });
    let breach = with(
        &prevention("mnt/mount"),
        Verdict::Breached("expected denied (EPERM, EACCES, ENOSYS or SIGSYS), saw EFAULT".to_owned()),
        Observation::of(Seen::failed(EFAULT)),
        sentinel(),
    );
    let mut heard = with(
        &prevention("net/tcp/v4").operation(""),
        Verdict::Breached("the canary noticed it: tcp 192.0.2.1:80".to_owned()),
        Observation::of(Seen::reported(format!("\x1b[2J{RUN}\x07"))),
        Observation::of(Seen::returned(0)),
    );
    heard.canary = Some(CanaryReport {
        canary: "tcp 192.0.2.1:80".to_owned(),
        heard: Some(format!("\x1b]0;owned\x07 n{RUN}0001")),
        alive: Ok(()),
    });
    let allowed = Probe::allows("work/python", Severity::Medium)
        .serves("process.syscalls", "WRK-2")
        .requires("the interpreters that the host has under /usr run")
        .command(["/usr/bin/python3", "-c", "print(6 * 7)"])
        .expect(Expect::data_is("42\n"));
    let mut blocked = Observation::of(Seen::Exited { code: 1, stdout: Vec::new() });
    blocked.stderr = "python3: \\x1b[31mcannot start".to_owned();
    let over = with(
        &allowed,
        Verdict::OverBlocked("expected exactly \"42\\n\", saw exit code 1".to_owned()),
        blocked,
        Observation::of(Seen::Exited { code: 0, stdout: b"42\n".to_vec() }),
    );
    let mut open = with(
        &prevention("mnt/umount2"),
        Verdict::Inconclusive(Gap::Control("2 (sys): EPERM".to_owned())),
        Observation::nothing(Unseen::TimedOut),
        sentinel(),
    );
    if let Some(inside) = &mut open.inside {
        inside.control = Err("2 (sys): EPERM".to_owned());
    }
    let known = with(
        &prevention("mnt/fsopen"),
        Verdict::KnownDeviation("not yet filtered (somebody, https://example.org/1)".to_owned()),
        sentinel(),
        sentinel(),
    );
    let unsupported = CaseReport::unsupported(&prevention("sys/abi/x32"), None, "no x32 here".to_owned());
    let mut cases = vec![held, elsewhere, breach, heard, over, open, known, unsupported];
    cases.sort_by(|a, b| a.id.cmp(&b.id));
    let untested = BTreeMap::from([("network.publish[0]".to_owned(), "agent.yaml:12".to_owned())]);
    let lapsed = BTreeMap::from([(
        "net/old/*".to_owned(),
        "expired on 2026-01-31, somebody answers for it".to_owned(),
    )]);
    Report { subject: subject(), cases, untested, lapsed, took: Duration::from_millis(3210), against: None }
}

fn all_held() -> Report {
    let mut report = mixed();
    report.cases.retain(|case| case.verdict == Verdict::Held);
    report.lapsed.clear();
    report
}

fn plain(report: &Report) -> String {
    let mut bytes = Vec::new();
    text::write(&mut anstream::StripStream::new(&mut bytes as &mut dyn std::io::Write), report).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn text_of_every_verdict() {
    insta::assert_snapshot!(plain(&redact(mixed(), RUN)));
}

#[test]
fn text_of_a_clean_run() {
    insta::assert_snapshot!(plain(&redact(all_held(), RUN)));
}

#[test]
fn json_of_every_verdict() {
    let mut bytes = Vec::new();
    json::write(&mut bytes, &redact(mixed(), RUN)).unwrap();
    insta::assert_snapshot!(String::from_utf8(bytes).unwrap());
}

/// As [`mixed`], compared with a run in which other things failed.
fn compared() -> Report {
    let mut then = all_held();
    for (id, kind) in [("mnt/mount", Verdict::Held), ("work/python", Verdict::OverBlocked(String::new()))] {
        then.cases.push(CaseReport::new(&prevention(id), None, kind));
    }
    for id in ["mnt/chroot", "mnt/umount2", "env/\x1b[2Jold"] {
        then.cases.retain(|case| case.id != id);
        then.cases.push(CaseReport::new(&prevention(id), None, Verdict::Breached(String::new())));
    }
    let mut text = Vec::new();
    json::write(&mut text, &then).unwrap();
    let baseline = crate::baseline::Baseline::parse("old.json", &text).unwrap();
    let mut report = mixed();
    let now = report.cases.iter().map(|case| (case.id.clone(), case.verdict.kind())).collect();
    report.against = Some(baseline.comparison(&now, |_| true));
    report
}

#[test]
fn text_of_a_comparison() {
    let text = plain(&redact(compared(), RUN));
    let from = text.find("against").unwrap();
    insta::assert_snapshot!(&text[from..]);
}

#[test]
fn json_of_a_comparison() {
    let mut bytes = Vec::new();
    json::write(&mut bytes, &redact(compared(), RUN)).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    insta::assert_snapshot!(format!("{:#}", document["against"]));
}

fn written(form: Form, report: &Report) -> String {
    let mut bytes = Vec::new();
    form.write(&mut bytes, report).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn junit_of_every_verdict() {
    insta::assert_snapshot!(written(Form::Junit, &redact(mixed(), RUN)));
}

#[test]
fn markdown_of_every_verdict() {
    insta::assert_snapshot!(written(Form::Markdown, &redact(mixed(), RUN)));
}

#[test]
fn html_of_every_verdict() {
    insta::assert_snapshot!(written(Form::Html, &redact(mixed(), RUN)));
}

#[test]
fn sarif_of_every_verdict() {
    insta::assert_snapshot!(written(Form::Sarif, &redact(mixed(), RUN)));
}

#[test]
fn tap_of_every_verdict() {
    insta::assert_snapshot!(written(Form::Tap, &redact(mixed(), RUN)));
}

/// What a workload printed cannot reach the terminal as it is, whatever the stream does with styles.
#[test]
fn no_control_byte_of_a_workload_comes_through() {
    let mut bytes = Vec::new();
    text::write(&mut bytes, &mixed()).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(!text.contains("\x1b[2J") && !text.contains("\x1b]0") && !text.contains('\x07'), "{text}");
}

#[test]
fn redaction_hides_the_run_and_the_times() {
    let redacted = redact(mixed(), RUN);
    let mut bytes = Vec::new();
    json::write(&mut bytes, &redacted).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    // Data of an observation is evidence and stays; markers in it are the reader's business.
    assert!(!text.contains("3210") && !text.contains("9.9.9") && !text.contains("landlock_abi"), "{text}");
}

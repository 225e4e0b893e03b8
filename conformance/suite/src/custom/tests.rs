//! What a file may say, and what is said about one that may not.

use std::path::Path;

use rstest::rstest;

use super::*;
use crate::catalogue::{Class, GROUPS, Need, Outside, Workload};
use crate::explain::explanations;
use crate::observation::{Observation, Seen};
use crate::verdict::Kind;
use palisade_policy::Document;

const DENIAL: &str = "id: own/x
class: denied
severity: high
clause: filesystem
requirement: the file cannot be read
control: [read_file /etc/passwd]
script: [read_file /etc/shadow]
";

const COMMAND: &str = "id: own/x
class: denied
severity: high
clause: filesystem
requirement: the file cannot be read
control: [/bin/cat, /etc/passwd]
argv: [/bin/cat, /etc/shadow]
expect: {exit: [1]}
";

fn said(text: &str) -> String {
    match parse("x.yaml", text) {
        Ok(probe) => panic!("accepted: {probe:?}"),
        Err(problem) => match &problem.hint {
            Some(hint) => format!("{problem}\n  hint: {hint}"),
            None => problem.to_string(),
        },
    }
}

fn statements(probe: &Probe) -> Vec<String> {
    match &probe.workload {
        Workload::Script(script) => script.statements().iter().map(ToString::to_string).collect(),
        Workload::Command(argv) => panic!("{argv:?}"),
    }
}

#[test]
fn the_shipped_examples_are_probes() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/probes.d");
    let custom = load(&[directory]).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert!(custom.probes.len() >= 4 && custom.probes.is_sorted_by(|a, b| a.id < b.id));
    let policy = Document::builtin("default").expect("default").policy;
    let explained = explanations(&policy, &custom.probes);
    for probe in &custom.probes {
        let words = explained.iter().find(|words| words.id == probe.id).expect("explained");
        assert!(
            !words.spec_text.is_empty() && !words.inside.is_empty() && !words.controls.is_empty(),
            "{words:?}"
        );
    }
}

#[test]
fn no_group_of_the_catalogue_has_the_name() {
    assert!(GROUPS.iter().all(|group| group.name != GROUP));
}

#[test]
fn a_script_becomes_an_entry() {
    let more = "setup: [open /etc 0]\nspec: FS-1\noutside: {returns: 3}\nexpect: [denied, {errors: [EIO]}]\n\
                plant: {a/b: text}\nneeds: [root, ipv6]\ntimeout: 5s\n";
    let probe = parse("x.yaml", &format!("{DENIAL}{more}")).expect("a probe");
    let expected = ["s:open @/etc 0", "c:read_file @/etc/passwd", "a:read_file @/etc/shadow"];
    assert_eq!(statements(&probe), expected);
    assert_eq!(
        (probe.class, probe.severity, probe.spec),
        (Class::Denied, crate::catalogue::Severity::High, "FS-1")
    );
    assert_eq!((probe.needs.as_slice(), probe.planted.len()), (&[Need::Root, Need::Ipv6][..], 1));
    assert_eq!(probe.limit, Some(std::time::Duration::from_secs(5)));
    assert!(matches!(&probe.outside, Outside::Shows(shows) if shows.contains(&Seen::returned(3))));
    assert!(probe.expect.contains(&Seen::failed(nix::errno::Errno::EIO)));
}

#[test]
fn a_command_has_its_control_in_the_same_run() {
    let probe = parse("x.yaml", COMMAND).expect("a probe");
    let expected =
        ["s:stat_mode @/bin/cat", "c:exec_ok @/bin/cat @/etc/passwd", "a:exec @/bin/cat @/etc/shadow"];
    assert_eq!(statements(&probe), expected);
    assert_eq!(probe.describe(), "/bin/cat /etc/shadow");
    // Where it is the absence of the program that is expected, it need not be there.
    let absent = COMMAND.replace("{exit: [1]}", "absent");
    assert_eq!(statements(&parse("x.yaml", &absent).expect("a probe")).len(), 2);
}

/// The judge knows nothing of where a probe came from.
#[rstest]
#[case::held(Seen::returned(1), Seen::returned(0), Kind::Held)]
#[case::breached(Seen::returned(0), Seen::returned(0), Kind::Breached)]
#[case::host_refuses(Seen::returned(1), Seen::failed(nix::errno::Errno::ENOENT), Kind::Unsupported)]
fn verdicts(#[case] inside: Seen, #[case] outside: Seen, #[case] expected: Kind) {
    let probe = parse("x.yaml", COMMAND).expect("a probe");
    let (inside, outside) = (Observation::of(inside), Observation::of(outside));
    let evidence = crate::judge::Evidence { inside: &inside, outside: Some(&outside), canary: None };
    assert_eq!(crate::judge::judge(&probe, evidence).kind(), expected);
    let failed = Observation { control: Err("no".to_owned()), ..inside.clone() };
    let evidence = crate::judge::Evidence { inside: &failed, ..evidence };
    assert_ne!(
        crate::judge::judge(&probe, evidence).kind(),
        Kind::Held,
        "without its control nothing is held"
    );
}

/// Output that was cut off is no proof that something is not in it.
#[test]
fn what_was_cut_off_lacks_nothing() {
    let text = COMMAND.replace("{exit: [1]}", "{lacks: root}\noutside: {contains: root}");
    let probe = parse("x.yaml", &text).expect("a probe");
    assert!(probe.expect.contains(&Seen::reported("x".repeat(2047))));
    assert!(!probe.expect.contains(&Seen::reported("x".repeat(2048))));
}

#[test]
fn what_a_file_may_not_say() {
    let denial = |from: &str, to: &str| said(&DENIAL.replace(from, to));
    let command = |from: &str, to: &str| said(&COMMAND.replace(from, to));
    let all = [
        denial("severity: high", "severity: terrible"),
        denial("severity: high", "severity: high\nseverty: low"),
        denial("severity: high\n", ""),
        denial("own/x", "fs/read/x"),
        denial("own/x", "own/X_y"),
        denial("clause: filesystem", "clause: files"),
        denial("clause: filesystem", "clause: filesystem\nspec: FS-99"),
        denial("cannot be read", "cannot be read."),
        denial("script: [read_file /etc/shadow]\n", ""),
        denial("control: [read_file /etc/passwd]\n", ""),
        denial("read_file /etc/shadow", "reed_file /etc/shadow"),
        denial("read_file /etc/shadow", "sys openat -100 /etc/shadow"),
        denial("read_file /etc/shadow", "sys close $7"),
        denial("read_file /etc/shadow", "sys reboot 0xfee1dead 672274793 0x1234567"),
        denial("read_file /etc/shadow", "sys 0x400000a9 0 0 0"),
        denial("read_file /etc/shadow", "write_file /proc/sys/kernel/panic 1"),
        denial("script:", "plant: {../x: y}\nscript:"),
        denial("script:", "timeout: 1h\nscript:"),
        denial("script:", "expect: deny\nscript:"),
        denial("script:", "expect: {errors: [EPERN]}\nscript:"),
        denial("script:", "expect: {}\nscript:"),
        denial("script:", "expect: {lacks: ''}\nscript:"),
        denial("script:", "expect: {exit: [1]}\nscript:"),
        denial("script:", "expect: {returns: 1, errors: [EPERM]}\nscript:"),
        denial("script:", "outside: denied\nscript:"),
        denial("script:", "expect: {lacks: root}\nscript:"),
        denial("script:", "expect: {errors: [EFAULT]}\nscript:"),
        denial("class: denied", "class: allowed\nexpect: denied"),
        denial("class: denied", "class: allowed\noutside: succeeds"),
        command("argv: [/bin/cat", "argv: [cat"),
        command("argv: [/bin/cat", "argv: [/bin/cat, a, b, c, d, e, f, g, h"),
        command("argv: [/bin/cat", "script: [sys getpid]\nargv: [/bin/cat"),
        command("{exit: [1]}", "{returns: 1}"),
        command("{exit: [1]}", "{exit: [0, 1]}"),
        said("- a list\n"),
        said("id: [\n"),
        said(""),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

/// Whatever the set: what the host shows by doing nothing must not be in it.
#[rstest]
#[case("[denied, succeeds]")]
#[case("[denied, {at_least: 0}]")]
#[case("{at_most: 5}")]
#[case("[denied, {lacks: secret}]")]
#[case("{contains: public}")]
fn an_expectation_that_cannot_fail_is_refused(#[case] set: &str) {
    let said = said(&DENIAL.replace("script:", &format!("expect: {set}\nscript:")));
    assert!(said.contains("would be expected inside, and without a sandbox too"), "{said}");
}

#[test]
fn a_directory_is_read_whole_or_not_at_all() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("written");
    let problems = || match load(&[directory.path().to_owned()]) {
        Ok(_) => Vec::new(),
        Err(problems) => problems
            .iter()
            .map(|problem| problem.to_string().replace(&directory.path().display().to_string(), "DIR"))
            .collect(),
    };
    assert_eq!(problems(), ["DIR: has no probes"]);
    write("README", "not a probe");
    write("a.yaml", DENIAL);
    assert_eq!(problems(), Vec::<String>::new());
    write("b.yaml", DENIAL);
    write("c.yml", DENIAL);
    write("d.yaml", "id: 1\n");
    let said = problems();
    assert_eq!(said.len(), 3, "{said:?}");
    assert_eq!(said[0], "DIR/b.yaml: own/x is the id of the probe in DIR/a.yaml too");
    assert_eq!(said[1], "DIR/c.yml: is not read");
    assert!(said[2].starts_with("DIR/d.yaml:1:"), "{said:?}");
    assert!(load(&[directory.path().join("none.yaml")]).is_err());
}

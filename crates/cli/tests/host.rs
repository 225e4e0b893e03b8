//! `palisade host`: what it tells of hosts that have less, whether its predictions come true, and that it leaves nothing.

mod support;

#[path = "../../../conformance/suite/tests/support/schemas.rs"]
#[allow(dead_code)]
mod schemas;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use palisade_sys::seccomp::{SockFilter, set_mode_filter, set_mode_filter_with_listener};
use rstest::rstest;
use rustix::process::geteuid;
use serde_json::{Value, json};
use support::{less, output, palisade, status, stderr, stdout};
use tempfile::TempDir;

const SCHEMA: &str = "conformance/schema/palisade.host-1.json";

/// Policies that are enforced, in part, or not at all, by what is taken from a host.
const POLICIES: [(&str, &str); 6] = [
    ("plain", "filesystem: {read_write: [.]}\n"),
    (
        "degrade",
        "on_unavailable: degrade\nfilesystem: {read_write: [.]}\nresources: {memory: 64MiB, cpus: 0.5}\n",
    ),
    ("refuse", "filesystem: {read_write: [.]}\nresources: {memory: 64MiB, cpus: 0.5}\n"),
    ("missing", "filesystem:\n  read_only: [nowhere]\n"),
    ("overlay", "filesystem: {read_write: [.], workspace: overlay}\n"),
    ("ports", "network:\n  mode: allowlist\n  allow: [{cidr: 203.0.113.0/24, ports: any}]\n"),
];

fn workspace() -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, text) in POLICIES {
        fs::write(directory.path().join(format!("{name}.yaml")), text).expect("written");
    }
    directory
}

/// The report that a command has printed, and that it is of the published form.
fn report(told: &Output) -> Value {
    let report: Value = serde_json::from_slice(&told.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", stdout(told), stderr(told)));
    schemas::json(SCHEMA, &report).unwrap_or_else(|error| panic!("{error}\n{report:#}"));
    assert_eq!(stderr(told), "");
    report
}

fn finding(report: &Value, id: &str) -> Value {
    let findings = report["findings"].as_array().expect("findings");
    findings.iter().find(|finding| finding["id"] == id).unwrap_or_else(|| panic!("no {id}")).clone()
}

/// A report of this host as it is, without a policy.
fn plain(directory: &TempDir) -> Value {
    let told = output(palisade(directory.path()).args(["host", "--format", "json"]));
    assert_eq!(status(&told), 0);
    report(&told)
}

#[test]
fn a_document_that_is_broken_is_refused() {
    let directory = workspace();
    let told =
        output(palisade(directory.path()).args(["host", "--policy", "missing.yaml", "--format", "json"]));
    assert_eq!(status(&told), 3, "{}", stderr(&told));
    let whole = report(&told);
    let breaks: [fn(&mut Value); 9] = [
        |report| report["schema"] = json!("palisade.host/2"),
        |report| report["extra"] = json!(1),
        |report| report["caller"] = json!("nobody"),
        |report| report["findings"] = json!([]),
        |report| report["findings"][0]["status"] = json!("fine"),
        |report| report["findings"][0]["remedy"] = json!("of what is there"),
        |report| report["policy"]["outcome"] = json!("enforced"),
        |report| report["policy"]["refusals"] = json!([]),
        |report| report["facts"]["overlay"] = json!("perhaps"),
    ];
    for (number, break_it) in breaks.iter().enumerate() {
        let mut broken = whole.clone();
        break_it(&mut broken);
        assert!(schemas::json(SCHEMA, &broken).is_err(), "break {number}");
    }
}

/// What is predicted of a policy is what `run` then does and reports.
fn comes_true(directory: &Path, command: impl Fn() -> Command, policy: &str) -> String {
    let file = format!("{policy}.yaml");
    let told = output(command().current_dir(directory).args(["host", "--policy", &file, "--format", "json"]));
    let predicted = report(&told)["policy"].clone();
    let words = ["run", "--report", "report.json", "--policy", &file, "--", "sh", "-c", "echo ran"];
    let ran = output(command().current_dir(directory).args(words));
    let outcome = predicted["outcome"].as_str().expect("an outcome").to_owned();
    let (exit, ran_exit, said) = match outcome.as_str() {
        "enforced" => (0, 0, "ran\n"),
        "partly" => (1, 0, "ran\n"),
        _ => (3, 125, ""),
    };
    assert_eq!(
        (status(&told), status(&ran), stdout(&ran).as_str()),
        (exit, ran_exit, said),
        "{}",
        stderr(&ran)
    );
    if outcome == "refused" {
        let refusals = predicted["refusals"].as_array().expect("refusals");
        for refusal in refusals {
            let clause = refusal["clause"].as_str().expect("a clause");
            assert!(stderr(&ran).contains(&format!("{clause}: ")), "{clause} in {}", stderr(&ran));
        }
        let said = stderr(&ran).matches("palisade: ").count();
        assert_eq!(said, refusals.len(), "{}", stderr(&ran));
        return outcome;
    }
    let text = fs::read_to_string(directory.join("report.json")).expect("a report");
    let ran: Value = serde_json::from_str(&text).expect("JSON");
    let gets = |one: &Value| (one["clause"].clone(), one["status"] == "enforced");
    let list = |list: &Value| list.as_array().expect("a list").iter().map(gets).collect::<Vec<_>>();
    assert_eq!(list(&predicted["clauses"]), list(&ran["coverage"]), "{predicted:#}");
    outcome
}

#[test]
fn what_is_predicted_comes_true() {
    let directory = workspace();
    let here = || palisade(directory.path());
    assert_eq!(comes_true(directory.path(), here, "plain"), "enforced");
    assert_eq!(comes_true(directory.path(), here, "missing"), "refused");
    for policy in ["degrade", "refuse", "overlay", "ports"] {
        comes_true(directory.path(), here, policy);
    }
}

#[test]
fn what_is_predicted_of_a_host_without_groups_comes_true() {
    let directory = workspace();
    let less = || less::after("mount -t tmpfs none /sys/fs/cgroup");
    assert_eq!(comes_true(directory.path(), less, "plain"), "enforced");
    assert_eq!(comes_true(directory.path(), less, "degrade"), "partly");
    assert_eq!(comes_true(directory.path(), less, "refuse"), "refused");
}

#[test]
fn what_lacks_groups_lacks_limits() {
    let directory = workspace();
    let told = output(
        less::after("mount -t tmpfs none /sys/fs/cgroup")
            .args(["host", "--format", "json"])
            .current_dir(directory.path()),
    );
    let report = report(&told);
    let memory = finding(&report, "cgroups/memory");
    assert_ne!(memory["status"], "available");
    assert!(memory["consequence"].as_str().expect("told").starts_with("resources.memory: per process only"));
}

/// As a setting, in a user namespace that has it as its own.
#[rstest]
#[case("user", "namespaces/user")]
#[case("net", "namespaces/network")]
#[case("time", "namespaces/time")]
fn namespaces_that_are_forbidden_are_told(#[case] kind: &str, #[case] id: &str) {
    let directory = workspace();
    let inside = less::after_in_user_namespace(&format!("echo 0 > /proc/sys/user/max_{kind}_namespaces"));
    let told =
        inside.output(|command| command.args(["host", "--format", "json"]).current_dir(directory.path()));
    let report = report(&told);
    let lost = finding(&report, id);
    // The control: what is not forbidden is there, unless nothing is.
    let mount = finding(&report, "namespaces/mount");
    assert_eq!(lost["status"], "unavailable", "{lost}");
    assert_eq!(lost["value"], format!("ENOSPC (user.max_{kind}_namespaces is 0)"));
    assert_eq!(lost["remedy"], format!("sysctl -w user.max_{kind}_namespaces=15000"));
    assert_eq!(lost["consequence"].is_null(), kind == "time");
    assert_eq!(mount["status"] == "available", kind != "user", "{mount}");

    // And so it is: nothing runs without a network namespace either, and the reason names the setting.
    let inside = less::after_in_user_namespace(&format!("echo 0 > /proc/sys/user/max_{kind}_namespaces"));
    let words = ["host", "--policy", "default", "--format", "json"];
    let told = inside.output(|command| command.args(words).current_dir(directory.path()));
    let refusals = self::report(&told)["policy"]["refusals"].clone();
    match kind {
        "time" => assert_eq!(refusals, json!([])),
        _ => assert!(
            refusals[0]["why"].as_str().expect("why").contains(&format!("max_{kind}_namespaces is 0")),
            "{refusals}"
        ),
    }
}

/// By a filter around it, as on a kernel without the call or under a stricter sandbox.
#[rstest]
#[case::landlock(less::LANDLOCK_CREATE_RULESET, less::NO_SUCH_CALL, "landlock/files", "absent")]
#[case::io_uring(425, 0x0005_0001, "surface/io-uring", "unavailable")]
#[case::mseal(462, less::NO_SUCH_CALL, "hardening/mseal", "absent")]
#[case::mount_attributes(less::MOUNT_SETATTR, less::NO_SUCH_CALL, "mounts/attributes", "absent")]
#[case::user_namespaces(435, less::NO_SUCH_CALL, "namespaces/user", "absent")]
#[case::killed(425, 0x8000_0000, "surface/io-uring", "unavailable")]
fn what_a_filter_takes_away_is_told(
    #[case] call: u32,
    #[case] answer: u32,
    #[case] id: &str,
    #[case] wanted: &str,
) {
    let directory = workspace();
    let mut command = palisade(directory.path());
    command.args(["host", "--format", "json"]);
    let less = || set_mode_filter(&less::filter(call, answer)).expect("installed");
    let without = finding(&report(&less::under(less, &mut command)), id);
    assert_eq!(without["status"], wanted, "{without}");
    let with = finding(&plain(&directory), id);
    assert_ne!(with["value"], without["value"]);
}

/// A kernel without nftables, by a filter that knows of no such sockets: it is told, and a policy that needs them is refused.
#[test]
fn a_kernel_without_nftables_is_told() {
    let instruction = |code, jt, jf, k| SockFilter { code, jt, jf, k };
    // socket(2), of which the third argument is NETLINK_NETFILTER: EPROTONOSUPPORT (netlink(7)).
    let program = [
        instruction(0x20, 0, 0, 0),
        instruction(0x15, 0, 3, 41),
        instruction(0x20, 0, 0, 32),
        instruction(0x15, 0, 1, 12),
        instruction(0x06, 0, 0, 0x0005_0000 | 93),
        instruction(0x06, 0, 0, 0x7fff_0000),
    ];
    let directory = workspace();
    let told = |words: &[&str]| {
        let less = || set_mode_filter(&program).expect("installed");
        less::under(less, palisade(directory.path()).args(words))
    };
    let nftables = finding(&report(&told(&["host", "--format", "json"])), "network/nftables");
    assert_eq!((&nftables["status"], &nftables["remedy"]), (&json!("absent"), &json!("modprobe nf_tables")));
    let predicted = told(&["host", "--policy", "ports.yaml"]);
    assert_eq!(status(&predicted), 3);
    assert!(stdout(&predicted).contains("this kernel takes none: EPROTONOSUPPORT"), "{}", stdout(&predicted));
    let ran = told(&["run", "--policy", "ports.yaml", "--", "echo", "ran"]);
    assert_eq!((status(&ran), stdout(&ran).as_str()), (125, ""));
    // The control: ports that are listed need none.
    fs::write(directory.path().join("listed.yaml"), POLICIES[5].1.replace("any", "[443]")).expect("written");
    assert_eq!(status(&told(&["host", "--policy", "listed.yaml"])), 0);
    let ran = told(&["run", "--policy", "listed.yaml", "--", "echo", "ran"]);
    assert_eq!((status(&ran), stdout(&ran).as_str()), (0, "ran\n"), "{}", stderr(&ran));
}

#[test]
fn a_listener_around_it_is_told() {
    let directory = workspace();
    let mut listener = None;
    let watched = || {
        let program = less::filter(0xffff_fff0, 0x7fc0_0000);
        listener = Some(set_mode_filter_with_listener(&program).expect("installed"));
    };
    let mut command = palisade(directory.path());
    let told = less::under(watched, command.args(["host", "--format", "json"]));
    let notify = finding(&report(&told), "seccomp/notify");
    assert_eq!(
        (&notify["status"], notify["value"].as_str().map(|value| value.contains("EBUSY"))),
        (&json!("unavailable"), Some(true))
    );
}

/// Looks at what there is before and after, in namespaces that nobody else changes: mounts, interfaces, processes, files, and
/// groups of trials, which have the number of the pid namespace in their names.
const LOOK: &str = r#"
own=$(readlink /proc/self/ns/pid | tr -dc 0-9)
look() {
    cat /proc/self/mountinfo
    cut -d: -f1 /proc/net/dev
    cat /proc/[0-9]*/comm
    ls -A
    find /sys/fs/cgroup -name "palisade-trial-*-$own" 2>/dev/null || :
}
before=$(look)
"$@" >/dev/null
after=$(look)
[ "$before" = "$after" ] || { echo "$before"; echo; echo "$after"; exit 9; } >&2
"#;

/// Whatever was tried: nothing is left, and nothing is said.
#[rstest]
#[case::palisade(&[env!("CARGO_BIN_EXE_palisade"), "host"], 0)]
#[case::a_mount(&["mount", "-t", "tmpfs", "none", "/mnt"], 9)]
#[case::an_interface(&["ip", "link", "add", "type", "veth"], 9)]
#[case::a_process(&["sh", "-c", "sleep 60 &"], 9)]
#[case::a_file(&["touch", "left"], 9)]
fn nothing_is_left_behind(#[case] words: &[&str], #[case] wanted: i32) {
    let directory = workspace();
    let mut command = Command::new("unshare");
    if !geteuid().is_root() {
        command.args(["--map-current-user", "--keep-caps"]);
    }
    command.args([
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
        "sh",
        "-ec",
        LOOK,
        "sh",
    ]);
    let told = output(command.args(words).current_dir(directory.path()));
    assert_eq!(status(&told), wanted, "{}", stderr(&told));
    assert_eq!(stderr(&told).is_empty(), wanted == 0, "{}", stderr(&told));
}

#[test]
fn wrong_usage_is_told() {
    let directory = workspace();
    for words in [
        &["host", "--policy", "no-such.yaml"][..],
        &["host", "--backend", "pasta"],
        &["host", "--format", "xml"],
    ] {
        let told = output(palisade(directory.path()).args(words));
        assert_eq!((status(&told), stdout(&told).as_str()), (2, ""), "{words:?}");
        assert_ne!(stderr(&told), "");
    }
}

/// The backend of a policy can be another one: what it lacks is a refusal of that clause.
#[test]
fn a_backend_is_predicted_too() {
    let directory = workspace();
    let words = ["host", "--policy", "ports.yaml", "--backend", "macvlan", "--format", "json"];
    let told = output(palisade(directory.path()).args(words));
    let policy = report(&told)["policy"].clone();
    // Nothing says where the interface is to be put.
    assert_eq!((status(&told), &policy["refusals"][0]["clause"]), (3, &json!("network.backend")));
}

#[rstest]
#[case("md")]
#[case("html")]
#[case("text")]
fn every_form_tells_every_finding(#[case] form: &str) {
    let directory = workspace();
    let told = output(palisade(directory.path()).args(["host", "--format", form]));
    let text = stdout(&told);
    for finding in plain(&directory)["findings"].as_array().expect("findings") {
        let id = finding["id"].as_str().expect("an id");
        let name = if form == "md" { id } else { id.split_once('/').expect("a slash").1 };
        assert!(text.contains(name), "{id} is not in {text}");
    }
}

/// What a policy is called, and what it says, is text in every form.
#[test]
fn a_name_is_no_markup() {
    let directory = workspace();
    let name = "<script>x`y|z_[1](u).yaml";
    fs::write(directory.path().join(name), "filesystem:\n  read_only: ['<b>|no']\n").expect("written");
    for (form, never) in [("html", "<script>"), ("html", "<b>|no"), ("md", "<script>"), ("md", "/<b>|no")] {
        let told = output(palisade(directory.path()).args(["host", "--policy", name, "--format", form]));
        assert_eq!(status(&told), 3, "{}", stderr(&told));
        assert!(!stdout(&told).contains(never), "{never} in {}", stdout(&told));
    }
}

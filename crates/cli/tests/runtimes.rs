//! The same probes against sandboxes of others: they really run, what they do not do is found, and what they have no means for is said.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use support::{output, palisade, status, stderr, stdout};

/// The verdicts and reasons by id of a run that ends with this code.
fn verdicts(runtime: &str, only: &str, code: i32) -> BTreeMap<String, (String, String)> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut command = palisade(directory.path());
    command.args(["verify", "--format", "json", "--runtime", runtime, "--only", only]);
    if only.starts_with("own/") {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/probes.d");
        command.arg("--probes").arg(shipped);
    }
    let output = output(&mut command);
    assert_eq!(status(&output), code, "{} {}", stderr(&output), stdout(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["subject"]["runtime"], runtime);
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let probes = report["probes"].as_array().expect("a list");
    probes.iter().map(|probe| (word(&probe["id"]), (word(&probe["verdict"]), word(&probe["why"])))).collect()
}

/// bubblewrap makes namespaces and drops capabilities. That it hands on every descriptor of its caller and has no filter of its own is
/// said.
#[test]
fn bubblewrap() {
    let found = verdicts("bubblewrap", "posture/*", 0);
    let of = |id: &str| found[id].0.as_str();
    for name in ["user", "pid", "net", "ipc", "uts"] {
        assert_eq!(of(&format!("posture/namespace/{name}")), "held", "{found:?}");
    }
    assert_eq!((of("posture/capabilities"), of("posture/no-new-privs")), ("held", "held"), "{found:?}");
    let (verdict, why) = &found["posture/descriptors"];
    assert_eq!(verdict, "unsupported");
    assert!(why.contains("hands on every descriptor"), "{why}");
    let (verdict, why) = &found["posture/filter"];
    assert_eq!(verdict, "unsupported");
    assert!(why.contains("no means for process.syscalls"), "{why}");
}

/// What it does otherwise than the policy says, with its own means, is a breach: /dev/core leads to the host's memory file.
#[test]
fn bubblewrap_is_not_excused() {
    let found = verdicts("bubblewrap", "dev/allowlist", 1);
    assert_eq!(found["dev/allowlist"].0, "breached", "{found:?}");
}

/// A reviewer's own probes are asked of it as of any other.
#[test]
fn own_probes_in_bubblewrap() {
    let found = verdicts("bubblewrap", "own/*", 0);
    let of = |id: &str| found[id].0.as_str();
    assert_eq!(of("own/tmp-round-trip"), "held", "{found:?}");
    assert_eq!(of("own/docker-socket"), "held", "{found:?}");
    assert_eq!(of("own/mount"), "unsupported", "without a filter mount(2) looks at its operands: {found:?}");
}

/// OCI runtimes, by a bundle: namespaces, capabilities, Docker's filter. That a container outlives its runtime is said.
fn bundle(runtime: &str) {
    let found = verdicts(runtime, "posture/*", 0);
    let of = |id: &str| found[id].0.as_str();
    for name in ["user", "pid", "net", "ipc", "uts", "mnt", "cgroup"] {
        assert_eq!(of(&format!("posture/namespace/{name}")), "held", "{found:?}");
    }
    for name in ["capabilities", "no-new-privs", "filter", "descriptors", "session"] {
        assert_eq!(of(&format!("posture/{name}")), "held", "{found:?}");
    }
    // Nothing is left to be judged then.
    let found = verdicts(runtime, "life/supervisor-killed", 3);
    let (verdict, why) = &found["life/supervisor-killed"];
    assert_eq!(verdict, "unsupported");
    assert!(why.contains("outlive its runtime"), "{why}");
    let found = verdicts(runtime, "work/tmp-*", 0);
    assert!(found.values().all(|(verdict, _)| verdict == "held"), "{found:?}");
    // Docker's filter lets other processes be traced, which a policy does not: a breach.
    let found = verdicts(runtime, "xmem/ptrace/attach-sibling", 1);
    assert_eq!(found["xmem/ptrace/attach-sibling"].0, "breached", "{found:?}");
}

#[test]
fn crun() {
    bundle("crun");
}

#[test]
fn runc() {
    bundle("runc");
}

/// podman with a store of the run's own.
#[test]
fn podman() {
    let found = verdicts("podman", "posture/namespace/*", 0);
    assert!(found.values().all(|(verdict, _)| verdict == "held"), "{found:?}");
    let found = verdicts("podman", "work/tmp-writable", 0);
    assert_eq!(found["work/tmp-writable"].0, "held", "{found:?}");
}

/// systemd-nspawn needs root, and no system manager.
#[test]
fn systemd_nspawn() {
    if !rustix::process::geteuid().is_root() {
        let mut command = palisade(Path::new("/"));
        let output = output(command.args(["verify", "--runtime", "systemd-nspawn", "--only", "posture/*"]));
        assert_eq!(status(&output), 2);
        assert!(stderr(&output).contains("Need to be root"), "{}", stderr(&output));
        return;
    }
    let found = verdicts("systemd-nspawn", "posture/namespace/*", 0);
    assert!(found.values().all(|(verdict, _)| verdict == "held"), "{found:?}");
    // Unless the system manager keeps its unit, nobody ends the container with nspawn.
    let found = verdicts("systemd-nspawn", "life/supervisor-killed", 1);
    assert_eq!(found["life/supervisor-killed"].0, "breached", "{found:?}");
}

/// Whether a runtime is here and works; it says why not. One that `ci/test` installs has to, for whom it can work.
fn is_here(runtime: &str, must: bool) -> bool {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut command = palisade(directory.path());
    let output = output(command.args(["verify", "--runtime", runtime, "--only", "posture/no-new-privs"]));
    if status(&output) != 2 {
        return true;
    }
    let must = must && std::env::var_os("PALISADE_MUST_WORK").is_some_and(|value| value == "1");
    assert!(!must, "{runtime} must work: {}", stderr(&output));
    eprintln!("not run: {}", stderr(&output).trim());
    false
}

/// Those of the namespaces of these kinds that are held.
fn held_namespaces<'a>(runtime: &str, kinds: &[&'a str], code: i32) -> Vec<&'a str> {
    let found = verdicts(runtime, "posture/namespace/*", code);
    let held = |kind: &&str| found[&format!("posture/namespace/{kind}")].0 == "held";
    kinds.iter().copied().filter(held).collect()
}

/// firejail works for root here: it is set-user-id root, and an ordinary user's lab has no such root. A process of its own that has
/// every capability stays in the sandbox.
#[test]
fn firejail() {
    let root = rustix::process::geteuid().is_root();
    if !is_here("firejail", root) {
        return;
    }
    let kinds = ["ipc", "mnt", "net", "pid", "uts"];
    assert_eq!(held_namespaces("firejail", &kinds, 0), kinds);
    let found = verdicts("firejail", "posture/capabilities", 1);
    assert!(found["posture/capabilities"].1.contains("CapEff"), "{found:?}");
}

/// codex and srt are bubblewrap with settings of their own; hakoniwa makes its namespaces itself. `scripts/peers` installs them.
#[test]
fn codex() {
    if is_here("codex", false) {
        let kinds = ["ipc", "mnt", "net", "pid", "user"];
        assert_eq!(held_namespaces("codex", &kinds, 0), kinds);
        let found = verdicts("codex", "posture/capabilities", 0);
        assert_eq!(found["posture/capabilities"].0, "held", "{found:?}");
    }
}

#[test]
fn srt() {
    if is_here("srt", false) {
        let kinds = ["mnt", "net", "pid", "user"];
        assert_eq!(held_namespaces("srt", &kinds, 0), kinds);
        let found = verdicts("srt", "posture/namespace/ipc", 3);
        assert!(found["posture/namespace/ipc"].1.contains("makes no ipc namespace"), "{found:?}");
    }
}

#[test]
fn hakoniwa() {
    if is_here("hakoniwa", false) {
        let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
        assert_eq!(held_namespaces("hakoniwa", &kinds, 0), kinds);
        let found = verdicts("hakoniwa", "posture/no-new-privs", 0);
        assert_eq!(found["posture/no-new-privs"].0, "held", "{found:?}");
    }
}

/// Namespaces alone leave the host's files to be seen.
#[test]
fn unshare() {
    let found = verdicts("unshare", "posture/namespace/*", 0);
    assert!(found.values().filter(|(verdict, _)| verdict == "held").count() >= 6, "{found:?}");
    let found = verdicts("unshare", "posture/mount/*", 0);
    let (verdict, why) = &found["posture/mount/writable"];
    assert_eq!(verdict, "unsupported");
    assert!(why.contains("no view of files"), "{why}");
}

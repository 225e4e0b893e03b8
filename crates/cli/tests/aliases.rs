//! One directory at two places: what is hidden or read-only at the one is so at the other, whoever runs it.

mod support;

use std::fs;
use std::process::{Command, Output};

use support::{output, status, stderr, stdout};

/// Runs `script` of a shell in a mount namespace of its own, in a fresh directory, with `$palisade` to call. An ordinary
/// user makes it in a user namespace.
fn in_own_namespace(policy: &str, script: &str) -> Output {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join("policy.yaml"), policy).expect("written");
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "--propagation", "private", "sh", "-eu", "-c", script]);
    command.env("palisade", env!("CARGO_BIN_EXE_palisade")).current_dir(directory.path());
    output(&mut command)
}

const PLACES: &str = "
mkdir work work/secret work/view work/fixed work/copy work/part
mkdir -p work/secret/deep/er
echo token > work/secret/file
echo token > work/secret/deep/er/file
echo fixed > work/fixed/file
mount --bind work/secret work/view
mount --bind work/fixed work/copy
mount --bind work/secret/deep work/part
cd work
";

#[test]
fn what_is_hidden_or_read_only_is_so_at_every_place() {
    let policy = "filesystem: {read_write: [.], read_only: [fixed], hidden: [secret]}\n";
    let script = format!(
        "{PLACES}
exec $palisade run --policy ../policy.yaml -- sh -c '
cat secret/file view/file part/er/file 2>/dev/null
echo changed > fixed/file
echo changed > copy/file
mv view other; mv copy another
cat fixed/file copy/file
echo free > file && cat file' 2>/dev/null"
    );
    let ran = in_own_namespace(policy, &script);
    assert_eq!((status(&ran), stdout(&ran).as_str()), (0, "fixed\nfixed\nfree\n"), "{}", stderr(&ran));
}

/// Without rules about them both places show everything: what the test above relies on.
#[test]
fn without_a_rule_both_places_show_the_same() {
    let script = format!(
        "{PLACES}
exec $palisade run --policy ../policy.yaml -- sh -c '
cat secret/file view/file part/er/file
echo changed > copy/file
cat fixed/file'"
    );
    let ran = in_own_namespace("filesystem: {read_write: [.]}\n", &script);
    assert_eq!(
        (status(&ran), stdout(&ran).as_str()),
        (0, "token\ntoken\ntoken\nchanged\n"),
        "{}",
        stderr(&ran)
    );
}

#[test]
fn what_does_not_exist_yet_appears_at_neither_place_and_nothing_stays_behind() {
    let policy = "filesystem: {read_write: [.], hidden: [secret/late, secret/one/two]}\n";
    let script = format!(
        "{PLACES}
$palisade run --policy ../policy.yaml -- sh -c '
echo made > view/late
mkdir -p view/one && echo made > view/one/two
cat secret/late view/late secret/one/two view/one/two; echo tried' 2>/dev/null
ls secret"
    );
    let ran = in_own_namespace(policy, &script);
    assert_eq!((status(&ran), stdout(&ran).as_str()), (0, "tried\ndeep\nfile\n"), "{}", stderr(&ran));
}

#[test]
fn nothing_is_executed_at_either_place() {
    let policy = "filesystem: {read_write: [.], no_execute: [fixed]}\n";
    let script = format!(
        "{PLACES}
cp /bin/true fixed/true
exec $palisade run --policy ../policy.yaml -- sh -c '
fixed/true || echo no; copy/true || echo no; cp copy/true true && ./true && echo yes' 2>/dev/null"
    );
    let ran = in_own_namespace(policy, &script);
    assert_eq!((status(&ran), stdout(&ran).as_str()), (0, "no\nno\nyes\n"), "{}", stderr(&ran));
}

#[test]
fn a_workspace_of_its_own_hides_at_both_places() {
    let policy = "filesystem: {read_write: [.], hidden: [secret], workspace: copy}\n";
    let script = format!(
        "{PLACES}
exec $palisade run --policy ../policy.yaml -- sh -c '
cat secret/file view/file part/er/file 2>/dev/null; cat copy/file'"
    );
    let ran = in_own_namespace(policy, &script);
    assert_eq!((status(&ran), stdout(&ran).as_str()), (0, "fixed\n"), "{}", stderr(&ran));
}

/// Hundreds of mounts below a workspace, all of one directory: everything is there, and what is hidden is so in each.
#[test]
fn hundreds_of_mounts_start_and_each_keeps_to_the_rule() {
    for kind in ["direct", "copy"] {
        let policy = format!("filesystem: {{read_write: [.], hidden: [m/1/secret], workspace: {kind}}}\n");
        let script = "
mkdir work && cd work
seq -f 'm/%.0f' 300 | xargs mkdir -p
echo token > m/1/secret
touch m/1/marker
for number in $(seq 2 300); do mount --bind m/1 m/$number; done
[ $(cat m/*/secret | wc -l) = 300 ]
exec $palisade run --policy ../policy.yaml -- sh -c '
ls m/*/marker | wc -l; cat m/*/secret 2>/dev/null; echo tried'";
        let ran = in_own_namespace(&policy, script);
        assert_eq!((status(&ran), stdout(&ran).as_str()), (0, "300\ntried\n"), "{kind}: {}", stderr(&ran));
    }
}

//! Hidden paths that do not exist when the run starts, and the names on the way to paths that do, as whoever runs the
//! tests: root or an ordinary user.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rstest::rstest;
use support::{output, palisade, status, stderr, stdout};
use tempfile::TempDir;

/// A workspace, and a policy that makes it writable but for `rules`.
fn workspace(rules: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let work = directory.path().join("work");
    fs::create_dir(&work).expect("made");
    let policy = directory.path().join("policy.yaml");
    fs::write(&policy, format!("filesystem:\n  read_write: [.]\n{rules}")).expect("written");
    (directory, policy.to_str().expect("UTF-8").to_owned())
}

fn shell(directory: &TempDir, policy: &str, script: &str) -> Output {
    output(
        palisade(&directory.path().join("work")).args(["run", "--policy", policy, "--", "sh", "-c", script]),
    )
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("readable");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[rstest]
#[case::create("echo x > a/b/secret")]
#[case::in_a_directory_of_that_name("rm -f a/b/secret; mkdir a/b/secret && echo x > a/b/secret/x")]
#[case::parent_renamed("mv a/b a/c; mkdir -p a/b && echo x > a/b/secret")]
#[case::ancestor_renamed("mv a z; mkdir -p a/b && echo x > a/b/secret")]
#[case::parent_removed("rm -rf a/b; mkdir -p a/b && echo x > a/b/secret")]
#[case::parent_becomes_a_link("mkdir -p other; mv a/b a/c; ln -s ../other a/b && echo x > a/b/secret")]
#[case::moved_there("echo x > y; mv -f y a/b/secret")]
#[case::linked_there("echo x > y; ln -f y a/b/secret")]
fn nothing_appears_at_a_hidden_path(#[case] script: &str, #[values(true, false)] parent_exists: bool) {
    let (directory, policy) = workspace("  hidden: [a/b/secret]\n");
    let work = directory.path().join("work");
    if parent_exists {
        fs::create_dir_all(work.join("a/b")).expect("made");
    }
    let script = format!("{script}; cat a/b/secret a/b/secret/x; echo done");
    let output = shell(&directory, &policy, &script);
    assert_eq!(stdout(&output), "done\n", "{}", stderr(&output));
    assert!(!work.join("a/b/secret").exists(), "{}", stderr(&output));
}

#[test]
fn what_stands_there_during_the_run_is_taken_away() {
    let (directory, policy) =
        workspace("  hidden: [a/b/secret, .env]\n  read_only: [{path: c/d, optional: true}]\n");
    let work = directory.path().join("work");
    let output = shell(&directory, &policy, "mkdir c/d; echo x > c/d/x; mv c e; ls -A");
    assert_eq!(stdout(&output), ".env\na\nc\n", "{}", stderr(&output));
    assert_eq!(names(&work), Vec::<String>::new());
}

#[test]
fn what_the_workload_made_beside_it_stays() {
    let (directory, policy) = workspace("  hidden: [a/b/secret]\n");
    let output = shell(&directory, &policy, "echo x > a/b/kept");
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    assert_eq!(names(&directory.path().join("work/a/b")), ["kept"]);
}

#[rstest]
#[case::to_a_file("link/secret", "rm -f link; mkdir link; echo x > link/secret")]
#[case::renamed("link/secret", "mv link gone; mkdir link; echo x > link/secret")]
#[case::target_renamed("link/secret", "mv real gone; mkdir real; echo x > link/secret")]
#[case::of_the_file("dangling", "rm -f dangling; echo x > dangling")]
#[case::through_the_file("dangling", "echo x > dangling; echo x > target")]
#[case::of_a_loop("loop", "rm -f loop; echo x > loop")]
fn a_link_on_the_way_stays_what_it_is(#[case] hidden: &str, #[case] script: &str) {
    let (directory, policy) = workspace(&format!("  hidden: [{hidden}]\n"));
    let work = directory.path().join("work");
    fs::create_dir(work.join("real")).expect("made");
    for (target, link) in [("real", "link"), ("target", "dangling"), ("pool", "loop"), ("loop", "pool")] {
        symlink(target, work.join(link)).expect("linked");
    }
    let output = shell(&directory, &policy, &format!("{script}; cat {hidden}; echo done"));
    assert_eq!(stdout(&output), "done\n", "{}", stderr(&output));
    assert!(fs::read(work.join(hidden)).is_err(), "{}", stderr(&output));
}

#[test]
fn the_parent_of_an_existing_path_cannot_be_swapped() {
    let (directory, policy) = workspace("  read_only: [.git/hooks]\n  hidden: [etc/keys/private]\n");
    let work = directory.path().join("work");
    fs::create_dir_all(work.join(".git/hooks")).expect("made");
    fs::create_dir_all(work.join("etc/keys")).expect("made");
    fs::write(work.join("etc/keys/private"), "key").expect("written");
    let script = "mv .git .gone; mkdir -p .git/hooks; echo x > .git/hooks/pre-commit
                  mv etc/keys etc/gone; mv etc gone; cat etc/keys/private etc/gone/private gone/keys/private; echo done";
    let output = shell(&directory, &policy, script);
    assert_eq!(stdout(&output), "done\n", "{}", stderr(&output));
    assert!(!work.join(".git/hooks/pre-commit").exists());
    assert_eq!(fs::read_to_string(work.join("etc/keys/private")).expect("still there"), "key");
}

/// One run ends while another still covers the same path: what is covered must not be taken away under it.
#[test]
fn the_last_of_several_runs_takes_it_away() {
    let (directory, policy) = workspace("  hidden: [a/secret]\n");
    let work = directory.path().join("work");
    let mut first = palisade(&work)
        .args([
            "run",
            "--policy",
            &policy,
            "--",
            "sh",
            "-c",
            "echo > started1; until [ -e go1 ]; do sleep 0.01; done",
        ])
        .stdin(Stdio::null())
        .spawn()
        .expect("starts");
    appears(&work.join("started1"));
    let script = "echo > started2; until [ -e go2 ]; do sleep 0.01; done; mv a b; mkdir -p a; echo x > a/secret; cat a/secret";
    let second = palisade(&work)
        .args(["run", "--policy", &policy, "--", "sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    appears(&work.join("started2"));
    fs::write(work.join("go1"), "").expect("written");
    assert!(first.wait().expect("ends").success());
    assert!(work.join("a/secret").exists(), "the second run still covers it");
    fs::write(work.join("go2"), "").expect("written");
    let output = second.wait_with_output().expect("ends");
    assert_eq!(stdout(&output), "", "{}", stderr(&output));
    assert!(!work.join("a").exists(), "the last one takes it away");
}

fn appears(path: &Path) {
    while !path.exists() {
        sleep(Duration::from_millis(5));
    }
}

/// A supervisor that was killed leaves it behind; the next run takes part in it and removes it.
#[test]
fn what_a_killed_run_left_is_taken_away_by_the_next() {
    let (directory, policy) = workspace("  hidden: [a/b/secret]\n");
    let work = directory.path().join("work");
    let mut run = palisade(&work)
        .args(["run", "--policy", &policy, "--", "sh", "-c", "echo > started; sleep 600"])
        .stdin(Stdio::null())
        .spawn()
        .expect("starts");
    appears(&work.join("started"));
    run.kill().expect("killed");
    run.wait().expect("ends");
    let output = shell(&directory, &policy, "echo x > a/b/secret; cat a/b/secret");
    assert_eq!(stdout(&output), "", "{}", stderr(&output));
    assert_eq!(names(&work), ["started"]);
}

#[test]
fn an_empty_file_of_the_user_is_not_taken_away() {
    let (directory, policy) = workspace("  hidden: [.env]\n");
    let work = directory.path().join("work");
    fs::write(work.join(".env"), "").expect("written");
    assert_eq!(status(&shell(&directory, &policy, "true")), 0);
    assert_eq!(names(&work), [".env"]);
}

/// What somebody outside writes into it during the run is theirs: covered inside, and left alone afterwards.
#[test]
fn what_the_host_writes_there_meanwhile_stays_hidden_and_is_kept() {
    let (directory, policy) = workspace("  hidden: [.env]\n");
    let work = directory.path().join("work");
    let run = palisade(&work)
        .args([
            "run",
            "--policy",
            &policy,
            "--",
            "sh",
            "-c",
            "echo > started; until [ -e go ]; do sleep 0.01; done; cat .env",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    appears(&work.join("started"));
    fs::write(work.join(".env"), "TOKEN=1").expect("written");
    fs::write(work.join("go"), "").expect("written");
    let output = run.wait_with_output().expect("ends");
    assert_eq!(stdout(&output), "", "{}", stderr(&output));
    assert_eq!(fs::read_to_string(work.join(".env")).expect("kept"), "TOKEN=1");
}

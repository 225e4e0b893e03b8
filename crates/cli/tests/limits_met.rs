//! Each kind of exhaustion ends in the report as the limit that was met, whoever runs it, with control groups and without;
//! and where nobody can tell, the report says that.

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{output, palisade, status, stderr, stdout};
use tempfile::TempDir;

/// Limits that need no control group: whoever runs this gets the same means.
const POLICY: &str = "filesystem: {read_write: [.], tmp: 1MiB}
resources: {processes: 24, wall_time: 1m, open_files: 64, file_size: 64KiB, output: 1KiB}
";

struct Place(TempDir);

impl Place {
    fn with(policy: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join("policy.yaml"), policy).expect("written");
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs a script, and says what it printed and how it ended; the report is left behind.
    fn run(&self, script: &str) -> (i32, String) {
        let ran = output(
            palisade(self.path())
                .args(["run", "--policy", "policy.yaml", "--report", "report.json", "--"])
                .args(["python3", "-c", script]),
        );
        assert_ne!(status(&ran), 125, "{}", stderr(&ran));
        (status(&ran), stdout(&ran))
    }

    fn report(&self) -> Value {
        let text = fs::read_to_string(self.path().join("report.json")).expect("a report");
        serde_json::from_str(&text).expect("JSON")
    }

    fn hits(&self) -> Vec<String> {
        clauses(&self.report()["limits_hit"])
    }
}

fn clauses(list: &Value) -> Vec<String> {
    let clause = |one: &Value| one["clause"].as_str().or(one.as_str()).expect("a clause").to_owned();
    list.as_array().expect("a list").iter().map(clause).collect()
}

const FILL: &str = "
import os
def fill(path):
    try:
        with open(path, 'wb', 0) as file:
            while True:
                file.write(bytes(4096))
    except OSError as error:
        return error.errno
";

#[test]
fn a_full_tmp_is_told_by_bytes_and_by_files() {
    // Larger files than /tmp has room for.
    let place = Place::with(&POLICY.replace("64KiB", "64MiB"));
    for directory in ["/tmp", "/dev/shm"] {
        let full = place.run(&format!("{FILL}\nprint(fill('{directory}/file'))"));
        assert_eq!(full, (0, "28\n".into()), "{directory}");
        assert_eq!(place.hits(), ["filesystem.tmp"], "{directory}");
    }
    let files = "
import os
made = 0
try:
    while True:
        os.mkdir(f'/tmp/{made}')
        made += 1
except OSError as error:
    print(made > 50, error.errno)
";
    assert_eq!(place.run(files), (0, "True 28\n".into()));
    assert_eq!(place.hits(), ["filesystem.tmp"]);
    // What a program leaves behind for a while is seen too, although it is gone at the end.
    let gone =
        format!("{FILL}\nimport time\nprint(fill('/tmp/file'))\ntime.sleep(0.6)\nos.unlink('/tmp/file')");
    assert_eq!(place.run(&gone), (0, "28\n".into()));
    assert_eq!(place.hits(), ["filesystem.tmp"]);

    assert_eq!(
        place.run("open('/tmp/file', 'wb').write(bytes(512 << 10)); print('fits')"),
        (0, "fits\n".into())
    );
    assert!(place.hits().is_empty(), "{:?}", place.hits());
}

#[test]
fn a_full_workspace_of_its_own_is_told() {
    let place = Place::with("filesystem: {read_write: [.], workspace: copy, disk: 1MiB}\n");
    assert_eq!(place.run(&format!("{FILL}\nprint(fill('file'))")), (0, "28\n".into()));
    assert_eq!(place.hits(), ["filesystem.disk"]);
    assert_eq!(place.run("open('file', 'wb').write(bytes(512 << 10)); print('fits')"), (0, "fits\n".into()));
    assert!(place.hits().is_empty(), "{:?}", place.hits());
}

/// Processes that stay, processes that end because they could not fork, and threads: nothing but RLIMIT_NPROC counts them.
#[test]
fn processes_that_could_not_be_made_are_told_without_a_group() {
    let place = Place::with(POLICY);
    let stay = "
import os, time
made = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(60)
        made += 1
except OSError as error:
    print(made, error.errno)
";
    // The first process and the program itself are two of the 25.
    assert_eq!(place.run(stay), (0, "23 11\n".into()));
    assert_eq!(place.hits(), ["resources.processes"]);
    let threads = "
import threading, time
made = 0
try:
    while True:
        threading.Thread(target=time.sleep, args=(1,), daemon=True).start()
        made += 1
except RuntimeError:
    print(made)
time.sleep(0.6)
";
    assert_eq!(place.run(threads), (0, "23\n".into()));
    assert_eq!(place.hits(), ["resources.processes"]);
    let within = "
import os
for _ in range(100):
    if os.fork() == 0:
        os._exit(0)
    os.wait()
print('all of them')
";
    assert_eq!(place.run(within), (0, "all of them\n".into()));
    assert!(place.hits().is_empty(), "{:?}", place.hits());
    assert!(clauses(&place.report()["limits_unseen"]).contains(&"resources.processes".into()));
}

/// The kernel tells only the process that meets them; nobody claims that nothing did.
#[test]
fn what_nobody_can_see_is_said_to_be_unseen() {
    let place = Place::with(POLICY);
    let descriptors = "
import os
try:
    while True:
        os.dup(0)
except OSError as error:
    print(error.errno)
";
    assert_eq!(place.run(descriptors), (0, "24\n".into()));
    assert!(place.hits().is_empty(), "{:?}", place.hits());
    let report = place.report();
    let unseen = report["limits_unseen"].as_array().expect("a list");
    let why =
        |clause: &str| unseen.iter().find(|one| one["clause"] == clause).and_then(|one| one["why"].as_str());
    assert!(why("resources.open_files").is_some_and(|why| why.contains("EMFILE")), "{unseen:?}");
    assert!(why("resources.file_size").is_some_and(|why| why.contains("EFBIG")), "{unseen:?}");
    assert!(why("filesystem.tmp").is_some_and(|why| why.contains("ENOSPC")), "{unseen:?}");
    // These the supervisor keeps itself.
    assert_eq!(clauses(&report["limits_not_hit"]), ["resources.wall_time", "resources.output"]);
}

#[test]
fn every_limit_of_a_policy_is_in_one_of_the_three_lists() {
    let place = Place::with(
        "on_unavailable: degrade
filesystem: {read_write: [.], workspace: copy}
resources: {memory: 256MiB, processes: 24, cpus: 4, cpu_time: 1m, wall_time: 1m, output: 1MiB}
",
    );
    assert_eq!(place.run("print('done')"), (0, "done\n".into()));
    let report = place.report();
    let mut told: Vec<String> = ["limits_hit", "limits_not_hit", "limits_unseen"]
        .iter()
        .flat_map(|list| clauses(&report[*list]))
        .collect();
    told.sort();
    let all = ["memory", "processes", "cpus", "cpu_time", "wall_time", "open_files", "file_size", "output"];
    let mut all: Vec<String> = all.iter().map(|limit| format!("resources.{limit}")).collect();
    all.extend(["filesystem.tmp".into(), "filesystem.disk".into()]);
    all.sort();
    assert_eq!(told, all);
}

#[test]
fn files_output_and_processor_time_of_one_process() {
    let place = Place::with(POLICY);
    let large =
        format!("import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n{FILL}\nprint(fill('file'))");
    assert_eq!(place.run(&large), (128 + 25, String::new()));
    assert_eq!(place.hits(), ["resources.file_size"]);

    let flood = place.run("print('x' * 100000)");
    assert_eq!((flood.0, flood.1.len()), (0, 1024));
    assert_eq!(place.hits(), ["resources.output"]);

    let place =
        Place::with("on_unavailable: degrade\nfilesystem: {read_write: [.]}\nresources: {cpu_time: 1s}\n");
    assert_eq!(place.run("while True: pass").0, 137);
    assert_eq!(place.hits(), ["resources.cpu_time"]);
}

/// Nobody in it reacts to anything.
#[test]
fn a_stopped_tree_ends_by_the_wall_time() {
    let place = Place::with(&POLICY.replace("1m", "1s"));
    let stopped = "
import os, signal
for _ in range(3):
    if os.fork() == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.kill(os.getpid(), signal.SIGSTOP)
os.kill(os.getpid(), signal.SIGSTOP)
";
    assert_eq!(place.run(stopped).0, 124);
    assert_eq!(place.hits(), ["resources.wall_time"]);
}

//! Limits of a whole sandbox, as whoever runs the tests: root, who can make control groups, or an ordinary user, who is
//! told what is missing.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::{output, palisade, status, stderr, stdout};
use tempfile::TempDir;

/// What can do without a group is asked for too, so that every test has the same sandbox.
const POLICY: &str = "filesystem: {read_write: [.], tmp: 256MiB}
resources: {memory: 64MiB, processes: 32, cpus: 1.5, cpu_time: 1s, wall_time: 1m}
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

    fn run(&self, script: &str) -> Output {
        output(
            palisade(self.path())
                .args(["run", "--policy", "policy.yaml", "--report", "report.json", "--"])
                .args(["python3", "-c", script]),
        )
    }

    fn report(&self) -> Value {
        let text = fs::read_to_string(self.path().join("report.json")).expect("a report");
        serde_json::from_str(&text).expect("JSON")
    }

    fn hits(&self) -> Vec<String> {
        let report = self.report();
        let hits = report["limits_hit"].as_array().expect("a list");
        hits.iter().map(|hit| hit["clause"].as_str().expect("a clause").to_owned()).collect()
    }

    /// The groups that a run of this policy would make.
    fn parents(&self) -> Vec<PathBuf> {
        let planned =
            output(palisade(self.path()).args(["plan", "--policy", "policy.yaml", "--format", "json"]));
        let plan: Value = serde_json::from_slice(&planned.stdout).unwrap_or_default();
        let steps = plan["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
        steps
            .iter()
            .filter_map(|step| step["step"]["join_cgroup"]["parent"].as_str())
            .map(PathBuf::from)
            .collect()
    }
}

/// Whether this caller can limit a whole sandbox here. Where it cannot, it must be told why, and nothing may run.
fn limited() -> Option<Place> {
    let place = Place::with(POLICY);
    if place.parents().len() >= 3 {
        return Some(place);
    }
    let refused = place.run("print('it ran')");
    assert_eq!((status(&refused), stdout(&refused).as_str()), (125, ""), "{}", stderr(&refused));
    for clause in ["resources.memory", "resources.cpus", "resources.cpu_time"] {
        assert!(stderr(&refused).contains(&format!("{clause}: ")), "{}", stderr(&refused));
    }
    assert!(stderr(&refused).contains("no cgroup for it"), "{}", stderr(&refused));
    None
}

fn groups_of(pid: u32, parents: &[PathBuf]) -> Vec<PathBuf> {
    let own = format!("palisade-{pid}-");
    let entries = parents.iter().flat_map(|parent| fs::read_dir(parent).into_iter().flatten().flatten());
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&own));
    named.map(|entry| entry.path()).collect()
}

#[test]
fn memory_of_all_processes_together() {
    let Some(place) = limited() else { return };
    let one = place.run("bytearray(128 << 20)");
    assert_eq!(status(&one), 137, "{}", stderr(&one));
    assert!(stderr(&one).contains("limits hit: resources.memory"), "{}", stderr(&one));
    assert_eq!(place.hits(), ["resources.memory"]);
    assert_eq!(place.report()["exit_code"], 137);
    let peak = place.report()["usage"]["peak_memory_bytes"].as_u64().expect("counted");
    assert!(peak > 32 << 20 && peak <= 64 << 20, "{peak}");

    let within = place.run("bytearray(24 << 20); print('fits')");
    assert_eq!((status(&within), stdout(&within).as_str()), (0, "fits\n"), "{}", stderr(&within));
    assert!(place.hits().is_empty(), "{:?}", place.hits());
}

#[test]
fn processes_are_refused_and_the_report_says_so() {
    let Some(place) = limited() else { return };
    let script = "
import os, time
made = 0
try:
    for _ in range(100):
        if os.fork() == 0:
            time.sleep(60)
        made += 1
except OSError as error:
    print(made, error.errno)
";
    let bomb = place.run(script);
    // The first process and the program itself are two of the 33.
    assert_eq!((status(&bomb), stdout(&bomb).as_str()), (0, "31 11\n"), "{}", stderr(&bomb));
    assert_eq!(place.hits(), ["resources.processes"]);
}

#[test]
fn processor_time_of_all_processes_together() {
    let Some(place) = limited() else { return };
    // Each for itself stays far below the limit of a process.
    let script = "
import os, time
for _ in range(6):
    if os.fork() == 0:
        while time.process_time() < 0.4:
            pass
        os._exit(0)
for _ in range(6):
    os.wait()
print('all of it')
";
    let burnt = place.run(script);
    assert_eq!((status(&burnt), stdout(&burnt).as_str()), (137, ""), "{}", stderr(&burnt));
    assert!(place.hits().contains(&"resources.cpu_time".to_owned()), "{:?}", place.hits());
    let usage = &place.report()["usage"];
    let used =
        usage["cpu_user_ms"].as_u64().expect("counted") + usage["cpu_system_ms"].as_u64().expect("counted");
    assert!(used >= 900, "{usage}");
}

#[test]
fn nothing_of_the_groups_is_seen_inside_and_nothing_is_left() {
    let Some(place) = limited() else { return };
    let parents = place.parents();
    let mut command = palisade(place.path());
    command.args(["run", "--policy", "policy.yaml", "--", "cat", "/proc/self/cgroup"]);
    let child = command.stdout(std::process::Stdio::piped()).spawn().expect("palisade can be started");
    let pid = child.id();
    let told = child.wait_with_output().expect("it ends");
    // The namespace begins at the sandbox's own groups.
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.lines().count() >= 3, "{told}");
    assert!(told.lines().all(|line| !line.contains("palisade")), "{told}");
    let left = groups_of(pid, &parents);
    assert!(left.is_empty(), "{left:?}");
}

/// A supervisor that is killed cannot clean up: its janitor does.
#[test]
fn the_groups_of_a_killed_supervisor_go_too() {
    let Some(place) = limited() else { return };
    let parents = place.parents();
    let script = "echo started > marker; exec sleep 600";
    let mut command = palisade(place.path());
    command.args(["run", "--policy", "policy.yaml", "--", "sh", "-c", script]).process_group(0);
    let mut child = command.spawn().expect("palisade can be started");
    let started = || place.path().join("marker").exists();
    wait_until("the workload starts", started);
    assert_eq!(groups_of(child.id(), &parents).len(), parents.len());
    // The whole process group, as a terminal's or a CI system's kill would do it.
    let group = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("not 0");
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).expect("it runs");
    let pid = child.id();
    child.wait().expect("it was killed");
    wait_until("the groups are gone", || groups_of(pid, &parents).is_empty());
}

fn wait_until(what: &str, reached: impl Fn() -> bool) {
    for _ in 0..1000 {
        if reached() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("not in time: {what}");
}

/// An ordinary user to whom root has given a group of version 1 below the common one.
#[test]
fn an_ordinary_user_uses_a_group_that_was_given_to_him() {
    let Some(given) = Given::to(65_534) else { return };
    // With a limit that needs groups, processes are counted in one too, although RLIMIT_NPROC would do.
    let place = Place::with(
        "on_unavailable: degrade\nfilesystem: {read_only: [.]}\nresources: {processes: 12, cpu_time: 60s}\n",
    );
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).expect("changed");
    // Where the tests were built, another user may have no way to.
    let own = place.path().join("palisade");
    fs::copy(env!("CARGO_BIN_EXE_palisade"), &own).expect("copied");
    let mut command = Command::new(&own);
    command.current_dir(place.path()).uid(given.user).gid(given.user);
    let script = "i=0; while [ $i -lt 40 ]; do sleep 60 & i=$((i + 1)); done";
    command.args(["run", "--policy", "policy.yaml", "--", "sh", "-c", script]);
    let bomb = output(&mut command);
    assert_ne!(status(&bomb), 0);
    // Only a group counts how often.
    assert!(stderr(&bomb).contains("limits hit: resources.processes"), "{}", stderr(&bomb));
    let mut command = Command::new(&own);
    command.current_dir(place.path()).uid(given.user).gid(given.user);
    let planned = output(command.args(["plan", "--policy", "policy.yaml"]));
    let shown = format!("join cgroup v1 below {} pids.max=13", given.group.display());
    assert!(stdout(&planned).contains(&shown), "{}", stdout(&planned));
    assert_eq!(
        fs::read_dir(&given.group).expect("readable").flatten().filter(|e| e.path().is_dir()).count(),
        0
    );
}

/// A group that belongs to a user, until this is dropped.
struct Given {
    group: PathBuf,
    user: u32,
}

impl Given {
    fn to(user: u32) -> Option<Self> {
        let parent = Path::new("/sys/fs/cgroup/pids");
        let own = fs::read_to_string("/proc/self/cgroup").expect("readable");
        let at_the_root = own.lines().any(|line| line.ends_with(":pids:/"));
        if !rustix::process::geteuid().is_root() || !parent.join("cgroup.procs").exists() || !at_the_root {
            eprintln!(
                "skipped: not root, or no hierarchy of version 1 for pids whose root this process is in"
            );
            return None;
        }
        let group = parent.join(format!("given-{}", std::process::id()));
        fs::create_dir(&group).expect("made");
        let given = Self { group, user };
        for path in [given.group.clone(), given.group.join("cgroup.procs"), given.group.join("tasks")] {
            std::os::unix::fs::chown(path, Some(user), Some(user)).expect("given");
        }
        Some(given)
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.group);
    }
}

/// What is tried is taken away again by whoever is killed meanwhile.
#[test]
fn a_survey_that_is_killed_leaves_nothing() {
    let Some(place) = limited() else { return };
    let parents = place.parents();
    let mut killed = Vec::new();
    for round in 0..80 {
        let mut command = palisade(place.path());
        command.args(["plan", "--policy", "policy.yaml"]).process_group(0);
        let mut child = command.stdout(std::process::Stdio::null()).spawn().expect("palisade can be started");
        std::thread::sleep(std::time::Duration::from_micros(round * 150));
        let group = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("not 0");
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        killed.push(child.id());
        child.wait().expect("it was killed");
    }
    let left = || {
        let entries = parents.iter().flat_map(|parent| fs::read_dir(parent).into_iter().flatten().flatten());
        let names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        let of = |pid: &u32| names.iter().any(|name| name.starts_with(&format!("palisade-trial-{pid}-")));
        killed.iter().filter(|pid| of(pid)).count()
    };
    wait_until("no group is left", || left() == 0);
}

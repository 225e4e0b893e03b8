//! A world apart for tests that compare what there is before a run and after it: namespaces in which nothing lives but
//! the test, so that nothing that others do on this machine shows, and nothing of the sandbox's hides among it.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{WaitOptions, wait};

/// Says which role this process plays; absent where a test has just been started.
const ROLE: &str = "PALISADE_TEST_ROLE";

/// Where the world keeps its files: a tmpfs of its own.
const PLACE: &str = "PALISADE_TEST_PLACE";

/// How long to wait for something that is bound to happen before calling it missing.
const PATIENCE: Duration = Duration::from_secs(60);

/// The role of this process, if it is a part of a test that was started by another.
pub(crate) fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// The test `name` of this executable once more, in a process of its own, as `role`.
pub(crate) fn again(name: &str, role: &str) -> Vec<String> {
    let executable = env::current_exe().expect("this executable").to_str().expect("UTF-8").to_owned();
    vec![
        "env".into(),
        format!("{ROLE}={role}"),
        executable,
        name.into(),
        "--exact".into(),
        "--nocapture".into(),
    ]
}

/// Runs `body` of the test `name` as PID 1 of a world apart; in the process that was started for that, runs it.
///
/// For an ordinary user no more than `namespaces` of each kind can exist there at a time: what leaks runs out.
pub(crate) fn apart(name: &str, namespaces: u32, body: impl FnOnce(&Path)) {
    match role().as_deref() {
        Some("apart") => return body(&PathBuf::from(env::var_os(PLACE).expect("a place"))),
        Some(other) => panic!("no role of this test: {other}"),
        None => {}
    }
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--map-current-user", "--keep-caps"]);
    }
    // The capabilities, which an ordinary user has for the mount, end there.
    let script = format!(
        "mount -t tmpfs -o mode=0700 none \"$0\"
        if [ \"$(id -u)\" != 0 ]; then
            for kind in cgroup ipc mnt net pid user uts; do
                echo {namespaces} > /proc/sys/user/max_${{kind}}_namespaces
            done
        fi
        exec setpriv --inh-caps=-all --ambient-caps=-all \"$@\""
    );
    command
        .args(["--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child", "--mount-proc", "--"])
        .args(["sh", "-ec", script.as_str()])
        .arg(place.path())
        .args(again(name, "apart"))
        .envs([(PLACE, place.path()), ("TMPDIR", place.path()), ("XDG_RUNTIME_DIR", place.path())])
        .stdin(Stdio::null());
    let output = command.output().expect("unshare starts");
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}, in a world apart: {}", output.status);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("1 passed"), "the test did not run there");
}

/// Collects every child, of this process or left to it, until there is none.
pub(crate) fn reap_all() {
    let start = Instant::now();
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CHILD) => return,
            Err(errno) => panic!("wait: {errno}"),
            Ok(None) => {
                assert!(start.elapsed() < PATIENCE, "left behind: {:?}", processes());
                sleep(Duration::from_millis(1));
            }
        }
    }
}

/// What there is in the world.
pub(crate) fn everything(place: &Path) -> BTreeSet<String> {
    let mut all = processes();
    all.extend(lines("/proc/self/mountinfo").map(|line| format!("mount {line}")));
    // Sockets have no name that lasts but their path or abstract name, and their number.
    all.extend(lines("/proc/net/unix").skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        Some(format!("socket {} {}", fields.get(6)?, fields.get(7).unwrap_or(&"")))
    }));
    all.extend(
        lines("/proc/net/dev").skip(2).filter_map(|line| Some(format!("link {}", line.split(':').next()?))),
    );
    for kind in ["shm", "sem", "msg"] {
        all.extend(lines(&format!("/proc/sysvipc/{kind}")).skip(1).map(|line| format!("{kind} {line}")));
    }
    all.extend(descriptors());
    all.extend(namespaces());
    files(place, &mut all);
    cgroups(Path::new("/sys/fs/cgroup"), 4, &mut all);
    all
}

/// Nothing is there that was not there before, and nothing has gone.
pub(crate) fn nothing_is_left(place: &Path, before: &BTreeSet<String>, after_what: &str) {
    reap_all();
    let start = Instant::now();
    let mut left = difference(before, &everything(place));
    while !left.is_empty() {
        // A supervising thread ends, with what it holds, a little after it has told the outcome.
        assert!(start.elapsed() < PATIENCE / 6, "left after {after_what}:\n{left:#?}");
        sleep(Duration::from_millis(10));
        let still = difference(before, &everything(place));
        left.retain(|what| still.contains(what));
    }
}

/// What came, and what went.
fn difference(before: &BTreeSet<String>, after: &BTreeSet<String>) -> BTreeSet<String> {
    let came = after.difference(before).map(|what| format!("+ {what}"));
    came.chain(before.difference(after).map(|what| format!("- {what}"))).collect()
}

fn lines(file: &str) -> impl Iterator<Item = String> + use<> {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    text.lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn names(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Every process but this one, which is the first.
pub(crate) fn processes() -> BTreeSet<String> {
    let numbers = names(Path::new("/proc")).into_iter().filter_map(|path| {
        let number: u32 = path.file_name()?.to_str()?.parse().ok()?;
        (number != 1).then(|| format!("process {number}"))
    });
    numbers.collect()
}

/// The namespaces of every process of the world. An ordinary user may not look at those of a process that is not dumpable
/// (ptrace(2)): then it is told by that.
pub(crate) fn namespaces() -> BTreeSet<String> {
    const KINDS: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
    let of = |process: PathBuf| KINDS.map(|kind| process.join("ns").join(kind));
    let links = names(Path::new("/proc")).into_iter().filter(|path| !path.is_symlink()).flat_map(of);
    links
        .filter_map(|link| match fs::read_link(&link) {
            Ok(namespace) => Some(format!("namespace {}", namespace.display())),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                Some(format!("namespace of {}", link.display()))
            }
            Err(_) => None,
        })
        .collect()
}

/// The descriptors of this process, but for the one that lists them.
fn descriptors() -> BTreeSet<String> {
    let open = names(Path::new("/proc/self/fd")).into_iter();
    open.filter_map(|path| {
        let leads = fs::read_link(&path).ok()?;
        Some(format!("descriptor {} {}", path.file_name()?.to_str()?, leads.display()))
    })
    .collect()
}

fn files(directory: &Path, all: &mut BTreeSet<String>) {
    for path in names(directory) {
        all.insert(format!("file {}", path.display()));
        if path.is_dir() && !path.is_symlink() {
            files(&path, all);
        }
    }
}

/// The cgroups of this world, near the top of every hierarchy. They are the machine's, where others may run sandboxes too:
/// the last word of a name is the number of the pid namespace of its maker.
fn cgroups(directory: &Path, depth: u32, all: &mut BTreeSet<String>) {
    let world = fs::metadata("/proc/self/ns/pid").expect("a pid namespace").ino();
    for path in names(directory).into_iter().filter(|path| path.is_dir() && !path.is_symlink()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("palisade-") && name.ends_with(&format!("-{world}")) {
            all.insert(format!("cgroup {}", path.display()));
        }
        if depth > 0 {
            cgroups(&path, depth - 1, all);
        }
    }
}

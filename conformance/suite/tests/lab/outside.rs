//! Checks from outside of the lab: what it leaves behind, how it ends, whether it is refused.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};

use crate::inside::CHECKS;
use crate::{ENTER, INSIDE};

/// A uid that belongs to nobody.
const ORDINARY: u32 = 54321;

type Check = fn(&Who) -> Result<(), Failed>;

#[derive(Clone)]
struct Who {
    name: &'static str,
    /// `None` for the caller itself; else the program to run as [`ORDINARY`].
    copy: Option<Arc<Copy>>,
}

impl Who {
    fn program(&self, arguments: &[&str]) -> Command {
        let exe = self.copy.as_ref().map_or_else(|| std::env::current_exe().expect("own path"), |c| c.path());
        let mut command = Command::new(exe);
        command.args(arguments).stdin(Stdio::null()).current_dir("/");
        if self.copy.is_some() {
            command.uid(ORDINARY).gid(ORDINARY);
        }
        command
    }

    fn command(&self, check: &str, token: &str) -> Command {
        self.program(&[ENTER, check, token])
    }

    /// Runs a check and gives its exit status and everything that it printed.
    fn run(&self, check: &str, token: &str) -> Result<(Option<i32>, String), Failed> {
        let output = self.command(check, token).output()?;
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        Ok((output.status.code(), text.into_owned()))
    }
}

pub(crate) fn trials(copy: &Arc<Copy>) -> Vec<Trial> {
    let root = nix::unistd::geteuid().is_root();
    let mut users = vec![Who { name: if root { "root" } else { "user" }, copy: None }];
    if root {
        users.push(Who { name: "user", copy: Some(Arc::clone(copy)) });
    }
    let mut trials = Vec::new();
    for who in users {
        for (check, _) in CHECKS {
            let who = who.clone();
            trials.push(Trial::test(format!("{}::{check}", who.name), move || passes(&who, check)));
        }
        let outside: [(&str, Check); 8] = [
            ("leaves_nothing_behind", leaves_nothing),
            ("status_is_passed_on", status_is_passed_on),
            ("dies_with_the_outer_stage", |who| dies_with(who, Victim::Outer)),
            ("dies_with_its_first_process", |who| dies_with(who, Victim::Init)),
            ("outer_stage_ends_with_the_lab", |who| dies_with(who, Victim::Suite)),
            ("threads_are_refused", threads_are_refused),
            ("building_outside_is_refused", building_outside_is_refused),
            ("hidden_stages_are_no_commands", hidden_stages_are_no_commands),
        ];
        for (name, check) in outside {
            let who = who.clone();
            trials.push(Trial::test(format!("{}::{name}", who.name), move || check(&who)));
        }
    }
    trials
}

/// A place for a copy of this program, since the ordinary user may not be able to read the build directory. Taken away
/// when dropped.
pub(crate) struct Copy {
    dir: tempfile::TempDir,
    made: OnceLock<()>,
}

impl Copy {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("mode of the directory");
        Self { dir, made: OnceLock::new() }
    }

    fn path(&self) -> PathBuf {
        let path = self.dir.path().join("lab-test");
        self.made.get_or_init(|| {
            // Not while some other trial's process holds it open for writing (ETXTBSY): once, under the lock.
            let own = std::env::current_exe().expect("own path");
            fs::copy(own, &path).map(drop).expect("a copy of the test program");
        });
        path
    }
}

fn passes(who: &Who, check: &str) -> Result<(), Failed> {
    match who.run(check, "-")? {
        (Some(0), text) => {
            print!("{text}");
            Ok(())
        }
        (status, text) => Err(format!("status {status:?}\n{text}").into()),
    }
}

fn token() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("token-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The processes of this pid namespace that have `token` among their arguments.
fn holders(token: &str) -> Vec<u32> {
    let pids =
        fs::read_dir("/proc").expect("/proc").filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    let holds = |pid: &u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.split(|&b| b == 0).any(|a| a == token.as_bytes())
    };
    pids.filter(holds).collect()
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").expect("mountinfo")
}

fn leaves_nothing(who: &Who) -> Result<(), Failed> {
    let shadow = || fs::read("/etc/shadow").ok();
    let marks = || {
        const MARKS: [&str; 6] = [
            "/mnt/lab",
            "/tmp/host-marker",
            "/dev/shm/host-marker",
            "/usr/bin/palisade-lab-test",
            "/etc/palisade-lab-test",
            "/palisade-lab-test",
        ];
        MARKS.map(|p| Path::new(p).exists())
    };
    let hostname = || nix::unistd::gethostname().expect("host name");
    let before = (mounts(), shadow(), marks(), hostname());
    let token = token();
    // A check that also writes where root may.
    let (status, text) = who.run("files_of_the_host_are_sealed", &token)?;
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(before, (mounts(), shadow(), marks(), hostname()), "the lab has changed the host");
    assert_eq!(before.2, [false; 6], "something of a lab lies on the host");
    assert_eq!(holders(&token), Vec::<u32>::new(), "processes are left");
    Ok(())
}

fn status_is_passed_on(who: &Who) -> Result<(), Failed> {
    assert_eq!(who.run("exit_42", "-")?.0, Some(42));
    assert_eq!(who.run("suicide", "-")?.0, Some(128 + 9));
    Ok(())
}

enum Victim {
    Outer,
    Init,
    Suite,
}

fn dies_with(who: &Who, victim: Victim) -> Result<(), Failed> {
    let token = token();
    let mut outer = who.command("linger", &token).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(outer.stdout.take().expect("a pipe")).read_line(&mut line)?;
    assert_eq!(line, "ready\n");
    let all = holders(&token);
    assert_eq!(all.len(), 3, "outer, init and suite: {all:?}");
    let with = |word: &str| {
        let has = |pid: &&u32| {
            fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|a| a.split('\0').nth(1) == Some(word))
        };
        *all.iter().find(has).expect(word)
    };
    let pid = match victim {
        Victim::Outer => outer.id(),
        Victim::Init => with(palisade_conformance::lab::LAB_INIT),
        Victim::Suite => with(INSIDE),
    };
    // The decoy and a process that has left its session must go too; they are in the same pid namespace.
    let namespace = fs::read_link(format!("/proc/{}/ns/pid", with(INSIDE)))?;
    assert!(in_namespace(&namespace).len() >= 4, "init, suite, decoy, daemon");
    let target = nix::unistd::Pid::from_raw(i32::try_from(pid)?);
    nix::sys::signal::kill(target, nix::sys::signal::Signal::SIGKILL)?;
    let status = outer.wait()?;
    match victim {
        Victim::Outer => assert_eq!(status.code(), None),
        Victim::Init | Victim::Suite => assert_eq!(status.code(), Some(128 + 9)),
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while !in_namespace(&namespace).is_empty() {
        assert!(Instant::now() < deadline, "alive after five seconds: {:?}", in_namespace(&namespace));
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The living processes in a pid namespace, as far as this user may see. Zombies do not count: who reaps an orphan is not
/// the lab's affair.
fn in_namespace(namespace: &Path) -> Vec<u32> {
    let pids =
        fs::read_dir("/proc").expect("/proc").filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    let lives =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s.contains(") Z "));
    let inside = |pid: &u32| {
        fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|ns| ns == namespace) && lives(pid)
    };
    pids.filter(inside).collect()
}

fn threads_are_refused(who: &Who) -> Result<(), Failed> {
    let (status, text) = who.run("threaded", "-")?;
    assert_eq!(status, Some(3), "{text}");
    assert!(text.contains("enter the lab with 2 threads"), "{text}");
    assert!(text.contains("hint: enter the lab before"), "{text}");
    Ok(())
}

/// The suite stage started without the two before it.
fn building_outside_is_refused(who: &Who) -> Result<(), Failed> {
    let output = who.program(&[INSIDE, "exit_42", "-"]).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(97), "{text}");
    assert!(text.contains("process 1 is not the lab's own"), "{text}");
    // The right way works, so the refusal was about the place.
    assert_eq!(who.run("exit_42", "-")?.0, Some(42));
    Ok(())
}

/// The first process of a lab, started by hand: as process 1 or not, it must not touch the caller's mounts.
fn hidden_stages_are_no_commands(who: &Who) -> Result<(), Failed> {
    let before = mounts();
    let told = "cgroup:1,ipc:1,mnt:1,net:1,pid:1,time:1,user:1,uts:1";
    for argument in ["", "nonsense", told] {
        let output = who.program(&[palisade_conformance::lab::LAB_INIT, argument]).output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{text}");
        assert!(text.contains("not a command"), "{text}");
    }
    assert_eq!(before, mounts());
    Ok(())
}

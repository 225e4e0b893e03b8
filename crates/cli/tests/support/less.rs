//! Hosts that have less: abilities of this one really taken away, by namespaces, mounts and filters around `palisade`.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use palisade_sys::seccomp::SockFilter;
use rustix::process::geteuid;

use super::output;

/// What gives the privilege back with which something was taken away.
const DROP: &str = "exec setpriv --inh-caps=-all --ambient-caps=-all \"$@\"";

/// `palisade`, after `script` in a mount namespace of its own, with the privilege to take something away. Its words follow.
pub(crate) fn after(script: &str) -> Command {
    let mut command = Command::new("unshare");
    if !geteuid().is_root() {
        command.args(["--map-current-user", "--keep-caps"]);
    }
    let script = format!("{script}; {DROP}");
    command.args(["--mount", "--", "sh", "-ec", &script, "sh", env!("CARGO_BIN_EXE_palisade")]);
    command.stdin(Stdio::null());
    command
}

/// As [`after`], in a user namespace of its own, whose settings `script` may change.
pub(crate) fn after_in_user_namespace(script: &str) -> Inside {
    // Root gets every id, and so its privilege, in a namespace that somebody else holds open: what is executed before
    // its ids are mapped could lose it. An ordinary user brings the only id that he may.
    let holder = geteuid().is_root().then(Holder::start);
    let mut command = match &holder {
        Some(holder) => {
            let mut command = Command::new("nsenter");
            let user = format!("--user=/proc/{}/ns/user", holder.0.id());
            command.args([&user, "--", "unshare", "--mount"]);
            command
        }
        None => {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-current-user", "--mount", "--keep-caps"]);
            command
        }
    };
    let script = format!("{script}\n{DROP}");
    command.args(["--", "sh", "-ec", &script, "sh", env!("CARGO_BIN_EXE_palisade")]).stdin(Stdio::null());
    Inside { command, _holder: holder }
}

/// A command for a user namespace that is held open for it.
pub(crate) struct Inside {
    command: Command,
    _holder: Option<Holder>,
}

impl Inside {
    /// Runs it to the end, with more words.
    pub(crate) fn output(mut self, with: impl FnOnce(&mut Command) -> &mut Command) -> Output {
        output(with(&mut self.command))
    }
}

/// A process in a user namespace of its own in which every id is mapped to itself.
struct Holder(Child);

impl Holder {
    fn start() -> Self {
        let mut command = Command::new("unshare");
        let child = command.args(["--user", "--", "sleep", "600"]).spawn().expect("unshare starts");
        let own = fs::read_link("/proc/self/ns/user").expect("readable");
        let process = Path::new("/proc").join(child.id().to_string());
        wait_until(|| fs::read_link(process.join("ns/user")).is_ok_and(|its| its != own));
        for map in ["uid_map", "gid_map"] {
            fs::write(process.join(map), "0 0 4294967295").expect("written");
        }
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "never");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A filter program that answers one system call so, and lets all others pass.
pub(crate) fn filter(call: u32, answer: u32) -> [SockFilter; 4] {
    let instruction = |code, jt, jf, k| SockFilter { code, jt, jf, k };
    [
        // The number of the call is the first word (seccomp(2), struct seccomp_data).
        instruction(0x20, 0, 0, 0),
        instruction(0x15, 0, 1, call),
        instruction(0x06, 0, 0, answer),
        instruction(0x06, 0, 0, 0x7fff_0000),
    ]
}

/// landlock_create_ruleset(2), the same on every architecture.
pub(crate) const LANDLOCK_CREATE_RULESET: u32 = 444;

/// mount_setattr(2), which Linux 5.12 brought.
pub(crate) const MOUNT_SETATTR: u32 = 442;

/// SECCOMP_RET_ERRNO with ENOSYS, as a kernel without the call answers.
pub(crate) const NO_SUCH_CALL: u32 = 0x0005_0000 | 38;

/// Runs a command from a thread that has done `first`, whose filters it inherits.
pub(crate) fn under(first: impl FnOnce() + Send, command: &mut Command) -> Output {
    thread::scope(|scope| {
        let run = scope.spawn(|| {
            rustix::thread::set_no_new_privs(true).expect("set");
            first();
            output(command)
        });
        run.join().expect("no panic")
    })
}

//! Named sandboxes and private terminals, as whoever runs the tests: root or an ordinary user.

mod support;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use support::{output, palisade, status, stderr, stdout};
use tempfile::TempDir;

/// How long anything may take on a busy machine, before it counts as hanging.
const LIMIT: Duration = Duration::from_secs(30);

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// The command, with names of sandboxes that no other test sees.
fn in_registry(directory: &Path) -> Command {
    use std::os::unix::fs::PermissionsExt as _;
    let runtime = directory.join("runtime");
    fs::create_dir_all(&runtime).expect("made");
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).expect("set");
    let mut command = palisade(directory);
    command.env("XDG_RUNTIME_DIR", runtime).stdin(Stdio::null());
    command
}

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < LIMIT, "{what} does not happen");
        sleep(Duration::from_millis(10));
    }
}

/// A sandbox of this name that runs until it is stopped.
struct Named<'a> {
    directory: &'a Path,
    supervisor: Child,
}

impl<'a> Named<'a> {
    fn start(directory: &'a Path, arguments: &[&str]) -> Self {
        let mut command = in_registry(directory);
        command.args(["run", "--name", "box"]).args(arguments).args(["--", "sleep", "600"]);
        let supervisor = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
        let named = Self { directory, supervisor };
        until("the sandbox", || named.exec("true").status.success().then_some(()));
        named
    }

    fn exec(&self, script: &str) -> Output {
        output(in_registry(self.directory).args(["exec", "box", "--", "sh", "-c", script]))
    }
}

impl Drop for Named<'_> {
    fn drop(&mut self) {
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

/// The posture of a process, as far as /proc/self shows it: what a second way in could have forgotten.
const POSTURE: &str = "grep -E '^(Uid|Gid|Groups|NoNewPrivs|Seccomp|Cap.*):' /proc/self/status; \
    readlink /proc/self/ns/*; ulimit -a; umask; env | sort; ls /proc/self/fd | wc -l; pwd; \
    touch /usr/x /etc/x here 2>&1; cat /proc/1/environ 2>&1; echo x > /dev/shm/shared && cat /dev/shm/shared";

#[test]
fn what_is_added_is_confined_as_what_was_there() {
    let directory = directory();
    let file = directory.path().join("first");
    fs::write(&file, POSTURE).expect("written");
    let script = format!("sh ./first; {POSTURE}");
    // The same script as the first program of a sandbox, and as an added one.
    let first =
        output(in_registry(directory.path()).args(["run", "--name", "one", "--", "sh", "-c", &script]));
    let named = Named::start(directory.path(), &[]);
    let added = named.exec(&script);
    let comparable = |output: &Output| -> Vec<String> {
        // Namespaces are of another sandbox.
        let lines = stdout(output);
        lines.lines().filter(|line| !line.contains(":[")).map(str::to_owned).collect()
    };
    assert!(stdout(&first).contains("Seccomp:\t2"), "{}", stdout(&first));
    assert_eq!(comparable(&first), comparable(&added));
    assert_eq!(stdout(&first).matches(":[").count(), stdout(&added).matches(":[").count());
    // Within one sandbox, every namespace is the same.
    let namespaces = named.exec("readlink /proc/self/ns/* > /tmp/a; cat /tmp/a");
    // The first program is the oldest process but init; its number is whatever the kernel gave it.
    let oldest = "ls /proc | grep -E '^[0-9]+$' | sort -n | sed -n 2p";
    let first_ones = named.exec(&format!("for n in /proc/$({oldest})/ns/*; do readlink $n; done"));
    assert_eq!(stdout(&namespaces), stdout(&first_ones));
}

#[test]
fn a_name_is_listed_used_once_and_free_after_a_stop() {
    let directory = directory();
    let mut named = Named::start(directory.path(), &[]);
    let list = || stdout(&output(in_registry(directory.path()).arg("ps")));
    assert!(list().contains("box"), "{}", list());
    let second = output(in_registry(directory.path()).args(["run", "--name", "box", "--", "true"]));
    assert_eq!(status(&second), 125);
    assert!(stderr(&second).contains("`box` runs already"), "{}", stderr(&second));

    assert_eq!(status(&named.exec("exit 7")), 7);
    assert_eq!(status(&named.exec("kill -9 $$")), 137);
    let missing = output(in_registry(directory.path()).args(["exec", "box", "--", "no-such-program"]));
    assert_eq!(status(&missing), 127, "{}", stderr(&missing));

    assert!(output(in_registry(directory.path()).args(["stop", "box"])).status.success());
    let end = named.supervisor.wait().expect("ended");
    assert_eq!(end.code(), Some(128 + 15), "sleep ends by SIGTERM");
    assert!(!list().contains("box"), "{}", list());
    let gone = named.exec("true");
    assert_eq!(status(&gone), 125);
    assert!(stderr(&gone).contains("no sandbox named `box` runs"), "{}", stderr(&gone));
    let left = fs::read_dir(directory.path().join("runtime/palisade")).expect("a directory").count();
    assert_eq!(left, 0);
}

#[test]
fn a_supervisor_killed_midway_takes_everything_along_and_frees_its_name() {
    let directory = directory();
    let mut named = Named::start(directory.path(), &[]);
    let mut added =
        in_registry(directory.path()).args(["exec", "box", "--", "sleep", "600"]).spawn().expect("started");
    until("the second program", || {
        stdout(&named.exec("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")).matches("sleep 600").nth(1).map(drop)
    });
    named.supervisor.kill().expect("killed");
    named.supervisor.wait().expect("ended");
    let code = until("the end of the added program", || added.try_wait().expect("asked"));
    assert_eq!(code.code(), Some(137));
    let list = stdout(&output(in_registry(directory.path()).arg("ps")));
    assert!(!list.contains("box"), "{list}");
    let again = output(in_registry(directory.path()).args(["run", "--name", "box", "--", "true"]));
    assert_eq!(status(&again), 0, "{}", stderr(&again));
}

#[test]
fn a_client_that_goes_away_takes_its_program_along() {
    let directory = directory();
    let named = Named::start(directory.path(), &[]);
    let mut client = in_registry(directory.path())
        .args(["exec", "box", "--", "sh", "-c", "echo $$ > /tmp/pid; sleep 600"])
        .spawn()
        .expect("started");
    let pid = until("the program", || {
        let pid = stdout(&named.exec("cat /tmp/pid"));
        (!pid.is_empty()).then_some(pid)
    });
    let alive = format!("test -d /proc/{}", pid.trim());
    assert!(named.exec(&alive).status.success());
    client.kill().expect("killed");
    client.wait().expect("ended");
    until("its end", || (!named.exec(&alive).status.success()).then_some(()));
}

#[test]
fn names_that_are_no_names_are_refused() {
    let directory = directory();
    for name in ["", "../x", "a/b", ".hidden", "a b", "\u{1b}[31m"] {
        let output = output(in_registry(directory.path()).args(["run", "--name", name, "--", "true"]));
        assert_eq!(status(&output), 125, "{name:?}");
        assert!(stderr(&output).contains("no name for a sandbox"), "{name:?}: {}", stderr(&output));
        assert!(!stderr(&output).contains('\u{1b}'), "the terminal's escape is neutralised");
    }
}

/// A terminal of the test's own, and a program on it.
struct Conversation {
    terminal: File,
    child: Child,
    heard: String,
}

impl Conversation {
    /// Starts `command` with a new terminal as the controlling one and as every standard descriptor.
    fn start(command: &Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let terminal = openpt(flags).expect("a terminal");
        grantpt(&terminal).expect("granted");
        unlockpt(&terminal).expect("unlocked");
        resize(&terminal, 24, 80);
        let slave = ioctl_tiocgptpeer(&terminal, flags).expect("its other side");
        let mut on_terminal = Command::new("setsid");
        on_terminal.arg("--ctty").arg("--wait").arg(command.get_program()).args(command.get_args());
        on_terminal.current_dir(command.get_current_dir().expect("set")).env("TERM", "xterm");
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                on_terminal.env(name, value);
            }
        }
        on_terminal.stdin(slave.try_clone().expect("copied")).stdout(slave.try_clone().expect("copied"));
        let child = on_terminal.stderr(slave).spawn().expect("started");
        rustix::io::ioctl_fionbio(&terminal, true).expect("set");
        Self { terminal: terminal.into(), child, heard: String::new() }
    }

    fn say(&mut self, text: &str) {
        self.heard.clear();
        self.terminal.write_all(text.as_bytes()).expect("written");
    }

    /// Waits until `text` was heard since the last time that something was said.
    fn hear(&mut self, text: &str) {
        let start = Instant::now();
        while !self.heard.contains(text) {
            assert!(start.elapsed() < LIMIT, "{text:?} is not in {:?}", self.heard);
            let mut buffer = [0; 4096];
            match self.terminal.read(&mut buffer) {
                Ok(read) => self.heard.push_str(&String::from_utf8_lossy(&buffer[..read])),
                Err(_) => sleep(Duration::from_millis(10)),
            }
        }
    }

    fn end(mut self) -> i32 {
        let status = until("the end", || {
            let _ = self.terminal.read(&mut [0; 4096]);
            self.child.try_wait().expect("asked")
        });
        status.code().expect("an exit status")
    }
}

fn resize(terminal: impl std::os::fd::AsFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("resized");
}

/// What a person does in a shell: it has a terminal of its own with the right size and kind, Ctrl-C and Ctrl-Z and job
/// control work, and a new size arrives.
fn converse(mut conversation: Conversation) {
    conversation.hear("$ ");
    conversation.say("tty; stty size; echo kind=$TERM\n");
    conversation.hear("/dev/pts/");
    conversation.hear("24 80");
    conversation.hear("kind=xterm");
    conversation.say("sleep 600; echo interrupted=$?\n");
    sleep(Duration::from_millis(300));
    conversation.say("\u{3}");
    conversation.hear("$ ");
    conversation.say("sleep 600\n");
    sleep(Duration::from_millis(300));
    conversation.say("\u{1a}");
    conversation.hear("Stopped");
    conversation.say("kill %1; wait; jobs; echo none\"\"left\n");
    conversation.hear("noneleft");
    resize(conversation.terminal.as_fd(), 50, 132);
    let start = Instant::now();
    loop {
        conversation.say("stty size; echo asked\"\"again\n");
        conversation.hear("askedagain");
        if conversation.heard.contains("50 132") {
            break;
        }
        assert!(start.elapsed() < LIMIT, "the new size does not arrive");
    }
    conversation.say("exit 4\n");
    assert_eq!(conversation.end(), 4);
}

#[test]
fn a_shell_works_on_a_private_terminal() {
    let directory = directory();
    let mut command = in_registry(directory.path());
    command.args(["run", "--", "bash", "--norc", "-i"]);
    converse(Conversation::start(&command));
}

#[test]
fn a_shell_that_is_added_works_on_a_private_terminal_too() {
    let directory = directory();
    let _named = Named::start(directory.path(), &[]);
    let mut command = in_registry(directory.path());
    command.args(["exec", "box", "--", "bash", "--norc", "-i"]);
    converse(Conversation::start(&command));
}

/// The caller's terminal is in the mode in which it was, also after a run that failed.
#[test]
fn the_callers_terminal_is_given_back_as_it_was() {
    let directory = directory();
    for program in ["true", "no-such-program"] {
        let mut command = Command::new("sh");
        let palisade = env!("CARGO_BIN_EXE_palisade");
        let script =
            format!("stty -a > before; {palisade} run -- {program}; stty -a > after; echo end\"\"ed");
        command.current_dir(directory.path()).args(["-c", &script]);
        let mut conversation = Conversation::start(&command);
        conversation.hear("ended");
        let read = |name| fs::read_to_string(directory.path().join(name)).expect("written");
        assert_eq!(read("before"), read("after"), "{program}");
        conversation.end();
    }
}

#[test]
fn standard_error_goes_where_the_caller_sends_it_although_there_is_a_terminal() {
    let directory = directory();
    let _named = Named::start(directory.path(), &[]);
    let palisade = env!("CARGO_BIN_EXE_palisade");
    for start in ["run --", "exec box --"] {
        let mut command = Command::new("sh");
        let program = "sh -c 'tty; echo problem >&2'";
        let line = format!("{palisade} {start} {program} 2> err; echo end\"\"ed; cat err");
        command.current_dir(directory.path()).args(["-c", &line]);
        command.env("XDG_RUNTIME_DIR", directory.path().join("runtime"));
        let mut conversation = Conversation::start(&command);
        conversation.hear("ended\r\nproblem");
        let (before, _) = conversation.heard.split_once("ended").expect("heard");
        assert!(before.contains("/dev/pts/") && !before.contains("problem"), "{start}: {before}");
        conversation.end();
    }
}

/// A workload that holds no terminal cannot put input into it: where only some descriptors are terminals, it gets pipes.
#[test]
fn a_terminal_is_never_handed_in() {
    let directory = directory();
    let palisade = env!("CARGO_BIN_EXE_palisade");
    let script = "for n in 0 1 2; do test -t $n && echo terminal $n; readlink /proc/self/fd/$n; done";
    fs::write(directory.path().join("script"), script).expect("written");
    for redirection in ["> out", "< /dev/null > out", "2> err > out"] {
        let mut command = Command::new("sh");
        let line = format!("{palisade} run -- sh ./script {redirection}; cat out; echo end\"\"ed");
        command.current_dir(directory.path()).args(["-c", &line]);
        let mut conversation = Conversation::start(&command);
        conversation.hear("ended");
        assert!(!conversation.heard.contains("/dev/pts"), "{redirection}: {}", conversation.heard);
        assert!(!conversation.heard.contains("terminal "), "{redirection}: {}", conversation.heard);
        conversation.end();
    }
}

#[test]
fn a_signal_to_the_client_reaches_its_program() {
    let directory = directory();
    let named = Named::start(directory.path(), &[]);
    let mut client = in_registry(directory.path())
        .args([
            "exec",
            "box",
            "--",
            "sh",
            "-c",
            "trap 'exit 5' TERM; echo > /tmp/ready; while :; do sleep 0.1; done",
        ])
        .spawn()
        .expect("started");
    until("the program", || named.exec("test -e /tmp/ready").status.success().then_some(()));
    let pid = Pid::from_raw(i32::try_from(client.id()).expect("a pid")).expect("a pid");
    kill_process(pid, Signal::TERM).expect("sent");
    let end = until("its end", || client.try_wait().expect("asked"));
    assert_eq!(end.code(), Some(5));
}

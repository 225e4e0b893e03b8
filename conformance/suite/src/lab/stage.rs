//! The way into the lab, by three stages of one program.
//!
//! `fork` without `exec` and code between them would be unsafe, so each stage is a fresh execution of
//! `/proc/self/exe`, told by its first argument what it is:
//!
//! 1. **outer**, [`enter`]: `palisade verify` itself, still with one thread. It unshares every namespace that the lab needs,
//!    becomes the owner of a user namespace first when it is not root, and spawns the next stage.
//! 2. **lab-init**, hidden argument [`LAB_INIT`]: process 1 of the lab's pid namespace. It cuts mount propagation, mounts
//!    a fresh `/proc`, starts the suite and reaps. When it ends, the kernel kills everything in the lab. It ends with the
//!    suite, or when the outer stage is gone: its standard input is a pipe that only the outer stage holds open.
//! 3. **suite**, with the arguments that the caller gave: calls `lab::build`.
//!
//! Nothing here opens a socket or probes anything.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::Signal;

use super::bounds::Bounds;
use super::caps;
use super::decoy;
use super::error::{During, LabError};
use super::namespaces::Namespaces;

/// First argument of the program as process 1 of the lab.
pub const LAB_INIT: &str = "__lab-init";
/// First argument of the program as the decoy process.
pub const LAB_DECOY: &str = "__lab-decoy";

/// What stands for the number of a carrier where there is none.
const NOTHING: &str = "-";

/// Exit status of a lab whose first process could not do its part; it has then said why on standard error.
const INIT_FAILED: u8 = 3;

const EXE: &str = "/proc/self/exe";

/// Does the work of a hidden stage, if this execution of the program is one. Call it first thing in `main`, before any
/// thread exists and before arguments are parsed; `Some` is the exit status to end with.
pub fn dispatch() -> Option<u8> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next()?;
    if first == LAB_INIT {
        let told = arguments.next().unwrap_or_default();
        let carrier = arguments.next().unwrap_or_default();
        let inner: Vec<OsString> = arguments.collect();
        Some(init(&told, &carrier, &inner).unwrap_or_else(|e| {
            tell(&e);
            INIT_FAILED
        }))
    } else if first == LAB_DECOY {
        Some(decoy::sleep(arguments))
    } else {
        None
    }
}

fn tell(error: &LabError) {
    eprintln!("palisade: lab: {error}");
    if let Some(hint) = error.hint() {
        eprintln!("hint: {hint}");
    }
}

/// Enters a fresh lab and runs this same program in it with the arguments `argv_of_inner` (without the program's
/// name). Returns the exit status of that run, 128 + n when signal n ended it.
///
/// Must be called while the process has one thread: `unshare(CLONE_NEWUSER)` fails with EINVAL otherwise (unshare(2)). The
/// process itself is then in the new namespaces and good for nothing but to exit with the status. The inner program
/// has the caller's standard output and error; its standard input is empty.
///
/// # Errors
/// When the host forbids one of the namespaces; nothing has been probed then. [`LabError::hint`] tells which setting
/// of the host is in the way.
pub fn enter(argv_of_inner: Vec<OsString>) -> Result<u8, LabError> {
    enter_carrying(argv_of_inner, None)
}

/// [`enter`], with something that the inner program is to write to as its standard input, instead of nothing. It must be a file
/// that can be opened again for writing, such as a memfd.
///
/// # Errors
/// As [`enter`].
pub fn enter_carrying(argv_of_inner: Vec<OsString>, carrier: Option<&OwnedFd>) -> Result<u8, LabError> {
    let outer = Namespaces::of("self").during(|| "read /proc/self/ns".to_owned())?;
    // Before the cgroup namespace, in which every path would begin at this process's own group.
    let own_groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    require_one_thread()?;
    let root = rustix::process::geteuid().is_root();
    let rootless = !(root && caps::may_administer().during(|| "capget".to_owned())?);
    if rootless {
        own_user_namespace()?;
    }
    for (flag, name, limit) in NAMESPACES {
        unshare(*flag)
            .map_err(|e| LabError::step(format!("unshare({name})"), e).with_hint(namespace_hint(e, limit)))?;
    }
    if rootless {
        caps::keep_over_exec().during(|| "raise ambient capabilities".to_owned())?;
    }
    if let Some(carrier) = carrier {
        fcntl_setfd(carrier, FdFlags::empty()).during(|| "hand the carrier on".to_owned())?;
    }
    let mut child = Command::new(EXE)
        .arg0(own_name())
        .arg(LAB_INIT)
        .arg(outer.to_word())
        .arg(carrier.map_or_else(|| NOTHING.to_owned(), |carrier| carrier.as_raw_fd().to_string()))
        .args(argv_of_inner)
        .stdin(Stdio::piped())
        .spawn()
        .during(|| "start the lab's first process".to_owned())?;
    // Held open until the child has ended: its end tells lab-init that this process is gone, however it went.
    let mut lifeline = child.stdin.take();
    let bounds = Bounds::around(&own_groups, child.id());
    if let Some(lifeline) = &mut lifeline {
        // A child that has ended already says why by its status.
        let _ = lifeline.write_all(b"g");
    }
    let status = child.wait().during(|| "wait for the lab".to_owned())?;
    drop(bounds);
    Ok(exit_code(status))
}

/// In the order of unsharing. All of them are owned by the user namespace made before. The limit is the sysctl below
/// `/proc/sys/user`.
const NAMESPACES: &[(CloneFlags, &str, &str)] = &[
    (CloneFlags::CLONE_NEWNET, "CLONE_NEWNET", "max_net_namespaces"),
    (CloneFlags::CLONE_NEWNS, "CLONE_NEWNS", "max_mnt_namespaces"),
    (CloneFlags::CLONE_NEWIPC, "CLONE_NEWIPC", "max_ipc_namespaces"),
    (CloneFlags::CLONE_NEWUTS, "CLONE_NEWUTS", "max_uts_namespaces"),
    (CloneFlags::CLONE_NEWCGROUP, "CLONE_NEWCGROUP", "max_cgroup_namespaces"),
    (CloneFlags::CLONE_NEWPID, "CLONE_NEWPID", "max_pid_namespaces"),
];

fn require_one_thread() -> Result<(), LabError> {
    let threads = fs::read_dir("/proc/self/task").during(|| "read /proc/self/task".to_owned())?.count();
    if threads == 1 {
        return Ok(());
    }
    Err(LabError::step(format!("enter the lab with {threads} threads"), Errno::EINVAL)
        .with_hint("enter the lab before anything starts a thread"))
}

/// A user namespace that maps the caller to itself and nobody else: a runtime in the lab is as rootless as outside.
fn own_user_namespace() -> Result<(), LabError> {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|e| {
        LabError::step("unshare(CLONE_NEWUSER)", e).with_hint(namespace_hint(e, "max_user_namespaces"))
    })?;
    // setgroups first: without privilege outside, gid_map may only be written once it is denied (user_namespaces(7)).
    for (file, text) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/gid_map", format!("{gid} {gid} 1")),
        ("/proc/self/uid_map", format!("{uid} {uid} 1")),
    ] {
        fs::write(file, &text).map_err(|e| {
            let errno = e.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
            LabError::step(format!("write {text:?} to {file}"), e)
                .with_hint(namespace_hint(errno, "max_user_namespaces"))
        })?;
    }
    Ok(())
}

/// What on this host forbids a namespace, as far as can be read.
fn namespace_hint(errno: Errno, limit: &str) -> String {
    let reads = |path: &str, value: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    if errno == Errno::ENOSPC || reads(&format!("/proc/sys/user/{limit}"), "0") {
        return format!("the host limits namespaces: raise the sysctl user.{limit}");
    }
    if reads("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return "the host forbids user namespaces to ordinary users: set the sysctl \
                kernel.unprivileged_userns_clone=1, or run as root"
            .to_owned();
    }
    if reads("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        return "AppArmor restricts user namespaces: give palisade a profile with `userns,`, set the sysctl \
                kernel.apparmor_restrict_unprivileged_userns=0, or run as root"
            .to_owned();
    }
    match errno {
        Errno::EPERM => {
            "a seccomp filter or security module of the surrounding container forbids namespaces: run \
                         on the host, or give the container the right to make them"
                .to_owned()
        }
        Errno::EINVAL => "the kernel was built without this kind of namespace".to_owned(),
        _ => "nothing was probed".to_owned(),
    }
}

/// The life of process 1: never returns before the suite has ended.
fn init(told: &OsString, carrier: &OsString, argv_of_inner: &[OsString]) -> Result<u8, LabError> {
    let outer = Namespaces::parse(&told.to_string_lossy());
    let here = Namespaces::of("self").during(|| "read /proc/self/ns".to_owned())?;
    // Before the first mount: not in the caller's mount namespace, whoever started this.
    if std::process::id() != 1 || !outer.is_some_and(|outer| here.is_apart_from(&outer)) {
        return Err(LabError::step(format!("start as {LAB_INIT}"), Errno::EINVAL)
            .with_hint("this is a stage of `palisade verify`, not a command"));
    }
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .during(|| "prctl(PDEATHSIG)".to_owned())?;
    let carrier = reopened(carrier)?;
    close_inherited(&carrier)?;
    // Nothing is started before the lab is bounded.
    io::stdin().read_exact(&mut [0]).during(|| "wait for the lab's bounds".to_owned())?;
    watch_lifeline()?;
    // Leaves the caller's session, so that no process of the lab has the caller's terminal as its controlling one.
    rustix::process::setsid().during(|| "setsid".to_owned())?;
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    mount_change("/", private).during(|| "make all mounts private".to_owned())?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None).map_err(|e| {
        LabError::step("mount a fresh /proc", e)
            .with_hint("parts of /proc are masked here, as in a container: run outside of it or unmask /proc")
    })?;
    super::bounds::settle();
    super::bounds::limit_processes();
    let suite = Command::new(EXE)
        .arg0(own_name())
        .args(argv_of_inner)
        .stdin(carrier.map_or_else(Stdio::null, Stdio::from))
        .spawn()
        .during(|| "start the suite in the lab".to_owned())?;
    reap_until(i32::try_from(suite.id()).unwrap_or(i32::MAX))
}

/// The carrier of that number, opened anew: a number alone is no proof that the descriptor is this program's.
fn reopened(carrier: &OsString) -> Result<Option<File>, LabError> {
    if carrier == NOTHING {
        return Ok(None);
    }
    let path = Path::new("/proc/self/fd").join(carrier);
    File::options().write(true).open(path).map(Some).during(|| "open the carrier".to_owned())
}

/// Closes what the caller left open besides the standard descriptors and the carrier: in the lab only the leaks that the world
/// names are to be inherited. Called before this process has opened anything else.
fn close_inherited(carrier: &Option<File>) -> Result<(), LabError> {
    let own = carrier.as_ref().map(AsRawFd::as_raw_fd);
    let list = || -> io::Result<Vec<i32>> {
        let names = fs::read_dir("/proc/self/fd")?.map(|e| Ok(e?.file_name()));
        Ok(names.collect::<io::Result<Vec<_>>>()?.iter().filter_map(|n| n.to_str()?.parse().ok()).collect())
    };
    for fd in list()
        .during(|| "list open descriptors".to_owned())?
        .into_iter()
        .filter(|&fd| fd > 2 && Some(fd) != own)
    {
        // The descriptor of the listing itself is closed already.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

/// Ends this process, and with it the lab, as soon as the outer stage is gone. The death signal alone would miss an
/// outer stage that died before it was set.
fn watch_lifeline() -> Result<(), LabError> {
    let watch = || {
        let mut byte = [0];
        loop {
            match io::stdin().read(&mut byte) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // Nobody writes: a byte, the end of the pipe and an error all mean that something is wrong.
                _ => std::process::exit(i32::from(INIT_FAILED)),
            }
        }
    };
    thread::Builder::new()
        .name("lifeline".into())
        .spawn(watch)
        .during(|| "watch the lifeline".to_owned())
        .map(drop)
}

/// Reaps everything, as process 1 must, until `suite` has ended.
fn reap_until(suite: i32) -> Result<u8, LabError> {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() == suite => {
                return Ok(u8::try_from(code).unwrap_or(INIT_FAILED));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() == suite => {
                return Ok(128_u8.saturating_add(u8::try_from(signal as i32).unwrap_or(0)));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(LabError::step("wait for the suite", e)),
        }
    }
}

fn exit_code(status: std::process::ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|n| 128 + n));
    code.and_then(|c| u8::try_from(c).ok()).unwrap_or(INIT_FAILED)
}

/// The name that the program was called by, for the process list.
fn own_name() -> OsString {
    let name = std::env::args_os().next().unwrap_or_else(|| "palisade".into());
    Path::new(&name).file_name().map_or_else(|| name.clone(), OsString::from)
}

//! Making processes and threads, and signalling them.

use crate::call::Call;
use crate::child;
use crate::kernel::{
    self, Answer, ENOSYS, EPROTO, Errno, Fd, O_APPEND, O_CLOEXEC, O_CREAT, O_WRONLY, Status, nr,
};
use crate::raw;

const SIGCHLD: usize = 17;
const CLONE_VM: usize = 0x100;
/// wait4: children of any exit signal.
const WALL: usize = 0x4000_0000;

pub(super) fn kill_check(call: &mut Call<'_>) -> Answer {
    let (pid, signal) = (call.operand(0)?, call.operand(1)?);
    kernel::answer(nr::KILL, [pid, signal])
}

pub(super) fn fork_exit(call: &mut Call<'_>) -> Answer {
    let code = call.number_or(0, 0)? as i32;
    let child = child::fork_with(|| raw::exit(code));
    let child = call.step(b"fork", child)?;
    match call.step(b"wait", kernel::wait(child, 0))? {
        Status::Exited(code) => Ok(i64::from(code)),
        Status::Signaled(signal) | Status::Stopped(signal) => Ok(128 + i64::from(signal)),
    }
}

pub(super) fn clone_flags(call: &mut Call<'_>) -> Answer {
    let flags = flags_without_sharing(call)?;
    made(kernel::call(nr::CLONE, [flags | SIGCHLD, 0, 0, 0, 0]))
}

pub(super) fn clone3_flags(call: &mut Call<'_>) -> Answer {
    const CLONE3: usize = 435;
    let flags = flags_without_sharing(call)?;
    // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
    // set_tid_size, cgroup.
    let arguments = [flags, 0, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, 0];
    made(kernel::call(CLONE3, [arguments.as_ptr() as usize, size_of_val(&arguments)]))
}

/// A child with the parent's memory and stack would return into frames that are in use.
fn flags_without_sharing(call: &mut Call<'_>) -> Result<usize, Errno> {
    let flags = call.operand(0)?;
    if flags & CLONE_VM != 0 { Err(call.malformed(0)) } else { Ok(flags) }
}

fn made(result: Result<usize, Errno>) -> Answer {
    match result? {
        0 => raw::exit(0),
        child => {
            // With CLONE_PARENT the child is not ours to wait for: that it was made is the answer.
            let _ = kernel::wait(child, WALL);
            Ok(0)
        }
    }
}

pub(super) fn unshare_flags(call: &mut Call<'_>) -> Answer {
    const UNSHARE: usize = 272;
    let flags = call.operand(0)?;
    child::run(|| kernel::call(UNSHARE, [flags]).map(drop))?;
    Ok(0)
}

/// As glibc makes threads: clone3 first, clone where that is ENOSYS and only then.
pub(super) fn thread_spawn(call: &mut Call<'_>) -> Answer {
    // CLONE_VM | FS | FILES | SIGHAND | THREAD | SYSVSEM | SETTLS | PARENT_SETTID | CHILD_CLEARTID
    const THREAD: usize = 0x003d_0f00;
    let by_clone3 = raw::spawn_thread(THREAD, true).map_err(kernel::errno);
    let (name, spawned) = match by_clone3 {
        Err(ENOSYS) => (&b"clone"[..], raw::spawn_thread(THREAD, false).map_err(kernel::errno)),
        other => (&b"clone3"[..], other),
    };
    let (_, ran) = call.step(name, spawned)?;
    call.data.push(name);
    if ran == 1 { Ok(0) } else { Err(EPROTO) }
}

/// The orphan has a session of its own, keeps no descriptor of the run open, and says with a dot in the file
/// every tenth of a second that it is alive.
pub(super) fn double_fork_setsid(call: &mut Call<'_>) -> Answer {
    const LONGEST: i64 = 20;
    const SETSID: usize = 112;
    let path = call.text(0)?;
    let seconds = call.number_or(1, LONGEST)?.clamp(0, LONGEST).unsigned_abs();
    let keeps_output = call.says(2, b"keep");
    let opened = kernel::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644);
    let file = call.step(b"open", opened)?;
    let piped = kernel::pipe();
    let (reader, writer) = call.step(b"pipe2", piped)?;
    let middle = child::fork_with(|| {
        let _ = kernel::call(SETSID, []);
        let orphan = child::fork_with(|| live(file, seconds, keeps_output)).unwrap_or(0);
        let _ = kernel::write(writer, &(orphan as u64).to_ne_bytes());
    });
    kernel::close(writer);
    let middle = call.step(b"fork", middle)?;
    let mut pid = [0; 8];
    let told = kernel::read(reader, &mut pid);
    let _ = kernel::wait(middle, 0);
    kernel::close(reader);
    kernel::close(file);
    match (told, i64::from_ne_bytes(pid)) {
        (Ok(8), pid) if pid > 0 => Ok(pid),
        _ => call.step(b"orphan", Err(EPROTO)),
    }
}

fn live(file: Fd, seconds: u64, keeps_output: bool) {
    if !keeps_output {
        for fd in (0..64).filter(|fd| *fd != file) {
            kernel::close(fd);
        }
    }
    for _ in 0..seconds * 10 {
        let _ = kernel::write(file, b".");
        let _ = kernel::sleep(100);
    }
}

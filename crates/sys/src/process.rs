//! Making, ending and watching processes.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::{Errno, Result};

/// clone(2) flags that make namespaces.
pub mod namespace {
    /// Cgroup namespace (cgroup_namespaces(7)).
    pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    /// IPC namespace.
    pub const IPC: u64 = libc::CLONE_NEWIPC as u64;
    /// Mount namespace.
    pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
    /// Network namespace.
    pub const NETWORK: u64 = libc::CLONE_NEWNET as u64;
    /// Time namespace (time_namespaces(7), Linux 5.6). For [`unshare`](super::unshare) only: clone(2) has no room for it.
    pub const TIME: u64 = 0x80;
    /// PID namespace.
    pub const PID: u64 = libc::CLONE_NEWPID as u64;
    /// User namespace.
    pub const USER: u64 = libc::CLONE_NEWUSER as u64;
    /// UTS namespace.
    pub const UTS: u64 = libc::CLONE_NEWUTS as u64;
}

/// Proof that the caller is a forked child: one thread, on a copy of its parent's memory, whose other owners
/// never run again. What would be unsound in an ordinary process asks for it.
#[derive(Debug)]
pub struct ForkedChild {
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Drop for ForkedChild {
    /// A forked child never goes on with what its parent was doing: even a panic ends it here.
    fn drop(&mut self) {
        exit(1)
    }
}

/// linux/sched.h; beyond the range of the C type that `libc` has for it.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// Which side of a `clone` returned.
#[derive(Debug)]
pub enum Cloned {
    /// The new process.
    Child(ForkedChild),
    /// The caller: the child's pid in the caller's namespace, and a descriptor of it (close-on-exec).
    Parent {
        /// The child's process id.
        pid: i32,
        /// A pidfd of the child.
        pidfd: OwnedFd,
    },
}

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// clone3(2) without shared memory: the child continues on a copy of the caller's stack, in the namespaces of
/// `namespaces` (bits of [`namespace`]).
///
/// The child of a threaded program may call nothing that allocates or takes a lock until it execs: another
/// thread may have held the lock at the moment of the call. The raw call also runs no `pthread_atfork` handler.
///
/// # Errors
/// What clone3(2) says: EPERM or ENOSPC where user namespaces are restricted, EAGAIN at a process limit.
pub fn clone3(namespaces: u64) -> Result<Cloned> {
    clone3_into(namespaces, None)
}

/// As [`clone3`]; the child begins in `cgroup`, the directory of a cgroup of version 2 (CLONE_INTO_CGROUP).
///
/// # Errors
/// Besides those of [`clone3`]: EACCES without the right to move a process there (cgroups(7)), EBUSY for a group that
/// gives controllers to groups below it, EOPNOTSUPP for one that is invalid, EBADF for what is no cgroup.
pub fn clone3_into(namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let into = if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 };
    let args = CloneArgs {
        flags: namespaces | into | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: cgroup.map_or(0, |cgroup| u64::from(cgroup.as_raw_fd().unsigned_abs())),
        ..CloneArgs::default()
    };
    // SAFETY: args is a valid clone_args of the size given (CLONE_ARGS_SIZE_VER2); without CLONE_VM the child has
    // its own copy of every page, so both sides may go on using their stacks. A descriptor is only read.
    let ret =
        Errno::check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) })?;
    if ret == 0 {
        return Ok(Cloned::Child(ForkedChild { _not_send: std::marker::PhantomData }));
    }
    // SAFETY: the kernel stored a new descriptor in `pidfd` before it returned to the parent, and nobody else has it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Cloned::Parent { pid: ret as i32, pidfd })
}

/// fork(2) as the raw call: no `pthread_atfork` handler runs. `None` in the child, its pid in the parent.
///
/// The rules of [`clone3`] for what the child may do apply.
///
/// # Errors
/// EAGAIN at a process limit, ENOMEM.
pub fn fork() -> Result<Option<i32>> {
    // SAFETY: without CLONE_VM and with a null stack this is fork(2); no pointer is passed.
    let ret = Errno::check(unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) })?;
    Ok(if ret == 0 { None } else { Some(ret as i32) })
}

/// As [`fork`], but nothing is sent to the parent when the child ends, and only [`wait_for`] sees it: a program that
/// waits for any child of its own does not come across it.
///
/// # Errors
/// EAGAIN at a process limit, ENOMEM.
pub fn fork_unnoticed() -> Result<Forked> {
    // SAFETY: as in `fork`; the low byte of the flags, the exit signal, is none (clone(2)).
    match Errno::check(unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) })? {
        0 => Ok(Forked::Child(ForkedChild { _not_send: std::marker::PhantomData })),
        pid => Ok(Forked::Parent(pid as i32)),
    }
}

/// Memory for the stack of a process that shares this one's. What is not used is not touched.
#[derive(Debug)]
pub struct Stack(Vec<MaybeUninit<u128>>);

impl Stack {
    /// Allocates so many bytes. 64 KiB are enough for a few paths.
    pub fn new(bytes: usize) -> Self {
        // The elements have the alignment that a stack needs (System V ABI for x86-64, 3.2.2; the same on aarch64).
        Self(Vec::with_capacity(bytes / size_of::<u128>()))
    }

    pub(crate) fn top(&mut self) -> *mut libc::c_void {
        self.0.spare_capacity_mut().as_mut_ptr_range().end.cast()
    }
}

/// Runs `run` in a new process that shares this one's memory until it executes a program or ends; until then this one stands
/// still (CLONE_VM and CLONE_VFORK, clone(2)). As vfork(2): nothing is copied, which [`fork`] spends most of its time on.
///
/// What `run` does to descriptors, directories, signals and credentials is its process's own; what it does to memory stays.
/// The new process is over when `run` returns, with that status.
///
/// # Errors
/// EAGAIN at a process limit, ENOMEM.
pub fn fork_sharing<T>(
    _proof: &ForkedChild,
    stack: &mut Stack,
    state: &mut T,
    run: fn(&mut T) -> i32,
) -> Result<i32> {
    struct Start<'a, T> {
        state: &'a mut T,
        run: fn(&mut T) -> i32,
    }
    extern "C" fn start<T>(given: *mut libc::c_void) -> libc::c_int {
        // SAFETY: it is the `Start` below, which outlives this process's use of it, and whose owner stands still.
        let start = unsafe { &mut *given.cast::<Start<'_, T>>() };
        (start.run)(start.state)
    }

    let mut given = Start { state, run };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the caller is a process with one thread (that is what the proof says), which does not go on before the new one
    // has given up this memory: so `run` has it for itself, and runs on `stack` alone, which outlives it.
    let pid =
        Errno::check(unsafe { libc::clone(start::<T>, stack.top(), flags, (&raw mut given).cast()) }.into())?;
    Ok(pid as i32)
}

/// Makes a process in new namespaces that is over when this returns: nothing of it is left but its pid, which keeps the
/// namespaces until [`wait_for`] has seen it. Only that sees it: nothing is sent to the parent.
///
/// It shares the caller's memory, which is not copied, and the caller's thread stands still until it has ended (CLONE_VM and
/// CLONE_VFORK, clone(2)).
///
/// # Errors
/// As [`clone3`].
pub fn past(namespaces: u64) -> Result<i32> {
    /// Enough for a function that does nothing.
    #[repr(align(16))]
    struct Stack([u8; 4096]);
    extern "C" fn nothing(_: *mut libc::c_void) -> libc::c_int {
        0
    }

    let mut stack = Stack([0; 4096]);
    let top = stack.0.as_mut_ptr_range().end.cast();
    // The namespaces that clone(2) knows are all within these 32 bits.
    let flags = (namespaces & u64::from(u32::MAX)) as i32 | libc::CLONE_VM | libc::CLONE_VFORK;
    // SAFETY: the child runs on `stack` alone, which outlives it: the call returns when it has ended. It touches nothing.
    let pid = Errno::check(unsafe { libc::clone(nothing, top, flags, std::ptr::null_mut()) }.into())?;
    Ok(pid as i32)
}

/// Whether the caller could make another process as far as RLIMIT_NPROC goes, found out by a clone(2) that makes none.
///
/// The kernel checks that limit, and its own of processes altogether, before it stores the descriptor that CLONE_PIDFD asks
/// for; at an address where nothing can be stored the call ends there, with EFAULT (`copy_process` in kernel/fork.c).
pub fn could_fork() -> bool {
    /// Belongs to the kernel, in every process.
    const NOWHERE: usize = usize::MAX & !7;
    let flags = libc::CLONE_VM | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: the call never succeeds, so that no process ever shares this memory: nothing can be stored at that address.
    let made = Errno::check(unsafe { libc::syscall(libc::SYS_clone, flags, 0, NOWHERE, 0, 0) });
    made != Err(Errno(libc::EAGAIN))
}

/// Which side of a fork returned.
#[derive(Debug)]
pub enum Forked {
    /// The new process.
    Child(ForkedChild),
    /// The caller, with the child's pid.
    Parent(i32),
}

/// unshare(2) of the cgroup namespace: its root becomes the group that the calling process is in.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN in the process's user namespace; ENOSPC at the limit of such namespaces.
pub fn unshare_cgroup_namespace(_proof: &ForkedChild) -> Result<()> {
    // SAFETY: no pointer is passed, and nothing but the process's own view of cgroups changes.
    Errno::check(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) }.into()).map(drop)
}

/// unshare(2) of the kinds of namespaces in `kinds` (bits of [`namespace`]), for a process that only tries it.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN in the process's user namespace; ENOSPC at a limit of /proc/sys/user; EINVAL for a kind that
/// the kernel does not have.
pub fn unshare(_proof: &ForkedChild, kinds: u64) -> Result<()> {
    // SAFETY: no pointer is passed; descriptors and memory stay as they are, since none of their flags is a namespace.
    Errno::check(unsafe { libc::syscall(libc::SYS_unshare, kinds) }).map(drop)
}

/// _exit(2): ends every thread of the process at once, without handlers.
pub fn exit(status: i32) -> ! {
    // SAFETY: _exit touches no memory of the program.
    unsafe { libc::_exit(status) }
}

/// setgroups(2) with an empty list, for the calling thread.
///
/// # Errors
/// EPERM without CAP_SETGID, or where /proc/PID/setgroups says `deny` (user_namespaces(7)).
pub fn clear_groups() -> Result<()> {
    // SAFETY: a null list of length 0 is never read.
    Errno::check(unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) }).map(drop)
}

/// kill(2).
///
/// # Errors
/// EPERM, ESRCH, EINVAL.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: no pointer is passed.
    Errno::check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// One child that changed state, as wait4(2) reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaped {
    /// The child's process id.
    pub pid: i32,
    /// The status word, to be read with [`WaitStatus::from_raw`].
    pub status: i32,
}

/// wait4(2) for any child, without blocking. `None` when no child has ended.
///
/// # Errors
/// ECHILD when there are no children at all.
pub fn wait_any() -> Result<Option<Reaped>> {
    let mut status = 0;
    // SAFETY: `status` outlives the call; the rusage pointer may be null.
    let pid = Errno::check(
        unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, std::ptr::null_mut()) }.into(),
    )?;
    Ok((pid != 0).then_some(Reaped { pid: pid as i32, status }))
}

/// wait4(2) for the child `pid`, however it was made, blocking, restarted after interruptions: the raw status word.
///
/// # Errors
/// ECHILD when `pid` is no child of the caller.
pub fn wait_for(pid: i32) -> Result<i32> {
    wait_and_account(pid).map(|(status, _)| status)
}

/// What a process and those of its descendants that were waited for have used (getrusage(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResourceUsage {
    /// Processor time in user mode.
    pub user: Duration,
    /// Processor time in the kernel.
    pub system: Duration,
    /// The most memory that any one of them had resident, in bytes.
    pub peak_resident: u64,
}

/// As [`wait_for`], with what the child and its descendants have used.
///
/// # Errors
/// ECHILD when `pid` is no child of the caller.
pub fn wait_and_account(pid: i32) -> Result<(i32, ResourceUsage)> {
    let mut status = 0;
    // SAFETY: all zero is a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: `status` and `usage` outlive the call.
        let ret = unsafe { libc::wait4(pid, &raw mut status, libc::__WALL, &raw mut usage) };
        match Errno::check(ret.into()) {
            Ok(_) => {
                let time = |time: libc::timeval| {
                    Duration::from_secs(time.tv_sec.unsigned_abs())
                        + Duration::from_micros(time.tv_usec.unsigned_abs())
                };
                let usage = ResourceUsage {
                    user: time(usage.ru_utime),
                    system: time(usage.ru_stime),
                    // In KiB on Linux.
                    peak_resident: usage.ru_maxrss.unsigned_abs() << 10,
                };
                return Ok((status, usage));
            }
            Err(Errno(libc::EINTR)) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitStatus {
    /// It exited with this code, 0 to 255.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
}

impl WaitStatus {
    /// Reads the status word of wait(2). `None` for a child that was only stopped or continued.
    pub fn from_raw(status: i32) -> Option<Self> {
        if libc::WIFEXITED(status) {
            Some(Self::Exited(libc::WEXITSTATUS(status)))
        } else if libc::WIFSIGNALED(status) {
            Some(Self::Signaled(libc::WTERMSIG(status)))
        } else {
            None
        }
    }
}

/// fcntl(2) with F_DUPFD_CLOEXEC: a copy of the descriptor of this number, above the standard ones.
///
/// # Errors
/// EBADF, EMFILE.
pub fn duplicate(number: RawFd) -> Result<OwnedFd> {
    // SAFETY: no pointer is passed; a number that is no descriptor is an error.
    let copy = Errno::check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) }.into())?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(copy as RawFd) })
}

/// close_range(2): closes every descriptor from `first` to `last`, both included.
///
/// # Errors
/// EINVAL when `first` is greater than `last`; ENOSYS before Linux 5.9.
fn close_range(_proof: &ForkedChild, first: u32, last: u32) -> Result<()> {
    // SAFETY: closing descriptors that safe code still owns would break I/O safety, but in a forked child those
    // owners never run again.
    Errno::check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Closes these descriptors, neighbours together; one that is not open is no error.
///
/// # Errors
/// ENOSYS before Linux 5.9.
pub fn close_each(proof: &ForkedChild, descriptors: impl Iterator<Item = RawFd>) -> Result<()> {
    let mut run: Option<(u32, u32)> = None;
    for descriptor in descriptors.map(RawFd::unsigned_abs) {
        run = Some(match run {
            Some((first, last)) if descriptor == last + 1 => (first, descriptor),
            Some((first, last)) => {
                close_range(proof, first, last)?;
                (descriptor, descriptor)
            }
            None => (descriptor, descriptor),
        });
    }
    run.map_or(Ok(()), |(first, last)| close_range(proof, first, last))
}

/// Closes every descriptor from `first` on that `keep` does not hold, in as many close_range(2) calls as there are gaps.
///
/// # Errors
/// ENOSYS before Linux 5.9.
pub fn close_except(
    proof: &ForkedChild,
    first: u32,
    keep: impl Iterator<Item = RawFd> + Clone,
) -> Result<()> {
    let mut first = first;
    loop {
        let next = keep.clone().map(RawFd::unsigned_abs).filter(|fd| *fd >= first).min();
        let last = next.map_or(u32::MAX, |fd| fd.saturating_sub(1));
        if next != Some(first) {
            close_range(proof, first, last)?;
        }
        match next {
            Some(fd) => first = fd + 1,
            None => return Ok(()),
        }
    }
}

//! Which calls are allowed, and why the others are not.
//!
//! Every call of `palisade_policy::syscalls` stands here in exactly one group, or in the list of
//! [`arguments`](super::arguments); a test holds this table to that. Group by reason, not by number: a reviewer
//! should be able to disagree with one sentence.
//!
//! The error of a denied call is part of its reason. `EPERM` is the rule. `ENOSYS` stands where programs have a
//! fallback for older kernels and use it only then.

use palisade_policy::syscalls;

use super::profile::{Action, Errno};

/// Calls that are treated alike for one reason.
pub(super) struct Group {
    /// The reason.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reader, and for the snapshot of the table"))]
    pub(super) why: &'static str,
    /// The answer of the standard profile.
    pub(super) standard: Action,
    /// The answer of the strict profile.
    pub(super) strict: Action,
    /// The calls, by name.
    pub(super) calls: &'static [&'static str],
}

const ALLOW: Action = Action::Allow;
const EPERM: Action = Action::Fail(Errno::Eperm);
const ENOSYS: Action = Action::Fail(Errno::Enosys);

const fn allowed(why: &'static str, calls: &'static [&'static str]) -> Group {
    Group { why, standard: ALLOW, strict: ALLOW, calls }
}

const fn not_in_strict(why: &'static str, calls: &'static [&'static str]) -> Group {
    Group { why, standard: ALLOW, strict: EPERM, calls }
}

const fn denied(why: &'static str, calls: &'static [&'static str]) -> Group {
    Group { why, standard: EPERM, strict: EPERM, calls }
}

const fn absent(why: &'static str, calls: &'static [&'static str]) -> Group {
    Group { why, standard: ENOSYS, strict: ENOSYS, calls }
}

/// The answers of the standard and of the strict profile to each call, in the order of the names; none to one that the
/// groups do not have. The compiler puts it together: every run of every sandbox needs it.
pub(super) static BY_RANK: [Option<(Action, Action)>; syscalls::COUNT] = by_rank();

const fn by_rank() -> [Option<(Action, Action)>; syscalls::COUNT] {
    let mut answers = [None; syscalls::COUNT];
    let mut index = 0;
    while index < GROUPS.len() {
        let Group { standard, strict, calls, .. } = &GROUPS[index];
        let mut call = 0;
        while call < calls.len() {
            let rank = syscalls::rank(calls[call]).expect("a group names a call that does not exist");
            answers[rank] = Some((*standard, *strict));
            call += 1;
        }
        index += 1;
    }
    answers
}

#[rustfmt::skip]
pub(super) const GROUPS: &[Group] = &[
    allowed("descriptors: read, write, move data; what may be opened is decided by mounts and Landlock", &[
        "close", "close_range", "copy_file_range", "dup", "dup2", "dup3", "fadvise64", "fallocate", "fcntl",
        "fdatasync", "flock", "fsync", "ftruncate", "lseek", "pipe", "pipe2", "pread64", "preadv", "preadv2",
        "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readv", "sendfile", "splice",
        "sync_file_range", "tee", "write", "writev",
    ]),
    allowed("names and metadata of files; read-only mounts refuse the changes that the policy refuses", &[
        "access", "cachestat", "chdir", "chown", "faccessat", "faccessat2", "fchdir", "fchown", "fchownat",
        "fgetxattr", "file_getattr", "file_setattr", "flistxattr", "fremovexattr", "fsetxattr", "fstat", "fstatfs",
        "futimesat", "getcwd", "getdents", "getdents64", "getxattr", "getxattrat", "lchown", "lgetxattr", "link",
        "linkat", "listxattr", "listxattrat", "llistxattr", "lremovexattr", "lsetxattr", "lstat", "newfstatat",
        "readlink", "readlinkat", "removexattr", "removexattrat", "rename", "renameat", "renameat2", "rmdir",
        "setxattr", "setxattrat", "stat", "statfs", "statx", "symlink", "symlinkat", "truncate", "umask", "unlink",
        "unlinkat", "utime", "utimensat", "utimes",
    ]),
    allowed("waiting for descriptors; inotify sees only what the mount namespace shows", &[
        "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd",
        "eventfd2", "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "poll", "ppoll",
        "pselect6", "select", "signalfd", "signalfd4",
    ]),
    allowed("a process's own memory, with write and execute: just-in-time compilers need both", &[
        "brk", "madvise", "map_shadow_stack", "mincore", "mlock", "mlock2", "mlockall", "mmap", "mprotect",
        "mremap", "mseal", "msync", "munlock", "munlockall", "munmap", "pkey_alloc", "pkey_free", "pkey_mprotect",
        "remap_file_pages",
    ]),
    allowed("processes and threads, inside the pid namespace", &[
        "arch_prctl", "execve", "exit", "exit_group", "fork", "futex", "futex_requeue", "futex_wait",
        "futex_waitv", "futex_wake", "get_robust_list", "getcpu", "getpgid", "getpgrp", "getpid", "getppid",
        "getsid", "gettid", "kill", "membarrier", "restart_syscall", "rseq", "rseq_slice_yield",
        "set_robust_list", "set_tid_address", "setpgid", "setsid", "tgkill", "tkill", "vfork", "wait4", "waitid",
    ]),
    allowed("signals, inside the pid namespace", &[
        "pause", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn",
        "rt_sigsuspend", "rt_sigtimedwait", "rt_tgsigqueueinfo", "sigaltstack",
    ]),
    allowed("scheduling and limits: without privilege a process can only lower itself", &[
        "getpriority", "getrlimit", "getrusage", "ioprio_get", "ioprio_set", "prlimit64", "sched_get_priority_max",
        "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler",
        "sched_rr_get_interval", "sched_setaffinity", "sched_setparam", "sched_yield", "setpriority", "setrlimit",
    ]),
    allowed("clocks and timers, to read and to wait for", &[
        "alarm", "clock_getres", "clock_gettime", "clock_nanosleep", "getitimer", "gettimeofday", "nanosleep",
        "setitimer", "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_settime",
        "timerfd_create", "timerfd_gettime", "timerfd_settime", "times",
    ]),
    allowed("identity: one uid and gid are mapped and all capabilities are gone, so these can only narrow", &[
        "capget", "capset", "getegid", "geteuid", "getgid", "getgroups", "getresgid", "getresuid", "getuid",
        "setfsgid", "setfsuid", "setgid", "setgroups", "setregid", "setresgid", "setresuid", "setreuid", "setuid",
    ]),
    allowed("sockets that exist; which can be made is checked at socket and socketpair", &[
        "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recvfrom",
        "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown",
    ]),
    allowed("facts about the machine that every program asks for", &["getrandom", "sysinfo", "uname"]),
    allowed("Landlock rulesets can only take rights away", &[
        "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self",
    ]),
    allowed("entered from trampolines that the kernel itself writes: refused, a program traced from outside dies", &[
        "uprobe", "uretprobe",
    ]),
    not_in_strict("files without a name: code that no mount forbids to execute", &["memfd_create"]),
    not_in_strict("System V IPC and message queues, inside the ipc namespace", &[
        "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink", "msgctl",
        "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "shmat", "shmctl", "shmdt",
        "shmget",
    ]),
    not_in_strict("kernel AIO: few use it, and each ring pins memory of the host", &[
        "io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit",
    ]),
    not_in_strict("stalls every writer of the host's file systems", &["sync", "syncfs"]),

    absent("flags or mode bits lie behind a pointer: clone and openat, the fallbacks, are checked", &[
        "clone3", "openat2",
    ]),
    absent("process descriptors reach into other processes; runtimes fall back to pids when they are missing", &[
        "pidfd_open", "pidfd_send_signal",
    ]),
    absent("memory policy: numa libraries take this for a kernel without NUMA and stay quiet", &[
        "get_mempolicy", "mbind", "migrate_pages", "move_pages", "set_mempolicy", "set_mempolicy_home_node",
    ]),
    absent("lists of mounts, namespaces and security modules; the fallback is /proc, which is masked", &[
        "listmount", "listns", "lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr", "statmount",
    ]),
    absent("memory that even the kernel cannot map: nothing accounts for it or can inspect it", &["memfd_secret"]),
    absent("obsolete: no current kernel has them, or no current program calls them", &[
        "_sysctl", "afs_syscall", "create_module", "epoll_ctl_old", "epoll_wait_old", "get_kernel_syms",
        "get_thread_area", "getpmsg", "lookup_dcookie", "nfsservctl", "putpmsg", "query_module", "security",
        "set_thread_area", "sysfs", "tuxcall", "uselib", "ustat", "vserver",
    ]),

    denied("other processes: tracing them, their memory, their descriptors", &[
        "kcmp", "pidfd_getfd", "process_madvise", "process_mrelease", "process_vm_readv", "process_vm_writev",
        "ptrace",
    ]),
    denied("mounts and roots: the file system rules are mounts, and every part of both mount interfaces moves them", &[
        "chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount", "open_tree",
        "open_tree_attr", "pivot_root", "umount2",
    ]),
    denied("joining namespaces, and the names of the host", &["setdomainname", "sethostname", "setns"]),
    denied("file handles open any inode of a file system, beside every path rule", &[
        "name_to_handle_at", "open_by_handle_at",
    ]),
    denied("a ring carries out calls that no filter sees", &[
        "io_uring_enter", "io_uring_register", "io_uring_setup",
    ]),
    denied("keyrings: shared by uid, not by any namespace of ours", &["add_key", "keyctl", "request_key"]),
    denied("programs and events in the kernel, faults served by user space: tools of kernel exploits", &[
        "bpf", "perf_event_open", "userfaultfd", "vmsplice",
    ]),
    denied("another filter: its notifications let a process answer in the place of the kernel", &["seccomp"]),
    denied("watching whole mounts", &["fanotify_init", "fanotify_mark"]),
    denied("the clock; to read it as time daemons do takes the same call as to set it", &[
        "adjtimex", "clock_adjtime", "clock_settime", "settimeofday",
    ]),
    denied("the machine: kernel image and modules, power, swap, accounting, log, quotas, consoles", &[
        "acct", "delete_module", "finit_module", "init_module", "kexec_file_load", "kexec_load", "quotactl",
        "quotactl_fd", "reboot", "swapoff", "swapon", "syslog", "vhangup",
    ]),
    denied("processor state: ports, and segments whose handling in the kernel few have tested", &[
        "ioperm", "iopl", "modify_ldt",
    ]),
    denied("real-time and deadline policies lie behind a pointer; sched_setscheduler is checked", &[
        "sched_setattr",
    ]),
];

/// What the sandbox's own first process calls after the filter is in place; it lives under the same filter as the
/// workload, so a policy cannot take these away.
pub(super) const NEEDED_BY_INIT: &[&str] = &[
    "chdir",
    "clone",
    "close",
    "close_range",
    "dup2",
    "dup3",
    "execve",
    "exit_group",
    "fcntl",
    "getpid",
    "ioctl",
    "kill",
    "poll",
    "ppoll",
    "prctl",
    "prlimit64",
    "read",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigtimedwait",
    "sched_yield",
    "setpgid",
    "setsid",
    "signalfd4",
    "tgkill",
    "umask",
    "wait4",
    "waitid",
    "write",
];

/// What a workload needs to make use of namespaces of its own, where the policy lets it have them. The kernel
/// still asks for a capability over the namespace in question.
pub(super) const USED_IN_NESTED_NAMESPACES: &[&str] = &[
    "chroot",
    "clone",
    "mount",
    "pivot_root",
    "setdomainname",
    "sethostname",
    "setns",
    "umount2",
    "unshare",
];

/// The newer mount interface: missing rather than forbidden inside nested namespaces, so that tools use
/// [`USED_IN_NESTED_NAMESPACES`] instead.
pub(super) const NEWER_MOUNT_INTERFACE: &[&str] = &[
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "open_tree_attr",
];

//! What a group file needs to be short: `use crate::catalogue::prelude::*;`.

pub use super::Expect::{self, *};
pub use super::Severity::{Critical, High, Low, Medium};
pub use super::{Action, Canary, Need, Outside, Planted, Probe, Severity};

/// Statements of the probe program and their operands.
pub use palisade_probe::script::{BAD, NONCE, NULL, Piece, bits, buffer, bytes, memory, result, text};
pub use palisade_probe::{attempt, control, setup};

/// Constants by their kernel names; others as `libc::NAME`.
pub use nix::libc::{
    self, AT_EMPTY_PATH, AT_FDCWD, O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NONBLOCK, O_PATH, O_RDONLY,
    O_RDWR, O_TRUNC, O_WRONLY,
};

/// Error numbers by their kernel names.
pub use nix::errno::Errno::*;

/// System-call numbers by their kernel names.
pub use nix::libc::{
    SYS_accept4, SYS_acct, SYS_add_key, SYS_adjtimex, SYS_bind, SYS_bpf, SYS_brk, SYS_capset, SYS_chdir,
    SYS_chmod, SYS_chown, SYS_chroot, SYS_clock_adjtime, SYS_clock_settime, SYS_clone, SYS_clone3, SYS_close,
    SYS_connect, SYS_creat, SYS_delete_module, SYS_dup2, SYS_execve, SYS_execveat, SYS_faccessat,
    SYS_fanotify_init, SYS_fchmodat, SYS_fchownat, SYS_finit_module, SYS_fsconfig, SYS_fsmount, SYS_fsopen,
    SYS_fspick, SYS_ftruncate, SYS_getcwd, SYS_getdents64, SYS_getgid, SYS_getpid, SYS_getsockname,
    SYS_getuid, SYS_init_module, SYS_inotify_add_watch, SYS_inotify_init1, SYS_io_uring_enter,
    SYS_io_uring_register, SYS_io_uring_setup, SYS_ioctl, SYS_ioperm, SYS_iopl, SYS_ioprio_set, SYS_kcmp,
    SYS_kexec_file_load, SYS_kexec_load, SYS_keyctl, SYS_kill, SYS_link, SYS_linkat, SYS_listen, SYS_lseek,
    SYS_lsetxattr, SYS_mbind, SYS_memfd_create, SYS_memfd_secret, SYS_mkdir, SYS_mknod, SYS_mknodat,
    SYS_mlock, SYS_mmap, SYS_modify_ldt, SYS_mount, SYS_mount_setattr, SYS_move_mount, SYS_move_pages,
    SYS_mq_open, SYS_msgget, SYS_name_to_handle_at, SYS_nfsservctl, SYS_open, SYS_open_by_handle_at,
    SYS_open_tree, SYS_openat, SYS_openat2, SYS_perf_event_open, SYS_personality, SYS_pidfd_getfd,
    SYS_pidfd_open, SYS_pidfd_send_signal, SYS_pipe2, SYS_pivot_root, SYS_prctl, SYS_pread64, SYS_prlimit64,
    SYS_process_madvise, SYS_process_vm_readv, SYS_process_vm_writev, SYS_ptrace, SYS_quotactl, SYS_read,
    SYS_readlink, SYS_readlinkat, SYS_reboot, SYS_rename, SYS_renameat, SYS_request_key, SYS_rmdir,
    SYS_sched_setscheduler, SYS_seccomp, SYS_semget, SYS_sendto, SYS_setdomainname, SYS_setgid,
    SYS_setgroups, SYS_sethostname, SYS_setns, SYS_setpriority, SYS_setrlimit, SYS_setsid, SYS_setsockopt,
    SYS_settimeofday, SYS_setuid, SYS_setxattr, SYS_shmget, SYS_socket, SYS_socketpair, SYS_stat, SYS_statx,
    SYS_swapoff, SYS_swapon, SYS_symlink, SYS_symlinkat, SYS_sysfs, SYS_syslog, SYS_tgkill, SYS_timer_create,
    SYS_timerfd_create, SYS_truncate, SYS_umask, SYS_umount2, SYS_uname, SYS_unlink, SYS_unlinkat,
    SYS_unshare, SYS_uselib, SYS_userfaultfd, SYS_ustat, SYS_utimensat, SYS_vhangup, SYS_vmsplice, SYS_write,
};

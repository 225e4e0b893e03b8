//! The system-call filter: that it is there, what it refuses, and that no other door of the kernel leads around it.

use palisade_policy::Policy;

use super::call::{allowed_by_name, args, attempt as call, refused, row};
use super::prelude::*;
use crate::lab::World;

mod entries;

const SYSCALLS: &str = "process.syscalls";

/// The bit that the kernel cuts off an argument of 32 bits, and a filter that compares 64 does not.
const HIGH: u64 = 1 << 32;

/// Entries of the group `sys`.
pub(super) fn probes(_world: &World, policy: &Policy) -> Vec<Probe> {
    let mut probes = filter();
    probes.extend(host(policy));
    probes.extend(unneeded(policy));
    probes.extend(obsolete(policy));
    probes.extend(filters_of_its_own(policy));
    probes.extend(descriptors(policy));
    probes.extend(unknown_numbers());
    probes.extend(threads(policy));
    probes.extend(arguments(policy));
    probes.extend(set_id(policy));
    probes.extend(entries::i386());
    probes.extend(entries::x32());
    probes
}

/// That a filter is active: in this process, in every thread that can be seen, in PID 1.
fn filter() -> Vec<Probe> {
    let posture = |id: &str, requirement: &str, statement| {
        Probe::denies(id, Critical).serves(SYSCALLS, "SYS-1").requires(requirement).script([statement])
    };
    vec![
        posture(
            "sys/filter/mode2",
            "a system-call filter is active in the workload",
            attempt!("status_field", "self", "Seccomp"),
        )
        .expect(Expect::data_is("2")),
        posture(
            "sys/filter/all-threads-uniform",
            "a system-call filter is active in every thread of every process of the sandbox",
            attempt!("status_all", "Seccomp"),
        )
        .expect(Expect::data_is("2")),
        posture(
            "sys/filter/first-process",
            "the sandbox's first process lives under a system-call filter too",
            attempt!("status_field", "1", "Seccomp"),
        )
        .expect(Expect::data_is("2")),
        posture(
            "sys/filter/survives-exec",
            "a program that is executed keeps the filter",
            attempt!("exec", "/bin/grep", "-x", "Seccomp:[[:space:]]*2", "/proc/self/status"),
        )
        .expect(Expect::Returns(0))
        .needs(Need::Command("grep")),
    ]
}

/// Calls that administrate the host.
fn host(policy: &Policy) -> Vec<Probe> {
    let rows = vec![
        // A flag that no version knows, and more segments than any takes: refused before anything is looked at.
        row("sys/kexec-load", High, "kexec_load", args![0, 0xffff, BAD, 0x1000], [EINVAL]),
        row(
            "sys/kexec-file-load",
            High,
            "kexec_file_load",
            args![-1, -1, 0, NULL, 0x7fff_0000],
            [EINVAL, EBADF],
        ),
        row("sys/init-module", High, "init_module", args![BAD, 0, BAD], [ENOEXEC, EFAULT]),
        row("sys/finit-module", High, "finit_module", args![-1, BAD, 0x7fff_0000], [EINVAL, EBADF]),
        row("sys/delete-module", High, "delete_module", args![BAD, 0], [EFAULT]),
        row("sys/reboot", High, "reboot", args![0, 0, 0, 0], [EINVAL]),
        row("sys/swapon", High, "swapon", args![BAD, 0x7ff0_0000], [EINVAL]),
        row("sys/swapoff", High, "swapoff", args![BAD], [EFAULT]),
        row("sys/acct", Medium, "acct", args![BAD], [EFAULT]),
        // SYSLOG_ACTION_SIZE_BUFFER only asks.
        row("sys/syslog", Medium, "syslog", args![10, NULL, 0], Succeeds),
        // A type of quota that does not exist.
        row("sys/quotactl", Medium, "quotactl", args![0x7fff_ffff, BAD, 0, BAD], [EINVAL]),
        row("sys/quotactl-fd", Medium, "quotactl_fd", args![-1, 0x7fff_ffff, 0, BAD], [EBADF, EINVAL]),
        row("sys/iopl", High, "iopl", args![4], [EINVAL]),
        row("sys/ioperm", High, "ioperm", args![bits(u64::MAX), 2, 0], [EINVAL]),
    ];
    let mut probes: Vec<Probe> =
        refused(policy, "SYS-2", "the workload cannot administrate the host", rows).collect();
    if !allowed_by_name(policy, "vhangup") {
        probes.push(
            Probe::denies("sys/vhangup", Medium)
                .serves(SYSCALLS, "SYS-2")
                .requires("the workload cannot administrate the host")
                // In a session without a terminal it hangs up nothing; where no session can be made it is not called.
                .script([attempt!("sys", SYS_setsid), attempt!("sys", SYS_vhangup, result(0))])
                .outside(Outside::succeeds()),
        );
    }
    probes
}

/// Calls that general programs do not need, or have a fallback for.
fn unneeded(policy: &Policy) -> impl Iterator<Item = Probe> {
    const ADDR_NO_RANDOMIZE: i32 = 0x4_0000;
    const FAN_REPORT_FID: i32 = 0x200;
    let rows = vec![
        row("sys/personality", Low, "personality", args![ADDR_NO_RANDOMIZE], Succeeds),
        row("sys/modify-ldt", Medium, "modify_ldt", args![0, buffer(16), 16], Succeeds),
        row("sys/mbind", Low, "mbind", args![0, 0, 99, NULL, 0, 0], [EINVAL]),
        row("sys/set-mempolicy", Low, "set_mempolicy", args![99, NULL, 0], [EINVAL]),
        row("sys/get-mempolicy", Low, "get_mempolicy", args![NULL, NULL, 0, NULL, 0xff], [EINVAL]),
        row("sys/set-mempolicy-home-node", Low, "set_mempolicy_home_node", args![0, 0, 0, 1], [EINVAL]),
        row("sys/move-pages", Low, "move_pages", args![0, 0, NULL, NULL, NULL, 0x80], [EINVAL]),
        row("sys/migrate-pages", Low, "migrate_pages", args![0, 0, BAD, BAD], [EINVAL, EFAULT]),
        row("sys/name-to-handle", Medium, "name_to_handle_at", args![-1, BAD, BAD, BAD, 0], [EFAULT, EBADF]),
        row("sys/open-by-handle", High, "open_by_handle_at", args![-1, BAD, 0], [EFAULT, EBADF]),
        row("sys/memfd-secret", Low, "memfd_secret", args![0x7fff_0000], [EINVAL]),
        row("sys/vmsplice", Medium, "vmsplice", args![-1, BAD, 1, 0], [EBADF]),
        row("sys/fanotify-privileged", Medium, "fanotify_init", args![0, 0], Succeeds),
        row("sys/fanotify-report-fid", Medium, "fanotify_init", args![FAN_REPORT_FID, 0], Succeeds),
        row("sys/fanotify-mark", Medium, "fanotify_mark", args![-1, 1, 0x20, AT_FDCWD, BAD], [EBADF, EFAULT]),
        row("sys/sched-setattr", Medium, "sched_setattr", args![-1, NULL, 0], [EINVAL]),
        row("sys/openat2", Medium, "openat2", args![AT_FDCWD, BAD, BAD, 24], [EFAULT]),
        row("sys/lsm-get-self-attr", Low, "lsm_get_self_attr", args![100, NULL, BAD, 0], [EFAULT]),
        row("sys/lsm-set-self-attr", Low, "lsm_set_self_attr", args![100, BAD, 0, 1], [EINVAL]),
        row("sys/lsm-list-modules", Low, "lsm_list_modules", args![BAD, BAD, 0], [EFAULT]),
    ];
    refused(policy, "SYS-7", "a call that general programs do not need is refused", rows)
}

/// Calls of the past. Most kernels answer ENOSYS by themselves: there the entry is unsupported.
fn obsolete(policy: &Policy) -> impl Iterator<Item = Probe> {
    let gone = |id, call| row(id, Low, call, args![BAD, BAD, BAD, BAD], Outside::NotExpected);
    let rows = vec![
        row("sys/obsolete/uselib", Low, "uselib", args![BAD], [EFAULT]),
        row("sys/obsolete/ustat", Low, "ustat", args![0xffff, BAD], [EINVAL, EFAULT]),
        row("sys/obsolete/sysfs", Low, "sysfs", args![99], [EINVAL]),
        gone("sys/obsolete/sysctl", "_sysctl"),
        gone("sys/obsolete/nfsservctl", "nfsservctl"),
        gone("sys/obsolete/lookup-dcookie", "lookup_dcookie"),
        gone("sys/obsolete/create-module", "create_module"),
        gone("sys/obsolete/get-kernel-syms", "get_kernel_syms"),
        gone("sys/obsolete/query-module", "query_module"),
        gone("sys/obsolete/getpmsg", "getpmsg"),
        gone("sys/obsolete/putpmsg", "putpmsg"),
        gone("sys/obsolete/afs-syscall", "afs_syscall"),
        gone("sys/obsolete/tuxcall", "tuxcall"),
        gone("sys/obsolete/security", "security"),
        gone("sys/obsolete/vserver", "vserver"),
        gone("sys/obsolete/epoll-ctl-old", "epoll_ctl_old"),
        gone("sys/obsolete/epoll-wait-old", "epoll_wait_old"),
        gone("sys/obsolete/set-thread-area", "set_thread_area"),
        gone("sys/obsolete/get-thread-area", "get_thread_area"),
    ];
    refused(policy, "SYS-7", "a call of the past is refused", rows)
}

/// A filter of the workload's own could answer in the place of the kernel, by both routes.
fn filters_of_its_own(policy: &Policy) -> Vec<Probe> {
    if allowed_by_name(policy, "seccomp") {
        return Vec::new();
    }
    const SET_MODE_FILTER: i32 = 1;
    let requirement =
        "the workload cannot install a system-call filter that answers in the place of the kernel";
    let route = |id: &str, statement| {
        Probe::denies(id, Low).serves(SYSCALLS, "SYS-6").requires(requirement).script([statement])
    };
    vec![
        route("sys/install-filter-seccomp", attempt!("sys", SYS_seccomp, SET_MODE_FILTER, 0, BAD))
            .outside(Outside::fails([EFAULT])),
        route(
            "sys/install-filter-prctl",
            attempt!("sys", SYS_prctl, libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, BAD),
        )
        .outside(Outside::fails([EFAULT])),
        route(
            "sys/install-filter-prctl-high-bits",
            attempt!("sys", SYS_prctl, bits(HIGH | 22), libc::SECCOMP_MODE_FILTER, BAD),
        )
        .requires("an option of prctl is compared as the kernel does, on 32 bits")
        .expect(Denied.or(Expect::fails([EINVAL])))
        .outside(Outside::fails([EFAULT])),
    ]
}

/// What acts on descriptors or on the process by a way that a filter has to look into.
fn descriptors(policy: &Policy) -> Vec<Probe> {
    const PR_SET_MEMORY_MERGE: i32 = 67;
    let mut probes = vec![
        Probe::denies("sys/execveat-empty-path", Medium)
            .serves(SYSCALLS, "SYS-7")
            .requires("a descriptor cannot be executed where no path is checked")
            .script([attempt!("execveat_empty")])
            .outside(Outside::succeeds()),
        Probe::denies("sys/prctl/set-mm", Low)
            .serves(SYSCALLS, "SYS-7")
            .requires("the workload cannot rewrite what the kernel says about its memory")
            .script([attempt!("sys", SYS_prctl, libc::PR_SET_MM, 99, 0, 0, 1)])
            .outside(Outside::fails([EINVAL])),
        Probe::denies("sys/prctl/memory-merge", Low)
            .serves(SYSCALLS, "SYS-7")
            .requires("the workload's pages are not merged with those of others")
            .operation("prctl(PR_SET_MEMORY_MERGE, 0)")
            .script([attempt!("sys", SYS_prctl, PR_SET_MEMORY_MERGE, 0, 0, 0, 0)])
            .expect(Denied.or(Expect::fails([EINVAL])))
            .outside(Outside::succeeds()),
        Probe::denies("sys/socketpair-internet", Low)
            .serves(SYSCALLS, "SYS-7")
            .requires("pairs of sockets are made in the Unix family alone")
            .script([
                control!("socketpair_pass"),
                attempt!("sys", SYS_socketpair, libc::AF_INET, libc::SOCK_STREAM, 0, BAD),
            ])
            .expect(NoFamily)
            .outside(Outside::fails([EOPNOTSUPP, EFAULT])),
    ];
    probes.retain(|probe| {
        let call = match probe.id.as_str() {
            "sys/execveat-empty-path" => "execveat",
            "sys/socketpair-internet" => "socketpair",
            _ => "prctl",
        };
        !allowed_by_name(policy, call)
    });
    probes
}

/// Numbers beyond every table. Libraries try newer calls first and fall back on ENOSYS alone.
fn unknown_numbers() -> impl Iterator<Item = Probe> {
    let numbers = [("sys/future-nr/next", 1023), ("sys/future-nr/far", 4095), ("sys/future-nr/negative", -1)];
    numbers.into_iter().map(|(id, number)| {
        Probe::allows(id, Medium)
            .serves(SYSCALLS, "SYS-3")
            .requires("a call that no kernel has yet fails with ENOSYS, so that libraries fall back")
            .operation(format!("system call number {number}"))
            .script([attempt!("sys", number, BAD, BAD, BAD, BAD, BAD, BAD)])
            .expect(Expect::fails([ENOSYS]))
    })
}

fn threads(policy: &Policy) -> Vec<Probe> {
    let fallback = Probe::allows("sys/clone3/thread-fallback", Medium)
        .serves(SYSCALLS, "SYS-3")
        .requires("threads can be made as the C libraries make them, with or without clone3")
        .script([attempt!("thread_spawn")]);
    if allowed_by_name(policy, "clone3") {
        return vec![fallback];
    }
    let bad_pointer = Probe::denies("sys/clone3/bad-pointer", High)
        .serves(SYSCALLS, "SYS-3")
        .requires("clone3, whose flags no filter can read, answers ENOSYS, so that clone is used")
        .operation("clone3(2) with a bad pointer")
        .script([attempt!("sys", SYS_clone3, BAD, 88)])
        .expect(Expect::fails([ENOSYS]))
        .outside(Outside::fails([EFAULT]));
    vec![fallback, bad_pointer]
}

/// Arguments of 32 bits with something in the upper half, which the kernel cuts off (CVE-2019-10063).
fn arguments(policy: &Policy) -> Vec<Probe> {
    const NETLINK_KOBJECT_UEVENT: i32 = 15;
    const AF_VSOCK: u64 = 40;
    const NS_GET_NSTYPE: u64 = 0xb703;
    let ioctl = |request: u64| attempt!("sys", SYS_ioctl, -1, bits(HIGH | request), 0);
    let trick = |id: &str, statement| {
        Probe::denies(id, High)
            .serves(SYSCALLS, "SYS-5")
            .requires("an argument of 32 bits is compared as the kernel does, whatever its upper half holds")
            .script([statement])
    };
    let mut probes = vec![
        trick("sys/arg/ioctl-high-bits", ioctl(libc::TIOCSTI)).outside(Outside::fails([EBADF])),
        trick("sys/arg/ioctl-high-bits-tioclinux", ioctl(libc::TIOCLINUX)).outside(Outside::fails([EBADF])),
        trick(
            "sys/arg/socket-domain-high-bits",
            attempt!("sys", SYS_socket, bits(HIGH | AF_VSOCK), libc::SOCK_STREAM, 0),
        )
        .expect(NoFamily)
        .outside(Outside::succeeds()),
        trick(
            "sys/arg/socket-type-high-bits",
            attempt!("sys", SYS_socket, libc::AF_NETLINK, bits(HIGH | 3), NETLINK_KOBJECT_UEVENT),
        )
        .expect(NoFamily)
        .outside(Outside::succeeds()),
        trick(
            "sys/arg/socket-protocol-high-bits",
            attempt!("sys", SYS_socket, libc::AF_NETLINK, libc::SOCK_RAW, bits(HIGH | 15)),
        )
        .expect(NoFamily)
        .outside(Outside::succeeds()),
        trick(
            "sys/arg/execveat-high-bits",
            attempt!("sys", SYS_execveat, -1, "", NULL, NULL, bits(HIGH | 0x1000)),
        )
        .outside(Outside::fails([EBADF])),
        trick("sys/arg/chmod-high-bits", attempt!("sys", SYS_chmod, BAD, bits(HIGH | 0o4755)))
            .outside(Outside::fails([EFAULT])),
        trick("sys/arg/personality-high-bits", attempt!("sys", SYS_personality, bits(HIGH | 0x4_0000)))
            .outside(Outside::succeeds()),
        trick(
            "sys/arg/sched-policy-high-bits",
            attempt!("sys", SYS_sched_setscheduler, 0, bits(HIGH | 1), BAD),
        )
        .outside(Outside::fails([EFAULT])),
    ];
    if !policy.process.nested_namespaces {
        probes.push(
            trick("sys/arg/ioctl-high-bits-nsfs", ioctl(NS_GET_NSTYPE)).outside(Outside::fails([EBADF])),
        );
    }
    probes.push(
        Probe::allows("sys/arg/unix-socket-high-bits", Low)
            .serves(SYSCALLS, "SYS-5")
            .requires("what the upper half of an argument holds refuses nothing that is allowed")
            .script([attempt!("sys", SYS_socket, bits(HIGH | 1), libc::SOCK_STREAM, 0)]),
    );
    probes
}

/// Calls that give a file its mode. The workload's files outlive the sandbox, and a set-id bit acts outside.
fn set_id(policy: &Policy) -> Vec<Probe> {
    const MODE: i32 = 0o4755;
    const SET_GID: i32 = 0o2755;
    const CREATE: i32 = libc::O_CREAT | libc::O_WRONLY;
    const DEVICE: u32 = libc::S_IFCHR | 0o666;
    let rows = vec![
        row("sys/set-id/chmod", High, "chmod", args![BAD, MODE], [EFAULT]),
        row("sys/set-id/chmod-setgid", High, "chmod", args![BAD, SET_GID], [EFAULT]),
        row("sys/set-id/fchmod", High, "fchmod", args![-1, MODE], [EBADF]),
        row("sys/set-id/fchmodat", High, "fchmodat", args![AT_FDCWD, BAD, MODE], [EFAULT]),
        row("sys/set-id/fchmodat2", High, "fchmodat2", args![AT_FDCWD, BAD, MODE, 0], [EFAULT]),
        row("sys/set-id/creat", High, "creat", args![BAD, MODE], [EFAULT]),
        row("sys/set-id/open", High, "open", args![BAD, CREATE, MODE], [EFAULT]),
        row("sys/set-id/openat", High, "openat", args![AT_FDCWD, BAD, CREATE, MODE], [EFAULT]),
        row(
            "sys/set-id/openat-tmpfile",
            High,
            "openat",
            args![AT_FDCWD, BAD, libc::O_TMPFILE | libc::O_WRONLY, MODE],
            [EFAULT],
        ),
        row("sys/set-id/mkdir", Medium, "mkdir", args![BAD, SET_GID], [EFAULT]),
        row("sys/set-id/mkdirat", Medium, "mkdirat", args![AT_FDCWD, BAD, SET_GID], [EFAULT]),
        row("sys/set-id/mknod", High, "mknod", args![BAD, libc::S_IFREG | 0o4755, 0], [EFAULT]),
        row("sys/set-id/mknodat", High, "mknodat", args![AT_FDCWD, BAD, libc::S_IFREG | 0o4755, 0], [EFAULT]),
        row("sys/set-id/mknod-device", High, "mknod", args![BAD, DEVICE, 0x103], [EFAULT]),
        row("sys/set-id/mknodat-device", High, "mknodat", args![AT_FDCWD, BAD, DEVICE, 0x103], [EFAULT]),
    ];
    refused(policy, "FS-7", "no file is given a set-id bit and no device node is made", rows)
        .chain(set_id_is_about_the_bits())
        .collect()
}

/// The same calls without the bits get as far as the bad pointer.
fn set_id_is_about_the_bits() -> [Probe; 1] {
    [Probe::allows("sys/set-id/plain-mode-passes", Medium)
        .serves(SYSCALLS, "FS-7")
        .requires("modes without a set-id bit are not refused")
        .script([call("chmod", args![BAD, 0o755])])
        .expect(Expect::fails([EFAULT]))]
}

//! The kernel's other entries: `int 0x80` with the numbers of i386, and the numbers of x32.

use palisade_probe::script::Arg;

use crate::catalogue::call::args;
use crate::catalogue::prelude::*;

/// Calls by `int 0x80`: what the native entry refuses must not be open here. The numbers are those of
/// arch/x86/entry/syscalls/syscall_32.tbl; operands are cut to 32 bits.
pub(super) fn i386() -> Vec<Probe> {
    let sentinel = |errors: &[nix::errno::Errno]| Outside::fails(errors.iter().copied());
    let rows: Vec<(&str, i32, Vec<Arg>, Outside)> = vec![
        ("sys/abi/i386-getpid", 20, args![], Outside::succeeds()),
        ("sys/abi/i386-mount", 21, args![BAD, BAD, BAD, 0, BAD], sentinel(&[EFAULT])),
        ("sys/abi/i386-umount2", 52, args![BAD, 0], sentinel(&[EFAULT])),
        ("sys/abi/i386-chroot", 61, args![BAD], sentinel(&[EFAULT])),
        // PTRACE_SEIZE of a process that does not exist.
        ("sys/abi/i386-ptrace", 26, args![0x4206, 0x7fff_fffe, 0, 0], sentinel(&[ESRCH])),
        // SHMGET, call 23 of the multiplexer, for a key that nobody has.
        ("sys/abi/i386-ipc-mux", 117, args![23, 0x0bad_0bad, 0, 0, 0], sentinel(&[ENOENT])),
        ("sys/abi/i386-unshare-newuser", 310, args![libc::CLONE_NEWUSER], Outside::succeeds()),
        ("sys/abi/i386-setns", 346, args![-1, 0], sentinel(&[EBADF])),
        ("sys/abi/i386-keyctl", 288, args![9999], sentinel(&[EOPNOTSUPP])),
        ("sys/abi/i386-bpf", 357, args![0, BAD, 72], sentinel(&[EFAULT])),
        ("sys/abi/i386-perf-event", 336, args![BAD, 0, 0, -1, 0], sentinel(&[EFAULT])),
        ("sys/abi/i386-io-uring", 425, args![1, BAD], sentinel(&[EFAULT])),
        ("sys/abi/i386-userfaultfd", 374, args![1], Outside::succeeds()),
        ("sys/abi/i386-clone3", 435, args![BAD, 88], sentinel(&[EFAULT])),
        ("sys/abi/i386-process-vm-readv", 347, args![0, 0, 0, 0, 0, 1], sentinel(&[EINVAL])),
        ("sys/abi/i386-name-to-handle", 341, args![-1, BAD, BAD, BAD, 0], sentinel(&[EFAULT, EBADF])),
        ("sys/abi/i386-stime", 25, args![BAD], sentinel(&[EFAULT])),
    ];
    let mut probes: Vec<Probe> = rows
        .into_iter()
        .map(|(id, number, args, outside)| {
            let start = palisade_probe::script::Statement::attempt("sys32").arg(number);
            foreign(id, args.into_iter().fold(start, palisade_probe::script::Statement::arg))
                .operation(format!("i386 system call {number} by int 0x80"))
                .needs(Need::Ia32)
                .outside(outside)
        })
        .collect();
    let families = [
        ("sys/abi/i386-socketcall-inet", libc::AF_INET, libc::SOCK_STREAM, 0),
        ("sys/abi/i386-socketcall-alg", libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
        ("sys/abi/i386-socketcall-packet", libc::AF_PACKET, libc::SOCK_RAW, 0),
        ("sys/abi/i386-socketcall-netlink", libc::AF_NETLINK, libc::SOCK_RAW, 15),
        ("sys/abi/i386-socketcall-vsock", libc::AF_VSOCK, libc::SOCK_STREAM, 0),
    ];
    probes.extend(families.into_iter().map(|(id, family, kind, protocol)| {
        foreign(id, attempt!("i386_socketcall", family, kind, protocol))
            .operation(format!("i386 socketcall(SYS_SOCKET) of family {family}"))
            .needs(Need::Ia32)
            .expect(NoFamily)
            .outside(Outside::succeeds())
    }));
    probes
}

/// Calls with bit 30 in their number, which reach the x32 table where the kernel has one.
pub(super) fn x32() -> impl Iterator<Item = Probe> {
    const X32: i64 = 0x4000_0000;
    // x32's clone would fork a process that goes on with the script: a combination of flags that it refuses.
    let contradiction = libc::CLONE_NEWUSER | libc::CLONE_FS;
    let rows = [
        ("sys/abi/x32-getpid", SYS_getpid, args![], Outside::succeeds()),
        ("sys/abi/x32-clone", SYS_clone, args![contradiction, 0, 0, 0, 0], Outside::fails([EINVAL])),
        ("sys/abi/x32-socket", SYS_socket, args![libc::AF_NETLINK, libc::SOCK_RAW, 15], Outside::succeeds()),
        ("sys/abi/x32-mount", SYS_mount, args![BAD, BAD, BAD, 0, BAD], Outside::fails([EFAULT])),
    ];
    rows.into_iter().map(|(id, number, args, outside)| {
        let start = palisade_probe::script::Statement::attempt("sys").arg(X32 + number);
        foreign(id, args.into_iter().fold(start, palisade_probe::script::Statement::arg))
            .operation(format!("x32 system call {number}"))
            .needs(Need::X32)
            .outside(outside)
    })
}

fn foreign(id: &str, statement: palisade_probe::script::Statement) -> Probe {
    Probe::denies(id, High)
        .serves("process.syscalls", "SYS-4")
        .requires("another entry of the kernel opens nothing that the native one closes")
        .script([statement])
}

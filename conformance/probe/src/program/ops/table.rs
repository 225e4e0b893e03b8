//! The one list of operations. The program makes its dispatch from it, the library its documentation.
//!
//! A block per file of `ops/`, named like the file. `[X]` is optional, `X...` is one or more. An operation
//! without a function of its name does not compile; a file without a block fails a test.
//!
//! `ret` is the result of the observation, `data` its text. An operation that fails reports the kernel's
//! error unless its line says otherwise.

macro_rules! operations {
    ($then:ident) => {
        $then! {
            sys {
                /// One system call with the numbers of x86-64 (with 0x40000000 added: x32). Not for
                /// fork and its kin: the child would go on with the script.
                /// data: the contents of all `#N` buffers, if the call succeeded.
                sys("NR [A0] [A1] [A2] [A3] [A4] [A5]");
                /// One system call by int 0x80 with the numbers of i386; operands are cut to 32 bits. Raises
                /// SIGSEGV where the kernel has no 32-bit entry.
                sys32("NR [A0] [A1] [A2] [A3] [A4] [A5]");
                /// socketcall(SYS_SOCKET) of i386: one number that hides the family. ret: descriptor.
                i386_socketcall("FAMILY TYPE PROTOCOL");
            }
            files {
                /// Opens and reads at most MAX bytes (default 2048). ret: bytes read; data: content.
                read_file("PATH [MAX]");
                /// Opens with O_WRONLY|O_CREAT|O_TRUNC, mode 0644, and writes. ret: bytes written.
                write_file("PATH TEXT");
                /// Opens with O_WRONLY|O_APPEND and writes. ret: bytes written.
                append("PATH TEXT");
                /// Creates with O_CREAT|O_EXCL, mode 0644, an empty file. ret: 0.
                create_excl("PATH");
                /// openat(AT_FDCWD). ret: descriptor, which stays open.
                open("PATH FLAGS [MODE]");
                /// Lists a directory without . and .. ; ret: number of names; data: names, one a line.
                list_dir("PATH");
                /// stat; with `nofollow` of the link itself. ret: st_mode;
                /// data: uid gid mode(octal, no type) size links.
                stat_mode("PATH [nofollow]");
                /// statfs. ret: f_flags (ST_RDONLY 1, ST_NOSUID 2, ST_NODEV 4, ST_NOEXEC 8);
                /// data: type=0x flags=0x bytes= files=.
                statfs("PATH");
                /// readlink. ret: length; data: target.
                readlink("PATH");
            }
        }
    };
}

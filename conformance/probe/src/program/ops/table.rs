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
                /// Reads a symbolic link. ret: length; data: target.
                readlink("PATH");
                /// Creates an empty file (O_EXCL) and sets its mode (default 04755). ret: mode bits afterwards;
                /// data on error: the step (create, chmod, stat).
                suid_bits("PATH [MODE]");
            }
            links {
                /// Links LINK to TARGET, KIND hard or sym, then opens LINK and reads. ret: bytes read;
                /// data: content; data on error: the step (link, open).
                link_and_read("KIND TARGET LINK");
                /// Renames OLD to NEW. ret: 0.
                rename("OLD NEW");
                /// Removes a name by unlink. ret: 0.
                unlink("PATH");
                /// A child swaps the symbolic link LINK between ALLOWED and FORBIDDEN without pause, while
                /// READ_PATH (which leads through LINK) is opened and read COUNT times. ret: how often it held
                /// something else than at first; data: `opened=N other=M`, then the last such content.
                symlink_race("LINK ALLOWED FORBIDDEN READ_PATH COUNT");
            }
            proc {
                /// One line of /proc/PID/status; PID may be `self` or `thread-self`. ret: its first number (masks
                /// are hexadecimal); data: its value. ENODATA where there is no such line.
                status_field("PID FIELD");
                /// The same line of every thread of every process in /proc. ret: number of threads; data:
                /// the distinct values, joined by commas; a thread that cannot be read counts as `errno=N`, one
                /// without the line as `missing`.
                status_all("FIELD");
                /// ret: number of processes in /proc; data: their pids, joined by commas.
                list_pids("");
                /// Searches all arguments in /proc, but for processes that carry the nonce. ret: a pid, or 0.
                find_pid_by_cmdline("TEXT");
                /// Opens FILE (`environ`, `root`, `fd`, ...) of every process in /proc but this one and its parent; meant
                /// for attempts, whose parent is the probe itself; and but for those with EXCEPT in their
                /// arguments. ret: how many could be opened; data: their pids, joined by commas.
                open_others("FILE [EXCEPT]");
                /// Searches a whole file of any length. ret: 1 found, 0 not.
                find_in_file("PATH TEXT");
                /// Searches the arguments of the first process, /proc/1/cmdline. ret: 1 found, 0 not; 0 too where they
                /// are this process's own: then the probe is the first process, and shows what was asked for.
                find_in_first("TEXT");
                /// The link /proc/PID/ns/NAME (PID default self). ret: inode number; data: `NAME:[inode]`.
                ns_inode("NAME [PID]");
                /// FILE of every process in /proc, KIND `file` or `link`. ret: number of distinct contents, an error being
                /// one too, but for that of a first process that may not be looked at; data: what the first one
                /// that could be read begins with.
                distinct("KIND FILE");
                /// ret: 1 if /proc/self is the pid that getpid returns, else 0; data: the link.
                self_pid_matches_proc("");
            }
            mountinfo {
                /// Mounts whose per-mount options lack FLAG (`ro`, `nosuid`, `nodev`, `noexec`), without the points
                /// named in EXEMPT. ret: their number; data: their points, one a line.
                mountinfo_missing("FLAG [EXEMPT...]");
                /// Mounts with an optional field that begins with TAG (`shared:`, `master:`). ret: their
                /// number; data: their points, one a line.
                mountinfo_optional("TAG");
                /// All mounts. ret: their number; data: their points, one a line.
                mountinfo_points("");
                /// One field of the last mount at POINT: id, parent, device, root, options, optional, type, source
                /// or super. ret: number of mounts there; data: the field. ENOENT where there is none.
                mountinfo_field("POINT FIELD");
            }
            descriptors {
                /// ret: number of open descriptors but 0, 1, 2; data: `n->target`, one a line (`?` where the
                /// target cannot be read). Without /proc/self/fd it tries all numbers below 4096.
                scan_fds("");
                /// ret: number of open descriptors, 0 to 2 too, that are directories; data: their numbers.
                fd_dirs("");
                /// getcwd. ret: length; data: path.
                cwd("");
            }
            environment {
                /// The environment at start; with `names` the names alone. ret: number of entries; data: one a line.
                environ("[names]");
                /// ret: 1 if the environment has NAME, else 0; data: its value.
                env_has("NAME");
                /// Searches names and values. ret: 1 found, 0 not; data: the names of the entries that hold it.
                find_in_environ("TEXT");
            }
            tcp {
                /// Connects to ADDR (v4 dotted, v6) and PORT, sends TEXT (`nonce`: the nonce and a newline) and waits
                /// for an answer. ret: 0 connected, whatever came after; data: the answer. ETIMEDOUT when the
                /// connection is not made in time. Every operation that addresses anything but loopback runs
                /// the guard first: errno 9997, data `guard: REASON`.
                tcp("ADDR PORT TEXT TIMEOUT_MS");
                /// As tcp, but ret is 0 only where an answer came: ECONNRESET where the connection was ended first, EPROTO
                /// where it was closed, ETIMEDOUT where there was silence.
                tcp_talk("ADDR PORT TEXT TIMEOUT_MS");
                /// As tcp_talk, to the first address that the first server of /etc/resolv.conf has for NAME; TYPE 1 is
                /// A, 28 AAAA. ENOENT where it has none.
                tcp_name("NAME PORT TEXT TIMEOUT_MS [TYPE]");
                /// As tcp, by sendto(MSG_FASTOPEN) instead of connect.
                tcp_fastopen("ADDR PORT TEXT TIMEOUT_MS");
                /// As tcp, with IPPROTO_MPTCP.
                mptcp("ADDR PORT TEXT TIMEOUT_MS");
                /// Listens, connects, accepts and talks within the process, on 127.0.0.1 or (`v6`) ::1.
                /// ret: 0; data on error: the step.
                loopback_tcp("[v6]");
            }
            udp {
                /// Sends TEXT from a connected socket and waits for an answer. ret: its length; data: the answer.
                /// ETIMEDOUT when there is none: the datagram was sent all the same.
                udp("ADDR PORT TEXT TIMEOUT_MS");
                /// As udp, with IPPROTO_UDPLITE.
                udplite("ADDR PORT TEXT TIMEOUT_MS");
                /// Asks SERVER (an address, or `resolv.conf` for the first one there) for NAME; TYPE 1 is A, 28
                /// AAAA, 16 TXT. ret: number of answers; data: `rcode=N answers=M`.
                dns_query("SERVER NAME TIMEOUT_MS [TYPE] [PORT]");
            }
            routes {
                /// Dumps of RTM_GETLINK and RTM_GETADDR. ret: number of links; data: `NAME,NAME addresses=N`; data
                /// on error: the dump.
                getifaddrs("");
                /// RTM_GETROUTE, all families and tables. ret: number of unicast and local routes that use a link
                /// other than lo; data: one a line.
                route_count("");
            }
            unix {
                /// Connects to a path, or (`%00name`) an abstract name; TYPE stream, dgram or seqpacket; sends TEXT
                /// (`nonce`: the nonce and a newline), waits (default 500 ms). ret: 0 connected and sent;
                /// data: the answer; data on error: the step (socket, connect, send).
                unix_connect("NAME TYPE TEXT [TIMEOUT_MS]");
                /// Hands a descriptor over a socket pair and reads through it. ret: 0; data on error: the step.
                socketpair_pass("");
            }
            process {
                /// kill(PID, SIG) as given. ret: 0.
                kill_check("PID SIG");
                /// Forks, the child exits with CODE. ret: the exit code.
                fork_exit("[CODE]");
                /// clone(FLAGS|SIGCHLD) without a new stack; the child exits at once. Not with CLONE_VM. ret: 0.
                clone_flags("FLAGS");
                /// As clone_flags, by clone3. ret: 0.
                clone3_flags("FLAGS");
                /// unshare in a child of its own, so that this process stays where it is. ret: 0.
                unshare_flags("FLAGS");
                /// Makes a thread as glibc does: clone3, and clone where that is ENOSYS. ret: 0 when it ran;
                /// data: the call that made it, or that failed.
                thread_spawn("");
                /// Leaves an orphan in a session of its own that appends a dot to PATH every 100 ms for SECONDS (default
                /// and most 20). It closes all descriptors, unless `keep`. ret: its pid.
                double_fork_setsid("PATH [SECONDS] [keep]");
            }
            exhaustion {
                /// Forks children that wait, until it fails or there are COUNT (at most 1024); then ends them. With
                /// `zombies` they end at once, and are waited for at the end only.
                /// ret: how many there were; data: `errno=N` of the failure.
                fork_many("COUNT [zombies]");
                /// Makes threads that wait, in a child of its own, until it fails or there are COUNT (at most 1024).
                /// ret: how many there were; data: `errno=N` of the failure.
                thread_many("COUNT");
                /// Maps BYTES (at most 1 GiB) without a file, `private` or `shared`, writes to every page, and unmaps them.
                /// ret: BYTES.
                touch("BYTES KIND");
                /// Has CHILDREN (at most 64) write to every page of BYTES each, and hold them until all are done.
                /// ret: how many of them are alive then.
                touch_many("CHILDREN BYTES");
                /// Uses MILLISECONDS (at most 10000) of processor time in each of PROCESSES (default 1, at most 64), by
                /// computing. ret: how many of them came to the end.
                burn("MILLISECONDS [PROCESSES]");
                /// Has PROCESSES (at most 64) compute for MILLISECONDS (at most 5000) by the clock on the wall. ret: the
                /// processor time that all of them got, in thousandths of that of one processor.
                burn_share("MILLISECONDS PROCESSES");
                /// Duplicates descriptor 0 until it fails or there are COUNT (below 65536) more; then closes them. With NUMBER
                /// calls that one with two zeros instead, which must make a descriptor.
                /// ret: how many there were; data: `errno=N` of the failure.
                dup_many("COUNT [NUMBER]");
                /// Creates files in DIR until it fails or there are COUNT (at most 262144); then removes them.
                /// ret: how many there were; data: `errno=N` of the failure.
                create_many("DIR COUNT");
            }
            trace {
                /// PTRACE_ATTACH to a child that waits, and PTRACE_DETACH. ret: 0; data on error: the step.
                ptrace_sibling("");
                /// PTRACE_SEIZE of a child that waits. ret: 0.
                ptrace_seize_sibling("");
                /// PTRACE_TRACEME in a child of its own. ret: 0.
                ptrace_traceme("");
                /// process_vm_readv from a child that waits. ret: bytes; data: the nonce, as the child holds it.
                vm_readv_sibling("");
                /// process_vm_writev to a child that waits. ret: bytes.
                vm_writev_sibling("");
                /// Reads /proc/PID/mem of a child that waits. ret: bytes; data: the nonce; data on error: the step.
                proc_mem_sibling("");
                /// pidfd_open and pidfd_getfd of a child that waits. ret: 0; data on error: the step.
                pidfd_getfd_sibling("");
            }
            exec {
                /// Forks and executes PATH with the probe's environment and at most 8 arguments. ret: exit code, or 128 and the signal;
                /// data: what it printed; data on error: the step (exec: the error is that of execve).
                exec("PATH [ARG...]");
                /// As exec, but anything else than exit code 0 is EPROTO, with what it printed as data: a command as a
                /// control. ret: 0.
                exec_ok("PATH [ARG...]");
                /// Writes the probe's image to a memfd and executes that. ret: 0; data on error: the step
                /// (memfd_create, image, exec).
                memfd_exec("");
                /// Executes an open file (default the probe itself) by execveat with an empty path. ret: as exec.
                execveat_empty("[PATH]");
                /// Creates PATH (O_EXCL) with the probe's image and executes it. ret: 0; data on error: the
                /// step (create, image, exec).
                copy_exec("PATH");
            }
            terminal {
                /// Opens /dev/ptmx and its other end, talks through it, resizes it. ret: its number; data: its path;
                /// data on error: the step.
                openpty("");
                /// TIOCSTI on a new pty that is the controlling terminal of a child; HIGH goes to the upper 32
                /// bits of the request. ret: 0; data on error: the step (TIOCSTI, or one before it).
                tiocsti_own_pty("[HIGH]");
            }
            system {
                /// FIELD sysname, nodename, release, version, machine or domainname. ret: length; data: text.
                uname("FIELD");
                /// prlimit64 of this process. ret: the soft limit (i64::MAX for unlimited); data: `SOFT HARD`.
                getrlimit("RESOURCE");
                /// Clock A minus clock B (0 real, 1 monotonic, 7 boot). ret: milliseconds; data: both in
                /// nanoseconds.
                clock_delta("A B");
                /// Sleeps, at most 5000 ms. ret: the time asked for.
                sleep_ms("MILLISECONDS");
                /// Writes TEXT to descriptor 1, between the lines of the transcript. ret: bytes written.
                print("TEXT");
                /// Ends this process: the attempts, or (in set-up and control) the whole run.
                exit("CODE");
                /// Sends SIG to this process.
                raise("SIG");
            }
            uring {
                /// io_uring_setup with valid parameters. ret: descriptor.
                io_uring_setup("[ENTRIES] [FLAGS]");
                /// Opens PATH through a ring. ret: descriptor; data on error: the step, or nothing where the
                /// opening itself failed.
                uring_openat("PATH [FLAGS]");
                /// Makes a socket through a ring. ret: descriptor; data as uring_openat.
                uring_socket("FAMILY TYPE [PROTOCOL]");
                /// Connects through a ring and sends the nonce. ret: 0; data as uring_openat. Guarded.
                uring_connect("ADDR PORT");
            }
        }
    };
}

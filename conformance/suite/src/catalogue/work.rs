//! Ordinary work that a sandbox must not get in the way of: the over-block checks.

use std::path::Path;

use palisade_policy::{NetworkMode, Policy};
use palisade_probe::script::Statement;

use super::prelude::*;
use crate::lab::World;

const MONOTONIC: i32 = libc::CLOCK_MONOTONIC;
const ANONYMOUS: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;

/// Entries of the group `work`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let mut probes = files(world, policy);
    probes.extend(devices());
    probes.extend(processes());
    probes.extend(kernel_objects());
    probes.extend(programs(world));
    // The one makes its program in /tmp, the other is in the working directory.
    probes.retain(|probe| probe.id != "work/compiler" || may_execute(world, policy, "/tmp".as_ref()));
    probes.retain(|probe| probe.id != "work/script" || may_execute(world, policy, &world.work.dir));
    if policy.network.mode == NetworkMode::None {
        probes.push(names_fail_promptly());
    }
    probes
}

fn works(
    name: &str,
    clause: &'static str,
    spec: &'static str,
    requirement: &str,
    script: Vec<Statement>,
) -> Probe {
    Probe::allows(format!("work/{name}"), Medium).serves(clause, spec).requires(requirement).script(script)
}

fn files(world: &World, policy: &Policy) -> Vec<Probe> {
    let tmp = |name: &str, requirement: &str, script: Vec<Statement>| {
        works(name, "filesystem.tmp", "WRK-1", requirement, script)
    };
    let mut probes = vec![
        tmp(
            "tmp-writable",
            "a file can be created in /tmp",
            vec![
                attempt!("unlink", "/tmp/palisade-new-file"),
                attempt!("create_excl", "/tmp/palisade-new-file"),
            ],
        ),
        tmp(
            "tmp-read-back",
            "what was written to /tmp can be read back",
            vec![
                setup!("write_file", "/tmp/palisade-text", "text"),
                attempt!("read_file", "/tmp/palisade-text"),
            ],
        )
        .expect(Expect::data_is("text")),
        tmp(
            "dev-shm-read-back",
            "what was written to /dev/shm can be read back",
            vec![
                setup!("write_file", "/dev/shm/palisade-text", "text"),
                attempt!("read_file", "/dev/shm/palisade-text"),
            ],
        )
        .expect(Expect::data_is("text")),
        tmp(
            "var-tmp",
            "a file can be created in /var/tmp",
            vec![attempt!("write_file", "/var/tmp/palisade-text", "x")],
        ),
        tmp(
            "tmp-unlink",
            "a file in /tmp can be renamed and removed",
            vec![
                setup!("write_file", "/tmp/palisade-old", "x"),
                attempt!("rename", "/tmp/palisade-old", "/tmp/palisade-renamed"),
                attempt!("unlink", "/tmp/palisade-renamed"),
            ],
        ),
        tmp(
            "tmp-chmod",
            "the mode of a file in /tmp can be set",
            vec![
                setup!("write_file", "/tmp/palisade-mode", "x"),
                attempt!("sys", SYS_chmod, "/tmp/palisade-mode", 0o700),
            ],
        ),
        tmp(
            "unix-socket",
            "a socket can be made in /tmp",
            vec![
                setup!("sys", SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0),
                attempt!("unlink", "/tmp/palisade-socket"),
                attempt!("sys", SYS_bind, result(0), bytes(b"\x01\0/tmp/palisade-socket\0"), 24),
            ],
        ),
        tmp(
            "fifo",
            "a named pipe can be made in /tmp",
            vec![
                attempt!("unlink", "/tmp/palisade-fifo"),
                attempt!("sys", SYS_mknod, "/tmp/palisade-fifo", libc::S_IFIFO | 0o600, 0),
            ],
        ),
        works(
            "symlink",
            "filesystem",
            "WRK-1",
            "a relative link in the working directory is followed",
            vec![attempt!("read_file", "palisade-link")],
        )
        .plant_entry(Planted::Symlink("palisade-link".into(), "allowed.txt".into()))
        .expect(Expect::data_contains(&world.work.allowed_marker)),
        works(
            "symlink-up",
            "filesystem",
            "WRK-1",
            "a link to a file above it is followed",
            vec![attempt!("read_file", "palisade-directory/link")],
        )
        .plant_entry(Planted::Symlink("palisade-directory/link".into(), "../nested/allowed.txt".into()))
        .expect(Expect::data_contains(&world.work.allowed_marker)),
        works(
            "working-directory",
            "filesystem",
            "WRK-1",
            "the run starts in the directory that it was started from",
            vec![attempt!("cwd")],
        )
        .expect(Expect::data_is(world.work.dir.as_os_str().as_encoded_bytes())),
        works(
            "etc-passwd",
            "filesystem.base",
            "WRK-1",
            "the workload's user has a name",
            vec![attempt!("read_file", "/etc/passwd")],
        )
        .expect(Expect::data_contains(":x:")),
        works(
            "etc-hosts",
            "filesystem.base",
            "WRK-1",
            "localhost has an address",
            vec![attempt!("read_file", "/etc/hosts")],
        )
        .expect(Expect::data_contains("localhost")),
    ];
    if may_execute(world, policy, "/tmp".as_ref()) {
        probes.push(tmp(
            "tmp-execute",
            "a program that was written to /tmp can be executed",
            vec![
                attempt!("unlink", "/tmp/palisade-own-program"),
                attempt!("copy_exec", "/tmp/palisade-own-program"),
            ],
        ));
    }
    probes
}

/// Whether the policy leaves what is written at `path` executable.
fn may_execute(world: &World, policy: &Policy, path: &Path) -> bool {
    policy.filesystem.resolve(&world.work.dir).is_ok_and(|rules| rules.may_execute(path))
}

fn devices() -> Vec<Probe> {
    let device = |name: &str, requirement: &str, script: Vec<Statement>| {
        works(&format!("dev-{name}"), "filesystem.base", "WRK-4", requirement, script)
    };
    vec![
        device("null", "/dev/null takes what is written", vec![attempt!("append", "/dev/null", "x")]),
        device("null-empty", "/dev/null is empty", vec![attempt!("read_file", "/dev/null")])
            .expect(Returns(0)),
        device("zero", "/dev/zero gives zeros", vec![attempt!("read_file", "/dev/zero", 4)])
            .expect(Expect::data_is("\0\0\0\0")),
        device("random", "/dev/random gives bytes", vec![attempt!("read_file", "/dev/random", 16)])
            .expect(Returns(16)),
        device("urandom", "/dev/urandom gives bytes", vec![attempt!("read_file", "/dev/urandom", 16)])
            .expect(Returns(16)),
        device(
            "full",
            "/dev/full is full",
            vec![
                attempt!("open", "/dev/full", O_WRONLY),
                attempt!("sys", SYS_write, result(0), bytes("x"), 1),
            ],
        )
        .expect(Expect::fails([ENOSPC])),
        device(
            "stdout",
            "/dev/stdout and /dev/fd lead to the standard descriptors",
            vec![attempt!("open", "/dev/fd/1", O_PATH), attempt!("open", "/dev/stdout", O_PATH)],
        ),
        device("ptmx", "a terminal can be made through /dev/ptmx", vec![attempt!("openpty")]),
    ]
}

fn processes() -> Vec<Probe> {
    let work = |name: &str, requirement: &str, script: Vec<Statement>| {
        works(name, "process.syscalls", "WRK-3", requirement, script)
    };
    vec![
        work(
            "threads",
            "threads can be made, by clone where clone3 is not there",
            vec![attempt!("thread_spawn")],
        ),
        work("fork", "child processes can be made and waited for", vec![attempt!("fork_exit", 7)])
            .expect(Returns(7)),
        work(
            "execute",
            "a program of the base can be executed",
            vec![attempt!("exec", "/bin/sh", "-c", "exit 3")],
        )
        .expect(Returns(3)),
        work("setsid", "a process can start a session", vec![attempt!("sys", SYS_setsid)]),
        work("signal-own", "a process can signal itself", vec![attempt!("kill_check", 0, 0)]),
        work("signal-delivered", "a signal is delivered", vec![attempt!("raise", 10)])
            .expect(Killed(nix::sys::signal::Signal::SIGUSR1)),
        work(
            "priority-lower",
            "a process can lower its priority",
            vec![attempt!("sys", SYS_setpriority, 0, 0, 19)],
        ),
        work(
            "affinity",
            "a process can ask for its processors",
            vec![attempt!("sys", libc::SYS_sched_getaffinity, 0, 128, buffer(128))],
        ),
        work(
            "name",
            "a process can name itself",
            vec![attempt!("sys", SYS_prctl, libc::PR_SET_NAME, "palisade")],
        ),
        work(
            "limits-lower",
            "a process can lower its limits",
            vec![attempt!(
                "sys",
                SYS_prlimit64,
                0,
                libc::RLIMIT_NOFILE,
                bytes([64, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0]),
                NULL
            )],
        ),
        work(
            "memory-executable",
            "memory can be mapped, and made executable for a compiler at run time",
            vec![
                attempt!("sys", SYS_mmap, 0, 8192, libc::PROT_READ | libc::PROT_WRITE, ANONYMOUS, -1, 0),
                attempt!("sys", libc::SYS_mprotect, result(0), 4096, libc::PROT_READ | libc::PROT_EXEC),
            ],
        ),
    ]
}

fn kernel_objects() -> Vec<Probe> {
    let work = |name: &str, requirement: &str, script: Vec<Statement>| {
        works(name, "process.syscalls", "WRK-3", requirement, script)
    };
    vec![
        work(
            "socketpair",
            "a descriptor can be handed over a socket pair",
            vec![attempt!("socketpair_pass")],
        ),
        work(
            "loopback-tcp",
            "the sandbox's own loopback carries TCP over IPv4",
            vec![attempt!("loopback_tcp")],
        ),
        work(
            "loopback-tcp-v6",
            "the sandbox's own loopback carries TCP over IPv6",
            vec![attempt!("loopback_tcp", "v6")],
        )
        .needs(Need::Ipv6),
        work("interfaces", "interfaces and addresses can be listed", vec![attempt!("getifaddrs")])
            .expect(DataPasses("a list with lo", |text| text.starts_with(b"lo"))),
        work("pipe", "pipes can be made", vec![attempt!("sys", SYS_pipe2, buffer(8), 0)]),
        work("eventfd", "eventfd works", vec![attempt!("sys", libc::SYS_eventfd2, 0, 0)]),
        work(
            "epoll",
            "epoll works",
            vec![
                attempt!("sys", libc::SYS_epoll_create1, 0),
                attempt!("sys", libc::SYS_eventfd2, 0, 0),
                attempt!(
                    "sys",
                    libc::SYS_epoll_ctl,
                    result(0),
                    libc::EPOLL_CTL_ADD,
                    result(1),
                    bytes([1; 12])
                ),
            ],
        ),
        work(
            "signalfd",
            "signalfd works",
            vec![attempt!("sys", libc::SYS_signalfd4, -1, bytes([0; 8]), 8, 0)],
        ),
        work(
            "timerfd",
            "timerfd works",
            vec![
                attempt!("sys", SYS_timerfd_create, MONOTONIC, 0),
                attempt!("sys", libc::SYS_timerfd_settime, result(0), 0, bytes(timer()), NULL),
                attempt!("sys", SYS_read, result(0), buffer(8), 8),
            ],
        )
        .expect(Returns(8)),
        work(
            "posix-timer",
            "POSIX timers work",
            vec![attempt!("sys", SYS_timer_create, MONOTONIC, NULL, buffer(8))],
        ),
        work("sleep", "sleeping works", vec![attempt!("sleep_ms", 20)]),
        work("clock", "clocks can be read", vec![attempt!("clock_delta", 0, 1)]),
        work(
            "inotify",
            "changes of one's own files can be watched",
            vec![
                attempt!("sys", SYS_inotify_init1, 0),
                attempt!("sys", SYS_inotify_add_watch, result(0), "/tmp", 0x100),
            ],
        ),
        work(
            "memfd",
            "files without a name can be made and sized",
            vec![
                attempt!("sys", SYS_memfd_create, "palisade", 1),
                attempt!("sys", SYS_ftruncate, result(0), 65_536),
            ],
        ),
        work(
            "flock",
            "files can be locked",
            vec![
                setup!("open", "/tmp/palisade-lock", O_RDWR | O_CREAT, 0o600),
                attempt!("sys", libc::SYS_flock, result(0), libc::LOCK_EX),
            ],
        ),
        work(
            "getrandom",
            "random bytes can be had",
            vec![attempt!("sys", libc::SYS_getrandom, buffer(16), 16, 0)],
        )
        .expect(Returns(16)),
        work("futex", "futexes work", vec![attempt!("sys", libc::SYS_futex, buffer(16), 1, 1)])
            .expect(Returns(0)),
        work(
            "sysv-shm",
            "shared memory of one's own can be made",
            vec![attempt!("sys", SYS_shmget, 0, 4096, 0o600)],
        ),
        work(
            "statx",
            "statx works",
            vec![attempt!("sys", SYS_statx, AT_FDCWD, "allowed.txt", 0, 0xfff, buffer(256))],
        ),
    ]
}

/// Once, after 5 ms: `struct itimerspec`.
fn timer() -> Vec<u8> {
    [0_u64, 0, 0, 5_000_000].into_iter().flat_map(u64::to_ne_bytes).collect()
}

fn programs(world: &World) -> Vec<Probe> {
    let marker = format!("{}\n", world.work.allowed_marker);
    let program = |name: &str, requirement: &str, argv: &[&str], prints: &str| {
        Probe::allows(format!("work/{name}"), Medium)
            .serves("process.syscalls", "WRK-2")
            .requires(requirement)
            .command(argv.iter().copied())
            .expect(Expect::data_is(prints))
    };
    let threads = "import threading; r = []; t = threading.Thread(target=lambda: r.append(6 * 7)); t.start(); t.join(); print(r[0])";
    let processes = "import subprocess; print(subprocess.run(['/bin/echo', '42'], capture_output=True, text=True).stdout.strip())";
    let files = "import tempfile; f = tempfile.NamedTemporaryFile(); f.write(b'42'); f.flush(); print(open(f.name).read())";
    let shell = "set -e; cd /tmp; echo 40 > palisade-n; n=$(cat palisade-n); rm palisade-n; echo $((n + 2)) | sed s/^/x/ | tr -d x";
    let compile = "set -e; d=$(mktemp -d); cd $d; printf '#include <stdio.h>\\nint main(void){printf(\"%%d\\\\n\",6*7);return 0;}' > a.c; cc a.c -o a; ./a; rm -r $d";
    vec![
        program("script", "a script in the working directory runs", &["./run.sh"], &marker),
        program("shell", "a shell with pipes and redirections runs", &["/bin/sh", "-c", shell], "42\n"),
        program(
            "python",
            "the interpreters that the host has under /usr run",
            &["/usr/bin/python3", "-c", "print(6 * 7)"],
            "42\n",
        )
        .needs(Need::Command("python3")),
        program(
            "python-threads",
            "threads of an interpreter run",
            &["/usr/bin/python3", "-c", threads],
            "42\n",
        )
        .needs(Need::Command("python3")),
        program(
            "python-processes",
            "an interpreter starts programs",
            &["/usr/bin/python3", "-c", processes],
            "42\n",
        )
        .needs(Need::Command("python3")),
        program(
            "python-files",
            "an interpreter makes temporary files",
            &["/usr/bin/python3", "-c", files],
            "42\n",
        )
        .needs(Need::Command("python3")),
        program(
            "perl",
            "the interpreters that the host has under /usr run",
            &["/usr/bin/perl", "-e", "print 6 * 7, \"\\n\""],
            "42\n",
        )
        .needs(Need::Command("perl")),
        program(
            "bash",
            "the shells that the host has under /usr run",
            &["/usr/bin/bash", "-c", "cat <(echo 42)"],
            "42\n",
        )
        .needs(Need::Command("bash")),
        program("compiler", "a compiler makes a program that runs", &["/bin/sh", "-c", compile], "42\n")
            .needs(Need::Command("cc")),
        program("git", "version control runs", &["/usr/bin/git", "-c", "alias.x=!echo 42", "x"], "42\n")
            .needs(Need::Command("git")),
    ]
}

/// No resolver answers: a program must learn that at once.
fn names_fail_promptly() -> Probe {
    Probe::denies("work/names-fail-promptly", Low)
        .serves("network.mode", "NET-7")
        .requires("a name is not resolved, and the refusal is prompt")
        .operation("ask the first name server of /etc/resolv.conf")
        .script([control!("loopback_tcp"), attempt!("dns_query", "resolv.conf", "allowed.test", 3000)])
        .expect(Unreachable)
        .outside(Outside::succeeds())
}

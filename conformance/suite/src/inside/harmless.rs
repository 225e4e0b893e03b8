//! What may be tried where no lab stands around: statements that cannot act, whoever runs them and whatever permits them.
//!
//! A list of what is known to stop, never of what is known to act. It knows nothing of the table of attempts, which is checked against it
//! in a test, and again before each statement is run.

use palisade_policy::syscalls;
use palisade_probe::script::{Arg, Piece, Statement};

/// Why a system call cannot act.
#[derive(Clone, Copy)]
enum Stops {
    /// The kernel copies what this operand points to before it does anything; the pointer must be `bad`.
    Pointer(usize),
    /// This operand is a descriptor or a process; it must be -1, which is none.
    Nobody(usize),
    /// This operand holds flags; all of them must be set, which no version knows.
    Flags(usize),
    /// It only reads, with this first operand.
    Reads(i64),
    /// It makes a socket, which is connected to nothing and ends with the process: of a family that the kernel has already, since
    /// asking for another one can load a module, and that would stay.
    Socket,
    /// It has no effect with any operand.
    Always,
}

/// Where the kernel stops, by the functions of its source that read the operand.
const CALLS: &[(&str, Stops)] = &[
    // strndup_user of the type, fs/namespace.c
    ("mount", Stops::Pointer(2)),
    // user_path_at, fs/namespace.c
    ("umount2", Stops::Pointer(0)),
    ("pivot_root", Stops::Pointer(0)),
    ("open_tree", Stops::Pointer(1)),
    // strndup_user of the name, fs/fsopen.c
    ("fsopen", Stops::Pointer(0)),
    // copy_from_bpfptr of the attributes, kernel/bpf/syscall.c
    ("bpf", Stops::Pointer(1)),
    // copy_from_user of the parameters, io_uring/io_uring.c
    ("io_uring_setup", Stops::Pointer(1)),
    // perf_copy_attr, kernel/events/core.c
    ("perf_event_open", Stops::Pointer(0)),
    // strndup_user of the type, security/keys/keyctl.c
    ("add_key", Stops::Pointer(0)),
    // unknown flags, fs/userfaultfd.c
    ("userfaultfd", Stops::Flags(0)),
    // find_get_task_by_vpid, kernel/ptrace.c
    ("ptrace", Stops::Nobody(1)),
    // fdget, kernel/module/main.c
    ("finit_module", Stops::Nobody(0)),
    // strncpy_from_user of the name, kernel/module/main.c
    ("delete_module", Stops::Pointer(0)),
    // fdget, kernel/nsproxy.c
    ("setns", Stops::Nobody(0)),
    // copy_from_user of the handle, fs/fhandle.c
    ("open_by_handle_at", Stops::Pointer(1)),
    // SYSLOG_ACTION_SIZE_BUFFER, kernel/printk/printk.c
    ("syslog", Stops::Reads(10)),
    // PR_GET_SECUREBITS, security/commoncap.c
    ("prctl", Stops::Reads(27)),
    ("socket", Stops::Socket),
    ("getpid", Stops::Always),
];

/// `CLONE_NEWUSER` (linux/sched.h).
const NEWUSER: i64 = 0x1000_0000;

/// getpid of i386 (arch/x86/entry/syscalls/syscall_32.tbl).
const I386_GETPID: i64 = 20;

/// Bit that sends a call to the x32 table (`__X32_SYSCALL_BIT`).
const X32: i64 = 0x4000_0000;

/// The protocols that the kernel has: the first words of the lines of /proc/net/protocols.
pub(super) struct Loaded(String);

/// Families of sockets by the name of their protocol there; of the internet's the kernel has both without a module.
const FAMILIES: &[(i64, &str)] = &[(2, "TCP"), (17, "PACKET"), (38, "ALG"), (40, "AF_VSOCK")];

impl Loaded {
    /// As the kernel tells now; none where it does not.
    pub(super) fn read() -> Self {
        Self(std::fs::read_to_string("/proc/net/protocols").unwrap_or_default())
    }

    /// All that have a name here.
    #[cfg(test)]
    pub(super) fn all() -> Self {
        Self(FAMILIES.iter().map(|(_, name)| format!("{name} 0\n")).collect())
    }

    fn has(&self, family: i64) -> bool {
        let name = FAMILIES.iter().find(|(known, _)| *known == family).map(|(_, name)| *name);
        name.is_some() && self.0.lines().any(|line| line.split_whitespace().next() == name)
    }
}

/// Whether the statement cannot act, whoever runs it.
pub(super) fn is_harmless(statement: &Statement, loaded: &Loaded) -> bool {
    let args = statement.args();
    match (statement.operation(), args) {
        ("sys", [Arg::Int(number), operands @ ..]) if number & X32 != 0 => {
            (number ^ X32) == i64::from(syscalls::number("getpid").unwrap_or_default()) && operands.is_empty()
        }
        ("sys", [Arg::Int(number), operands @ ..]) => {
            let name = u32::try_from(*number).ok().and_then(syscalls::name);
            let known = CALLS.iter().find(|(call, _)| Some(*call) == name);
            known.is_some_and(|(_, stops)| stops.at(operands, loaded))
        }
        ("sys32", [Arg::Int(I386_GETPID)]) => true,
        // The child of the new namespace ends at once, and the namespace with it.
        ("clone_flags" | "clone3_flags", [Arg::Int(NEWUSER)]) => true,
        // Where nothing but files and directories lies as a rule, and no link of /proc leads away.
        ("read_file" | "list_dir" | "stat_mode" | "readlink", [Arg::Text(path), ..]) => match path.as_slice()
        {
            [Piece::Bytes(path)] => {
                let below = |top: &&str| {
                    path.strip_prefix(top.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'/'))
                };
                FILES.iter().any(below) && !path.split(|byte| *byte == b'/').any(|part| part == b"..")
            }
            _ => false,
        },
        ("status_field", [Arg::Text(of), ..]) => of.as_slice() == [Piece::from("self")],
        ("cwd" | "uname" | "getrlimit" | "self_pid_matches_proc" | "mountinfo_points", _) => true,
        _ => false,
    }
}

/// Directories in which reading does nothing but read.
const FILES: &[&str] = &["/etc", "/home", "/opt", "/root", "/srv", "/usr"];

impl Stops {
    fn at(self, operands: &[Arg], loaded: &Loaded) -> bool {
        match self {
            Self::Pointer(index) => operands.get(index) == Some(&Arg::Bad),
            Self::Nobody(index) => operands.get(index) == Some(&Arg::Int(-1)),
            Self::Flags(index) => operands.get(index) == Some(&Arg::Uint(0xffff_ffff)),
            Self::Reads(what) => operands.first() == Some(&Arg::Int(what)),
            Self::Socket => match operands {
                [Arg::Int(family), Arg::Int(_), Arg::Int(_)] => loaded.has(*family),
                _ => false,
            },
            Self::Always => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_probe::script::Phase;
    use rstest::rstest;

    fn statement(text: &str) -> Statement {
        Statement::parse(Phase::Attempt, text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn loaded() -> Loaded {
        Loaded("protocol  size sockets\nPACKET    1600      0\nTCP 1 2\n".to_owned())
    }

    #[rstest]
    #[case("sys 165 bad bad bad 0 bad")]
    #[case("sys 41 17 3 0")]
    #[case("sys 39")]
    #[case("sys32 20")]
    #[case("clone_flags 268435456")]
    #[case("read_file /etc/shadow")]
    #[case("status_field self CapEff")]
    fn what_stops_by_itself(#[case] text: &str) {
        assert!(is_harmless(&statement(text), &loaded()), "{text}");
    }

    /// Of each rule what it must not let pass.
    #[rstest]
    #[case::path("sys 165 @/dev/sda @/mnt @ext4 0 null")]
    #[case::null("sys 166 null 0")]
    #[case::everybody("sys 62 -1 9")]
    #[case::reboot("sys 169 0xfee1dead 672274793 1126301404")]
    #[case::kexec_unloads("sys 246 0 0 null 0")]
    #[case::accounting_off("sys 163 null")]
    #[case::trace_somebody("sys 101 16 1")]
    #[case::enter("sys 308 3 0")]
    #[case::module("sys 313 3 bad 0")]
    #[case::connect("sys 42 3 bad 16")]
    #[case::send("tcp 192.0.2.1 80 nonce 500")]
    #[case::clear_log("sys 103 5 null 0")]
    #[case::write_file("write_file /tmp/x y")]
    #[case::device("read_file /dev/watchdog")]
    #[case::log_that_is_consumed("read_file /proc/kmsg")]
    #[case::around("read_file /etc/../dev/watchdog")]
    #[case::not_below("read_file /etcetera/x")]
    #[case::from_here("read_file x")]
    #[case::by_a_result("read_file @/etc/%{0}")]
    #[case::command("exec /bin/true")]
    #[case::more_namespaces("clone_flags 1073741824")]
    #[case::x32_of_something_else("sys 1073741989 bad bad bad 0 bad")]
    #[case::i386_of_something_else("sys32 21 bad bad bad 0 bad")]
    #[case::named_by_a_result("sys $0")]
    #[case::named_in_bits("sys 0xa5 bad bad bad 0 bad")]
    #[case::load_a_module("sys 41 38 5 0")]
    #[case::unknown_family("sys 41 16 3 12")]
    #[case::unknown_number("sys 100000")]
    fn what_may_act_is_not_let_pass(#[case] text: &str) {
        assert!(!is_harmless(&statement(text), &loaded()), "{text}");
    }
}

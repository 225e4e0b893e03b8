//! What is tried: calls whose operands stop the kernel, by the probe program.

use nix::errno::Errno::{self, *};
use palisade_probe::script::{Phase, Script, Statement};

use super::harmless::{Loaded, is_harmless};
use super::program::Program;
use super::{Finding, Verdict};
use crate::catalogue::Expect;
use crate::catalogue::Severity::{self, Critical, High, Low, Medium};
use crate::observation::Seen;

/// One attempt.
struct Attempt {
    id: &'static str,
    severity: Severity,
    about: &'static str,
    /// As the probe program reads it, calls of `sys` by their names.
    statement: &'static str,
    /// Errors which show that nothing refused it: the kernel has come to look at an operand. Success shows it always.
    reached: &'static [Errno],
    /// What a process must have anyway, and which manual page says so: without it the refusal is nobody's merit.
    privilege: Option<&'static str>,
}

const fn attempt(
    id: &'static str,
    severity: Severity,
    about: &'static str,
    statement: &'static str,
    reached: &'static [Errno],
    privilege: Option<&'static str>,
) -> Attempt {
    Attempt { id, severity, about, statement, reached, privilege }
}

// Of mount and umount2 the kernel looks at the operands first: that an ordinary process is refused is then not the kernel's doing.
const ADMIN: Option<&str> = Some("CAP_SYS_ADMIN, mount(2)");
const RAW: Option<&str> = Some("CAP_NET_RAW, socket(2), packet(7), raw(7)");

/// The table.
const ATTEMPTS: &[Attempt] = &[
    attempt("ns/user-by-clone", High, "a user namespace can be made", "clone_flags 268435456", &[], None),
    attempt(
        "ns/user-by-clone3",
        High,
        "a user namespace can be made by clone3",
        "clone3_flags 268435456",
        &[],
        None,
    ),
    attempt("ns/setns", Low, "setns is there", "sys setns -1 0", &[EBADF], None),
    attempt("sys/mount", Medium, "mount is there", "sys mount bad bad bad 0 bad", &[EFAULT], None),
    attempt("sys/umount", Medium, "umount2 is there", "sys umount2 bad 0", &[EFAULT], None),
    attempt("sys/pivot-root", Medium, "pivot_root is there", "sys pivot_root bad bad", &[EFAULT], ADMIN),
    attempt("sys/fsopen", Medium, "fsopen is there", "sys fsopen bad 0", &[EFAULT], ADMIN),
    attempt("sys/open-tree", Low, "open_tree is there", "sys open_tree -100 bad 0", &[EFAULT], None),
    attempt(
        "sys/bpf",
        Medium,
        "bpf is there",
        "sys bpf 0 bad 16",
        &[EFAULT, E2BIG],
        Some("CAP_BPF where unprivileged_bpf_disabled is set, bpf(2)"),
    ),
    attempt(
        "sys/io-uring",
        Medium,
        "io_uring is there",
        "sys io_uring_setup 1 bad",
        &[EFAULT],
        Some("CAP_SYS_ADMIN where io_uring_disabled is set, io_uring_setup(2)"),
    ),
    attempt(
        "sys/perf",
        Medium,
        "perf_event_open is there",
        "sys perf_event_open bad 0 -1 -1 0",
        &[EFAULT],
        Some("CAP_PERFMON where perf_event_paranoid is above 2, perf_event_open(2)"),
    ),
    attempt("sys/keyring", Medium, "add_key is there", "sys add_key bad bad bad 0 0", &[EFAULT], None),
    attempt(
        "sys/userfaultfd",
        Medium,
        "userfaultfd is there",
        "sys userfaultfd 0xffffffff",
        &[EINVAL],
        Some("CAP_SYS_PTRACE or /dev/userfaultfd, userfaultfd(2)"),
    ),
    attempt("sys/ptrace", Low, "ptrace is there", "sys ptrace 16 -1 0 0", &[ESRCH], None),
    attempt(
        "sys/load-module",
        Critical,
        "a kernel module could be loaded",
        "sys finit_module -1 bad 0",
        &[EBADF, EFAULT],
        Some("CAP_SYS_MODULE, init_module(2)"),
    ),
    attempt(
        "sys/unload-module",
        Critical,
        "a kernel module could be removed",
        "sys delete_module bad 0",
        &[EFAULT],
        Some("CAP_SYS_MODULE, delete_module(2)"),
    ),
    attempt(
        "sys/open-by-handle",
        Low,
        "open_by_handle_at is there",
        "sys open_by_handle_at -100 bad 0",
        &[EFAULT],
        Some("CAP_DAC_READ_SEARCH, open_by_handle_at(2)"),
    ),
    attempt(
        "sys/kernel-log",
        Medium,
        "the kernel's log can be asked for",
        "sys syslog 10 null 0",
        &[],
        Some("CAP_SYSLOG where dmesg_restrict is set, syslog(2)"),
    ),
    attempt("sys/i386", Low, "the 32-bit entry of the kernel is there", "sys32 20", &[], None),
    attempt("sys/x32", Low, "the x32 table of system calls is there", "sys 1073741863", &[], None),
    attempt("net/packet-socket", High, "packet sockets can be made", "sys socket 17 3 0", &[], RAW),
    attempt("net/raw-socket", Medium, "raw IP sockets can be made", "sys socket 2 3 1", &[], RAW),
    attempt("net/vsock", Medium, "sockets to the hypervisor can be made", "sys socket 40 1 0", &[], None),
    attempt(
        "net/alg-socket",
        Medium,
        "sockets of the kernel's cryptography can be made",
        "sys socket 38 5 0",
        &[],
        None,
    ),
    attempt("net/inet-socket", Low, "IP sockets can be made", "sys socket 2 1 0", &[], None),
];

impl Attempt {
    fn statement(&self) -> Result<Statement, String> {
        let named = crate::custom::numbered(self.statement);
        Statement::parse(Phase::Attempt, &named).map_err(|error| error.to_string())
    }

    /// Runs it, in a process of its own, with a control before it.
    fn run(&self, program: &Result<Program, String>, loaded: &Loaded) -> Finding {
        let statement = match self.statement() {
            Ok(statement) if is_harmless(&statement, loaded) => statement,
            Ok(_) if self.id.starts_with("net/") => {
                let why =
                    "not tried: the kernel does not list the protocol, and asking for it could load a module";
                return self.found(Verdict::Unknown, why);
            }
            Ok(_) => return self.found(Verdict::Unknown, "not tried: it may act"),
            Err(why) => return self.found(Verdict::Unknown, why),
        };
        let script = Script::from([palisade_probe::control!("sys", nix::libc::SYS_getpid), statement]);
        match program.as_ref().map_err(Clone::clone).and_then(|program| program.seen(&script)) {
            Ok(seen) => self.judge(&seen),
            Err(why) => self.found(Verdict::Unknown, why),
        }
    }

    fn found(&self, verdict: Verdict, seen: impl Into<String>) -> Finding {
        let statement = self.statement().ok().map(|statement| statement.to_string());
        Finding { statement, ..Finding::new(self.id, self.severity, self.about, verdict, seen) }
    }

    fn judge(&self, seen: &Seen) -> Finding {
        let shown = seen.to_string();
        match seen.errno() {
            _ if seen.output().is_some() => self.found(Verdict::Open, shown),
            Some(errno) if self.reached.contains(&errno) => {
                let reached = self.found(Verdict::Open, shown);
                reached.note("nothing refuses the call before the kernel looks at its operands")
            }
            // user_namespaces(7): the limit of their number.
            Some(ENOSPC | EUSERS) => {
                self.found(Verdict::Closed, shown).note("by a setting of the kernel's, sandbox or not")
            }
            // What the kernel lists, it has.
            Some(EAFNOSUPPORT | EPROTONOSUPPORT | ESOCKTNOSUPPORT) => self.found(Verdict::Closed, shown),
            Some(ENOSYS) => {
                self.found(Verdict::Closed, shown).note("refused, or this kernel has no such call")
            }
            _ if Expect::Denied.contains(seen) => {
                let closed = self.found(Verdict::Closed, shown);
                match self.privilege {
                    Some(needs) => closed.note(format!("refused to every process without {needs}")),
                    None => closed,
                }
            }
            // The 32-bit entry, where the kernel has none.
            _ if *seen == Seen::Signalled(nix::libc::SIGSEGV) => self.found(Verdict::Closed, shown),
            _ => self.found(Verdict::Unknown, shown),
        }
    }
}

/// Tries everything.
pub(super) fn all() -> Vec<Finding> {
    let program = Program::place();
    let loaded = Loaded::read();
    ATTEMPTS.iter().map(|attempt| attempt.run(&program, &loaded)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_attempt_cannot_act() {
        for attempt in ATTEMPTS {
            let statement = attempt.statement().unwrap_or_else(|why| panic!("{}: {why}", attempt.id));
            // Of sockets only such as the kernel has: here as it is where all of them are known.
            let sockets = attempt.id.starts_with("net/");
            assert!(sockets || is_harmless(&statement, &Loaded::read()), "{}: {statement}", attempt.id);
            assert!(is_harmless(&statement, &Loaded::all()), "{}: {statement}", attempt.id);
        }
        let ids: BTreeSet<&str> = ATTEMPTS.iter().map(|attempt| attempt.id).collect();
        assert_eq!(ids.len(), ATTEMPTS.len());
    }

    /// What could act is not run, even where the table has it.
    #[test]
    fn an_attempt_that_may_act_is_not_run() {
        let wrong = attempt("sys/x", Low, "x", "write_file /tmp/palisade-inside-acts x", &[], None);
        let found = wrong.run(&Program::place(), &Loaded::read());
        assert_eq!((found.verdict, found.seen.as_str()), (Verdict::Unknown, "not tried: it may act"));
        assert!(!std::path::Path::new("/tmp/palisade-inside-acts").exists());
    }

    #[test]
    fn a_refusal_is_attributed_and_a_sentinel_is_open() {
        let row = attempt("sys/x", Medium, "x", "sys fsopen bad 0", &[EFAULT], ADMIN);
        let verdict = |seen: Seen| row.judge(&seen).verdict;
        assert_eq!(verdict(Seen::failed(EFAULT)), Verdict::Open);
        assert_eq!(verdict(Seen::returned(3)), Verdict::Open);
        assert_eq!(verdict(Seen::failed(EINVAL)), Verdict::Unknown);
        assert_eq!(verdict(Seen::Signalled(31)), Verdict::Closed);
        assert_eq!(verdict(Seen::Signalled(9)), Verdict::Unknown);
        let refused = row.judge(&Seen::failed(EPERM));
        assert_eq!(refused.verdict, Verdict::Closed);
        assert_eq!(refused.note.as_deref(), Some("refused to every process without CAP_SYS_ADMIN, mount(2)"));
    }
}

//! Landlock, filters of system calls, what else the kernel offers, and what it hardens itself by.

use palisade_plan::facts::HostFacts;

use super::{Finding, NOTHING_RUNS, Status, able, tried};
use crate::observe::{Answer, Observed, Trial};

/// The ABI since which a ruleset's refusals are in the audit log (landlock(7)).
const AUDITED: u32 = 7;

pub(super) fn landlock(facts: &HostFacts, observed: &Observed) -> Vec<Finding> {
    let abi = facts.landlock_abi;
    let files = match (abi, observed.setting("/sys/kernel/security/lsm")) {
        (0, modules) => Finding::new(
            "landlock/files",
            Status::Absent,
            "this kernel has no Landlock, or was started without it",
        )
        .means("the mounts are the only layer of file rules")
        .mended_by(
            modules
                .filter(|list| !list.contains("landlock"))
                .map(|list| format!("boot with lsm=landlock,{list}")),
        ),
        (abi, _) => Finding::available("landlock/files", format!("ABI {abi}")),
    };
    // Where there is no Landlock that is said once. TCP is ruled by routes, and nobody reads the audit log.
    let part = |id, trial, since, what: Option<&str>| {
        let value = format!("since ABI {since}");
        let finding = match abi {
            0 => return Finding::new(id, Status::Absent, "no Landlock"),
            _ => tried(id, observed.answer(trial), value),
        };
        match what {
            Some(what) => finding.means(format!("the second layer of file rules does not restrict {what}")),
            None => finding,
        }
    };
    let audit = match abi >= AUDITED {
        true => Finding::available("landlock/audit", format!("since ABI {AUDITED}")),
        false => Finding::new("landlock/audit", Status::Absent, format!("ABI {abi}")),
    };
    vec![
        files,
        part("landlock/refer", Trial::LandlockRefer, 2, Some("moving files between directories")),
        part("landlock/truncate", Trial::LandlockTruncate, 3, Some("truncation")),
        part("landlock/tcp", Trial::LandlockTcp, 4, None),
        part("landlock/ioctl", Trial::LandlockIoctl, 5, Some("ioctl on devices")),
        part("landlock/scopes", Trial::LandlockScopes, 6, Some("signals and abstract sockets")),
        audit,
    ]
}

pub(super) fn seccomp(facts: &HostFacts, observed: &Observed) -> Vec<Finding> {
    let part = |id, trial, value| tried(id, observed.answer(trial), value);
    let notify = match observed.answer(Trial::SeccompNotify) {
        Answer::Refused(errno) if errno.name() == Some("EBUSY") => Finding::new(
            "seccomp/notify",
            Status::Unavailable,
            "a filter around this process has the only listener (EBUSY)",
        ),
        answer => tried("seccomp/notify", answer, "SECCOMP_RET_USER_NOTIF"),
    };
    vec![
        able("seccomp/errno", &facts.seccomp, "SECCOMP_RET_ERRNO").means(NOTHING_RUNS),
        notify.means("a run's report does not list the system calls that were refused"),
        // No filter of ours needs the rest.
        part("seccomp/addfd-send", Trial::SeccompAddfdSend, "SECCOMP_ADDFD_FLAG_SEND"),
        part("seccomp/wait-killable", Trial::SeccompWaitKillable, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"),
        part("seccomp/log", Trial::SeccompLog, "SECCOMP_RET_LOG"),
        part("seccomp/kill-process", Trial::SeccompKillProcess, "SECCOMP_RET_KILL_PROCESS"),
    ]
}

/// What the kernel offers an ordinary program, and every sandbox closes: that it is missing takes nothing away from a policy.
pub(super) fn surface(observed: &Observed) -> Vec<Finding> {
    let part = |id, trial, value| tried(id, observed.answer(trial), value);
    let io_uring = match observed.setting("/proc/sys/kernel/io_uring_disabled") {
        Some(level) => format!("kernel.io_uring_disabled {level}"),
        None => "no setting for it".to_owned(),
    };
    let mut uring = tried("surface/io-uring", observed.answer(Trial::IoUring), io_uring.clone());
    if uring.status == Status::Unavailable {
        uring.value = format!("{} ({io_uring})", uring.value);
    }
    let tiocsti =
        match (observed.answer(Trial::Tiocsti), observed.setting("/proc/sys/dev/tty/legacy_tiocsti")) {
            (Answer::Refused(errno), setting) if errno.name() == Some("EIO") => Finding::new(
                "surface/tiocsti",
                Status::Unavailable,
                format!("EIO (dev.tty.legacy_tiocsti {})", setting.unwrap_or("unknown")),
            ),
            (answer, Some(setting)) => {
                tried("surface/tiocsti", answer, format!("dev.tty.legacy_tiocsti {setting}"))
            }
            (answer, None) => tried("surface/tiocsti", answer, "no setting for it"),
        };
    vec![
        part("surface/ia32", Trial::Ia32, "32-bit system calls (int 0x80)"),
        part("surface/x32", Trial::X32, "system calls of x32"),
        uring,
        tiocsti,
        part("surface/audit", Trial::Audit, "audit records can be read"),
    ]
}

/// What no plan uses, and a reader may want to know.
pub(super) fn hardening(observed: &Observed) -> Vec<Finding> {
    let part = |id, trial, value| tried(id, observed.answer(trial), value);
    let noexec = match observed.setting("/proc/sys/vm/memfd_noexec") {
        Some(level) => format!("vm.memfd_noexec {level}"),
        None => "MFD_NOEXEC_SEAL".to_owned(),
    };
    vec![
        part("hardening/mseal", Trial::Mseal, "mseal(2)".to_owned()),
        part("hardening/mdwe", Trial::Mdwe, "PR_SET_MDWE".to_owned()),
        part("hardening/memfd-noexec", Trial::MemfdNoexec, noexec),
    ]
}

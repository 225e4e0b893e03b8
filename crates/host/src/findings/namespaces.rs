//! Namespaces, and the security modules and settings that are in their way.

use super::{Finding, NOTHING_RUNS, Status, tried};
use crate::observe::{Answer, Observed, Trial};

/// What a kind of namespace is found by, and the setting that bounds how many a user may have (namespaces(7)).
const KINDS: [(&str, Trial, &str); 8] = [
    ("namespaces/user", Trial::UserNamespace, "user"),
    ("namespaces/mount", Trial::MountNamespace, "mnt"),
    ("namespaces/pid", Trial::PidNamespace, "pid"),
    ("namespaces/network", Trial::NetworkNamespace, "net"),
    ("namespaces/ipc", Trial::IpcNamespace, "ipc"),
    ("namespaces/uts", Trial::UtsNamespace, "uts"),
    ("namespaces/cgroup", Trial::CgroupNamespace, "cgroup"),
    ("namespaces/time", Trial::TimeNamespace, "time"),
];

/// What a host is given again that allows none.
const PLENTY: u32 = 15_000;

const APPARMOR: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
const CLONE: &str = "/proc/sys/kernel/unprivileged_userns_clone";

pub(super) fn findings(observed: &Observed) -> Vec<Finding> {
    let kinds = KINDS.iter().map(|(id, trial, word)| kind(id, *trial, word, observed));
    kinds.chain([apparmor(observed), selinux(observed), yama(observed)]).collect()
}

fn kind(id: &'static str, trial: Trial, word: &str, observed: &Observed) -> Finding {
    let setting = format!("user.max_{word}_namespaces");
    let most = observed.setting(&format!("/proc/sys/user/max_{word}_namespaces"));
    let limit = most.map_or_else(|| "no limit".to_owned(), |most| format!("{setting} {most}"));
    let answer = observed.answer(trial);
    let mut finding = tried(id, answer, limit);
    if let Some((gate, remedy)) = gate(answer, &setting, most, observed) {
        finding.status = Status::Unavailable;
        finding.value = format!("{} ({gate})", finding.value);
        finding = finding.mended_by(Some(remedy));
    }
    // Nothing is kept in a time namespace.
    if trial == Trial::TimeNamespace { finding } else { finding.means(NOTHING_RUNS) }
}

/// The setting that is behind a refusal, and the command that opens it.
fn gate(answer: Answer, setting: &str, most: Option<&str>, observed: &Observed) -> Option<(String, String)> {
    let Answer::Refused(errno) = answer else { return None };
    let denied = matches!(errno.name(), Some("EPERM" | "EACCES"));
    let is = |path: &str, value: &str| observed.setting(path) == Some(value);
    if errno.name() == Some("ENOSPC") && most == Some("0") {
        Some((format!("{setting} is 0"), format!("sysctl -w {setting}={PLENTY}")))
    } else if errno.name() == Some("ENOSPC") {
        // A namespace further out may allow fewer (namespaces(7)); or all that are allowed are there.
        Some(("all that are allowed exist, or a namespace around this one allows none".into(), {
            format!("sysctl -w {setting}={PLENTY}")
        }))
    } else if denied && is(CLONE, "0") {
        Some((
            "kernel.unprivileged_userns_clone is 0".into(),
            "sysctl -w kernel.unprivileged_userns_clone=1".into(),
        ))
    } else if denied && is(APPARMOR, "1") {
        Some((
            "kernel.apparmor_restrict_unprivileged_userns is 1".into(),
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0".into(),
        ))
    } else {
        None
    }
}

fn apparmor(observed: &Observed) -> Finding {
    let id = "lsm/apparmor";
    match (observed.setting("/sys/module/apparmor/parameters/enabled"), observed.setting(APPARMOR)) {
        (Some("Y"), Some("1")) => {
            Finding::available(id, "enabled; it restricts user namespaces of ordinary users")
        }
        (Some("Y"), _) => Finding::available(id, "enabled"),
        (Some(_), _) => Finding::new(id, Status::Unavailable, "switched off"),
        (None, _) => Finding::new(id, Status::Absent, "none"),
    }
}

fn selinux(observed: &Observed) -> Finding {
    let id = "lsm/selinux";
    match observed.setting("/sys/fs/selinux/enforce") {
        Some("1") => Finding::available(id, "enforcing"),
        Some(_) => Finding::new(id, Status::Partial, "permissive"),
        None => Finding::new(id, Status::Absent, "none"),
    }
}

fn yama(observed: &Observed) -> Finding {
    let id = "lsm/yama";
    match observed.setting("/proc/sys/kernel/yama/ptrace_scope") {
        Some("0") => Finding::new(id, Status::Partial, "kernel.yama.ptrace_scope 0: it restricts nothing"),
        Some(scope) => Finding::available(id, format!("kernel.yama.ptrace_scope {scope}")),
        None => Finding::new(id, Status::Absent, "none"),
    }
}

//! Every finding, come out both ways: on a host that has everything, and on one that lacks just that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use palisade_plan::facts::{Ability, HostFacts};
use palisade_plan::step::{CgroupVersion, Controller};
use palisade_sys::Errno;
use rstest::rstest;

use super::{Finding, NOTHING_RUNS, Status, judge};
use crate::observe::{Answer, FileSystem, Observed, Trial};

/// errno(3)
const EPERM: Answer = Answer::Refused(Errno(1));
const EIO: Answer = Answer::Refused(Errno(5));
const EACCES: Answer = Answer::Refused(Errno(13));
const EFAULT: Answer = Answer::Refused(Errno(14));
const EBUSY: Answer = Answer::Refused(Errno(16));
const EINVAL: Answer = Answer::Refused(Errno(22));
const ENOSPC: Answer = Answer::Refused(Errno(28));
const ENOSYS: Answer = Answer::Refused(Errno(38));
const EOPNOTSUPP: Answer = Answer::Refused(Errno(95));

/// A host and what it shows.
struct Host {
    facts: HostFacts,
    observed: Observed,
}

/// Root on a host that has everything.
fn everything() -> Host {
    let text = include_str!("../../../../fixtures/hosts/debian13-6.12-root.json");
    let facts: HostFacts = serde_json::from_str(text).unwrap();
    let file_system = |kind: &str| FileSystem { kind: kind.into(), idmap: Some(Ability::Available) };
    let network = serde_json::json!({
        "ipv6": true, "nft": "/usr/sbin/nft", "resolvers": [],
        "links": {
            "pasta": "/usr/bin/pasta", "slirp4netns": "/usr/bin/slirp4netns", "shared_tmp": false, "tun": "available",
            "net_admin": true, "forwards": [true, true], "own": [], "isolated": false, "uplink": "eth0", "free": 1
        }
    });
    let settings = [
        ("/proc/sys/user/max_user_namespaces", "31000"),
        ("/proc/sys/kernel/io_uring_disabled", "0"),
        ("/proc/sys/kernel/yama/ptrace_scope", "1"),
        ("/proc/sys/dev/tty/legacy_tiocsti", "1"),
        ("/proc/sys/vm/memfd_noexec", "0"),
        ("/sys/module/apparmor/parameters/enabled", "Y"),
        ("/sys/fs/selinux/enforce", "1"),
    ];
    Host {
        facts: HostFacts { landlock_abi: 7, ..facts },
        observed: Observed {
            trials: ALL.iter().map(|trial| (*trial, Answer::Done)).collect(),
            settings: settings.into_iter().map(|(path, value)| (path, value.to_owned())).collect(),
            programs: ["nft", "pasta", "slirp4netns"]
                .into_iter()
                .map(|name| (name, format!("{name} 1")))
                .collect(),
            network: serde_json::from_value(network).unwrap(),
            tmpfs: file_system("tmpfs"),
            root: file_system("ext4"),
            directory: file_system("xfs"),
            disabled_controllers: BTreeSet::new(),
            systemd: true,
            installer: Some("apt-get install"),
        },
    }
}

const ALL: [Trial; 30] = [
    Trial::UserNamespace,
    Trial::MountNamespace,
    Trial::PidNamespace,
    Trial::NetworkNamespace,
    Trial::IpcNamespace,
    Trial::UtsNamespace,
    Trial::CgroupNamespace,
    Trial::TimeNamespace,
    Trial::Nftables,
    Trial::Tun,
    Trial::Veth,
    Trial::Macvlan,
    Trial::LandlockRefer,
    Trial::LandlockTruncate,
    Trial::LandlockIoctl,
    Trial::LandlockTcp,
    Trial::LandlockScopes,
    Trial::SeccompKillProcess,
    Trial::SeccompLog,
    Trial::SeccompNotify,
    Trial::SeccompAddfdSend,
    Trial::SeccompWaitKillable,
    Trial::Ia32,
    Trial::X32,
    Trial::IoUring,
    Trial::Tiocsti,
    Trial::Audit,
    Trial::Mseal,
    Trial::Mdwe,
    Trial::MemfdNoexec,
];

impl Host {
    fn answer(&mut self, trial: Trial, answer: Answer) {
        self.observed.trials.insert(trial, answer);
    }

    fn set(&mut self, path: &'static str, value: &str) {
        self.observed.settings.insert(path, value.to_owned());
    }

    fn ordinary(&mut self) {
        self.facts.caller.uid = 1001;
        self.facts.caller.privileged = false;
        self.facts.caller.kernel_root = false;
        if let Some(links) = &mut self.observed.network.links {
            links.net_admin = false;
        }
    }

    fn links(&mut self) -> &mut palisade_plan::facts::LinkFacts {
        self.observed.network.links.as_mut().unwrap()
    }

    /// Every hierarchy refuses.
    fn no_groups(&mut self, why: &str) {
        for hierarchy in &mut self.facts.cgroups {
            hierarchy.ability = Ability::Unavailable(why.to_owned());
        }
    }

    fn finding(&self, id: &str) -> Finding {
        let all = judge(&self.facts, &self.observed);
        all.into_iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no finding {id}"))
    }
}

fn said(text: &str) -> Ability {
    Ability::Unavailable(text.to_owned())
}

fn unmapped() -> Option<Ability> {
    Some(said("mount_setattr: EINVAL (a file system there has no ID-mapped mounts)"))
}

/// What is taken from the host, what the finding then is, and the beginnings of its consequence and its remedy.
type Case = (&'static str, fn(&mut Host), Status, Option<&'static str>, Option<&'static str>);

use Status::{Absent, Partial, Unavailable};

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("namespaces/user", |host| { host.answer(Trial::UserNamespace, ENOSPC); host.set("/proc/sys/user/max_user_namespaces", "0"); }, Unavailable, Some(NOTHING_RUNS), Some("sysctl -w user.max_user_namespaces=15000")),
    ("namespaces/user", |host| { host.ordinary(); host.answer(Trial::UserNamespace, EPERM); host.set("/proc/sys/kernel/unprivileged_userns_clone", "0"); }, Unavailable, Some(NOTHING_RUNS), Some("sysctl -w kernel.unprivileged_userns_clone=1")),
    ("namespaces/user", |host| host.answer(Trial::UserNamespace, EPERM), Unavailable, Some(NOTHING_RUNS), None),
    ("namespaces/user", |host| host.answer(Trial::UserNamespace, ENOSYS), Absent, Some(NOTHING_RUNS), None),
    ("namespaces/user", |host| host.answer(Trial::UserNamespace, Answer::Untried("killed")), Unavailable, Some(NOTHING_RUNS), None),
    ("namespaces/mount", |host| { host.answer(Trial::MountNamespace, EACCES); host.set("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"); }, Unavailable, Some(NOTHING_RUNS), Some("sysctl -w kernel.apparmor_restrict_unprivileged_userns=0")),
    ("namespaces/pid", |host| { host.answer(Trial::PidNamespace, ENOSPC); host.set("/proc/sys/user/max_pid_namespaces", "0"); }, Unavailable, Some(NOTHING_RUNS), Some("sysctl -w user.max_pid_namespaces=15000")),
    ("namespaces/network", |host| { host.answer(Trial::NetworkNamespace, ENOSPC); host.set("/proc/sys/user/max_net_namespaces", "9"); }, Unavailable, Some(NOTHING_RUNS), Some("sysctl -w user.max_net_namespaces=15000")),
    ("namespaces/ipc", |host| host.answer(Trial::IpcNamespace, EINVAL), Absent, Some(NOTHING_RUNS), None),
    ("namespaces/uts", |host| host.answer(Trial::UtsNamespace, EINVAL), Absent, Some(NOTHING_RUNS), None),
    ("namespaces/cgroup", |host| host.answer(Trial::CgroupNamespace, EINVAL), Absent, Some(NOTHING_RUNS), None),
    ("namespaces/time", |host| host.answer(Trial::TimeNamespace, EINVAL), Absent, None, None),
    ("lsm/apparmor", |host| drop(host.observed.settings.remove("/sys/module/apparmor/parameters/enabled")), Absent, None, None),
    ("lsm/apparmor", |host| host.set("/sys/module/apparmor/parameters/enabled", "N"), Unavailable, None, None),
    ("lsm/selinux", |host| host.set("/sys/fs/selinux/enforce", "0"), Partial, None, None),
    ("lsm/selinux", |host| drop(host.observed.settings.remove("/sys/fs/selinux/enforce")), Absent, None, None),
    ("lsm/yama", |host| host.set("/proc/sys/kernel/yama/ptrace_scope", "0"), Partial, None, None),
    ("lsm/yama", |host| drop(host.observed.settings.remove("/proc/sys/kernel/yama/ptrace_scope")), Absent, None, None),
    ("mounts/attributes", |host| host.facts.mount_attributes = said("mount_setattr: ENOSYS"), Absent, Some(NOTHING_RUNS), None),
    ("mounts/procfs", |host| host.facts.procfs = said("mount proc: EPERM"), Unavailable, Some(NOTHING_RUNS), Some("docker run --security-opt systempaths=unconfined")),
    ("mounts/overlay", |host| host.facts.overlay = said("mount overlay: ENODEV"), Absent, Some("`workspace: overlay` is refused"), Some("modprobe overlay")),
    ("mounts/overlay", |host| host.facts.overlay = said("mount overlay: EPERM"), Unavailable, Some("`workspace: overlay` is refused"), None),
    ("mounts/idmap-tmpfs", |host| host.observed.tmpfs.idmap = unmapped(), Unavailable, Some("a read-write directory on a tmpfs"), None),
    ("mounts/idmap-root", |host| host.observed.root.idmap = unmapped(), Unavailable, Some("a read-write directory on the file system of /"), None),
    ("mounts/idmap-directory", |host| host.observed.directory.idmap = Some(said("mount_setattr: ENOSYS")), Absent, Some("a read-write directory on the file system of this"), None),
    ("mounts/idmap-tmpfs", |host| host.observed.tmpfs.idmap = None, Unavailable, None, None),
    ("mounts/idmap-root", |host| host.observed.root.idmap = None, Unavailable, None, None),
    ("mounts/idmap-directory", |host| host.observed.directory.idmap = None, Unavailable, None, None),
    ("landlock/files", |host| { host.facts.landlock_abi = 0; host.set("/sys/kernel/security/lsm", "capability,yama"); }, Absent, Some("the mounts are the only layer"), Some("boot with lsm=landlock,capability,yama")),
    ("landlock/files", |host| host.facts.landlock_abi = 0, Absent, Some("the mounts are the only layer"), None),
    ("landlock/refer", |host| host.answer(Trial::LandlockRefer, EINVAL), Absent, Some("the second layer of file rules does not restrict moving"), None),
    ("landlock/refer", |host| host.facts.landlock_abi = 0, Absent, None, None),
    ("landlock/truncate", |host| host.answer(Trial::LandlockTruncate, EINVAL), Absent, Some("the second layer of file rules does not restrict truncation"), None),
    ("landlock/tcp", |host| host.answer(Trial::LandlockTcp, EINVAL), Absent, None, None),
    ("landlock/ioctl", |host| host.answer(Trial::LandlockIoctl, EINVAL), Absent, Some("the second layer of file rules does not restrict ioctl"), None),
    ("landlock/scopes", |host| host.answer(Trial::LandlockScopes, EINVAL), Absent, Some("the second layer of file rules does not restrict signals"), None),
    ("landlock/audit", |host| host.facts.landlock_abi = 6, Absent, None, None),
    ("seccomp/errno", |host| host.facts.seccomp = said("seccomp: ENOSYS"), Absent, Some(NOTHING_RUNS), None),
    ("seccomp/notify", |host| host.answer(Trial::SeccompNotify, EBUSY), Unavailable, Some("a run's report does not list"), None),
    ("seccomp/notify", |host| host.answer(Trial::SeccompNotify, EINVAL), Absent, Some("a run's report does not list"), None),
    ("seccomp/addfd-send", |host| host.answer(Trial::SeccompAddfdSend, EINVAL), Absent, None, None),
    ("seccomp/wait-killable", |host| host.answer(Trial::SeccompWaitKillable, EINVAL), Absent, None, None),
    ("seccomp/log", |host| host.answer(Trial::SeccompLog, EOPNOTSUPP), Absent, None, None),
    ("seccomp/kill-process", |host| host.answer(Trial::SeccompKillProcess, EOPNOTSUPP), Absent, None, None),
    ("cgroups/version", |host| host.facts.cgroups.clear(), Absent, Some("no limit of a whole sandbox"), Some("mount -t cgroup2")),
    ("cgroups/delegation", |host| { host.ordinary(); host.no_groups("mkdir: EACCES"); }, Unavailable, Some("no limit of a whole sandbox"), Some("systemd-run --user --scope")),
    ("cgroups/delegation", |host| { host.observed.systemd = false; host.no_groups("its groups have no controller that is needed (cgroup.subtree_control)"); }, Unavailable, Some("no limit"), Some("echo '+memory +pids +cpu' > /")),
    ("cgroups/delegation", |host| host.no_groups("mkdir: EROFS"), Unavailable, Some("no limit"), Some("mount -o remount,rw /sys/fs/cgroup")),
    ("cgroups/delegation", |host| { host.ordinary(); host.no_groups("mkdir: EACCES"); host.facts.cgroups[0].version = CgroupVersion::V1; }, Unavailable, Some("no limit"), Some("install -d -o 1001 /")),
    ("cgroups/delegation", |host| { let usable = host.facts.cgroups[0].clone(); host.no_groups("mkdir: EACCES"); host.facts.cgroups.push(usable); }, Partial, Some("some limits"), None),
    ("cgroups/delegation", |host| host.facts.cgroups.clear(), Absent, Some("no limit"), None),
    ("cgroups/memory", |host| { host.ordinary(); host.no_groups("mkdir: EACCES"); }, Unavailable, Some("resources.memory: per process only"), Some("systemd-run --user --scope")),
    ("cgroups/memory", |host| { host.facts.cgroups[0].controllers.remove(&Controller::Memory); host.observed.disabled_controllers.insert("memory".into()); }, Absent, Some("resources.memory: per process only"), Some("boot without cgroup_disable=memory")),
    ("cgroups/pids", |host| { host.ordinary(); host.facts.kernel = "5.10.0".into(); host.no_groups("mkdir: EACCES"); }, Unavailable, Some("resources.processes: counts"), Some("systemd-run")),
    ("cgroups/pids", |host| host.no_groups("mkdir: EROFS"), Unavailable, None, None),
    ("cgroups/cpu", |host| host.facts.cgroups[0].controllers.retain(|one| *one != Controller::Cpu), Absent, Some("resources.cpus: not limited"), None),
    ("cgroups/cpu-time", |host| host.facts.cgroups.clear(), Absent, Some("resources.cpu_time: per process only"), None),
    ("cgroups/cpu-time", |host| { host.ordinary(); host.observed.systemd = false; host.no_groups("mkdir: EACCES"); let mut old = host.facts.cgroups[0].clone(); old.version = CgroupVersion::V1; host.facts.cgroups.push(old); }, Unavailable, Some("resources.cpu_time"), Some("install -d -o 1001")),
    ("network/ipv6", |host| host.observed.network.ipv6 = false, Absent, Some("rules for IPv6 ranges reach nothing"), None),
    ("network/nftables", |host| host.answer(Trial::Nftables, EOPNOTSUPP), Absent, Some("`ports: any`"), Some("modprobe nf_tables")),
    ("network/nft", |host| drop(host.observed.programs.remove("nft")), Absent, Some("`ports: any`"), Some("apt-get install nftables")),
    ("network/nft", |host| { host.observed.programs.remove("nft"); host.observed.installer = None; }, Absent, Some("`ports: any`"), None),
    ("network/tun", |host| host.links().tun = said("open /dev/net/tun: EACCES"), Unavailable, Some("`backend: pasta` and"), Some("chmod 0666 /dev/net/tun")),
    ("network/tun", |host| host.links().tun = said("open /dev/net/tun: ENOENT"), Absent, Some("`backend: pasta` and"), Some("modprobe tun")),
    ("network/tun", |host| host.answer(Trial::Tun, EPERM), Unavailable, Some("`backend: pasta` and"), None),
    ("network/pasta", |host| drop(host.observed.programs.remove("pasta")), Absent, Some("`backend: pasta` is refused"), Some("apt-get install passt")),
    ("network/pasta", |host| host.links().tun = said("open /dev/net/tun: ENOENT"), Partial, Some("`backend: pasta` is refused"), None),
    ("network/slirp4netns", |host| drop(host.observed.programs.remove("slirp4netns")), Absent, Some("`backend: slirp4netns` is refused"), Some("apt-get install slirp4netns")),
    ("network/veth", Host::ordinary, Unavailable, Some("`backend: veth` is refused"), None),
    ("network/veth", |host| host.links().forwards = [false, true], Unavailable, Some("`backend: veth` is refused"), Some("sysctl -w net.ipv4.ip_forward=1")),
    ("network/veth", |host| host.answer(Trial::Veth, EOPNOTSUPP), Absent, Some("`backend: veth` is refused"), Some("modprobe veth")),
    ("network/macvlan", Host::ordinary, Unavailable, Some("`backend: macvlan` is refused"), None),
    ("network/macvlan", |host| host.answer(Trial::Macvlan, EOPNOTSUPP), Absent, Some("`backend: macvlan` is refused"), Some("modprobe macvlan")),
    ("surface/ia32", |host| host.answer(Trial::Ia32, EFAULT), Absent, None, None),
    ("surface/ia32", |host| host.answer(Trial::Ia32, Answer::Killed(31)), Unavailable, None, None),
    ("surface/x32", |host| host.answer(Trial::X32, ENOSYS), Absent, None, None),
    ("surface/io-uring", |host| { host.answer(Trial::IoUring, EPERM); host.set("/proc/sys/kernel/io_uring_disabled", "2"); }, Unavailable, None, None),
    ("surface/tiocsti", |host| { host.answer(Trial::Tiocsti, EIO); host.set("/proc/sys/dev/tty/legacy_tiocsti", "0"); }, Unavailable, None, None),
    ("surface/audit", |host| host.answer(Trial::Audit, EPERM), Unavailable, None, None),
    ("hardening/mseal", |host| host.answer(Trial::Mseal, ENOSYS), Absent, None, None),
    ("hardening/mdwe", |host| host.answer(Trial::Mdwe, EINVAL), Absent, None, None),
    ("hardening/memfd-noexec", |host| host.answer(Trial::MemfdNoexec, EINVAL), Absent, None, None),
];

/// What no host can lack.
const ALWAYS: &[&str] = &["network/gateway"];

#[test]
fn a_host_that_has_everything_lacks_nothing() {
    let host = everything();
    for finding in judge(&host.facts, &host.observed) {
        let told = (finding.status, finding.consequence.as_deref(), finding.remedy.as_deref());
        assert_eq!(told, (Status::Available, None, None), "{finding:?}");
        assert!(
            !finding.value.is_empty() && finding.id.starts_with(&format!("{}/", finding.group)),
            "{finding:?}"
        );
    }
}

#[test]
fn what_is_taken_away_is_told_with_what_it_means_and_what_mends_it() {
    for (number, (id, take, status, consequence, remedy)) in CASES.iter().enumerate() {
        let mut host = everything();
        take(&mut host);
        let finding = host.finding(id);
        assert_eq!(finding.status, *status, "case {number}: {finding:?}");
        for (told, wanted) in [(&finding.consequence, consequence), (&finding.remedy, remedy)] {
            let told = told.as_deref();
            let agrees = match (told, wanted) {
                (Some(told), Some(wanted)) => told.starts_with(wanted),
                (told, wanted) => told.is_none() && wanted.is_none(),
            };
            assert!(agrees, "case {number}: {wanted:?} in {finding:?}");
        }
    }
}

#[test]
fn every_finding_can_come_out_otherwise_and_is_there_once() {
    let host = everything();
    let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in judge(&host.facts, &host.observed) {
        *ids.entry(finding.id).or_default() += 1;
    }
    assert!(ids.values().all(|times| *times == 1), "{ids:?}");
    let otherwise: BTreeSet<&str> = CASES.iter().map(|case| case.0).chain(ALWAYS.iter().copied()).collect();
    assert_eq!(ids.into_keys().collect::<BTreeSet<_>>(), otherwise);
}

/// The value says what is behind it, where a status alone would not.
#[rstest]
#[case("namespaces/user", |host: &mut Host| { host.answer(Trial::UserNamespace, EPERM); host.set("/proc/sys/kernel/unprivileged_userns_clone", "0"); }, "EPERM (kernel.unprivileged_userns_clone is 0)")]
#[case("surface/io-uring", |host: &mut Host| { host.answer(Trial::IoUring, EPERM); host.set("/proc/sys/kernel/io_uring_disabled", "2"); }, "EPERM (kernel.io_uring_disabled 2)")]
#[case("mounts/idmap-root", |host: &mut Host| host.observed.root = FileSystem { kind: "9p".into(), idmap: unmapped() }, "9p: mount_setattr: EINVAL")]
#[case("network/pasta", |_: &mut Host| {}, "pasta 1")]
#[case("cgroups/delegation", |host: &mut Host| { host.facts.cgroups[0].parent = PathBuf::from("/g"); host.no_groups("mkdir: EACCES"); }, "v2 /g: mkdir: EACCES")]
fn the_value_says_why(#[case] id: &str, #[case] take: fn(&mut Host), #[case] value: &str) {
    let mut host = everything();
    take(&mut host);
    let finding = host.finding(id);
    assert!(finding.value.starts_with(value), "{finding:?}");
}

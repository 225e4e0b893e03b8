//! What the standard and strict tables decide, call by call, and how a policy changes it.

use super::*;

#[test]
fn every_call_stands_in_the_table_once() {
    let mut seen = BTreeSet::new();
    let grouped = GROUPS.iter().flat_map(|group| group.calls).copied();
    for name in grouped.chain(CHECKED.iter().map(|&(name, _)| name)) {
        assert!(syscalls::number(name).is_some(), "{name} is no system call");
        assert!(seen.insert(name), "{name} stands in the table twice");
    }
    let missing: Vec<_> = syscalls::names().filter(|name| !seen.contains(name)).collect();
    assert_eq!(missing, [""; 0], "calls without a decision");
}

#[test]
fn strict_allows_nothing_that_standard_denies() {
    for group in GROUPS {
        assert!(group.strict != Action::Allow || group.standard == Action::Allow, "{}", group.why);
    }
}

#[test]
fn what_init_needs_is_not_denied_outright() {
    for profile in [standard(), strict(NetworkMode::None), nested()] {
        for name in NEEDED_BY_INIT {
            let verdict = profile.rules.get(Call::named(name).unwrap()).unwrap();
            assert!(!matches!(verdict, Verdict::Always(Action::Fail(_))), "{name}");
        }
    }
}

#[rstest]
// Ordinary work.
#[case("read", &[], "allow")]
#[case("execve", &[], "allow")]
#[case("futex", &[], "allow")]
#[case("rseq", &[], "allow")]
#[case("statx", &[], "allow")]
#[case("mprotect", &[0x1000, 0x1000, 7], "allow")]
#[case("memfd_create", &[], "allow")]
#[case("landlock_restrict_self", &[], "allow")]
#[case("getrandom", &[], "allow")]
// Behind pointers: fallbacks exist.
#[case("clone3", &[], "ENOSYS")]
#[case("openat2", &[], "ENOSYS")]
#[case("pidfd_open", &[], "ENOSYS")]
#[case("pidfd_send_signal", &[], "ENOSYS")]
#[case("mbind", &[], "ENOSYS")]
#[case("statmount", &[], "ENOSYS")]
#[case("uselib", &[], "ENOSYS")]
// Denied.
#[case("mount", &[], "EPERM")]
#[case("fsopen", &[], "EPERM")]
#[case("open_tree", &[], "EPERM")]
#[case("open_tree_attr", &[], "EPERM")]
#[case("move_mount", &[], "EPERM")]
#[case("pivot_root", &[], "EPERM")]
#[case("chroot", &[], "EPERM")]
#[case("setns", &[], "EPERM")]
#[case("ptrace", &[], "EPERM")]
#[case("process_vm_readv", &[], "EPERM")]
#[case("kcmp", &[], "EPERM")]
#[case("pidfd_getfd", &[], "EPERM")]
#[case("io_uring_setup", &[], "EPERM")]
#[case("keyctl", &[], "EPERM")]
#[case("bpf", &[], "EPERM")]
#[case("perf_event_open", &[], "EPERM")]
#[case("userfaultfd", &[1], "EPERM")]
#[case("seccomp", &[], "EPERM")]
#[case("name_to_handle_at", &[], "EPERM")]
#[case("open_by_handle_at", &[], "EPERM")]
#[case("vmsplice", &[], "EPERM")]
#[case("fanotify_init", &[0x200], "EPERM")]
#[case("clock_settime", &[], "EPERM")]
#[case("adjtimex", &[], "EPERM")]
#[case("syslog", &[], "EPERM")]
#[case("modify_ldt", &[], "EPERM")]
#[case("kexec_load", &[], "EPERM")]
// Namespaces by flag.
#[case("clone", &[0x0100_0011], "allow")] // fork: CLONE_CHILD_SETTID|SIGCHLD, and more
#[case("clone", &[0x003d_0f00], "allow")] // a thread
#[case("clone", &[0x4111], "allow")] // vfork
#[case("clone", &[0x1000_0011], "EPERM")]
#[case("clone", &[0x0002_0011], "EPERM")]
#[case("clone", &[0x4000_0011], "EPERM")]
#[case("clone", &[0x1_1000_0011], "EPERM")]
#[case("clone", &[0x1_0000_0011], "allow")] // the kernel reads the low half
#[case("unshare", &[0x400], "allow")] // CLONE_FILES
#[case("unshare", &[0], "allow")]
#[case("unshare", &[0x1000_0000], "EPERM")]
#[case("unshare", &[0x80], "EPERM")] // CLONE_NEWTIME
#[case("unshare", &[0x0200_0000], "EPERM")]
#[case("unshare", &[0x1_1000_0000], "EPERM")]
// Sockets: domain, type, protocol.
#[case("socket", &[1, 1, 0], "allow")]
#[case("socket", &[1, 0x8_0005, 0], "allow")] // SOCK_SEQPACKET|SOCK_CLOEXEC
#[case("socket", &[2, 1, 0], "allow")]
#[case("socket", &[2, 0x8_0801, 6], "allow")]
#[case("socket", &[10, 2, 17], "allow")]
#[case("socket", &[2, 2, 0], "allow")]
#[case("socket", &[2, 2, 1], "EACCES")] // ping
#[case("socket", &[10, 2, 58], "EACCES")]
#[case("socket", &[2, 3, 255], "EPERM")] // raw
#[case("socket", &[10, 0x8_0003, 58], "EPERM")]
#[case("socket", &[2, 10, 0x300], "EPERM")] // SOCK_PACKET
#[case("socket", &[2, 1, 262], "EPROTONOSUPPORT")] // MPTCP
#[case("socket", &[2, 1, 132], "EPROTONOSUPPORT")] // SCTP
#[case("socket", &[2, 5, 132], "EPROTONOSUPPORT")]
#[case("socket", &[2, 2, 136], "EPROTONOSUPPORT")] // UDP-Lite
#[case("socket", &[16, 3, 0], "allow")] // NETLINK_ROUTE
#[case("socket", &[16, 0x8_0002, 0], "allow")]
#[case("socket", &[16, 3, 4], "EPERM")] // sock_diag
#[case("socket", &[16, 3, 12], "EPERM")] // netfilter
#[case("socket", &[16, 3, 15], "EPERM")] // uevent
#[case("socket", &[17, 3, 0], "EAFNOSUPPORT")] // packet
#[case("socket", &[38, 5, 0], "EAFNOSUPPORT")] // alg
#[case("socket", &[40, 1, 0], "EAFNOSUPPORT")] // vsock
#[case("socket", &[44, 3, 0], "EAFNOSUPPORT")] // xdp
#[case("socket", &[0, 1, 0], "EAFNOSUPPORT")]
#[case("socket", &[0x1_0000_0028, 1, 0], "EAFNOSUPPORT")] // vsock with high bits
#[case("socket", &[0x1_0000_0011, 3, 0], "EAFNOSUPPORT")]
#[case("socket", &[0x1_0000_0002, 0x1_0000_0003, 0], "EPERM")] // raw with high bits
#[case("socket", &[0xffff_ffff_0000_0001, 1, 0], "allow")] // the kernel reads AF_UNIX
#[case("socketpair", &[1, 1, 0], "allow")]
#[case("socketpair", &[2, 1, 0], "EAFNOSUPPORT")]
#[case("socketpair", &[30, 1, 0], "EAFNOSUPPORT")]
// ioctl requests.
#[case("ioctl", &[0, 0x5401], "allow")] // TCGETS
#[case("ioctl", &[0, 0x5413], "allow")] // TIOCGWINSZ
#[case("ioctl", &[0, 0x540e], "allow")] // TIOCSCTTY
#[case("ioctl", &[0, 0x541b], "allow")] // FIONREAD
#[case("ioctl", &[0, 0x5412], "EPERM")] // TIOCSTI
#[case("ioctl", &[0, 0x1_0000_5412], "EPERM")]
#[case("ioctl", &[0, 0xffff_ffff_0000_5412], "EPERM")]
#[case("ioctl", &[0, 0x541c], "EPERM")] // TIOCLINUX
#[case("ioctl", &[0, 0x5423], "EPERM")] // TIOCSETD
#[case("ioctl", &[0, 0x894c], "EPERM")] // SIOCGSKNS
#[case("ioctl", &[0, 0xb701], "EPERM")] // NS_GET_USERNS
#[case("ioctl", &[0, 0x8008_b705], "EPERM")] // NS_GET_MNTNS_ID
#[case("ioctl", &[0, 0xff04], "EPERM")] // PIDFD_GET_NET_NAMESPACE
// Set-id modes.
#[case("chmod", &[0, 0o755], "allow")]
#[case("chmod", &[0, 0o1777], "allow")]
#[case("chmod", &[0, 0o4755], "EPERM")]
#[case("chmod", &[0, 0o2755], "EPERM")]
#[case("chmod", &[0, 0x1_0000_0000 | 0o4755], "EPERM")]
#[case("fchmod", &[0, 0o6755], "EPERM")]
#[case("fchmodat", &[0, 0, 0o4755], "EPERM")]
#[case("fchmodat", &[0, 0o4755, 0o755], "allow")]
#[case("fchmodat2", &[0, 0, 0o4755, 0], "EPERM")]
#[case("mkdir", &[0, 0o2755], "EPERM")]
#[case("mkdirat", &[0, 0, 0o2755], "EPERM")]
#[case("mkdirat", &[0, 0, 0o755], "allow")]
#[case("creat", &[0, 0o4755], "EPERM")]
#[case("open", &[0, 0, 0o4755], "allow")] // without O_CREAT the mode is noise
#[case("open", &[0, 0o100, 0o4755], "EPERM")]
#[case("open", &[0, 0o100, 0o644], "allow")]
#[case("open", &[0, 0o20_200_000, 0o2755], "EPERM")] // O_TMPFILE
#[case("openat", &[0, 0, 0o101, 0o4755], "EPERM")]
#[case("openat", &[0, 0, 0o101, 0o755], "allow")]
#[case("openat", &[0, 0, 0o100_0000, 0o4755], "allow")]
#[case("mknod", &[0, 0o100_644, 0], "allow")]
#[case("mknod", &[0, 0o644, 0], "allow")]
#[case("mknod", &[0, 0o10_644, 0], "allow")]
#[case("mknod", &[0, 0o140_644, 0], "allow")]
#[case("mknod", &[0, 0o20_644, 0x103], "EPERM")]
#[case("mknod", &[0, 0o60_644, 0x800], "EPERM")]
#[case("mknod", &[0, 0o104_755, 0], "EPERM")]
#[case("mknodat", &[0, 0, 0o20_644, 0], "EPERM")]
#[case("mknodat", &[0, 0, 0o10_644, 0], "allow")]
// The rest.
#[case("execveat", &[3, 0, 0, 0, 0], "allow")]
#[case("execveat", &[3, 0, 0, 0, 0x1000], "ENOSYS")]
#[case("execveat", &[3, 0, 0, 0, 0x1_1000], "ENOSYS")]
#[case("personality", &[0], "allow")]
#[case("personality", &[0xffff_ffff], "allow")]
#[case("personality", &[u64::MAX], "allow")]
#[case("personality", &[0x0004_0000], "EPERM")]
#[case("personality", &[0x0040_0000], "EPERM")]
#[case("prctl", &[15], "allow")]
#[case("prctl", &[38, 1], "allow")]
#[case("prctl", &[4, 0], "allow")]
#[case("prctl", &[0x5356_4d41], "allow")]
#[case("prctl", &[22, 2], "EPERM")]
#[case("prctl", &[0x1_0000_0016, 2], "EPERM")]
#[case("prctl", &[35], "EPERM")]
#[case("prctl", &[1000], "EINVAL")]
#[case("sched_setscheduler", &[0, 0], "allow")]
#[case("sched_setscheduler", &[0, 0x4000_0003], "allow")]
#[case("sched_setscheduler", &[0, 1], "EPERM")]
#[case("sched_setscheduler", &[0, 0x4000_0002], "EPERM")]
#[case("sched_setscheduler", &[0, 6], "EPERM")]
fn standard_decisions(#[case] name: &str, #[case] args: &[u64], #[case] expected: &str) {
    assert_eq!(Filter::from(standard()).named(name, args), expected);
}

#[rstest]
#[case(NetworkMode::None, "read", &[], "allow")]
#[case(NetworkMode::None, "memfd_create", &[], "EPERM")]
#[case(NetworkMode::None, "shmget", &[], "EPERM")]
#[case(NetworkMode::None, "mq_open", &[], "EPERM")]
#[case(NetworkMode::None, "io_setup", &[], "EPERM")]
#[case(NetworkMode::None, "socket", &[1, 1, 0], "allow")]
#[case(NetworkMode::None, "socket", &[2, 1, 0], "EAFNOSUPPORT")]
#[case(NetworkMode::None, "socket", &[10, 2, 0], "EAFNOSUPPORT")]
#[case(NetworkMode::None, "socket", &[16, 3, 0], "EAFNOSUPPORT")]
#[case(NetworkMode::Allowlist, "socket", &[2, 1, 0], "allow")]
#[case(NetworkMode::Allowlist, "socket", &[2, 2, 1], "EACCES")]
#[case(NetworkMode::Open, "socket", &[2, 2, 1], "allow")]
#[case(NetworkMode::Open, "socket", &[2, 3, 1], "EPERM")]
#[case(NetworkMode::Open, "socket", &[40, 1, 0], "EAFNOSUPPORT")]
fn strict_decisions(
    #[case] mode: NetworkMode,
    #[case] name: &str,
    #[case] args: &[u64],
    #[case] expected: &str,
) {
    assert_eq!(Filter::from(strict(mode)).named(name, args), expected);
}

#[rstest]
#[case("unshare", &[0x1000_0000], "allow")]
#[case("clone", &[0x1000_0011], "allow")]
#[case("setns", &[], "allow")]
#[case("mount", &[], "allow")]
#[case("ioctl", &[0, 0xb701], "allow")]
#[case("ioctl", &[0, 0x5412], "EPERM")]
#[case("clone3", &[], "ENOSYS")]
#[case("fsopen", &[], "ENOSYS")]
#[case("move_mount", &[], "ENOSYS")]
#[case("ptrace", &[], "EPERM")]
#[case("open_by_handle_at", &[], "EPERM")]
fn nested_decisions(#[case] name: &str, #[case] args: &[u64], #[case] expected: &str) {
    assert_eq!(Filter::from(nested()).named(name, args), expected);
}

/// Every entry but x86-64's own: whatever the number means there.
#[rstest]
#[case(I386)]
#[case(AARCH64)]
#[case(0)]
#[case(u32::MAX)]
#[case(X86_64 | 1 << 16)]
fn foreign_entries_are_closed(#[case] arch: u32) {
    let filter = Filter::from(standard());
    for number in (0..=600).chain([X32_BIT, u32::MAX]) {
        assert_eq!(filter.answer(arch, number, [0; 6]), Action::Fail(Errno::Enosys), "{number}");
    }
}

#[test]
fn x32_and_minus_one_are_closed() {
    let filter = Filter::from(standard());
    let numbers = (0..=600).map(|number| number | X32_BIT);
    for number in numbers.chain([X32_BIT * 2, X32_BIT * 3 + 1, u32::MAX - 1, u32::MAX]) {
        assert_eq!(filter.answer(X86_64, number, [0; 6]), Action::Fail(Errno::Enosys), "{number:#x}");
    }
}

#[test]
fn unknown_numbers_are_absent_and_known_ones_decided() {
    let filter = Filter::from(standard());
    for number in 0..=600 {
        let got = filter.answer(X86_64, number, [0; 6]);
        if syscalls::name(number).is_none() {
            assert_eq!(got, Action::Fail(Errno::Enosys), "{number}");
        }
    }
    assert_eq!(filter.profile.rules.iter().count(), syscalls::names().len());
}

#[test]
fn allow_opens_and_deny_wins() {
    let filter = with_lists(&["ptrace", "mount", "ioctl"], &["mount", "flock", "socket", "clone3"])
        .map(Filter::from)
        .unwrap();
    assert_eq!(filter.named("ptrace", &[]), "allow");
    assert_eq!(filter.named("mount", &[]), "EPERM");
    assert_eq!(filter.named("ioctl", &[0, 0x5412]), "allow");
    assert_eq!(filter.named("flock", &[]), "EPERM");
    assert_eq!(filter.named("socket", &[1, 1, 0]), "EPERM");
    assert_eq!(filter.named("clone3", &[]), "ENOSYS");
}

#[test]
fn allowing_seccomp_opens_both_ways_to_a_filter() {
    let filter = with_lists(&["seccomp"], &[]).map(Filter::from).unwrap();
    assert_eq!(filter.named("seccomp", &[1]), "allow");
    assert_eq!(filter.named("prctl", &[22, 2]), "allow");
    assert_eq!(filter.named("prctl", &[35]), "EPERM");
    let denied = with_lists(&["seccomp"], &["seccomp"]).map(Filter::from).unwrap();
    assert_eq!(denied.named("seccomp", &[1]), "EPERM");
    assert_eq!(denied.named("prctl", &[22, 2]), "EPERM");
}

#[test]
fn a_policy_that_cannot_be_filtered_is_refused() {
    let unknown = with_lists(&["mout"], &[]).unwrap_err();
    assert_eq!(unknown.to_string(), r#"unknown system call "mout" in process.syscalls.allow"#);
    let unknown = with_lists(&[], &["fstatat"]).unwrap_err();
    assert_eq!(unknown.to_string(), r#"unknown system call "fstatat" in process.syscalls.deny"#);
    assert_eq!(with_lists(&[], &["wait4"]), Err(Undecidable::NeededByInit { name: "wait4" }));
}

/// What a reviewer of a change to the table reads.
#[test]
fn the_standard_table() {
    insta::assert_snapshot!(text(&standard()));
}

/// Only what differs from the standard table.
#[test]
fn the_strict_table() {
    let standard = text(&standard());
    let standard: BTreeSet<_> = standard.lines().collect();
    let strict = text(&strict(NetworkMode::None));
    let differing: Vec<_> = strict.lines().filter(|line| !standard.contains(line)).collect();
    insta::assert_snapshot!(differing.join("\n"));
}

fn text(profile: &Profile) -> String {
    let mut lines = vec![
        profile.to_string(),
        format!("foreign entries {}, x32 {}", profile.foreign_arch, profile.x32),
        format!("{} instructions", assemble(profile).unwrap().instructions.len()),
    ];
    for group in GROUPS {
        lines.push(format!("\n# {}", group.why));
        for name in group.calls {
            let Verdict::Always(action) = profile.rules.get(Call::named(name).unwrap()).unwrap() else {
                panic!("{name} is checked")
            };
            lines.push(format!("{name:24} {action}"));
        }
    }
    for (name, _) in CHECKED {
        let Verdict::Check(check) = profile.rules.get(Call::named(name).unwrap()).unwrap() else {
            panic!("{name} is not checked")
        };
        lines.push(format!("\n# {name}"));
        for Case { about, conditions, then } in &check.cases {
            let conditions: Vec<_> = conditions.iter().map(Condition::to_string).collect();
            lines.push(format!("{then:16} {}    ({about})", conditions.join(", ")));
        }
        lines.push(format!("{:16} otherwise", check.otherwise));
    }
    lines.join("\n")
}

#[test]
fn json_is_words_and_survives() {
    let profile = standard();
    let json = serde_json::to_value(&profile).unwrap();
    assert_eq!(json["arch"], "x86_64");
    assert_eq!(json["unknown"], "ENOSYS");
    assert_eq!(json["rules"]["read"], "allow");
    assert_eq!(json["rules"]["mount"], "EPERM");
    insta::assert_json_snapshot!(json["rules"]["socketpair"], @r###"
    {
      "cases": [
        {
          "about": "AF_UNIX",
          "if": [
            "arg0:u32 == 0x1"
          ],
          "then": "allow"
        }
      ],
      "otherwise": "EAFNOSUPPORT"
    }
    "###);
    let text = serde_json::to_string(&profile).unwrap();
    assert_eq!(serde_json::from_str::<Profile>(&text).unwrap(), profile);
}

#[rstest]
#[case("\"mount\"", "\"mout\"", r#"unknown system call "mout""#)]
#[case("\"allow\"", "\"alow\"", r#"unknown action "alow": expected allow or one of EPERM, "#)]
#[case("arg0:u32 == 0x1", "arg0:u16 == 0x1", r#"condition "arg0:u16 == 0x1": expected arg0..arg5"#)]
#[case("otherwise", "else", "unknown field `else`")]
#[case("\"x32\"", "\"x64\"", "unknown field `x64`")]
fn a_mistake_in_json_is_named(#[case] right: &str, #[case] wrong: &str, #[case] complaint: &str) {
    let json = serde_json::to_string(&standard()).unwrap().replacen(right, wrong, 1);
    let error = serde_json::from_str::<Profile>(&json).unwrap_err().to_string();
    assert!(error.starts_with(complaint), "{error}");
}

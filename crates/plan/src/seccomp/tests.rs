//! The filter as a whole: every decision of the standard and strict tables, and that the assembled program is the
//! profile.

use std::collections::BTreeSet;

use palisade_policy::{
    Identity, Network, NetworkMode, Process, SyscallProfile, Syscalls, Terminal, syscalls,
};
use proptest::prelude::*;
use rstest::rstest;

use super::arguments::CHECKED;
use super::assemble::{MAX_INSTRUCTIONS, code};
use super::interpret::{CallData, Fault, interpret};
use super::table::{GROUPS, NEEDED_BY_INIT};
use super::{
    Action, Arch, Call, Case, Check, Condition, Errno, Instruction, Profile, TooLong, Undecidable, Verdict,
    Width, assemble,
};

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
const X32_BIT: u32 = 0x4000_0000;

fn process(profile: SyscallProfile) -> Process {
    Process {
        identity: Identity::User,
        capabilities: vec![],
        syscalls: Syscalls { profile, allow: vec![], deny: vec![] },
        nested_namespaces: false,
        terminal: Terminal::None,
    }
}

fn network(mode: NetworkMode) -> Network {
    Network { mode, ..Network::default() }
}

fn standard() -> Profile {
    Profile::decide(&process(SyscallProfile::Standard), &network(NetworkMode::None)).unwrap()
}

fn strict(mode: NetworkMode) -> Profile {
    Profile::decide(&process(SyscallProfile::Strict), &network(mode)).unwrap()
}

fn nested() -> Profile {
    let process = Process { nested_namespaces: true, ..process(SyscallProfile::Standard) };
    Profile::decide(&process, &network(NetworkMode::None)).unwrap()
}

fn with_lists(allow: &[&str], deny: &[&str]) -> Result<Profile, Undecidable> {
    let mut process = process(SyscallProfile::Standard);
    process.syscalls.allow = allow.iter().map(|&name| name.to_owned()).collect();
    process.syscalls.deny = deny.iter().map(|&name| name.to_owned()).collect();
    Profile::decide(&process, &network(NetworkMode::None))
}

/// The answer to a call, read twice: off the profile and by running the program. They must agree.
fn answer(profile: &Profile, arch: u32, number: u32, args: [u64; 6]) -> Action {
    let expected = profile.evaluate(arch, number, &args);
    let program = assemble(profile).unwrap();
    let ran = interpret(&program.instructions, &CallData { number, arch, args }).unwrap();
    assert_eq!(ran, expected.return_value(), "arch {arch:#x} number {number} args {args:x?}");
    expected
}

fn answer_named(profile: &Profile, name: &str, args: &[u64]) -> String {
    let mut registers = [0; 6];
    registers[..args.len()].copy_from_slice(args);
    let number = syscalls::number(name).unwrap_or_else(|| panic!("no system call {name}"));
    answer(profile, X86_64, number, registers).to_string()
}

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
            let verdict = &profile.rules[&Call::named(name).unwrap()];
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
    assert_eq!(answer_named(&standard(), name, args), expected);
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
    assert_eq!(answer_named(&strict(mode), name, args), expected);
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
    assert_eq!(answer_named(&nested(), name, args), expected);
}

/// Every entry but x86-64's own: whatever the number means there.
#[rstest]
#[case(I386)]
#[case(AARCH64)]
#[case(0)]
#[case(u32::MAX)]
#[case(X86_64 | 1 << 16)]
fn foreign_entries_are_closed(#[case] arch: u32) {
    let profile = standard();
    for number in (0..=600).chain([X32_BIT, u32::MAX]) {
        assert_eq!(answer(&profile, arch, number, [0; 6]), Action::Fail(Errno::Enosys), "{number}");
    }
}

#[test]
fn x32_and_minus_one_are_closed() {
    let profile = standard();
    let numbers = (0..=600).map(|number| number | X32_BIT);
    for number in numbers.chain([X32_BIT * 2, X32_BIT * 3 + 1, u32::MAX - 1, u32::MAX]) {
        assert_eq!(answer(&profile, X86_64, number, [0; 6]), Action::Fail(Errno::Enosys), "{number:#x}");
    }
}

#[test]
fn unknown_numbers_are_absent_and_known_ones_decided() {
    let profile = standard();
    for number in 0..=600 {
        let got = answer(&profile, X86_64, number, [0; 6]);
        if syscalls::name(number).is_none() {
            assert_eq!(got, Action::Fail(Errno::Enosys), "{number}");
        }
    }
    assert_eq!(profile.rules.len(), syscalls::names().len());
}

#[test]
fn allow_opens_and_deny_wins() {
    let profile = with_lists(&["ptrace", "mount", "ioctl"], &["mount", "flock", "socket", "clone3"]).unwrap();
    assert_eq!(answer_named(&profile, "ptrace", &[]), "allow");
    assert_eq!(answer_named(&profile, "mount", &[]), "EPERM");
    assert_eq!(answer_named(&profile, "ioctl", &[0, 0x5412]), "allow");
    assert_eq!(answer_named(&profile, "flock", &[]), "EPERM");
    assert_eq!(answer_named(&profile, "socket", &[1, 1, 0]), "EPERM");
    assert_eq!(answer_named(&profile, "clone3", &[]), "ENOSYS");
}

#[test]
fn allowing_seccomp_opens_both_ways_to_a_filter() {
    let profile = with_lists(&["seccomp"], &[]).unwrap();
    assert_eq!(answer_named(&profile, "seccomp", &[1]), "allow");
    assert_eq!(answer_named(&profile, "prctl", &[22, 2]), "allow");
    assert_eq!(answer_named(&profile, "prctl", &[35]), "EPERM");
    let denied = with_lists(&["seccomp"], &["seccomp"]).unwrap();
    assert_eq!(answer_named(&denied, "seccomp", &[1]), "EPERM");
    assert_eq!(answer_named(&denied, "prctl", &[22, 2]), "EPERM");
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
            let Verdict::Always(action) = &profile.rules[&Call::named(name).unwrap()] else {
                panic!("{name} is checked")
            };
            lines.push(format!("{name:24} {action}"));
        }
    }
    for (name, _) in CHECKED {
        let Verdict::Check(check) = &profile.rules[&Call::named(name).unwrap()] else {
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

/// The interpreter sees the difference that CVE-2019-10063 made.
#[test]
fn a_filter_that_compares_an_ioctl_request_on_64_bits_is_caught() {
    let mutant: Profile = serde_json::from_str(
        &serde_json::to_string(&standard()).unwrap().replace("arg1:u32 in 0x5412", "arg1:u64 in 0x5412"),
    )
    .unwrap();
    assert_eq!(answer_named(&mutant, "ioctl", &[0, 0x5412]), "EPERM");
    assert_eq!(answer_named(&mutant, "ioctl", &[0, 0x1_0000_5412]), "allow");
}

/// Damage to any one instruction makes some call differ from the profile: no instruction is idle, and the sweep that
/// compares program and profile would see each of them go wrong.
#[test]
fn a_damaged_program_is_noticed() {
    let profile = standard();
    let program = assemble(&profile).unwrap().instructions;
    let sweep = telling_calls(&profile);
    let expected: Vec<_> = sweep
        .iter()
        .map(|call| profile.evaluate(call.arch, call.number, &call.args).return_value())
        .collect();
    let mut unnoticed = vec![];
    for at in 0..program.len() {
        let mut damaged = program.clone();
        let instruction = &mut damaged[at];
        match instruction.code {
            code::IF_EQUAL | code::IF_AT_LEAST => std::mem::swap(&mut instruction.jt, &mut instruction.jf),
            code::LOAD => instruction.k = (instruction.k + 4) % 64,
            code::AND => instruction.k = u32::MAX,
            code::RETURN => instruction.k ^= 0x7ffa_0000,
            _ => continue,
        }
        let same =
            sweep.iter().zip(&expected).all(|(call, &expected)| interpret(&damaged, call) == Ok(expected));
        if same {
            unnoticed.push(at);
        }
    }
    let unnoticed: Vec<_> = unnoticed.into_iter().map(|at| (at, program[at])).collect();
    assert_eq!(unnoticed, [], "of {} instructions, {} calls", program.len(), sweep.len());
}

/// Every number with arguments of zero, and for each checked call all combinations of telling arguments.
fn telling_calls(profile: &Profile) -> Vec<CallData> {
    let native = |number, args| CallData { number, arch: X86_64, args };
    let mut calls: Vec<_> = (0..=600).map(|number| native(number, [0; 6])).collect();
    calls.extend([native(X32_BIT, [0; 6]), native(u32::MAX, [0; 6])]);
    calls.push(CallData { number: 0, arch: I386, args: [0; 6] });
    for (call, verdict) in &profile.rules {
        if let Verdict::Check(check) = verdict {
            calls.extend(telling_arguments(check).into_iter().map(|args| native(call.number(), args)));
        }
    }
    calls
}

/// For each argument that a check looks at: every value of every condition, alone, with noise where the condition
/// does not look, and joined with those of other conditions; and a value that no condition has. All combined.
fn telling_arguments(check: &Check) -> Vec<[u64; 6]> {
    let mut all = vec![[0; 6]];
    for argument in 0..6 {
        let conditions = || {
            check
                .cases
                .iter()
                .flat_map(|case| &case.conditions)
                .filter(|condition| condition.argument() == argument)
        };
        let values: BTreeSet<_> = conditions()
            .flat_map(|condition| condition.values().iter().map(|&value| (value, condition.mask())))
            .collect();
        let mut choices: BTreeSet<_> = values
            .iter()
            .flat_map(|&(value, mask)| [value, value | !mask, value | (!mask & 0o777)])
            .collect();
        choices.extend(values.iter().map(|&(value, mask)| !value & mask));
        if choices.len() < 20 {
            let alone = choices.clone();
            choices.extend(alone.iter().flat_map(|one| alone.iter().map(move |other| one | other)));
        }
        if choices.is_empty() {
            continue;
        }
        all = all
            .into_iter()
            .flat_map(|args| {
                choices.iter().map(move |&choice| {
                    let mut args = args;
                    args[usize::from(argument)] = choice;
                    args
                })
            })
            .collect();
    }
    all
}

#[rstest]
#[case(vec![], Fault::Length(0))]
#[case(vec![jump(code::LOAD, 0, 0, 0)], Fault::RunsOut { at: 0 })]
#[case(vec![jump(code::IF_EQUAL, 1, 0, 0), RETURN], Fault::RunsOut { at: 0 })]
#[case(vec![jump(code::JUMP, 0, 0, 1), RETURN], Fault::RunsOut { at: 0 })]
#[case(vec![jump(code::LOAD, 0, 0, 2), RETURN], Fault::Load { at: 0, offset: 2 })]
#[case(vec![jump(code::LOAD, 0, 0, 64), RETURN], Fault::Load { at: 0, offset: 64 })]
#[case(vec![jump(0x28, 0, 0, 0), RETURN], Fault::Code { at: 0, code: 0x28 })]
#[case(vec![RETURN; 4097], Fault::Length(4097))]
fn the_interpreter_refuses_what_the_kernel_refuses(#[case] program: Vec<Instruction>, #[case] fault: Fault) {
    let call = CallData { number: 0, arch: X86_64, args: [0; 6] };
    assert_eq!(interpret(&program, &call), Err(fault));
}

const RETURN: Instruction = jump(code::RETURN, 0, 0, 0);

const fn jump(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// Enough checks of a hundred values each to push jumps past 255 instructions, and then past the kernel's limit.
fn long_profile(calls: u32) -> Profile {
    let mut profile = standard();
    for number in 0..calls {
        let values: Vec<_> = (0..100).map(|value| value * 7 + u64::from(number)).collect();
        let conditions = vec![
            Condition::new(1, Width::U64, None, [5, 1 << 40]).unwrap(),
            Condition::new(2, Width::U32, None, values).unwrap(),
        ];
        let case = Case { about: String::new(), conditions, then: Action::Allow };
        let check = Check { cases: vec![case.clone(), case], otherwise: Action::Fail(Errno::Eperm) };
        profile.rules.insert(Call::numbered(number).unwrap(), Verdict::Check(check));
    }
    profile
}

#[test]
fn far_targets_are_reached() {
    let profile = long_profile(10);
    let program = assemble(&profile).unwrap().instructions;
    assert!(program.iter().any(|instruction| instruction.code == code::JUMP), "the test needs a far jump");
    for number in 0..=600 {
        for second in [0, 5, 1 << 40, 1 << 40 | 5] {
            for third in [0, 7, 8, 693 + 9, 1 << 32, u64::MAX] {
                let args = [0, second, third, 0, 0, 0];
                let ran = interpret(&program, &CallData { number, arch: X86_64, args });
                assert_eq!(
                    ran,
                    Ok(profile.evaluate(X86_64, number, &args).return_value()),
                    "{number} {args:?}"
                );
            }
        }
    }
}

#[test]
fn a_filter_that_the_kernel_would_refuse_is_not_made() {
    let Err(TooLong { needed }) = assemble(&long_profile(60)) else { panic!("fits") };
    assert!(needed > MAX_INSTRUCTIONS);
}

/// An argument as a program, or an attacker, may pass it: small, near a constant of the rules, or with a high half.
fn argument() -> impl Strategy<Value = u64> {
    let low = prop_oneof![
        0_u64..64,
        Just(0x5412),
        Just(0x541c),
        Just(0xb701),
        Just(0x894c),
        Just(0x1000_0011),
        Just(0o4755),
        Just(0o100),
        any::<u32>().prop_map(u64::from),
    ];
    (low, prop_oneof![3 => Just(0_u64), 1 => any::<u32>().prop_map(u64::from)])
        .prop_map(|(low, high)| high << 32 | low)
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![Just(Action::Allow), Just(Action::Fail(Errno::Eperm)), Just(Action::Fail(Errno::Enosys))]
}

fn any_condition() -> impl Strategy<Value = Condition> {
    (0_u8..6, any::<bool>(), proptest::option::of(argument()), proptest::collection::vec(argument(), 1..4))
        .prop_map(|(argument, wide, mask, values)| {
            let width = if wide { Width::U64 } else { Width::U32 };
            let ones = if wide { u64::MAX } else { 0xffff_ffff };
            let mask = mask.unwrap_or(ones) & ones;
            let values: Vec<_> = values.into_iter().map(|value| value & mask).collect();
            Condition::new(argument, width, Some(mask), values).unwrap()
        })
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    let case = (proptest::collection::vec(any_condition(), 0..4), any_action())
        .prop_map(|(conditions, then)| Case { about: String::new(), conditions, then });
    let check = (proptest::collection::vec(case, 0..4), any_action())
        .prop_map(|(cases, otherwise)| Verdict::Check(Check { cases, otherwise }));
    prop_oneof![any_action().prop_map(Verdict::Always), check]
}

fn any_profile() -> impl Strategy<Value = Profile> {
    let rules = proptest::collection::vec((0..syscalls::names().len(), any_verdict()), 0..80);
    (rules, any_action(), any_action(), any_action()).prop_map(|(rules, foreign_arch, x32, unknown)| {
        let names: Vec<_> = syscalls::names().collect();
        let rules =
            rules.into_iter().map(|(index, verdict)| (Call::named(names[index]).unwrap(), verdict)).collect();
        Profile { arch: Arch::X86_64, foreign_arch, x32, unknown, rules }
    })
}

fn any_number() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0_u32..600, 1 => (0_u32..600).prop_map(|number| number | X32_BIT), 1 => any::<u32>()]
}

proptest! {
    #[test]
    fn the_program_is_the_standard_profile(
        arch in prop_oneof![8 => Just(X86_64), 1 => Just(I386), 1 => any::<u32>()],
        calls in proptest::collection::vec((any_number(), [argument(), argument(), argument(), argument(), argument(), argument()]), 64),
    ) {
        let profile = standard();
        let program = assemble(&profile).unwrap().instructions;
        for (number, args) in calls {
            let ran = interpret(&program, &CallData { number, arch, args });
            prop_assert_eq!(ran, Ok(profile.evaluate(arch, number, &args).return_value()));
        }
    }

    #[test]
    fn the_program_is_the_profile_whatever_the_profile(
        profile in any_profile(),
        picks in proptest::collection::vec((any_number(), any::<usize>(), [argument(), argument(), argument(), argument(), argument(), argument()]), 64),
    ) {
        let program = assemble(&profile).unwrap().instructions;
        let rules: Vec<_> = profile.rules.iter().collect();
        for (number, pick, mut args) in picks {
            // Half of the calls aim at a case of a check, or its very edge.
            let mut number = number;
            if let Some((call, Verdict::Check(check))) = rules.get(pick % (2 * rules.len() + 1)) {
                number = call.number();
                for condition in check.cases.iter().take(1 + pick % 3).flat_map(|case| &case.conditions) {
                    let argument = &mut args[usize::from(condition.argument())];
                    *argument = *argument & !condition.mask() | condition.values()[pick % condition.values().len()];
                }
            }
            let ran = interpret(&program, &CallData { number, arch: X86_64, args });
            prop_assert_eq!(ran, Ok(profile.evaluate(X86_64, number, &args).return_value()));
        }
    }
}

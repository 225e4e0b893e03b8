//! Entries under another filter than the standard one: the profile `strict`, and calls that the policy denies or allows by name. And
//! under a `tmp` that has no room for what they put there.
//!
//! A call that the policy opens is not forbidden, whatever else refuses it. What has to work is not asked for where the policy itself takes the call for it away, and what is prepared by such a call
//! is not prepared. The attempts at what is forbidden stay.

use std::collections::BTreeSet;

use nix::libc;
use palisade_policy::{NetworkMode, Policy, SyscallProfile};
use palisade_probe::control;
use palisade_probe::script::{Arg, Phase, Piece, Script, Statement};

use super::{Class, Expect, Probe, Workload};

/// What the profile `strict` refuses besides.
const STRICT: &[&str] = &[
    "io_setup",
    "memfd_create",
    "mq_open",
    "msgctl",
    "msgget",
    "semctl",
    "semget",
    "shmat",
    "shmctl",
    "shmget",
    "sync",
    "syncfs",
];

/// What nested namespaces are made and furnished with: it reaches the kernel, which asks for a capability over the namespace that it
/// is about. With operands that cannot act, the one is not told from the other.
const NESTED: &[&str] = &["chroot", "mount", "pivot_root", "umount2"];

/// Whether only UNIX sockets can be made.
pub(super) fn is_without_internet(policy: &Policy) -> bool {
    let syscalls = &policy.process.syscalls;
    syscalls.profile == SyscallProfile::Strict
        && policy.network.mode == NetworkMode::None
        && !syscalls.allow.iter().any(|name| name == "socket")
}

/// Whether this call, which the standard profile lets through, is refused.
pub(super) fn refuses(policy: &Policy, name: &str) -> bool {
    let syscalls = &policy.process.syscalls;
    let is_in = |names: &[String]| names.iter().any(|one| one == name);
    let by_profile = syscalls.profile == SyscallProfile::Strict && STRICT.contains(&name);
    is_in(&syscalls.deny) || by_profile && !is_in(&syscalls.allow)
}

/// The entries that mean something under the filter of the policy.
pub(super) fn applying(probes: Vec<Probe>, policy: &Policy) -> Vec<Probe> {
    let syscalls = &policy.process.syscalls;
    let names = STRICT.iter().copied().filter(|name| refuses(policy, name));
    let names = names.chain(syscalls.deny.iter().map(String::as_str));
    let refused: BTreeSet<u32> = names.filter_map(palisade_policy::syscalls::number).collect();
    let mut probes = probes;
    if policy.filesystem.tmp.bytes() < 2 * palisade_probe::IMAGE.len() as u64 {
        probes.retain(|probe| !script(probe).any(copies_into_tmp));
    }
    probes.retain(|probe| {
        !needs(probe, |statement| call(statement).is_some_and(|number| refused.contains(&number)))
    });
    let nested = if policy.process.nested_namespaces { NESTED } else { &[] };
    let opened = syscalls.allow.iter().map(String::as_str).chain(nested.iter().copied());
    let opened: BTreeSet<u32> = opened.filter_map(palisade_policy::syscalls::number).collect();
    probes.retain(|probe| {
        let is_denial = probe.class == Class::Denied && probe.clause.as_str() == "process.syscalls";
        !is_denial || !attempts(probe).filter_map(call).any(|number| opened.contains(&number))
    });
    if is_without_internet(policy) {
        probes.iter_mut().for_each(control_by_unix_sockets);
        probes.retain(|probe| !needs(probe, is_of_internet));
        probes.iter_mut().filter(|probe| probe.class == Class::Denied).for_each(|probe| {
            if attempts(probe).any(is_of_internet) {
                probe.expect = probe.expect.clone().or(Expect::NoFamily);
            }
        });
    }
    probes
}

/// Whether the entry means nothing without these statements: they prepare it, or are what has to work.
fn needs(probe: &Probe, picked: impl Fn(&Statement) -> bool) -> bool {
    let beside = probe.beside.iter().flat_map(Script::statements);
    let own = script(probe)
        .filter(|statement| probe.class == Class::Allowed || statement.phase() != Phase::Attempt);
    beside.chain(own).any(picked)
}

fn script(probe: &Probe) -> impl Iterator<Item = &Statement> {
    let script = match &probe.workload {
        Workload::Script(script) => Some(script),
        Workload::Command(_) => None,
    };
    script.into_iter().flat_map(Script::statements)
}

fn attempts(probe: &Probe) -> impl Iterator<Item = &Statement> {
    script(probe).filter(|statement| statement.phase() == Phase::Attempt)
}

/// Whether a statement copies the probe program into a private file system: one may be too small for it.
fn copies_into_tmp(statement: &Statement) -> bool {
    let path = match statement.args() {
        [Arg::Text(pieces), ..] => pieces.first(),
        _ => None,
    };
    let is_in_tmp = |path: &[u8]| path.starts_with(b"/tmp/") || path.starts_with(b"/dev/shm/");
    statement.operation() == "copy_exec" && matches!(path, Some(Piece::Bytes(path)) if is_in_tmp(path))
}

/// The number of the call that a statement makes by number.
fn call(statement: &Statement) -> Option<u32> {
    match statement.args().first()? {
        Arg::Int(number) if statement.operation() == "sys" => u32::try_from(*number).ok(),
        _ => None,
    }
}

/// Whether a statement needs a socket of the internet protocols or of netlink.
fn is_of_internet(statement: &Statement) -> bool {
    const FAMILIES: [i32; 3] = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let of_family = |family: Option<&Arg>| matches!(family, Some(Arg::Int(family)) if FAMILIES.iter().any(|known| i64::from(*known) == *family));
    let is_socket = call(statement) == u32::try_from(libc::SYS_socket).ok();
    match statement.operation() {
        "sys" => is_socket && of_family(statement.args().get(1)),
        "dns_query" | "getifaddrs" | "loopback_tcp" | "mptcp" | "netlink_send" | "tcp" | "tcp_fastopen"
        | "tcp_name" | "tcp_talk" | "udp" | "udplite" | "uring_connect" => true,
        _ => false,
    }
}

/// The control that a socket can be used at all, by one that can be made.
fn control_by_unix_sockets(probe: &mut Probe) {
    let Workload::Script(script) = &mut probe.workload else { return };
    let instead = |statement: &Statement| match (statement.phase(), statement.operation()) {
        (Phase::Control, "getifaddrs" | "loopback_tcp") => control!("socketpair_pass"),
        _ => statement.clone(),
    };
    *script = script.statements().iter().map(instead).collect();
}

#[cfg(test)]
mod tests {
    use palisade_policy::Document;

    use super::*;
    use crate::catalogue::all;
    use crate::lab::World;

    fn probes(process: &str) -> Vec<Probe> {
        let text = format!("process: {process}\n");
        let document = Document::parse("policy", &text).unwrap_or_else(|why| panic!("{why}"));
        all(&World::described(), &document.policy)
    }

    fn has(probes: &[Probe], id: &str) -> bool {
        probes.iter().any(|probe| probe.id == id)
    }

    #[test]
    fn without_internet_every_attempt_stays_and_its_control_works() {
        let (wide, strict) = (probes("{syscalls: standard}"), probes("{syscalls: strict}"));
        for id in ["net/tcp/v4", "net/raw/inet", "dns/tcp53", "net/metadata/packet"] {
            assert!(has(&wide, id) && has(&strict, id), "{id}");
        }
        for id in ["work/loopback-tcp", "work/interfaces", "net/loopback/own-v4", "cap/so-mark"] {
            assert!(has(&wide, id) && !has(&strict, id), "{id}");
        }
        assert!(!has(&wide, "net/family/internet") && has(&strict, "net/family/internet"));
        let controls =
            |probe: &Probe| script(probe).any(|s| s.phase() == Phase::Control && is_of_internet(s));
        assert!(wide.iter().any(controls) && !strict.iter().any(controls));
    }

    #[test]
    fn what_a_policy_denies_need_not_work() {
        let (wide, narrow) = (probes("{syscalls: standard}"), probes("{syscalls: {deny: [memfd_create]}}"));
        assert!(has(&wide, "work/memfd") && !has(&narrow, "work/memfd"));
        assert!(has(&narrow, "work/pipe"));
        let back = probes("{syscalls: {profile: strict, allow: [memfd_create]}}");
        assert!(has(&back, "work/memfd") && !has(&probes("{syscalls: strict}"), "work/memfd"));
    }

    #[test]
    fn what_has_no_room_is_not_tried() {
        let of = |size: &str| {
            let document = Document::parse("policy", &format!("filesystem: {{tmp: {size}}}\n"));
            all(&World::described(), &document.unwrap_or_else(|why| panic!("{why}")).policy)
        };
        assert!(has(&of("1MiB"), "fs/exec/dev-shm") && !has(&of("64KiB"), "fs/exec/dev-shm"));
    }

    #[test]
    fn what_a_policy_allows_is_not_forbidden() {
        let (narrow, wide) = (probes("{syscalls: standard}"), probes("{syscalls: {allow: [mount]}}"));
        assert!(has(&narrow, "mnt/mount") && !has(&wide, "mnt/mount") && has(&wide, "mnt/umount2"));
    }

    #[test]
    fn every_refused_call_is_one() {
        for name in STRICT.iter().chain(NESTED) {
            assert!(palisade_policy::syscalls::number(name).is_some(), "{name}");
        }
    }
}

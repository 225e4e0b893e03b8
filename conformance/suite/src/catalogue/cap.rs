//! Privileges: capability sets, no_new_privs, ids, and operations that need a capability.

use palisade_policy::{Identity, Policy};
use palisade_probe::script::Statement;

use super::prelude::*;
use crate::lab::World;

const CAPABILITIES: &str = "process.capabilities";
const IDENTITY: &str = "process.identity";

/// An empty set as /proc shows it.
const NONE: &str = "0000000000000000";

/// `_LINUX_CAPABILITY_VERSION_3` and the calling process (capset(2)).
const CAP_HEADER: [u8; 8] = [0x22, 0x05, 0x08, 0x20, 0, 0, 0, 0];

/// Entries of the group `cap`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let mut probes = identity(policy);
    if policy.process.capabilities.is_empty() {
        probes.extend(sets());
        probes.extend(uses(world));
    }
    probes
}

fn sets() -> Vec<Probe> {
    let empty = |id: &str, field: &str, set: &str| {
        Probe::denies(id, High)
            .serves(CAPABILITIES, "CAP-1")
            .requires(format!("the {set} capability set of every thread is empty"))
            .script([attempt!("status_all", field)])
            .expect(Expect::data_is(NONE))
    };
    let raised = |id: &str, set: &str, script: Vec<Statement>| {
        Probe::denies(id, High)
            .serves(CAPABILITIES, "CAP-1")
            .requires(format!("the {set} capability set is empty and nothing can be put into it"))
            .script(script)
            .expect(Expect::data_is(NONE))
    };
    let ambient = attempt!("sys", SYS_prctl, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, 0, 0, 0);
    vec![
        empty("cap/effective-empty", "CapEff", "effective"),
        empty("cap/permitted-empty", "CapPrm", "permitted"),
        empty("cap/bounding-empty", "CapBnd", "bounding"),
        // On a host without a sandbox these two are usually empty: what is asked is whether they can be filled.
        raised(
            "cap/inheritable-empty",
            "inheritable",
            vec![inherit_chown(), attempt!("status_all", "CapInh")],
        ),
        raised(
            "cap/ambient-empty",
            "ambient",
            vec![inherit_chown(), ambient, attempt!("status_all", "CapAmb")],
        ),
        Probe::denies("cap/first-process-effective", High)
            .serves(CAPABILITIES, "CAP-1")
            .requires("the sandbox's first process holds no capability")
            .script([attempt!("status_field", "1", "CapEff")])
            .expect(Expect::data_is(NONE)),
        Probe::denies("cap/nnp", High)
            .serves(CAPABILITIES, "CAP-2")
            .requires("no_new_privs is set in every thread")
            .script([attempt!("status_all", "NoNewPrivs")])
            .expect(Expect::data_is("1")),
        Probe::denies("cap/nnp-final", Medium)
            .serves(CAPABILITIES, "CAP-2")
            .requires("no_new_privs cannot be taken back")
            .script([
                attempt!("sys", SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0),
                attempt!("status_field", "self", "NoNewPrivs"),
            ])
            .expect(Expect::data_is("1")),
    ]
}

/// Puts CAP_CHOWN, the first, into the inheritable set, and keeps nothing else.
fn inherit_chown() -> Statement {
    // struct __user_cap_data_struct twice: effective, permitted, inheritable of the lower half, then of the upper.
    let (low, high) = ([1_u32, 1, 1], [0, 0, 0]);
    let data: Vec<u8> = low.iter().chain(&high).flat_map(|word| word.to_ne_bytes()).collect();
    attempt!("sys", SYS_capset, bytes(CAP_HEADER), bytes(data))
}

fn identity(policy: &Policy) -> Vec<Probe> {
    let ids = match policy.process.identity {
        Identity::User => "1000\t1000\t1000\t1000",
        Identity::Root => "0\t0\t0\t0",
    };
    let exactly = |id: &str, field: &str, requirement: &str, expect: Expect| {
        Probe::denies(id, High)
            .serves(CAPABILITIES, "CAP-4")
            .requires(requirement)
            .script([attempt!("status_field", "self", field)])
            .expect(expect)
    };
    let mut probes = vec![
        exactly(
            "cap/groups-empty",
            "Groups",
            "the workload has no supplementary group of the host",
            Expect::data_is(""),
        )
        // An ordinary user's groups cannot be dropped in a user namespace of his own (user_namespaces(7)).
        .needs(Need::Root),
    ];
    if policy.process.identity == Identity::User {
        probes.push(exactly(
            "cap/uid-effective",
            "Uid",
            "real, effective, saved and file-system uid are those that the policy names",
            Expect::data_is(ids),
        ));
        probes.push(exactly(
            "cap/gid-effective",
            "Gid",
            "real, effective, saved and file-system gid are those that the policy names",
            Expect::data_is(ids),
        ));
        // Not mapped: EINVAL; mapped and forbidden: EPERM.
        let not_root = || Denied.or(Expect::fails([EINVAL]));
        let become_root = |id: &str, call: libc::c_long, what: &str| {
            Probe::denies(id, High)
                .serves(IDENTITY, "CAP-4")
                .requires(format!("the workload cannot become {what} 0"))
                .script([attempt!("sys", call, 0, 0, 0)])
                .expect(not_root())
                .outside(Outside::succeeds())
        };
        probes.push(become_root("cap/setuid0", libc::SYS_setresuid, "uid"));
        probes.push(become_root("cap/setgid0", libc::SYS_setresgid, "gid"));
        probes.push(
            Probe::denies("cap/setgroups", High)
                .serves(IDENTITY, "CAP-4")
                .requires("the workload cannot change its supplementary groups")
                .script([attempt!("sys", SYS_setgroups, 0, NULL)])
                .outside(Outside::succeeds()),
        );
    }
    probes
}

/// Operations that need a capability: denied although the sandbox's first process held it.
fn uses(world: &World) -> Vec<Probe> {
    // One at which nothing of the lab listens.
    let low = (81..1024).find(|port| !world.tcp_ports.contains(port)).unwrap_or(81);
    let [high, rest] = low.to_be_bytes();
    let denied = |id: &str, requirement: &str| {
        Probe::denies(id, Medium).serves(CAPABILITIES, "CAP-3").requires(requirement)
    };
    vec![
        denied("cap/dac-override", "permission bits are obeyed")
            .operation("open a file of mode 000")
            .plant_entry(Planted::File("closed".into(), b"closed\n".to_vec(), 0))
            .plant("open", "open\n")
            .script([control!("read_file", "open"), attempt!("read_file", "closed")])
            .outside(Outside::succeeds()),
        denied("cap/chown", "a file cannot be given to somebody else")
            .operation("fchown(2) of a file of its own to another user")
            .script([
                setup!("sys", SYS_memfd_create, "probe", 0),
                attempt!("sys", libc::SYS_fchown, result(0), 12345, -1),
            ])
            .expect(Denied.or(Expect::fails([EINVAL])))
            .outside(Outside::succeeds()),
        denied("cap/bind-low", "the ports below 1024 are closed")
            .operation(format!("bind(2) to 127.0.0.1:{low}"))
            .script([
                setup!("sys", SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0),
                attempt!(
                    "sys",
                    SYS_bind,
                    result(0),
                    bytes([2, 0, high, rest, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
                    16
                ),
            ])
            .outside(Outside::succeeds()),
        denied("cap/so-mark", "a socket cannot choose its routing mark")
            .operation("setsockopt(SO_MARK)")
            .script([
                setup!("sys", SYS_socket, libc::AF_INET, libc::SOCK_DGRAM, 0),
                attempt!(
                    "sys",
                    SYS_setsockopt,
                    result(0),
                    libc::SOL_SOCKET,
                    libc::SO_MARK,
                    bytes([1, 0, 0, 0]),
                    4
                ),
            ])
            .outside(Outside::succeeds()),
        denied("cap/ip-transparent", "a socket cannot take a foreign address")
            .operation("setsockopt(IP_TRANSPARENT)")
            .script([
                setup!("sys", SYS_socket, libc::AF_INET, libc::SOCK_DGRAM, 0),
                attempt!("sys", SYS_setsockopt, result(0), libc::SOL_IP, 19, bytes([1, 0, 0, 0]), 4),
            ])
            .outside(Outside::succeeds()),
        denied("cap/securebits", "the rules by which root regains capabilities cannot be changed")
            .operation("prctl(PR_SET_SECUREBITS, SECBIT_NOROOT)")
            .script([attempt!("sys", SYS_prctl, libc::PR_SET_SECUREBITS, 1, 0, 0, 0)])
            .outside(Outside::succeeds()),
        denied("cap/bounding-drop", "not even the bounding set can be changed")
            .operation("prctl(PR_CAPBSET_DROP, CAP_CHOWN)")
            .script([attempt!("sys", SYS_prctl, libc::PR_CAPBSET_DROP, 0, 0, 0, 0)])
            .outside(Outside::succeeds()),
    ]
}

//! Namespaces: the workload stands in ones of its own, makes no others and enters none.

use palisade_policy::Policy;

use super::call::{allowed_by_name, args, refused, row};
use super::prelude::*;
use crate::lab::World;

const NESTED: &str = "process.nested_namespaces";
const IDENTITY: &str = "process.identity";
const SYSCALLS: &str = "process.syscalls";

/// Entries of the group `ns`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let mut probes = own(world);
    probes.extend(identity(world));
    if !policy.process.nested_namespaces {
        probes.extend(creation());
        probes.extend(entering(policy));
        probes.extend(enumeration());
    }
    probes
}

/// Each namespace differs from that of the host: the lab's. Not the mount namespace: the suite gives every case one of its
/// own, and what is mounted tells more than the number.
fn own(world: &World) -> Vec<Probe> {
    let here = &world.namespaces;
    let all = [
        ("ns/own/user", "user", here.user),
        ("ns/own/pid", "pid", here.pid),
        ("ns/own/net", "net", here.net),
        ("ns/own/ipc", "ipc", here.ipc),
        ("ns/own/uts", "uts", here.uts),
        ("ns/own/cgroup", "cgroup", here.cgroup),
    ];
    all.into_iter()
        .map(|(id, name, inode)| {
            Probe::denies(id, Critical)
                .serves(if name == "net" { "network.mode" } else { IDENTITY }, "NS-3")
                .requires(format!("the {name} namespace is not that of the host"))
                .operation(format!("read /proc/self/ns/{name}"))
                .script([attempt!("ns_inode", name)])
                .expect(Expect::data_lacks(format!("[{inode}]")))
                .outside(Outside::Shows(Expect::data_contains(format!("[{inode}]"))))
        })
        .collect()
}

/// Ids and names of the sandbox.
fn identity(world: &World) -> Vec<Probe> {
    let map = |id: &str, path: &str, requirement: &str| {
        Probe::denies(id, Critical)
            .serves(IDENTITY, "NS-4")
            .requires(requirement)
            .script([attempt!("read_file", path)])
            .expect(DataPasses("a map of ids without the host's root", maps_no_root))
    };
    vec![
        map("ns/uid-map-no-host-root", "/proc/self/uid_map", "no user of the sandbox is the host's root"),
        map("ns/gid-map-no-host-root", "/proc/self/gid_map", "no group of the sandbox is the host's root"),
        Probe::denies("ns/hostname-own", Low)
            .serves(IDENTITY, "NS-5")
            .requires("the name of the host cannot be read")
            .operation("uname(2)")
            .script([attempt!("uname", "nodename")])
            .expect(Expect::data_lacks(&world.hostname)),
        Probe::denies("ns/domainname-own", Low)
            .serves(IDENTITY, "NS-5")
            .requires("the name of the host's domain cannot be read")
            .operation("uname(2)")
            .script([attempt!("uname", "domainname")])
            .expect(Expect::data_lacks(&world.domainname)),
        // Longer than a name can be: refused after the permission, before anything changes.
        Probe::denies("ns/sethostname", Medium)
            .serves(SYSCALLS, "NS-5")
            .requires("the workload cannot rename the host")
            .script([attempt!("sys", SYS_sethostname, BAD, 4096)])
            .outside(Outside::fails([EINVAL])),
        Probe::denies("ns/setdomainname", Medium)
            .serves(SYSCALLS, "NS-5")
            .requires("the workload cannot rename the host's domain")
            .script([attempt!("sys", SYS_setdomainname, BAD, 4096)])
            .outside(Outside::fails([EINVAL])),
    ]
}

/// Whether no line of a map (first id inside, first id outside, how many) leads to id 0 outside.
fn maps_no_root(map: &[u8]) -> bool {
    let text = String::from_utf8_lossy(map);
    let mut lines = text.lines().peekable();
    lines.peek().is_some()
        && lines.all(|line| {
            let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            matches!(numbers[..], [_, outside, _] if outside > 0)
        })
}

/// By each call that makes namespaces. The flags hold CLONE_NEWUSER, which needs no capability: alone the others would be
/// refused to anybody.
fn creation() -> Vec<Probe> {
    let make = |id: String, severity, statement| {
        Probe::denies(id, severity)
            .serves(NESTED, "NS-1")
            .requires("the workload cannot make a namespace")
            .script([control!("fork_exit"), statement])
            // Refused, or by the limit of user.max_user_namespaces (user_namespaces(7)): a process can still be made.
            .expect(Denied.or(Expect::fails([ENOSPC])))
            .outside(Outside::succeeds())
    };
    let user = libc::CLONE_NEWUSER;
    let mut probes = vec![
        make("ns/unshare-newuser".to_owned(), Critical, attempt!("unshare_flags", user)),
        make("ns/clone-newuser".to_owned(), Critical, attempt!("clone_flags", user)),
        make("ns/clone3-newuser".to_owned(), Critical, attempt!("clone3_flags", user)),
        make("ns/clone-newuser-newnet".to_owned(), High, attempt!("clone_flags", user | libc::CLONE_NEWNET)),
        // In the upper half of the flags, which clone cuts off, stands nothing that could hide the lower.
        make(
            "ns/clone-newuser-high-bits".to_owned(),
            High,
            attempt!("clone_flags", bits((1 << 32) | u64::from(user.cast_unsigned()))),
        ),
    ];
    let kinds = [
        ("mnt", libc::CLONE_NEWNS),
        ("pid", libc::CLONE_NEWPID),
        ("net", libc::CLONE_NEWNET),
        ("ipc", libc::CLONE_NEWIPC),
        ("uts", libc::CLONE_NEWUTS),
        ("cgroup", libc::CLONE_NEWCGROUP),
        ("time", libc::CLONE_NEWTIME),
    ];
    probes.extend(kinds.map(|(name, flag)| {
        make(format!("ns/unshare-{name}"), Medium, attempt!("unshare_flags", user | flag))
    }));
    probes.push(
        Probe::denies("ns/nested-disabled", High)
            .serves(NESTED, "NS-1")
            .requires("the kernel itself lets the sandbox make no user namespace, whatever the filter says")
            .script([attempt!("read_file", "/proc/sys/user/max_user_namespaces")])
            .expect(Expect::data_is("0\n")),
    );
    probes
}

/// By each kind of descriptor that setns takes.
fn entering(policy: &Policy) -> Vec<Probe> {
    let rows = vec![
        row("ns/setns-badfd", High, "setns", args![-1, 0], [EBADF]),
        row("ns/setns-pidfd", High, "setns", args![-1, libc::CLONE_NEWNET | libc::CLONE_NEWNS], [EBADF]),
    ];
    let mut probes: Vec<Probe> =
        refused(policy, "NS-2", "the workload cannot enter a namespace", rows).collect();
    if !allowed_by_name(policy, "setns") {
        probes.push(
            Probe::denies("ns/setns-own", Medium)
                .serves(SYSCALLS, "NS-2")
                .requires("the workload cannot enter a namespace, not even the one where it is")
                .script([
                    setup!("open", "/proc/self/ns/net", O_RDONLY),
                    attempt!("sys", SYS_setns, result(0), 0),
                ])
                .outside(Outside::succeeds()),
        );
    }
    for (id, path) in [
        ("ns/first-process-net", "/proc/1/ns/net"),
        ("ns/first-process-mnt", "/proc/1/ns/mnt"),
        ("ns/first-process-user", "/proc/1/ns/user"),
    ] {
        probes.push(
            Probe::denies(id, High)
                .serves(NESTED, "NS-2")
                .requires("no descriptor of the first process's namespaces can be had")
                .script([control!("open", "/proc/self/ns/net", O_RDONLY), attempt!("open", path, O_RDONLY)])
                .outside(Outside::succeeds()),
        );
    }
    probes
}

/// What tells about namespaces, their owners and their parents.
fn enumeration() -> Vec<Probe> {
    const NS_GET_USERNS: i32 = 0xb701;
    const NS_GET_NSTYPE: i32 = 0xb703;
    const SIOCGSKNS: i32 = 0x894c;
    const PIDFD_GET_NET_NAMESPACE: i32 = 0xff04;
    let ask = |id: &str| {
        Probe::denies(id, Low).serves(SYSCALLS, "NS-2").requires("the workload cannot ask about namespaces")
    };
    let ioctl = |request: i32| attempt!("sys", SYS_ioctl, -1, request, 0);
    vec![
        ask("ns/nsfs-type-ioctl")
            .operation("ioctl(NS_GET_NSTYPE) of the own network namespace")
            .script([
                setup!("open", "/proc/self/ns/net", O_RDONLY),
                attempt!("sys", SYS_ioctl, result(0), NS_GET_NSTYPE, 0),
            ])
            .outside(Outside::succeeds()),
        ask("ns/nsfs-owner-ioctl")
            .operation("ioctl(NS_GET_USERNS) on no descriptor")
            .script([ioctl(NS_GET_USERNS)])
            .outside(Outside::fails([EBADF])),
        ask("ns/siocgskns")
            .operation("ioctl(SIOCGSKNS) on no descriptor")
            .script([ioctl(SIOCGSKNS)])
            .outside(Outside::fails([EBADF])),
        ask("ns/pidfd-namespace-ioctl")
            .operation("ioctl(PIDFD_GET_NET_NAMESPACE) on no descriptor")
            .script([ioctl(PIDFD_GET_NET_NAMESPACE)])
            .outside(Outside::fails([EBADF])),
        ask("ns/listns")
            .script([super::call::attempt("listns", args![BAD, BAD, 0, 0])])
            .outside(Outside::fails([EFAULT])),
    ]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::maps_no_root;

    #[rstest]
    #[case("      1000 1879069266          1\n", true)]
    #[case("         0          0 4294967295\n", false)]
    #[case("      1000       1001          1\n         0          0          1\n", false)]
    #[case("", false)]
    #[case("1000 1001\n", false)]
    fn maps(#[case] map: &str, #[case] expected: bool) {
        assert_eq!(maps_no_root(map.as_bytes()), expected);
    }
}

//! What a sandbox is, seen from outside while its workload waits: what a workload is made to believe, or a probe inside misreads,
//! deceives none of these.

use palisade_policy::{Access, Policy};

use super::prelude::*;
use super::{Action, Look};
use crate::lab::World;

const IDENTITY: &str = "process.identity";
const CAPABILITIES: &str = "process.capabilities";
const FILES: &str = "filesystem.base";

/// Entries of the group `posture`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let mut probes = namespaces();
    probes.extend(privileges(policy));
    probes.extend(mounts(world, policy));
    if policy.resources.memory.is_some() {
        probes.push(
            look("posture/cgroup/memory", Medium, "resources.memory", "POS-6", Look::Cgroup)
                .requires("the workload is in a control group for memory that is not the caller's")
                .expect(Expect::data_lacks("memory\n"))
                .outside(Outside::Shows(Expect::data_contains("memory\n"))),
        );
    }
    probes.extend([
        look("posture/descriptors", Critical, FILES, "POS-4", Look::Descriptors)
            .requires("the workload holds no descriptor but the three standard ones"),
        look("posture/session", Medium, "process.terminal", "POS-5", Look::Session)
            .requires("the workload is in a session of its own"),
    ]);
    probes
}

/// Waits to be looked at: the suite ends it when it has. What it tells is what is open or shared, and that must be nothing.
fn look(id: &str, severity: Severity, clause: &'static str, spec: &'static str, what: Look) -> Probe {
    Probe::denies(id, severity)
        .serves(clause, spec)
        .operation(format!("read {} of the waiting workload from outside", what.source()))
        .script([control!("sys", SYS_getpid), attempt!("sleep_ms", 15_000)])
        .interfere(1, Action::Look(what))
        .expect(Expect::lines([""; 0]))
}

fn namespaces() -> Vec<Probe> {
    let all = [
        ("user", IDENTITY),
        ("mnt", FILES),
        ("pid", IDENTITY),
        ("net", "network.mode"),
        ("ipc", IDENTITY),
        ("uts", IDENTITY),
        ("cgroup", IDENTITY),
    ];
    let one = |(name, clause): (&'static str, &'static str)| {
        look(&format!("posture/namespace/{name}"), Critical, clause, "POS-1", Look::Namespaces)
            .requires(format!("the workload does not share the {name} namespace of the host"))
            .expect(Expect::data_lacks(format!("{name}\n")))
            .outside(Outside::Shows(Expect::data_contains(format!("{name}\n"))))
    };
    all.into_iter().map(one).collect()
}

fn privileges(policy: &Policy) -> Vec<Probe> {
    let kept = policy.process.capabilities.iter().map(|name| format!("Cap* {name}"));
    vec![
        look("posture/capabilities", High, CAPABILITIES, "POS-2", Look::Capabilities)
            .requires("no thread inside has a capability in any set that the policy does not keep")
            .expect(Expect::lines(kept)),
        look("posture/no-new-privs", High, CAPABILITIES, "POS-2", Look::NoNewPrivileges)
            .requires("no thread inside can gain privilege by executing a program")
            .expect(Expect::lines(["NoNewPrivs 1"])),
        look("posture/filter", High, "process.syscalls", "POS-2", Look::Filter)
            .requires("every thread inside is behind a filter of system calls")
            .expect(Expect::lines(["Seccomp 2"])),
        // An ordinary user's groups cannot be dropped in a user namespace of his own (user_namespaces(7)).
        look("posture/groups", Medium, IDENTITY, "POS-2", Look::Groups)
            .needs(Need::Root)
            .requires("no thread inside is in a group of the host"),
    ]
}

fn mounts(world: &World, policy: &Policy) -> Vec<Probe> {
    let Ok(resolved) = policy.filesystem.resolve(&world.work.dir) else { return Vec::new() };
    let rules = resolved.rules().iter().filter(|rule| rule.access == Access::ReadWrite);
    let granted = rules.flat_map(|rule| {
        let path = rule.entry.path.display();
        [format!("rw {path}"), format!("rw {path}/*")]
    });
    let own = ["/dev/*", "/tmp"].map(|path| format!("rw {path}"));
    let writable = own.into_iter().chain(granted).collect();
    let one = |(id, severity, kind, allowed, requirement): (&str, Severity, &str, Vec<String>, &str)| {
        let others = ["rw", "suid", "dev", "shared", "slave"].into_iter().filter(|other| *other != kind);
        let others = others.map(|other| format!("{other} *"));
        look(id, severity, FILES, "POS-3", Look::Mounts)
            .requires(requirement)
            .expect(Expect::lines(others.chain(allowed)))
    };
    let propagation = ["rw *", "suid *", "dev *"];
    let mut probes: Vec<Probe> = [
        (
            "posture/mount/writable",
            Critical,
            "rw",
            writable,
            "no mount that the workload sees is writable but those of the policy and the sandbox's own",
        ),
        (
            "posture/mount/suid",
            High,
            "suid",
            Vec::new(),
            "no mount that the workload sees lets a file give privilege",
        ),
        (
            "posture/mount/dev",
            High,
            "dev",
            vec!["dev /dev/*".to_owned()],
            "no mount that the workload sees opens devices but those of the sandbox's own /dev",
        ),
    ]
    .map(one)
    .into();
    probes.push(
        look("posture/mount/propagation", High, FILES, "POS-3", Look::Mounts)
            .requires("no mount that the workload sees propagates to or from another")
            .expect(Expect::lines(propagation)),
    );
    probes
}

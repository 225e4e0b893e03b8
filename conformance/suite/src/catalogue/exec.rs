//! Every process of a sandbox is confined alike, whichever way it came in.
//!
//! Through the entry `exec` the probe stands beside the process for which the sandbox was started, and each entry compares the
//! two; through the others it compares itself with what it has started. What a process can *do* is compared by running the
//! whole catalogue through each entry.

use palisade_policy::{Identity, Policy};
use palisade_probe::script::Statement;

use super::prelude::*;
use crate::entry::Entry;
use crate::lab::World;

/// Stands in the arguments of the process that runs already when the workload comes in by [`Entry::Exec`].
pub(crate) const FIRST: &str = "palisade-first";

/// Entries of the group `exec`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let mut probes = posture(policy);
    probes.extend(namespaces(world));
    probes.extend(surroundings());
    if world.entry == Entry::Exec {
        probes.push(
            Probe::allows("exec/first-visible", High)
                .serves("process.identity", "EXEC-1")
                .requires("a process that is added to a sandbox stands beside those that are there")
                .operation("look for the sandbox's first process among all arguments")
                .script([attempt!("find_pid_by_cmdline", FIRST)])
                .expect(AtLeast(1))
                .outside(Outside::NotRun("there is nothing to be added to")),
        );
    }
    probes
}

/// The attempt to open a file of every process that is not the workload's own: one that came in before is of the same
/// sandbox, and no stranger.
pub(super) fn open_others(world: &World, file: &str) -> Statement {
    let statement = attempt!("open_others", file);
    if world.entry == Entry::Exec { statement.arg(FIRST) } else { statement }
}

fn alike(id: &str, clause: &'static str, what: &str, statement: Statement) -> Probe {
    Probe::denies(format!("exec/{id}"), Critical)
        .serves(clause, "EXEC-1")
        .requires(format!("every process of the sandbox has {what}"))
        .script([control!("list_pids"), statement])
}

/// What the kernel says of each thread of each process.
fn posture(policy: &Policy) -> Vec<Probe> {
    const CAPABILITIES: &str = "process.capabilities";
    const IDENTITY: &str = "process.identity";
    let field = |id: &str, clause, what: &str, field: &str, expect: Expect| {
        alike(id, clause, what, attempt!("status_all", field))
            .operation(format!("read {field} of every thread in /proc"))
            .expect(expect)
    };
    let mut probes = vec![
        field("seccomp-mode", "process.syscalls", "a filter", "Seccomp", Expect::data_is("2")),
        field(
            "seccomp-filters",
            "process.syscalls",
            "the same number of filters",
            "Seccomp_filters",
            DataPasses("one number, and not 0", |all| {
                !all.contains(&b',') && all != b"0" && all != b"missing"
            }),
        ),
        field("no-new-privileges", CAPABILITIES, "no_new_privs", "NoNewPrivs", Expect::data_is("1")),
    ];
    if policy.process.capabilities.is_empty() {
        for (id, name) in [("capabilities-effective", "CapEff"), ("capabilities-bounding", "CapBnd")] {
            let none = Expect::data_is("0000000000000000");
            probes.push(field(id, CAPABILITIES, "no capability", name, none));
        }
    }
    if policy.process.identity == Identity::User {
        for (id, name) in [("uid", "Uid"), ("gid", "Gid")] {
            let ids = Expect::data_is("1000\t1000\t1000\t1000");
            probes.push(field(id, IDENTITY, "the ids that the policy names", name, ids));
        }
    }
    // An ordinary user's groups cannot be dropped in a user namespace of his own (user_namespaces(7)).
    let groups = field("groups", IDENTITY, "no supplementary group", "Groups", Expect::data_is(""));
    probes.push(groups.needs(Need::Root));
    probes
}

/// The links of /proc to namespaces: of every process that may be looked at, which one in another user namespace may not.
fn namespaces(world: &World) -> Vec<Probe> {
    let here = &world.namespaces;
    let all = [
        ("user", here.user),
        ("pid", here.pid),
        ("net", here.net),
        ("ipc", here.ipc),
        ("uts", here.uts),
        ("cgroup", here.cgroup),
    ];
    let own = |(name, inode): (&str, u64)| {
        alike(
            &format!("namespace-{name}"),
            "process.identity",
            &format!("the sandbox's {name} namespace"),
            attempt!("distinct", "link", format!("ns/{name}")),
        )
        .operation(format!("compare ns/{name} of all processes in /proc"))
        .expect(Expect::all_of([Returns(1), Expect::data_lacks(format!("[{inode}]"))]))
    };
    let mut probes: Vec<Probe> = all.into_iter().map(own).collect();
    // Outside each case has a mount namespace of its own, which the suite does not share.
    probes.push(
        alike(
            "namespace-mnt",
            "filesystem.base",
            "the sandbox's mount namespace",
            attempt!("distinct", "link", "ns/mnt"),
        )
        .operation("compare ns/mnt of all processes in /proc")
        .expect(Returns(1)),
    );
    probes
}

/// What the kernel keeps for each process beside its credentials.
fn surroundings() -> Vec<Probe> {
    const ALONE: Outside = Outside::NotRun("nothing outside says that its processes are alike");
    // As /proc/PID/limits writes it (proc_pid_limits(5)).
    let no_core = format!("{:<26}{:<21}{:<21}", "Max core file size", 0, 0);
    vec![
        alike("limits", "resources", "the same limits", attempt!("distinct", "file", "limits"))
            .operation("compare the limits of all processes in /proc")
            .expect(Expect::all_of([Returns(1), Expect::data_contains(no_core)])),
        alike("mounts", "filesystem.base", "the same mounts", attempt!("distinct", "file", "mountinfo"))
            .operation("compare the mounts of all processes in /proc")
            .expect(Returns(1)),
        alike("cgroup", "resources", "the same control groups", attempt!("distinct", "file", "cgroup"))
            .operation("compare the control groups of all processes in /proc")
            .expect(Returns(1))
            .outside(ALONE),
        alike("root", "filesystem.base", "the same root", attempt!("distinct", "link", "root"))
            .operation("compare the root directories of all processes in /proc")
            .expect(Expect::all_of([Returns(1), Expect::data_is("/")]))
            .outside(ALONE),
        alike(
            "oom-score",
            "resources",
            "the same weight when memory is short",
            attempt!("distinct", "file", "oom_score_adj"),
        )
        .operation("compare oom_score_adj of all processes in /proc")
        .expect(Returns(1))
        .outside(ALONE),
    ]
}

//! The environment and the arguments: nothing that the policy does not name, and nothing of the supervisor's own.

use std::collections::BTreeMap;

use palisade_policy::{Policy, Proxy};

use super::exec::open_others;
use super::prelude::*;
use crate::entry::Entry;
use crate::lab::World;

/// Entries of the group `env`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let mut probes = vec![only_declared(world, policy), init_arguments(), init_environment(world)];
    probes.push(argv_secret(world));
    probes.extend(of_the_callers(world, policy));
    let passed =
        |name: &String| policy.environment.pass.contains(name) || policy.environment.set.contains_key(name);
    for (name, value) in world.env_secrets.iter().filter(|(name, _)| !passed(name)) {
        let words = name.to_lowercase().replace('_', "-");
        probes.push(
            Probe::denies(format!("env/absent/{words}"), severity(value))
                .serves("environment.pass", "ENV-1")
                .requires("a variable that the policy does not pass is not in the environment")
                .operation(format!("look for {name} and its value"))
                .script([
                    control!("env_has", "PATH"),
                    attempt!("env_has", name),
                    attempt!("find_in_environ", value),
                ])
                .expect(Returns(0))
                .outside(Outside::Shows(Returns(1))),
        );
    }
    for name in
        policy.environment.pass.iter().filter(|name| world.env_secrets.iter().any(|(n, _)| n == *name))
    {
        let words = name.to_lowercase().replace('_', "-");
        probes.push(
            Probe::allows(format!("env/passed/{words}"), Medium)
                .serves("environment.pass", "ENV-1")
                .requires("a variable that the policy passes is there, with the caller's value")
                .script([attempt!("env_has", name)])
                .expect(Expect::data_is(world.env_secret(name))),
        );
    }
    for (index, (name, value)) in policy.environment.set.iter().enumerate() {
        probes.push(
            Probe::allows(format!("env/set/{index}"), Medium)
                .serves("environment.set", "ENV-1")
                .requires("a variable that the policy sets has that value")
                .script([attempt!("env_has", name)])
                .expect(Expect::data_is(value))
                .outside(Outside::NotRun("the value is the policy's own")),
        );
    }
    probes
}

/// A value that is all marker stands for a credential, one around a marker for an instruction to a program.
fn severity(value: &str) -> Severity {
    match value.find("PLSD-") {
        Some(0) => Critical,
        Some(_) => High,
        None => Low,
    }
}

/// What the caller has, and every sandbox sets for itself.
fn of_the_callers(world: &World, policy: &Policy) -> Vec<Probe> {
    let known = |name: &str| {
        policy.environment.pass.iter().any(|passed| passed == name)
            || policy.environment.set.contains_key(name)
    };
    let home = world.home.display().to_string();
    let rows = [("HOME", home.as_str(), "home"), ("PATH", world.caller_path.as_str(), "search-path")];
    let probe = |(name, value, id): (&str, &str, &str)| {
        Probe::denies(format!("env/callers-{id}"), Medium)
            .serves("environment.pass", "ENV-1")
            .requires("PATH and HOME are the sandbox's own, unless the policy passes or sets them")
            .operation(format!("look for the caller's {name} in the environment"))
            .script([control!("env_has", name), attempt!("find_in_environ", value)])
            .expect(Returns(0))
            .outside(Outside::Shows(Returns(1)))
    };
    rows.into_iter().filter(|(name, ..)| !known(name)).map(probe).collect()
}

/// As many variables as the policy passes and sets, and PATH and HOME.
fn only_declared(world: &World, policy: &Policy) -> Probe {
    let mut names: BTreeMap<&str, ()> = [("PATH", ()), ("HOME", ())].into();
    let known =
        |name: &str| ["LANG", "TERM"].contains(&name) || world.env_secrets.iter().any(|(n, _)| n == name);
    names.extend(policy.environment.pass.iter().filter(|name| known(name)).map(|name| (name.as_str(), ())));
    names.extend(policy.environment.set.keys().map(|name| (name.as_str(), ())));
    if policy.network.proxy == Proxy::Environment {
        names.extend(super::l7::VARIABLES.iter().map(|name| (*name, ())));
    }
    let declared = Returns(i64::try_from(names.len()).unwrap_or(i64::MAX));
    let expect = if world.entry == Entry::Pty && !names.contains_key("TERM") {
        // A program on a terminal has to know of which kind it is.
        let with_term = Returns(i64::try_from(names.len() + 1).unwrap_or(i64::MAX));
        declared.or(Expect::all_of([with_term, Expect::data_contains("TERM")]))
    } else {
        declared
    };
    Probe::denies("env/only-declared", High)
        .serves("environment.pass", "ENV-1")
        .requires("the environment holds PATH, HOME, and what the policy passes or sets")
        .operation("count the variables of the environment")
        .script([control!("env_has", "PATH"), attempt!("environ", "names")])
        .expect(expect)
}

/// Its arguments name the policy and the workload, and a caller may have put a secret there.
fn init_arguments() -> Probe {
    Probe::denies("env/init-arguments", High)
        .serves("environment.pass", "ENV-2")
        .requires("the arguments of the sandbox's first process cannot be read")
        .operation("look for a word of the command line in /proc/1/cmdline")
        .script([control!("read_file", "/proc/self/cmdline"), attempt!("find_in_first", "verify")])
        .expect(Returns(0).or(Denied))
        .outside(Outside::Shows(Returns(1)))
}

/// The command line of the supervisor, which every process that it forks begins with.
fn argv_secret(world: &World) -> Probe {
    Probe::denies("env/argv-secret", High)
        .serves("environment.pass", "ENV-2")
        .requires("the sandbox's first process does not show the arguments of the supervisor")
        .operation("look for the path of the runtime in /proc/1/cmdline")
        .script([
            control!("find_in_file", "/proc/self/cmdline", NONCE),
            attempt!("find_in_first", world.base.join("tools").as_path()),
        ])
        .expect(Returns(0).or(Denied))
        .outside(Outside::NotRun("without a supervisor nobody has its arguments"))
}

/// The first process of a sandbox inherits the memory of its supervisor.
fn init_environment(world: &World) -> Probe {
    Probe::denies("env/init-environment", Critical)
        .serves("process.capabilities", "ENV-2")
        .requires("the environment of the sandbox's first process cannot be read")
        .operation("open the environment of every other process")
        .script([control!("read_file", "/proc/self/environ"), open_others(world, "environ")])
        .expect(Returns(0))
}

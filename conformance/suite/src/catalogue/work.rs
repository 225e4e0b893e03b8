//! Ordinary work that a sandbox must not get in the way of: the over-block checks.

use palisade_policy::Policy;

use super::prelude::*;
use crate::lab::World;

/// Entries of the group `work`.
pub(super) fn probes(_world: &World, _policy: &Policy) -> Vec<Probe> {
    vec![
        Probe::allows("work/tmp-writable", Medium)
            .serves("filesystem.tmp", "WRK-1")
            .requires("a file can be created in /tmp")
            .operation("create a file in /tmp")
            .script([attempt!("create_excl", "/tmp/palisade-new-file")]),
        Probe::allows("work/python", Medium)
            .serves("process.syscalls", "WRK-2")
            .requires("the interpreters that the host has under /usr run")
            .command(["/usr/bin/python3", "-c", "print(6 * 7)"])
            .expect(Expect::data_is("42\n"))
            .needs(Need::Command("python3")),
    ]
}

//! Files: what can be read, written, linked and executed.

use palisade_policy::Policy;

use super::prelude::*;
use crate::lab::World;

/// Entries of the group `fs`.
pub(super) fn probes(world: &World, _policy: &Policy) -> Vec<Probe> {
    let shadow = world.secret("etc-shadow");
    vec![
        Probe::denies("fs/read/etc-shadow", Critical)
            .serves("filesystem", "FS-1")
            .requires("the password hashes of the host cannot be read")
            .operation("open /etc/shadow for reading")
            .script([control!("read_file", "/etc/passwd"), attempt!("read_file", &*shadow.path)])
            .expect(Denied.or(Absent))
            .outside(Outside::Shows(Expect::data_contains(&shadow.marker)))
            .needs_planted(&shadow.presence),
    ]
}

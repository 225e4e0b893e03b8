//! Keyrings: shared by uid and by session, in no namespace of a sandbox's own.

use palisade_policy::Policy;

use super::call::{allowed_by_name, args, refused, row};
use super::prelude::*;
use crate::lab::World;

/// Entries of the group `key`.
pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
    let rows = vec![
        row("key/add", Medium, "add_key", args![BAD, BAD, BAD, 0, 0], [EFAULT]),
        row("key/request", Medium, "request_key", args![BAD, BAD, BAD, 0], [EFAULT]),
        row("key/keyctl", Medium, "keyctl", args![9999], [EOPNOTSUPP]),
        // Asks for the number of the user's keyring and makes none.
        row(
            "key/user-keyring",
            Medium,
            "keyctl",
            args![libc::KEYCTL_GET_KEYRING_ID, libc::KEY_SPEC_USER_KEYRING, 0],
            Outside::Shows(Succeeds.or(Expect::fails([ENOKEY]))),
        ),
        row(
            "key/persistent",
            Medium,
            "keyctl",
            args![libc::KEYCTL_GET_PERSISTENT, -1, 0x0bad_0bad],
            [ENOKEY, EINVAL],
        ),
    ];
    let mut probes: Vec<Probe> =
        refused(policy, "SYS-6", "keys of the host are out of reach", rows).collect();
    if !allowed_by_name(policy, "keyctl") {
        probes.push(session(world));
    }
    probes
}

/// The key that the lab put into the session keyring of everything that it starts.
fn session(world: &World) -> Probe {
    let keyring = &world.keyring;
    let session = libc::KEY_SPEC_SESSION_KEYRING;
    Probe::denies("key/session-shared", High)
        .serves("process.syscalls", "SYS-6")
        .requires("a key in the caller's session keyring cannot be found")
        .operation("search the session keyring for a key of the host")
        .script([attempt!(
            "sys",
            SYS_keyctl,
            libc::KEYCTL_SEARCH,
            session,
            keyring.key_type,
            &keyring.description,
            0
        )])
        .expect(Denied.or(Expect::fails([ENOKEY])))
        .outside(Outside::succeeds())
        .needs_planted(&keyring.presence)
}

//! Id maps of user namespaces (user_namespaces(7)).
//!
//! The one module here that allocates: it belongs to the parent's side of a fork.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};

use crate::process::{self, Cloned, namespace};

/// One id inside a user namespace and the id outside that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The id inside.
    pub inside: u32,
    /// The id outside, in the user namespace of the writer.
    pub outside: u32,
}

/// Writes the id maps of the process `pid`, which is in a new user namespace whose maps are empty.
///
/// An unprivileged writer has to give up setgroups(2) for that namespace first, since dropping groups could gain
/// access to files that are denied to a group.
///
/// # Errors
/// EPERM where the writer may not map these ids.
pub fn write_maps(pid: i32, uid: Mapping, gid: Mapping, deny_setgroups: bool) -> io::Result<()> {
    let line = |map: Mapping| format!("{} {} 1\n", map.inside, map.outside);
    fs::write(format!("/proc/{pid}/uid_map"), line(uid))?;
    if deny_setgroups {
        fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
    }
    fs::write(format!("/proc/{pid}/gid_map"), line(gid))
}

/// Makes a user namespace for an ID-mapped mount: it only carries the maps, nothing ever runs in it. The caller must be
/// privileged over its own user namespace.
///
/// # Errors
/// What clone3(2), or writing the maps, says.
pub fn carrier(uid: Mapping, gid: Mapping) -> io::Result<OwnedFd> {
    let (wait, release) = pipe_with(PipeFlags::CLOEXEC)?;
    let cloned = process::clone3(namespace::USER).map_err(|errno| io::Error::from_raw_os_error(errno.0))?;
    let pid = match cloned {
        Cloned::Parent { pid, .. } => pid,
        Cloned::Child(proof) => {
            // Everything but the reading end goes: with a copy of the writing end of its own pipe, or of a sibling's,
            // it would wait for ever.
            let _ = process::close_except(&proof, 0, std::iter::once(wait.as_raw_fd()));
            let _ = rustix::io::read(&wait, &mut [0]);
            process::exit(0)
        }
    };
    let namespace =
        write_maps(pid, uid, gid, false).and_then(|()| fs::File::open(format!("/proc/{pid}/ns/user")));
    drop(release);
    let _ = process::wait_for(pid);
    Ok(namespace?.into())
}

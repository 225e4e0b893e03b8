//! Id maps of user namespaces (user_namespaces(7)).
//!
//! The one module here that allocates: it belongs to the parent's side of a fork.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::process::{self, namespace};

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

/// Makes a user namespace that only carries the maps: nothing ever runs in it.
fn carrier(uid: Mapping, gid: Mapping) -> io::Result<OwnedFd> {
    // A process that has ended has its namespace until it is waited for.
    let pid = process::past(namespace::USER).map_err(|errno| io::Error::from_raw_os_error(errno.0))?;
    let namespace =
        write_maps(pid, uid, gid, false).and_then(|()| fs::File::open(format!("/proc/{pid}/ns/user")));
    let _ = process::wait_for(pid);
    Ok(namespace?.into())
}

/// The user namespaces that carry id maps, one for each pair of maps: most trees of a sandbox have the same owner.
#[derive(Debug, Default)]
pub struct Carriers(Vec<((Mapping, Mapping), OwnedFd)>);

impl Carriers {
    /// A user namespace for an ID-mapped mount with these maps. The caller must be privileged over its own.
    ///
    /// # Errors
    /// What clone(2), or writing the maps, says.
    pub fn carrier(&mut self, uid: Mapping, gid: Mapping) -> io::Result<BorrowedFd<'_>> {
        let known = self.0.iter().position(|(known, _)| *known == (uid, gid));
        let index = match known {
            Some(index) => index,
            None => {
                self.0.push(((uid, gid), carrier(uid, gid)?));
                self.0.len() - 1
            }
        };
        Ok(self.0[index].1.as_fd())
    }
}

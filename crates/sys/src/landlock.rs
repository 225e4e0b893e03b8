//! landlock(7): the three calls.
//!
//! The `landlock` crate builds rules on the heap and negotiates versions by itself. Here the plan has decided
//! both already, and the calls are made by a child that may not allocate.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Errno, Result};

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;

#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

/// The highest Landlock ABI of this kernel.
///
/// # Errors
/// ENOSYS where Landlock is not built in, EOPNOTSUPP where it is not enabled at boot (landlock(7)).
pub fn abi() -> Result<u32> {
    // SAFETY: with the version flag the kernel wants a null attribute of size 0.
    let version = Errno::check(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<RulesetAttr>(),
            0,
            CREATE_RULESET_VERSION,
        )
    })?;
    Ok(version as u32)
}

/// landlock_create_ruleset(2): everything in `handled_fs` is denied but where a rule allows it; `scoped` is for
/// ABI 6 and later (0 before: an older kernel refuses a larger structure whose tail is not zero).
///
/// # Errors
/// EINVAL for a bit that this kernel does not know.
pub fn create_ruleset(handled_fs: u64, scoped: u64) -> Result<OwnedFd> {
    let attr = RulesetAttr { handled_access_fs: handled_fs, handled_access_net: 0, scoped };
    // SAFETY: attr is a landlock_ruleset_attr of the size given.
    let fd = Errno::check(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size_of::<RulesetAttr>(), 0)
    })?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Whether a ruleset can handle these rights: makes one, and drops it. Nobody is restricted.
///
/// # Errors
/// EINVAL for a bit that this kernel does not know; E2BIG where it does not know a kind of rights at all; ENOSYS, EOPNOTSUPP
/// as [`abi`].
pub fn handles(fs: u64, net: u64, scoped: u64) -> Result<()> {
    let attr = RulesetAttr { handled_access_fs: fs, handled_access_net: net, scoped };
    // SAFETY: attr is a landlock_ruleset_attr of the size given.
    let fd = Errno::check(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size_of::<RulesetAttr>(), 0)
    })?;
    // SAFETY: the kernel has just made this descriptor, and nobody else has it.
    drop(unsafe { OwnedFd::from_raw_fd(fd as i32) });
    Ok(())
}

/// landlock_add_rule(2): allows `access` for the file or the tree that `path` (O_PATH) refers to.
///
/// # Errors
/// EINVAL for rights that the ruleset does not handle or that do not apply to a file.
pub fn allow_beneath(ruleset: BorrowedFd<'_>, path: BorrowedFd<'_>, access: u64) -> Result<()> {
    let attr = PathBeneathAttr { allowed_access: access, parent_fd: path.as_raw_fd() };
    // SAFETY: attr is a landlock_path_beneath_attr, packed as the kernel declares it.
    Errno::check(unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), RULE_PATH_BENEATH, &raw const attr, 0)
    })
    .map(drop)
}

/// landlock_restrict_self(2): puts the calling thread, and all that it makes, under the ruleset for good.
///
/// # Errors
/// EPERM without no_new_privs; E2BIG beyond 16 nested rulesets.
pub fn restrict_self(ruleset: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: no pointer is passed.
    Errno::check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) }).map(drop)
}

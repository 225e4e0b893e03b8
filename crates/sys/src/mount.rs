//! mount_setattr(2), which rustix does not wrap.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{Errno, Result};

/// Mount attributes to set, bits of `struct mount_attr.attr_set`.
pub mod attr {
    /// `MOUNT_ATTR_RDONLY`
    pub const RDONLY: u64 = 0x1;
    /// `MOUNT_ATTR_NOSUID`
    pub const NOSUID: u64 = 0x2;
    /// `MOUNT_ATTR_NODEV`
    pub const NODEV: u64 = 0x4;
    /// `MOUNT_ATTR_NOEXEC`
    pub const NOEXEC: u64 = 0x8;
    /// `MOUNT_ATTR_IDMAP`
    pub(super) const IDMAP: u64 = 0x0010_0000;
}

#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// `AT_RECURSIVE` of linux/fcntl.h
const AT_RECURSIVE: u32 = 0x8000;

fn mount_setattr(fd: i32, path: &CStr, flags: u32, attributes: &MountAttr) -> Result<()> {
    // SAFETY: path is a C string and attributes a struct mount_attr of the size given (MOUNT_ATTR_SIZE_VER0).
    Errno::check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd,
            path.as_ptr(),
            flags,
            &raw const *attributes,
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// Sets `attributes` (bits of [`attr`]) on the mount that `mount` refers to, and on all mounts below it if
/// `recursive`. Attributes are only ever added.
///
/// # Errors
/// ENOSYS before Linux 5.12; EPERM without CAP_SYS_ADMIN over the mount namespace; EINVAL when `mount` is not the
/// root of a mount.
pub fn set_attributes(mount: BorrowedFd<'_>, recursive: bool, attributes: u64) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH as u32 | if recursive { AT_RECURSIVE } else { 0 };
    mount_setattr(mount.as_raw_fd(), c"", flags, &MountAttr { attr_set: attributes, ..MountAttr::default() })
}

/// [`set_attributes`] for the mount at `path`, not recursive.
///
/// # Errors
/// As [`set_attributes`], and those of path resolution.
pub fn set_attributes_at(path: &CStr, attributes: u64) -> Result<()> {
    mount_setattr(
        libc::AT_FDCWD,
        path,
        libc::AT_SYMLINK_NOFOLLOW as u32,
        &MountAttr { attr_set: attributes, ..MountAttr::default() },
    )
}

/// Changes the ids that files show through a detached mount: an id that the file system stores and that
/// `user_namespace` calls *inside* is shown as the id that it maps to (mount_setattr(2), "ID-mapped mounts").
/// Applies to the mounts below it as well: all or none.
///
/// # Errors
/// EINVAL where one of the file systems does not support ID-mapped mounts or a mount is attached already; EPERM
/// without CAP_SYS_ADMIN in the user namespace of a file system, or where a mount has mapped ids already.
pub fn set_idmap(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> Result<()> {
    let attributes = MountAttr {
        attr_set: attr::IDMAP,
        userns_fd: user_namespace.as_raw_fd() as u64,
        ..MountAttr::default()
    };
    mount_setattr(mount.as_raw_fd(), c"", libc::AT_EMPTY_PATH as u32 | AT_RECURSIVE, &attributes)
}

/// Makes a detached copy of mounts ready to be attached in one call: cuts it from every peer group and master
/// (mount_namespaces(7)), sets `attributes`, and maps ids as [`set_idmap`] does. With the mounts below it.
///
/// # Errors
/// As [`set_attributes`] and [`set_idmap`]: all of it or nothing.
pub fn settle(mount: BorrowedFd<'_>, attributes: u64, idmap: Option<BorrowedFd<'_>>) -> Result<()> {
    let attributes = MountAttr {
        attr_set: attributes | if idmap.is_some() { attr::IDMAP } else { 0 },
        propagation: libc::MS_PRIVATE,
        userns_fd: idmap.map_or(0, |namespace| namespace.as_raw_fd() as u64),
        ..MountAttr::default()
    };
    mount_setattr(mount.as_raw_fd(), c"", libc::AT_EMPTY_PATH as u32 | AT_RECURSIVE, &attributes)
}

//! Keeps the host's own files out of reach of everything in the lab, whoever runs it.
//!
//! Every mount that the lab has inherited becomes read-only in the lab's mount namespace: whatever a probe does without a
//! sandbox, perhaps as root, no file of the host changes. So that root's control run can still show what root could do to a
//! host, the system's directories get a layer that takes the writes and goes with the lab (overlayfs over a tmpfs).
//!
//! `/proc` (fresh) and `/sys` stay as they are: a runtime may need its cgroups, and what is written there is no file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use super::error::{During, LabError};
use super::world::Presence;

/// Where programs and people of a host keep files.
const LAYERED: &[&str] = &[
    "/bin", "/boot", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/root", "/sbin", "/srv",
    "/usr", "/var",
];

/// Covered for a moment by the tmpfs that holds the layers, then by the lab's own.
const SCRATCH: &str = "/tmp";

/// Mount points of this namespace, with the flags of the topmost mount of each, in path order.
type Mounts = BTreeMap<PathBuf, MountFlags>;

/// Makes everything inherited read-only, and layers the system's directories when `wanted`. Says whether they are.
pub(super) fn seal(wanted: Presence) -> Result<Presence, LabError> {
    let mounts = inherited().during(|| "read /proc/self/mountinfo".to_owned())?;
    for (path, flags) in &mounts {
        match mount_remount(path, *flags | MountFlags::BIND | MountFlags::RDONLY, "") {
            Ok(()) => {}
            // Hidden below another mount: nobody in the lab reaches it.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::INVAL | rustix::io::Errno::NOTDIR) => {}
            // A place that this user cannot even look up, like another user's FUSE mount.
            Err(rustix::io::Errno::ACCESS) => {}
            Err(e) => return Err(LabError::step(format!("make {} read-only", path.display()), e)),
        }
    }
    if !wanted.is_planted() {
        return Ok(wanted);
    }
    Ok(match layers(&mounts) {
        Ok(()) => Presence::Planted,
        Err(why) => Presence::Absent(why),
    })
}

fn inherited() -> io::Result<Mounts> {
    let mut mounts = parse(&fs::read_to_string("/proc/self/mountinfo")?);
    mounts.retain(|path, _| !["/proc", "/sys"].iter().any(|kept| path.starts_with(kept)));
    Ok(mounts)
}

/// Fields 5 and 6 of each line: mount point and options of the mount (proc_pid_mountinfo(5)).
fn parse(mountinfo: &str) -> Mounts {
    let fields = mountinfo.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(4);
        Some((unescape(words.next()?), flags(words.next()?)))
    });
    // A later mount on the same point lies on top.
    fields.collect()
}

/// The flags that a remount has to repeat: it sets them all, and in a user namespace may not clear one.
fn flags(options: &str) -> MountFlags {
    let mut flags = MountFlags::empty();
    for option in options.split(',') {
        flags |= match option {
            "nosuid" => MountFlags::NOSUID,
            "nodev" => MountFlags::NODEV,
            "noexec" => MountFlags::NOEXEC,
            "noatime" => MountFlags::NOATIME,
            "nodiratime" => MountFlags::NODIRATIME,
            "relatime" => MountFlags::RELATIME,
            "nosymfollow" => NOSYMFOLLOW,
            _ => MountFlags::empty(),
        };
    }
    if !flags.intersects(MountFlags::NOATIME | MountFlags::RELATIME) {
        flags |= MountFlags::STRICTATIME;
    }
    flags
}

/// `MS_NOSYMFOLLOW` (linux/mount.h, since 5.10).
const NOSYMFOLLOW: MountFlags = MountFlags::from_bits_retain(256);

/// Undoes the octal escapes of space, tab, newline and backslash.
fn unescape(word: &str) -> PathBuf {
    let mut text = word.to_owned();
    for (escape, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        text = text.replace(escape, plain);
    }
    PathBuf::from(text)
}

fn layers(mounts: &Mounts) -> Result<(), String> {
    mount("palisade-lab", SCRATCH, "tmpfs", MountFlags::empty(), Some(c"mode=700,size=64m"))
        .map_err(|e| format!("mount tmpfs on {SCRATCH}: {e}"))?;
    let done =
        LAYERED.iter().filter(|dir| wants_layer(Path::new(dir), mounts)).try_for_each(|dir| layer(dir));
    // The layers hold what they need of it.
    let gone = unmount(SCRATCH, UnmountFlags::DETACH).map_err(|e| format!("unmount {SCRATCH}: {e}"));
    done.and(gone)
}

/// A directory of its own, and one that no other mount lies below: a layer would hide that.
fn wants_layer(dir: &Path, mounts: &Mounts) -> bool {
    let real = fs::symlink_metadata(dir).is_ok_and(|m| m.is_dir());
    real && !mounts.keys().any(|point| point != dir && point.starts_with(dir))
}

fn layer(dir: &str) -> Result<(), String> {
    let name = dir.trim_start_matches('/');
    let [upper, work] = ["upper", "work"].map(|kind| Path::new(SCRATCH).join(format!("{name}-{kind}")));
    let make = || -> io::Result<()> {
        fs::create_dir(&upper)?;
        fs::create_dir(&work)?;
        // The root of an overlay shows the attributes of its upper directory.
        let like = fs::metadata(dir)?;
        chown(&upper, Some(like.uid()), Some(like.gid()))?;
        fs::set_permissions(&upper, fs::Permissions::from_mode(like.mode()))
    };
    make().map_err(|e| format!("make a layer for {dir}: {e}"))?;
    let options = format!("lowerdir={dir},upperdir={},workdir={}", upper.display(), work.display());
    let options = std::ffi::CString::new(options).unwrap_or_default();
    mount("palisade-lab", dir, "overlay", MountFlags::empty(), Some(options.as_c_str()))
        .map_err(|e| format!("mount overlay on {dir}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topmost_mount_of_a_point_gives_the_flags() {
        let text = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                    28 27 0:1 / /a\\040b rw,nosuid,nodev,noatime shared:1 - tmpfs x rw\n\
                    29 28 0:2 / /a\\040b ro,noexec - tmpfs y rw\n";
        let mounts = parse(text);
        assert_eq!(mounts[Path::new("/")], MountFlags::RELATIME);
        assert_eq!(mounts[Path::new("/a b")], MountFlags::NOEXEC | MountFlags::STRICTATIME);
    }

    #[test]
    fn a_directory_with_mounts_below_it_gets_no_layer() {
        let mounts = parse("1 0 0:1 / /usr rw - ext4 x rw\n2 1 0:1 / /etc/below rw - ext4 x rw\n");
        assert!(wants_layer(Path::new("/usr"), &mounts));
        assert!(!wants_layer(Path::new("/etc"), &mounts));
        assert!(!wants_layer(Path::new("/nonexistent"), &mounts));
    }
}

//! Where the hierarchies are mounted, and where in them the caller's own group is. Pure.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use palisade_plan::step::{CgroupVersion, Controller};

/// A hierarchy that is mounted somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) mounted: Mounted,
    pub(super) mount_point: PathBuf,
    /// The directory of the caller's own group, unless it lies outside of what is mounted.
    pub(super) own: Option<PathBuf>,
}

/// Which hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mounted {
    V2,
    V1(BTreeSet<Controller>),
}

impl Mounted {
    pub(super) fn version(&self) -> CgroupVersion {
        match self {
            Self::V2 => CgroupVersion::V2,
            Self::V1(_) => CgroupVersion::V1,
        }
    }
}

/// `f_type` of its file system (statfs(2)).
pub(super) fn magic(version: CgroupVersion) -> i64 {
    match version {
        CgroupVersion::V2 => 0x6367_7270,
        CgroupVersion::V1 => 0x0027_e0eb,
    }
}

/// The hierarchies that have controllers of ours, version 2 first, each once: where several mounts show one, the first
/// that has the caller's own group in it.
pub(super) fn places(mountinfo: &str, own_groups: &str) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for (mounted, root, mount_point) in mountinfo.lines().filter_map(mount) {
        let own = own_group(own_groups, &mounted)
            .and_then(|group| below(&group, &root))
            // Joining an empty path would add a slash.
            .map(|below| mount_point.join(below).components().collect());
        let place = Place { mounted, mount_point, own };
        match places.iter_mut().find(|known| known.mounted == place.mounted) {
            Some(known) if known.own.is_none() && place.own.is_some() => *known = place,
            Some(_) => {}
            None => places.push(place),
        }
    }
    places.sort_by(|a, b| a.mounted.cmp(&b.mounted));
    places
}

/// A line of mountinfo (proc_pid_mountinfo(5)): which hierarchy, what of it, where.
fn mount(line: &str) -> Option<(Mounted, PathBuf, PathBuf)> {
    let (front, back) = line.split_once(" - ")?;
    let mut front = front.split(' ').skip(3);
    let (root, mount_point) = (unescaped(front.next()?), unescaped(front.next()?));
    let mut back = back.split(' ');
    let (kind, _, options) = (back.next()?, back.next()?, back.next()?);
    let mounted = match kind {
        "cgroup2" => Mounted::V2,
        "cgroup" => {
            let controllers = controllers(options);
            if controllers.is_empty() {
                return None;
            }
            Mounted::V1(controllers)
        }
        _ => return None,
    };
    Some((mounted, root, mount_point))
}

fn controllers(list: &str) -> BTreeSet<Controller> {
    let has = |name: &str| list.split(',').any(|listed| listed == name);
    Controller::ALL.into_iter().filter(|controller| has(controller.v1_name())).collect()
}

/// The caller's own group in a hierarchy, by /proc/self/cgroup (cgroups(7)): `ID:CONTROLLERS:PATH`.
fn own_group(own_groups: &str, mounted: &Mounted) -> Option<PathBuf> {
    own_groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (list, path) = (parts.next()?, parts.next()?);
        let same = match mounted {
            Mounted::V2 => list.is_empty(),
            Mounted::V1(of_mount) => !list.is_empty() && controllers(list) == *of_mount,
        };
        same.then(|| PathBuf::from(path))
    })
}

/// `group` as seen from `root`; both may begin with `/..` where they are above the reader's cgroup namespace.
fn below(group: &Path, root: &Path) -> Option<PathBuf> {
    let outside = |path: &Path| path.components().any(|part| part == Component::ParentDir);
    if outside(group) || outside(root) {
        return None;
    }
    group.strip_prefix(root).ok().map(Path::to_path_buf)
}

/// Undoes the octal escapes of mountinfo.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(mountinfo: &str, own: &str) -> Vec<String> {
        let text = |place: &Place| {
            let own = place.own.as_ref().map_or("outside".into(), |own| own.display().to_string());
            format!("{:?} {} {own}", place.mounted, place.mount_point.display())
        };
        places(mountinfo, own).iter().map(text).collect()
    }

    #[test]
    fn a_unified_host() {
        let mountinfo = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n\
                         30 23 0:27 / /sys rw - sysfs sysfs rw\n";
        let own = "0::/user.slice/user-1001.slice/user@1001.service/app.slice/run-1.scope\n";
        assert_eq!(
            shown(mountinfo, own),
            [
                "V2 /sys/fs/cgroup /sys/fs/cgroup/user.slice/user-1001.slice/user@1001.service/app.slice/run-1.scope"
            ]
        );
    }

    #[test]
    fn a_hybrid_host_with_two_controllers_in_one_hierarchy() {
        let mountinfo = "33 24 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                         34 24 0:30 /docker/7 /sys/fs/cgroup/memory rw master:1 - cgroup cgroup rw,memory\n\
                         35 24 0:31 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n\
                         36 24 0:32 / /sys/fs/cgroup/uni\\040fied rw - cgroup2 cgroup2 rw\n";
        let own = "9:name=systemd:/\n3:cpu,cpuacct:/a\n2:memory:/docker/7/b\n0::/a\n";
        assert_eq!(
            shown(mountinfo, own),
            [
                "V2 /sys/fs/cgroup/uni fied /sys/fs/cgroup/uni fied/a",
                "V1({Memory}) /sys/fs/cgroup/memory /sys/fs/cgroup/memory/b",
                "V1({Cpu, CpuAccounting}) /sys/fs/cgroup/cpu,cpuacct /sys/fs/cgroup/cpu,cpuacct/a",
            ]
        );
    }

    /// In a cgroup namespace what was mounted outside of it lies above its root; a mount made in it shows its own part.
    #[test]
    fn of_two_mounts_the_one_that_has_the_own_group_counts() {
        let outside = "34 24 0:30 /../.. /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let inside = "90 24 0:30 / /run/groups/memory rw - cgroup cgroup rw,memory\n";
        let own = "2:memory:/\n";
        assert_eq!(shown(outside, own), ["V1({Memory}) /sys/fs/cgroup/memory outside"]);
        let both = [outside, inside].concat();
        assert_eq!(shown(&both, own), ["V1({Memory}) /run/groups/memory /run/groups/memory"]);
    }
}

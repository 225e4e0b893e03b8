//! Who asks: ids, privilege, limits.

use std::path::PathBuf;

use palisade_plan::KERNEL_ID_BASE;
use palisade_plan::facts::{Caller, HardLimits};
use rustix::process::{Resource, getegid, geteuid, getgroups, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use crate::procfs;
use crate::survey::SurveyError;

/// The highest process id that the kernel gives out (PID_MAX_LIMIT, proc(5)), which [`KERNEL_ID_BASE`] is added to.
const PID_MAX: u32 = 1 << 22;

pub(crate) fn caller() -> Result<Caller, SurveyError> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let uids = IdMap::read("/proc/self/uid_map")?;
    let gids = IdMap::read("/proc/self/gid_map")?;
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::SETUID | CapabilitySet::SETGID;
    let capable = capabilities(None).is_ok_and(|sets| sets.effective.contains(needed));
    let mut groups: Vec<u32> = getgroups()
        .unwrap_or_default()
        .iter()
        .map(|group| group.as_raw())
        .filter(|group| *group != gid)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    Ok(Caller {
        uid,
        gid,
        privileged: capable && uids.covers_kernel_ids() && gids.covers_kernel_ids(),
        kernel_root: uids.outside(uid) == Some(0),
        groups,
        hard_limits: HardLimits {
            address_space: getrlimit(Resource::As).maximum,
            open_files: getrlimit(Resource::Nofile).maximum,
            file_size: getrlimit(Resource::Fsize).maximum,
            processes: getrlimit(Resource::Nproc).maximum,
            cpu_time: getrlimit(Resource::Cpu).maximum,
        },
    })
}

/// The lines of /proc/PID/uid_map: first id inside, first id outside, how many (user_namespaces(7)).
struct IdMap(Vec<(u32, u32, u32)>);

impl IdMap {
    fn read(path: &str) -> Result<Self, SurveyError> {
        let text = procfs::bytes(path)
            .map_err(|errno| SurveyError::Read { path: PathBuf::from(path), error: errno.into() })?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let mut numbers = line.split_ascii_whitespace().map(|number| number.parse::<u32>().ok());
            Some((numbers.next()??, numbers.next()??, numbers.next()??))
        };
        Self(text.lines().filter_map(line).collect())
    }

    fn outside(&self, inside: u32) -> Option<u32> {
        let hit = |(first, outside, count): &(u32, u32, u32)| {
            let offset = inside.checked_sub(*first)?;
            (offset < *count).then(|| outside.saturating_add(offset))
        };
        self.0.iter().find_map(hit)
    }

    /// Whether every id that a sandbox of a privileged caller may get exists here.
    fn covers_kernel_ids(&self) -> bool {
        self.0.iter().any(|(first, _, count)| {
            *first <= KERNEL_ID_BASE && first.saturating_add(*count) >= KERNEL_ID_BASE + PID_MAX
        })
    }
}

#[cfg(test)]
mod tests {
    use super::IdMap;

    #[test]
    fn the_initial_map_has_every_id() {
        let map = IdMap::parse("         0          0 4294967295\n");
        assert!(map.covers_kernel_ids());
        assert_eq!(map.outside(0), Some(0));
        assert_eq!(map.outside(1001), Some(1001));
    }

    #[test]
    fn a_single_id_is_no_privilege() {
        let map = IdMap::parse("0 1001 1\n");
        assert!(!map.covers_kernel_ids());
        assert_eq!(map.outside(0), Some(1001));
        assert_eq!(map.outside(1), None);
    }
}

//! What the files of a group tell.

use std::io::Read as _;
use std::time::Duration;

use palisade_plan::step::CgroupVersion;
use rustix::fs::{Mode, OFlags, openat};

use super::Group;

/// Processor time that a group has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CpuTime {
    pub(super) total: Duration,
    pub(super) user: Duration,
    pub(super) system: Duration,
}

impl Group {
    pub(super) fn cpu_time(&self) -> Option<CpuTime> {
        Some(match self.version {
            CgroupVersion::V2 => {
                let micros = |key| self.value("cpu.stat", key).map(Duration::from_micros);
                CpuTime {
                    total: micros("usage_usec")?,
                    user: micros("user_usec")?,
                    system: micros("system_usec")?,
                }
            }
            CgroupVersion::V1 => {
                let nanos = |file| self.number(file).map(Duration::from_nanos);
                CpuTime {
                    total: nanos("cpuacct.usage")?,
                    // Since Linux 4.7; user and system are sampled by the tick there, and add up to about the total.
                    user: nanos("cpuacct.usage_user").unwrap_or_default(),
                    system: nanos("cpuacct.usage_sys").unwrap_or_default(),
                }
            }
        })
    }

    /// The most memory that the group had at one time, in bytes: since Linux 5.19 in version 2.
    pub(super) fn peak_memory(&self) -> Option<u64> {
        self.number(match self.version {
            CgroupVersion::V2 => "memory.peak",
            CgroupVersion::V1 => "memory.max_usage_in_bytes",
        })
    }

    /// How many processes were killed because the group had no memory left (memory.events since Linux 4.18;
    /// memory.oom_control counts since 4.13).
    pub(super) fn killed_for_memory(&self) -> Option<u64> {
        self.value(
            match self.version {
                CgroupVersion::V2 => "memory.events",
                CgroupVersion::V1 => "memory.oom_control",
            },
            "oom_kill",
        )
    }

    /// The most processes and threads at one time, the sandbox's first included: since Linux 6.11.
    pub(super) fn peak_processes(&self) -> Option<u64> {
        self.number("pids.peak")
    }

    /// How often a fork failed at the limit.
    pub(super) fn refused_processes(&self) -> Option<u64> {
        self.value("pids.events", "max")
    }

    /// In how many periods the group had to wait for its share, and how long.
    pub(super) fn throttled(&self) -> Option<(u64, Duration)> {
        let times = self.value("cpu.stat", "nr_throttled")?;
        let time = match self.version {
            CgroupVersion::V2 => Duration::from_micros(self.value("cpu.stat", "throttled_usec")?),
            CgroupVersion::V1 => Duration::from_nanos(self.value("cpu.stat", "throttled_time")?),
        };
        Some((times, time))
    }

    /// A file that holds one number.
    fn number(&self, file: &str) -> Option<u64> {
        self.read(file)?.trim().parse().ok()
    }

    /// The number after `key` in a file of keys and numbers.
    fn value(&self, file: &str, key: &str) -> Option<u64> {
        value(&self.read(file)?, key)
    }

    fn read(&self, file: &str) -> Option<String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(&self.directory, file, flags, Mode::empty()).ok()?;
        let mut text = String::new();
        std::fs::File::from(file).read_to_string(&mut text).ok()?;
        Some(text)
    }
}

fn value(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(' ')?;
        if found == key { value.trim().parse().ok() } else { None }
    })
}

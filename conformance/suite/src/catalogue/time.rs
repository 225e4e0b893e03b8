//! The clock of the host, and what can wake it.

use palisade_policy::Policy;
use palisade_probe::script::Statement;

use super::call::{args, refused, row};
use super::prelude::*;
use crate::lab::World;

/// Entries of the group `time`.
///
/// No namespace holds the clock: every operand is a pointer that cannot be read, and nothing is set anywhere.
pub(super) fn probes(_world: &World, policy: &Policy) -> Vec<Probe> {
    const REALTIME_ALARM: i32 = 8;
    const BOOTTIME_ALARM: i32 = 9;
    let rows = vec![
        row("time/clock-settime", Medium, "clock_settime", args![0, BAD], [EFAULT]),
        row("time/settimeofday", Medium, "settimeofday", args![BAD, NULL], [EFAULT]),
        row("time/adjtimex", Medium, "adjtimex", args![BAD], [EFAULT]),
        row("time/clock-adjtime", Medium, "clock_adjtime", args![0, BAD], [EFAULT]),
    ];
    let mut probes: Vec<Probe> =
        refused(policy, "TIME-1", "the clock of the host cannot be set", rows).collect();
    let device = |id: &str, path: &str| {
        Probe::denies(id, Medium)
            .serves("filesystem.base", "TIME-1")
            .requires("the hardware clock of the host cannot be opened")
            .script([control!("open", "/dev/null", O_RDONLY), attempt!("open", path, O_RDONLY)])
            .expect(Denied.or(Absent))
            .outside(Outside::Shows(Succeeds.or(Expect::fails([EBUSY]))))
    };
    probes.push(device("time/rtc", "/dev/rtc0"));
    probes.push(device("time/ptp", "/dev/ptp0"));
    let wake = |id: &str, statement: Statement| {
        Probe::denies(id, Medium)
            .serves("process.capabilities", "TIME-1")
            .requires("no alarm can wake the host")
            .script([control!("sys", SYS_timerfd_create, libc::CLOCK_MONOTONIC, 0), statement])
            .outside(Outside::succeeds())
    };
    probes.push(wake("time/wake-alarm-realtime", attempt!("sys", SYS_timerfd_create, REALTIME_ALARM, 0)));
    probes.push(wake("time/wake-alarm-boottime", attempt!("sys", SYS_timerfd_create, BOOTTIME_ALARM, 0)));
    probes.push(
        Probe::allows("time/clock-readable", Medium)
            .serves("process.syscalls", "WRK-3")
            .requires("clocks can be read and waited for")
            .script([control!("clock_delta", 0, 1), attempt!("sleep_ms", 1)]),
    );
    probes
}

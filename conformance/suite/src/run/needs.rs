//! What the machine offers, found out by trying it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::libc;
use palisade_probe::attempt;
use palisade_probe::script::Statement;

use super::Runner;
use super::place::Place;
use crate::catalogue::{Need, Probe, Severity};
use crate::observation::{Seen, Unseen};

/// System call number of getpid for i386 (arch/x86/entry/syscalls/syscall_32.tbl).
const I386_GETPID: i32 = 20;

/// Bit that sends a call to the x32 table (__X32_SYSCALL_BIT).
const X32: libc::c_long = 0x4000_0000;

/// Why the machine does not offer what is needed, if it does not.
pub fn lacking(runner: &Runner<'_>, place: &mut Place<'_>, need: Need) -> Option<String> {
    let world = runner.lab.world();
    match need {
        Need::Root => world.rootless.then(|| "needs root".to_owned()),
        Need::Unprivileged => (!world.rootless).then(|| "only for an ordinary user".to_owned()),
        Need::Ia32 => tries(runner, place, attempt!("sys32", I386_GETPID), "32-bit system calls (int 0x80)"),
        Need::X32 => tries(runner, place, attempt!("sys", X32 + libc::SYS_getpid), "x32 system calls"),
        Need::Ipv6 => match &world.ipv6 {
            crate::lab::world::Presence::Planted => None,
            absent => Some(format!("IPv6: {absent}")),
        },
        Need::LandlockAbi(least) => landlock(runner, place, least),
        Need::Memory(least) => match free_memory() {
            Some(free) if free >= least => None,
            Some(free) => {
                Some(format!("{} MiB of memory are free, and {} are wanted", free >> 20, least >> 20))
            }
            None => Some("nothing tells how much memory is free".to_owned()),
        },
        Need::Command(name) => {
            let path = Path::new("/usr/bin").join(name);
            let executable =
                path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
            (!executable).then(|| format!("{} is not installed", path.display()))
        }
    }
}

/// Asks the kernel for its Landlock ABI, without a sandbox.
fn ask_landlock(runner: &Runner<'_>, place: &mut Place<'_>) -> Result<Seen, Unseen> {
    /// LANDLOCK_CREATE_RULESET_VERSION (landlock_create_ruleset(2)).
    const VERSION: i32 = 1;
    let ask = attempt!("sys", libc::SYS_landlock_create_ruleset, 0, 0, VERSION);
    runner.outside(place, &Probe::allows("needs/trial", Severity::Low).script([ask])).attempt
}

/// The kernel's Landlock ABI; 0 where it has none.
pub fn landlock_abi(runner: &Runner<'_>, place: &mut Place<'_>) -> u32 {
    match ask_landlock(runner, place) {
        Ok(Seen::Returned { ret, errno: 0, .. }) => u32::try_from(ret).unwrap_or(0),
        _ => 0,
    }
}

fn landlock(runner: &Runner<'_>, place: &mut Place<'_>, least: u32) -> Option<String> {
    match ask_landlock(runner, place) {
        Ok(Seen::Returned { ret, errno: 0, .. }) if ret >= i64::from(least) => None,
        Ok(seen) => Some(format!("this kernel has no Landlock of ABI {least}: {seen}")),
        Err(unseen) => Some(format!("asking for the Landlock ABI failed: {unseen:?}")),
    }
}

/// What programs can have without swapping, in bytes (MemAvailable, proc_meminfo(5)).
fn free_memory() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// Runs a statement without a sandbox; it must succeed.
fn tries(runner: &Runner<'_>, place: &mut Place<'_>, statement: Statement, what: &str) -> Option<String> {
    let probe = Probe::allows("needs/trial", Severity::Low).script([statement]);
    match runner.outside(place, &probe).attempt {
        Ok(Seen::Returned { errno: 0, .. }) => None,
        Ok(seen) => Some(format!("this machine has no {what}: {seen}")),
        Err(unseen) => Some(format!("trying {what} failed: {unseen:?}")),
    }
}

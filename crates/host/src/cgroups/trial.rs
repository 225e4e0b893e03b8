//! One trial: a group is made, looked at and removed, by a process of its own that nothing stops halfway.
//!
//! Whoever is killed during a survey, with its whole process group, must not leave a group behind. So a child does it, once it
//! has left that group, and with every signal blocked, and tells its parent what it saw. It allocates nothing.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use palisade_plan::step::CgroupVersion;
use palisade_sys::Errno as Shown;
use palisade_sys::process::{self, Forked, ForkedChild};
use palisade_sys::signal::{self, SignalSet};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::place;

/// What the child is given, built before the fork.
struct Operands {
    group: CString,
    /// Files that have to be writable for a process to be put in.
    join: Vec<CString>,
    /// In version 2: what tells whether processes can be in the group.
    kind: Option<CString>,
    /// What is looked for.
    files: Vec<CString>,
}

/// The calls that can fail, by the number that the child tells.
const CALLS: [&str; 4] = ["mkdir", "open cgroup.procs", "read cgroup.type", "rmdir"];
const MKDIR: u8 = 0;
const JOIN: u8 = 1;
const KIND: u8 = 2;
const RMDIR: u8 = 3;

/// Tries a group below `parent`. On success which of `files` it has.
pub(super) fn attempt<'a>(
    version: CgroupVersion,
    parent: &Path,
    files: impl Iterator<Item = &'a str>,
) -> Result<Vec<bool>, String> {
    let failed = |call: &'static str| move |errno: Errno| told(call, errno.raw_os_error());
    // What is mounted over a hierarchy is no place to make directories in.
    let there = rustix::fs::statfs(parent).map_err(failed("statfs"))?;
    if there.f_type != place::magic(version) {
        return Err("something else is mounted over it".into());
    }
    let operands = operands(version, parent, files).ok_or("its path has a zero byte in it")?;
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(failed("pipe"))?;
    // The child keeps this mask.
    let mask = signal::block(&SignalSet::all());
    let forked = process::fork_unnoticed();
    if let Ok(Forked::Child(proof)) = &forked {
        serve(proof, &operands, &writer);
    }
    signal::set_mask(&mask);
    drop(writer);
    let child = match forked {
        Ok(Forked::Parent(child)) => child,
        Ok(Forked::Child(_)) => process::exit(1),
        Err(errno) => return Err(told("fork", errno.0)),
    };
    let mut answer = [0; 6];
    let read = rustix::io::read(&reader, &mut answer);
    let _ = process::wait_for(child);
    match (read, answer) {
        (Ok(6), [0, _, bits @ ..]) => {
            let bits = u32::from_ne_bytes(bits);
            Ok((0..operands.files.len()).map(|index| bits & (1 << index) != 0).collect())
        }
        (Ok(6), [call, errno, ..]) => {
            let call = CALLS.get(usize::from(call) - 1).copied().unwrap_or("try");
            match errno {
                0 => Err("its groups can hold no processes (cgroup.type)".into()),
                errno => Err(told(call, i32::from(errno))),
            }
        }
        _ => Err("the process that tried it was killed".into()),
    }
}

fn told(call: &str, errno: i32) -> String {
    format!("{call}: {}", Shown(errno))
}

fn operands<'a>(
    version: CgroupVersion,
    parent: &Path,
    files: impl Iterator<Item = &'a str>,
) -> Option<Operands> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // Another pid namespace may share the hierarchy and have the same number.
    let namespace = std::fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino());
    let group = parent.join(format!("palisade-trial-{}-{count}-{namespace}", std::process::id()));
    let string = |path: &Path| CString::new(path.as_os_str().as_bytes()).ok();
    // In version 2 a process is also taken out of its group, which takes the right to write to the one that holds both
    // (cgroups(7), "delegation containment rules").
    let both: &[&Path] = if version == CgroupVersion::V2 { &[&group, parent] } else { &[&group] };
    Some(Operands {
        join: both.iter().map(|group| string(&group.join("cgroup.procs"))).collect::<Option<_>>()?,
        kind: match version {
            CgroupVersion::V2 => Some(string(&group.join("cgroup.type"))?),
            CgroupVersion::V1 => None,
        },
        files: files.map(|file| string(&group.join(file))).collect::<Option<_>>()?,
        group: string(&group)?,
    })
}

/// The child: six bytes, of which the first is 0 on success and else the number of a call and one more.
fn serve(proof: &ForkedChild, operands: &Operands, writer: &OwnedFd) -> ! {
    // What is sent to the parent's process group is not meant for it.
    let _ = rustix::process::setsid();
    let _ = process::close_except(proof, 0, std::iter::once(writer.as_raw_fd()));
    let mut answer = [0; 6];
    match try_group(operands) {
        Ok(bits) => answer[2..].copy_from_slice(&bits.to_ne_bytes()),
        Err((call, errno)) => {
            answer[0] = call + 1;
            answer[1] = u8::try_from(errno).unwrap_or(u8::MAX);
        }
    }
    let _ = rustix::io::write(writer, &answer);
    process::exit(0)
}

fn try_group(operands: &Operands) -> Result<u32, (u8, i32)> {
    let failed = |call: u8| move |errno: Errno| (call, errno.raw_os_error());
    mkdirat(CWD, operands.group.as_c_str(), Mode::from_raw_mode(0o755)).map_err(failed(MKDIR))?;
    let seen = look(operands);
    unlinkat(CWD, operands.group.as_c_str(), AtFlags::REMOVEDIR).map_err(failed(RMDIR))?;
    seen
}

fn look(operands: &Operands) -> Result<u32, (u8, i32)> {
    let failed = |call: u8| move |errno: Errno| (call, errno.raw_os_error());
    for file in &operands.join {
        openat(CWD, file.as_c_str(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(failed(JOIN))?;
    }
    if let Some(kind) = &operands.kind {
        let file = openat(CWD, kind.as_c_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let mut text = [0; 32];
        let read = file.and_then(|file| rustix::io::read(file, &mut text)).map_err(failed(KIND))?;
        if text.get(..read) != Some(b"domain\n") {
            return Err((KIND, 0));
        }
    }
    let mut bits = 0;
    for (index, file) in operands.files.iter().enumerate() {
        let there = accessat(CWD, file.as_c_str(), Access::EXISTS, AtFlags::empty()).is_ok();
        bits |= u32::from(there) << index;
    }
    Ok(bits)
}

//! What /proc says about processes, this one and others.

use crate::buffer::{Buffer, Path};
use crate::call::Call;
use crate::directory;
use crate::kernel::{self, Answer, ENODATA, Errno, O_CLOEXEC, O_NONBLOCK, O_RDONLY};
use crate::stream;

pub(super) fn status_field(call: &mut Call<'_>) -> Answer {
    let (pid, field) = (call.text(0)?, call.text(1)?);
    let mut path = Path::of(&[b"/proc/", pid.bytes(), b"/status"]);
    let mut value = Buffer::<512>::new();
    if !field_of(&mut path, field.bytes(), &mut value)? {
        return Err(ENODATA);
    }
    call.data.push(value.as_slice());
    Ok(number_in(value.as_slice()))
}

pub(super) fn status_all(call: &mut Call<'_>) -> Answer {
    let field = call.text(0)?;
    let mut threads = 0;
    let data = &mut *call.data;
    each_pid(&mut |pid| {
        let mut tasks = Path::of(&[b"/proc/", pid, b"/task"]);
        let walked = directory::each_name(tasks.terminated(), &mut |tid| {
            let mut path = Path::of(&[b"/proc/", pid, b"/task/", tid, b"/status"]);
            let mut value = Buffer::<512>::new();
            match field_of(&mut path, field.bytes(), &mut value) {
                Ok(true) => {}
                Ok(false) => value.push(b"missing"),
                Err(kernel::ENOENT | kernel::ESRCH) => return Ok(()),
                // A thread that cannot be looked at is not evidence: it shows up as a value of its own.
                Err(error) => value.push_errno(error.0),
            }
            threads += 1;
            if !data.as_slice().split(|byte| *byte == b',').any(|known| known == value.as_slice()) {
                data.push_item(b",", value.as_slice());
            }
            Ok(())
        });
        match walked {
            Err(kernel::ENOENT | kernel::ESRCH) => Ok(()),
            other => other,
        }
    })?;
    Ok(threads)
}

pub(super) fn list_pids(call: &mut Call<'_>) -> Answer {
    let mut count = 0;
    each_pid(&mut |pid| {
        count += 1;
        call.data.push_item(b",", pid);
        Ok(())
    })?;
    Ok(count)
}

/// Processes that carry the nonce are passed over: the probe and everything that started it have the
/// searched text in their own arguments.
pub(super) fn find_pid_by_cmdline(call: &mut Call<'_>) -> Answer {
    let (needle, nonce) = (call.text(0)?, call.nonce);
    let mut found = 0;
    each_pid(&mut |pid| {
        let mut path = Path::of(&[b"/proc/", pid, b"/cmdline"]);
        let ours = stream::contains(path.terminated(), nonce.bytes());
        if found == 0 && ours == Ok(false) && stream::contains(path.terminated(), needle.bytes()) == Ok(true)
        {
            found = crate::decode::integer(pid).unwrap_or(0);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Inside a sandbox there is nobody but its first process and what the workload has started: whatever else
/// can be opened belongs to somebody else.
pub(super) fn open_others(call: &mut Call<'_>) -> Answer {
    const GETPPID: usize = 110;
    let file = call.text(0)?;
    let except = if call.has(1) { Some(call.text(1)?) } else { None };
    let own = [kernel::getpid(), kernel::call(GETPPID, [])?];
    let mut opened = 0;
    each_pid(&mut |pid| {
        let number = crate::decode::integer(pid).and_then(|pid| usize::try_from(pid).ok());
        if number.is_none_or(|pid| own.contains(&pid)) {
            return Ok(());
        }
        let mut path = Path::of(&[b"/proc/", pid, b"/cmdline"]);
        if except.is_some_and(|text| stream::contains(path.terminated(), text.bytes()) == Ok(true)) {
            return Ok(());
        }
        let mut path = Path::of(&[b"/proc/", pid, b"/", file.bytes()]);
        if let Ok(fd) = kernel::open(path.terminated(), O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0) {
            kernel::close(fd);
            opened += 1;
            call.data.push_item(b",", pid);
        }
        Ok(())
    })?;
    Ok(opened)
}

pub(super) fn find_in_file(call: &mut Call<'_>) -> Answer {
    let (path, needle) = (call.text(0)?, call.text(1)?);
    Ok(i64::from(stream::contains(path, needle.bytes())?))
}

pub(super) fn find_in_first(call: &mut Call<'_>) -> Answer {
    let needle = call.text(0)?;
    let mut first = Path::of(&[b"/proc/1/cmdline"]);
    if !stream::contains(first.terminated(), needle.bytes())? {
        return Ok(0);
    }
    // An attempt's process is a copy of the probe, with the same arguments, whose nonce no other run has.
    let mut own = Path::of(&[b"/proc/self/cmdline"]);
    Ok(i64::from(hash_of(&mut first)? != hash_of(&mut own)?))
}

fn hash_of(path: &mut Path) -> Result<u64, Errno> {
    let mut hash = Hash::new();
    stream::each_chunk(path.terminated(), &mut |piece| hash.add(piece))?;
    Ok(hash.0)
}

pub(super) fn ns_inode(call: &mut Call<'_>) -> Answer {
    let name = call.text(0)?;
    let pid = if call.has(1) { call.text(1)?.bytes() } else { b"self" };
    let mut path = Path::of(&[b"/proc/", pid, b"/ns/", name.bytes()]);
    let mut target = [0; 64];
    let count = kernel::readlink(path.terminated(), &mut target)?;
    call.data.push(&target[..count]);
    let inode = target[..count].split(|byte| matches!(byte, b'[' | b']')).nth(1);
    inode.and_then(crate::decode::integer).ok_or(ENODATA)
}

pub(super) fn distinct(call: &mut Call<'_>) -> Answer {
    let (link, name) = (call.says(0, b"link"), call.text(1)?);
    if !link && !call.says(0, b"file") {
        return Err(call.malformed(0));
    }
    let data = &mut *call.data;
    let (mut known, mut count) = ([0_u64; MOST_DISTINCT], 0);
    each_pid(&mut |pid| {
        let mut path = Path::of(&[b"/proc/", pid, b"/", name.bytes()]);
        let first = data.as_slice().is_empty();
        let mut hash = Hash::new();
        let mut take = |piece: &[u8]| {
            hash.add(piece);
            if first {
                data.push(piece);
            }
        };
        let read = if link {
            let mut target = [0; 256];
            kernel::readlink(path.terminated(), &mut target).map(|length| take(&target[..length]))
        } else {
            stream::each_chunk(path.terminated(), &mut take)
        };
        match read {
            Ok(()) => {}
            // It has ended meanwhile.
            Err(kernel::ENOENT | kernel::ESRCH) => return Ok(()),
            // The first process of a sandbox is not dumpable, and may not be looked at.
            Err(_) if pid == b"1" => return Ok(()),
            Err(error) => hash.add(&error.0.to_ne_bytes()),
        }
        if !known.iter().take(count).any(|other| *other == hash.0) {
            if let Some(place) = known.get_mut(count) {
                *place = hash.0;
            }
            count += 1;
        }
        Ok(())
    })?;
    Ok(count as i64)
}

/// More distinct contents than this may be counted twice.
const MOST_DISTINCT: usize = 64;

/// FNV-1a of 64 bits: enough to tell contents apart that nobody has made to collide.
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

pub(super) fn self_pid_matches_proc(call: &mut Call<'_>) -> Answer {
    let mut path = Path::of(&[b"/proc/self"]);
    let mut target = [0; 32];
    let count = kernel::readlink(path.terminated(), &mut target)?;
    call.data.push(&target[..count]);
    Ok(i64::from(crate::decode::integer(&target[..count]) == Some(kernel::getpid() as i64)))
}

fn each_pid(visit: &mut dyn FnMut(&[u8]) -> Result<(), Errno>) -> Result<(), Errno> {
    let mut path = Path::of(&[b"/proc"]);
    directory::each_name(path.terminated(), &mut |name| {
        if name.iter().all(u8::is_ascii_digit) { visit(name) } else { Ok(()) }
    })
}

/// Puts the value of `field` into `value`; `false` where the file has no such line.
fn field_of(path: &mut Path, field: &[u8], value: &mut Buffer<512>) -> Result<bool, Errno> {
    let mut found = false;
    stream::each_line(path.terminated(), &mut |line| {
        if let Some(rest) = line.strip_prefix(field).and_then(|rest| rest.strip_prefix(b":")) {
            value.push(rest.trim_ascii());
            found = true;
        }
    })?;
    Ok(found)
}

/// The first number of a value. The masks of /proc/PID/status are sixteen hexadecimal digits.
fn number_in(value: &[u8]) -> i64 {
    let first = value.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or(b"");
    if first.len() == 16 {
        return crate::decode::integer(Buffer::<18>::of(&[b"0x", first]).as_slice()).unwrap_or(0);
    }
    crate::decode::integer(first).unwrap_or(0)
}

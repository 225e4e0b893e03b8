//! Running into limits, each with a bound of its own: what does not stop the operation stops at a count that a machine
//! bears. Everything that was made is taken away again before the answer.

use crate::buffer::{Path, Terminated};
use crate::call::Call;
use crate::child;
use crate::kernel::{self, Answer, EPROTO, Errno, O_CLOEXEC, O_CREAT, O_EXCL, O_WRONLY, Status};
use crate::raw;

/// Most children at a time.
const CHILDREN: usize = 1024;
/// No descriptor of a number from here on is kept.
const DESCRIPTORS: usize = 65_536;
/// Most children that compute or hold memory.
const COMPUTING: usize = 64;
/// Most bytes of memory in one mapping.
const MEMORY: usize = 1 << 30;
/// How long a child holds its memory for the others, in milliseconds. It is ended when all are done.
const HELD: u64 = 5_000;
const SIGTERM: u8 = 15;
/// Clocks of clock_gettime(2).
const MONOTONIC: usize = 1;
const PROCESS_TIME: usize = 2;
/// Most files.
const FILES: i64 = 262_144;

pub(super) fn fork_many(call: &mut Call<'_>) -> Answer {
    let wanted = usize::try_from(call.number(0)?).unwrap_or(0).min(CHILDREN);
    let mut children = [0_usize; CHILDREN];
    let mut made = 0;
    let mut failure = None;
    let zombies = call.says(1, b"zombies");
    for place in &mut children[..wanted] {
        match if zombies { child::fork_with(|| ()) } else { child::waiting() } {
            Ok(child) => *place = child,
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
        made += 1;
    }
    for child in &children[..made] {
        child::end(*child);
    }
    report(call, failure);
    Ok(made as i64)
}

/// In a child, whose end is the end of all of them; the number comes back through a pipe.
pub(super) fn thread_many(call: &mut Call<'_>) -> Answer {
    let wanted = usize::try_from(call.number(0)?).unwrap_or(0).min(CHILDREN);
    let (reader, writer) = kernel::pipe()?;
    let child = child::fork_with(|| {
        let (mut made, mut failure) = (0_u32, 0_u32);
        while (made as usize) < wanted {
            if let Err(error) = raw::spawn_waiting_thread() {
                failure = u32::from(kernel::errno(error).0);
                break;
            }
            made += 1;
        }
        let told = (u64::from(failure) << 32 | u64::from(made)).to_ne_bytes();
        let _ = kernel::write(writer, &told);
    });
    kernel::close(writer);
    let mut told = [0; 8];
    let read = kernel::read(reader, &mut told);
    kernel::close(reader);
    let _ = kernel::wait(child?, 0);
    if read? != told.len() {
        return Err(EPROTO);
    }
    let told = u64::from_ne_bytes(told);
    let failure = (told >> 32) as u16;
    report(call, (failure != 0).then_some(Errno(failure)));
    Ok((told & 0xffff_ffff) as i64)
}

pub(super) fn touch(call: &mut Call<'_>) -> Answer {
    let length = bytes(call, 0)?;
    let shared = match call.says(1, b"shared") {
        true => true,
        false if call.says(1, b"private") => false,
        false => return Err(call.malformed(1)),
    };
    raw::touch(length, shared, || ()).map_err(kernel::errno)?;
    Ok(length as i64)
}

/// Each child holds what it has until all have said that they are done, or are gone: then the pipe ends.
pub(super) fn touch_many(call: &mut Call<'_>) -> Answer {
    let count = usize::try_from(call.number(0)?).unwrap_or(0).min(COMPUTING);
    let length = bytes(call, 1)?;
    let (reader, writer) = kernel::pipe()?;
    let mut children = [0; COMPUTING];
    for child in &mut children[..count] {
        *child = child::fork_with(|| {
            if raw::touch(length, false, || {
                let _ = kernel::write(writer, b".");
                // Its own end of the pipe: the reader waits for the last.
                kernel::close(writer);
                let _ = kernel::sleep(HELD);
            })
            .is_err()
            {
                raw::exit(1);
            }
        })
        .unwrap_or(0);
    }
    kernel::close(writer);
    let mut byte = [0];
    while kernel::read(reader, &mut byte) == Ok(1) {}
    kernel::close(reader);
    // What was done by one that has been killed since was not held by all at the same time. One that is being killed is not
    // dead yet: which signal has ended it tells.
    let alive = |child: &usize| {
        let _ = kernel::kill(*child, usize::from(SIGTERM));
        matches!(kernel::wait(*child, 0), Ok(Status::Signaled(SIGTERM)))
    };
    let made = children[..count].iter().filter(|child| **child != 0);
    Ok(made.filter(|child| alive(child)).count() as i64)
}

fn bytes(call: &mut Call<'_>, index: usize) -> Result<usize, Errno> {
    let bytes = call.number(index)?;
    match usize::try_from(bytes) {
        Ok(bytes) if bytes <= MEMORY => Ok(bytes),
        _ => Err(call.malformed(index)),
    }
}

pub(super) fn burn(call: &mut Call<'_>) -> Answer {
    let time = call.number(0)?.clamp(0, 10_000) * 1_000_000;
    let count = usize::try_from(call.number_or(1, 1)?).unwrap_or(0).min(COMPUTING);
    if count == 1 {
        compute(|| Ok(kernel::clock(PROCESS_TIME)? < time))?;
        return Ok(1);
    }
    let mut children = [0; COMPUTING];
    for child in &mut children[..count] {
        *child = child::fork_with(|| {
            if compute(|| Ok(kernel::clock(PROCESS_TIME)? < time)).is_err() {
                raw::exit(1);
            }
        })
        .unwrap_or(0);
    }
    let ended = |child: &&usize| matches!(kernel::wait(**child, 0), Ok(Status::Exited(0)));
    Ok(children[..count].iter().filter(|child| **child != 0).filter(ended).count() as i64)
}

pub(super) fn burn_share(call: &mut Call<'_>) -> Answer {
    let time = call.number(0)?.clamp(1, 5_000) * 1_000_000;
    let count = usize::try_from(call.number(1)?).unwrap_or(0).min(COMPUTING);
    let (reader, writer) = kernel::pipe()?;
    let start = kernel::clock(MONOTONIC)?;
    let mut children = [0; COMPUTING];
    for child in &mut children[..count] {
        *child = child::fork_with(|| {
            let _ = compute(|| Ok(kernel::clock(MONOTONIC)? - start < time));
            let used = kernel::clock(PROCESS_TIME).unwrap_or(0);
            let _ = kernel::write(writer, &used.to_ne_bytes());
        })
        .unwrap_or(0);
    }
    kernel::close(writer);
    let (mut total, mut one) = (0, [0; 8]);
    while kernel::read(reader, &mut one) == Ok(8) {
        total += i64::from_ne_bytes(one);
    }
    let took = (kernel::clock(MONOTONIC)? - start).max(1);
    kernel::close(reader);
    children[..count].iter().filter(|child| **child != 0).for_each(|child| {
        let _ = kernel::wait(*child, 0);
    });
    Ok(total / (took / 1000).max(1))
}

/// Computes while `more` says so. A call of the kernel every now and then keeps the clock in sight.
fn compute(mut more: impl FnMut() -> Result<bool, Errno>) -> Result<(), Errno> {
    let mut value = 1_u64;
    while more()? {
        for _ in 0..20_000 {
            value = core::hint::black_box(value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
    Ok(())
}

pub(super) fn dup_many(call: &mut Call<'_>) -> Answer {
    const DUP: usize = 32;
    let wanted = call.number(0)?.clamp(0, DESCRIPTORS as i64);
    let number = usize::try_from(call.number_or(1, DUP as i64)?).unwrap_or(DUP);
    // The numbers are the lowest free ones: between them lie descriptors that are not ours to close.
    let mut ours = [0_u64; DESCRIPTORS / 64];
    let (mut made, mut failure) = (0, None);
    while made < wanted {
        match kernel::call(number, [0, 0]) {
            Ok(fd) if fd < DESCRIPTORS => ours[fd / 64] |= 1 << (fd % 64),
            Ok(fd) => {
                kernel::close(fd);
                break;
            }
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
        made += 1;
    }
    (0..DESCRIPTORS).filter(|fd| ours[fd / 64] >> (fd % 64) & 1 == 1).for_each(kernel::close);
    report(call, failure);
    Ok(made)
}

pub(super) fn create_many(call: &mut Call<'_>) -> Answer {
    let directory = call.text(0)?;
    let wanted = call.number(1)?.clamp(0, FILES);
    let (mut made, mut failure) = (0, None);
    while made < wanted {
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
        match kernel::open(name(directory, made).terminated(), flags, 0o600) {
            Ok(fd) => kernel::close(fd),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
        made += 1;
    }
    for number in 0..made {
        const UNLINK: usize = 87;
        let _ = kernel::call(UNLINK, [name(directory, number).terminated().address()]);
    }
    report(call, failure);
    Ok(made)
}

fn name(directory: Terminated<'_>, number: i64) -> Path {
    let mut path = Path::of(&[directory.bytes(), b"/many-"]);
    path.push_unsigned(number.unsigned_abs());
    path
}

fn report(call: &mut Call<'_>, failure: Option<Errno>) {
    if let Some(error) = failure {
        call.data.push_errno(error.0);
    }
}

//! Running into limits, each with a bound of its own: what does not stop the operation stops at a count that a machine
//! bears. Everything that was made is taken away again before the answer.

use crate::buffer::{Path, Terminated};
use crate::call::Call;
use crate::child;
use crate::kernel::{self, Answer, Errno, O_CLOEXEC, O_CREAT, O_EXCL, O_WRONLY};

/// Most children at a time.
const CHILDREN: usize = 1024;
/// No descriptor of a number from here on is kept.
const DESCRIPTORS: usize = 65_536;
/// Most files.
const FILES: i64 = 262_144;

pub(super) fn fork_many(call: &mut Call<'_>) -> Answer {
    let wanted = usize::try_from(call.number(0)?).unwrap_or(0).min(CHILDREN);
    let mut children = [0_usize; CHILDREN];
    let mut made = 0;
    let mut failure = None;
    for place in &mut children[..wanted] {
        match child::waiting() {
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

pub(super) fn dup_many(call: &mut Call<'_>) -> Answer {
    const DUP: usize = 32;
    let wanted = call.number(0)?.clamp(0, DESCRIPTORS as i64);
    // The numbers are the lowest free ones: between them lie descriptors that are not ours to close.
    let mut ours = [0_u64; DESCRIPTORS / 64];
    let (mut made, mut failure) = (0, None);
    while made < wanted {
        match kernel::call(DUP, [0]) {
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

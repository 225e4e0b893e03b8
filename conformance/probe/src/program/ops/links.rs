//! Names of files: links, renames, and the race for a name.

use crate::buffer::{Buffer, Terminated};
use crate::call::Call;
use crate::child;
use crate::kernel::{self, Answer, Errno, O_CLOEXEC, O_NONBLOCK, O_RDONLY};

/// CLOCK_MONOTONIC.
const MONOTONIC: usize = 1;
/// Nanoseconds after which the swapping child ends by itself.
const LONGEST_RACE: i64 = 10_000_000_000;

pub(super) fn link_and_read(call: &mut Call<'_>) -> Answer {
    const LINK: usize = 86;
    let (target, link) = (call.text(1)?, call.text(2)?);
    let made = if call.says(0, b"hard") {
        kernel::call(LINK, [target.address(), link.address()]).map(drop)
    } else if call.says(0, b"sym") {
        symlink(target, link)
    } else {
        return Err(call.malformed(0));
    };
    call.step(b"link", made)?;
    let mut content = [0; 2048];
    let read = read_once(link, &mut content);
    let count = call.step(b"open", read)?;
    call.data.push(&content[..count]);
    Ok(count as i64)
}

pub(super) fn rename(call: &mut Call<'_>) -> Answer {
    let (old, new) = (call.text(0)?, call.text(1)?);
    replace(old, new).map(|()| 0)
}

pub(super) fn unlink(call: &mut Call<'_>) -> Answer {
    remove(call.text(0)?).map(|()| 0)
}

/// A child swaps the link without pause while this process opens and reads through it.
pub(super) fn symlink_race(call: &mut Call<'_>) -> Answer {
    let (link, allowed, forbidden) = (call.text(0)?, call.text(1)?, call.text(2)?);
    let (path, count) = (call.text(3)?, call.number(4)?.clamp(0, 1_000_000));
    let mut spare = Buffer::<512>::of(&[link.bytes(), b".next"]);
    let made = symlink(allowed, spare.terminated()).and_then(|()| replace(spare.terminated(), link));
    call.step(b"link", made)?;
    let mut normal = [0; 512];
    let first = read_once(path, &mut normal);
    let first = call.step(b"read", first)?;

    let racer = child::fork_with(|| {
        // Bounded, so that it ends even where its parent was killed.
        let start = kernel::clock(MONOTONIC).unwrap_or(0);
        while kernel::clock(MONOTONIC).is_ok_and(|now| now - start < LONGEST_RACE) {
            for target in [forbidden, allowed] {
                // Errors are left alone: a link that does not change is a race that is not won, and shows as such.
                let _ = symlink(target, spare.terminated()).and_then(|()| replace(spare.terminated(), link));
            }
        }
    });
    let racer = call.step(b"fork", racer)?;
    let (mut won, mut opened) = (0_i64, 0_u64);
    let mut loot = Buffer::<1024>::new();
    for _ in 0..count {
        let mut content = [0; 512];
        let Ok(length) = read_once(path, &mut content) else { continue };
        opened += 1;
        if content[..length] != normal[..first] {
            won += 1;
            loot.clear();
            loot.push(&content[..length]);
        }
    }
    child::end(racer);
    // It may have been ended between the two steps of a swap.
    let _ = remove(spare.terminated());
    call.data.push(b"opened=");
    call.data.push_unsigned(opened);
    call.data.push(b" other=");
    call.data.push_signed(won);
    if won > 0 {
        call.data.push(b"\n");
        call.data.push(loot.as_slice());
    }
    Ok(won)
}

fn read_once(path: Terminated<'_>, into: &mut [u8]) -> Result<usize, Errno> {
    let fd = kernel::open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0)?;
    let count = kernel::read(fd, into);
    kernel::close(fd);
    count
}

fn remove(path: Terminated<'_>) -> Result<(), Errno> {
    const UNLINK: usize = 87;
    kernel::call(UNLINK, [path.address()]).map(drop)
}

fn symlink(target: Terminated<'_>, link: Terminated<'_>) -> Result<(), Errno> {
    const SYMLINK: usize = 88;
    kernel::call(SYMLINK, [target.address(), link.address()]).map(drop)
}

fn replace(old: Terminated<'_>, new: Terminated<'_>) -> Result<(), Errno> {
    const RENAME: usize = 82;
    kernel::call(RENAME, [old.address(), new.address()]).map(drop)
}

//! Files and directories, by path.

use crate::buffer::Terminated;
use crate::call::Call;
use crate::directory;
use crate::kernel::{self, Answer, O_APPEND, O_CLOEXEC, O_CREAT, O_EXCL, O_RDONLY, O_TRUNC, O_WRONLY};
use crate::output::DATA_BYTES;

pub(super) fn read_file(call: &mut Call<'_>) -> Answer {
    let path = call.text(0)?;
    let most = call.number_or(1, DATA_BYTES as i64)?;
    let fd = kernel::open(path, O_RDONLY | O_CLOEXEC, 0)?;
    let mut total = 0;
    let mut chunk = [0; DATA_BYTES];
    while total < most {
        let room = usize::try_from(most - total).unwrap_or(usize::MAX).min(chunk.len());
        let count = kernel::read(fd, &mut chunk[..room])?;
        if count == 0 {
            break;
        }
        call.data.push(&chunk[..count]);
        total += count as i64;
    }
    kernel::close(fd);
    Ok(total)
}

pub(super) fn write_file(call: &mut Call<'_>) -> Answer {
    store(call.text(0)?, O_CREAT | O_TRUNC, call.text(1)?)
}

pub(super) fn append(call: &mut Call<'_>) -> Answer {
    store(call.text(0)?, O_APPEND, call.text(1)?)
}

fn store(path: Terminated<'_>, flags: u32, text: Terminated<'_>) -> Answer {
    let fd = kernel::open(path, O_WRONLY | O_CLOEXEC | flags, 0o644)?;
    let written = kernel::write(fd, text.bytes());
    kernel::close(fd);
    Ok(written? as i64)
}

pub(super) fn create_excl(call: &mut Call<'_>) -> Answer {
    let fd = kernel::open(call.text(0)?, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)?;
    kernel::close(fd);
    Ok(0)
}

pub(super) fn suid_bits(call: &mut Call<'_>) -> Answer {
    const FCHMOD: usize = 91;
    let path = call.text(0)?;
    let mode = call.number_or(1, 0o4755)?.cast_unsigned() as usize;
    let created = kernel::open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o755);
    let fd = call.step(b"create", created)?;
    let changed = kernel::call(FCHMOD, [fd, mode]);
    kernel::close(fd);
    call.step(b"chmod", changed)?;
    let stat = kernel::stat(path, 0);
    Ok((call.step(b"stat", stat)?.mode() & 0o7777).cast_signed())
}

pub(super) fn open(call: &mut Call<'_>) -> Answer {
    let path = call.text(0)?;
    let flags = call.operand(1)? as u32;
    let mode = call.number_or(2, 0)?.cast_unsigned() as u32;
    Ok(kernel::open(path, flags, mode)? as i64)
}

pub(super) fn list_dir(call: &mut Call<'_>) -> Answer {
    let path = call.text(0)?;
    let mut count = 0;
    directory::each_name(path, &mut |name| {
        count += 1;
        call.data.push_item(b"\n", name);
        Ok(())
    })?;
    Ok(count)
}

pub(super) fn stat_mode(call: &mut Call<'_>) -> Answer {
    const AT_SYMLINK_NOFOLLOW: usize = 0x100;
    let nofollow = call.says(1, b"nofollow");
    let stat = kernel::stat(call.text(0)?, if nofollow { AT_SYMLINK_NOFOLLOW } else { 0 })?;
    call.data.push_unsigned(stat.uid());
    call.data.push(b" ");
    call.data.push_unsigned(stat.gid());
    call.data.push(b" ");
    for place in [9, 6, 3, 0] {
        call.data.push_unsigned((stat.mode() >> place) & 7);
    }
    call.data.push(b" ");
    call.data.push_unsigned(stat.size());
    call.data.push(b" ");
    call.data.push_unsigned(stat.links());
    Ok(stat.mode().cast_signed())
}

pub(super) fn statfs(call: &mut Call<'_>) -> Answer {
    const STATFS: usize = 137;
    let path = call.text(0)?;
    let mut words = [0_u64; 15];
    kernel::call(STATFS, [path.address(), words.as_mut_ptr() as usize])?;
    let [kind, block, blocks, _, _, files, ..] = words;
    let flags = words[10];
    call.data.push(b"type=");
    call.data.push_hex(kind);
    call.data.push(b" flags=");
    call.data.push_hex(flags);
    call.data.push(b" bytes=");
    call.data.push_unsigned(block.saturating_mul(blocks));
    call.data.push(b" files=");
    call.data.push_unsigned(files);
    Ok(flags.cast_signed())
}

pub(super) fn readlink(call: &mut Call<'_>) -> Answer {
    let mut target = [0; DATA_BYTES];
    let count = kernel::readlink(call.text(0)?, &mut target)?;
    call.data.push(&target[..count]);
    Ok(count as i64)
}

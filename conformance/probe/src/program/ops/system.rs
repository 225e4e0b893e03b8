//! What the kernel says about the system and about this process, and simple ways for it to end.

use crate::call::Call;
use crate::kernel::{self, Answer};
use crate::raw;

pub(super) fn uname(call: &mut Call<'_>) -> Answer {
    const UNAME: usize = 63;
    const LENGTH: usize = 65;
    let fields: [&[u8]; 6] = [b"sysname", b"nodename", b"release", b"version", b"machine", b"domainname"];
    let index = fields.iter().position(|field| call.says(0, field)).ok_or_else(|| call.malformed(0))?;
    let mut names = [0_u8; 6 * LENGTH];
    kernel::call(UNAME, [names.as_mut_ptr() as usize])?;
    let name = names[index * LENGTH..].split(|byte| *byte == 0).next().unwrap_or(b"");
    call.data.push(name);
    Ok(name.len() as i64)
}

pub(super) fn getrlimit(call: &mut Call<'_>) -> Answer {
    const PRLIMIT64: usize = 302;
    let resource = call.operand(0)?;
    let mut limits = [0_u64; 2];
    kernel::call(PRLIMIT64, [0, resource, 0, limits.as_mut_ptr() as usize])?;
    for limit in limits {
        call.data.push_item(b" ", b"");
        if limit == u64::MAX {
            call.data.push(b"unlimited");
        } else {
            call.data.push_unsigned(limit);
        }
    }
    Ok(i64::try_from(limits[0]).unwrap_or(i64::MAX))
}

pub(super) fn clock_delta(call: &mut Call<'_>) -> Answer {
    let (first, second) = (call.operand(0)?, call.operand(1)?);
    let (first, second) = (kernel::clock(first)?, kernel::clock(second)?);
    call.data.push_signed(first);
    call.data.push(b" ");
    call.data.push_signed(second);
    Ok((first - second) / 1_000_000)
}

pub(super) fn sleep_ms(call: &mut Call<'_>) -> Answer {
    const LONGEST: i64 = 5000;
    let milliseconds = call.number(0)?.clamp(0, LONGEST);
    kernel::sleep(milliseconds.unsigned_abs())?;
    Ok(milliseconds)
}

pub(super) fn print(call: &mut Call<'_>) -> Answer {
    let text = call.text(0)?;
    Ok(kernel::write(1, text.bytes())? as i64)
}

pub(super) fn exit(call: &mut Call<'_>) -> Answer {
    raw::exit(call.number(0)? as i32)
}

pub(super) fn raise(call: &mut Call<'_>) -> Answer {
    let signal = call.operand(0)?;
    kernel::kill(kernel::getpid(), signal)?;
    Ok(0)
}

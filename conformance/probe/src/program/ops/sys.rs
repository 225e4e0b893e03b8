//! System calls as the script spells them.

use crate::call::Call;
use crate::decode::{self, Problem};
use crate::kernel::{self, Answer, Errno};
use crate::raw;

/// Six operands, and up to two buffers inside a structure.
const BUFFERS: usize = 8;

/// The `#N` buffers of one statement, in the order in which they were named.
struct Outputs {
    buffers: [Option<&'static mut [u8]>; BUFFERS],
    count: usize,
}

impl Outputs {
    fn new() -> Self {
        Self { buffers: [const { None }; BUFFERS], count: 0 }
    }

    fn keep(&mut self, buffer: &'static mut [u8]) -> Result<usize, Problem> {
        let address = buffer.as_mut_ptr() as usize;
        *self.buffers.get_mut(self.count).ok_or(Problem::Malformed)? = Some(buffer);
        self.count += 1;
        Ok(address)
    }
}

pub(super) fn sys(call: &mut Call<'_>) -> Answer {
    let mut outputs = Outputs::new();
    let (number, operands) = operands(call, &mut outputs)?;
    finish(call, &outputs, raw::syscall(number, operands))
}

pub(super) fn sys32(call: &mut Call<'_>) -> Answer {
    let mut outputs = Outputs::new();
    let (number, operands) = operands(call, &mut outputs)?;
    let result = raw::syscall32(number as u32, operands.map(|operand| operand as u32));
    finish(call, &outputs, result)
}

pub(super) fn i386_socketcall(call: &mut Call<'_>) -> Answer {
    const SOCKETCALL: u32 = 102;
    const SYS_SOCKET: u32 = 1;
    let operands = [call.operand(0)? as u32, call.operand(1)? as u32, call.operand(2)? as u32];
    let memory = call.arena.take(size_of_val(&operands)).ok_or_else(|| call.malformed(0))?;
    for (place, operand) in memory.chunks_exact_mut(4).zip(operands) {
        place.copy_from_slice(&operand.to_ne_bytes());
    }
    let address = memory.as_mut_ptr() as usize as u32;
    let result = raw::syscall32(SOCKETCALL, [SYS_SOCKET, address, 0, 0, 0, 0]);
    kernel::decode(result).map(|fd| fd as i64)
}

fn finish(call: &mut Call<'_>, outputs: &Outputs, result: isize) -> Answer {
    let result = kernel::decode(result)?;
    for buffer in outputs.buffers.iter().flatten() {
        call.data.push(buffer);
    }
    Ok(result.cast_signed() as i64)
}

fn operands(call: &mut Call<'_>, outputs: &mut Outputs) -> Result<(usize, [usize; 6]), Errno> {
    let number = call.operand(0)?;
    let mut operands = [0; 6];
    for (index, operand) in operands.iter_mut().enumerate() {
        let Some(word) = call.word(index + 1) else { break };
        *operand = value(call, word, outputs).map_err(|problem| call.refuse(problem, index + 1))?;
    }
    if call.has(7) {
        return Err(call.malformed(7));
    }
    Ok((number, operands))
}

fn value(call: &mut Call<'_>, word: &[u8], outputs: &mut Outputs) -> Result<usize, Problem> {
    match word {
        b"null" => Ok(0),
        b"bad" => Ok(8),
        b"nonce" => Ok(call.nonce.address()),
        [b'@', ..] => Ok(call.decoded(word)?.address()),
        [b'#', size @ ..] => {
            let size = decode::integer(size).and_then(|size| usize::try_from(size).ok());
            let size = size.filter(|size| *size <= 4096).ok_or(Problem::Malformed)?;
            outputs.keep(call.arena.take(size).ok_or(Problem::Malformed)?)
        }
        [b'=', cells @ ..] => structure(call, cells, outputs),
        [b'$', index @ ..] => {
            Ok(decode::result(index, &|index| call.result(index))?.cast_unsigned() as usize)
        }
        _ => Ok(decode::integer(word).ok_or(Problem::Malformed)?.cast_unsigned() as usize),
    }
}

/// `=HEX`, where `[OPERAND]` between the digits stands for the 8 bytes of that operand: a structure that
/// points to others.
fn structure(call: &mut Call<'_>, cells: &[u8], outputs: &mut Outputs) -> Result<usize, Problem> {
    let mut bytes = crate::buffer::Buffer::<4096>::new();
    let mut rest = cells;
    loop {
        match rest {
            [] => break,
            [b'[', tail @ ..] => {
                let end = tail.iter().position(|byte| *byte == b']').ok_or(Problem::Malformed)?;
                let (inner, after) = (&tail[..end], &tail[end + 1..]);
                if inner.contains(&b'[') {
                    return Err(Problem::Malformed);
                }
                bytes.push(&value(call, inner, outputs)?.to_ne_bytes());
                rest = after;
            }
            [high, low, tail @ ..] => {
                bytes.push(&[decode::hex_pair(*high, *low).ok_or(Problem::Malformed)?]);
                rest = tail;
            }
            [_] => return Err(Problem::Malformed),
        }
    }
    let memory = call.arena.take(bytes.as_slice().len()).ok_or(Problem::Malformed)?;
    memory.copy_from_slice(bytes.as_slice());
    Ok(memory.as_mut_ptr() as usize)
}

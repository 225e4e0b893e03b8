//! What a filter answers, found out by running it: an interpreter of the classic BPF that seccomp accepts.
//!
//! The second, independent reading of a program, beside [`Profile::evaluate`](super::Profile::evaluate). It shows
//! properties that the running kernel cannot show (this host may have no x32 to be closed). Refuses what the
//! kernel's checker refuses (`bpf_check_classic`, `seccomp_check_filter`); used by tests, never on the way to the
//! kernel.

use thiserror::Error;

use super::Instruction;
use super::assemble::{MAX_INSTRUCTIONS, code};

/// The kernel's `struct seccomp_data` without the instruction pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallData {
    /// The number of the call.
    pub number: u32,
    /// `AUDIT_ARCH_*` of the entry that it came through.
    pub arch: u32,
    /// The six argument registers, whole.
    pub args: [u64; 6],
}

/// What is wrong with a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The program is empty or has more than 4096 instructions.
    #[error("a program of {0} instructions")]
    Length(usize),
    /// An instruction that seccomp does not accept, or that no filter of ours is made of.
    #[error("instruction {at} has code {code:#x}")]
    Code {
        /// Its index.
        at: usize,
        /// Its code.
        code: u16,
    },
    /// A load that is not of an aligned word of `seccomp_data`.
    #[error("instruction {at} loads from offset {offset}")]
    Load {
        /// Its index.
        at: usize,
        /// The byte offset.
        offset: u32,
    },
    /// A jump, or the last instruction, leads past the end.
    #[error("instruction {at} leads past the end of the program")]
    RunsOut {
        /// Its index.
        at: usize,
    },
}

/// Run `program` on `data`; gives the `SECCOMP_RET_*` value.
///
/// # Errors
///
/// The first thing that the kernel would refuse about the program, whether or not this run meets it.
pub fn interpret(program: &[Instruction], data: &CallData) -> Result<u32, Fault> {
    check(program)?;
    Ok(run(program, data))
}

/// As [`interpret`], for a program that [`check`] has passed.
pub(super) fn run(program: &[Instruction], data: &CallData) -> u32 {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        let choose = |holds| usize::from(if holds { jt } else { jf });
        at += 1 + match code {
            code::LOAD => {
                accumulator = word(data, k);
                0
            }
            code::AND => {
                accumulator &= k;
                0
            }
            code::JUMP => k as usize,
            code::IF_EQUAL => choose(accumulator == k),
            code::IF_AT_LEAST => choose(accumulator >= k),
            _ => return k,
        };
    }
}

pub(super) fn check(program: &[Instruction]) -> Result<(), Fault> {
    if program.is_empty() || program.len() > MAX_INSTRUCTIONS {
        return Err(Fault::Length(program.len()));
    }
    for (at, instruction) in program.iter().enumerate() {
        let furthest = match instruction.code {
            code::LOAD if !instruction.k.is_multiple_of(4) || instruction.k >= 64 => {
                return Err(Fault::Load { at, offset: instruction.k });
            }
            code::LOAD | code::AND => 1,
            code::JUMP => 1 + instruction.k as usize,
            code::IF_EQUAL | code::IF_AT_LEAST => 1 + usize::from(instruction.jt.max(instruction.jf)),
            code::RETURN => 0,
            code => return Err(Fault::Code { at, code }),
        };
        if at + furthest >= program.len() {
            return Err(Fault::RunsOut { at });
        }
    }
    Ok(())
}

/// The word at byte `offset` of `seccomp_data` on a little-endian machine. Offsets are checked beforehand.
#[expect(clippy::cast_possible_truncation, reason = "a half of an argument is wanted")]
fn word(data: &CallData, offset: u32) -> u32 {
    match offset {
        0 => data.number,
        4 => data.arch,
        8 | 12 => 0,
        _ => {
            let argument = data.args[(offset as usize - 16) / 8];
            (if offset.is_multiple_of(8) { argument } else { argument >> 32 }) as u32
        }
    }
}

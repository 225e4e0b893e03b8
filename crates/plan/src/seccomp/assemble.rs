//! From a profile to a classic BPF program.
//!
//! The program is emitted backwards, last instruction first. Jumps of classic BPF only go forward, so every target
//! exists before the jump to it is written and no label needs patching; a target that lies further than the 8 bits
//! of a conditional jump can say is reached through a `JA` placed right behind the jump.
//!
//! Shape: architecture, x32 guard, then a balanced binary tree over the call numbers, whose leaves are answers or
//! argument checks. Neighbouring numbers with the same answer or check share a leaf. So a checked call costs some ten
//! comparisons, not some hundred; plain answers the kernel caches by number since Linux 5.11.

use thiserror::Error;

use super::condition::{Condition, Width};
use super::profile::{Action, Check, Errno, Profile, Verdict, X32_FIRST};

/// One instruction, with the fields of the kernel's `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What is done.
    pub code: u16,
    /// How many instructions to skip when a comparison holds.
    pub jt: u8,
    /// How many instructions to skip when it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// An assembled filter of 1 to 4096 instructions, ready for `seccomp(SECCOMP_SET_MODE_FILTER)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The instructions, in order.
    pub instructions: Vec<Instruction>,
}

impl Program {
    /// The same filter, but where it would refuse a call with EPERM, it asks whoever holds its listener
    /// (SECCOMP_RET_USER_NOTIF, Linux 5.0), who is to refuse it so.
    #[must_use]
    pub fn asking(mut self) -> Self {
        /// `SECCOMP_RET_USER_NOTIF` of `linux/seccomp.h`.
        const ASK: u32 = 0x7fc0_0000;
        let refusal = Action::Fail(Errno::Eperm).return_value();
        for instruction in &mut self.instructions {
            if instruction.code == code::RETURN && instruction.k == refusal {
                instruction.k = ASK;
            }
        }
        self
    }
}

/// The profile needs more instructions than the kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the filter needs {needed} instructions; the kernel takes {MAX_INSTRUCTIONS}")]
pub struct TooLong {
    /// How many it needs.
    pub needed: usize,
}

/// `BPF_MAXINSNS` of `linux/bpf_common.h`.
pub(super) const MAX_INSTRUCTIONS: usize = 4096;

/// Instruction codes of `linux/bpf_common.h`, those that a filter of ours is made of.
pub(super) mod code {
    /// `BPF_LD | BPF_W | BPF_ABS`: load a word of `seccomp_data`.
    pub(in super::super) const LOAD: u16 = 0x20;
    /// `BPF_ALU | BPF_AND | BPF_K`.
    pub(in super::super) const AND: u16 = 0x54;
    /// `BPF_JMP | BPF_JA`.
    pub(in super::super) const JUMP: u16 = 0x05;
    /// `BPF_JMP | BPF_JEQ | BPF_K`.
    pub(in super::super) const IF_EQUAL: u16 = 0x15;
    /// `BPF_JMP | BPF_JGE | BPF_K`, unsigned.
    pub(in super::super) const IF_AT_LEAST: u16 = 0x35;
    /// `BPF_RET | BPF_K`.
    pub(in super::super) const RETURN: u16 = 0x06;
}

/// Byte offsets into `struct seccomp_data` of `linux/seccomp.h`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

impl Action {
    /// The return value that tells the kernel to do this: `SECCOMP_RET_*` of `linux/seccomp.h`.
    pub const fn return_value(self) -> u32 {
        match self {
            Self::Allow => 0x7fff_0000,
            Self::Fail(errno) => 0x0005_0000 | errno.number() as u32,
        }
    }
}

/// Assemble a profile.
pub fn assemble(profile: &Profile) -> Result<Program, TooLong> {
    let leaves = leaves(profile);
    // A leaf takes a comparison, and an argument that is checked a few more.
    let mut backwards = Backwards { reversed: Vec::with_capacity(4 * leaves.len()), returns: Vec::new() };
    let tree = backwards.tree(&leaves);
    let guard = backwards.compare(code::IF_AT_LEAST, X32_FIRST, Target::Answer(profile.x32), tree);
    let native = backwards.load(NUMBER, guard);
    let start = backwards.compare(
        code::IF_EQUAL,
        profile.arch.audit_arch(),
        native,
        Target::Answer(profile.foreign_arch),
    );
    backwards.load(ARCH, start);
    backwards.finish()
}

/// The numbers from `first` up to the next leaf's, with what happens to them.
struct Leaf<'a> {
    first: u32,
    outcome: Outcome<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome<'a> {
    Answer(Action),
    Check(&'a Check),
}

/// The leaves of the tree, ascending, from number 0 on, without neighbours of the same outcome.
fn leaves(profile: &Profile) -> Vec<Leaf<'_>> {
    let mut by_number: Vec<_> =
        profile.rules.iter().map(|(call, verdict)| (call.number(), verdict)).collect();
    by_number.sort_unstable_by_key(|&(number, _)| number);
    let unknown = Outcome::Answer(profile.unknown);
    let mut leaves = Vec::with_capacity(by_number.len() + 1);
    let mut next = 0;
    for (number, verdict) in by_number {
        if number > next {
            push_leaf(&mut leaves, next, unknown);
        }
        let outcome = match verdict {
            Verdict::Always(action) => Outcome::Answer(*action),
            Verdict::Check(check) => Outcome::Check(check),
        };
        push_leaf(&mut leaves, number, outcome);
        next = number + 1;
    }
    push_leaf(&mut leaves, next, unknown);
    leaves
}

fn push_leaf<'a>(leaves: &mut Vec<Leaf<'a>>, first: u32, outcome: Outcome<'a>) {
    if leaves.last().is_none_or(|last| last.outcome != outcome) {
        leaves.push(Leaf { first, outcome });
    }
}

/// Where a jump leads.
#[derive(Clone, Copy)]
enum Target {
    /// To an instruction, by its place counted from the end of the program.
    Place(usize),
    /// To any `RET` of this answer; one is written where none is near.
    Answer(Action),
}

/// A program in the making, its last instruction first.
struct Backwards {
    reversed: Vec<Instruction>,
    /// Where each answer was written last.
    returns: Vec<(u32, usize)>,
}

impl Backwards {
    /// A search over `leaves`; the accumulator holds the number of the call.
    fn tree(&mut self, leaves: &[Leaf<'_>]) -> Target {
        if let [leaf] = leaves {
            return match leaf.outcome {
                Outcome::Answer(action) => Target::Answer(action),
                Outcome::Check(check) => self.check(check),
            };
        }
        let (low, high) = leaves.split_at(leaves.len() / 2);
        let above = self.tree(high);
        let below = self.tree(low);
        self.compare(code::IF_AT_LEAST, high[0].first, above, below)
    }

    fn check(&mut self, check: &Check) -> Target {
        let mut otherwise = Target::Answer(check.otherwise);
        for case in check.cases.iter().rev() {
            let mut holds = Target::Answer(case.then);
            for condition in case.conditions.iter().rev() {
                holds = self.condition(condition, holds, otherwise);
            }
            otherwise = holds;
        }
        otherwise
    }

    fn condition(&mut self, condition: &Condition, holds: Target, otherwise: Target) -> Target {
        let low_offset = 16 + 8 * u32::from(condition.argument());
        let high_offset = low_offset + 4;
        let (low_mask, high_mask) = (low_half(condition.mask()), high_half(condition.mask()));
        let mut next = otherwise;
        if condition.width() == Width::U32 || high_mask == 0 {
            for &value in condition.values().iter().rev() {
                next = self.compare(code::IF_EQUAL, low_half(value), holds, next);
            }
            return self.load_masked(low_offset, low_mask, next);
        }
        // The accumulator holds one half at a time, so each value loads both again.
        for &value in condition.values().iter().rev() {
            let low = self.compare(code::IF_EQUAL, low_half(value), holds, next);
            let low = self.load_masked(low_offset, low_mask, low);
            let high = self.compare(code::IF_EQUAL, high_half(value), low, next);
            next = self.load_masked(high_offset, high_mask, high);
        }
        next
    }

    fn load_masked(&mut self, offset: u32, mask: u32, then: Target) -> Target {
        if mask == u32::MAX {
            return self.load(offset, then);
        }
        self.fall_through_to(then);
        let masked = self.emit(code::AND, 0, 0, mask);
        self.load(offset, masked)
    }

    fn load(&mut self, offset: u32, then: Target) -> Target {
        self.fall_through_to(then);
        self.emit(code::LOAD, 0, 0, offset)
    }

    fn compare(&mut self, code: u16, operand: u32, holds: Target, otherwise: Target) -> Target {
        // A place found for one arm may be pushed out of reach by what is written for the other: both arms
        // allow for the two instructions that the other may need, and for the jump itself.
        let holds = self.within_reach(holds);
        let otherwise = self.within_reach(otherwise);
        let (jt, jf) = (self.distance(holds), self.distance(otherwise));
        self.emit(code, jt, jf, operand)
    }

    /// The place of `target`, near enough for a conditional jump that is written next or next but one.
    fn within_reach(&mut self, target: Target) -> usize {
        const NEAR: usize = u8::MAX as usize - 2;
        let here = self.reversed.len();
        match target {
            Target::Place(place) if here - place <= NEAR => place,
            Target::Place(place) => {
                let skipped = u32::try_from(here - place - 1).unwrap_or(u32::MAX);
                self.push(code::JUMP, 0, 0, skipped)
            }
            Target::Answer(action) => {
                let wanted = action.return_value();
                let near = |&&(answer, place): &&(u32, usize)| answer == wanted && here - place <= NEAR;
                match self.returns.iter().find(near) {
                    Some(&(_, place)) => place,
                    None => self.answer(wanted),
                }
            }
        }
    }

    /// How many instructions lie between the one that is written next and `place`.
    fn distance(&self, place: usize) -> u8 {
        u8::try_from(self.reversed.len() - place - 1).expect("within_reach found or made a near place")
    }

    /// Make sure that whatever is written next runs into `target`.
    fn fall_through_to(&mut self, target: Target) {
        let here = self.reversed.len();
        match target {
            Target::Place(place) if place + 1 == here => {}
            Target::Place(place) => {
                let skipped = u32::try_from(here - place - 1).unwrap_or(u32::MAX);
                self.push(code::JUMP, 0, 0, skipped);
            }
            Target::Answer(action) => {
                self.answer(action.return_value());
            }
        }
    }

    fn answer(&mut self, value: u32) -> usize {
        let place = self.push(code::RETURN, 0, 0, value);
        match self.returns.iter_mut().find(|(answer, _)| *answer == value) {
            Some(last) => last.1 = place,
            None => self.returns.push((value, place)),
        }
        place
    }

    fn emit(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Target {
        Target::Place(self.push(code, jt, jf, k))
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> usize {
        self.reversed.push(Instruction { code, jt, jf, k });
        self.reversed.len() - 1
    }

    fn finish(mut self) -> Result<Program, TooLong> {
        if self.reversed.len() > MAX_INSTRUCTIONS {
            return Err(TooLong { needed: self.reversed.len() });
        }
        self.reversed.reverse();
        Ok(Program { instructions: self.reversed })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
const fn low_half(value: u64) -> u32 {
    value as u32
}

const fn high_half(value: u64) -> u32 {
    low_half(value >> 32)
}

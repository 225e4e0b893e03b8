//! The filter as a whole: what is decided, and that the program does what was decided.

mod decisions;
mod program;

use std::collections::BTreeSet;

use palisade_policy::{
    Identity, Network, NetworkMode, Process, SyscallProfile, Syscalls, Terminal, syscalls,
};
use proptest::prelude::*;
use rstest::rstest;

use super::arguments::CHECKED;
use super::assemble::{MAX_INSTRUCTIONS, code};
use super::interpret::{CallData, Fault, check, interpret, run};
use super::table::{GROUPS, NEEDED_BY_INIT};
use super::{
    Action, Arch, Call, Case, Check, Condition, Errno, Instruction, Profile, TooLong, Undecidable, Verdict,
    Width, assemble,
};

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
const X32_BIT: u32 = 0x4000_0000;

fn process(profile: SyscallProfile) -> Process {
    Process {
        identity: Identity::User,
        capabilities: vec![],
        syscalls: Syscalls { profile, allow: vec![], deny: vec![] },
        nested_namespaces: false,
        terminal: Terminal::None,
    }
}

fn network(mode: NetworkMode) -> Network {
    Network { mode, ..Network::default() }
}

fn standard() -> Profile {
    Profile::decide(&process(SyscallProfile::Standard), &network(NetworkMode::None)).unwrap()
}

fn strict(mode: NetworkMode) -> Profile {
    Profile::decide(&process(SyscallProfile::Strict), &network(mode)).unwrap()
}

fn nested() -> Profile {
    let process = Process { nested_namespaces: true, ..process(SyscallProfile::Standard) };
    Profile::decide(&process, &network(NetworkMode::None)).unwrap()
}

fn with_lists(allow: &[&str], deny: &[&str]) -> Result<Profile, Undecidable> {
    let mut process = process(SyscallProfile::Standard);
    process.syscalls.allow = allow.iter().map(|&name| name.to_owned()).collect();
    process.syscalls.deny = deny.iter().map(|&name| name.to_owned()).collect();
    Profile::decide(&process, &network(NetworkMode::None))
}

/// A profile and its program: two readings of each answer, which must agree.
struct Filter {
    profile: Profile,
    program: Vec<Instruction>,
}

impl From<Profile> for Filter {
    fn from(profile: Profile) -> Self {
        let program = assemble(&profile).unwrap().instructions;
        Self { profile, program }
    }
}

impl Filter {
    fn answer(&self, arch: u32, number: u32, args: [u64; 6]) -> Action {
        let expected = self.profile.evaluate(arch, number, &args);
        let ran = interpret(&self.program, &CallData { number, arch, args }).unwrap();
        assert_eq!(ran, expected.return_value(), "arch {arch:#x} number {number} args {args:x?}");
        expected
    }

    fn named(&self, name: &str, args: &[u64]) -> String {
        let mut registers = [0; 6];
        registers[..args.len()].copy_from_slice(args);
        let number = syscalls::number(name).unwrap_or_else(|| panic!("no system call {name}"));
        self.answer(X86_64, number, registers).to_string()
    }
}

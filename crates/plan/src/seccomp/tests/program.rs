//! That the assembled program is the profile, and that a program that is not would be noticed.

use super::*;

/// The interpreter sees the difference that CVE-2019-10063 made.
#[test]
fn a_filter_that_compares_an_ioctl_request_on_64_bits_is_caught() {
    let mutant = serde_json::from_str::<Profile>(
        &serde_json::to_string(&standard()).unwrap().replace("arg1:u32 in 0x5412", "arg1:u64 in 0x5412"),
    )
    .map(Filter::from)
    .unwrap();
    assert_eq!(mutant.named("ioctl", &[0, 0x5412]), "EPERM");
    assert_eq!(mutant.named("ioctl", &[0, 0x1_0000_5412]), "allow");
}

/// On a profile whose answers tell which rule gave them; in the tables' own, x32 and unknown numbers look alike.
#[test]
fn the_x32_guard_begins_where_x32_begins() {
    let told_apart =
        Profile { x32: Action::Fail(Errno::Eacces), unknown: Action::Fail(Errno::Eperm), ..standard() };
    let filter = Filter::from(told_apart);
    for (number, expected) in [
        (472, Errno::Eperm),
        (X32_BIT - 1, Errno::Eperm),
        (X32_BIT, Errno::Eacces),
        (X32_BIT | 41, Errno::Eacces),
        (u32::MAX, Errno::Eacces),
    ] {
        assert_eq!(filter.answer(X86_64, number, [0; 6]), Action::Fail(expected), "{number:#x}");
    }
}

/// Damage to any one instruction makes some call differ from the profile: no instruction is idle, and the sweep that
/// compares program and profile would see each of them go wrong.
#[test]
fn a_damaged_program_is_noticed() {
    let profile = standard();
    let program = assemble(&profile).unwrap().instructions;
    let sweep = telling_calls(&profile);
    let expected: Vec<_> = sweep
        .iter()
        .map(|call| profile.evaluate(call.arch, call.number, &call.args).return_value())
        .collect();
    let mut unnoticed = vec![];
    for at in 0..program.len() {
        let mut damaged = program.clone();
        let instruction = &mut damaged[at];
        match instruction.code {
            code::IF_EQUAL | code::IF_AT_LEAST => std::mem::swap(&mut instruction.jt, &mut instruction.jf),
            code::LOAD => instruction.k = (instruction.k + 4) % 64,
            code::AND => instruction.k = u32::MAX,
            code::RETURN => instruction.k ^= 0x7ffa_0000,
            _ => continue,
        }
        let same = sweep.iter().zip(&expected).all(|(call, &expected)| run(&damaged, call) == expected);
        if same {
            unnoticed.push(at);
        }
    }
    let unnoticed: Vec<_> = unnoticed.into_iter().map(|at| (at, program[at])).collect();
    assert_eq!(unnoticed, [], "of {} instructions, {} calls", program.len(), sweep.len());
}

/// Every number with arguments of zero, and for each checked call all combinations of telling arguments.
fn telling_calls(profile: &Profile) -> Vec<CallData> {
    let native = |number, args| CallData { number, arch: X86_64, args };
    let mut calls: Vec<_> = (0..=600).map(|number| native(number, [0; 6])).collect();
    calls.extend([native(X32_BIT, [0; 6]), native(u32::MAX, [0; 6])]);
    calls.push(CallData { number: 0, arch: I386, args: [0; 6] });
    for (call, verdict) in profile.rules.iter() {
        if let Verdict::Check(check) = verdict {
            calls.extend(telling_arguments(check).into_iter().map(|args| native(call.number(), args)));
        }
    }
    calls
}

/// For each argument that a check looks at: every value of every condition, alone, with noise where the condition
/// does not look, and joined with those of other conditions; and a value that no condition has. All combined.
fn telling_arguments(check: &Check) -> Vec<[u64; 6]> {
    let mut all = vec![[0; 6]];
    for argument in 0..6 {
        let conditions = || {
            check
                .cases
                .iter()
                .flat_map(|case| &case.conditions)
                .filter(|condition| condition.argument() == argument)
        };
        let values: BTreeSet<_> = conditions()
            .flat_map(|condition| condition.values().iter().map(|&value| (value, condition.mask())))
            .collect();
        let mut choices: BTreeSet<_> = values
            .iter()
            .flat_map(|&(value, mask)| [value, value | !mask, value | (!mask & 0o777)])
            .collect();
        choices.extend(values.iter().map(|&(value, mask)| !value & mask));
        if choices.len() < 20 {
            let alone = choices.clone();
            choices.extend(alone.iter().flat_map(|one| alone.iter().map(move |other| one | other)));
        }
        if choices.is_empty() {
            continue;
        }
        all = all
            .into_iter()
            .flat_map(|args| {
                choices.iter().map(move |&choice| {
                    let mut args = args;
                    args[usize::from(argument)] = choice;
                    args
                })
            })
            .collect();
    }
    all
}

#[rstest]
#[case(vec![], Fault::Length(0))]
#[case(vec![jump(code::LOAD, 0, 0, 0)], Fault::RunsOut { at: 0 })]
#[case(vec![jump(code::IF_EQUAL, 1, 0, 0), RETURN], Fault::RunsOut { at: 0 })]
#[case(vec![jump(code::JUMP, 0, 0, 1), RETURN], Fault::RunsOut { at: 0 })]
#[case(vec![jump(code::LOAD, 0, 0, 2), RETURN], Fault::Load { at: 0, offset: 2 })]
#[case(vec![jump(code::LOAD, 0, 0, 64), RETURN], Fault::Load { at: 0, offset: 64 })]
#[case(vec![jump(0x28, 0, 0, 0), RETURN], Fault::Code { at: 0, code: 0x28 })]
#[case(vec![RETURN; 4097], Fault::Length(4097))]
fn the_interpreter_refuses_what_the_kernel_refuses(#[case] program: Vec<Instruction>, #[case] fault: Fault) {
    let call = CallData { number: 0, arch: X86_64, args: [0; 6] };
    assert_eq!(interpret(&program, &call), Err(fault));
}

const RETURN: Instruction = jump(code::RETURN, 0, 0, 0);

const fn jump(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// Enough checks of a hundred values each to push jumps past 255 instructions, and then past the kernel's limit.
fn long_profile(calls: u32) -> Profile {
    let mut profile = standard();
    for number in 0..calls {
        let values: Vec<_> = (0..100).map(|value| value * 7 + u64::from(number)).collect();
        let conditions = vec![
            Condition::new(1, Width::U64, None, [5, 1 << 40]).unwrap(),
            Condition::new(2, Width::U32, None, values).unwrap(),
        ];
        let case = Case { about: String::new(), conditions, then: Action::Allow };
        let check = Check { cases: vec![case.clone(), case], otherwise: Action::Fail(Errno::Eperm) };
        *profile.rules.place(Call::numbered(number).unwrap()) = Some(Verdict::Check(check));
    }
    profile
}

#[test]
fn far_targets_are_reached() {
    let profile = long_profile(10);
    let program = assemble(&profile).unwrap().instructions;
    assert!(program.iter().any(|instruction| instruction.code == code::JUMP), "the test needs a far jump");
    for number in 0..=600 {
        for second in [0, 5, 1 << 40, 1 << 40 | 5] {
            for third in [0, 7, 8, 693 + 9, 1 << 32, u64::MAX] {
                let args = [0, second, third, 0, 0, 0];
                let ran = interpret(&program, &CallData { number, arch: X86_64, args });
                assert_eq!(
                    ran,
                    Ok(profile.evaluate(X86_64, number, &args).return_value()),
                    "{number} {args:?}"
                );
            }
        }
    }
}

#[test]
fn a_filter_that_the_kernel_would_refuse_is_not_made() {
    let Err(TooLong { needed }) = assemble(&long_profile(60)) else { panic!("fits") };
    assert!(needed > MAX_INSTRUCTIONS);
}

/// An argument as a program, or an attacker, may pass it: small, near a constant of the rules, or with a high half.
fn argument() -> impl Strategy<Value = u64> {
    let low = prop_oneof![
        0_u64..64,
        Just(0x5412),
        Just(0x541c),
        Just(0xb701),
        Just(0x894c),
        Just(0x1000_0011),
        Just(0o4755),
        Just(0o100),
        any::<u32>().prop_map(u64::from),
    ];
    (low, prop_oneof![3 => Just(0_u64), 1 => any::<u32>().prop_map(u64::from)])
        .prop_map(|(low, high)| high << 32 | low)
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![Just(Action::Allow), Just(Action::Fail(Errno::Eperm)), Just(Action::Fail(Errno::Enosys))]
}

fn any_condition() -> impl Strategy<Value = Condition> {
    (0_u8..6, any::<bool>(), proptest::option::of(argument()), proptest::collection::vec(argument(), 1..4))
        .prop_map(|(argument, wide, mask, values)| {
            let width = if wide { Width::U64 } else { Width::U32 };
            let ones = if wide { u64::MAX } else { 0xffff_ffff };
            let mask = mask.unwrap_or(ones) & ones;
            let values: Vec<_> = values.into_iter().map(|value| value & mask).collect();
            Condition::new(argument, width, Some(mask), values).unwrap()
        })
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    let case = (proptest::collection::vec(any_condition(), 0..4), any_action())
        .prop_map(|(conditions, then)| Case { about: String::new(), conditions, then });
    let check = (proptest::collection::vec(case, 0..4), any_action())
        .prop_map(|(cases, otherwise)| Verdict::Check(Check { cases, otherwise }));
    prop_oneof![any_action().prop_map(Verdict::Always), check]
}

fn any_profile() -> impl Strategy<Value = Profile> {
    let rules = proptest::collection::vec((0..syscalls::names().len(), any_verdict()), 0..80);
    (rules, any_action(), any_action(), any_action()).prop_map(|(rules, foreign_arch, x32, unknown)| {
        let names: Vec<_> = syscalls::names().collect();
        let rules =
            rules.into_iter().map(|(index, verdict)| (Call::named(names[index]).unwrap(), verdict)).collect();
        Profile { arch: Arch::X86_64, foreign_arch, x32, unknown, rules }
    })
}

fn any_number() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0_u32..600, 1 => (0_u32..600).prop_map(|number| number | X32_BIT), 1 => any::<u32>()]
}

proptest! {
    #[test]
    fn the_program_is_the_standard_profile(
        arch in prop_oneof![8 => Just(X86_64), 1 => Just(I386), 1 => any::<u32>()],
        calls in proptest::collection::vec((any_number(), [argument(), argument(), argument(), argument(), argument(), argument()]), 16),
    ) {
        let profile = standard();
        let program = assemble(&profile).unwrap().instructions;
        prop_assert_eq!(check(&program), Ok(()));
        for (number, args) in calls {
            let ran = run(&program, &CallData { number, arch, args });
            prop_assert_eq!(ran, profile.evaluate(arch, number, &args).return_value());
        }
    }

    #[test]
    fn the_program_is_the_profile_whatever_the_profile(
        profile in any_profile(),
        picks in proptest::collection::vec((any_number(), any::<usize>(), [argument(), argument(), argument(), argument(), argument(), argument()]), 16),
    ) {
        let program = assemble(&profile).unwrap().instructions;
        prop_assert_eq!(check(&program), Ok(()));
        let rules: Vec<_> = profile.rules.iter().collect();
        for (number, pick, mut args) in picks {
            // Half of the calls aim at a case of a check, or its very edge.
            let mut number = number;
            if let Some((call, Verdict::Check(check))) = rules.get(pick % (2 * rules.len() + 1)) {
                number = call.number();
                for condition in check.cases.iter().take(1 + pick % 3).flat_map(|case| &case.conditions) {
                    let argument = &mut args[usize::from(condition.argument())];
                    *argument = *argument & !condition.mask() | condition.values()[pick % condition.values().len()];
                }
            }
            let ran = run(&program, &CallData { number, arch: X86_64, args });
            prop_assert_eq!(ran, profile.evaluate(X86_64, number, &args).return_value());
        }
    }
}

//! Which probe is likely to notice which mutant: it only orders, every pair has its turn.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use palisade_probe::script::Arg;

use super::derive::{About, Mutant};
use crate::catalogue::{Probe, Workload};

/// The tables of `scripts/kill-matrix`.
const TABLES: [&str; 4] = [
    include_str!("../../../../fixtures/matrix/default-root.txt"),
    include_str!("../../../../fixtures/matrix/default-user.txt"),
    include_str!("../../../../fixtures/matrix/allowlist-root.txt"),
    include_str!("../../../../fixtures/matrix/allowlist-user.txt"),
];

/// The probes that have noticed the mutant when the tables were made: asked first, they mostly save the asking of all the others.
/// It only orders; where they notice nothing, every probe has its turn.
pub(super) fn noticed_before(mutant: &str) -> impl Iterator<Item = &'static str> {
    let beginning = format!("{mutant} | killed | ");
    let lines = TABLES.iter().flat_map(|table| table.lines());
    lines.filter_map(move |line| line.strip_prefix(beginning.as_str()))
}

/// How near a probe is to a mutant; the nearest sorts first.
pub(super) type Nearness = (bool, bool, Reverse<u32>, Option<usize>);

/// How near each of these probes is to the mutant: those about its system call, then those of its own groups, then the
/// rest, each by the words that both use.
pub(super) fn nearness<'p>(mutant: &Mutant, all: &'p [Probe]) -> impl Fn(&'p Probe) -> Nearness {
    let number = match &mutant.about {
        About::Call(name) => palisade_policy::syscalls::number(name).map(u64::from),
        _ => None,
    };
    let affinity = Affinity::to(mutant, all);
    let groups = mutant.groups;
    move |probe| {
        let about = number.is_some_and(|number| calls(probe).contains(&number));
        let kin = kin(probe);
        let group = groups.iter().position(|group| *group == probe.group() || kin.contains(group));
        (!about, !about && group.is_none(), Reverse(affinity.of(probe)), group)
    }
}

/// The groups that ask inside for what is looked at from outside.
fn kin(probe: &Probe) -> &'static [&'static str] {
    if probe.group() != "posture" {
        return &[];
    }
    match probe.id.split('/').nth(1).unwrap_or_default() {
        "namespace" => &["ns", "ps", "net", "ipc", "proc"],
        "capabilities" | "no-new-privs" => &["cap"],
        "filter" => &["sys"],
        "mount" => &["mnt", "fs", "dev"],
        "descriptors" => &["fd"],
        "groups" => &["cap", "ps"],
        "session" => &["tty"],
        _ => &["res"],
    }
}

/// How likely a probe is to notice a mutant, by the words that both use: a rare word (`acpi`) says more than one that
/// many probes use (`proc`). It only orders; every probe has its turn.
struct Affinity {
    /// What each word of the mutant is worth.
    worth: BTreeMap<String, u32>,
}

impl Affinity {
    fn to(mutant: &Mutant, probes: &[Probe]) -> Self {
        const MOST: u32 = 10_000;
        let mut worth: BTreeMap<String, u32> = words(&mutant.name).map(|word| (word, 0)).collect();
        for probe in probes {
            for word in vocabulary(probe) {
                worth.entry(word).and_modify(|count| *count += 1);
            }
        }
        worth.values_mut().for_each(|count| *count = MOST / (*count).max(1));
        Self { worth }
    }

    fn of(&self, probe: &Probe) -> u32 {
        vocabulary(probe).iter().filter_map(|word| self.worth.get(word)).sum()
    }
}

/// The words of an entry: of its id, its requirement and its statements.
fn vocabulary(probe: &Probe) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = words(&probe.id).chain(words(probe.requirement.as_ref())).collect();
    if let Workload::Script(script) = &probe.workload {
        script.statements().iter().for_each(|statement| all.extend(words(&statement.to_string())));
    }
    all
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.len() > 2)
        .map(str::to_ascii_lowercase)
}

/// The numbers of the native system calls that a probe makes: by number, or by an operation that stands for one.
pub(super) fn calls(probe: &Probe) -> BTreeSet<u64> {
    let Workload::Script(script) = &probe.workload else { return BTreeSet::new() };
    let called = script.statements().iter().filter_map(|statement| match statement.operation() {
        "sys" => match statement.args().first()? {
            Arg::Int(number) => u64::try_from(*number).ok(),
            Arg::Uint(number) => Some(*number),
            _ => None,
        },
        "unshare_flags" => u64::try_from(nix::libc::SYS_unshare).ok(),
        "clone_flags" => u64::try_from(nix::libc::SYS_clone).ok(),
        "clone3_flags" => u64::try_from(nix::libc::SYS_clone3).ok(),
        _ => None,
    });
    called.collect()
}

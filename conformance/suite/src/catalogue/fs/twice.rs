//! Entries about directories that the host shows at two places: what a rule says about the files of the one holds at the other.

use std::path::{Path, PathBuf};

use palisade_policy::{Access, ResolvedRule, ResolvedRules};
use palisade_probe::script::Statement;

use super::super::prelude::*;
use super::names::KNOWN_FILES;
use super::rules::words;
use crate::lab::World;

/// All entries of all rules about a directory of the workspace that it shows twice.
pub(super) fn probes(world: &World, resolved: &ResolvedRules) -> Vec<Probe> {
    let of = |rule: &ResolvedRule| {
        let pairs = world.work.twice.iter().filter(|(directory, _)| rule.entry.path.starts_with(directory));
        pairs.flat_map(|(directory, place)| one(world, resolved, rule, directory, place)).collect::<Vec<_>>()
    };
    let mut probes: Vec<Probe> = resolved.rules().iter().flat_map(of).collect();
    probes.extend(open(world, resolved));
    probes
}

fn one(
    world: &World,
    resolved: &ResolvedRules,
    rule: &ResolvedRule,
    directory: &Path,
    place: &Path,
) -> Vec<Probe> {
    // A rule for the second place itself says something of its own.
    let named = |other: &ResolvedRule| other.entry.path.starts_with(place);
    let known = KNOWN_FILES.iter().map(|file| world.work.dir.join(file));
    let Some(file) = known.into_iter().find(|file| file.starts_with(&rule.entry.path)) else {
        return Vec::new();
    };
    let at_the_second = |path: &Path| path.strip_prefix(directory).map(|below| place.join(below)).ok();
    let Some(second) = at_the_second(&file) else { return Vec::new() };
    if resolved.rules().iter().any(named) || resolved.access(&second) != Some(Access::ReadWrite) {
        return Vec::new();
    }
    let deny = |name: &str, attempts: Vec<Statement>| {
        let mut script =
            vec![control!("read_file", "allowed.txt"), control!("write_file", "palisade-new", "x")];
        script.extend(attempts);
        Probe::denies(format!("fs/twice/{}/{name}", words(rule)), Critical)
            .requires("what a rule says about a file holds at every place where the host shows it")
            .needs_planted(&world.submounts)
            .script(script)
            .outside(Outside::succeeds())
    };
    let refused = || Denied.or(Absent).or(ReadOnly);
    let mut probes = vec![
        deny("append", vec![attempt!("append", second.as_path(), NONCE)])
            .serves_rule(&rule.entry.clause, "FS-4")
            .expect(refused())
            .canary(Canary::File(file.clone())),
        deny(
            "replace",
            vec![attempt!("unlink", second.as_path()), attempt!("write_file", second.as_path(), NONCE)],
        )
        .serves_rule(&rule.entry.clause, "FS-4")
        .expect(refused().or(Expect::fails([EBUSY])))
        .canary(Canary::File(file.clone())),
    ];
    if rule.access == Access::Hidden {
        probes.push(
            deny("read", vec![attempt!("read_file", second.as_path())])
                .serves_rule(&rule.entry.clause, "FS-4")
                .expect(Denied.or(Absent)),
        );
        // The directory that the file is in, moved to where no rule says anything.
        if let (Some(around), Some(name)) =
            (second.parent().filter(|around| *around != place), second.file_name())
        {
            let moved = place.join("palisade-moved");
            let attempts = vec![
                attempt!("rename", around, moved.as_path()),
                attempt!("read_file", moved.join(name).as_path()),
            ];
            probes.push(
                deny("move-and-read", attempts)
                    .serves_rule(&rule.entry.clause, "FS-4")
                    .expect(Denied.or(Absent).or(Expect::fails([EBUSY, EXDEV]))),
            );
        }
    }
    probes
}

/// The second place is as writable as the first where no rule says otherwise.
fn open(world: &World, resolved: &ResolvedRules) -> Vec<Probe> {
    let allow = |(directory, place): &(PathBuf, PathBuf)| {
        let writable = |path: &Path| resolved.access(path) == Some(Access::ReadWrite);
        let name = directory.file_name()?.to_str()?.trim_start_matches('.').to_owned();
        (writable(directory) && writable(place)).then(|| {
            Probe::allows(format!("fs/twice/{name}/write"), Medium)
                .serves("filesystem.read_write", "FS-5")
                .requires("a directory that the host shows at two places can be written at the second")
                .needs_planted(&world.submounts)
                .script([attempt!("create_excl", place.join("palisade-new").as_path())])
        })
    };
    world.work.twice.iter().filter_map(allow).collect()
}

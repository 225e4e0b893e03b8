//! Entries about the names on the way to a rule's path: whether the workload can make the name lead to another file.
//!
//! A rule holds for the name too: what is hidden or read-only at the start is so at the end, whatever the workload moved,
//! removed or linked meanwhile, and what did not exist at the start does not come to exist.

use std::path::Path;

use palisade_policy::{Access, Clause, ResolvedEntry, ResolvedRule, ResolvedRules};
use palisade_probe::script::Statement;

use super::super::prelude::*;
use super::rules::words;
use crate::lab::World;

/// What every workspace of the lab holds, besides the files of [`KNOWN_FILES`].
const KNOWN_DIRECTORIES: &[&str] = &["nested", ".git", ".git/hooks", ".agent", "sub", "mountpoint"];

/// Files of every workspace.
pub(super) const KNOWN_FILES: &[&str] =
    &[".env", ".git/hooks/pre-commit", ".agent/settings.json", "allowed.txt", "nested/allowed.txt", "run.sh"];

/// The link of every workspace that leads to `nested`.
const ALIAS: &str = "alias";

/// RENAME_EXCHANGE (rename(2)).
const EXCHANGE: i32 = 2;

/// Whether every workspace of the lab has something at this path, which is relative to it.
pub(super) fn is_known(relative: &str) -> bool {
    KNOWN_DIRECTORIES.contains(&relative) || KNOWN_FILES.contains(&relative)
}

/// One rule inside something writable.
struct Name<'a> {
    world: &'a World,
    words: String,
    clause: &'a Clause,
    spec: &'static str,
    /// The path of the rule, relative to the workspace.
    path: String,
    /// The file that a workload would like to have there.
    file: String,
    /// The writable directories above the path, the uppermost first, relative to the workspace.
    above: Vec<String>,
    exists: bool,
}

/// All entries of all rules that forbid something below the workspace.
pub(super) fn probes(world: &World, resolved: &ResolvedRules) -> Vec<Probe> {
    let strict = |rule: &&ResolvedRule| rule.access != Access::ReadWrite;
    let rules = resolved.rules().iter().filter(strict).filter_map(|rule| Name::new(world, resolved, rule));
    let mut probes: Vec<Probe> = rules.flat_map(|name| name.all()).collect();
    let entries = resolved.no_execute().iter();
    probes.extend(entries.flat_map(|entry| execution(world, resolved, entry)));
    probes
}

impl<'a> Name<'a> {
    fn new(world: &'a World, resolved: &ResolvedRules, rule: &'a ResolvedRule) -> Option<Self> {
        let entry = &rule.entry;
        let path = entry.path.strip_prefix(&world.work.dir).ok()?.to_str()?;
        let writable = |path: &Path| resolved.access(&world.work.dir.join(path)) == Some(Access::ReadWrite);
        let parent = Path::new(path).parent()?;
        let exists = is_known(path);
        // What has to exist and does not is for whoever plants it.
        let can_be_missing = rule.access == Access::Hidden || entry.optional;
        if !writable(parent) || !(exists || can_be_missing) {
            return None;
        }
        let mut above: Vec<String> = parent
            .ancestors()
            .filter(|above| !above.as_os_str().is_empty() && writable(above))
            .filter_map(|above| above.to_str().map(ToOwned::to_owned))
            .collect();
        above.reverse();
        let below = || KNOWN_FILES.iter().filter(|file| Path::new(file).starts_with(path));
        let inside = below().min_by_key(|file| file.matches('/').count());
        Some(Self {
            world,
            words: words(rule),
            clause: &entry.clause,
            spec: if rule.access == Access::Hidden { "FS-3" } else { "FS-2" },
            path: path.to_owned(),
            file: inside.map_or_else(|| path.to_owned(), |file| (*file).to_owned()),
            above,
            exists,
        })
    }

    fn all(&self) -> Vec<Probe> {
        let mut probes = if self.exists { self.existing() } else { self.missing() };
        for (number, directory) in self.above.iter().enumerate() {
            probes.extend(self.swaps(number, directory));
        }
        probes
    }

    /// An attempt that is refused because of a mount, by whichever of its errors the kernel looks at first.
    fn denies(&self, name: &str, what: &'static str, attempts: Vec<Statement>) -> Probe {
        let mut script =
            vec![control!("read_file", "allowed.txt"), control!("write_file", "palisade-new", "x")];
        script.extend(attempts);
        let probe = Probe::denies(format!("fs/rule/{}/{name}", self.words), Critical)
            .serves_rule(self.clause, self.spec)
            .requires(what)
            .script(script)
            .expect(Denied.or(Absent).or(ReadOnly).or(Expect::fails([EBUSY, EEXIST, EXDEV])))
            .outside(Outside::succeeds());
        match (self.exists, KNOWN_FILES.contains(&self.file.as_str())) {
            (true, true) => probe.canary(Canary::File(self.file.as_str().into())),
            // A directory in which the lab has no file.
            (true, false) => probe,
            (false, _) => probe.canary(Canary::Missing(self.path.as_str().into())),
        }
    }

    /// Makes the directories of the file; where they exist that fails, and is left alone.
    fn directories(&self) -> Vec<Statement> {
        let mut above: Vec<&Path> = Path::new(&self.file).ancestors().skip(1).collect();
        above.reverse();
        let make = |path: &&Path| Some(attempt!("sys", SYS_mkdir, path.to_str()?, 0o755));
        above.iter().filter(|path| !path.as_os_str().is_empty()).filter_map(make).collect()
    }

    /// Puts another directory, or a link to one, in the place of one on the way.
    fn swaps(&self, number: usize, directory: &str) -> Vec<Probe> {
        const WHAT: &str = "what leads to a rule's path cannot be replaced by something that leads elsewhere";
        let write = || attempt!("write_file", self.file.as_str(), NONCE);
        // Beside it: a directory above it is a mount of its own, and nothing is renamed from one mount to another.
        let beside = |name: &str| Path::new(directory).with_file_name(name).to_string_lossy().into_owned();
        let (other, away) = (beside("palisade-other"), beside("palisade-moved"));
        let rest = Path::new(&self.file).strip_prefix(directory).unwrap_or(Path::new(""));
        let mut twin = vec![attempt!("sys", SYS_mkdir, other.as_str(), 0o755)];
        let mut below: Vec<&Path> = rest.ancestors().skip(1).collect();
        below.reverse();
        for path in below.iter().filter(|path| !path.as_os_str().is_empty()) {
            twin.push(attempt!("sys", SYS_mkdir, Path::new(&other).join(path).as_path(), 0o755));
        }
        let moved = || attempt!("rename", directory, away.as_str());
        let ways: [(&str, Vec<Statement>); 3] = [
            ("rename", [vec![moved()], self.directories(), vec![write()]].concat()),
            (
                "link",
                [
                    twin.clone(),
                    vec![
                        moved(),
                        attempt!("sys", SYS_symlink, self.world.work.dir.join(&other).as_path(), directory),
                        write(),
                    ],
                ]
                .concat(),
            ),
            (
                "exchange",
                [
                    twin,
                    vec![
                        attempt!(
                            "sys",
                            libc::SYS_renameat2,
                            AT_FDCWD,
                            directory,
                            AT_FDCWD,
                            other.as_str(),
                            EXCHANGE
                        ),
                        write(),
                    ],
                ]
                .concat(),
            ),
        ];
        let mut probes: Vec<Probe> = ways
            .into_iter()
            .map(|(name, attempts)| {
                let attempts = [self.directories(), attempts].concat();
                self.denies(&format!("{name}-above-{number}"), WHAT, attempts)
            })
            .collect();
        if self.exists && self.spec == "FS-3" {
            let moved_file = Path::new(&away).join(rest);
            probes.push(self.denies(
                &format!("read-moved-above-{number}"),
                "moving a directory above a hidden path does not show it",
                vec![moved(), attempt!("read_file", moved_file.as_path())],
            ));
        }
        probes
    }

    /// Ways to have something at a path where nothing stood at the start.
    fn missing(&self) -> Vec<Probe> {
        const WHAT: &str = "what a rule covers does not come to exist";
        let path = || self.path.as_str();
        let create = || attempt!("write_file", path(), NONCE);
        let gone = || attempt!("unlink", path());
        let new = "palisade-new";
        let absolute = self.world.work.dir.join(&self.path);
        let name = Path::new(&self.path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let parent =
            Path::new(&self.path).parent().and_then(Path::to_str).filter(|parent| !parent.is_empty());
        let ways: Vec<(&str, Vec<Statement>)> = vec![
            ("create", vec![create()]),
            ("create-again", vec![gone(), attempt!("create_excl", path())]),
            ("make-directory", vec![gone(), attempt!("sys", SYS_mkdir, path(), 0o755)]),
            ("make-link", vec![gone(), attempt!("sys", SYS_symlink, "allowed.txt", path())]),
            ("make-hard-link", vec![gone(), attempt!("sys", SYS_link, new, path())]),
            ("make-fifo", vec![gone(), attempt!("sys", SYS_mknod, path(), libc::S_IFIFO | 0o600, 0)]),
            ("make-socket-file", vec![gone(), attempt!("sys", SYS_mknod, path(), libc::S_IFSOCK | 0o600, 0)]),
            ("move-there", vec![attempt!("rename", new, path())]),
            (
                "move-directory-there",
                vec![
                    attempt!("sys", SYS_mkdir, "palisade-directory", 0o755),
                    gone(),
                    attempt!("rename", "palisade-directory", path()),
                ],
            ),
            (
                "exchange-there",
                vec![
                    create(),
                    attempt!("sys", libc::SYS_renameat2, AT_FDCWD, new, AT_FDCWD, path(), EXCHANGE),
                ],
            ),
            ("move-away", vec![create(), attempt!("rename", path(), "palisade-away")]),
            ("remove", vec![create(), gone()]),
            ("link-away", vec![create(), attempt!("sys", SYS_link, path(), "palisade-away")]),
            ("change-mode", vec![create(), attempt!("sys", SYS_chmod, path(), 0o644)]),
            ("change-time", vec![create(), attempt!("sys", SYS_utimensat, AT_FDCWD, path(), NULL, 0)]),
            ("truncate", vec![create(), attempt!("sys", SYS_truncate, path(), 1)]),
            ("append", vec![create(), attempt!("append", path(), NONCE)]),
            ("open-for-both", vec![attempt!("open", path(), O_RDWR | O_CREAT, 0o644)]),
            ("open-for-reading", vec![create(), attempt!("open", path(), O_RDONLY)]),
            ("by-absolute-path", vec![attempt!("write_file", absolute.as_path(), NONCE)]),
            (
                "through-proc-root",
                vec![attempt!("write_file", format!("/proc/self/root{}", absolute.display()), NONCE)],
            ),
            (
                "through-proc-cwd",
                vec![attempt!("write_file", format!("/proc/self/cwd/{}", self.path), NONCE)],
            ),
            ("through-dotdot", vec![attempt!("write_file", format!("nested/../{}", self.path), NONCE)]),
            (
                "through-link",
                vec![
                    attempt!("sys", SYS_symlink, absolute.as_path(), "palisade-link"),
                    attempt!("write_file", "palisade-link", NONCE),
                ],
            ),
            (
                "below-a-descriptor",
                [
                    // Statements count from 0, two controls first: the descriptor of the directory is the result of this one.
                    vec![attempt!("open", parent.unwrap_or("."), O_RDONLY | O_DIRECTORY)],
                    vec![attempt!(
                        "sys",
                        SYS_openat,
                        result(2 + self.directories().len()),
                        name,
                        O_WRONLY | O_CREAT,
                        0o644
                    )],
                ]
                .concat(),
            ),
            (
                "in-the-directory",
                vec![attempt!("sys", SYS_chdir, parent.unwrap_or(".")), attempt!("write_file", name, NONCE)],
            ),
        ];
        ways.into_iter()
            .map(|(name, attempts)| {
                self.denies(&format!("missing-{name}"), WHAT, [self.directories(), attempts].concat())
            })
            .collect()
    }

    /// Ways to have another file at the path of a rule.
    fn existing(&self) -> Vec<Probe> {
        const WHAT: &str = "a rule's path cannot be given another file";
        let (path, new) = (self.path.as_str(), "palisade-new");
        let mut probes = vec![
            self.denies(
                "exchange",
                WHAT,
                vec![attempt!("sys", libc::SYS_renameat2, AT_FDCWD, new, AT_FDCWD, path, EXCHANGE)],
            ),
            self.denies(
                "move-to-temporary",
                "what a rule covers cannot be moved to where it is not covered",
                vec![attempt!("sys", libc::SYS_renameat2, AT_FDCWD, path, AT_FDCWD, "palisade-away", 0)],
            ),
        ];
        if KNOWN_FILES.contains(&path) {
            probes.push(self.denies("move-there", WHAT, vec![attempt!("rename", new, path)]));
            probes.push(self.denies("remove", WHAT, vec![attempt!("unlink", path)]));
            probes.push(self.denies(
                "replace",
                WHAT,
                vec![attempt!("unlink", path), attempt!("write_file", path, NONCE)],
            ));
            if self.spec == "FS-3" {
                let link = "palisade-link";
                probes.push(self.denies(
                    "link-away",
                    "a hidden file has no second name that shows it",
                    vec![attempt!("link_and_read", "hard", path, link)],
                ));
            }
        }
        probes
    }
}

/// Entries about `no_execute` below the workspace.
fn execution(world: &World, resolved: &ResolvedRules, entry: &ResolvedEntry) -> Vec<Probe> {
    let Some(path) = entry.path.strip_prefix(&world.work.dir).ok().and_then(Path::to_str) else {
        return Vec::new();
    };
    let writable = |path: &Path| resolved.access(&world.work.dir.join(path)) == Some(Access::ReadWrite);
    if !writable(Path::new(path)) || !KNOWN_DIRECTORIES.contains(&path) {
        return Vec::new();
    }
    let number = entry.clause.as_str().trim_start_matches("filesystem.no_execute[").trim_end_matches(']');
    let program = format!("{path}/palisade-program");
    let deny = |name: String, attempts: Vec<Statement>| {
        // In the directory of the rule: what is around it may be read-only.
        let beside = format!("{path}/palisade-new");
        let mut script = vec![control!("read_file", "allowed.txt"), control!("write_file", beside, "x")];
        script.extend(attempts);
        Probe::denies(format!("fs/exec/no-execute-{number}/{name}"), Medium)
            .serves_rule(&entry.clause, "FS-6")
            .requires("nothing below a no-execute path can be executed")
            .script(script)
            .expect(Denied)
            .outside(Outside::Shows(Returns(0)))
    };
    let family = format!("fs/exec/no-execute-{number}");
    let mut probes = forbidden_ways(&entry.clause, &family, path);
    probes.extend([deny("copy".to_owned(), vec![attempt!("copy_exec", program.as_str())])]);
    let above = Path::new(path).ancestors().filter(|above| !above.as_os_str().is_empty());
    for directory in above.filter_map(Path::to_str) {
        let depth = Path::new(directory).components().count();
        let again = Path::new(path).ancestors().filter(|above| !above.as_os_str().is_empty());
        let mut again: Vec<Statement> =
            again.filter_map(|path| Some(attempt!("sys", SYS_mkdir, path.to_str()?, 0o755))).collect();
        again.reverse();
        let moved = vec![attempt!("rename", directory, "palisade-moved")];
        let run = vec![attempt!("copy_exec", program.as_str())];
        probes.push(deny(format!("rename-{depth}"), [moved, again, run].concat()));
    }
    probes
}

/// Entries about a rule whose path leads through the link of every workspace.
pub(super) fn through_the_link(world: &World, resolved: &ResolvedRules) -> Vec<Probe> {
    let alias = world.work.dir.join(ALIAS);
    let rule = resolved
        .rules()
        .iter()
        .find(|rule| rule.access == Access::Hidden && rule.entry.path.parent() == Some(&alias));
    let Some(rule) = rule else { return Vec::new() };
    let Some(name) = rule.entry.path.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    let (typed, reached) = (format!("{ALIAS}/{name}"), format!("nested/{name}"));
    let write = |path: &str| attempt!("write_file", path, NONCE);
    let directory = || attempt!("sys", SYS_mkdir, ALIAS, 0o755);
    let ways: Vec<(&str, Vec<Statement>)> = vec![
        ("typed", vec![write(&typed)]),
        ("reached", vec![write(&reached)]),
        ("link-removed", vec![attempt!("unlink", ALIAS), directory(), write(&typed)]),
        ("link-moved", vec![attempt!("rename", ALIAS, "palisade-away"), directory(), write(&typed)]),
        (
            "link-replaced",
            vec![
                attempt!("sys", SYS_mkdir, "palisade-other", 0o755),
                attempt!("sys", SYS_symlink, "palisade-other", "palisade-link"),
                attempt!("rename", "palisade-link", ALIAS),
                write(&typed),
            ],
        ),
        (
            "link-exchanged",
            vec![
                attempt!("sys", SYS_mkdir, "palisade-other", 0o755),
                attempt!("sys", libc::SYS_renameat2, AT_FDCWD, ALIAS, AT_FDCWD, "palisade-other", EXCHANGE),
                write(&typed),
            ],
        ),
        (
            "target-moved",
            vec![
                attempt!("rename", "nested", "palisade-away"),
                attempt!("sys", SYS_mkdir, "nested", 0o755),
                write(&typed),
            ],
        ),
    ];
    ways.into_iter()
        .map(|(way, attempts)| {
            let mut script = vec![
                control!("read_file", "allowed.txt"),
                control!("read_file", format!("{ALIAS}/allowed.txt")),
            ];
            script.extend(attempts);
            Probe::denies(format!("fs/rule/{}/{way}", words(rule)), Critical)
                .serves_rule(&rule.entry.clause, "FS-4")
                .requires("a rule whose path leads through a link holds for both names, and the link stays")
                .script(script)
                .expect(Denied.or(Absent).or(ReadOnly).or(Expect::fails([EBUSY])))
                .outside(Outside::succeeds())
                .canary(Canary::Missing(reached.as_str().into()))
        })
        .collect()
}

/// Ways to run what lies in a directory without execution, and one that is not covered.
pub(super) fn forbidden_ways(clause: &Clause, family: &str, directory: &str) -> Vec<Probe> {
    /// PROT_READ | PROT_EXEC, MAP_PRIVATE (mmap(2)).
    const READ_AND_EXECUTE: i32 = 5;
    const PRIVATE: i32 = 2;
    const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

    let file = |name: &str| format!("{directory}/palisade-{name}");
    let (mapped, script, loaded, read) = (file("mapped"), file("script"), file("loaded"), file("read"));
    let deny = |name: &str, what: &'static str| {
        Probe::denies(format!("{family}/{name}"), Medium).serves_rule(clause, "FS-6").requires(what)
    };
    let shell = |words: String| ["sh".to_owned(), "-c".to_owned(), words];
    vec![
        deny("map", "a file without execution cannot be mapped executable")
            .script([
                setup!("write_file", mapped.as_str(), "x"),
                setup!("open", mapped.as_str(), O_RDONLY),
                attempt!("sys", SYS_mmap, NULL, 4096, READ_AND_EXECUTE, PRIVATE, result(1), 0),
            ])
            .expect(Denied)
            .outside(Outside::succeeds()),
        deny("script", "a script without execution cannot be executed")
            .script([
                setup!("write_file", script.as_str(), "#!/bin/sh\nexit 0\n"),
                setup!("sys", SYS_chmod, script.as_str(), 0o755),
                attempt!("exec", script.as_str()),
            ])
            .expect(Denied)
            .outside(Outside::Shows(Returns(0))),
        deny("loader", "the dynamic loader runs no program that may not be executed")
            .operation(format!("{LOADER} FILE"))
            .command(shell(format!("cp /bin/true {loaded} && {LOADER} {loaded}")))
            .expect(Expect::ExitCode(127))
            .outside(Outside::succeeds()),
        Probe::allows(format!("{family}/interpreter-not-covered"), Low)
            .serves_rule(clause, "FS-6")
            .requires(
                "an interpreter reads a script where nothing may be executed, as the report of a run says",
            )
            .command(shell(format!("echo 'exit 0' > {read} && sh {read}"))),
    ]
}

//! Entries that are made from the policy's own rules: for each what it allows, what it denies, and where it ends.
//!
//! Below the workspace, which each case has for itself, the operations are real. Elsewhere a rule is about files of the
//! host, and nothing but permissions is asked for.

use std::path::Path;

use palisade_policy::{Access, Filesystem, ResolvedRule, ResolvedRules, Workspace};
use palisade_probe::script::Statement;

use super::super::prelude::*;
use crate::lab::World;

/// Whether a rule shows the file at `path`.
pub(super) fn shows(resolved: &ResolvedRules, path: &Path) -> bool {
    resolved.access(path).is_some_and(|access| access != Access::Hidden)
}

/// A rule below the workspace, with what a case has there.
struct Place<'a> {
    world: &'a World,
    rule: &'a ResolvedRule,
    /// The directory of the rule; the workspace's where the rule is about a file.
    directory: String,
    /// A file that exists below the rule, relative to the workspace.
    file: String,
    /// Whether the case has to be given the file.
    plant: bool,
}

/// All entries of all rules.
pub(super) fn probes(world: &World, filesystem: &Filesystem, resolved: &ResolvedRules) -> Vec<Probe> {
    resolved.rules().iter().flat_map(|rule| of(world, filesystem, resolved, rule)).collect()
}

fn of(world: &World, filesystem: &Filesystem, resolved: &ResolvedRules, rule: &ResolvedRule) -> Vec<Probe> {
    let path = &rule.entry.path;
    let Ok(relative) = path.strip_prefix(&world.work.dir) else {
        return if world.work.dir.starts_with(path) { Vec::new() } else { elsewhere(rule) };
    };
    let Some(place) = Place::new(world, resolved, rule, relative) else { return Vec::new() };
    match rule.access {
        Access::ReadOnly => place.read_only(),
        Access::ReadWrite => {
            let mut probes = place.read_write();
            if filesystem.workspace != Workspace::Direct {
                // What is written there stays apart; `apart` has the entries.
                probes.retain(|probe| !probe.id.ends_with("/seen-outside"));
            }
            probes
        }
        Access::Hidden => place.hidden(resolved),
    }
}

/// The permanent words of a rule: `read-only-0` for `filesystem.read_only[0]`.
pub(super) fn words(rule: &ResolvedRule) -> String {
    let clause = rule.entry.clause.as_str().trim_start_matches("filesystem.").to_lowercase();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    clause.trim_end_matches(']').chars().map(plain).collect()
}

impl<'a> Place<'a> {
    fn new(
        world: &'a World,
        resolved: &ResolvedRules,
        rule: &'a ResolvedRule,
        relative: &Path,
    ) -> Option<Self> {
        let relative = relative.to_str()?;
        // What may be missing is looked at where it is missing: `names` has the entries.
        if (rule.entry.optional || relative.starts_with("alias")) && !super::names::is_known(relative) {
            return None;
        }
        let (directory, file, plant) = if relative.is_empty() {
            (".".to_owned(), "allowed.txt".to_owned(), false)
        } else if super::names::KNOWN_FILES.contains(&relative) {
            (".".to_owned(), relative.to_owned(), false)
        } else {
            (relative.to_owned(), format!("{relative}/palisade-file.txt"), true)
        };
        // A rule below this one may say otherwise about the very file.
        let same = resolved.access(&world.work.dir.join(&file)) == Some(rule.access);
        same.then_some(Self { world, rule, directory, file, plant })
    }

    /// The rule is about the one file and not about a directory.
    fn is_file(&self) -> bool {
        self.directory == "." && !self.plant && self.file != "allowed.txt"
    }

    fn below(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    fn given(&self, probe: Probe) -> Probe {
        if self.plant { probe.plant(&self.file, "planted\n") } else { probe }
    }

    fn denies(&self, name: &str, severity: Severity) -> Probe {
        self.given(Probe::denies(format!("fs/rule/{}/{name}", words(self.rule)), severity))
    }

    fn allows(&self, name: &str) -> Probe {
        self.given(Probe::allows(format!("fs/rule/{}/{name}", words(self.rule)), Medium))
    }

    /// Changes to the file itself, then changes to the directory around it.
    fn changes(&self) -> Vec<(&'static str, Vec<Statement>)> {
        let file = || self.file.as_str();
        let mut all = vec![
            ("append", vec![attempt!("append", file(), "x")]),
            ("overwrite", vec![attempt!("open", file(), O_WRONLY | O_TRUNC)]),
            ("truncate", vec![attempt!("sys", SYS_truncate, file(), 0)]),
            ("chmod", vec![attempt!("sys", SYS_chmod, file(), 0o600)]),
            ("utime", vec![attempt!("sys", SYS_utimensat, AT_FDCWD, file(), NULL, 0)]),
            ("setxattr", vec![attempt!("sys", SYS_setxattr, file(), "user.palisade", "x", 1, 0)]),
            (
                "o-path-reopen",
                vec![
                    attempt!("open", file(), O_PATH),
                    attempt!("open", text([Piece::from("/proc/self/fd/"), Piece::Result(1)]), O_WRONLY),
                ],
            ),
            (
                "read-only-reopen",
                vec![
                    attempt!("open", file(), O_RDONLY),
                    attempt!("open", text([Piece::from("/proc/self/fd/"), Piece::Result(1)]), O_RDWR),
                ],
            ),
        ];
        if !self.is_file() {
            all.extend([
                ("create", vec![attempt!("create_excl", self.below("new"))]),
                ("unlink", vec![attempt!("unlink", file())]),
                ("rename", vec![attempt!("rename", file(), self.below("moved"))]),
                ("mkdir", vec![attempt!("sys", SYS_mkdir, self.below("new"), 0o755)]),
                ("symlink", vec![attempt!("sys", SYS_symlink, "x", self.below("new"))]),
                ("hardlink", vec![attempt!("sys", SYS_link, file(), self.below("new"))]),
                ("fifo", vec![attempt!("sys", SYS_mknod, self.below("new"), libc::S_IFIFO | 0o600, 0)]),
            ]);
        }
        all
    }

    fn read_only(&self) -> Vec<Probe> {
        let clause = &self.rule.entry.clause;
        let deny = |(name, attempts): (&str, Vec<Statement>)| {
            let mut script = vec![control!("read_file", self.file.as_str())];
            script.extend(attempts);
            self.denies(name, High)
                .serves_rule(clause, "FS-2")
                .requires("nothing below a read-only path can be changed")
                .script(script)
                .expect(ReadOnly)
                .outside(Outside::succeeds())
                .canary(Canary::File(self.file.as_str().into()))
        };
        let mut probes: Vec<Probe> = self.changes().into_iter().map(deny).collect();
        probes.push(self.readable());
        if self.directory == "." && !self.is_file() {
            let work = &self.world.work;
            probes.push(
                self.denies("submount", High)
                    .needs_planted(&self.world.submounts)
                    .serves_rule(clause, "FS-2")
                    .requires("a mount below a read-only path is read-only too")
                    .operation("create a file on a mount below the path")
                    .script([
                        control!("read_file", &*work.submount_file),
                        attempt!("create_excl", work.submount.join("new").as_path()),
                    ])
                    .expect(ReadOnly)
                    .outside(Outside::succeeds()),
            );
            let persistent: [(&str, &Path); 2] =
                [("git-hook", &work.git_hook), ("agent-config", &work.agent_config)];
            for (name, path) in persistent {
                probes.push(
                    self.denies(name, High)
                        .serves_rule(clause, "FS-2")
                        .requires("what a later program outside would execute or obey cannot be changed")
                        .operation(format!("append to {}", path.display()))
                        .script([control!("read_file", self.file.as_str()), attempt!("append", path, "x")])
                        .expect(ReadOnly)
                        .outside(Outside::succeeds()),
                );
            }
            probes.push(self.submount_visible());
            probes.extend(self.boundary());
        }
        probes
    }

    fn read_write(&self) -> Vec<Probe> {
        let clause = &self.rule.entry.clause;
        let allow = |(name, attempts): (&str, Vec<Statement>)| {
            // The numbers of results count from 0 over all statements, and the changes are written for one before.
            let mut script = vec![control!("read_file", self.file.as_str())];
            script.extend(attempts);
            self.allows(name)
                .serves_rule(clause, "FS-5")
                .requires("everything below a read-write path can be changed")
                .script(script)
        };
        let mut probes: Vec<Probe> = self.changes().into_iter().map(allow).collect();
        probes.push(self.readable());
        probes.push(
            self.allows("seen-outside")
                .serves_rule(clause, "FS-5")
                .requires("a change below a read-write path is seen outside")
                .operation(format!("append the nonce to {}", self.file))
                .script([attempt!("append", self.file.as_str(), NONCE)])
                .canary(Canary::File(self.file.as_str().into())),
        );
        probes.push(
            self.allows("read-back")
                .serves_rule(clause, "FS-5")
                .requires("what was written below a read-write path can be read back")
                .script([
                    setup!("write_file", self.file.as_str(), "again"),
                    attempt!("read_file", self.file.as_str()),
                ])
                .expect(Expect::data_is("again")),
        );
        if self.directory == "." && !self.is_file() {
            probes.push(
                self.allows("submount")
                    .needs_planted(&self.world.submounts)
                    .serves_rule(clause, "FS-5")
                    .requires("a mount below a read-write path can be written to")
                    .script([attempt!("create_excl", self.world.work.submount.join("new").as_path())]),
            );
            probes.push(self.submount_visible());
            probes.extend(self.boundary());
        }
        probes
    }

    fn hidden(&self, resolved: &ResolvedRules) -> Vec<Probe> {
        let clause = &self.rule.entry.clause;
        let parent = Path::new(if self.is_file() { &self.file } else { &self.directory }).parent();
        let control = || control!("sys", SYS_getpid);
        let deny = |name: &str, attempt: Statement| {
            self.denies(name, Critical)
                .serves_rule(clause, "FS-3")
                .requires("nothing below a hidden path can be read or changed")
                .script([control(), attempt])
                .expect(Denied.or(Absent).or(ReadOnly))
                .outside(Outside::succeeds())
        };
        let file = self.file.as_str();
        let mut probes = vec![
            deny("read", attempt!("read_file", file)),
            deny("append", attempt!("append", file, "x")).canary(Canary::File(file.into())),
            deny("truncate", attempt!("sys", SYS_truncate, file, 0)),
            deny("through-proc", attempt!("read_file", format!("/proc/self/cwd/{file}"))),
        ];
        if !self.is_file() {
            probes.push(deny("list", attempt!("list_dir", self.directory.as_str())));
            probes.push(deny("create", attempt!("create_excl", self.below("new"))));
        }
        let shown = parent
            .filter(|parent| resolved.access(&self.world.work.dir.join(parent)) == Some(Access::ReadWrite));
        let path = if self.is_file() { file } else { self.directory.as_str() };
        if shown.is_some() {
            probes.push(
                self.denies("move-away", High)
                    .serves_rule(clause, "FS-4")
                    .requires("a hidden path cannot be moved to where it is not hidden")
                    .script([control(), attempt!("rename", path, "palisade-moved")])
                    .expect(Denied.or(Absent).or(ReadOnly).or(Expect::fails([EBUSY, EXDEV])))
                    .outside(Outside::succeeds()),
            );
        }
        if let Some(parent) = shown.and_then(Path::to_str).filter(|parent| !parent.is_empty()) {
            let name = file.strip_prefix(parent).unwrap_or(file).trim_start_matches('/');
            probes.push(
                self.denies("move-parent", High)
                    .serves_rule(clause, "FS-4")
                    .requires("renaming the directory around a hidden path does not show it")
                    .script([
                        control(),
                        attempt!("rename", parent, "palisade-parent"),
                        attempt!("read_file", format!("palisade-parent/{name}")),
                    ])
                    .expect(Denied.or(Absent))
                    .outside(Outside::succeeds()),
            );
        }
        probes
    }

    fn readable(&self) -> Probe {
        self.allows("read")
            .serves_rule(&self.rule.entry.clause, "FS-5")
            .requires("a file below a path that a rule shows can be read")
            .script([attempt!("read_file", self.file.as_str())])
    }

    fn submount_visible(&self) -> Probe {
        let work = &self.world.work;
        self.allows("submount-visible")
            .needs_planted(&self.world.submounts)
            .serves_rule(&self.rule.entry.clause, "FS-5")
            .requires("what is mounted below a path that a rule shows is there too")
            .script([attempt!("read_file", &*work.submount_file)])
            .expect(Expect::data_contains(&work.allowed_marker))
    }

    /// Where the rule ends: beside the workspace and above it.
    fn boundary(&self) -> Vec<Probe> {
        let work = &self.world.work;
        let Some(parent) = work.dir.parent() else { return Vec::new() };
        let beside = work.dir.with_file_name("work-palisade-new");
        let deny = |name: &str, what: &'static str, attempt: Statement| {
            self.denies(name, High)
                .serves_rule(&self.rule.entry.clause, "FS-1")
                .requires(what)
                .script([control!("read_file", self.file.as_str()), attempt])
        };
        vec![
            deny(
                "parent",
                "the directory above a rule's path shows nothing else",
                attempt!("list_dir", parent),
            )
            .expect(Expect::data_lacks("outside").or(Denied).or(Absent))
            .outside(Outside::Shows(Expect::data_contains("outside"))),
            deny(
                "sibling",
                "what is made beside a rule's path is not made outside",
                attempt!("write_file", beside.as_path(), "x"),
            )
            .expect(AnyOf(vec![Succeeds, Denied, Absent, ReadOnly]))
            .canary(Canary::Missing(beside.clone()))
            .outside(Outside::NotRun("the file would be made where every case sees it")),
        ]
    }
}

/// A rule about files of the host: only whether it may be read and written is asked.
fn elsewhere(rule: &ResolvedRule) -> Vec<Probe> {
    let path = &*rule.entry.path;
    let id = |name: &str| format!("fs/rule/{}/{name}", words(rule));
    let access = |mode: i32| attempt!("sys", SYS_faccessat, AT_FDCWD, path, mode);
    let clause = &rule.entry.clause;
    let readable = || {
        Probe::allows(id("readable"), Medium)
            .serves_rule(clause, "FS-5")
            .requires("a path that a rule shows can be read")
            .script([access(libc::R_OK)])
    };
    match rule.access {
        Access::ReadOnly => vec![
            readable(),
            Probe::denies(id("not-writable"), High)
                .serves_rule(clause, "FS-2")
                .requires("a read-only path cannot be written to")
                .script([control!("open", path, O_PATH), access(libc::W_OK)])
                .expect(ReadOnly)
                .outside(Outside::succeeds()),
        ],
        Access::ReadWrite => vec![
            readable(),
            Probe::allows(id("writable"), Medium)
                .serves_rule(clause, "FS-5")
                .requires("a read-write path can be written to")
                .script([access(libc::W_OK)]),
        ],
        Access::Hidden => {
            let mut probes = vec![
                Probe::denies(id("not-readable"), Critical)
                    .serves_rule(clause, "FS-3")
                    .requires("a hidden path cannot be read")
                    .script([access(libc::R_OK)])
                    .expect(Denied.or(Absent))
                    .outside(Outside::succeeds()),
            ];
            if path.parent() == Some(Path::new("/tmp")) {
                let new = |name: &str| format!("/tmp/palisade-new-{name}");
                let deny = |name: &str, last| {
                    let beside = control!("write_file", new(name).as_str(), "x");
                    Probe::denies(id(name), High)
                        .serves_rule(clause, "FS-3")
                        .requires("nothing can be made at a hidden path in the private /tmp either")
                        .script([beside, attempt!("unlink", path), last])
                        .expect(Denied.or(ReadOnly).or(Expect::fails([EBUSY])))
                        .outside(Outside::succeeds())
                };
                probes.push(deny("create", attempt!("write_file", path, "x")));
                let moved = attempt!("rename", new("move-there").as_str(), path);
                probes.push(deny("move-there", moved));
            }
            probes
        }
    }
}

//! The rules about paths: the most specific wins, deny wins at equal depth.
//!
//! Each rule becomes a mount on top of what its ancestors mounted, so a parent comes before its children.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use palisade_policy::{Access, ByteSize, Clause, Filesystem, ResolveError, ResolvedEntry};

use super::super::layout::{Layout, Place};
use super::super::process::outside_ids;
use super::super::{Draft, Situation};
use super::apart::Apart;
use super::protect::{keep_missing, pin_links, pin_way, place_of};
use super::{aliases, execution};
use crate::facts::{Ability, HostFacts, Missing, PathFact, Present};
use crate::step::{IdMap, IdPair, MountAttributes, Step};

/// File systems that the sandbox makes itself: a rule cannot put the host's there.
const OWN: &[&str] = &["/proc", "/dev"];

/// One rule, with what was found at its path.
pub(super) struct Rule<'a> {
    /// The clause, and the path as the policy and the directory of the run name it.
    pub(super) entry: &'a ResolvedEntry,
    pub(super) access: Access,
    pub(super) fact: &'a PathFact,
    /// For a rule that is repeated at another place.
    repeats: Option<&'a aliases::Derived>,
}

impl Rule<'_> {
    /// Where the file that is reached is, or would be.
    pub(super) fn place(&self) -> PathBuf {
        match self.fact {
            PathFact::Present(present) => present.canonical.clone(),
            PathFact::Missing(missing) => place_of(&self.entry.path, missing),
        }
    }

    /// The symbolic links on the way there.
    fn links(&self) -> &BTreeSet<PathBuf> {
        match self.fact {
            PathFact::Present(present) => &present.links,
            PathFact::Missing(missing) => &missing.links,
        }
    }

    /// Whether what leads to it has to stay what it is. Not at another place of files whose names are kept already: there
    /// only the files count, and a mount goes along with the file that it covers.
    fn keeps_names(&self) -> bool {
        self.repeats.is_none_or(|rule| !rule.names_are_kept)
    }

    /// What it asks for, in the words of the coverage.
    fn requested(&self, path: &Path) -> String {
        let same = self.repeats.map(|rule| format!(", the same files as {}", rule.of.display()));
        format!("{} {}{}", self.access.words(), path.display(), same.unwrap_or_default())
    }
}

/// Plans every rule, and where the workload starts.
pub(super) fn rules(
    filesystem: &Filesystem,
    facts: &HostFacts,
    situation: &Situation,
    layout: &mut Layout,
    draft: &mut Draft,
) {
    let resolved = match filesystem.resolve(&situation.directory) {
        Ok(resolved) => resolved,
        Err(errors) => {
            for error in errors {
                draft.refuse(contradictory_clause(&error), error.to_string(), None);
            }
            return;
        }
    };
    let missing = PathFact::Missing(Missing::unknown("the facts do not cover it"));
    let mut rules: Vec<Rule<'_>> = resolved
        .rules()
        .iter()
        .map(|rule| {
            let fact = facts.path(&rule.entry.path).unwrap_or(&missing);
            Rule { entry: &rule.entry, access: rule.access, fact, repeats: None }
        })
        .collect();
    let repeated = aliases::derived(&rules, layout);
    let noexec_aliases = execution::aliases(resolved.no_execute(), facts, |place| {
        aliases::shown(place, &rules, layout).is_some_and(|access| access != Access::Hidden)
    });
    rules.extend(repeated.iter().map(|derived| Rule {
        entry: &derived.entry,
        access: derived.access,
        fact: &derived.fact,
        repeats: Some(derived),
    }));
    // By the file that is reached, not the name that is typed; at equal depth the strictest comes last and covers.
    rules.sort_by_key(|rule| {
        let place = rule.place();
        (place.components().count(), place, std::cmp::Reverse(rule.access))
    });
    layout.noexec = execution::places(resolved.no_execute(), facts);
    layout.noexec.extend(noexec_aliases.iter().map(|(_, place)| place.clone()));
    // A hidden directory that shows something below it has to be searchable.
    let visible: Vec<PathBuf> = rules
        .iter()
        .filter(|rule| rule.access != Access::Hidden)
        .filter_map(|rule| present(rule.fact).map(|present| present.canonical.clone()))
        .collect();

    let covered: Vec<(PathBuf, Access)> =
        rules.iter().filter_map(|rule| Some((present(rule.fact)?.canonical.clone(), rule.access))).collect();
    let mut workspace = Apart::open(filesystem, facts, &covered, draft);
    for rule in &rules {
        match rule.fact {
            PathFact::Missing(missing) => missing_path(rule, missing, layout, draft),
            PathFact::Present(present) if !acceptable(rule, present, draft) => {}
            PathFact::Present(present) if rule.access == Access::Hidden => {
                hide(rule, present, &visible, layout, draft);
            }
            PathFact::Present(present) => {
                show(rule, present, facts, situation, &mut workspace, layout, draft);
            }
        }
    }
    // A link may lie in what was mounted after the file that it leads to, or lead to what needed no mount: in something writable the
    // workload would put another file in its place, by the name that a rule denies.
    for rule in rules.iter().filter(|rule| rule.access != Access::ReadWrite && rule.keeps_names()) {
        pin_links(&rule.entry.clause, rule.links(), layout, draft);
    }
    // The covers that show something below them were written to for its mount points, and never again.
    for rule in rules.iter().filter(|rule| rule.access == Access::Hidden) {
        if let Some(present) = present(rule.fact)
            && layout.is_mount(&present.canonical)
            && !layout.enclosing(&present.canonical).host
        {
            draft.step(&rule.entry.clause, Step::SealMount { path: present.canonical.clone() });
        }
    }
    execution::forbid(resolved.no_execute(), facts, layout, draft);
    execution::forbid_aliases(&noexec_aliases, facts, layout, draft);
    workspace.close(draft);
    if layout.enclosing(&situation.directory).host
        && layout.enclosing(&situation.directory).access != Access::Hidden
    {
        layout.directory = situation.directory.clone();
    }
}

fn present(fact: &PathFact) -> Option<&Present> {
    match fact {
        PathFact::Present(present) => Some(present),
        PathFact::Missing(_) => None,
    }
}

/// The clause to blame for rules that make no sense in this directory.
fn contradictory_clause(error: &ResolveError) -> &Clause {
    const DIRECTORY: &Clause = &Clause::new("filesystem");
    match error {
        ResolveError::WorkingDirectory(_) => DIRECTORY,
        ResolveError::Contradiction { second, .. } => &second.0,
        ResolveError::HiddenRoot(clause) => clause,
    }
}

/// Paths that no rule can be about.
fn acceptable(rule: &Rule<'_>, present: &Present, draft: &mut Draft) -> bool {
    let path = &present.canonical;
    if path.parent().is_none() {
        let message = match rule.access {
            Access::Hidden => "hiding / leaves nothing to run",
            _ => "a rule about / would show the whole host",
        };
        draft.refuse(
            &rule.entry.clause,
            message,
            Some("name the directories that the workload needs, or run in one of them"),
        );
        return false;
    }
    if let Some(own) = OWN.iter().find(|own| path.starts_with(own)) {
        draft.refuse(
            &rule.entry.clause,
            format!("{} lies in {own}, which the sandbox makes itself", path.display()),
            None,
        );
        return false;
    }
    true
}

/// A rule about nothing.
fn missing_path(rule: &Rule<'_>, missing: &Missing, layout: &mut Layout, draft: &mut Draft) {
    let (clause, name) = (&rule.entry.clause, &rule.entry.path);
    let requested = rule.requested(name);
    match rule.access {
        Access::Hidden => keep_missing(clause, requested, name, missing, layout, draft),
        _ if !rule.entry.optional => draft.refuse(
            clause,
            format!("{}: {}", name.display(), missing.reason),
            Some("create it, or say `{path: ..., optional: true}`"),
        ),
        // What the workload makes there would be writable.
        Access::ReadOnly if layout.enclosing(&place_of(name, missing)).access == Access::ReadWrite => {
            keep_missing(clause, requested, name, missing, layout, draft);
        }
        _ => draft.enforced(clause, requested, format!("optional and missing ({})", missing.reason)),
    }
}

/// Covers a path with something empty.
fn hide(rule: &Rule<'_>, present: &Present, visible: &[PathBuf], layout: &mut Layout, draft: &mut Draft) {
    let path = &present.canonical;
    let requested = rule.requested(path);
    if !layout.enclosing(path).host && !layout.is_mount(path) {
        // Another file may stand there in the sandbox's own file systems.
        keep_missing(&rule.entry.clause, requested, path, &Missing::unknown("not shown"), layout, draft);
        return;
    }
    // Below a mask there is no path to put another mask on.
    if layout.enclosing(path).access == Access::Hidden && !layout.is_mount(path) {
        draft.enforced(&rule.entry.clause, requested, "inside a hidden path");
        return;
    }
    if rule.keeps_names() {
        pin_way(&rule.entry.clause, path, &present.links, layout, draft);
    }
    let shows_more = visible.iter().any(|shown| shown.starts_with(path) && shown != path);
    if shows_more {
        // Searchable but not readable; a private file system, so that the rules below can make their mount points.
        let attributes = MountAttributes { noexec: true, ..MountAttributes::SAFE };
        let size = ByteSize::from_bytes(64 << 10);
        draft.step(
            &rule.entry.clause,
            Step::MountTmpfs { path: path.clone(), size, inodes: 1024, mode: 0o111, attributes },
        );
        layout.mount(path, Place::private(Access::Hidden, true));
    } else {
        draft.step(&rule.entry.clause, Step::MaskPath { path: path.clone() });
        layout.mount(path, Place { host: true, kind: present.kind, ..Place::private(Access::Hidden, true) });
    }
    draft.enforced(&rule.entry.clause, requested, "mount namespace: an empty mount on top");
}

/// Shows a part of the host's tree.
fn show(
    rule: &Rule<'_>,
    present: &Present,
    facts: &HostFacts,
    situation: &Situation,
    workspace: &mut Apart<'_>,
    layout: &mut Layout,
    draft: &mut Draft,
) {
    let path = &present.canonical;
    let requested = rule.requested(path);
    let mut notes = Vec::new();
    if *path != rule.entry.path {
        layout.make_link(draft, &rule.entry.clause, &rule.entry.path, path);
        notes.push(format!("{} is a link to it", rule.entry.path.display()));
    }
    let owner = facts.caller.privileged.then_some((present.uid, present.gid));
    let place = Place {
        access: rule.access,
        noexec: path.ancestors().any(|ancestor| layout.noexec.contains(ancestor)),
        host: true,
        apart: rule.access == Access::ReadWrite && workspace.is_apart(),
        kind: present.kind,
        owner,
    };
    if layout.enclosing(path) == place {
        draft.enforced(&rule.entry.clause, requested, "part of a mount above it");
        return;
    }
    if rule.keeps_names() {
        pin_way(&rule.entry.clause, path, &present.links, layout, draft);
    }
    let Ok(idmap) = idmap(rule, present, facts, situation, &mut notes, draft) else { return };
    layout.make_mount_point(draft, &rule.entry.clause, path, present.kind);
    let attributes = MountAttributes {
        read_only: rule.access == Access::ReadOnly,
        noexec: place.noexec,
        ..MountAttributes::SAFE
    };
    let mechanism = if place.apart {
        workspace.show(rule, present, attributes, idmap, layout, draft)
    } else {
        let source = path.clone();
        let path = path.clone();
        draft.step(&rule.entry.clause, Step::MountBind { source, path, attributes, recursive: true, idmap });
        "mount namespace"
    };
    layout.mount(path, place);
    let mechanism = match idmap {
        Some(_) => format!("{mechanism}, ID-mapped mount"),
        None => mechanism.to_owned(),
    };
    draft.covered(&rule.entry.clause, requested, mechanism, crate::plan::Status::Enforced, notes);
}

/// How a privileged caller's files become the workload's. `Err` when they cannot and have to.
fn idmap(
    rule: &Rule<'_>,
    present: &Present,
    facts: &HostFacts,
    situation: &Situation,
    notes: &mut Vec<String>,
    draft: &mut Draft,
) -> Result<Option<IdMap>, ()> {
    if !facts.caller.privileged {
        return Ok(None);
    }
    match (&present.idmap, rule.access) {
        (Some(Ability::Available), _) => {
            let (uid, gid) = outside_ids(facts, situation);
            Ok(Some(IdMap {
                uid: IdPair { inside: present.uid, outside: uid },
                gid: IdPair { inside: present.gid, outside: gid },
            }))
        }
        (Some(Ability::Unavailable(reason)), Access::ReadWrite) => {
            draft.refuse(
                &rule.entry.clause,
                format!("{} cannot be made writable for an unprivileged workload: {reason}", rule.entry.path.display()),
                Some("run as the owner of the directory instead of root, or move it to a file system with ID-mapped mounts"),
            );
            Err(())
        }
        (Some(Ability::Unavailable(reason)), _) => {
            notes.push(format!("read with the rights of an unprivileged user: {reason}"));
            Ok(None)
        }
        (None, _) => Ok(None),
    }
}

//! The same files at another place: what the host has mounted twice.
//!
//! A rule is about files, and the kernel finds mounts by name. Where the new root shows the files of a rule under a second
//! name too, and more of them than the rule says, the rule is repeated there. Nothing is ever shown by it: only a rule that
//! is stricter than what stands there already is repeated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use palisade_policy::{Access, ResolvedEntry};

use super::super::layout::Layout;
use super::rules::Rule;
use crate::facts::{Alias, PathFact, Present};

/// A rule at a place that the policy does not name.
pub(super) struct Derived {
    pub(super) entry: ResolvedEntry,
    pub(super) access: Access,
    pub(super) fact: PathFact,
    /// The place that the policy names.
    pub(super) of: PathBuf,
    /// Whether the names on the way to that place are kept: the new root shows it, in something that can be written to.
    pub(super) names_are_kept: bool,
}

/// What one rule says about one other place.
struct Candidate<'a, 'b> {
    rule: &'b Rule<'a>,
    alias: Alias,
}

/// The rules that have to be repeated at other places.
pub(super) fn derived(rules: &[Rule<'_>], layout: &Layout) -> Vec<Derived> {
    let mut places: BTreeMap<PathBuf, Candidate<'_, '_>> = BTreeMap::new();
    for rule in rules {
        for (place, alias) in places_of(rule) {
            let candidate = Candidate { rule, alias };
            let better = places.get(&place).is_none_or(|known| rank(&candidate) < rank(known));
            if better {
                places.insert(place, candidate);
            }
        }
    }
    places
        .into_iter()
        .filter(|(place, candidate)| {
            let named = rules.iter().any(|rule| rule.place() == *place);
            // A rule of the policy for exactly this place names the files as directly as any other name of theirs does.
            (!named || candidate.alias.above == 0)
                && shown(place, rules, layout).is_some_and(|access| candidate.rule.access < access)
        })
        .map(|(place, candidate)| {
            let above = candidate.rule.place().parent().and_then(|above| shown(above, rules, layout));
            repeat(place, &candidate, above == Some(Access::ReadWrite))
        })
        .collect()
}

/// The most specific comes first, and of those the strictest.
fn rank(candidate: &Candidate<'_, '_>) -> (usize, Access) {
    (candidate.alias.above, candidate.rule.access)
}

/// Where else the files of a rule are, or would be if they existed.
fn places_of(rule: &Rule<'_>) -> Vec<(PathBuf, Alias)> {
    match rule.fact {
        PathFact::Present(present) => {
            present.aliases.iter().map(|(place, alias)| (place.clone(), *alias)).collect()
        }
        PathFact::Missing(missing) => missing
            .reached
            .iter()
            .flat_map(|reached| reached.aliases.iter().map(move |place| (reached, place)))
            .map(|(reached, place)| {
                let alias = Alias { kind: reached.kind, above: 0 };
                (reached.place_at(place), alias)
            })
            .collect(),
    }
}

/// What the new root shows at a place of the host's tree, as the policy and the base say. `None`: nothing of the host's.
pub(super) fn shown(place: &Path, rules: &[Rule<'_>], layout: &Layout) -> Option<Access> {
    let containing = rules.iter().filter_map(|rule| match rule.fact {
        PathFact::Present(present) if place.starts_with(&present.canonical) => Some((present, rule.access)),
        _ => None,
    });
    let decisive = containing
        .max_by_key(|(present, access)| (present.canonical.components().count(), std::cmp::Reverse(*access)));
    match decisive {
        Some((_, access)) => Some(access),
        None => Some(layout.enclosing(place)).filter(|place| place.host).map(|place| place.access),
    }
}

fn repeat(place: PathBuf, candidate: &Candidate<'_, '_>, names_are_kept: bool) -> Derived {
    let rule = candidate.rule;
    let fact = match rule.fact {
        PathFact::Present(present) => PathFact::Present(Present {
            canonical: place.clone(),
            kind: candidate.alias.kind,
            links: Default::default(),
            mounts: BTreeMap::new(),
            aliases: BTreeMap::new(),
            ..present.clone()
        }),
        PathFact::Missing(missing) => {
            let mut missing = missing.clone();
            missing.links.clear();
            if let Some(reached) = &mut missing.reached {
                let at = reached.aliases.iter().find(|at| reached.place_at(at) == place).cloned();
                reached.path = at.unwrap_or_else(|| place.clone());
                reached.aliases.clear();
            }
            PathFact::Missing(missing)
        }
    };
    let entry = ResolvedEntry { path: place, clause: rule.entry.clause.clone(), optional: true };
    Derived { entry, access: rule.access, fact, of: rule.place(), names_are_kept }
}

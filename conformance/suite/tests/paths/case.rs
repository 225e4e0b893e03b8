//! One random case: a tree with links, rules about it, and renames; and what the pure model says about it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use palisade_conformance::catalogue::Planted;
use palisade_policy::{Access, Document, ResolvedRules};
use proptest::prelude::*;
use proptest::sample::Index;

/// One in each directory.
const FILE: &str = "x";
pub(crate) const CONTENT: &str = "content";

/// What a rule is about.
#[derive(Clone, Copy, Debug)]
enum Spot {
    Directory,
    File,
    Missing,
    MissingBelowMissing,
    Link,
    FileThroughLink,
    MissingThroughLink,
}

const SPOTS: [Spot; 7] = [
    Spot::Directory,
    Spot::File,
    Spot::Missing,
    Spot::MissingBelowMissing,
    Spot::Link,
    Spot::FileThroughLink,
    Spot::MissingThroughLink,
];

/// What the generator makes; [`Case`] is what it means.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    top: Access,
    directories: Vec<Vec<&'static str>>,
    links: Vec<(Index, Index)>,
    rules: Vec<(Spot, Index, Access)>,
    renames: Vec<Index>,
}

pub(crate) fn cases() -> impl Strategy<Value = Raw> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    let directory = prop::collection::vec(name, 1..=4);
    let access = prop::sample::select(vec![Access::ReadOnly, Access::ReadWrite, Access::Hidden]);
    let top = prop::sample::select(vec![Access::ReadWrite, Access::ReadOnly]);
    let spot = prop::sample::select(SPOTS.to_vec());
    (
        top,
        prop::collection::vec(directory, 1..5),
        prop::collection::vec((any::<Index>(), any::<Index>()), 0..3),
        prop::collection::vec((spot, any::<Index>(), access), 0..6),
        prop::collection::vec(any::<Index>(), 0..4),
    )
        .prop_map(|(top, directories, links, rules, renames)| Raw {
            top,
            directories,
            links,
            rules,
            renames,
        })
}

/// One rule: how the policy names the path, where that leads, and what it says.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) typed: String,
    pub(crate) reached: String,
    pub(crate) access: Access,
    pub(crate) exists: bool,
}

/// A case with names. All paths are relative to the workspace.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) top: Access,
    pub(crate) directories: Vec<String>,
    /// Where each stands, and the directory that it leads to.
    pub(crate) links: Vec<(String, String)>,
    pub(crate) rules: Vec<Rule>,
    /// Directories that the workload tries to rename.
    pub(crate) renames: Vec<String>,
}

impl Case {
    pub(crate) fn of(raw: &Raw) -> Self {
        let closed: BTreeSet<String> = raw
            .directories
            .iter()
            .flat_map(|names| (1..=names.len()).map(|depth| names[..depth].join("/")))
            .collect();
        let directories: Vec<String> = closed.into_iter().collect();
        let pick = |index: &Index| index.get(&directories).clone();
        let links: Vec<(String, String)> = raw
            .links
            .iter()
            .enumerate()
            .map(|(number, (at, to))| (format!("{}/link{number}", pick(at)), pick(to)))
            .collect();
        let mut case = Self {
            top: raw.top,
            directories: directories.clone(),
            links,
            rules: Vec::new(),
            renames: Vec::new(),
        };
        let mut rules: BTreeMap<String, Rule> = BTreeMap::new();
        for (spot, index, access) in &raw.rules {
            let Some(typed) = case.typed(*spot, index) else { continue };
            let reached = case.reached(&typed);
            let exists = case.exists(&reached);
            // What is missing can be hidden, or read-only if it may be missing.
            let access = if exists || *access != Access::ReadWrite { *access } else { Access::Hidden };
            rules.entry(reached.clone()).or_insert(Rule { typed, reached, access, exists });
        }
        case.rules = rules.into_values().collect();
        case.renames = raw.renames.iter().map(pick).collect();
        case
    }

    fn typed(&self, spot: Spot, index: &Index) -> Option<String> {
        let directory = || index.get(&self.directories).clone();
        let link = || (!self.links.is_empty()).then(|| index.get(&self.links).0.clone());
        Some(match spot {
            Spot::Directory => directory(),
            Spot::File => format!("{}/{FILE}", directory()),
            Spot::Missing => format!("{}/new", directory()),
            Spot::MissingBelowMissing => format!("{}/new/er", directory()),
            Spot::Link => link()?,
            Spot::FileThroughLink => format!("{}/{FILE}", link()?),
            Spot::MissingThroughLink => format!("{}/new", link()?),
        })
    }

    /// Where a name leads: links lead to directories that are reached through none.
    fn reached(&self, typed: &str) -> String {
        for (link, target) in &self.links {
            if let Some(rest) = typed.strip_prefix(link.as_str())
                && (rest.is_empty() || rest.starts_with('/'))
            {
                return format!("{target}{rest}");
            }
        }
        typed.to_owned()
    }

    fn exists(&self, reached: &str) -> bool {
        let is_directory = |path: &str| self.directories.iter().any(|directory| directory == path);
        is_directory(reached) || reached.strip_suffix("/x").is_some_and(is_directory)
    }

    pub(crate) fn tree(&self) -> Vec<Planted> {
        let files = self.files().into_iter().map(|file| Planted::File(file.into(), CONTENT.into(), 0o644));
        let links = self.links.iter().map(|(link, target)| {
            let up = "../".repeat(link.matches('/').count());
            Planted::Symlink(link.into(), PathBuf::from(format!("{up}{target}")))
        });
        files.chain(links).collect()
    }

    pub(crate) fn files(&self) -> Vec<String> {
        self.directories.iter().map(|directory| format!("{directory}/{FILE}")).collect()
    }

    /// The policy as a user would write it.
    pub(crate) fn policy(&self) -> String {
        self.text(|rule| rule.typed.as_str())
    }

    /// What the model says, by the paths that are reached.
    pub(crate) fn model(&self, directory: &Path) -> Result<ResolvedRules, String> {
        let document = Document::parse("model.yaml", &self.text(|rule| rule.reached.as_str()))
            .map_err(|why| format!("the model is refused: {why}"))?;
        document.policy.filesystem.resolve(directory).map_err(|errors| format!("{errors:?}"))
    }

    fn text(&self, name: impl Fn(&Rule) -> &str) -> String {
        let mut text = "version: 1\nfilesystem:\n".to_owned();
        for (list, access) in
            [("read_only", Access::ReadOnly), ("read_write", Access::ReadWrite), ("hidden", Access::Hidden)]
        {
            let top = (self.top == access).then(|| ".".to_owned());
            let named = self.rules.iter().filter(|rule| rule.access == access).map(|rule| {
                let name = name(rule);
                if rule.exists || access == Access::Hidden {
                    name.to_owned()
                } else {
                    format!("{{path: {name}, optional: true}}")
                }
            });
            let paths: Vec<String> = top.into_iter().chain(named).collect();
            if !paths.is_empty() {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "  {list}: [{}]", paths.join(", "));
            }
        }
        text
    }
}

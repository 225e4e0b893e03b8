//! Puts the facts together.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use palisade_plan::facts::{Ability, HostFacts, MASKED_PROC_ENTRIES};
use palisade_plan::step::Controller;
use palisade_plan::{KERNEL_ID_BASE, named_paths, needed_controllers, needs_network};
use palisade_policy::{Access, Policy, Workspace};
use palisade_sys::{landlock, seccomp};

use crate::mounts::Mounts;
use crate::trial::MappedTrees;
use crate::{base, caller, cgroups, network, observe, paths, procfs, trial};

/// How much to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Everything that a decision may depend on. For whoever only wants to know.
    Full,
    /// What a plan can do something about, or a user: an overlay, where the policy wants one. A run tries the rest itself in
    /// the next moment, with an exact error when it fails, and nothing could replace it.
    Run,
}

/// Why there are no facts.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// A file of procfs that every caller can read could not be read.
    #[error("read {}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// Finds out the facts that `policy` needs for a run that starts in `directory`.
///
/// # Errors
/// A [`SurveyError`] where /proc is not mounted or not readable.
pub fn survey(policy: &Policy, directory: &Path, depth: Depth) -> Result<HostFacts, SurveyError> {
    survey_keeping(policy, directory, depth, KERNEL_ID_BASE).map(|(facts, _)| facts)
}

/// As [`survey`], for a run whose workload gets the id `kernel_id` where the caller is privileged: what was mounted on the way
/// can be used for it.
///
/// # Errors
/// As [`survey`].
pub fn survey_keeping(
    policy: &Policy,
    directory: &Path,
    depth: Depth,
    kernel_id: u32,
) -> Result<(HostFacts, MappedTrees), SurveyError> {
    let caller = caller::caller()?;
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let overlay = policy.filesystem.workspace == Workspace::Overlay;
    let trials = match depth {
        Depth::Run if !overlay => trial::Trials::untried(),
        Depth::Full | Depth::Run => trial::trials(&caller),
    };
    let needed = match depth {
        Depth::Full => Controller::ALL.into(),
        Depth::Run => needed_controllers(policy, &caller, &kernel),
    };
    let mut idmap = trial::IdMapTrial::to(kernel_id);
    // Where nothing is stricter than anything else, a second name of a file says the same as the first. What a policy does not
    // name is read-only, too.
    let has = |access| policy.filesystem.rules.iter().any(|rule| rule.access == access);
    let strict = !policy.filesystem.no_execute.is_empty()
        || has(Access::Hidden)
        || has(Access::ReadOnly) && has(Access::ReadWrite);
    let mounts = (overlay || strict).then(Mounts::read);
    let wanted = paths::Wanted {
        below: mounts.as_ref().filter(|_| overlay),
        aliases: mounts.as_ref().filter(|_| strict),
    };
    let paths = named_paths(policy, directory)
        .into_iter()
        .map(|path| {
            let fact = paths::fact(&path, &caller, &mut idmap, wanted);
            (path, fact)
        })
        .collect();
    let proc = procfs::entries();
    let proc_entries = MASKED_PROC_ENTRIES
        .iter()
        .filter(|entry| proc.contains(OsStr::new(entry)))
        .map(|entry| (*entry).to_owned())
        .collect();
    let facts = HostFacts {
        kernel,
        namespaces: trials.namespaces,
        mount_attributes: trials.mount_attributes,
        procfs: trials.procfs,
        overlay: trials.overlay,
        seccomp: match seccomp::action_available(seccomp::Action::Errno) {
            Ok(()) => Ability::Available,
            Err(errno) => Ability::Unavailable(format!("seccomp: {errno}")),
        },
        landlock_abi: landlock::abi().unwrap_or(0),
        cgroups: cgroups::hierarchies(&needed),
        proc_entries,
        base: base::layout(),
        paths,
        network: needs_network(policy).then(|| {
            let mut network = network::facts(policy.network.backend.is_plumbed());
            if depth == Depth::Full {
                observe::try_network(&mut network, policy.network.backend);
            }
            network
        }),
        caller,
    };
    Ok((facts, idmap.trees()))
}

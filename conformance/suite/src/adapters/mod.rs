//! Adapters: how each runtime is asked to run a workload under a policy.
//!
//! An adapter is one file. It knows how the runtime is found, what command line means the policy ([`Adapter::translate`],
//! pure), and what its exit codes mean. It never runs a workload itself, and it does not know what is probed.
//!
//! To add one: a file here, a line in `OTHERS`, a snapshot of its translation, and a file in `conformance/known/` when it has
//! accepted deviations.

mod brought;
mod bubblewrap;
mod codex;
mod containers;
mod crun;
mod docker;
mod etc;
mod firejail;
mod hakoniwa;
mod landrun;
mod minijail;
mod none;
mod nsjail;
mod nspawn;
mod oci;
mod palisade;
mod parts;
mod podman;
mod runc;
mod runsc;
mod srt;
mod systemd_run;
mod trial;
mod unshare;
mod view;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub use brought::Brought;
pub use bubblewrap::Bubblewrap;
pub use codex::Codex;
pub use crun::Crun;
pub use docker::Docker;
pub use firejail::Firejail;
pub use hakoniwa::Hakoniwa;
pub use landrun::Landrun;
pub use minijail::Minijail;
pub use none::None;
pub use nsjail::Nsjail;
pub use nspawn::Nspawn;
pub use palisade::Palisade;
pub use podman::Podman;
pub use runc::Runc;
pub use runsc::Runsc;
pub use srt::Srt;
pub use systemd_run::SystemdRun;
pub use unshare::Unshare;

use palisade_policy::Policy;

use crate::entry::Entry;

/// The name of our own runtime, which alone has ways in, backends, layers and mutants.
pub const OWN: &str = "palisade";

/// The control, which is no sandbox.
pub const CONTROL: &str = "none";

/// What makes an adapter.
type Make = fn() -> Box<dyn Adapter>;

/// The runtimes of others, in the order of their names.
const OTHERS: &[(&str, Make)] = &[
    ("bubblewrap", || Box::new(Bubblewrap)),
    ("codex", || Box::new(Codex)),
    ("crun", || Box::new(Crun::here())),
    ("docker", || Box::new(Docker::here())),
    ("firejail", || Box::new(Firejail)),
    ("hakoniwa", || Box::new(Hakoniwa)),
    ("landrun", || Box::new(Landrun)),
    ("minijail", || Box::new(Minijail::here())),
    ("nsjail", || Box::new(Nsjail)),
    ("podman", || Box::new(Podman::here())),
    ("runc", || Box::new(Runc::here())),
    ("runsc", || Box::new(Runsc::here())),
    ("srt", || Box::new(Srt)),
    ("systemd-nspawn", || Box::new(Nspawn::here())),
    ("systemd-run", || Box::new(SystemdRun::here())),
    ("unshare", || Box::new(Unshare)),
];

/// The names of all adapters: ours, the control, and those of others.
pub fn names() -> impl Iterator<Item = &'static str> {
    [OWN, CONTROL].into_iter().chain(OTHERS.iter().map(|(name, _)| *name))
}

/// The policy of a run, as an adapter needs it.
#[derive(Clone, Copy, Debug)]
pub struct PolicySource<'a> {
    /// What names it to Palisade: a built-in name, or the path of its file as the lab sees it.
    pub argument: &'a str,
    /// What it says.
    pub policy: &'a Policy,
    /// Flags by which Palisade is told to carry the network by other means than the policy says.
    pub carried: &'a [String],
}

/// One workload to run.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Program and arguments; the program by absolute path.
    pub argv: &'a [String],
    /// The directory that the run starts in.
    pub cwd: &'a Path,
    /// How long it may run, below what the policy says.
    pub wall_time: Option<Duration>,
    /// The probe program, for an entry that needs a process which runs already. Executable inside.
    pub probe: &'a Path,
    /// What no other run in the lab has: fit for the name of a container.
    pub id: &'a str,
    /// A directory that no other run has, outside the workload's view where the runtime gives it one. It is there where the
    /// invocation has [items](Invocation::items), which may be below it, and is gone after the run.
    pub scratch: &'a Path,
    /// Whether root runs it: a caller who can change groups and make control groups.
    pub root: bool,
}

/// What to execute so that the workload runs under the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Variables added to the runtime's own environment.
    pub env: Vec<(String, String)>,
    /// The directory to start in.
    pub cwd: PathBuf,
    /// What must be there before the start, in this order, all below [`Case::scratch`].
    pub items: Vec<Item>,
}

/// Something that a runtime wants to find: its configuration, its bundle, a place for its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A directory, with those above it.
    Directory(PathBuf),
    /// A file with this content, with the directories above it.
    File(PathBuf, Vec<u8>),
    /// A symbolic link to this target, with the directories above it.
    Link(PathBuf, PathBuf),
}

/// The runtime has no way to say what the policy says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the runtime cannot express {clause}: {why}")]
pub struct Inexpressible {
    /// The clause of the policy.
    pub clause: String,
    /// Why.
    pub why: String,
}

/// What an exit code of the runtime means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The workload ran and ended with this.
    Workload(i32),
    /// The runtime itself failed or refused; no workload ran.
    Runtime,
    /// The wall-time limit of the policy ended the workload.
    OutOfTime,
}

/// A runtime under test.
pub trait Adapter: Sync {
    /// Its name on the command line.
    fn name(&self) -> &str;

    /// Whether it is there, and what it says about its version.
    ///
    /// # Errors
    /// Why it cannot be used.
    fn detect(&self) -> Result<String, String>;

    /// The command that runs `case` under `policy`. Pure.
    ///
    /// # Errors
    /// When the runtime cannot express the policy; the probes are then *unsupported*.
    fn translate(&self, policy: PolicySource<'_>, case: Case<'_>) -> Result<Invocation, Inexpressible>;

    /// What its exit code means.
    fn exit(&self, code: i32) -> Exit;

    /// The way by which its workloads come in.
    fn entry(&self) -> Entry {
        Entry::Run
    }

    /// What of the policy the runtime has no means for, with reasons: by clause, which stands for those below it, or by a pattern over
    /// the ids of probes (`fd/leaked-*`) where it has means for the rest of the clause. What a probe shows of these is no breach
    /// of the runtime's promise, and is told as *unsupported*. Pure.
    fn inexpressible(&self, _policy: &Policy) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// The command that makes the runtime say what of the policy it can only enforce in part on this host, where it has one.
    fn declaration(&self, _policy: PolicySource<'_>, _cwd: &Path) -> Option<Invocation> {
        Option::None
    }

    /// Reads what that command printed: clauses of the policy, with reasons. Pure.
    ///
    /// # Errors
    /// When it is not what the runtime prints.
    fn downgrades(&self, _printed: &[u8]) -> Result<BTreeMap<String, String>, String> {
        Ok(BTreeMap::new())
    }
}

/// What a program says about its version, in one line.
fn version(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("run {name}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name}: {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned())
}

/// The adapter with this name. `palisade` is the executable of that runtime as the lab sees it, `entry` the way in for
/// runtimes that have several.
pub fn by_name(name: &str, palisade: &Path, entry: Entry) -> Option<Box<dyn Adapter>> {
    match name {
        OWN => Some(Box::new(Palisade::with_policy(palisade).through(entry))),
        CONTROL => Some(Box::new(None)),
        _ => OTHERS.iter().find(|(other, _)| *other == name).map(|(_, adapter)| adapter()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    fn shown(adapter: &dyn Adapter) -> String {
        let policy = crate::catalogue::tests::policies().remove(0);
        let source = PolicySource { argument: "/lab/policy.yaml", policy: &policy, carried: &[] };
        let argv = ["/work/probe".to_owned(), "n0nce".to_owned(), "a:sys 39".to_owned()];
        let case = Case {
            argv: &argv,
            cwd: Path::new("/work"),
            wall_time: Option::None,
            probe: Path::new("/work/probe"),
            id: "n0nce",
            scratch: Path::new("/lab/runtimes/n0nce"),
            root: false,
        };
        let invocation = adapter.translate(source, case).unwrap();
        let words: Vec<String> =
            invocation.argv.iter().map(|word| crate::report::escape(word.as_bytes())).collect();
        let items = invocation.items.iter().map(|item| match item {
            Item::Directory(path) => format!("\n\n{}/", path.display()),
            Item::File(path, text) => format!("\n\n{}:\n{}", path.display(), String::from_utf8_lossy(text)),
            Item::Link(path, target) => format!("\n\n{} -> {}", path.display(), target.display()),
        });
        let items: String = items.collect();
        format!("cd {}\nenv {:?}\n{}{items}", invocation.cwd.display(), invocation.env, words.join("\n"))
    }

    #[test]
    fn every_name_has_an_adapter_of_that_name() {
        for name in names() {
            assert_eq!(
                by_name(name, Path::new("/bin/palisade"), Entry::Run)
                    .map(|adapter| adapter.name().to_owned()),
                Some(name.to_owned())
            );
        }
    }

    #[test]
    fn palisade_under_a_policy() {
        insta::assert_snapshot!(shown(&Palisade::with_policy("/lab/palisade")));
    }

    #[test]
    fn palisade_with_another_backend() {
        let policy = crate::catalogue::tests::policies().remove(0);
        let carried = ["--backend=veth".to_owned()];
        let source = PolicySource { argument: "default", policy: &policy, carried: &carried };
        let adapter = Palisade::with_policy("/lab/palisade");
        let declared = adapter.declaration(source, Path::new("/work")).unwrap();
        let words = ["/lab/palisade", "plan", "--format", "json", "--policy", "default", "--backend=veth"];
        assert_eq!(declared.argv, words);
    }

    #[test]
    fn palisade_under_a_plan() {
        insta::assert_snapshot!(shown(&Palisade::with_plan("/lab/palisade", "/lab/plan.json")));
    }

    #[test]
    fn palisade_through_exec() {
        insta::assert_snapshot!(shown(&Palisade::with_policy("/lab/palisade").through(Entry::Exec)));
    }

    #[test]
    fn bubblewrap() {
        insta::assert_snapshot!(shown(&Bubblewrap));
    }

    #[test]
    fn codex() {
        insta::assert_snapshot!(shown(&Codex));
    }

    #[test]
    fn firejail() {
        insta::assert_snapshot!(shown(&Firejail));
    }

    #[test]
    fn hakoniwa() {
        insta::assert_snapshot!(shown(&Hakoniwa));
    }

    #[test]
    fn landrun() {
        insta::assert_snapshot!(shown(&Landrun));
    }

    #[test]
    fn minijail() {
        insta::assert_snapshot!(shown(&Minijail::described(1001, 1002)));
    }

    #[test]
    fn nsjail() {
        insta::assert_snapshot!(shown(&Nsjail));
    }

    #[test]
    fn srt() {
        insta::assert_snapshot!(shown(&Srt));
    }

    #[test]
    fn crun() {
        insta::assert_snapshot!("crun_as_root", shown(&Crun::described(0)));
        insta::assert_snapshot!("crun_as_an_ordinary_user", shown(&Crun::described(1001)));
    }

    #[test]
    fn runc() {
        insta::assert_snapshot!("runc_as_root", shown(&Runc::described(0)));
        insta::assert_snapshot!("runc_as_an_ordinary_user", shown(&Runc::described(1001)));
    }

    #[test]
    fn runsc() {
        insta::assert_snapshot!("runsc_as_root", shown(&Runsc::described(0)));
        insta::assert_snapshot!("runsc_as_an_ordinary_user", shown(&Runsc::described(1001)));
    }

    #[test]
    fn docker() {
        insta::assert_snapshot!(shown(&Docker::described()));
    }

    #[test]
    fn podman() {
        insta::assert_snapshot!("podman_as_root", shown(&Podman::described(0)));
        insta::assert_snapshot!("podman_as_an_ordinary_user", shown(&Podman::described(1001)));
    }

    #[test]
    fn systemd_nspawn() {
        insta::assert_snapshot!(shown(&Nspawn::described()));
    }

    #[test]
    fn systemd_run() {
        insta::assert_snapshot!("systemd_run_as_root", shown(&SystemdRun::described(true)));
        insta::assert_snapshot!("systemd_run_as_an_ordinary_user", shown(&SystemdRun::described(false)));
    }

    #[test]
    fn namespaces_alone() {
        insta::assert_snapshot!(shown(&Unshare));
    }

    #[test]
    fn no_sandbox() {
        insta::assert_snapshot!(shown(&None));
    }

    #[test]
    fn exit_codes() {
        let palisade = Palisade::with_policy("/lab/palisade");
        assert_eq!(palisade.exit(0), Exit::Workload(0));
        assert_eq!(palisade.exit(127), Exit::Workload(127));
        assert_eq!(palisade.exit(125), Exit::Runtime);
        assert_eq!(palisade.exit(124), Exit::OutOfTime);
        assert_eq!(None.exit(125), Exit::Workload(125));
    }
}

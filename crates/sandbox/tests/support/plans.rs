//! Plans of several shapes, decided on this host, over a workspace with something in it.

use std::fs;
use std::path::Path;

use palisade::decide;
use palisade_host::Depth;
use palisade_plan::Plan;
use palisade_policy::{Document, Policy};

/// Rules inside rules, paths that have to stay hidden although they do not exist yet, a network, and limits by control groups
/// where there are any.
const RULES: &str = "
on_unavailable: degrade
filesystem:
  read_write: [., vendor/patches]
  read_only: [vendor]
  hidden: [.env, .git, late.txt, late/deep/secret]
  no_execute: [vendor, /tmp]
process:
  identity: root
network:
  mode: allowlist
  proxy: environment
  allow:
    - {host: '*.example.org', ports: [443]}
    - {cidr: 203.0.113.0/24, ports: [443]}
    - {cidr: 0.0.0.0/0, ports: [5353], protocol: udp}
resources:
  open_files: 100
  file_size: 1MiB
  memory: 1GiB
  cpus: 1
  cpu_time: 60s
";

/// A policy of each kind, by name.
const POLICIES: [(&str, Option<&str>); 3] = [("default", None), ("agent", None), ("rules", Some(RULES))];

/// Makes the workspace that the policies are about.
pub(crate) fn workspace(place: &Path) -> std::path::PathBuf {
    let workspace = place.join("work");
    for directory in ["vendor/patches", ".git/hooks"] {
        fs::create_dir_all(workspace.join(directory)).expect("made");
    }
    for file in [".env", "vendor/lib.c", ".git/config"] {
        fs::write(workspace.join(file), "content").expect("written");
    }
    workspace
}

/// The policies, read.
pub(crate) fn policies() -> impl Iterator<Item = (&'static str, Policy)> {
    POLICIES.into_iter().map(|(name, text)| {
        let document = match text {
            None => Document::builtin(name).expect("built in"),
            Some(text) => Document::parse(name, text).expect("valid"),
        };
        (name, document.policy)
    })
}

/// The plan of each policy, for a run in `workspace` that the calling thread supervises.
pub(crate) fn plans(workspace: &Path) -> Vec<(&'static str, Plan)> {
    let decided = |(name, policy): (&'static str, Policy)| {
        let decided = decide(&policy, workspace, Depth::Run);
        (name, decided.unwrap_or_else(|error| panic!("{name}: {error}")).plan)
    };
    policies().map(decided).collect()
}

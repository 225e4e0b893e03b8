//! crun(1), with a bundle.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;

use palisade_policy::Policy;

use super::oci::{self, Host, Runtime};
use super::{Adapter, Case, Exit, Inexpressible, Invocation, PolicySource};

/// Where a host with both versions of control groups has the second.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// Hides it, in a mount namespace of the caller's own.
pub(super) const COVER: &str = "mount -t tmpfs none /sys/fs/cgroup/unified";

/// `crun` as found in `PATH`.
#[derive(Clone, Debug)]
pub struct Crun {
    host: Host,
    runtime: Runtime,
}

impl Crun {
    /// For this host and user.
    pub fn here() -> Self {
        Self::on(Host::here(), is_hybrid())
    }

    fn on(host: Host, hybrid: bool) -> Self {
        let around = if hybrid { without_unified(host.is_root()) } else { Vec::new() };
        // Only root is given groups without being asked.
        let groups = host.is_root() && !hybrid;
        let manager = if groups { "cgroupfs" } else { "disabled" };
        let command = format!("crun --cgroup-manager={manager}");
        let runtime = Runtime { command, around, idmapped: true, rootless_user: true, groups };
        Self { host, runtime }
    }

    /// On a host that is the same wherever the tests run.
    #[cfg(test)]
    pub(super) fn described(uid: u32) -> Self {
        Self::on(oci::tests::described(uid), uid != 0)
    }
}

/// Whether version 2 has a controller beside version 1.
pub(super) fn is_hybrid() -> bool {
    fs::read_to_string(format!("{UNIFIED}/cgroup.controllers")).is_ok_and(|text| !text.trim().is_empty())
}

/// crun starts nothing where version 2 has a controller beside version 1, whether it is to make groups or not. In a mount namespace
/// of its own it does not see version 2. An ordinary user can mount something only in a user namespace of his own, too.
pub(super) fn without_unified(root: bool) -> Vec<OsString> {
    let user: &[&str] = if root { &[] } else { &["--user", "--map-current-user", "--keep-caps"] };
    let cover = format!("{COVER} && exec setpriv --inh-caps=-all --ambient-caps=-all \"$@\"");
    let words = ["unshare", "--mount"].into_iter().chain(user.iter().copied());
    words.chain(["sh", "-c", &cover, "sh"]).map(OsString::from).collect()
}

impl Adapter for Crun {
    fn name(&self) -> &'static str {
        "crun"
    }

    fn detect(&self) -> Result<String, String> {
        oci::detect(self, &self.runtime)
    }

    fn translate(&self, policy: PolicySource<'_>, case: Case<'_>) -> Result<Invocation, Inexpressible> {
        oci::invocation(&self.host, &self.runtime, policy, case)
    }

    fn exit(&self, code: i32) -> Exit {
        oci::exit(code)
    }

    fn inexpressible(&self, policy: &Policy) -> BTreeMap<String, String> {
        oci::inexpressible(&self.host, &self.runtime, policy)
    }
}

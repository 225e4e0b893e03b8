//! runc(8), with a bundle.

use std::collections::BTreeMap;

use palisade_policy::Policy;

use super::oci::{self, Host, Runtime};
use super::{Adapter, Case, Exit, Inexpressible, Invocation, PolicySource};

/// `runc` as found in `PATH`.
#[derive(Clone, Debug)]
pub struct Runc {
    host: Host,
    runtime: Runtime,
}

impl Runc {
    /// For this host and user.
    pub fn here() -> Self {
        Self::on(Host::here())
    }

    fn on(host: Host) -> Self {
        // runc makes groups where it can, and has no option to leave them out.
        let groups = host.is_root();
        let command = "runc".to_owned();
        // Mounts with mapped ids came with 1.2.
        let runtime = Runtime { command, around: Vec::new(), idmapped: false, rootless_user: false, groups };
        Self { host, runtime }
    }

    /// On a host that is the same wherever the tests run.
    #[cfg(test)]
    pub(super) fn described(uid: u32) -> Self {
        Self::on(oci::tests::described(uid))
    }
}

impl Adapter for Runc {
    fn name(&self) -> &'static str {
        "runc"
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

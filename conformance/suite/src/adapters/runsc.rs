//! runsc, the runtime of gVisor, with a bundle: a kernel of its own answers the workload's system calls.

use std::collections::BTreeMap;

use palisade_policy::{NetworkMode, Policy};

use super::oci::{self, Host, Runtime};
use super::{Adapter, Case, Exit, Inexpressible, Invocation, PolicySource};

/// `runsc` as found in `PATH`.
#[derive(Clone, Debug)]
pub struct Runsc {
    host: Host,
}

impl Runsc {
    /// For this host and user.
    pub fn here() -> Self {
        Self { host: Host::here() }
    }

    /// On a host that is the same wherever the tests run.
    #[cfg(test)]
    pub(super) fn described(uid: u32) -> Self {
        Self { host: oci::tests::described(uid) }
    }

    fn runtime(&self, network: NetworkMode) -> Runtime {
        // An empty network namespace is not enough: by default its own network stack is what the workload has, `host` hands on.
        let network = if network == NetworkMode::Open { "host" } else { "none" };
        let rootless = if self.host.is_root() { "" } else { " --rootless" };
        let command = format!("runsc --network={network} --ignore-cgroups{rootless}");
        Runtime { command, around: Vec::new(), idmapped: false, rootless_user: false, groups: false }
    }
}

impl Adapter for Runsc {
    fn name(&self) -> &'static str {
        "runsc"
    }

    fn detect(&self) -> Result<String, String> {
        oci::detect(self, &self.runtime(NetworkMode::None))
    }

    fn translate(&self, policy: PolicySource<'_>, case: Case<'_>) -> Result<Invocation, Inexpressible> {
        oci::invocation(&self.host, &self.runtime(policy.policy.network.mode), policy, case)
    }

    fn exit(&self, code: i32) -> Exit {
        oci::exit(code)
    }

    fn inexpressible(&self, policy: &Policy) -> BTreeMap<String, String> {
        oci::inexpressible(&self.host, &self.runtime(policy.network.mode), policy)
    }
}

//! Palisade's own runtime, met as an executable like any other.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use super::{Adapter, Case, Exit, Inexpressible, Invocation, PolicySource};

/// Exit code of the runtime for its own failures: policy, refusal, set-up.
const OWN_FAILURE: i32 = 125;

/// `palisade run`, under a policy or under a plan given as data.
#[derive(Clone, Debug)]
pub struct Palisade {
    exe: PathBuf,
    plan: Option<PathBuf>,
}

impl Palisade {
    /// Runs under the policy of the verification.
    pub fn with_policy(exe: impl Into<PathBuf>) -> Self {
        Self { exe: exe.into(), plan: None }
    }

    /// Runs under a plan instead: how a mutant runs.
    pub fn with_plan(exe: impl Into<PathBuf>, plan: impl Into<PathBuf>) -> Self {
        Self { exe: exe.into(), plan: Some(plan.into()) }
    }
}

impl Adapter for Palisade {
    fn name(&self) -> &'static str {
        "palisade"
    }

    fn detect(&self) -> Result<String, String> {
        let output = Command::new(&self.exe)
            .arg("--version")
            .output()
            .map_err(|error| format!("run {} --version: {error}", self.exe.display()))?;
        if !output.status.success() {
            return Err(format!("{} --version: {}", self.exe.display(), output.status));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn translate(&self, policy: PolicySource<'_>, case: Case<'_>) -> Result<Invocation, Inexpressible> {
        let mut argv: Vec<OsString> = vec![self.exe.clone().into(), "run".into()];
        match &self.plan {
            Some(plan) => argv.extend(["--plan".into(), plan.clone().into()]),
            Option::None => argv.extend(["--policy".into(), policy.argument.into()]),
        }
        argv.push("--".into());
        argv.extend(case.argv.iter().map(Into::into));
        Ok(Invocation { argv, env: Vec::new(), cwd: case.cwd.to_owned() })
    }

    fn exit(&self, code: i32) -> Exit {
        if code == OWN_FAILURE { Exit::Runtime } else { Exit::Workload(code) }
    }
}

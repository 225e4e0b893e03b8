//! Palisade's own runtime, met as an executable like any other.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{Adapter, Case, Exit, Inexpressible, Invocation, PolicySource};
use crate::entry::Entry;
use crate::mutants::Fault;
use crate::run::fault::around;
use crate::run::stage;

/// Exit code of the runtime for its own failures: policy, refusal, set-up.
const OWN_FAILURE: i32 = 125;

/// Exit code of the runtime at the wall-time limit.
const OUT_OF_TIME: i32 = 124;

/// `palisade run`, under a policy or under a plan given as data; or `palisade exec`, into a sandbox of its own.
#[derive(Clone, Debug)]
pub struct Palisade {
    exe: PathBuf,
    plan: Option<PathBuf>,
    entry: Entry,
    fault: Option<Fault>,
}

impl Palisade {
    /// Runs under the policy of the verification.
    pub fn with_policy(exe: impl Into<PathBuf>) -> Self {
        Self { exe: exe.into(), plan: None, entry: Entry::Run, fault: None }
    }

    /// Runs under a plan instead: how a mutant runs.
    pub fn with_plan(exe: impl Into<PathBuf>, plan: impl Into<PathBuf>) -> Self {
        Self { exe: exe.into(), plan: Some(plan.into()), entry: Entry::Run, fault: None }
    }

    /// The same, by another way in.
    #[must_use]
    pub fn through(mut self, entry: Entry) -> Self {
        self.entry = entry;
        self
    }

    /// The same with a supervisor that has a fault.
    #[must_use]
    pub fn with_fault(mut self, fault: Option<Fault>) -> Self {
        self.fault = fault;
        self
    }

    /// The file of a plan that also gives this time: a plan takes no time from the command line.
    pub fn timed(plan: &Path, time: Duration) -> PathBuf {
        plan.with_extension(format!("{}ms.json", time.as_millis()))
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
        let time = case.wall_time;
        if time.is_some() && self.entry == Entry::Exec {
            let why = "what is added to a sandbox has the time of the sandbox";
            return Err(Inexpressible { clause: "resources.wall_time".to_owned(), why: why.to_owned() });
        }
        let keeps = time.filter(|_| self.fault != Some(Fault::OnlyAsks));
        let what: [OsString; 2] = match (&self.plan, keeps) {
            (Some(plan), Some(time)) => ["--plan".into(), Self::timed(plan, time).into()],
            (Some(plan), Option::None) => ["--plan".into(), plan.clone().into()],
            (Option::None, _) => ["--policy".into(), policy.argument.into()],
        };
        let mut argv: Vec<OsString> = self.fault.map_or_else(Vec::new, |fault| around(fault, time).to_vec());
        if self.entry == Entry::Exec {
            argv.extend(stage::added(&self.exe, case.probe));
            argv.extend(what);
        } else {
            argv.extend([self.exe.clone().into(), "run".into()]);
            argv.extend(what);
        }
        if self.plan.is_none() {
            argv.extend(policy.carried.iter().map(Into::into));
        }
        if let (Option::None, Some(time)) = (&self.plan, keeps) {
            argv.push(format!("--wall-time={}ms", time.as_millis()).into());
        }
        argv.push("--".into());
        argv.extend(case.argv.iter().map(Into::into));
        Ok(Invocation { argv, env: Vec::new(), cwd: case.cwd.to_owned(), items: Vec::new() })
    }

    fn exit(&self, code: i32) -> Exit {
        match code {
            OWN_FAILURE => Exit::Runtime,
            OUT_OF_TIME => Exit::OutOfTime,
            code => Exit::Workload(code),
        }
    }

    fn declaration(&self, policy: PolicySource<'_>, cwd: &Path) -> Option<Invocation> {
        let mut argv: Vec<OsString> = vec![self.exe.clone().into(), "plan".into()];
        argv.extend(["--format".into(), "json".into(), "--policy".into(), policy.argument.into()]);
        argv.extend(policy.carried.iter().map(Into::into));
        Some(Invocation { argv, env: Vec::new(), cwd: cwd.to_owned(), items: Vec::new() })
    }

    fn downgrades(&self, printed: &[u8]) -> Result<BTreeMap<String, String>, String> {
        let plan: Value = serde_json::from_slice(printed).map_err(|error| error.to_string())?;
        let coverage = plan.get("coverage").and_then(Value::as_array).ok_or("the plan has no coverage")?;
        let downgraded = |clause: &Value| {
            let reason = clause.pointer("/status/downgraded")?.as_str()?;
            Some((clause.get("clause")?.as_str()?.to_owned(), reason.to_owned()))
        };
        Ok(coverage.iter().filter_map(downgraded).collect())
    }

    fn entry(&self) -> Entry {
        self.entry
    }
}

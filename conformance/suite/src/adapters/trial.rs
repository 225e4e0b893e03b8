//! Finding out whether a runtime works here: by having it run something.

use std::path::Path;
use std::process::{Command, Stdio};

use palisade_policy::Policy;

use super::{Adapter, Case, PolicySource};
use crate::run::scratch::{self, Scratch};

/// What is run.
const HARMLESS: &str = "/usr/bin/true";

/// The version, if `adapter` runs a program under the strictest policy.
///
/// # Errors
/// With the last line of what it says.
pub(super) fn run(adapter: &dyn Adapter, version: &str) -> Result<String, String> {
    let id = format!("trial-{}", adapter.name());
    let (policy, cwd, scratch) = (Policy::strictest("trial"), Path::new("/usr"), scratch::directory(&id));
    let argv = [HARMLESS.to_owned()];
    let root = rustix::process::geteuid().is_root();
    let case = Case { argv: &argv, cwd, wall_time: None, probe: cwd, id: &id, scratch: &scratch, root };
    let policy = PolicySource { argument: "", policy: &policy, carried: &[] };
    let invocation = adapter.translate(policy, case).map_err(|why| why.to_string())?;
    let _scratch = Scratch::with(&id, &invocation).map_err(|error| format!("prepare {version}: {error}"))?;
    let (program, arguments) = invocation.argv.split_first().ok_or("no command")?;
    let mut command = Command::new(program);
    command.args(arguments).envs(invocation.env).current_dir(&invocation.cwd).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("run {version}: {error}"))?;
    if output.status.success() {
        return Ok(version.to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
    Err(format!("{version} runs nothing here: {last}"))
}

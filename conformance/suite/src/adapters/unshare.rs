//! unshare(1) and setpriv(1): what one gets by namespaces alone, as many wrappers do it. The naive baseline.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Command;

use palisade_policy::{NetworkMode, Policy};

use super::{Adapter, Case, Exit, Inexpressible, Invocation, PolicySource};

/// `unshare` and `setpriv` of util-linux, as found in `PATH`.
#[derive(Clone, Copy, Debug)]
pub struct Unshare;

impl Adapter for Unshare {
    fn name(&self) -> &'static str {
        "unshare"
    }

    fn detect(&self) -> Result<String, String> {
        super::version(Command::new("unshare").arg("--version"))
    }

    fn translate(&self, policy: PolicySource<'_>, case: Case<'_>) -> Result<Invocation, Inexpressible> {
        if case.wall_time.is_some() {
            let why = "nobody keeps the time".to_owned();
            return Err(Inexpressible { clause: "resources.wall_time".to_owned(), why });
        }
        let mut argv: Vec<OsString> = Vec::new();
        let mut say = |words: &[&str]| argv.extend(words.iter().map(OsString::from));
        say(&["unshare", "--user", "--map-current-user", "--mount", "--ipc", "--uts", "--cgroup"]);
        // The first process of the new pid namespace dies with its parent; /proc is that of the namespace.
        say(&["--pid", "--fork", "--kill-child", "--mount-proc"]);
        if policy.policy.network.mode != NetworkMode::Open {
            say(&["--net"]);
        }
        say(&["--", "setpriv", "--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all"]);
        say(&["--bounding-set=-all", "env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin"]);
        argv.extend(case.argv.iter().map(Into::into));
        Ok(Invocation { argv, env: Vec::new(), cwd: case.cwd.to_owned(), items: Vec::new() })
    }

    fn exit(&self, code: i32) -> Exit {
        Exit::Workload(code)
    }

    fn inexpressible(&self, _policy: &Policy) -> BTreeMap<String, String> {
        let all = [
            ("filesystem", "unshare has no view of files of its own"),
            ("process.syscalls", "unshare has no filter"),
            ("process.terminal", "unshare gives no terminal"),
            ("process.nested_namespaces", "unshare leaves namespaces to be made"),
            ("resources", "unshare limits nothing"),
        ];
        all.map(|(clause, why)| (clause.to_owned(), why.to_owned())).into()
    }
}

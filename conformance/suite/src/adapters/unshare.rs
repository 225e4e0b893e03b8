//! unshare(1) and setpriv(1): what one gets by namespaces alone, as many wrappers do it. The naive baseline.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Command;

use palisade_policy::{NetworkMode, Policy};

use super::etc;
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
        if case.root {
            // A namespace with one group cannot be made to forget the others.
            say(&["setpriv", "--clear-groups"]);
        }
        let (user, group) = (
            format!("--map-user={}", etc::id(policy.policy)),
            format!("--map-group={}", etc::id(policy.policy)),
        );
        // The capabilities of the new user namespace are kept until its own loopback is up and its name is set.
        say(&["unshare", "--user", &user, &group, "--keep-caps", "--mount", "--ipc", "--uts", "--cgroup"]);
        // The first process of the new pid namespace dies with its parent; /proc is that of the namespace.
        say(&["--pid", "--fork", "--kill-child", "--mount-proc"]);
        if policy.policy.network.mode == NetworkMode::Open {
            say(&["--", "sh", "-c", "hostname palisade; exec \"$@\"", "sh"]);
        } else {
            say(&["--net", "--", "sh", "-c", "hostname palisade; ip link set lo up; exec \"$@\"", "sh"]);
        }
        say(&["setpriv", "--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all"]);
        say(&["env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp"]);
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
            ("ns/uid-map-no-host-root", "unshare maps the caller's own ids and no others"),
            ("ns/gid-map-no-host-root", "unshare maps the caller's own ids and no others"),
            ("ns/domainname-own", "unshare sets no NIS domain name"),
            ("ipc/vsock-*", "unshare has no filter"),
            ("xmem/first-process-*", "the workload itself is the first process"),
            ("life/beside/*", "unshare has no view of files of its own"),
            ("life/sig*-forwarded", "unshare passes on no signal"),
            ("life/signal-code", "unshare does not tell a signal from an exit status"),
        ];
        all.map(|(clause, why)| (clause.to_owned(), why.to_owned())).into()
    }
}

//! minijail0(1), into a root of the run's own by pivot_root.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use palisade_policy::{Access, Base, NetworkMode, Policy};

use super::etc;
use super::parts::{no_groups, present, rarely, rules, timed, tried, with_environment};
use super::{Adapter, Case, Exit, Inexpressible, Invocation, Item, PolicySource};

/// Exit code of timeout(1) when the time was up.
const OUT_OF_TIME: i32 = 124;

/// Directories that links lead to from the root.
const LINKS: &[(&str, &str)] = &[("bin", "/bin"), ("lib", "/lib"), ("lib64", "/lib64"), ("sbin", "/sbin")];

/// `minijail0` as found in `PATH`, started by whoever has these ids.
#[derive(Clone, Copy, Debug)]
pub struct Minijail {
    uid: u32,
    gid: u32,
}

impl Minijail {
    /// Started by the caller.
    pub fn here() -> Self {
        Self { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
    }

    #[cfg(test)]
    pub(super) const fn described(uid: u32, gid: u32) -> Self {
        Self { uid, gid }
    }
}

impl Adapter for Minijail {
    fn name(&self) -> &'static str {
        "minijail"
    }

    fn detect(&self) -> Result<String, String> {
        // It has no flag for a version.
        let mut command = Command::new("minijail0");
        tried("minijail0".to_owned(), command.args(["-U", "-v", "-p", "--logging=stderr", "--", "/bin/true"]))
    }

    fn translate(&self, policy: PolicySource<'_>, case: Case<'_>) -> Result<Invocation, Inexpressible> {
        let root = case.scratch.join("root");
        let mut argv = timed(case);
        argv.extend(with_environment(policy, &["HOME=/tmp"]));
        let policy = policy.policy;
        let mut say = |words: &[&str]| argv.extend(words.iter().map(OsString::from));
        // What it says goes to standard error, and only what is wrong.
        say(&["minijail0", "--logging=stderr"]);
        // Namespaces: user with one id, mount, pid, ipc, cgroup, uts; the network is left only where the policy leaves all of it.
        let id = etc::id(policy);
        say(&["-U", &format!("-m{id} {} 1", self.uid), &format!("-M{id} {} 1", self.gid)]);
        say(&["-u", id, "-g", id]);
        say(&["-v", "-p", "-l", "-N", "--uts=palisade"]);
        if policy.network.mode != NetworkMode::Open {
            say(&["-e"]);
        }
        // No capability in any set (a mask of none), no privilege by executing a file. A static program cannot be preloaded.
        say(&["-c", "0", "-n", "-T", "static"]);
        let resources = &policy.resources;
        // setrlimit(2) by number: RLIMIT_NOFILE 7, RLIMIT_FSIZE 1, RLIMIT_CORE 4.
        for (limit, value) in [(7, u64::from(resources.open_files)), (1, resources.file_size.bytes()), (4, 0)]
        {
            say(&["-R", &format!("{limit},{value},{value}")]);
        }
        // The root; /proc read-only, a /dev of its own, /tmp of the size that the policy says.
        say(&["-P", &root.display().to_string(), "-r", "-d"]);
        say(&[&format!("-t{}", policy.filesystem.tmp.bytes())]);
        let (mut items, mut files) = (Vec::new(), Vec::new());
        let mut place = |path: &Path| {
            let inside = root.join(path.strip_prefix("/").unwrap_or(path));
            items.push(if path.is_file() { Item::File(inside, Vec::new()) } else { Item::Directory(inside) });
        };
        ["/proc", "/dev", "/tmp", "/var/tmp"].iter().for_each(|path| place(Path::new(path)));
        if policy.filesystem.base == Base::Host {
            place(Path::new("/usr"));
            say(&["-b", "/usr,/usr"]);
            for (from, to) in LINKS {
                // Directories of /usr a second time: it makes no links.
                place(Path::new(to));
                say(&["-b", &format!("/usr/{from},{to}")]);
            }
            for path in present(etc::OF_HOST) {
                place(Path::new(path));
                say(&["-b", &format!("{path},{path}")]);
            }
            // Files of the root itself.
            let own = etc::files(policy, &root).into_iter();
            own.for_each(|(item, ..)| files.push(item));
        }
        for (access, path) in rules(policy, case)? {
            place(&path);
            let path = path.display();
            match access {
                Access::ReadOnly => say(&["-b", &format!("{path},{path}")]),
                Access::ReadWrite => say(&["-b", &format!("{path},{path},1")]),
                Access::Hidden => say(&["-k", &format!("none,{path},tmpfs,0x1,size=4k,mode=0000")]),
            }
        }
        items.append(&mut files);
        // It starts in the root.
        say(&["--", "/bin/sh", "-c", r#"cd "$0" && exec "$@""#, &case.cwd.display().to_string()]);
        argv.extend(case.argv.iter().map(Into::into));
        Ok(Invocation { argv, env: Vec::new(), cwd: case.cwd.to_owned(), items })
    }

    fn exit(&self, code: i32) -> Exit {
        match code {
            OUT_OF_TIME => Exit::OutOfTime,
            code => Exit::Workload(code),
        }
    }

    fn inexpressible(&self, policy: &Policy) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let mut cannot = |clause: &str, why: &str| {
            all.insert(clause.to_owned(), why.to_owned());
        };
        rarely(policy, &mut cannot);
        no_groups(policy, &mut cannot);
        cannot("process.syscalls", "it takes a filter from a file (-S) and ships none");
        cannot("process.nested_namespaces", "without a filter namespaces can be made");
        cannot("resources.wall_time", "it keeps no time; timeout(1) ends it from outside");
        if policy.network.mode != NetworkMode::None {
            cannot("network", "minijail0 has the host's network or none");
        }
        if !policy.filesystem.no_execute.is_empty() {
            cannot("filesystem.no_execute", "what it binds cannot be said to be noexec");
        }
        all
    }
}

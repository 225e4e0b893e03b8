//! nsjail(1), in its mode for one command, into a root of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Command;

use palisade_policy::{Access, Base, NetworkMode, Policy};

use super::etc;
use super::parts::{PATH, present, rarely, rules, tried, whole_seconds};
use super::{Adapter, Case, Exit, Inexpressible, Invocation, PolicySource};

/// Exit code for its own failures (nsjail.cc: `0xff`).
const OWN_FAILURE: i32 = 255;

/// `nsjail` as found in `PATH`.
#[derive(Clone, Copy, Debug)]
pub struct Nsjail;

impl Adapter for Nsjail {
    fn name(&self) -> &'static str {
        "nsjail"
    }

    fn detect(&self) -> Result<String, String> {
        // It has no flag for a version.
        let mut command = Command::new("nsjail");
        tried("nsjail".to_owned(), command.args(["-Mo", "-Q", "--chroot", "/", "--", "/bin/true"]))
    }

    fn translate(&self, policy: PolicySource<'_>, case: Case<'_>) -> Result<Invocation, Inexpressible> {
        let policy = policy.policy;
        let mut argv: Vec<OsString> = Vec::new();
        let mut items = Vec::new();
        let mut say = |words: &[&str]| argv.extend(words.iter().map(OsString::from));
        // One command, once; of its own it says errors only. User, mount, pid, ipc, uts and cgroup namespaces it makes by itself.
        say(&["nsjail", "-Mo", "-Q", "--hostname", "palisade"]);
        if policy.network.mode == NetworkMode::Open {
            say(&["--disable_clone_newnet"]);
        }
        // The caller's id is the one that the policy names.
        let id = etc::id(policy);
        say(&["--user", id, "--group", id]);
        // No capability is kept and no_new_privs is set unless a flag says otherwise.
        policy.process.capabilities.iter().for_each(|name| say(&["--cap", name]));
        let resources = &policy.resources;
        say(&["--rlimit_nofile", &resources.open_files.to_string(), "--rlimit_core", "0"]);
        // In MiB, rounded up.
        say(&["--rlimit_fsize", &resources.file_size.bytes().div_ceil(1 << 20).to_string()]);
        // Its own limits where the policy has none: of memory 4 GiB a process, of processor time 600 s.
        say(&["--rlimit_as", "inf", "--rlimit_stack", "soft", "--rlimit_nproc", "soft"]);
        match resources.cpu_time {
            Some(time) => say(&["--rlimit_cpu", &whole_seconds(time).to_string()]),
            None => say(&["--rlimit_cpu", "inf"]),
        }
        // Of time 600 s by itself; 0 is none. It counts whole seconds.
        let time = case.wall_time.or(resources.wall_time).map_or(0, whole_seconds);
        say(&["--time_limit", &time.to_string()]);
        if let Some(size) = resources.memory {
            say(&["--cgroup_mem_max", &size.bytes().to_string()]);
        }
        say(&["--cgroup_pids_max", &resources.processes.to_string()]);
        if let Some(thousandths) = resources.millicpus {
            say(&["--cgroup_cpu_ms_per_sec", &thousandths.to_string()]);
        }
        // The root is an empty tmpfs that cannot be written.
        if policy.filesystem.base == Base::Host {
            say(&["--bindmount_ro", "/usr"]);
            for link in
                ["/usr/bin:/bin", "/usr/lib:/lib", "/usr/lib64:/lib64", "/usr/sbin:/sbin", "/tmp:/var/tmp"]
            {
                say(&["--symlink", link]);
            }
            present(etc::OF_HOST).for_each(|path| say(&["--bindmount_ro", path]));
            for (item, source, target) in etc::files(policy, case.scratch) {
                items.push(item);
                say(&["--bindmount_ro", &format!("{}:{}", source.display(), target.display())]);
            }
        }
        for device in ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"] {
            say(&["--bindmount", device]);
        }
        let tmp = format!("none:/tmp:tmpfs:size={},mode=1777", policy.filesystem.tmp.bytes());
        say(&["--mount", &tmp, "--mount", &tmp.replace(":/tmp:", ":/dev/shm:")]);
        for (access, path) in rules(policy, case)? {
            let path = path.display().to_string();
            match access {
                Access::ReadOnly => say(&["--bindmount_ro", &path]),
                Access::ReadWrite => say(&["--bindmount", &path]),
                Access::Hidden => say(&["--mount", &format!("none:{path}:tmpfs:ro,size=0,mode=0000")]),
            }
        }
        // The caller's variables are not passed on (--keep_env).
        say(&["--env", &format!("PATH={PATH}"), "--env", "HOME=/tmp"]);
        policy.environment.set.iter().for_each(|(name, value)| say(&["--env", &format!("{name}={value}")]));
        say(&["--cwd", &case.cwd.display().to_string(), "--"]);
        argv.extend(case.argv.iter().map(Into::into));
        Ok(Invocation { argv, env: Vec::new(), cwd: case.cwd.to_owned(), items })
    }

    fn exit(&self, code: i32) -> Exit {
        match code {
            OWN_FAILURE => Exit::Runtime,
            // At its limit of time it kills, which no code tells from another kill.
            code => Exit::Workload(code),
        }
    }

    fn inexpressible(&self, policy: &Policy) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let mut cannot = |clause: &str, why: &str| {
            all.insert(clause.to_owned(), why.to_owned());
        };
        rarely(policy, &mut cannot);
        cannot(
            "process.syscalls",
            "it takes a filter in a language of its own (--seccomp_policy) and ships none",
        );
        if policy.network.mode != NetworkMode::None {
            cannot(
                "network",
                "nsjail has the host's network, none, or an interface beside one of the host's",
            );
        }
        if !policy.filesystem.no_execute.is_empty() {
            cannot("filesystem.no_execute", "what it binds cannot be said to be noexec");
        }
        all
    }
}

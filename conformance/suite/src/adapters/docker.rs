//! docker-run(1): a container of an image that is imported for the run, of nothing but places to mount on.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use palisade_policy::Policy;

use super::oci::profile::Profile;
use super::view::{self, Shown, View};
use super::{Adapter, Case, Exit, Inexpressible, Invocation, Item, PolicySource, containers, trial};

/// Exit code of timeout(1) when the time was up.
const OUT_OF_TIME: i32 = 124;

/// The image is as large as a few links and files, and goes with the container. A terminal where the caller has one.
const START: &str = "image=palisade-$1; shift; tar -C \"$0/root\" -c . | docker import - \"$image\" >/dev/null || exit 125; \
                     test -t 0 && terminal=--tty; \
                     docker run $terminal \"$@\"; code=$?; docker image rm \"$image\" >/dev/null; exit $code";

/// `docker` as found in `PATH`, with a daemon.
#[derive(Clone, Debug)]
pub struct Docker {
    etc: Vec<PathBuf>,
    profile: Profile,
}

impl Docker {
    /// For this host.
    pub fn here() -> Self {
        Self { etc: view::etc(), profile: Profile::here() }
    }

    /// On a host that is the same wherever the tests run.
    #[cfg(test)]
    pub(super) fn described() -> Self {
        Self { etc: vec!["/etc/ssl/certs".into()], profile: super::oci::profile::tests::small() }
    }
}

impl Adapter for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn detect(&self) -> Result<String, String> {
        let version = super::version(Command::new("docker").arg("--version"))?;
        trial::run(self, &version)
    }

    fn translate(&self, policy: PolicySource<'_>, case: Case<'_>) -> Result<Invocation, Inexpressible> {
        let policy = policy.policy;
        let view = View::of(policy, case, &self.etc)?;
        let filter = case.scratch.join("seccomp.json");
        let mut run = containers::options(policy, case, true, &filter.display().to_string());
        let mut say = |words: &[&str]| run.extend(words.iter().map(|word| (*word).to_owned()));
        // A cgroup namespace and IPC of its own, whatever the daemon's defaults are; nothing is kept of what it prints.
        say(&["--cgroupns", "private", "--ipc", "private", "--log-driver", "none"]);
        say(&["--user", containers::user(policy)]);
        say(&["--tmpfs", &containers::tmp(policy, view.no_execute_tmp)]);
        for shown in &view.shown {
            let path = shown.path().display().to_string();
            match shown {
                Shown::Empty(_) => {
                    say(&["--tmpfs", &format!("{path}:ro,nosuid,nodev,noexec,mode=755,size=64k")])
                }
                // Read-only with what is mounted below it, too (since 25.0).
                Shown::Host(bind) => {
                    let access = if bind.writable { "" } else { ",readonly,bind-recursive=readonly" };
                    let mount =
                        format!("type=bind,source={path},target={path}{access},bind-propagation=rprivate");
                    say(&["--mount", &mount]);
                }
            }
        }
        for path in &view.hidden {
            let (file, path) = (path.is_file(), path.display());
            match file {
                true => say(&["--mount", &format!("type=bind,source=/dev/null,target={path},readonly")]),
                false => say(&["--tmpfs", &format!("{path}:ro,nosuid,nodev,noexec,mode=000,size=64k")]),
            }
        }
        let mut argv: Vec<OsString> = Vec::new();
        if let Some(time) = case.wall_time {
            // The client hands the signal on to the container's first process, through which it ends the workload.
            let time = format!("{}s", time.as_secs_f64());
            argv.extend(["timeout", "--kill-after=5s", &time].map(OsString::from));
        }
        argv.extend(["sh", "-c", START].map(OsString::from));
        argv.extend([case.scratch.into(), case.id.into()]);
        argv.extend(run.iter().map(OsString::from));
        argv.push(format!("palisade-{}", case.id).into());
        argv.extend(case.argv.iter().map(Into::into));
        let mut items = view.places(policy, case, &case.scratch.join("root"));
        let profile = self.profile.file(&policy.process, policy.network.mode);
        items.push(Item::File(filter, serde_json::to_vec(&profile).unwrap_or_default()));
        Ok(Invocation { argv, env: Vec::new(), cwd: case.cwd.to_owned(), items })
    }

    fn exit(&self, code: i32) -> Exit {
        match code {
            OUT_OF_TIME => Exit::OutOfTime,
            containers::ENGINE_FAILED => Exit::Runtime,
            code => Exit::Workload(code),
        }
    }

    fn inexpressible(&self, policy: &Policy) -> BTreeMap<String, String> {
        let mut all = containers::inexpressible(policy, true);
        let mut cannot = |clause: &str, why: &str| {
            all.insert(clause.to_owned(), why.to_owned());
        };
        cannot("resources.wall_time", "docker keeps no time; timeout(1) ends it from outside");
        if containers::no_execute_elsewhere(policy) {
            cannot("filesystem.no_execute", "docker mounts nothing of the host noexec");
        }
        all
    }
}

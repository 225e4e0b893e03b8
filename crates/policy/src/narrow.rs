//! Making a policy stricter for one run, from the command line. Never looser: whatever would widen is an error that
//! names what the policy declares and what was asked for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::diagnostic::printable;
use crate::paths::{check_path, lexically_resolved};
use crate::policy::{
    Access, Clause, Dns, Filesystem, NetworkMode, PathEntry, PathRule, Policy, Proxy, Resources, Workspace,
};
use crate::refusal::Refusal;
use crate::units::{ByteSize, check_cpu_time};

/// What a run asks for beyond its policy. The default asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrowing {
    /// The network mode, at most the declared one.
    pub network: Option<NetworkMode>,
    /// Memory of the whole sandbox.
    pub memory: Option<ByteSize>,
    /// Processes and threads of the whole sandbox.
    pub processes: Option<u32>,
    /// Processor time per wall time, in thousandths of one processor ([`crate::units::parse_cpus`]).
    pub millicpus: Option<u32>,
    /// Processor time, in whole seconds.
    pub cpu_time: Option<Duration>,
    /// Time from start to the kill.
    pub wall_time: Option<Duration>,
    /// Open descriptors per process.
    pub open_files: Option<u32>,
    /// Size of one file.
    pub file_size: Option<ByteSize>,
    /// Bytes of standard output and standard error together.
    pub output: Option<ByteSize>,
    /// The size of the private `/tmp`.
    pub tmp: Option<ByteSize>,
    /// Where changes go: from the real directories to a private layer or copy.
    pub workspace: Option<Workspace>,
    /// The size of the private file system of the workspace.
    pub disk: Option<ByteSize>,
    /// Environment variables that the workload shall not see.
    pub drop_environment: Vec<String>,
    /// Paths below which nothing may be changed, whatever rule says so.
    pub read_only: Vec<PathBuf>,
    /// Paths below which nothing may be reached, whatever rule says so.
    pub hidden: Vec<PathBuf>,
}

impl Policy {
    /// Applies `narrowing` for a run that starts in `cwd`, to which relative paths refer.
    ///
    /// A path made read-only or hidden is so with everything below it: rules below that say more lose.
    ///
    /// # Errors
    ///
    /// Everything that was asked for and would widen the policy, or that no sandbox can keep. The policy is then
    /// what it was.
    pub fn narrow(&mut self, narrowing: &Narrowing, cwd: &Path) -> Result<(), Vec<Refusal>> {
        let mut narrowed = self.clone();
        let mut refusals = Vec::new();
        narrowed.narrow_network(narrowing, &mut refusals);
        narrowed.narrow_limits(narrowing, &mut refusals);
        narrowed.filesystem.narrow_workspace(narrowing, &mut refusals);
        narrowed.narrow_environment(narrowing);
        if !narrowing.read_only.is_empty() || !narrowing.hidden.is_empty() {
            narrowed.filesystem.narrow_paths(narrowing, cwd, &mut refusals);
        }
        if !refusals.is_empty() {
            return Err(refusals);
        }
        *self = narrowed;
        Ok(())
    }

    fn narrow_network(&mut self, narrowing: &Narrowing, refusals: &mut Vec<Refusal>) {
        let Some(asked) = narrowing.network else { return };
        if asked > self.network.mode {
            refusals.push(widening("network mode", self.network.mode, asked));
            return;
        }
        self.network.mode = asked;
        if asked == NetworkMode::None {
            let network = &mut self.network;
            network.allow.clear();
            network.dns = Dns::default();
            network.publish.clear();
            network.proxy = Proxy::None;
        }
    }

    fn narrow_limits(&mut self, narrowing: &Narrowing, refusals: &mut Vec<Refusal>) {
        let Resources { memory, processes, millicpus, cpu_time, wall_time, open_files, file_size, output } =
            &mut self.resources;
        let mut lower = Lower { refusals };
        lower.optional("memory", memory, narrowing.memory, Resources::MIN_MEMORY);
        lower.required("processes", processes, narrowing.processes, *Resources::PROCESSES.start());
        lower.required("open_files", open_files, narrowing.open_files, *Resources::OPEN_FILES.start());
        lower.required("file_size", file_size, narrowing.file_size, ByteSize::default());
        lower.optional("output", output, narrowing.output, ByteSize::default());
        lower.required("tmp", &mut self.filesystem.tmp, narrowing.tmp, Filesystem::MIN_TMP);

        let least = Shown(Duration::from_millis(1));
        for (what, limit, asked) in
            [("cpu_time", cpu_time, narrowing.cpu_time), ("wall_time", wall_time, narrowing.wall_time)]
        {
            let mut shown = limit.map(Shown);
            lower.optional(what, &mut shown, asked.map(Shown), least);
            *limit = shown.map(|Shown(time)| time);
        }
        let mut shown = millicpus.map(Cpus);
        lower.optional("cpus", &mut shown, narrowing.millicpus.map(Cpus), Cpus(10));
        *millicpus = shown.map(|Cpus(millicpus)| millicpus);
        if let Some(Err(refusal)) = narrowing.cpu_time.map(check_cpu_time) {
            refusals.push(refusal);
        }
    }

    fn narrow_environment(&mut self, narrowing: &Narrowing) {
        let environment = &mut self.environment;
        let keeps = |name: &String| !narrowing.drop_environment.contains(name);
        environment.pass.retain(keeps);
        environment.set.retain(|name, _| keeps(name));
        environment.force.retain(keeps);
    }
}

/// Lowers limits, and collects what would raise one.
struct Lower<'r> {
    refusals: &'r mut Vec<Refusal>,
}

impl Lower<'_> {
    fn required<T: Copy + PartialOrd + fmt::Display>(
        &mut self,
        what: &str,
        limit: &mut T,
        asked: Option<T>,
        least: T,
    ) {
        let Some(asked) = asked else { return };
        if asked > *limit {
            self.refusals.push(widening(what, *limit, asked));
        } else if asked < least {
            let help = format!("it is at least {least}");
            self.refusals.push(Refusal::new(format!("{what} of {asked} is too small"), help));
        } else {
            *limit = asked;
        }
    }

    /// A limit that need not be declared: then any is narrower.
    fn optional<T: Copy + PartialOrd + fmt::Display>(
        &mut self,
        what: &str,
        limit: &mut Option<T>,
        asked: Option<T>,
        least: T,
    ) {
        let Some(some) = asked else { return };
        let mut new = limit.unwrap_or(some);
        self.required(what, &mut new, asked, least);
        *limit = Some(new);
    }
}

/// A duration in the units of a policy.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct Shown(Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

const ONLY_NARROWER: &str = "a run may only narrow its policy; change the policy file instead";

/// A number of processors, in thousandths.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct Cpus(u32);

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / 1000.0)
    }
}

fn widening(what: &str, declared: impl fmt::Display, asked: impl fmt::Display) -> Refusal {
    Refusal::new(format!("{what} {asked} would widen the policy, which declares {declared}"), ONLY_NARROWER)
}

impl Filesystem {
    /// A private workspace lets less out than the real directories; of two private ones neither is wider.
    fn narrow_workspace(&mut self, narrowing: &Narrowing, refusals: &mut Vec<Refusal>) {
        match narrowing.workspace {
            None => {}
            Some(Workspace::Direct) if self.workspace != Workspace::Direct => {
                refusals.push(widening("workspace", self.workspace, Workspace::Direct));
            }
            Some(asked) if asked == self.workspace => {}
            Some(asked) => {
                if self.rules.iter().any(|rule| rule.access == Access::ReadWrite) {
                    self.workspace = asked;
                } else {
                    let message = format!("workspace {asked} cannot act: no path is read-write");
                    refusals.push(Refusal::new(message, "the policy lets nothing be changed"));
                }
            }
        }
        if narrowing.disk.is_some() && self.workspace == Workspace::Direct {
            let message = "disk cannot act: the workspace is direct";
            refusals.push(Refusal::new(message, "ask for `--workspace overlay` too"));
            return;
        }
        let mut lower = Lower { refusals };
        lower.required("disk", &mut self.disk, narrowing.disk, Self::MIN_DISK);
    }

    fn narrow_paths(&mut self, narrowing: &Narrowing, cwd: &Path, refusals: &mut Vec<Refusal>) {
        if let Err(errors) = self.resolve(cwd) {
            let refusal =
                |error: crate::ResolveError| Refusal::new(error.to_string(), "correct the policy first");
            refusals.extend(errors.into_iter().map(refusal));
            return;
        }
        for path in narrowing.read_only.iter().chain(&narrowing.hidden) {
            refusals.extend(check_path(path).err());
        }
        for (index, path) in narrowing.read_only.iter().enumerate() {
            self.make_read_only(Clause::entry("narrowing.read_only", index), path, cwd, refusals);
        }
        for (index, path) in narrowing.hidden.iter().enumerate() {
            self.hide(Clause::entry("narrowing.hidden", index), path, cwd, refusals);
        }
    }

    /// Takes the right to write from `path` and from every rule below it. A new rule is added only where that leaves
    /// less than before: elsewhere it would make something readable that was not.
    fn make_read_only(&mut self, clause: Clause, path: &Path, cwd: &Path, refusals: &mut Vec<Refusal>) {
        let target = lexically_resolved(&cwd.join(path));
        let declared = self.resolve(cwd).ok().and_then(|rules| rules.access(&target));
        let has_rule = |rule: &PathRule| lexically_resolved(&cwd.join(&rule.entry.path)) == target;
        let needs_rule = declared == Some(Access::ReadWrite) && !self.rules.iter().any(has_rule);
        let mut is_below = false;
        for rule in &mut self.rules {
            if lexically_resolved(&cwd.join(&rule.entry.path)).starts_with(&target) {
                is_below = true;
                rule.access = rule.access.min(Access::ReadOnly);
            }
        }
        let declares = match declared {
            Some(Access::Hidden) => "hides it",
            None if !is_below => "does not allow it at all",
            _ => "",
        };
        if !declares.is_empty() {
            let shown = printable(&path.to_string_lossy());
            let message = format!("path `{shown}` as read-only would widen the policy, which {declares}");
            refusals.push(Refusal::new(message, ONLY_NARROWER));
        }
        if needs_rule {
            self.rules.push(rule(Access::ReadOnly, clause, path));
        }
    }

    /// Hides `path`, and drops every rule below it, which would open it again.
    fn hide(&mut self, clause: Clause, path: &Path, cwd: &Path, refusals: &mut Vec<Refusal>) {
        let target = lexically_resolved(&cwd.join(path));
        if target == Path::new("/") {
            refusals
                .push(Refusal::new("the root directory cannot be hidden", "hide what must not be reached"));
            return;
        }
        self.rules.retain(|rule| !lexically_resolved(&cwd.join(&rule.entry.path)).starts_with(&target));
        self.no_execute.retain(|entry| !lexically_resolved(&cwd.join(&entry.path)).starts_with(&target));
        self.rules.push(rule(Access::Hidden, clause, path));
    }
}

fn rule(access: Access, clause: Clause, path: &Path) -> PathRule {
    PathRule { access, entry: PathEntry { clause, path: path.to_owned(), optional: false } }
}

#[cfg(test)]
mod tests;

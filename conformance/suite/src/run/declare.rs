//! What a runtime itself says that it can only enforce in part on this host.
//!
//! A runtime that says so is not found out when a probe shows it: such a breach is *unsupported*, with the runtime's own
//! reason. What it enforces all the same is held.

use std::collections::BTreeMap;
use std::io;
use std::process::{Command, Output, Stdio};

use super::{Runner, case, no_fork_meanwhile};
use crate::adapters::Adapter;
use crate::catalogue::Probe;
use crate::glob;
use crate::verdict::{Gap, Verdict};

/// How the reason begins of what a runtime has no means for: the clause and why follow.
pub const NO_MEANS: &str = "the runtime has no means for";

/// How the reason begins of what a runtime says of itself that it cannot wholly enforce here.
pub const IN_PART: &str = "the runtime says that it enforces";

/// Clauses of the policy with reasons.
#[derive(Debug, Default)]
pub struct Declared {
    /// What the runtime says itself.
    parts: BTreeMap<String, String>,
    /// What its adapter knows it to have no means for.
    inexpressible: BTreeMap<String, String>,
}

impl Declared {
    /// Asks the runtime. One that has no way to say it, or refuses the policy, has declared nothing: its runs will show.
    ///
    /// # Errors
    /// When it cannot be started, or prints something else than it should.
    pub fn by(runner: &Runner<'_>, adapter: &dyn Adapter) -> io::Result<Self> {
        let inexpressible = adapter.inexpressible(runner.policy.policy);
        let parts = match asked(runner, adapter)?.filter(|output| output.status.success()) {
            Some(output) => adapter.downgrades(&output.stdout).map_err(io::Error::other)?,
            None => BTreeMap::new(),
        };
        Ok(Self { parts, inexpressible })
    }

    /// The verdict, with what the runtime has said about the clause.
    pub fn applied(&self, probe: &Probe, verdict: Verdict) -> Verdict {
        // That it could not be told says nothing more where there are no means; that the suite failed does.
        let failed = match &verdict {
            Verdict::Breached(_) | Verdict::OverBlocked(_) => true,
            Verdict::Inconclusive(gap) => matches!(gap, Gap::Setup(_) | Gap::Control(_) | Gap::TimedOut),
            _ => false,
        };
        if let Some(reason) = self.no_means(probe).filter(|_| failed) {
            let clause = &probe.clause;
            return Verdict::Unsupported(format!("{NO_MEANS} {clause}: {reason}"));
        }
        match (&verdict, self.parts.get(probe.clause.as_str())) {
            (Verdict::Breached(_), Some(reason)) => {
                Verdict::Unsupported(format!("{IN_PART} {} only in part here: {reason}", probe.clause))
            }
            _ => verdict,
        }
    }
}

impl Declared {
    /// Why the runtime has no means for what a probe is about, if it has none: for its clause, for what that is part of, or for
    /// probes of this kind.
    fn no_means(&self, probe: &Probe) -> Option<&str> {
        let clause = probe.clause.as_str();
        let below = |whole: &str| {
            clause.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let about = |what: &str| below(what) || what.contains('/') && glob::matches(what, &probe.id);
        let (_, reason) = self.inexpressible.iter().find(|(what, _)| about(what))?;
        Some(reason)
    }
}

/// What the runtime prints when it is asked what it can enforce; `None` for one that cannot be asked.
fn asked(runner: &Runner<'_>, adapter: &dyn Adapter) -> io::Result<Option<Output>> {
    let cwd = &runner.lab.world().work.dir;
    let Some(invocation) = adapter.declaration(runner.policy, cwd) else { return Ok(None) };
    let printed = runner.each(
        &[()],
        |()| false,
        |place, ()| {
            let _stand = place.stand(&[])?;
            let Some((program, arguments)) = invocation.argv.split_first() else { return Ok(None) };
            let mut command = Command::new(program);
            command.args(arguments).current_dir(&invocation.cwd);
            command.env_clear().envs(case::environment(runner.lab)).envs(invocation.env.iter().cloned());
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let child = {
                let _alone = no_fork_meanwhile();
                runner.lab.spawn(&mut command)?
            };
            child.wait_with_output().map(Some)
        },
    )?;
    Ok(printed.into_iter().collect::<io::Result<Vec<_>>>()?.into_iter().flatten().next())
}

/// Why the runtime refuses the policy here, in its own words, if it does.
///
/// # Errors
/// When it cannot be started.
pub fn refusal(runner: &Runner<'_>, adapter: &dyn Adapter) -> io::Result<Option<String>> {
    let refused = asked(runner, adapter)?.filter(|output| !output.status.success());
    Ok(refused.map(|output| String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Severity;

    #[test]
    fn only_a_breach_of_what_was_declared_is_excused() {
        let probe = |clause| Probe::denies("res/x", Severity::Low).serves(clause, "RES-3");
        let declared = Declared {
            parts: BTreeMap::from([("resources.memory".into(), "no cgroup".into())]),
            inexpressible: BTreeMap::from([
                ("filesystem".into(), "no files".into()),
                ("res/y*".into(), "descriptors stay open".into()),
            ]),
        };
        let breached = || Verdict::Breached("it did".into());
        let excused = declared.applied(&probe("resources.memory"), breached());
        assert_eq!(
            excused.to_string(),
            "unsupported: the runtime says that it enforces resources.memory only in part here: no cgroup"
        );
        let unable = declared.applied(&probe("filesystem.hidden[0]"), Verdict::OverBlocked("it is".into()));
        assert_eq!(
            unable.to_string(),
            "unsupported: the runtime has no means for filesystem.hidden[0]: no files"
        );
        assert_eq!(declared.applied(&probe("filesystems"), breached()), breached());
        assert_eq!(declared.applied(&probe("filesystem"), Verdict::Held), Verdict::Held);
        assert_eq!(declared.applied(&probe("resources.cpus"), breached()), breached());
        let gap = |gap| declared.applied(&probe("filesystem"), Verdict::Inconclusive(gap)).kind();
        assert_eq!(gap(Gap::Setup("EEXIST".into())), crate::verdict::Kind::Unsupported);
        assert_eq!(gap(Gap::Harness("broken".into())), crate::verdict::Kind::Inconclusive);
        let by_id = Probe::denies("res/yz", Severity::Low).serves("resources.cpus", "RES-3");
        assert_eq!(declared.applied(&by_id, breached()).kind(), crate::verdict::Kind::Unsupported);
        assert_eq!(declared.applied(&probe("resources.memory"), Verdict::Held), Verdict::Held);
    }
}

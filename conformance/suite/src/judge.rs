//! The judge: evidence in, verdict out. Pure.
//!
//! The order of the questions is the precedence of the verdicts (SPEC OUT-8). Nothing here is ever "held" by
//! default: [`Verdict::Held`] is what is left when every way to doubt it has been asked.

use nix::errno::Errno;

use crate::catalogue::{Class, Expect, Outside, Probe};
use crate::observation::{CanaryReport, Observation, Seen, Unseen};
use crate::verdict::{Gap, Verdict};

/// What is known about one case.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The run under the runtime.
    pub inside: &'a Observation,
    /// The same without a sandbox; `None` where the entry says that nothing runs outside.
    pub outside: Option<&'a Observation>,
    /// The far side, where the entry has a canary.
    pub canary: Option<&'a CanaryReport>,
}

/// Judges one case.
pub fn judge(probe: &Probe, evidence: Evidence<'_>) -> Verdict {
    let outside = evidence.outside.and_then(|outside| outside.attempt.as_ref().ok());
    let Some(expect) = probe.expect.knowing(outside) else {
        return match outside {
            Some(seen) => Verdict::Unsupported(format!("without a sandbox this host shows {seen}")),
            None => Verdict::Inconclusive(Gap::Baseline("there is nothing to compare with".to_owned())),
        };
    };
    match probe.class {
        Class::Denied => judge_denied(probe, &expect, evidence),
        Class::Allowed => judge_allowed(probe, &expect, evidence),
    }
}

fn judge_denied(probe: &Probe, expect: &Expect, evidence: Evidence<'_>) -> Verdict {
    if let Some(heard) = evidence.canary.and_then(|canary| canary.heard.as_ref()) {
        return Verdict::Breached(format!("the canary noticed it: {heard}"));
    }
    let seen = match conclusive(evidence.inside) {
        Ok(seen) => seen,
        Err(gap) => return Verdict::Inconclusive(gap),
    };
    let baseline = Baseline::of(probe, expect, evidence.outside);
    if !expect.contains(seen) {
        return match &baseline {
            // The same error with and without a sandbox, and not the one that shows the operation: the host does not
            // have what the entry is about, and nothing happened.
            Baseline::Absent(why) if same_error(seen, evidence.outside) => Verdict::Unsupported(why.clone()),
            _ => Verdict::Breached(format!("expected {expect}, saw {seen}")),
        };
    }
    if let Err(why) = &evidence.inside.control
        && !refused_as_a_whole(probe, seen, evidence.inside)
    {
        return Verdict::Inconclusive(Gap::Control(why.clone()));
    }
    if let Some(Err(why)) = evidence.canary.map(|canary| &canary.alive) {
        return Verdict::Inconclusive(Gap::CanaryDead(why.clone()));
    }
    match baseline {
        Baseline::Permits => Verdict::Held,
        Baseline::Absent(why) => Verdict::Unsupported(why),
        Baseline::Unclear(why) => Verdict::Inconclusive(Gap::Baseline(why)),
    }
}

fn judge_allowed(probe: &Probe, expect: &Expect, evidence: Evidence<'_>) -> Verdict {
    let seen = match conclusive(evidence.inside) {
        Ok(seen) => seen,
        Err(gap) => return Verdict::Inconclusive(gap),
    };
    let baseline = Baseline::of(probe, expect, evidence.outside);
    let prevented = if !expect.contains(seen) {
        format!("expected {expect}, saw {seen}")
    } else {
        match evidence.canary {
            Some(CanaryReport { alive: Err(why), .. }) => {
                return Verdict::Inconclusive(Gap::CanaryDead(why.clone()));
            }
            Some(CanaryReport { heard: None, canary, .. }) => format!("nothing arrived at {canary}"),
            // That it works inside needs no comparison: the success is the evidence.
            _ => {
                return match &evidence.inside.control {
                    Ok(()) => Verdict::Held,
                    Err(why) => Verdict::Inconclusive(Gap::Control(why.clone())),
                };
            }
        }
    };
    match baseline {
        Baseline::Permits => Verdict::OverBlocked(prevented),
        Baseline::Absent(why) => Verdict::Unsupported(why),
        Baseline::Unclear(why) => Verdict::Inconclusive(Gap::Baseline(why)),
    }
}

/// Whether the sandbox refused the control as it refused the attempt, where the policy asks for no less than that all of it is
/// refused (SPEC EV-3). That the probe works is what the run outside shows.
fn refused_as_a_whole(probe: &Probe, seen: &Seen, inside: &Observation) -> bool {
    let errors = [
        Errno::EPERM,
        Errno::EACCES,
        Errno::ENOSYS,
        Errno::EAFNOSUPPORT,
        Errno::ENETUNREACH,
        Errno::EHOSTUNREACH,
        Errno::ENETDOWN,
        Errno::EADDRNOTAVAIL,
    ];
    probe.as_a_whole
        && (seen.errno().is_some() || matches!(seen, Seen::Signalled(_)))
        && inside.control_refused.is_some_and(|errno| errors.contains(&errno))
}

/// What the attempt showed, when its operands were what the entry says.
fn conclusive(inside: &Observation) -> Result<&Seen, Gap> {
    let seen = inside.attempt.as_ref().map_err(|unseen| match unseen {
        Unseen::NotStarted(why) => Gap::NotStarted(why.clone()),
        Unseen::NotAttempted(why) => match &inside.setup {
            Err(setup) => Gap::Setup(setup.clone()),
            Ok(()) => Gap::NotAttempted(why.clone()),
        },
        Unseen::TimedOut => Gap::TimedOut,
        Unseen::Harness(why) => Gap::Harness(why.clone()),
    })?;
    match &inside.setup {
        Ok(()) => Ok(seen),
        Err(why) => Err(Gap::Setup(why.clone())),
    }
}

/// What the run without a sandbox says about the host.
enum Baseline {
    /// The host permits the operation.
    Permits,
    /// The host does not offer or permit it.
    Absent(String),
    /// It says neither.
    Unclear(String),
}

impl Baseline {
    fn of(probe: &Probe, expect: &Expect, outside: Option<&Observation>) -> Self {
        if matches!(probe.outside, Outside::NotRun(_)) {
            return Self::Permits;
        }
        let Some(outside) = outside else { return Self::Unclear("was not run".to_owned()) };
        let seen = match conclusive(outside) {
            Ok(seen) => seen,
            Err(gap) => return Self::Unclear(gap.to_string()),
        };
        let permits = match &probe.outside {
            Outside::NotExpected => !expect.contains(seen),
            Outside::Shows(set) => set.contains(seen),
            Outside::Same => expect.contains(seen),
            Outside::NotRun(_) => true,
        };
        if permits {
            return Self::Permits;
        }
        let refused = match probe.class {
            Class::Denied => expect.contains(seen) || Expect::Denied.contains(seen) || lacks(seen),
            Class::Allowed => true,
        };
        if refused {
            Self::Absent(format!("without a sandbox this host shows {seen}"))
        } else {
            Self::Unclear(format!("shows {seen}"))
        }
    }
}

/// Errors by which a kernel says that it does not have something.
fn lacks(seen: &Seen) -> bool {
    use Errno::*;
    let absent = [
        ENOSYS,
        EAFNOSUPPORT,
        EPROTONOSUPPORT,
        ESOCKTNOSUPPORT,
        EOPNOTSUPP,
        ENODEV,
        ENXIO,
        ENOENT,
        ENOPROTOOPT,
    ];
    seen.errno().is_some_and(|errno| absent.contains(&errno))
}

fn same_error(inside: &Seen, outside: Option<&Observation>) -> bool {
    let outside = outside.and_then(|outside| outside.attempt.as_ref().ok());
    inside.errno().is_some() && outside.is_some_and(|outside| outside.errno() == inside.errno())
}

#[cfg(test)]
mod tests;

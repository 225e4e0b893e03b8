//! What a host can enforce, finding by finding. Pure: from what was found out to what it means for policies.

mod cgroups;
mod kernel;
mod mounts;
mod namespaces;
mod network;

use std::path::Path;

use palisade_plan::facts::{Ability, HostFacts};
use palisade_sys::Errno;
use serde::Serialize;

use crate::observe::{Answer, Observed, Started, Trial, observe};

/// One thing that a host has or lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `GROUP/NAME`, for good.
    pub id: &'static str,
    /// The part before the slash.
    pub group: &'static str,
    /// Whether the host has it.
    pub status: Status,
    /// What was found: versions, limits, or what the attempt said.
    pub value: String,
    /// What is missing for policies, where something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consequence: Option<String>,
    /// The one command that would help, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Whether a host has something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It was done.
    Available,
    /// A part of it was done.
    Partial,
    /// A setting, a filter, or who asks, is in the way.
    Unavailable,
    /// The host does not have it.
    Absent,
}

impl Status {
    /// As the JSON form has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Partial => "partial",
            Self::Unavailable => "unavailable",
            Self::Absent => "absent",
        }
    }
}

impl Finding {
    fn new(id: &'static str, status: Status, value: impl Into<String>) -> Self {
        let group = id.split_once('/').map_or(id, |(group, _)| group);
        Self { id, group, status, value: value.into(), consequence: None, remedy: None }
    }

    fn available(id: &'static str, value: impl Into<String>) -> Self {
        Self::new(id, Status::Available, value)
    }

    /// What that means. Where the host has it nothing is said.
    fn means(mut self, consequence: impl Into<String>) -> Self {
        self.consequence = (self.status != Status::Available).then(|| consequence.into());
        self
    }

    fn mended_by(mut self, remedy: Option<impl Into<String>>) -> Self {
        self.remedy = remedy.filter(|_| self.status != Status::Available).map(Into::into);
        self
    }
}

/// What the host of `facts` can enforce for a caller that stands in `directory`, in a fixed order.
pub fn findings(started: Started, facts: &HostFacts, directory: &Path) -> Vec<Finding> {
    judge(facts, &observe(started, facts, directory))
}

/// What `facts` and `observed` mean.
pub fn judge(facts: &HostFacts, observed: &Observed) -> Vec<Finding> {
    [
        namespaces::findings(observed),
        mounts::findings(facts, observed),
        kernel::landlock(facts, observed),
        kernel::seccomp(facts, observed),
        cgroups::findings(facts, observed),
        network::findings(facts, observed),
        kernel::surface(observed),
        kernel::hardening(observed),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl Observed {
    fn answer(&self, trial: Trial) -> Answer {
        self.trials.get(&trial).copied().unwrap_or(Answer::Untried("not tried"))
    }

    fn setting(&self, path: &str) -> Option<&str> {
        self.settings.get(path).map(String::as_str)
    }

    /// The command that installs a package.
    fn install(&self, package: &str) -> Option<String> {
        self.installer.map(|installer| format!("{installer} {package}"))
    }
}

/// A finding about a trial: `value` where it was done, else what it said.
fn tried(id: &'static str, answer: Answer, value: impl Into<String>) -> Finding {
    match answer {
        Answer::Done => Finding::available(id, value),
        Answer::Refused(errno) if is_missing(errno) => {
            Finding::new(id, Status::Absent, format!("this kernel has none ({errno})"))
        }
        Answer::Refused(errno) => Finding::new(id, Status::Unavailable, errno.to_string()),
        Answer::Killed(signal) => {
            Finding::new(id, Status::Unavailable, format!("whoever tries it is killed (signal {signal})"))
        }
        Answer::Untried(why) => Finding::new(id, Status::Unavailable, format!("not tried: {why}")),
    }
}

/// How a kernel says that it does not know something: a call, a flag or structure, an interface, a protocol, an entry.
fn is_missing(errno: Errno) -> bool {
    [
        "ENOSYS",
        "EINVAL",
        "E2BIG",
        "EOPNOTSUPP",
        "EPROTONOSUPPORT",
        "EAFNOSUPPORT",
        "EFAULT",
        "ENODEV",
        "ENXIO",
    ]
    .into_iter()
    .any(|name| errno.name() == Some(name))
}

/// A finding about a fact.
fn able(id: &'static str, ability: &Ability, value: impl Into<String>) -> Finding {
    match ability {
        Ability::Available => Finding::available(id, value),
        Ability::Unavailable(said) if said.contains("ENOSYS") || said.contains("ENODEV") => {
            Finding::new(id, Status::Absent, said.clone())
        }
        Ability::Unavailable(said) => Finding::new(id, Status::Unavailable, said.clone()),
    }
}

/// Without it there is no sandbox at all.
const NOTHING_RUNS: &str = "no policy can be enforced: every run is refused";

#[cfg(test)]
mod tests;

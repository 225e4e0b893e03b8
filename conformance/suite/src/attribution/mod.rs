//! Which layer of the sandbox stopped an operation.
//!
//! That a denial held says nothing of what held it: the kernel refuses much to any unprivileged process, and one layer hides
//! what another lets through. So each probe of a denial that was held runs again under plans with **one layer alone**, over a
//! ground on which the operation is permitted, with every capability; and, where at most one layer holds it alone, under the
//! whole plan **without one layer** each. Nothing is inferred from an error number.
//!
//! Only Palisade has plans; of another runtime nothing is said.

mod find;
mod plans;
mod table;

use serde::Serialize;

pub(crate) use find::find;
pub use table::{Cell, Row, Table};

/// A part of the sandbox that can stand alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Namespaces of processes, IPC, host name and control groups; the user namespace is the ground that all others stand on.
    Namespaces,
    /// The ids of the host that the workload's are mapped to, and its groups.
    Identity,
    /// A root directory of its own: what is mounted, how, and what is covered.
    Mounts,
    /// Sets of capabilities and `no_new_privs`.
    Capabilities,
    /// The filter of system calls.
    Seccomp,
    /// Rules of Landlock.
    Landlock,
    /// The network namespace with its routes, its addresses and the gateway.
    Network,
    /// Control groups and limits of a process.
    Limits,
    /// What a process starts with: descriptors, environment, arguments, session, dumpability.
    Start,
}

impl Layer {
    /// Every layer, in the order of reports.
    pub const ALL: [Self; 9] = [
        Self::Namespaces,
        Self::Identity,
        Self::Mounts,
        Self::Capabilities,
        Self::Seccomp,
        Self::Landlock,
        Self::Network,
        Self::Limits,
        Self::Start,
    ];

    /// The word of reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Identity => "identity",
            Self::Mounts => "mounts",
            Self::Capabilities => "capabilities",
            Self::Seccomp => "seccomp",
            Self::Landlock => "landlock",
            Self::Network => "network",
            Self::Limits => "limits",
            Self::Start => "start",
        }
    }

    /// The same where there is little room.
    pub const fn short(self) -> &'static str {
        match self {
            Self::Namespaces => "ns",
            Self::Identity => "ids",
            Self::Capabilities => "caps",
            Self::Network => "net",
            other => other.word(),
        }
    }
}

/// How what holds a probe stands to what the policy's clause is carried out by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// A layer that serves the clause holds it, alone or together with others that serve it.
    AsDeclared,
    /// It holds, and not by what serves the clause: by another layer, which is there for something else.
    WrongReason,
    /// It holds where there is no layer but a user namespace: the kernel, or the supervisor from outside, does it.
    NoLayer,
    /// The layers could not be told apart.
    Unknown,
}

impl Finding {
    /// The words of reports.
    pub const fn words(self) -> &'static str {
        match self {
            Self::AsDeclared => "as declared",
            Self::WrongReason => "held for the wrong reason",
            Self::NoLayer => "by the kernel or the supervisor, whatever the layers",
            Self::Unknown => "could not be told",
        }
    }
}

/// What holds one probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attribution {
    /// How that stands to the clause.
    pub finding: Finding,
    /// Layers each of which holds it alone.
    pub alone: Vec<Layer>,
    /// Layers without which the whole sandbox does not hold it. Asked for only where at most one holds it alone: of two that do,
    /// none is needed.
    pub needed: Vec<Layer>,
    /// Layers whose steps serve the clause.
    pub owed: Vec<Layer>,
    /// Layers of which this could not be told, with reasons: nothing ran, or the control failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub untold: Vec<(Layer, String)>,
}

impl Attribution {
    /// In one line, for a person.
    pub fn words(&self) -> String {
        let list = |layers: &[Layer]| layers.iter().map(|layer| layer.word()).collect::<Vec<_>>().join(", ");
        let mut words = match self.alone.as_slice() {
            [] if self.finding == Finding::NoLayer => Finding::NoLayer.words().to_owned(),
            [] if self.finding == Finding::Unknown => Finding::Unknown.words().to_owned(),
            [] if self.needed.is_empty() => "several layers, none of them alone".to_owned(),
            [] => format!("{} together", list(&self.needed)),
            [one] => format!("{} alone", one.word()),
            several => format!("each of {}", list(several)),
        };
        if !self.alone.is_empty() && !self.needed.is_empty() {
            words = format!("{words}; not without {}", list(&self.needed));
        }
        match self.finding {
            Finding::WrongReason => format!("{words}; the clause is served by {}", list(&self.owed)),
            _ => words,
        }
    }
}

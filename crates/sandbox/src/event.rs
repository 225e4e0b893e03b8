//! What a supervisor tells while a sandbox runs.

use palisade_policy::Clause;

use crate::egress::DeniedDestination;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The sandbox's first process stands at a checkpoint of the plan. It goes on when this has been heard.
    Checkpoint {
        /// The step's number in the plan, from 1.
        step: usize,
        /// The process id of the sandbox's first process, in the caller's pid namespace.
        pid: i32,
    },
    /// Every step is done, and the program is being started.
    Started {
        /// The process id of the sandbox's first process, in the caller's pid namespace.
        pid: i32,
    },
    /// A limit was run into, for the first time.
    LimitHit {
        /// The clause of the policy.
        clause: Clause,
    },
    /// A system call was refused, for the first time. Only told where refusals are watched.
    Denied {
        /// Its name.
        call: String,
    },
    /// The gateway refused a connection or a name, for the first time.
    DestinationDenied {
        /// What, and why.
        denied: DeniedDestination,
    },
    /// The gateway has ended, and with it the sandbox's network.
    NetworkEnded {
        /// Why.
        message: String,
    },
    /// The run has ended. Output may still be on its way to a slow reader.
    Ended {
        /// The exit status that tells how (see [`code`](crate::code)).
        exit_code: u8,
    },
}

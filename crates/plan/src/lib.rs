//! From a policy and the facts of a host to a plan: an ordered list of steps, and what each clause gets.
//!
//! Pure. [`decide()`] never asks the operating system anything: the same policy, facts and situation give the same
//! plan, so that a change to what the sandbox does shows as a difference between two texts.

pub mod decide;
pub mod facts;
pub mod plan;
mod render;
pub mod seccomp;
pub mod step;

pub use decide::{
    Foreseen, Reason, Refusal, Situation, decide, foresee, named_paths, needed_controllers, needs_network,
    needs_pids_group,
};
pub use facts::HostFacts;
pub use plan::{Coverage, Plan, Status};
pub use step::{PlannedStep, Step};

/// The first of the kernel ids that a privileged caller's sandboxes run under.
///
/// systemd's table of ids leaves 1879048192 to 2147352575 unused (systemd.io/UIDS-GIDS); a sandbox takes the base plus
/// the process id of its supervisor (at most 2^22, proc(5)), so that no two that live at the same time share one.
pub const KERNEL_ID_BASE: u32 = 1_879_048_192;

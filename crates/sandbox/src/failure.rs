//! Why a workload was not run, as the user reads it: step, operand, errno, hint.

use std::fmt;

use palisade_plan::Plan;
use palisade_sys::Errno;

/// The hint of a step whose call the kernel does not have: open_tree(2) and mount_setattr(2) are the newest that a plan needs.
pub(crate) const NO_SUCH_CALL: &str =
    "the kernel is older than Linux 5.12, or a filter around this keeps the call away; see `palisade host`";

/// A step that failed before the workload's first instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its number in the plan, from 1; 0 for what is no step of the plan.
    pub step: usize,
    /// What was done.
    pub action: String,
    /// The call within the step, when it has several.
    pub part: Option<&'static str>,
    /// What the kernel said.
    pub errno: Errno,
    /// What the user can do about it.
    pub hint: Option<&'static str>,
}

/// What a step is, in the words of the plan, by its number from 1. Found when something has failed, and not in every run.
pub(crate) fn words(plan: &Plan, step: usize) -> Option<String> {
    let planned = plan.steps.get(step.checked_sub(1)?)?;
    Some(format!("{} {}", planned.step.name(), planned.step.operand()).trim_end().to_owned())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.step > 0 {
            write!(f, "step {}, ", self.step)?;
        }
        write!(f, "{}: ", self.action)?;
        if let Some(part) = self.part {
            write!(f, "{part}: ")?;
        }
        write!(f, "{}", self.errno)
    }
}

impl std::error::Error for Failure {}

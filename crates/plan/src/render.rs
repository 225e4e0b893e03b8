//! A plan as a person reads it: the steps in order, then what each clause gets.

use std::fmt;

use crate::plan::{Plan, Status};

impl fmt::Display for Plan {
    /// Paths and texts are shown as they are: whoever prints to a terminal makes them harmless.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "policy {}\n\nsteps", self.policy)?;
        for (index, planned) in self.steps.iter().enumerate() {
            let step = format!("{} {}", planned.step.name(), planned.step.operand());
            writeln!(f, "{:>4}  {:<64}  {}", index + 1, step.trim_end(), planned.serves)?;
        }
        writeln!(f, "\nstarts in {}\n\ncoverage", self.directory.display())?;
        for coverage in &self.coverage {
            let status = match &coverage.status {
                Status::Enforced => "enforced".to_owned(),
                Status::Downgraded(reason) => format!("DOWNGRADED: {reason}"),
            };
            let (clause, requested) = (coverage.clause.as_str(), &coverage.requested);
            writeln!(f, "  {clause:<28}  {requested:<24}  {status} ({})", coverage.mechanism)?;
            for note in &coverage.notes {
                writeln!(f, "  {:<28}  note: {note}", "")?;
            }
        }
        Ok(())
    }
}

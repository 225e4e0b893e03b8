//! The seccomp filter of a plan as initialisers of C's `struct sock_filter`, one a line:
//! `palisade plan --format json | cargo run -p palisade-plan --example filter`.

use std::error::Error;

use palisade_plan::seccomp::assemble;
use palisade_plan::{Plan, Step};

fn main() -> Result<(), Box<dyn Error>> {
    let plan: Plan = serde_json::from_reader(std::io::stdin())?;
    for planned in &plan.steps {
        let Step::InstallSeccomp { profile, .. } = &planned.step else { continue };
        for instruction in assemble(profile)?.instructions {
            println!(
                "{{{:#x}, {}, {}, {:#x}}},",
                instruction.code, instruction.jt, instruction.jf, instruction.k
            );
        }
    }
    Ok(())
}

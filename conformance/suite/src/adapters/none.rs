//! No sandbox at all: the control, and the outside baseline of every probe.

use super::{Adapter, Case, Exit, Inexpressible, Invocation, PolicySource};

/// Runs the workload as it is.
#[derive(Clone, Copy, Debug)]
pub struct None;

impl Adapter for None {
    fn name(&self) -> &'static str {
        "none"
    }

    fn detect(&self) -> Result<String, String> {
        Ok("no sandbox".to_owned())
    }

    fn translate(&self, _policy: PolicySource<'_>, case: Case<'_>) -> Result<Invocation, Inexpressible> {
        if case.wall_time.is_some() {
            let why = "nobody keeps the time".to_owned();
            return Err(Inexpressible { clause: "resources.wall_time".to_owned(), why });
        }
        let argv = case.argv.iter().map(Into::into).collect();
        Ok(Invocation { argv, env: Vec::new(), cwd: case.cwd.to_owned(), items: Vec::new() })
    }

    fn exit(&self, code: i32) -> Exit {
        Exit::Workload(code)
    }
}

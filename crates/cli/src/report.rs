//! The report of a run, in JSON.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use palisade::{Ending, Outcome};
use palisade_plan::{Coverage, Plan};
use serde::Serialize;

use crate::message;
use crate::source::{Decided, Told};

/// The version of the report's format.
const SCHEMA: &str = "palisade.run/1";

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    policy: &'a str,
    kernel: Option<&'a str>,
    /// Whether the plan was decided from a policy, or given as it is, in which case nothing is claimed.
    decided: bool,
    coverage: &'a [Coverage],
    ending: EndingReport,
    exit_code: u8,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum EndingReport {
    Exited { code: u8 },
    Signaled { signal: u8 },
    WallTime,
    NotStarted { step: usize, action: String, errno: String },
    NotExecuted { errno: String },
    Lost,
}

/// A report file, opened before the run.
pub(crate) struct File {
    path: PathBuf,
    file: std::fs::File,
}

impl File {
    pub(crate) fn create(path: &Path) -> Result<Self, Told> {
        match std::fs::File::create(path) {
            Ok(file) => Ok(Self { path: path.to_path_buf(), file }),
            Err(error) => {
                message::error(format!("report {}: {error}", path.display()), None);
                Err(Told)
            }
        }
    }

    pub(crate) fn write(
        mut self,
        plan: &Plan,
        decided: Option<&Decided>,
        outcome: &Outcome,
    ) -> Result<(), Told> {
        let report = Report {
            schema: SCHEMA,
            policy: &plan.policy,
            kernel: decided.map(|decided| decided.facts.kernel.as_str()),
            decided: decided.is_some(),
            coverage: if decided.is_some() { &plan.coverage } else { &[] },
            ending: ending(&outcome.ending),
            exit_code: outcome.exit_code(),
        };
        let written = serde_json::to_writer_pretty(&mut self.file, &report)
            .map_err(std::io::Error::from)
            .and_then(|()| self.file.write_all(b"\n"));
        written.map_err(|error| {
            message::error(format!("report {}: {error}", self.path.display()), None);
            Told
        })
    }
}

fn ending(ending: &Ending) -> EndingReport {
    match ending {
        Ending::Exited(code) => EndingReport::Exited { code: *code },
        Ending::Signaled(signal) => EndingReport::Signaled { signal: *signal },
        Ending::WallTime => EndingReport::WallTime,
        Ending::NotStarted(failure) => EndingReport::NotStarted {
            step: failure.step,
            action: failure.action.clone(),
            errno: failure.errno.to_string(),
        },
        Ending::NotExecuted(errno) => EndingReport::NotExecuted { errno: errno.to_string() },
        Ending::Lost => EndingReport::Lost,
    }
}

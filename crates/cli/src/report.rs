//! The report of a run, in JSON.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use palisade::{Outcome, Report};
use palisade_plan::Plan;

use crate::message;
use crate::source::{Decided, Told};

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
        let kernel = decided.map(|decided| decided.facts.kernel.as_str());
        let report = Report::new(plan, kernel, outcome);
        let written = serde_json::to_writer_pretty(&mut self.file, &report)
            .map_err(std::io::Error::from)
            .and_then(|()| self.file.write_all(b"\n"));
        written.map_err(|error| {
            message::error(format!("report {}: {error}", self.path.display()), None);
            Told
        })
    }
}

//! `--changes` and `--apply`: what becomes of the changes in a private workspace.

use std::path::Path;

use palisade::{Changes, Ending, Outcome, Workspace, WorkspaceError};
use palisade_plan::{Plan, Step};

use crate::arguments::Run;
use crate::message;
use crate::source::Told;

/// Refuses flags that could do nothing, before anything runs.
pub(crate) fn check(arguments: &Run, plan: &Plan) -> Result<(), Told> {
    let apart = |step: &Step| matches!(step, Step::MountOverlay { .. } | Step::MountCopy { .. });
    let asked = arguments.changes.is_some() || arguments.apply;
    if asked && !plan.steps.iter().any(|planned| apart(&planned.step)) {
        message::error(
            "there are no changes to export: the workspace is direct",
            Some("`--workspace overlay` keeps changes apart from the real directories"),
        );
        return Err(Told);
    }
    Ok(())
}

/// Exports and applies.
pub(crate) fn take_out(arguments: &Run, outcome: &Outcome) -> Result<(), Told> {
    let Some(workspace) = &outcome.workspace else { return Ok(()) };
    let told = |error: WorkspaceError| {
        message::error(error, None);
        Told
    };
    if matches!(outcome.ending, Ending::NotStarted(_)) {
        return Ok(());
    }
    if let Some(place) = &arguments.changes {
        let changes = export(workspace, place).map_err(told)?;
        tell_refused(&changes);
    }
    if !arguments.apply {
        return Ok(());
    }
    match outcome.ending {
        Ending::Exited(_) => {
            let applied = workspace.apply().map_err(told)?;
            if arguments.changes.is_none() {
                tell_refused(&applied.changes);
            }
            Ok(())
        }
        // What was cut off halfway is nobody's intention.
        _ => {
            message::error("changes are not applied: the workload did not end by itself", None);
            Err(Told)
        }
    }
}

fn export(workspace: &Workspace, place: &Path) -> Result<Changes, WorkspaceError> {
    if place != Path::new("-") {
        return workspace.export(place);
    }
    let changes = workspace.changes()?;
    message::print(&changes.list.iter().fold(String::new(), |list, change| format!("{list}{change}\n")));
    Ok(changes)
}

fn tell_refused(changes: &Changes) {
    for (path, why) in &changes.refused {
        message::error(format!("{} is left out: {why}", path.display()), None);
    }
}

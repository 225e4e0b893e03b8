//! Takes out of a report what differs from run to run and from host to host.

use std::time::Duration;

use super::Report;

/// The report without times, versions, host facts and the random part of markers and nonces.
///
/// `run` is the run's random word ([`crate::lab::World::run`]).
#[must_use]
pub fn redact(mut report: Report, run: &str) -> Report {
    report.took = Duration::ZERO;
    report.subject.version = "VERSION".to_owned();
    report.subject.runtime_version = None;
    report.subject.host = "HOST".to_owned();
    if let Some(against) = &mut report.against {
        against.subject.version = "VERSION".to_owned();
        against.subject.host = "HOST".to_owned();
    }
    report.subject.host_facts = serde_json::Value::Null;
    let hide = |text: &mut String| {
        if !run.is_empty() {
            *text = text.replace(run, "RUN");
        }
    };
    for case in &mut report.cases {
        case.took = Duration::ZERO;
        hide(&mut case.operation);
        hide(&mut case.expected);
        hide(&mut case.baseline);
        case.workload.iter_mut().for_each(hide);
        for observation in [&mut case.inside, &mut case.outside].into_iter().flatten() {
            hide(&mut observation.stderr);
        }
        if let Some(heard) = case.canary.as_mut().and_then(|canary| canary.heard.as_mut()) {
            hide(heard);
        }
    }
    report
}

//! From what a run printed to an [`Observation`]. Pure.

use std::time::Duration;

use nix::errno::Errno;
use palisade_probe::refusal;
use palisade_probe::script::{Ended, Observed, Phase, Script, Transcript, parse_output};

use super::process::{End, Raw};
use crate::adapters::{Adapter, Exit};
use crate::observation::{Observation, Seen, Unseen};
use crate::report::escape;

/// Most bytes of standard error that are kept as evidence.
const STDERR_SHOWN: usize = 400;

/// Why a control failed when no control did.
pub(super) const NOT_THE_END: &str = "the probe did not reach its end";

/// The observation of a run of the probe program.
pub fn script(adapter: &dyn Adapter, script: &Script, nonce: &str, raw: &Raw) -> Observation {
    let transcript = parse_output(&raw.stdout, nonce);
    Observation {
        attempt: attempt(adapter, script, nonce, raw, &transcript),
        setup: passed(script, &transcript, Phase::Setup),
        control: passed(script, &transcript, Phase::Control)
            .and_then(|()| if transcript.done { Ok(()) } else { Err(NOT_THE_END.to_owned()) }),
        control_refused: control_refused(script, &transcript),
        stderr: stderr(raw),
        took: raw.took,
    }
}

/// The observation of a run of a command.
pub fn command(adapter: &dyn Adapter, raw: &Raw) -> Observation {
    let attempt = match &raw.end {
        End::Exited(code) => match adapter.exit(*code) {
            Exit::Workload(code) => Ok(Seen::Exited { code, stdout: raw.stdout.clone() }),
            Exit::OutOfTime => Ok(Seen::Exited { code: *code, stdout: raw.stdout.clone() }),
            Exit::Runtime => Err(Unseen::NotStarted(said(raw))),
        },
        End::Signalled(signal) => Ok(Seen::Signalled(*signal)),
        End::TimedOut => Err(Unseen::TimedOut),
        End::Failed(why) => Err(Unseen::Harness(escape(why.as_bytes()))),
    };
    Observation {
        attempt,
        setup: Ok(()),
        control: Ok(()),
        control_refused: None,
        stderr: stderr(raw),
        took: raw.took,
    }
}

fn attempt(
    adapter: &dyn Adapter,
    script: &Script,
    nonce: &str,
    raw: &Raw,
    transcript: &Transcript,
) -> Result<Seen, Unseen> {
    if let End::Failed(why) = &raw.end {
        return Err(Unseen::Harness(escape(why.as_bytes())));
    }
    if let Some(line) = transcript.anomalies.first() {
        return Err(Unseen::Harness(format!(
            "the transcript was tampered with: {}",
            escape(line.as_bytes())
        )));
    }
    if transcript.attempted.is_empty() {
        return Err(match &raw.end {
            End::TimedOut => Unseen::TimedOut,
            End::Exited(code) if adapter.exit(*code) != Exit::Runtime && raw.stderr.is_empty() => {
                Unseen::NotAttempted(format!("exit code {code}, and no transcript"))
            }
            _ => Unseen::NotStarted(said(raw)),
        });
    }
    let attempts: Vec<usize> = numbers(script, Phase::Attempt);
    let Some(&last) = attempts.last() else { return Err(Unseen::Harness("nothing to attempt".to_owned())) };
    if let Some(observed) = transcript.observed(last) {
        return judged(script, transcript, observed)
            .map(|observed| returned(observed, took(raw, nonce, observed.index)));
    }
    let begun = attempts.iter().any(|attempt| transcript.attempted.contains(attempt));
    match transcript.ended {
        Some(Ended::Signal(signal)) if begun => Ok(Seen::Signalled(i32::from(signal))),
        Some(Ended::Exit(code)) if begun => Ok(Seen::Exited { code: i32::from(code), stdout: Vec::new() }),
        Some(Ended::NoFork(errno)) => {
            Err(Unseen::NotAttempted(format!("fork: {:?}", Errno::from_raw(i32::from(errno)))))
        }
        _ if raw.end == End::TimedOut => Err(Unseen::TimedOut),
        _ => Err(Unseen::NotAttempted("the transcript ends before the attempt".to_owned())),
    }
}

/// The observation that counts: the last attempt's, or, where that could not be made because an earlier attempt had
/// failed, that one's.
fn judged<'a>(
    script: &Script,
    transcript: &'a Transcript,
    last: &'a Observed,
) -> Result<&'a Observed, Unseen> {
    let statement = || script.statements().get(last.index).map(ToString::to_string).unwrap_or_default();
    match last.errno {
        refusal::DEPENDENCY => {
            let failed = |observed: &&Observed| {
                observed.phase == Phase::Attempt && observed.errno != 0 && !refused(observed.errno)
            };
            let earlier = transcript.observations.iter().rfind(failed);
            earlier.ok_or_else(|| Unseen::NotAttempted("a result that it needs is missing".to_owned()))
        }
        errno if refused(errno) => {
            Err(Unseen::Harness(format!("the probe refused {}: {errno} {}", statement(), escape(&last.data))))
        }
        _ => Ok(last),
    }
}

/// Errors of the probe itself.
fn refused(errno: u16) -> bool {
    errno > 4095
}

fn returned(observed: &Observed, took: Duration) -> Seen {
    let data = observed.data.clone();
    Seen::Returned { ret: observed.ret, errno: i32::from(observed.errno), data, took }
}

/// From the arrival of the announcement of statement `index` to that of its result.
fn took(raw: &Raw, nonce: &str, index: usize) -> Duration {
    let arrival = |event: &str| {
        let line = format!("PALISADE {nonce} {event} {index} ");
        let at = raw.stdout.windows(line.len()).position(|window| window == line.as_bytes())?;
        raw.arrival(at)
    };
    match (arrival("ATTEMPT"), arrival("OBSERVED")) {
        (Some(from), Some(to)) => to.saturating_sub(from),
        // Unknown is slow: the caller asks in order to know that it was prompt.
        _ => Duration::MAX,
    }
}

fn numbers(script: &Script, phase: Phase) -> Vec<usize> {
    let numbered = script.statements().iter().enumerate();
    numbered.filter(|(_, statement)| statement.phase() == phase).map(|(index, _)| index).collect()
}

/// Whether all statements of a phase succeeded; else the first that did not.
fn passed(script: &Script, transcript: &Transcript, phase: Phase) -> Result<(), String> {
    for index in numbers(script, phase) {
        let statement = script.statements().get(index).map(ToString::to_string).unwrap_or_default();
        match transcript.observed(index) {
            Some(Observed { errno: 0, .. }) => {}
            Some(Observed { errno, data, .. }) if refused(*errno) => {
                return Err(format!("{index} ({statement}): probe refusal {errno} {}", escape(data)));
            }
            Some(Observed { errno, .. }) => {
                return Err(format!("{index} ({statement}): {:?}", Errno::from_raw(i32::from(*errno))));
            }
            None => return Err(format!("{index} ({statement}): no result")),
        }
    }
    Ok(())
}

/// The error of the only control that failed, where the kernel gave it one and the program reached its end.
fn control_refused(script: &Script, transcript: &Transcript) -> Option<Errno> {
    let controls = numbers(script, Phase::Control);
    let errors: Option<Vec<u16>> =
        controls.iter().map(|&index| transcript.observed(index).map(|observed| observed.errno)).collect();
    let failed: Vec<u16> = errors?.into_iter().filter(|errno| *errno != 0).collect();
    match failed[..] {
        [errno] if transcript.done && !refused(errno) => Some(Errno::from_raw(i32::from(errno))),
        _ => None,
    }
}

fn said(raw: &Raw) -> String {
    let how = match &raw.end {
        End::Exited(code) => format!("exit code {code}"),
        End::Signalled(signal) => format!("signal {signal}"),
        End::TimedOut => "time limit".to_owned(),
        End::Failed(why) => why.clone(),
    };
    match stderr(raw) {
        said if said.is_empty() => how,
        said => format!("{how}: {said}"),
    }
}

fn stderr(raw: &Raw) -> String {
    let text = raw.stderr.trim_ascii();
    let shown = &text[..text.len().min(STDERR_SHOWN)];
    escape(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::{None as NoSandbox, Palisade};
    use palisade_probe::{attempt, control, setup};

    const NONCE: &str = "n1";

    fn statements() -> Script {
        Script::from([
            setup!("open", "/x", 0),
            control!("sys", 39),
            attempt!("sys", 41, 1),
            attempt!("sys", 42, palisade_probe::script::result(2)),
        ])
    }

    fn raw(lines: &[&str]) -> Raw {
        let stdout: Vec<u8> =
            lines.iter().flat_map(|line| format!("PALISADE {NONCE} {line}\n").into_bytes()).collect();
        let mut arrivals = Vec::new();
        for (index, line) in stdout.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let before = arrivals.last().map_or(0, |(end, _)| *end);
            arrivals.push((before + line.len(), Duration::from_millis(100 * index as u64)));
        }
        Raw { stdout, arrivals, end: End::Exited(0), ..Raw::failed(String::new()) }
    }

    fn read(raw: &Raw) -> Observation {
        script(&Palisade::with_policy("/x"), &statements(), NONCE, raw)
    }

    const BEGIN: [&str; 4] = [
        "ATTEMPT 0 s",
        "OBSERVED 0 s ret=3 errno=0 data=-",
        "ATTEMPT 1 c",
        "OBSERVED 1 c ret=5 errno=0 data=-",
    ];

    fn after_begin(lines: &[&str]) -> Raw {
        raw(&[&BEGIN, lines].concat())
    }

    #[test]
    fn the_last_attempt_is_judged_and_timed() {
        let raw = after_begin(&[
            "ATTEMPT 2 a",
            "OBSERVED 2 a ret=4 errno=0 data=-",
            "ATTEMPT 3 a",
            "OBSERVED 3 a ret=-1 errno=101 data=-",
            "ENDED a exit=0",
            "DONE",
        ]);
        let seen = read(&raw);
        let took = Duration::from_millis(100);
        assert_eq!(seen.attempt, Ok(Seen::Returned { ret: -1, errno: 101, data: vec![], took }));
        assert_eq!((seen.setup, seen.control), (Ok(()), Ok(())));
    }

    #[test]
    fn an_attempt_that_needs_a_failed_one_is_judged_by_it() {
        let raw = after_begin(&[
            "ATTEMPT 2 a",
            "OBSERVED 2 a ret=-1 errno=97 data=-",
            "ATTEMPT 3 a",
            "OBSERVED 3 a ret=-1 errno=9996 data=-",
            "ENDED a exit=0",
            "DONE",
        ]);
        assert_eq!(read(&raw).attempt.unwrap().errno(), Some(Errno::EAFNOSUPPORT));
    }

    #[test]
    fn a_signal_is_an_observation() {
        let raw = after_begin(&["ATTEMPT 2 a", "ENDED a signal=31", "DONE"]);
        assert_eq!(read(&raw).attempt, Ok(Seen::Signalled(31)));
    }

    #[test]
    fn a_failed_control_and_a_missing_end_are_told() {
        let mut lines = BEGIN;
        lines[3] = "OBSERVED 1 c ret=-1 errno=1 data=-";
        let seen = read(&raw(&lines));
        assert_eq!(seen.control, Err("1 (c:sys 39): EPERM".to_owned()));
        assert!(matches!(seen.attempt, Err(Unseen::NotAttempted(_))));
        assert_eq!(seen.control_refused, None, "the program did not reach its end");
        let to_the_end = [&lines[..], &["ATTEMPT 2 a", "ENDED a signal=31", "DONE"]].concat();
        assert_eq!(read(&raw(&to_the_end)).control_refused, Some(Errno::EPERM));
        assert_eq!(read(&after_begin(&["ATTEMPT 2 a", "ENDED a signal=31", "DONE"])).control_refused, None);
        assert!(read(&after_begin(&["ATTEMPT 2 a"])).control.is_err());
    }

    #[test]
    fn a_refusal_of_the_probe_is_the_suites_own_failure() {
        let raw = after_begin(&["ATTEMPT 3 a", "OBSERVED 3 a ret=-1 errno=9999 data=-", "DONE"]);
        assert!(matches!(read(&raw).attempt, Err(Unseen::Harness(_))));
    }

    #[test]
    fn a_forged_second_result_spoils_the_transcript() {
        let raw = after_begin(&[
            "ATTEMPT 3 a",
            "OBSERVED 3 a ret=0 errno=0 data=-",
            "OBSERVED 3 a ret=-1 errno=1 data=-",
            "DONE",
        ]);
        assert!(matches!(read(&raw).attempt, Err(Unseen::Harness(_))));
    }

    #[test]
    fn without_a_transcript_the_end_tells() {
        let silent = |end, stderr: &str| Raw { end, stderr: stderr.into(), ..raw(&[]) };
        let read = |raw: &Raw| read(raw).attempt;
        assert_eq!(read(&silent(End::TimedOut, "")), Err(Unseen::TimedOut));
        assert!(
            matches!(read(&silent(End::Exited(125), "error: no\n")), Err(Unseen::NotStarted(why)) if why.contains("error: no"))
        );
        assert!(matches!(read(&silent(End::Exited(0), "")), Err(Unseen::NotAttempted(_))));
        assert!(matches!(read(&silent(End::Failed("x".into()), "")), Err(Unseen::Harness(_))));
    }

    #[test]
    fn a_command_is_seen_by_its_exit_code_and_output() {
        let raw = Raw { stdout: b"42\n".to_vec(), end: End::Exited(125), ..raw(&[]) };
        assert!(matches!(command(&Palisade::with_policy("/x"), &raw).attempt, Err(Unseen::NotStarted(_))));
        let seen = command(&NoSandbox, &raw).attempt;
        assert_eq!(seen, Ok(Seen::Exited { code: 125, stdout: b"42\n".to_vec() }));
    }
}

//! What a run is worth and how it ended, as data: what `--report` writes and a caller of the library keeps.

use std::collections::BTreeMap;
use std::time::Duration;

use palisade_plan::{Coverage, Plan};
use palisade_policy::Protocol;
use serde::Serialize;

use crate::denials::{Denied, UNHEARD, UNSEEN};
use crate::egress::{DeniedDestination, Traffic};
use crate::limits;
use crate::outcome::{Ending, Outcome, Usage};
use crate::relay::Stream;

/// The version of the report's format.
pub const SCHEMA: &str = "palisade.run/1";

/// The report of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The name of the policy.
    pub policy: String,
    /// The kernel's release, where the plan was decided on this host.
    pub kernel: Option<String>,
    /// Whether the plan was decided from a policy, or given as it is, in which case nothing is claimed.
    pub decided: bool,
    /// What each clause of the policy got.
    pub coverage: Vec<Coverage>,
    /// How it ended.
    pub ending: EndingReport,
    /// The exit status that tells how it ended.
    pub exit_code: u8,
    /// The limits that were run into, as far as the kernel lets the supervisor see it.
    pub limits_hit: Vec<LimitHitReport>,
    /// The limits of which it is known that nothing ran into them.
    pub limits_not_hit: Vec<String>,
    /// The limits that may have been run into, or not: nobody could see it.
    pub limits_unseen: Vec<LimitUnseenReport>,
    /// What was refused, as far as it can be seen.
    pub denials: DenialsReport,
    /// The streams of output that passed through the supervisor.
    pub output: OutputReport,
    /// What it used.
    pub usage: UsageReport,
    /// What the gateway carried. Absent where the policy lets nothing out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficReport>,
}

/// What a run used. Absent is what nothing counted.
#[derive(Clone, Debug, Serialize)]
pub struct UsageReport {
    /// From the start of the first program to the end of everything, in milliseconds.
    pub wall_ms: u64,
    /// Processor time in user mode, in milliseconds.
    pub cpu_user_ms: u64,
    /// Processor time in the kernel, in milliseconds.
    pub cpu_system_ms: u64,
    /// The most memory of the whole sandbox at one time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// The most memory that one process had resident.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest_process_bytes: Option<u64>,
    /// The most processes and threads at one time, the sandbox's first process included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_processes: Option<u64>,
    /// How long processes had to wait for their share of the processors, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled_ms: Option<u64>,
}

impl From<&Usage> for UsageReport {
    fn from(usage: &Usage) -> Self {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            wall_ms: milliseconds(usage.wall),
            cpu_user_ms: milliseconds(usage.cpu_user),
            cpu_system_ms: milliseconds(usage.cpu_system),
            peak_memory_bytes: usage.peak_memory,
            largest_process_bytes: usage.largest_process,
            peak_processes: usage.peak_processes,
            throttled_ms: usage.throttled.map(milliseconds),
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndingReport {
    /// The workload exited.
    Exited {
        /// Its code.
        code: u8,
    },
    /// A signal ended it.
    Signaled {
        /// Its number.
        signal: u8,
    },
    /// The wall-time limit ended it.
    WallTime,
    /// It was killed after somebody had asked for its end.
    Stopped,
    /// A step failed: nothing was run.
    NotStarted {
        /// The step's number in the plan, from 1; 0 for what is no step of the plan.
        step: usize,
        /// What was done.
        action: String,
        /// What the kernel said.
        errno: String,
    },
    /// The program could not be executed.
    NotExecuted {
        /// What the kernel said.
        errno: String,
    },
    /// The sandbox's first process was killed.
    Lost,
}

/// What was refused.
#[derive(Clone, Debug, Serialize)]
pub struct DenialsReport {
    /// How often each system call was refused, where that could be heard of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_calls: Option<BTreeMap<String, u64>>,
    /// What the gateway refused. Absent where the policy lets nothing out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkDenialsReport>,
    /// What is refused but cannot be seen.
    pub unseen: Vec<&'static str>,
}

/// What a gateway refused.
#[derive(Clone, Debug, Serialize)]
pub struct NetworkDenialsReport {
    /// Each destination once.
    pub destinations: Vec<NetworkDenialReport>,
    /// Refusals of destinations beyond those that are told apart.
    pub others: u64,
}

/// A destination that was refused. What has no route is refused by the kernel, and not seen.
#[derive(Clone, Debug, Serialize)]
pub struct NetworkDenialReport {
    /// `tcp` or `udp`; absent for a name that was only asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<&'static str>,
    /// The name, if it was asked for by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The address, if it was dialled by address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<std::net::IpAddr>,
    /// The port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Why.
    pub reason: String,
    /// The clause of the policy that says so.
    pub clause: String,
    /// How often.
    pub times: u64,
}

/// What a gateway carried.
#[derive(Clone, Debug, Serialize)]
pub struct TrafficReport {
    /// Connections and flows that were allowed.
    pub allowed: u64,
    /// Connections, flows and names that it refused.
    pub denied: u64,
    /// Bytes from inside to outside.
    pub sent_bytes: u64,
    /// Bytes from outside to inside.
    pub received_bytes: u64,
}

impl From<&Traffic> for TrafficReport {
    fn from(traffic: &Traffic) -> Self {
        Self {
            allowed: traffic.allowed,
            denied: traffic.denied,
            sent_bytes: traffic.sent,
            received_bytes: traffic.received,
        }
    }
}

impl From<&Traffic> for NetworkDenialsReport {
    fn from(traffic: &Traffic) -> Self {
        Self {
            destinations: traffic.refused.iter().map(NetworkDenialReport::from).collect(),
            others: traffic.others,
        }
    }
}

impl From<&DeniedDestination> for NetworkDenialReport {
    fn from(denied: &DeniedDestination) -> Self {
        let destination = &denied.destination;
        Self {
            protocol: destination.protocol.map(Protocol::word),
            name: destination.name.clone(),
            address: destination.address,
            port: destination.port,
            reason: denied.reason.clone(),
            clause: denied.clause.to_string(),
            times: denied.times,
        }
    }
}

/// A limit that was run into.
#[derive(Clone, Debug, Serialize)]
pub struct LimitHitReport {
    /// The clause of the policy.
    pub clause: String,
    /// How often, where it is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
}

/// A limit that somebody may have run into unseen.
#[derive(Clone, Debug, Serialize)]
pub struct LimitUnseenReport {
    /// The clause of the policy.
    pub clause: String,
    /// Why it cannot be seen.
    pub why: &'static str,
}

/// Both streams. Absent where the workload had the caller's own descriptor.
#[derive(Clone, Debug, Serialize)]
pub struct OutputReport {
    /// Standard output; on a private terminal both streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout: Option<StreamReport>,
    /// Standard error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<StreamReport>,
}

/// One stream.
#[derive(Clone, Debug, Serialize)]
pub struct StreamReport {
    /// How many bytes the workload wrote.
    pub bytes: u64,
    /// Whether some were dropped because the budget was used up.
    pub truncated: bool,
    /// What was kept, if it is UTF-8. Where the budget cut a character in two, without its first half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What was kept, if it is not: in base64 (RFC 4648).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

impl Report {
    /// The report of `outcome` under `plan`. `kernel` is the host's if the plan was decided there.
    pub fn new(plan: &Plan, kernel: Option<&str>, outcome: &Outcome) -> Self {
        let decided = kernel.is_some();
        let (not_hit, unseen) = limits::others(plan, &outcome.limits_hit);
        Self {
            schema: SCHEMA,
            policy: plan.policy.clone(),
            kernel: kernel.map(str::to_owned),
            decided,
            coverage: if decided { plan.coverage.clone() } else { Vec::new() },
            ending: EndingReport::from(&outcome.ending),
            exit_code: outcome.exit_code(),
            limits_hit: outcome
                .limits_hit
                .iter()
                .map(|hit| LimitHitReport { clause: hit.clause.to_string(), times: hit.times })
                .collect(),
            limits_not_hit: not_hit.iter().map(ToString::to_string).collect(),
            limits_unseen: unseen
                .into_iter()
                .map(|(clause, why)| LimitUnseenReport { clause: clause.to_string(), why })
                .collect(),
            denials: DenialsReport {
                network: outcome.traffic.as_ref().map(NetworkDenialsReport::from),
                ..DenialsReport::from(outcome.denied.as_deref())
            },
            output: OutputReport {
                stdout: outcome.output.stdout.as_ref().map(StreamReport::from),
                stderr: outcome.output.stderr.as_ref().map(StreamReport::from),
            },
            usage: UsageReport::from(&outcome.usage),
            traffic: outcome.traffic.as_ref().map(TrafficReport::from),
        }
    }
}

impl From<Option<&[Denied]>> for DenialsReport {
    fn from(denied: Option<&[Denied]>) -> Self {
        let calls = |denied: &[Denied]| denied.iter().map(|one| (one.call.clone(), one.times)).collect();
        let unheard = denied.is_none().then_some(UNHEARD);
        Self {
            system_calls: denied.map(calls),
            network: None,
            unseen: UNSEEN.iter().copied().chain(unheard).collect(),
        }
    }
}

impl From<&Ending> for EndingReport {
    fn from(ending: &Ending) -> Self {
        match ending {
            Ending::Exited(code) => Self::Exited { code: *code },
            Ending::Signaled(signal) => Self::Signaled { signal: *signal },
            Ending::WallTime => Self::WallTime,
            Ending::Stopped => Self::Stopped,
            Ending::NotStarted(failure) => Self::NotStarted {
                step: failure.step,
                action: failure.action.clone(),
                errno: failure.errno.to_string(),
            },
            Ending::NotExecuted(errno) => Self::NotExecuted { errno: errno.to_string() },
            Ending::Lost => Self::Lost,
        }
    }
}

impl From<&Stream> for StreamReport {
    fn from(stream: &Stream) -> Self {
        let (text, base64) = match &stream.captured {
            None => (None, None),
            Some(bytes) => match readable(bytes, stream.truncated) {
                Some(text) => (Some(text.to_owned()), None),
                None => (None, Some(data_encoding::BASE64.encode(bytes))),
            },
        };
        Self { bytes: stream.bytes, truncated: stream.truncated, text, base64 }
    }
}

/// The bytes as text. Where they were cut, without the beginning of a character at their end.
fn readable(bytes: &[u8], cut: bool) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        // No length: the end came too early, and everything before it is text.
        Err(error) if cut && error.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8], truncated: bool) -> (Option<String>, Option<String>) {
        let stream = Stream { bytes: 9, truncated, captured: Some(bytes.to_vec()) };
        let report = StreamReport::from(&stream);
        (report.text, report.base64)
    }

    #[test]
    fn text_is_text_and_everything_else_is_base64() {
        assert_eq!(shown("grün".as_bytes(), false), (Some("grün".into()), None));
        assert_eq!(shown(b"\xff\0", false), (None, Some("/wA=".into())));
        // A character cut in two by the budget, and one that the program itself never finished.
        assert_eq!(shown(b"gr\xc3", true), (Some("gr".into()), None));
        assert_eq!(shown(b"gr\xc3", false), (None, Some("Z3LD".into())));
    }
}

//! The limits that a run meets: those that the supervisor watches, and those that it reads of at the end.

use std::time::{Duration, Instant};

use palisade_policy::Clause;

use super::Supervisor;
use crate::cgroup::Look;
use crate::event::Event;
use crate::limits;
use crate::outcome::{Ending, LimitHit};
use crate::workspace::Workspace;

/// SIGKILL, as an ending tells it.
const KILLED: u8 = 9;
/// Sent by the kernel at RLIMIT_CPU and at RLIMIT_FSIZE (setrlimit(2)).
const SIGXCPU: u8 = 24;
const SIGXFSZ: u8 = 25;

impl Supervisor<'_> {
    /// Ends everything when the processor time is used up: whoever has used it would only use more to react to a signal.
    pub(super) fn look_at_cpu_time(&mut self) {
        self.look = match self.launched.groups.look() {
            None => None,
            Some(Look::Again(after)) => Some(Instant::now() + after),
            Some(Look::UsedUp) => {
                self.out_of_cpu_time = true;
                self.hit(Clause::new("resources.cpu_time"));
                self.kill();
                None
            }
        };
    }

    pub(super) fn look_at_file_systems(&mut self) {
        let workspace = self.launched.workspace.as_ref().and_then(Workspace::file_system);
        let disk = workspace.is_some_and(limits::is_full).then_some(limits::DISK);
        for clause in self.gauges.full().into_iter().chain(disk) {
            self.hit_once(clause);
        }
        self.next_gauging = Some(Instant::now() + limits::LOOK);
    }

    /// Notes the limits whose counters are read at the end, and those that a signal of the kernel tells of. The ending,
    /// with what they say about it.
    pub(super) fn note_limits(&mut self, ending: Ending, cpu_time: Duration) -> Ending {
        self.look_at_file_systems();
        for hit in self.launched.groups.hits() {
            self.emit(|| Event::LimitHit { clause: hit.clause.clone() });
            self.limits_hit.push(hit);
        }
        let clause = match ending {
            Ending::Signaled(SIGXCPU) => Some("resources.cpu_time"),
            Ending::Signaled(SIGXFSZ) => Some("resources.file_size"),
            // The kernel kills at once at a hard limit (setrlimit(2)); only the time tells that it was this one.
            Ending::Signaled(KILLED) if self.launched.watched.is_cpu_time(cpu_time) => {
                Some("resources.cpu_time")
            }
            _ => None,
        };
        if let Some(clause) = clause {
            self.hit_once(Clause::new(clause));
        }
        let for_memory = self.limits_hit.iter().any(|hit| hit.clause.as_str() == "resources.memory");
        // The first process and with it everything else: by this supervisor, or by the kernel, which looks for somebody to
        // kill among all of them.
        let killed = ending == Ending::Lost && (self.out_of_cpu_time || for_memory);
        if killed { Ending::Signaled(KILLED) } else { ending }
    }

    pub(super) fn note_truncation(&mut self) {
        if self.front.is_truncated() {
            self.hit_once(Clause::new("resources.output"));
        }
    }

    pub(super) fn hit_once(&mut self, clause: Clause) {
        if !self.limits_hit.iter().any(|hit| hit.clause == clause) {
            self.hit(clause);
        }
    }

    /// A bound of the gateway, which no clause of the policy names.
    pub(super) fn limit_of_network(&mut self, which: &str) {
        let clause = Clause::key("network.limits", which);
        match self.limits_hit.iter_mut().find(|hit| hit.clause == clause) {
            Some(hit) => hit.times = hit.times.map(|times| times + 1),
            None => {
                self.emit(|| Event::LimitHit { clause: clause.clone() });
                self.limits_hit.push(LimitHit { clause, times: Some(1) });
            }
        }
    }

    pub(super) fn hit(&mut self, clause: Clause) {
        self.emit(|| Event::LimitHit { clause: clause.clone() });
        self.limits_hit.push(LimitHit { clause, times: None });
    }
}

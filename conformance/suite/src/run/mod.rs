//! Runs cases in a lab: workers side by side, results in the order of the ids.
//!
//! Each worker is a thread with a mount namespace of its own ([`place`]); each case has a fresh workspace, a fresh
//! nonce and a fresh instance of the runtime. Nothing here judges.

mod beside;
pub mod case;
pub mod declare;
mod ending;
mod far_side;
pub mod fault;
mod look;
pub mod needs;
pub mod place;
pub(crate) mod planned;
pub mod process;
pub mod read;
pub(crate) mod scratch;
pub mod stage;
mod streams;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use palisade_policy::Policy;

use crate::adapters::{Adapter, Case, Inexpressible, Invocation, None as NoSandbox, PolicySource};
use crate::catalogue::Probe;
use crate::lab::Lab;
use crate::observation::Observation;
use case::Outcome;
use place::Place;

/// How long a case may take. Generous: a slow machine must not turn a held probe into an inconclusive one.
const LIMIT: Duration = Duration::from_secs(20);

/// Held while a program is started, and while files are written that will be executed. A child that was forked
/// meanwhile would hold such a file open for writing until its own exec, and executing the file would fail with
/// ETXTBSY (execve(2)).
static FORKING: Mutex<()> = Mutex::new(());

/// See [`FORKING`].
pub(crate) fn no_fork_meanwhile() -> MutexGuard<'static, ()> {
    FORKING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all cases of a run share.
pub struct Runner<'a> {
    /// The lab.
    pub lab: &'a Lab,
    /// The policy, as adapters want it.
    pub policy: PolicySource<'a>,
    /// How many cases run at the same time.
    pub workers: usize,
    /// How long a case may take.
    pub limit: Duration,
}

impl<'a> Runner<'a> {
    /// A runner in `lab` under `policy`, with two workers a processor: cases mostly wait, for namespaces and for silence.
    pub fn new(lab: &'a Lab, argument: &'a str, policy: &'a Policy) -> Self {
        let workers = 2 * thread::available_parallelism().map_or(1, usize::from);
        let policy = PolicySource { argument, policy, carried: &[] };
        Self { lab, policy, workers, limit: LIMIT }
    }

    /// The same, with the network carried by other means: see [`PolicySource::carried`].
    #[must_use]
    pub fn carried_by(mut self, flags: &'a [String]) -> Self {
        self.policy.carried = flags;
        self
    }

    /// A nonce that no other case in this lab has, whichever runner it belongs to.
    fn nonce(&self) -> String {
        static NONCES: AtomicU64 = AtomicU64::new(0);
        let count = NONCES.fetch_add(1, Ordering::Relaxed);
        format!("n{}{count:06x}", self.lab.world().run)
    }

    /// What starts `argv` in the workspace under the policy.
    fn invocation(
        &self,
        adapter: &dyn Adapter,
        argv: &[String],
        wall_time: Option<Duration>,
        nonce: &str,
    ) -> Result<Invocation, Inexpressible> {
        let world = self.lab.world();
        let work = &world.work;
        let scratch = scratch::directory(nonce);
        let case = Case {
            argv,
            cwd: &work.dir,
            wall_time,
            probe: &work.probe,
            id: nonce,
            scratch: &scratch,
            root: !world.rootless,
        };
        adapter.translate(self.policy, case)
    }

    /// Runs a probe under an adapter.
    ///
    /// # Errors
    /// When the runtime cannot express the policy.
    pub fn inside(
        &self,
        place: &mut Place<'_>,
        adapter: &dyn Adapter,
        probe: &Probe,
    ) -> Result<Outcome, Inexpressible> {
        case::run(self, place, adapter, probe, &self.nonce())
    }

    /// Runs a probe without a sandbox.
    pub fn outside(&self, place: &mut Place<'_>, probe: &Probe) -> Observation {
        match self.inside(place, &NoSandbox, probe) {
            Ok(outcome) => outcome.observation,
            Err(Inexpressible { why, .. }) => Observation::nothing(crate::observation::Unseen::Harness(why)),
        }
    }

    /// Calls `work` once for each of `jobs`, side by side except for those that `alone` picks, which run one by one after
    /// the others. The results are in the order of the jobs.
    ///
    /// # Errors
    /// When a worker cannot be set up.
    pub fn each<J: Sync, R: Send>(
        &self,
        jobs: &[J],
        alone: impl Fn(&J) -> bool,
        work: impl Fn(&mut Place<'_>, &J) -> R + Sync,
    ) -> io::Result<Vec<R>> {
        let (serial, parallel): (Vec<usize>, Vec<usize>) =
            (0..jobs.len()).partition(|&index| alone(&jobs[index]));
        let results: Vec<Mutex<Option<R>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
        for (numbers, workers) in [(parallel, self.workers), (serial, 1)] {
            let next = AtomicUsize::new(0);
            thread::scope(|scope| {
                let workers: Vec<_> = (0..workers.min(numbers.len()))
                    .map(|_| {
                        scope.spawn(|| -> io::Result<()> {
                            let mut place = Place::new(self.lab, self.nonce())?;
                            while let Some(&index) = numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
                                let result = work(&mut place, &jobs[index]);
                                *results[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
                            }
                            Ok(())
                        })
                    })
                    .collect();
                workers.into_iter().try_for_each(|worker| match worker.join() {
                    Ok(result) => result,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
            })?;
        }
        let taken = results.into_iter().map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner));
        taken.collect::<Option<Vec<R>>>().ok_or_else(|| io::Error::other("a job has no result"))
    }
}

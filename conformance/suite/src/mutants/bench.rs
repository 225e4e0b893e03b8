//! What mutants and probes are compared on: the probes that are held without a mutation, and what they show outside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::Extent;
use super::derive::{About, Mutant};
use super::layers::{with_capabilities, without_landlock};
use super::order::calls;
use super::widen;
use crate::adapters::Palisade;
use crate::catalogue::{Canary, Class, Outside, Probe};
use crate::entry::Entry;
use crate::lab::Endpoint;
use crate::observation::Observation;
use crate::run::declare::Declared;
use crate::run::place::Place;
use crate::run::{Runner, planned};
use crate::verdict::{Kind, Verdict};
use crate::verify::{lacking, unavailable};

/// What all mutants are compared with.
pub(super) struct Bench<'a> {
    pub(super) runner: &'a Runner<'a>,
    pub(super) palisade: &'a Path,
    /// The probes that are held without a mutation.
    pub(super) probes: Vec<Probe>,
    /// What each shows without a sandbox.
    pub(super) outside: BTreeMap<String, Observation>,
    /// Probes that this machine cannot judge, with reasons.
    pub(super) unsupported: BTreeMap<String, (Probe, String)>,
    pub(super) extent: Extent,
    /// The way by which workloads come in.
    pub(super) entry: Entry,
    /// The times that cases give.
    times: BTreeSet<Duration>,
    /// The plan without a mutation.
    pub(super) plan: &'a Value,
}

pub(super) type Failing = Vec<(String, Verdict)>;

impl<'a> Bench<'a> {
    /// Runs everything outside and under the plan as it is. Probes that fail there spoil the comparison.
    pub(super) fn set_up(
        runner: &'a Runner<'a>,
        palisade: &'a Path,
        probes: Vec<Probe>,
        extent: Extent,
        entry: Entry,
        dir: &Path,
        plan: &'a Value,
    ) -> io::Result<Result<Self, Failing>> {
        let path = dir.join("plan.json");
        let times: BTreeSet<Duration> = probes.iter().filter_map(|probe| probe.wall_time).collect();
        planned::write(&path, plan, &times, true)?;
        let adapter = Palisade::with_plan(palisade, &path).through(entry);
        let lacking = lacking(runner, &probes)?;
        let declared = Declared::by(runner, &Palisade::with_policy(palisade))?;
        let judged = runner.each(
            &probes,
            |probe| probe.serial,
            |place, probe| {
                if let Some(why) = unavailable(probe, &lacking) {
                    return (None, Verdict::Unsupported(why));
                }
                let outside = match probe.outside {
                    Outside::NotRun(_) => None,
                    _ => Some(runner.outside(place, probe)),
                };
                let verdict = planned::verdict(runner, place, &adapter, probe, outside.as_ref());
                (outside, declared.applied(probe, verdict))
            },
        )?;
        let mut bench = Self {
            runner,
            palisade,
            probes: Vec::new(),
            outside: BTreeMap::new(),
            unsupported: BTreeMap::new(),
            extent,
            entry,
            times,
            plan,
        };
        let mut failing = Vec::new();
        for (probe, (outside, verdict)) in probes.into_iter().zip(judged) {
            match verdict {
                Verdict::Held => {
                    bench.outside.extend(outside.map(|outside| (probe.id.clone(), outside)));
                    bench.probes.push(probe);
                }
                Verdict::Unsupported(why) => {
                    bench.unsupported.insert(probe.id.clone(), (probe, why));
                }
                other => failing.push((probe.id, other)),
            }
        }
        Ok(if failing.is_empty() { Ok(bench) } else { Err(failing) })
    }

    /// Writes the plan of a mutant to this file, and beside it one for each time that cases give.
    pub(super) fn write(&self, path: &Path, mutant: &Mutant) -> io::Result<()> {
        planned::write(path, &mutant.plan, &self.times, mutant.keeps_time())
    }

    /// Runs under a mutant whose plan is in this file.
    pub(super) fn adapter(&self, path: &Path, mutant: &Mutant) -> Palisade {
        self.under(path).with_fault(mutant.fault)
    }

    /// Runs under the plan in this file.
    fn under(&self, plan: &Path) -> Palisade {
        Palisade::with_plan(self.palisade, plan).through(self.entry)
    }

    /// Why no workload runs under a mutant, if none does.
    pub(super) fn closed(&self, place: &mut Place<'_>, adapter: &Palisade) -> Option<String> {
        planned::closed(self.runner, place, adapter)
    }

    /// Whether the probe notices what runs by this adapter.
    pub(super) fn notices(&self, place: &mut Place<'_>, adapter: &Palisade, probe: &Probe) -> bool {
        let kind = self.verdict(place, adapter, probe);
        matches!(kind, Kind::Breached | Kind::OverBlocked)
    }

    fn verdict(&self, place: &mut Place<'_>, adapter: &Palisade, probe: &Probe) -> Kind {
        planned::verdict(self.runner, place, adapter, probe, self.outside.get(&probe.id)).kind()
    }

    /// The probes that show one of two layers, with what takes the other layer away, for a mutant that takes the first: its
    /// kill is then told from the plan without the other layer alone.
    ///
    /// A call that needs a capability is refused without one, filter or not, so the mutant alone shows nothing. With every
    /// capability over its own namespaces kept, the workload meets the filter: intact it must hold, open it must not.
    ///
    /// A mount that may be written to stays as it was under Landlock.
    ///
    /// What a route refuses is refused by the gateway too; without the gateway's decision, the route alone is met.
    ///
    /// A fork bomb runs into RLIMIT_NPROC where it does not run into its control group; without that, the group is met.
    pub(super) fn layered(&self, mutant: &Mutant) -> Option<(Vec<&Probe>, Strip)> {
        let (about, strip): (Vec<&Probe>, Strip) = match &mutant.about {
            About::Call(name) => {
                let number = palisade_policy::syscalls::number(name).map(u64::from)?;
                (
                    self.probes.iter().filter(|probe| calls(probe).contains(&number)).collect(),
                    with_every_right,
                )
            }
            about if about.is_of_processes() => {
                let bombs =
                    |probe: &&Probe| probe.clause.as_str() == "resources.processes" && probe.spec == "RES-3";
                (self.probes.iter().filter(bombs).collect(), without_process_limit)
            }
            About::Prohibited(net) => {
                let is_inside = |place: &Canary| match place {
                    Canary::Listener(Endpoint::Inet(address), _) => net.contains(&address.ip()),
                    _ => false,
                };
                let denied = |probe: &&Probe| probe.class == Class::Denied;
                let inside = |probe: &&Probe| probe.canary.as_ref().is_some_and(is_inside);
                (self.probes.iter().filter(denied).filter(inside).collect(), widen::undecided)
            }
            _ if mutant.name != "drop restrict_landlock" && mutant.groups.contains(&"fs") => {
                let files = |probe: &&Probe| mutant.groups.contains(&probe.group());
                (self.probes.iter().filter(files).collect(), without_landlock)
            }
            _ => return None,
        };
        (!about.is_empty()).then_some((about, strip))
    }

    /// For each of these probes its verdict without the other layer: with this one intact, and under the mutant.
    pub(super) fn isolated(
        &self,
        place: &mut Place<'_>,
        path: &Path,
        mutant: &Mutant,
        (about, strip): (&[&Probe], Strip),
    ) -> io::Result<Vec<(Kind, Kind)>> {
        let mut verdicts = |plan: &Value, extension: &str| -> io::Result<Vec<Kind>> {
            let path = path.with_extension(extension);
            fs::write(&path, serde_json::to_vec(&strip(plan))?)?;
            let adapter = self.under(&path);
            Ok(about.iter().map(|probe| self.verdict(place, &adapter, probe)).collect())
        };
        let (intact, open) = (verdicts(self.plan, "intact.json")?, verdicts(&mutant.plan, "open.json")?);
        Ok(intact.into_iter().zip(open).collect())
    }
}

/// Takes a layer of a plan away.
pub(super) type Strip = fn(&Value) -> Value;

/// The plan with every capability, and without the kernel's own limit of user namespaces: what is left is the filter.
fn with_every_right(plan: &Value) -> Value {
    planned::without(&with_capabilities(plan), |kind, _| kind == "forbid_user_namespaces")
}

/// The plan without RLIMIT_NPROC.
fn without_process_limit(plan: &Value) -> Value {
    let mut plan = plan.clone();
    if let Some(steps) = plan.get_mut("steps").and_then(Value::as_array_mut) {
        steps.retain(|step| step.pointer("/step/limit/resource").is_none_or(|limit| limit != "processes"));
    }
    plan
}

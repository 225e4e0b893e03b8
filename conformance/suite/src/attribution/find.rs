//! Runs what was held again, under one layer after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::mount::{UnmountFlags, mount_bind_recursive, unmount};
use serde_json::Value;

use super::plans::{self, Ground, all_but, only, owed};
use super::{Attribution, Finding, Layer};
use crate::adapters::Palisade;
use crate::catalogue::{Class, Probe};
use crate::entry::Entry;
use crate::report::CaseReport;
use crate::run::place::Place;
use crate::run::{Runner, planned};
use crate::verdict::Kind;

/// What a plan is made for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    Only(Ground, BTreeSet<Layer>),
    AllBut(BTreeSet<Layer>),
}

/// Whether a probe is held under a plan; `Err` where that could not be told, with the reason.
type Holds = Result<bool, String>;

struct Finder<'a> {
    runner: &'a Runner<'a>,
    palisade: &'a Path,
    entry: Entry,
    plan: &'a Value,
    lab: plans::Lab,
    times: BTreeSet<Duration>,
    dir: PathBuf,
    number: AtomicUsize,
    /// The plans that were written, each with the reason why nothing runs under it, if nothing does.
    written: Mutex<BTreeMap<Which, Result<PathBuf, String>>>,
}

/// Tells, for each of the cases that is a held denial, which layers hold it; `probes` are those of the cases, in the same order.
///
/// # Errors
/// When the plan cannot be had, or files of the lab cannot be written.
pub(crate) fn find(
    runner: &Runner<'_>,
    palisade: &Path,
    entry: Entry,
    probes: &[Probe],
    cases: &[CaseReport],
) -> io::Result<BTreeMap<String, Attribution>> {
    let plan = planned::plan(runner, palisade)?;
    let dir = runner.lab.world().base.join("tools/layers");
    let proc = dir.join("proc");
    fs::create_dir_all(&proc)?;
    mount_bind_recursive("/proc", &proc)?;
    let finder = Finder {
        runner,
        palisade,
        entry,
        plan: &plan,
        lab: plans::Lab {
            caller: planned::caller(runner.lab),
            proc: proc.clone(),
            rootless: runner.lab.world().rootless,
            root: root()?,
        },
        times: probes.iter().filter_map(|probe| probe.wall_time).collect(),
        dir,
        number: AtomicUsize::new(0),
        written: Mutex::default(),
    };
    let held: Vec<(&Probe, &CaseReport)> = probes
        .iter()
        .zip(cases)
        .filter(|(probe, case)| attributable(probe) && case.verdict.kind() == Kind::Held)
        .collect();
    let found = runner.each(
        &held,
        |(probe, _)| probe.serial,
        |place, (probe, case)| finder.attribute(place, probe, case).map(|found| (probe.id.clone(), found)),
    )?;
    unmount(&proc, UnmountFlags::DETACH)?;
    found.into_iter().collect()
}

/// Whether the probe is about an operation that a layer can stop. Others compare ways in, or two sandboxes, or interfere.
fn attributable(probe: &Probe) -> bool {
    let plain = probe.interference.is_none() && probe.beside.is_none();
    probe.class == Class::Denied && plain && probe.group() != "exec"
}

/// What lies in the lab's root directory; what is neither a directory nor a link is nothing that a probe looks for.
fn root() -> io::Result<Vec<(PathBuf, Option<PathBuf>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/")? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            found.push((entry.path(), Some(fs::read_link(entry.path())?)));
        } else if kind.is_dir() {
            found.push((entry.path(), None));
        }
    }
    found.sort();
    Ok(found)
}

impl Finder<'_> {
    fn attribute(&self, place: &mut Place<'_>, probe: &Probe, case: &CaseReport) -> io::Result<Attribution> {
        let owed = owed(self.plan, probe.clause.as_str());
        let mut found = Attribution {
            finding: Finding::Unknown,
            alone: Vec::new(),
            needed: Vec::new(),
            owed: owed.iter().copied().collect(),
            untold: Vec::new(),
        };
        let mut holds = |which: Which| self.holds(place, probe, case, which);
        let mut ground = None;
        let mut untold = None;
        for candidate in Ground::ALL {
            match holds(Which::Only(candidate, BTreeSet::new()))? {
                Ok(false) => {
                    ground = Some(candidate);
                    break;
                }
                Ok(true) => {}
                Err(why) => untold = Some(why),
            }
        }
        if let Some(ground) = ground {
            for layer in self.layers() {
                match holds(Which::Only(ground, [layer].into()))? {
                    Ok(true) => found.alone.push(layer),
                    Ok(false) => {}
                    Err(why) => found.untold.push((layer, why)),
                }
            }
        }
        // Of two layers each of which is enough, none is needed.
        let all: Vec<Layer> = self.layers().collect();
        let candidates: &[Layer] = match found.alone.as_slice() {
            [] => &all,
            [_] => &found.alone,
            _ => &[],
        };
        for &layer in candidates {
            match holds(Which::AllBut([layer].into()))? {
                Ok(false) => found.needed.push(layer),
                Ok(true) => {}
                Err(why) if !found.untold.iter().any(|(other, _)| *other == layer) => {
                    found.untold.push((layer, why));
                }
                Err(_) => {}
            }
        }
        found.untold.sort();
        let serves = |layer: &Layer| owed.contains(layer);
        found.finding = match ground {
            _ if found.alone.iter().chain(&found.needed).any(serves) => Finding::AsDeclared,
            None if found.needed.is_empty() => match untold {
                Some(_) => Finding::Unknown,
                None => Finding::NoLayer,
            },
            _ => {
                // Not one of those that serve the clause is enough or needed. Do they hold it together, or when the others that
                // are enough are gone; or is it not held when they are?
                let others: BTreeSet<Layer> = found.alone.iter().copied().collect();
                let last = match ground {
                    Some(ground) if holds(Which::Only(ground, owed.clone()))? == Ok(true) => Ok(true),
                    _ if !others.is_empty() => holds(Which::AllBut(others))?,
                    _ => holds(Which::AllBut(owed))?.map(|held| !held),
                };
                match last {
                    Ok(true) => Finding::AsDeclared,
                    Ok(false) => Finding::WrongReason,
                    Err(_) => Finding::Unknown,
                }
            }
        };
        Ok(found)
    }

    /// The layers that can be taken away.
    fn layers(&self) -> impl Iterator<Item = Layer> {
        Layer::ALL.into_iter().filter(|layer| *layer != Layer::Identity || !self.lab.rootless)
    }

    fn holds(
        &self,
        place: &mut Place<'_>,
        probe: &Probe,
        case: &CaseReport,
        which: Which,
    ) -> io::Result<Holds> {
        let path = match self.plan_for(place, which)? {
            Ok(path) => path,
            Err(why) => return Ok(Err(why)),
        };
        let adapter = Palisade::with_plan(self.palisade, path).through(self.entry);
        let verdict = planned::verdict(self.runner, place, &adapter, probe, case.outside.as_ref());
        Ok(match verdict.kind() {
            Kind::Held => Ok(true),
            Kind::Breached => Ok(false),
            _ => Err(verdict.why().unwrap_or_default()),
        })
    }

    /// The file of a plan, written and tried when it is first asked for.
    fn plan_for(&self, place: &mut Place<'_>, which: Which) -> io::Result<Result<PathBuf, String>> {
        let known = self.written.lock().unwrap_or_else(PoisonError::into_inner).get(&which).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let plan = match &which {
            Which::Only(ground, layers) => only(self.plan, *ground, layers, &self.lab),
            Which::AllBut(layers) => all_but(self.plan, layers, &self.lab),
        };
        // Two workers may both come here first: each writes a file of its own.
        let path = self.dir.join(format!("{}.json", self.number.fetch_add(1, Ordering::Relaxed)));
        planned::write(&path, &plan, &self.times, true)?;
        let adapter = Palisade::with_plan(self.palisade, &path).through(self.entry);
        let usable = planned::closed(self.runner, place, &adapter).map_or(Ok(path), Err);
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(which, usable.clone());
        Ok(usable)
    }
}

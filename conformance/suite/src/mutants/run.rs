//! Runs the catalogue against each mutant.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use anstream::AutoStream;

use super::bench::Bench;
use super::derive::{self, About, Mutant};
use super::matrix::{Fate, Matrix, Row, SCHEMA};
use super::order::{calls, nearness, noticed_before};
use super::{Extent, Fault, layers, teeth};
use crate::adapters::Palisade;
use crate::catalogue::{Need, Probe};
use crate::entry::Entry;
use crate::run::Runner;
use crate::run::place::Place;
use crate::run::planned::{caller, plan};
use crate::verdict::Kind;
use crate::verify::{ExitCode, Format, Options, finished};

/// Runs all mutants of the policy's plan and prints the matrix.
///
/// # Errors
/// When the plan cannot be had, or a file of the lab cannot be written.
pub fn run(
    options: &Options,
    runner: &Runner<'_>,
    palisade: &Path,
    probes: Vec<Probe>,
    extent: Extent,
) -> io::Result<ExitCode> {
    let start = Instant::now();
    let plan = plan(runner, palisade)?;
    let mut mutants = derive::all(&plan, &caller(runner.lab)).map_err(io::Error::other)?;
    if extent == Extent::Probes {
        mutants.extend(derive::withheld(&plan).map_err(io::Error::other)?);
        mutants.extend(layers::all(&plan));
    }
    if extent == Extent::Sample {
        mutants = derive::sample(mutants);
    }
    if let Some(pattern) = &options.only_mutants {
        mutants.retain(|mutant| crate::glob::matches(pattern, &mutant.name));
    }
    if mutants.is_empty() {
        eprintln!("error: no mutant matches");
        return Ok(ExitCode::Inconclusive);
    }
    if options.list {
        return finished(list(options, &mutants)).map(|()| ExitCode::Held);
    }
    let dir = runner.lab.world().base.join("tools/plans");
    fs::create_dir_all(&dir)?;
    let bench = match Bench::set_up(runner, palisade, probes, extent, options.entry, &dir, &plan)? {
        Ok(bench) => bench,
        Err(failing) => {
            eprintln!("error: the plan itself is not clean, so no mutant can be told from it");
            failing.iter().for_each(|(id, verdict)| eprintln!("  {id}: {verdict}"));
            let failed = failing.iter().any(|(_, verdict)| verdict.kind().fails());
            return Ok(if failed { ExitCode::Failed } else { ExitCode::Inconclusive });
        }
    };
    let numbered: Vec<(usize, &Mutant)> = mutants.iter().enumerate().collect();
    let file = |number: usize| dir.join(format!("{number}.json"));
    if extent == Extent::Probes {
        let teeth = teeth::find(options, &bench, &mutants, file)?;
        teeth.print(options)?;
        return Ok(if teeth.complete() { ExitCode::Held } else { ExitCode::Failed });
    }
    let rows = runner.each(
        &numbered,
        |_| false,
        |place, (number, mutant)| bench.row(place, &file(*number), mutant),
    )?;
    let mut rows = rows.into_iter().collect::<io::Result<Vec<Row>>>()?;
    let survivors: Vec<usize> =
        (0..rows.len()).filter(|&number| rows[number].fate == Fate::Survived).collect();
    let fates = runner.each(
        &survivors,
        |_| true,
        |place, &number| bench.alone(place, &file(number), &mutants[number]),
    )?;
    for (number, fate) in survivors.into_iter().zip(fates) {
        rows[number].fate = fate;
    }
    let idle = (extent == Extent::Full).then(|| idle(&bench.probes, &rows));
    let matrix = Matrix {
        schema: SCHEMA,
        policy: options.policy.name.clone(),
        host: crate::verify::host(runner.lab),
        probes: bench.probes.len(),
        rows,
        idle,
        took: start.elapsed(),
    };
    print(options, &matrix)?;
    let survived = matrix.survivors().next().is_some();
    Ok(if survived { ExitCode::Failed } else { ExitCode::Held })
}

impl Bench<'_> {
    fn row(&self, place: &mut Place<'_>, path: &Path, mutant: &Mutant) -> io::Result<Row> {
        let start = Instant::now();
        let fate = self.fate(place, path, mutant)?;
        let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Row { mutant: mutant.name.clone(), origin: mutant.origin, fate, duration_ms })
    }

    fn fate(&self, place: &mut Place<'_>, path: &Path, mutant: &Mutant) -> io::Result<Fate> {
        if let About::Nothing(why) = mutant.about {
            return Ok(Fate::Inexpressible(why.to_owned()));
        }
        self.write(path, mutant)?;
        let adapter = self.adapter(path, mutant);
        if let Some(why) = self.closed(place, &adapter) {
            return Ok(Fate::FailsClosed(why));
        }
        if matches!(mutant.about, About::Prohibited(_))
            && let Some(fate) = self.without_the_other_layer(place, path, mutant)?
        {
            return Ok(fate);
        }
        let (related, others) = self.in_order(mutant);
        let mut killers = self.killers(place, &adapter, related);
        if killers.is_empty() {
            // Asked before the long rest of the catalogue, which seldom has anything to say.
            if let Some(why) = self.inexpressible(place, mutant)? {
                return Ok(Fate::Inexpressible(why));
            }
            if let Some(fate) = self.without_the_other_layer(place, path, mutant)? {
                return Ok(fate);
            }
        }
        if killers.is_empty() || self.extent == Extent::Full {
            killers.extend(self.killers(place, &adapter, others));
        }
        killers.sort();
        Ok(if killers.is_empty() { Fate::Survived } else { Fate::Killed(killers) })
    }

    /// The probes that notice the mutant, or only the first one.
    fn killers(&self, place: &mut Place<'_>, adapter: &Palisade, probes: Vec<&Probe>) -> Vec<String> {
        let notices = |probe: &&Probe| self.notices(place, adapter, probe);
        let most = if self.extent == Extent::Full { usize::MAX } else { 1 };
        probes.into_iter().filter(notices).take(most).map(|probe| probe.id.clone()).collect()
    }

    /// What becomes of a mutant that takes away one of two layers, when the other is taken away too.
    ///
    /// What the kernel refuses with every capability kept and the filter open is closed to every user namespace but the
    /// first, and no plan can show the filter.
    fn without_the_other_layer(
        &self,
        place: &mut Place<'_>,
        path: &Path,
        mutant: &Mutant,
    ) -> io::Result<Option<Fate>> {
        let in_two = matches!(mutant.about, About::Call(_) | About::Prohibited(_));
        if !in_two && !mutant.about.is_of_processes() {
            return Ok(None);
        }
        let Some((about, strip)) = self.layered(mutant) else { return Ok(None) };
        let verdicts = self.isolated(place, path, mutant, (&about, strip))?;
        let killers: Vec<String> = about
            .iter()
            .zip(&verdicts)
            .filter(|(_, verdicts)| **verdicts == (Kind::Held, Kind::Breached))
            .map(|(probe, _)| probe.id.clone())
            .collect();
        if !killers.is_empty() {
            return Ok(Some(Fate::Killed(killers)));
        }
        let held = verdicts.iter().all(|verdicts| *verdicts == (Kind::Held, Kind::Held));
        Ok(match &mutant.about {
            About::Call(name) if held => Some(Fate::Inexpressible(format!(
                "{name} stays refused with the filter open and every capability kept: only the first user namespace may"
            ))),
            _ => None,
        })
    }

    /// What became of a survivor when also the probes that must run alone have met it.
    fn alone(&self, place: &mut Place<'_>, path: &Path, mutant: &Mutant) -> Fate {
        let adapter = self.adapter(path, mutant);
        let serial = self.probes.iter().filter(|probe| probe.serial).collect();
        let killers = self.killers(place, &adapter, serial);
        if killers.is_empty() { Fate::Survived } else { Fate::Killed(killers) }
    }

    /// The probes that may run beside others: those that must notice the mutant, those of its own groups, the ones about
    /// its system call first, and the rest.
    fn in_order(&self, mutant: &Mutant) -> (Vec<&Probe>, Vec<&Probe>) {
        let near = nearness(mutant, &self.probes);
        let must =
            |probe: &Probe| mutant.killers.iter().any(|pattern| crate::glob::matches(pattern, &probe.id));
        let noticed: Vec<&str> = noticed_before(&mutant.name).collect();
        let first = |probe: &Probe| must(probe) || noticed.contains(&probe.id.as_str());
        let mut parallel: Vec<&Probe> = self.probes.iter().filter(|probe| !probe.serial).collect();
        parallel.sort_by_cached_key(|probe| (!must(probe), !first(probe), near(probe)));
        parallel.into_iter().partition(|probe| !near(probe).1)
    }

    /// Why nothing can notice the mutant on this machine, where that can be checked: every probe about it is unsupported
    /// here, or what it leaves open does not exist here.
    fn inexpressible(&self, place: &mut Place<'_>, mutant: &Mutant) -> io::Result<Option<String>> {
        if mutant.fault == Some(Fault::LeavesMount) && self.runner.lab.world().rootless {
            return Ok(Some(
                "an ordinary user's supervisor may mount nothing outside of a sandbox".to_owned(),
            ));
        }
        let of_time = mutant.about == About::WallTime || mutant.fault == Some(Fault::OnlyAsks);
        if of_time && self.entry == Entry::Exec {
            return Ok(Some("what is added to a sandbox has the time of the sandbox".to_owned()));
        }
        Ok(match &mutant.about {
            // Changing ids makes a process not dumpable by itself (prctl(2), PR_SET_DUMPABLE), to the value of this file.
            About::Step if mutant.name == "drop not_dumpable" && nix::unistd::geteuid().is_root() => {
                let value = fs::read_to_string("/proc/sys/fs/suid_dumpable")?;
                let same = value.trim() == "0";
                same.then(|| "fs.suid_dumpable is 0: the change of ids has the same effect".to_owned())
            }
            About::Step | About::WallTime | About::Group(None) | About::Prohibited(_) => None,
            About::Nothing(why) => Some((*why).to_owned()),
            About::Group(Some(controller)) => {
                let clause = clause_of(controller);
                self.all_unsupported(|probe| Some(probe.clause.as_str()) == clause)
            }
            About::GroupFile(file) => {
                let about_swap = ["memory.memsw.limit_in_bytes", "memory.swap.max", "memory.swappiness"]
                    .contains(&file.as_str());
                // A heading, then a line for each.
                let none = || Ok::<_, io::Error>(fs::read_to_string("/proc/swaps")?.lines().count() < 2);
                if about_swap && none()? {
                    return Ok(Some("this machine has no swap".to_owned()));
                }
                let clause = file.split('.').next().and_then(clause_of);
                self.all_unsupported(|probe| Some(probe.clause.as_str()) == clause)
            }
            About::Call(name) => {
                let Some(number) = palisade_policy::syscalls::number(name).map(u64::from) else {
                    return Ok(None);
                };
                self.all_unsupported(|probe| calls(probe).contains(&number))
            }
            About::Guard("foreign_arch") => self.all_unsupported(|probe| probe.needs.contains(&Need::Ia32)),
            About::Guard("x32") => self.all_unsupported(|probe| probe.needs.contains(&Need::X32)),
            About::Guard("unknown") => self.no_unknown_calls(),
            About::Guard(_) => None,
            About::ReadOnly(source) => {
                let _stand = place.stand(&[])?;
                let flags = rustix::fs::statvfs(source.as_str())?.f_flag;
                let closed = flags.contains(rustix::fs::StatVfsMountFlags::RDONLY);
                closed.then(|| {
                    format!(
                        "{source} is read-only outside of the sandbox too, and a copy of a mount stays so"
                    )
                })
            }
            About::Submounts(source) => {
                let _stand = place.stand(&[])?;
                let below = format!(" {}/", source.trim_end_matches('/'));
                let mounts = fs::read_to_string("/proc/thread-self/mountinfo")?;
                let none = !mounts.lines().any(|line| line.contains(&below));
                none.then(|| format!("nothing is mounted below {source} here"))
            }
        })
    }

    /// Why a filter that lets unknown numbers through cannot be told from one that does not: without any filter this
    /// kernel answers each of them with ENOSYS too.
    fn no_unknown_calls(&self) -> Option<String> {
        let answers: Vec<bool> = self
            .probes
            .iter()
            .filter(|probe| probe.id.starts_with("sys/future-nr/"))
            .filter_map(|probe| self.outside.get(&probe.id))
            .map(|outside| {
                outside.attempt.as_ref().is_ok_and(|seen| seen.errno() == Some(nix::errno::Errno::ENOSYS))
            })
            .collect();
        let all = !answers.is_empty() && answers.iter().all(|absent| *absent);
        all.then(|| {
            "this kernel has no call that the table does not know: ENOSYS without a filter too".to_owned()
        })
    }

    /// Where at least one probe is about it and all of them are unsupported: the first, with its reason.
    fn all_unsupported(&self, about: impl Fn(&Probe) -> bool) -> Option<String> {
        if self.probes.iter().any(&about) {
            return None;
        }
        let unsupported = self.unsupported.values().find(|(probe, _)| about(probe));
        unsupported.map(|(probe, why)| format!("{}: {why}", probe.id))
    }
}

/// The clause of the policy that a controller of a control group serves.
fn clause_of(controller: &str) -> Option<&'static str> {
    Some(match controller {
        "memory" => "resources.memory",
        "pids" => "resources.processes",
        "cpu" => "resources.cpus",
        "cpu_accounting" => "resources.cpu_time",
        _ => return None,
    })
}

fn idle(probes: &[Probe], rows: &[Row]) -> Vec<String> {
    let killers: BTreeSet<&String> = rows
        .iter()
        .filter_map(|row| match &row.fate {
            Fate::Killed(killers) => Some(killers),
            _ => None,
        })
        .flatten()
        .collect();
    probes.iter().map(|probe| &probe.id).filter(|id| !killers.contains(id)).cloned().collect()
}

/// What each mutant is called, and the bug that it is, where it is one that a system has had.
fn list(options: &Options, mutants: &[Mutant]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match options.format {
        Format::Text => mutants.iter().try_for_each(|mutant| match mutant.origin {
            Some(origin) => writeln!(out, "{}  ({origin})", mutant.name),
            None => writeln!(out, "{}", mutant.name),
        }),
        Format::Json => {
            let entry = |mutant: &Mutant| {
                serde_json::json!({
                    "mutant": mutant.name,
                    "origin": mutant.origin,
                    "groups": mutant.groups,
                    "killers": mutant.killers,
                })
            };
            let entries: Vec<serde_json::Value> = mutants.iter().map(entry).collect();
            serde_json::to_writer_pretty(&mut out, &entries)?;
            writeln!(out)
        }
    }
}

fn print(options: &Options, matrix: &Matrix) -> io::Result<()> {
    match options.format {
        Format::Text => {
            let mut out = AutoStream::new(io::stdout(), options.color).lock();
            matrix.write_text(&mut out)
        }
        Format::Json => {
            let mut out = io::stdout().lock();
            serde_json::to_writer_pretty(&mut out, matrix)?;
            writeln!(out)
        }
    }
}

//! Runs the catalogue against each mutant.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anstream::AutoStream;
use palisade_probe::script::Arg;
use palisade_probe::{attempt, control};
use serde_json::Value;

use super::Extent;
use super::derive::{self, About, Mutant};
use super::matrix::{Fate, Matrix, Row, SCHEMA};
use crate::adapters::Palisade;
use crate::catalogue::{Need, Outside, Probe, Severity, Workload};
use crate::entry::Entry;
use crate::judge::{Evidence, judge};
use crate::lab::Lab;
use crate::observation::{Observation, Unseen};
use crate::run::declare::Declared;
use crate::run::place::Place;
use crate::run::{Runner, no_fork_meanwhile};
use crate::verdict::{Kind, Verdict};
use crate::verify::{ExitCode, Format, Options, lacking, unavailable};

/// What all mutants are compared with.
struct Bench<'a> {
    runner: &'a Runner<'a>,
    palisade: &'a Path,
    /// The probes that are held without a mutation.
    probes: Vec<Probe>,
    /// What each shows without a sandbox.
    outside: BTreeMap<String, Observation>,
    /// Probes that this machine cannot judge, with reasons.
    unsupported: BTreeMap<String, (Probe, String)>,
    extent: Extent,
    /// The way by which workloads come in.
    entry: Entry,
    /// The plan without a mutation.
    plan: &'a Value,
}

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
    if let Some(pattern) = &options.only_mutants {
        mutants.retain(|mutant| crate::glob::matches(pattern, &mutant.name));
    }
    if mutants.is_empty() {
        eprintln!("error: no mutant matches");
        return Ok(ExitCode::Inconclusive);
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
    let rows = runner.each(
        &numbered,
        |_| false,
        |place, (number, mutant)| bench.row(place, &file(*number), mutant),
    )?;
    let mut rows = rows.into_iter().collect::<io::Result<Vec<Row>>>()?;
    let survivors: Vec<usize> =
        (0..rows.len()).filter(|&number| rows[number].fate == Fate::Survived).collect();
    let fates = runner.each(&survivors, |_| true, |place, &number| bench.alone(place, &file(number)))?;
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

/// The plan, as the runtime makes it for the place where the cases run.
fn plan(runner: &Runner<'_>, palisade: &Path) -> io::Result<Value> {
    let made = runner.each(
        &[()],
        |()| false,
        |place, ()| {
            let _stand = place.stand(&[])?;
            let mut command = Command::new(palisade);
            command.args(["plan", "--format", "json", "--policy", runner.policy.argument]);
            command.current_dir(&runner.lab.world().work.dir).stdin(Stdio::null());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let child = {
                let _alone = no_fork_meanwhile();
                runner.lab.spawn(&mut command)?
            };
            child.wait_with_output()
        },
    )?;
    let output = made.into_iter().next().unwrap_or_else(|| Err(io::Error::other("no plan was made")))?;
    if !output.status.success() {
        let said = crate::report::escape(output.stderr.trim_ascii());
        return Err(io::Error::other(format!("palisade plan: {}: {said}", output.status)));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The environment of whoever starts the runtime in a case, as far as it is text: all of it is.
fn caller(lab: &Lab) -> BTreeMap<String, String> {
    let text = |word: OsString| word.into_string().ok();
    let all = crate::run::case::environment(lab).into_iter();
    all.filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
}

type Failing = Vec<(String, Verdict)>;

impl<'a> Bench<'a> {
    /// Runs everything outside and under the plan as it is. Probes that fail there spoil the comparison.
    fn set_up(
        runner: &'a Runner<'a>,
        palisade: &'a Path,
        probes: Vec<Probe>,
        extent: Extent,
        entry: Entry,
        dir: &Path,
        plan: &'a Value,
    ) -> io::Result<Result<Self, Failing>> {
        let path = dir.join("plan.json");
        fs::write(&path, serde_json::to_vec(plan)?)?;
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
                let verdict = attempt_under(runner, place, &adapter, probe, outside.as_ref());
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

    /// Runs under the plan in this file.
    fn adapter(&self, plan: &Path) -> Palisade {
        Palisade::with_plan(self.palisade, plan).through(self.entry)
    }

    fn row(&self, place: &mut Place<'_>, path: &Path, mutant: &Mutant) -> io::Result<Row> {
        let start = Instant::now();
        let fate = self.fate(place, path, mutant)?;
        let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Row { mutant: mutant.name.clone(), fate, duration_ms })
    }

    fn fate(&self, place: &mut Place<'_>, path: &Path, mutant: &Mutant) -> io::Result<Fate> {
        fs::write(path, serde_json::to_vec(&mutant.plan)?)?;
        let adapter = self.adapter(path);
        let starts = Probe::allows("mutant/starts", Severity::Low)
            .script([control!("sys", nix::libc::SYS_getpid), attempt!("sys", nix::libc::SYS_getpid)])
            .outside(Outside::NotRun("only whether it starts"));
        let trial = match self.runner.inside(place, &adapter, &starts) {
            Ok(outcome) => outcome.observation,
            Err(why) => return Ok(Fate::FailsClosed(why.to_string())),
        };
        match trial.attempt {
            Err(Unseen::NotStarted(why)) => return Ok(Fate::FailsClosed(why)),
            Err(Unseen::NotAttempted(why)) => {
                return Ok(Fate::FailsClosed(format!("the workload does not run: {why}")));
            }
            Err(Unseen::TimedOut) => return Ok(Fate::FailsClosed("the runtime hangs".to_owned())),
            _ => {}
        }
        let (related, others) = self.in_order(mutant);
        let mut killers = self.killers(place, &adapter, related);
        if killers.is_empty() {
            // Asked before the long rest of the catalogue, which seldom has anything to say.
            if let Some(why) = self.inexpressible(place, mutant)? {
                return Ok(Fate::Inexpressible(why));
            }
            if let Some(fate) = self.isolated(place, path, mutant)? {
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
        let notices = |probe: &&Probe| {
            let verdict = attempt_under(self.runner, place, adapter, probe, self.outside.get(&probe.id));
            matches!(verdict.kind(), Kind::Breached | Kind::OverBlocked)
        };
        let most = if self.extent == Extent::Quick { 1 } else { usize::MAX };
        probes.into_iter().filter(notices).take(most).map(|probe| probe.id.clone()).collect()
    }

    /// What becomes of a mutant that takes away one of two layers, when the other is taken away too.
    ///
    /// A call that needs a capability is refused without one, filter or not, so the mutant alone shows nothing. With every
    /// capability over its own namespaces kept, the workload meets the filter: intact it must hold, open it must not. What
    /// the kernel refuses even then is closed to every user namespace but the first, and no plan can show the filter.
    ///
    /// A fork bomb runs into RLIMIT_NPROC where it does not run into its control group; without that, the group is met.
    fn isolated(&self, place: &mut Place<'_>, path: &Path, mutant: &Mutant) -> io::Result<Option<Fate>> {
        let (about, strip, closed): (Vec<&Probe>, fn(&Value) -> Value, _) = match &mutant.about {
            About::Call(name) => {
                let Some(number) = palisade_policy::syscalls::number(name).map(u64::from) else {
                    return Ok(None);
                };
                let about = self.probes.iter().filter(|probe| calls(probe).contains(&number)).collect();
                let closed = format!(
                    "{name} stays refused with the filter open and every capability kept: only the first user namespace may"
                );
                (about, with_capabilities, Some(closed))
            }
            about if about.is_of_processes() => {
                let bombs =
                    |probe: &&Probe| probe.clause.as_str() == "resources.processes" && probe.spec == "RES-3";
                (self.probes.iter().filter(bombs).collect(), without_process_limit, None)
            }
            _ => return Ok(None),
        };
        if about.is_empty() {
            return Ok(None);
        }
        let mut verdicts = |plan: &Value, extension: &str| -> io::Result<Vec<Kind>> {
            let path = path.with_extension(extension);
            fs::write(&path, serde_json::to_vec(&strip(plan))?)?;
            let adapter = self.adapter(&path);
            let verdict = |probe: &&Probe| {
                attempt_under(self.runner, place, &adapter, probe, self.outside.get(&probe.id)).kind()
            };
            Ok(about.iter().map(verdict).collect())
        };
        let (intact, open) = (verdicts(self.plan, "intact.json")?, verdicts(&mutant.plan, "open.json")?);
        let pairs = || about.iter().zip(intact.iter().zip(&open));
        let killers: Vec<String> = pairs()
            .filter(|(_, (intact, open))| **intact == Kind::Held && **open == Kind::Breached)
            .map(|(probe, _)| probe.id.clone())
            .collect();
        if !killers.is_empty() {
            return Ok(Some(Fate::Killed(killers)));
        }
        let held = pairs().all(|(_, (intact, open))| *intact == Kind::Held && *open == Kind::Held);
        Ok(closed.filter(|_| held).map(Fate::Inexpressible))
    }

    /// What became of a survivor when also the probes that must run alone have met it.
    fn alone(&self, place: &mut Place<'_>, path: &Path) -> Fate {
        let adapter = self.adapter(path);
        let serial = self.probes.iter().filter(|probe| probe.serial).collect();
        let killers = self.killers(place, &adapter, serial);
        if killers.is_empty() { Fate::Survived } else { Fate::Killed(killers) }
    }

    /// The probes that may run beside others: those of the mutant's own groups, the ones about its system call first,
    /// and the rest.
    fn in_order(&self, mutant: &Mutant) -> (Vec<&Probe>, Vec<&Probe>) {
        let number = match &mutant.about {
            About::Call(name) => palisade_policy::syscalls::number(name),
            _ => None,
        };
        let about = |probe: &Probe| number.is_some_and(|number| calls(probe).contains(&u64::from(number)));
        let group = |probe: &Probe| mutant.groups.iter().position(|group| *group == probe.group());
        let parallel = self.probes.iter().filter(|probe| !probe.serial);
        let (mut related, mut others): (Vec<&Probe>, Vec<&Probe>) =
            parallel.partition(|probe| about(probe) || group(probe).is_some());
        let affinity = Affinity::to(mutant, &self.probes);
        let nearest = |probe: &Probe| std::cmp::Reverse(affinity.of(probe));
        related.sort_by_key(|probe| (!about(probe), nearest(probe), group(probe)));
        others.sort_by_key(|probe| nearest(probe));
        (related, others)
    }

    /// Why nothing can notice the mutant on this machine, where that can be checked: every probe about it is unsupported
    /// here, or what it leaves open does not exist here.
    fn inexpressible(&self, place: &mut Place<'_>, mutant: &Mutant) -> io::Result<Option<String>> {
        Ok(match &mutant.about {
            // Changing ids makes a process not dumpable by itself (prctl(2), PR_SET_DUMPABLE), to the value of this file.
            About::Step if mutant.name == "drop not_dumpable" && nix::unistd::geteuid().is_root() => {
                let value = fs::read_to_string("/proc/sys/fs/suid_dumpable")?;
                let same = value.trim() == "0";
                same.then(|| "fs.suid_dumpable is 0: the change of ids has the same effect".to_owned())
            }
            About::Step | About::Group(None) => None,
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

/// The verdict of one run of a probe under a plan.
fn attempt_under(
    runner: &Runner<'_>,
    place: &mut Place<'_>,
    adapter: &Palisade,
    probe: &Probe,
    outside: Option<&Observation>,
) -> Verdict {
    match runner.inside(place, adapter, probe) {
        Err(why) => Verdict::Unsupported(why.to_string()),
        Ok(outcome) => {
            let canary = outcome.canary.as_ref();
            judge(probe, Evidence { inside: &outcome.observation, outside, canary })
        }
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

/// The plan without RLIMIT_NPROC.
fn without_process_limit(plan: &Value) -> Value {
    let mut plan = plan.clone();
    if let Some(steps) = plan.get_mut("steps").and_then(Value::as_array_mut) {
        steps.retain(|step| step.pointer("/step/limit/resource").is_none_or(|limit| limit != "processes"));
    }
    plan
}

/// The plan with every capability kept in every set.
fn with_capabilities(plan: &Value) -> Value {
    let mut plan = plan.clone();
    let steps = plan.get_mut("steps").and_then(Value::as_array_mut).into_iter().flatten();
    for step in steps {
        for kind in ["drop_bounding_set", "drop_capabilities"] {
            if let Some(keep) = step.pointer_mut(&format!("/step/{kind}/keep")) {
                *keep = palisade_policy::capability::NAMES.to_vec().into();
            }
        }
    }
    plan
}

/// How likely a probe is to notice a mutant, by the words that both use: a rare word (`acpi`) says more than one that
/// many probes use (`proc`). It only orders; every probe has its turn.
struct Affinity {
    /// What each word of the mutant is worth.
    worth: BTreeMap<String, u32>,
}

impl Affinity {
    fn to(mutant: &Mutant, probes: &[Probe]) -> Self {
        const MOST: u32 = 10_000;
        let mut worth: BTreeMap<String, u32> = words(&mutant.name).map(|word| (word, 0)).collect();
        for probe in probes {
            for word in vocabulary(probe) {
                worth.entry(word).and_modify(|count| *count += 1);
            }
        }
        worth.values_mut().for_each(|count| *count = MOST / (*count).max(1));
        Self { worth }
    }

    fn of(&self, probe: &Probe) -> u32 {
        vocabulary(probe).iter().filter_map(|word| self.worth.get(word)).sum()
    }
}

/// The words of an entry: of its id, its requirement and its statements.
fn vocabulary(probe: &Probe) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = words(&probe.id).chain(words(probe.requirement.as_ref())).collect();
    if let Workload::Script(script) = &probe.workload {
        script.statements().iter().for_each(|statement| all.extend(words(&statement.to_string())));
    }
    all
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.len() > 2)
        .map(str::to_ascii_lowercase)
}

/// The numbers of the native system calls that a probe makes by number.
fn calls(probe: &Probe) -> BTreeSet<u64> {
    let Workload::Script(script) = &probe.workload else { return BTreeSet::new() };
    let direct = script.statements().iter().filter(|statement| statement.operation() == "sys");
    direct
        .filter_map(|statement| match statement.args().first()? {
            Arg::Int(number) => u64::try_from(*number).ok(),
            Arg::Uint(number) => Some(*number),
            _ => None,
        })
        .collect()
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

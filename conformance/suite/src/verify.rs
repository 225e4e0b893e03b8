//! `palisade verify`: from options to an exit code.
//!
//! Two executions of the program share this file. The **outer** one lists, or enters the lab, which runs the same
//! program with the same arguments again; that **inner** one builds the lab, runs the probes, and reports on the
//! outputs that it inherited.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anstream::{AutoStream, ColorChoice};
use palisade_policy::{Backend, Clause, NetworkMode, Policy, Workspace};

pub use crate::adapters::Brought;
use crate::adapters::{self, Adapter};
pub use crate::baseline::Baseline;
use crate::baseline::Comparison;
use crate::catalogue::{self, Need, Outside, Probe, Tier};
pub use crate::custom::Custom;
pub use crate::entry::Entry;
use crate::judge::{Evidence, judge};
use crate::known::{self, Day, Here, Known, Release};
use crate::lab::{self, Lab, LabOptions, World};
use crate::matrix::family;
use crate::observation::Observation;
use crate::progress::Progress;
use crate::report::{CaseReport, Report, Subject, json, printable, text};
use crate::run::declare::{self, Declared};
use crate::run::place::Place;
use crate::run::{Runner, fault, needs, stage};
pub use crate::shard::Shard;
use crate::verdict::Kind;
use crate::{attribution, glob, mutants, smoke, untested};

use outputs::Files;
pub use outputs::Output;

/// First argument of the program as the inner stage; the arguments of the outer one follow.
pub const SUITE: &str = "__suite";

/// How a verification ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Every probe that could be judged is held (or unsupported, or a known deviation); or a shard has no probe.
    Held = 0,
    /// Something is breached or over-blocked, or passed unexpectedly; or a known deviation has lapsed; or a mutant survived.
    Failed = 1,
    /// The command line or the policy is wrong, or the runtime is not there.
    Usage = 2,
    /// Something is inconclusive, or nothing was selected, or no lab could be had.
    Inconclusive = 3,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// The form of what goes to standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For a person.
    #[default]
    Text,
    /// For a program: [`json::SCHEMA`].
    Json,
}

/// How much of the catalogue runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// The gravest of each clause that waits for nothing: seconds.
    Smoke,
    /// All but what is slow; with a pattern, all that matches.
    #[default]
    Standard,
    /// What is slow, too.
    Soak,
    /// As standard, and what takes more from a machine than it may bear where nothing bounds it.
    Destructive,
}

/// The file of deviations that is added to.
#[derive(Clone, Debug)]
pub struct Update {
    /// Where it is.
    pub path: PathBuf,
    /// What is said of each entry.
    pub words: known::Words,
}

/// What to verify, and how to tell.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether this is the inner stage, from [`arguments`].
    pub inner: bool,
    /// The policy.
    pub policy: Policy,
    /// What names the policy on the command line.
    pub policy_argument: String,
    /// The text of the policy's file; `None` for a built-in one, which the runtime finds by name.
    pub policy_text: Option<String>,
    /// Where the policy's clauses are written, `file:line` by clause, as far as known.
    pub locations: BTreeMap<String, String>,
    /// The name of the adapter.
    pub runtime: String,
    /// The adapter itself, where the caller has brought it along.
    pub brought: Option<Brought>,
    /// The way by which workloads come into the sandbox.
    pub entry: Entry,
    /// The means by which the network is carried, where it is not to be what the policy says.
    pub backend: Option<Backend>,
    /// Probes that the caller has brought along.
    pub custom: Custom,
    /// Patterns over probe ids, separated by commas.
    pub only: Option<String>,
    /// A clause of the policy, or one without the numbers of its entries.
    pub clause: Option<String>,
    /// How much runs.
    pub tier: Selection,
    /// The part of the selected probes that is verified here.
    pub shard: Option<Shard>,
    /// An earlier report; then only what differs from it counts for the exit code.
    pub against: Option<Baseline>,
    /// The deviations that are known, instead of those that are part of the program for this runtime.
    pub known: Option<known::Source>,
    /// A file of deviations that what is over-blocked or inconclusive is added to; [`known`](Self::known) is what it holds.
    pub update_known: Option<Update>,
    /// The form of the report on standard output.
    pub format: Format,
    /// Files that get the report too.
    pub outputs: Vec<Output>,
    /// Whether to use colours.
    pub color: ColorChoice,
    /// Tell which layers of the sandbox hold what is held: each runs again alone.
    pub layers: bool,
    /// Only list the probes, or the mutants.
    pub list: bool,
    /// How often each probe runs; the worst verdict counts. At least 1.
    pub repeat: u32,
    /// How many probes run side by side, 1 to 64; as [`Runner::new`] says where nothing is said.
    pub jobs: Option<u8>,
    /// Run mutants of the plan instead, and tell which the suite notices.
    pub mutants: Option<mutants::Extent>,
    /// A pattern over the names of mutants.
    pub only_mutants: Option<String>,
    /// What the host offers, for the JSON report.
    pub host_facts: serde_json::Value,
}

/// Does the work of a hidden stage of the program, if this execution is one; `Some` is the exit status to end with.
///
/// Call it first thing in `main`, before any thread exists and before arguments are parsed.
pub fn hidden_main() -> Option<u8> {
    stage::dispatch().or_else(fault::dispatch).or_else(lab::dispatch)
}

/// The arguments of the program to parse, its name first, and whether this is the inner stage.
pub fn arguments() -> (bool, Vec<OsString>) {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let inner = arguments.get(1).is_some_and(|first| first == SUITE);
    if inner {
        arguments.remove(1);
    }
    (inner, arguments)
}

/// Why a verification could not be carried out.
#[derive(Debug)]
struct Failure {
    code: ExitCode,
    what: String,
    hint: Option<String>,
}

impl Failure {
    fn new(code: ExitCode, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), hint: None }
    }
}

impl From<lab::LabError> for Failure {
    fn from(error: lab::LabError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self { code: ExitCode::Inconclusive, what: format!("no lab, nothing was probed: {error}"), hint }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(ExitCode::Inconclusive, error.to_string())
    }
}

/// Verifies. Everything it has to say is on standard output and standard error.
///
/// Unless it only lists, call it while the process has one thread: see [`lab::enter`].
pub fn verify(options: &Options) -> ExitCode {
    // Mutants are of a plan, which only the lab has.
    let result = if options.list && options.mutants.is_none() {
        list(options)
    } else if options.inner {
        inside(options)
    } else {
        outside(options)
    };
    result.unwrap_or_else(|failure| {
        eprintln!("error: {}", failure.what);
        if let Some(hint) = failure.hint {
            eprintln!("hint: {hint}");
        }
        failure.code
    })
}

fn outside(options: &Options) -> Result<ExitCode, Failure> {
    // What can be refused without a lab is refused before there is one.
    check_runtime(options)?;
    check_baseline(options)?;
    deviations(options)?;
    select(options, &described(options))?;
    let files = Files::create(&options.outputs, options.update_known.as_ref())?;
    let entered = lab::enter_carrying(lab::inner_arguments(SUITE), files.carrier());
    let filled = files.fill();
    let code = match entered? {
        0 => ExitCode::Held,
        1 => ExitCode::Failed,
        2 => ExitCode::Usage,
        _ => ExitCode::Inconclusive,
    };
    match filled {
        Err(lost) if code == ExitCode::Held => Err(lost),
        // Nothing that is said about a file makes what was found better.
        Err(lost) => {
            eprintln!("error: {}", lost.what);
            Ok(code)
        }
        Ok(()) => Ok(code),
    }
}

/// The lab as it would be.
fn described(options: &Options) -> World {
    World { entry: options.entry, ..World::described() }
}

fn check_runtime(options: &Options) -> Result<(), Failure> {
    if options.backend.is_some() && options.runtime != "palisade" {
        return Err(Failure::new(ExitCode::Usage, "only the runtime palisade has backends"));
    }
    if options.layers && options.runtime != "palisade" {
        return Err(Failure::new(
            ExitCode::Usage,
            "only the runtime palisade has layers that can be taken apart",
        ));
    }
    let known = options.brought.is_some() || adapters::names().any(|name| name == options.runtime);
    let plain = options.mutants.is_none() && options.entry == Entry::Run;
    if known && (plain || options.runtime == "palisade") {
        return Ok(());
    }
    let mut failure = if known && options.mutants.is_some() {
        Failure::new(ExitCode::Usage, "only the runtime palisade has mutants")
    } else if known {
        let why = format!("the runtime {} has no entry {}", options.runtime, options.entry);
        Failure::new(ExitCode::Usage, why)
    } else {
        Failure::new(ExitCode::Usage, format!("no adapter for a runtime {:?}", options.runtime))
    };
    failure.hint = (!known).then(|| {
        let names = adapters::names().collect::<Vec<_>>().join(", ");
        format!("the adapters are: {names}; or a file FILE.yaml that describes one")
    });
    Err(failure)
}

fn check_baseline(options: &Options) -> Result<(), Failure> {
    let Some(baseline) = &options.against else { return Ok(()) };
    baseline.check(&options.runtime, options.entry, backend(options)).map_err(|error| Failure {
        code: ExitCode::Usage,
        what: printable(&error.to_string()),
        hint: Some(error.hint().to_owned()),
    })
}

/// The catalogue with what the caller has brought along, sorted by id.
fn catalogued(options: &Options, world: &World) -> Vec<Probe> {
    let mut probes = catalogue::all(world, &options.policy);
    probes.extend(options.custom.probes.iter().cloned());
    probes.sort_by(|a, b| a.id.cmp(&b.id));
    probes
}

/// The deviations that are known, here or elsewhere.
fn deviations(options: &Options) -> Result<Vec<known::Deviation>, Failure> {
    let source = options.known.clone().unwrap_or_else(|| known::Source::of_runtime(&options.runtime));
    let parsed = known::parse(&source.text)
        .map_err(|why| Failure::new(ExitCode::Usage, printable(&format!("{}: {why}", source.name))))?;
    match &options.update_known {
        Some(update) if update.words.expires < today() => {
            Err(Failure::new(ExitCode::Usage, format!("--expires: {} is over", update.words.expires)))
        }
        _ => Ok(parsed),
    }
}

/// The probes that the options select, sorted by id. Nothing selected is an error; a shard that none of the selected falls into
/// is not, since others have them.
fn select(options: &Options, world: &World) -> Result<Vec<Probe>, Failure> {
    let mut probes = catalogued(options, world);
    match (&options.only, options.tier) {
        (Some(patterns), _) => probes.retain(|probe| glob::matches_any(patterns, &probe.id)),
        (None, Selection::Soak) => {}
        (None, _) => probes.retain(|probe| probe.tier != Tier::Soak),
    }
    if let Some(clause) = &options.clause {
        probes.retain(|probe| {
            [probe.clause.as_str(), family(probe.clause.as_str())].contains(&clause.as_str())
        });
    }
    // A pattern does not ask for these.
    if options.tier != Selection::Destructive {
        probes.retain(|probe| probe.tier != Tier::Destructive);
    }
    if options.tier == Selection::Smoke {
        probes = smoke::smoke(probes);
    }
    if probes.is_empty() {
        let pattern = options.only.as_deref().unwrap_or("*");
        let of = options.clause.as_ref().map_or(String::new(), |clause| format!(" of the clause {clause:?}"));
        let mut failure = Failure::new(ExitCode::Inconclusive, format!("no probe{of} matches {pattern:?}"));
        failure.hint =
            Some("`palisade verify --list` shows all; * stands for any run of characters".to_owned());
        return Err(failure);
    }
    if let Some(shard) = options.shard {
        probes.retain(|probe| shard.takes(&probe.id));
    }
    Ok(probes)
}

fn list(options: &Options) -> Result<ExitCode, Failure> {
    let probes = select(options, &described(options))?;
    let mut out = io::stdout().lock();
    let written = match options.format {
        Format::Text => {
            let width = probes.iter().map(|probe| probe.id.len()).max().unwrap_or(0);
            probes.iter().try_for_each(|probe| writeln!(out, "{:width$}  {}", probe.id, probe.requirement))
        }
        Format::Json => {
            let entries: Vec<serde_json::Value> = probes.iter().map(entry).collect();
            serde_json::to_writer_pretty(&mut out, &entries)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(out))
        }
    };
    finished(written)?;
    Ok(ExitCode::Held)
}

fn entry(probe: &Probe) -> serde_json::Value {
    serde_json::json!({
        "id": probe.id,
        "class": probe.class,
        "severity": probe.severity,
        "tier": probe.tier,
        "clause": probe.clause.as_str(),
        "spec": probe.spec,
        "requirement": probe.requirement,
    })
}

/// A reader that went away is no failure of the verification.
pub(crate) fn finished(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn inside(options: &Options) -> Result<ExitCode, Failure> {
    check_runtime(options)?;
    check_baseline(options)?;
    let known = deviations(options)?;
    let carrier = outputs::inherited(options)?;
    let overlay = options.policy.filesystem.workspace == Workspace::Overlay;
    let ports = catalogue::ports(&options.policy);
    let lab = lab::build(&LabOptions {
        entry: options.entry,
        overlay,
        ports,
        links: options.backend.unwrap_or(options.policy.network.backend).is_plumbed(),
        ..LabOptions::default()
    })?;
    let argument = carry_policy(options, lab.world())?;
    let palisade = lab
        .world()
        .tool("palisade")
        .ok_or_else(|| Failure::new(ExitCode::Inconclusive, "the lab has no copy of this program"))?;
    let carried = carried(options, lab.world());
    let mut runner = Runner::new(&lab, &argument, &options.policy).carried_by(&carried);
    if let Some(jobs) = options.jobs {
        runner.workers = jobs.max(1).into();
    }
    if options.backend.unwrap_or(options.policy.network.backend) == Backend::Macvlan {
        // All of them have the one address that the policy names.
        runner.workers = 1;
    }
    if let Some(backend) = options.backend {
        let palisade = adapters::Palisade::with_policy(palisade);
        if let Some(why) = declare::refusal(&runner, &palisade)? {
            let what = format!("backend {}: not here\n{why}", backend.word());
            return Err(Failure::new(ExitCode::Usage, what));
        }
    }
    if let Some(extent) = options.mutants {
        let probes = select(options, lab.world())?;
        return Ok(mutants::run(options, &runner, palisade, probes, extent)?);
    }
    let adapter = match &options.brought {
        Some(brought) => {
            brought.put()?;
            Box::new(brought.clone())
        }
        None => adapters::by_name(&options.runtime, palisade, options.entry)
            .ok_or_else(|| Failure::new(ExitCode::Usage, format!("no adapter {:?}", options.runtime)))?,
    };
    let version = adapter.detect().map_err(|why| Failure::new(ExitCode::Usage, why))?;
    let probes = select(options, lab.world())?;
    let known = Known::new(known, here(options, &runner)?, today());
    let mut report = report(options, &runner, adapter.as_ref(), version, &probes, known)?;
    if options.layers {
        let start = Instant::now();
        let mut found = attribution::find(&runner, palisade, options.entry, &probes, &report.cases)?;
        report.cases.iter_mut().for_each(|case| case.layers = found.remove(&case.id));
        report.took += start.elapsed();
    }
    let update =
        options.update_known.as_ref().map(|update| updated(options, &runner, &report, &update.words));
    let update = update.transpose()?;
    if let Some(carrier) = carrier {
        let update = update.as_ref().map(|update| update.as_deref().unwrap_or_default());
        outputs::carry(carrier, &options.outputs, &report, update)?;
    }
    write(options, &report)?;
    let code = exit_code(&report);
    let Some(Err(refused)) = update else { return Ok(code) };
    eprintln!("error: --update-known: {}", printable(&refused.to_string()));
    Ok(ExitCode::Failed)
}

/// What conditions of deviations are about.
fn here(options: &Options, runner: &Runner<'_>) -> io::Result<Here> {
    let name = rustix::system::uname();
    let landlock = runner.each(&[()], |()| false, |place, ()| needs::landlock_abi(runner, place))?;
    Ok(Here {
        kernel: Release::of_uname(&name.release().to_string_lossy()),
        arch: name.machine().to_string_lossy().into_owned(),
        landlock: landlock.into_iter().sum(),
        root: !runner.lab.world().rootless,
        entry: options.entry,
        policy: options.policy.name.clone(),
    })
}

/// The file of deviations with what this run found; the file as it is stays without a text.
fn updated(
    options: &Options,
    runner: &Runner<'_>,
    report: &Report,
    words: &known::Words,
) -> io::Result<Result<String, known::UpdateError>> {
    let before = options.known.as_ref().map_or("", |source| source.text.as_str());
    Ok(known::added(before, &report.cases, &here(options, runner)?, words))
}

/// What carries the network, where there is one to carry.
fn backend(options: &Options) -> Option<&'static str> {
    let carries = options.runtime == "palisade" && options.policy.network.mode != NetworkMode::None;
    carries.then(|| match options.backend.unwrap_or(options.policy.network.backend) {
        Backend::Auto => Backend::Gateway.word(),
        named => named.word(),
    })
}

/// The flags that make Palisade carry the network by what the options say.
fn carried(options: &Options, world: &World) -> Vec<String> {
    let Some(backend) = options.backend else { return Vec::new() };
    let mut flags = vec![format!("--backend={}", backend.word())];
    if backend == Backend::Macvlan {
        flags.push(format!("--link={}", lab::link(world.ipv6.is_planted())));
    }
    flags
}

/// The policy's file as the lab sees it: the lab's own mounts may hide where it lay.
fn carry_policy(options: &Options, world: &World) -> io::Result<String> {
    let Some(text) = &options.policy_text else { return Ok(options.policy_argument.clone()) };
    let path = world.base.join("tools/policy.yaml");
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

fn report(
    options: &Options,
    runner: &Runner<'_>,
    adapter: &dyn Adapter,
    version: String,
    probes: &[Probe],
    known: Known,
) -> Result<Report, Failure> {
    let start = Instant::now();
    let lacking = lacking(runner, probes)?;
    let excuses = Excuses { known, declared: Declared::by(runner, adapter)? };
    let location = |probe: &Probe| locate(&options.locations, &probe.clause);
    let progress = Progress::begin(probes.len(), options.format == Format::Text);
    let cases = runner.each(
        probes,
        |probe| probe.serial,
        |place, probe| {
            let case = match unavailable(probe, &lacking) {
                Some(why) => CaseReport::unsupported(probe, location(probe), why),
                None => one(options, runner, place, adapter, probe, &excuses),
            };
            progress.done(case.verdict.kind());
            case
        },
    )?;
    drop(progress);
    let subject = Subject {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        runtime: adapter.name().to_owned(),
        runtime_file: options.brought.as_ref().map(|brought| brought.path.display().to_string()),
        runtime_version: Some(version),
        entry: options.entry,
        backend: backend(options),
        policy: options.policy.name.clone(),
        policy_argument: options.policy_argument.clone(),
        probes: options.custom.paths.iter().map(|path| path.display().to_string()).collect(),
        host: host(runner.lab),
        host_facts: options.host_facts.clone(),
        repeat: options.repeat,
        shard: options.shard,
    };
    let all = catalogued(options, runner.lab.world());
    let untested = untested::untested(options.locations.keys().map(String::as_str), &all);
    let untested = untested.into_iter().filter_map(|clause| options.locations.get_key_value(clause));
    let untested = untested.map(|(clause, location)| (clause.clone(), location.clone())).collect();
    let against = options.against.as_ref().map(|baseline| compared(options, baseline, &cases, &all));
    let ids: Vec<&str> = all.iter().map(|probe| probe.id.as_str()).collect();
    let lapsed = excuses.known.lapsed(&ids);
    Ok(Report { subject, cases, untested, lapsed, took: start.elapsed(), against })
}

/// What has changed since the earlier report. Of what it has, and this run has not, only what no run can have any more is gone: the
/// rest was not asked for.
fn compared(options: &Options, baseline: &Baseline, cases: &[CaseReport], all: &[Probe]) -> Comparison {
    let now = cases.iter().map(|case| (case.id.clone(), case.verdict.kind())).collect();
    let asked = |id: &str| {
        options.only.as_ref().is_none_or(|patterns| glob::matches_any(patterns, id))
            && options.shard.is_none_or(|shard| shard.takes(id))
    };
    baseline.comparison(&now, |id| asked(id) && !all.iter().any(|probe| probe.id == id))
}

/// What the machine lacks of all that the probes need, with reasons.
pub(crate) fn lacking(runner: &Runner<'_>, probes: &[Probe]) -> io::Result<Vec<(Need, String)>> {
    let mut wanted: Vec<Need> = Vec::new();
    for &need in probes.iter().flat_map(|probe| &probe.needs) {
        if !wanted.contains(&need) {
            wanted.push(need);
        }
    }
    let found = runner.each(
        &wanted,
        |_| false,
        |place, &need| needs::lacking(runner, place, need).map(|why| (need, why)),
    )?;
    Ok(found.into_iter().flatten().collect())
}

/// Why the probe cannot run here, if it cannot.
pub(crate) fn unavailable(probe: &Probe, lacking: &[(Need, String)]) -> Option<String> {
    let need = lacking.iter().find(|(need, _)| probe.needs.contains(need)).map(|(_, why)| why.clone());
    probe.absent.clone().or(need)
}

/// What keeps a breach from counting as one.
struct Excuses {
    known: Known,
    declared: Declared,
}

/// One probe: both sides, as often as asked, judged; the worst verdict with its evidence.
fn one(
    options: &Options,
    runner: &Runner<'_>,
    place: &mut Place<'_>,
    adapter: &dyn Adapter,
    probe: &Probe,
    excuses: &Excuses,
) -> CaseReport {
    let location = locate(&options.locations, &probe.clause);
    // The control runtime is its own baseline: running the same thing twice would compare luck.
    let own_baseline = adapter.name() == "none";
    let baseline = match probe.outside {
        Outside::NotRun(_) => None,
        _ if own_baseline => None,
        _ => Some(runner.outside(place, probe)),
    };
    let mut worst: Option<CaseReport> = None;
    for _ in 0..options.repeat.max(1) {
        let case = match runner.inside(place, adapter, probe) {
            Err(why) => return CaseReport::unsupported(probe, location, why.to_string()),
            Ok(outcome) => {
                let outside: Option<&Observation> =
                    if own_baseline { Some(&outcome.observation) } else { baseline.as_ref() };
                let canary = outcome.canary.as_ref();
                let verdict = judge(probe, Evidence { inside: &outcome.observation, outside, canary });
                let mut case = CaseReport::new(probe, location.clone(), verdict);
                case.outside = outside.cloned();
                case.took = outcome.observation.took;
                case.inside = Some(outcome.observation);
                case.canary = outcome.canary;
                case
            }
        };
        let is_worse = worst.as_ref().is_none_or(|worst| {
            let combined = worst.verdict.clone().worse(case.verdict.clone());
            combined != worst.verdict
        });
        if is_worse {
            worst = Some(case);
        }
    }
    match worst {
        Some(mut case) => {
            let verdict = excuses.declared.applied(probe, case.verdict);
            case.verdict = excuses.known.apply(verdict, &probe.id);
            case
        }
        None => CaseReport::unsupported(probe, location, "it was repeated zero times".to_owned()),
    }
}

/// Where the policy says the clause: its own line, or that of the clause around it.
fn locate(locations: &BTreeMap<String, String>, clause: &Clause) -> Option<String> {
    let mut name = clause.as_str();
    loop {
        if let Some(location) = locations.get(name) {
            return Some(location.clone());
        }
        let end = name.rfind(['.', '['])?;
        name = &name[..end];
    }
}

fn today() -> Day {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Day::of_unix_time(seconds)
}

/// One line about the machine.
pub(crate) fn host(lab: &Lab) -> String {
    let name = rustix::system::uname();
    let who = if lab.world().rootless { "rootless" } else { "root" };
    format!(
        "{} {} {}, {who}",
        name.sysname().to_string_lossy(),
        name.release().to_string_lossy(),
        name.machine().to_string_lossy()
    )
}

fn write(options: &Options, report: &Report) -> io::Result<()> {
    finished(match options.format {
        Format::Text => {
            let mut out = AutoStream::new(io::stdout(), options.color).lock();
            text::write(&mut out, report).and_then(|()| out.flush())
        }
        Format::Json => {
            let mut out = io::BufWriter::new(io::stdout().lock());
            json::write(&mut out, report).and_then(|()| out.flush())
        }
    })
}

fn exit_code(report: &Report) -> ExitCode {
    if !report.lapsed.is_empty() {
        return ExitCode::Failed;
    }
    if report.cases.is_empty() && report.subject.shard.is_some() {
        // All that was selected is in other shards, and it is they that must show something.
        return ExitCode::Held;
    }
    let counts = report.counts();
    // What an earlier report said already is not told again.
    let told: BTreeSet<Kind> = match &report.against {
        Some(comparison) => comparison.differing().collect(),
        None => counts.keys().copied().collect(),
    };
    let shows = |kind: &Kind| !matches!(kind, Kind::Unsupported | Kind::Inconclusive);
    if told.iter().any(|kind| kind.fails()) {
        ExitCode::Failed
    } else if told.contains(&Kind::Inconclusive) || !counts.keys().any(shows) {
        // Nothing but unsupported probes has shown nothing.
        ExitCode::Inconclusive
    } else {
        ExitCode::Held
    }
}

mod outputs;
#[cfg(test)]
mod tests;

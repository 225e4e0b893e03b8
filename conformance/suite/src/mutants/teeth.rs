//! For each probe a mutant that it notices, or the reason why there is none here: the other reading of the kill matrix.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::bench::Bench;
use super::derive::{About, Mutant};
use super::order::{Nearness, nearness};
use super::vacuous;
use crate::catalogue::{Class, Probe};
use crate::report::printable;
use crate::run::place::Place;
use crate::verdict::Kind;
use crate::verify::{Format, Options};

/// Name and version of the JSON form.
pub(super) const SCHEMA: &str = "palisade.teeth/1";

/// So many mutants are shown to a probe before whole layers are taken away. The rest is shown after these: nearly all of
/// it has nothing to do with the probe.
const NEAREST: usize = 16;

/// What is known of a probe's teeth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It notices this mutant.
    Kills(String),
    /// It notices none here, for this listed reason.
    Vacuous(&'static str),
    /// It is listed as one that notices none, and notices this one.
    Listed(String),
    /// This machine cannot judge it.
    Unsupported(String),
    /// It notices none, and nobody has said why.
    Nothing,
}

/// One probe.
#[derive(Clone, Debug, Serialize)]
pub struct Tooth {
    /// Its id.
    pub probe: String,
    /// What it notices.
    pub answer: Answer,
}

/// All probes of a policy.
#[derive(Clone, Debug, Serialize)]
pub struct Teeth {
    /// `SCHEMA`.
    pub schema: &'static str,
    /// The policy's name.
    pub policy: String,
    /// The way by which workloads come in.
    pub entry: crate::entry::Entry,
    /// One line about the host.
    pub host: String,
    /// How many mutants there are, those under which nothing starts included.
    pub mutants: usize,
    /// One a probe, in the order of their ids.
    pub probes: Vec<Tooth>,
    /// From the first case to the last.
    #[serde(skip)]
    pub took: Duration,
}

/// Shows each probe the mutants, those first that it is likely to notice, until it does. `file` is where the plan of a mutant
/// may be written.
///
/// # Errors
/// When a plan cannot be written or a worker cannot be set up.
pub(super) fn find(
    options: &Options,
    bench: &Bench<'_>,
    mutants: &[Mutant],
    file: impl Fn(usize) -> PathBuf + Sync,
) -> io::Result<Teeth> {
    let start = Instant::now();
    let openings =
        Openings { bench, mutants, file: &file, known: mutants.iter().map(|_| Mutex::default()).collect() };
    let near: Vec<Vec<Nearness>> = mutants
        .iter()
        .map(|mutant| bench.probes.iter().map(nearness(mutant, &bench.probes)).collect())
        .collect();
    let rootless = bench.runner.lab.world().rootless;
    let numbered: Vec<(usize, &Probe)> = bench.probes.iter().enumerate().collect();
    let found = bench.runner.each(
        &numbered,
        |(_, probe)| probe.serial,
        |place, (index, probe)| {
            let stage = |at: usize| Stage::of(&mutants[at], &near[at][*index]);
            let may = |at: &usize| probe.class == Class::Allowed || !mutants[*at].gives_less;
            let mut order: Vec<usize> = (0..mutants.len()).filter(may).collect();
            // Of the layers each takes away more than the one before.
            let number = |at: usize| if stage(at) == Stage::Layer { at } else { 0 };
            order.sort_by_key(|&at| (stage(at), number(at), near[at][*index]));
            let mut shown: Vec<(Stage, usize)> = Vec::new();
            for at in order {
                let is_near = stage(at) == Stage::Near;
                if is_near && shown.len() >= NEAREST {
                    shown.push((Stage::Far, at));
                } else if !is_near || openings.is_open(place, at)? {
                    shown.push((stage(at), at));
                }
            }
            if vacuous::reason(&probe.id, options.entry, rootless).is_some() {
                // That nothing at all turns it is what the list says.
                shown.retain(|(stage, _)| *stage != Stage::Far);
            }
            noticed(&openings, place, (*index, probe), shown)
        },
    )?;
    let mut probes = Vec::new();
    for (probe, mutant) in bench.probes.iter().zip(found) {
        let answer = match (mutant?, vacuous::reason(&probe.id, options.entry, rootless)) {
            (Some(mutant), None) => Answer::Kills(mutant),
            (Some(mutant), Some(_)) => Answer::Listed(mutant),
            (None, Some(why)) => Answer::Vacuous(why),
            (None, None) => Answer::Nothing,
        };
        probes.push(Tooth { probe: probe.id.clone(), answer });
    }
    probes.extend(
        bench
            .unsupported
            .iter()
            .map(|(id, (_, why))| Tooth { probe: id.clone(), answer: Answer::Unsupported(why.clone()) }),
    );
    probes.sort_by(|a, b| a.probe.cmp(&b.probe));
    Ok(Teeth {
        schema: SCHEMA,
        policy: options.policy.name.clone(),
        entry: options.entry,
        host: crate::verify::host(bench.runner.lab),
        mutants: mutants.len(),
        probes,
        took: start.elapsed(),
    })
}

/// Under which mutants anything starts at all, asked when it has to be known: a few probes meet a few of them.
struct Openings<'a, F> {
    bench: &'a Bench<'a>,
    mutants: &'a [Mutant],
    file: &'a F,
    known: Vec<Mutex<Option<bool>>>,
}

impl<F: Fn(usize) -> PathBuf + Sync> Openings<'_, F> {
    /// Also writes the plan of the mutant.
    fn is_open(&self, place: &mut Place<'_>, number: usize) -> io::Result<bool> {
        let mut known = self.known[number].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = *known {
            return Ok(known);
        }
        let (path, mutant) = ((self.file)(number), &self.mutants[number]);
        self.bench.write(&path, mutant)?;
        Ok(*known.insert(self.bench.closed(place, &self.bench.adapter(&path, mutant)).is_none()))
    }
}

/// When a probe is shown a mutant: what takes the least away comes first, and what has nothing to do with the probe last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// About the same system call, or of a kind that the probe's group looks at.
    Near,
    /// A whole layer.
    Layer,
    /// Anything else.
    Far,
}

impl Stage {
    fn of(mutant: &Mutant, (not_the_call, unrelated, ..): &Nearness) -> Self {
        let near = if matches!(mutant.about, About::Call(_)) { !not_the_call } else { !unrelated };
        match near {
            true => Self::Near,
            false if mutant.groups.is_empty() => Self::Layer,
            false => Self::Far,
        }
    }
}

/// The first of these mutants that the probe notices, if it notices one.
fn noticed<F: Fn(usize) -> PathBuf + Sync>(
    openings: &Openings<'_, F>,
    place: &mut Place<'_>,
    (index, probe): (usize, &Probe),
    shown: Vec<(Stage, usize)>,
) -> io::Result<Option<String>> {
    let Openings { bench, mutants, file, .. } = openings;
    let (near, mut others): (Vec<_>, Vec<_>) =
        shown.into_iter().partition(|(stage, _)| *stage == Stage::Near);
    others.sort_by_key(|(stage, _)| *stage);
    let alone = |place: &mut Place<'_>, numbers: &[(Stage, usize)]| -> io::Result<Option<usize>> {
        for &(_, number) in numbers {
            if openings.is_open(place, number)?
                && bench.notices(place, &bench.adapter(&file(number), &mutants[number]), probe)
            {
                return Ok(Some(number));
            }
        }
        Ok(None)
    };
    if let Some(number) = alone(place, &near)? {
        return Ok(Some(mutants[number].name.clone()));
    }
    for (_, number) in near {
        let mutant = &mutants[number];
        let Some((_, strip)) =
            bench.layered(mutant).filter(|(about, _)| about.iter().any(|p| p.id == probe.id))
        else {
            continue;
        };
        // A file for each probe: others look at the same mutant meanwhile.
        let path = file(number).with_extension(format!("{index}.json"));
        let verdicts = bench.isolated(place, &path, mutant, (&[probe], strip))?;
        if verdicts == [(Kind::Held, Kind::Breached)] {
            return Ok(Some(format!("{}, the other layer taken away too", mutant.name)));
        }
    }
    Ok(alone(place, &others)?.map(|number| mutants[number].name.clone()))
}

impl Teeth {
    /// Whether there is an answer for each probe.
    pub fn complete(&self) -> bool {
        !self.probes.iter().any(|tooth| matches!(tooth.answer, Answer::Nothing | Answer::Listed(_)))
    }

    /// Writes the table for a person.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        const BOLD: Style = Style::new().bold();
        const DIM: Style = Style::new().dimmed();
        const GOOD: Style = AnsiColor::Green.on_default();
        const BAD: Style = AnsiColor::Red.on_default().bold();
        writeln!(
            out,
            "{BOLD}palisade verify --mutants=probes{BOLD:#}  policy {BOLD}{}{BOLD:#}  entry {}  {DIM}{}, {} mutants{DIM:#}\n",
            printable(&self.policy),
            self.entry,
            printable(&self.host),
            self.mutants,
        )?;
        let width = self.probes.iter().map(|tooth| tooth.probe.len()).max().unwrap_or(0);
        for Tooth { probe, answer } in &self.probes {
            let (style, word, detail) = match answer {
                Answer::Kills(mutant) => (GOOD, "kills", &**mutant),
                Answer::Vacuous(why) => (DIM, "vacuous here", *why),
                Answer::Unsupported(why) => (DIM, "unsupported", &**why),
                Answer::Listed(mutant) => (BAD, "LISTED, KILLS", &**mutant),
                Answer::Nothing => (BAD, "NO ANSWER", ""),
            };
            writeln!(out, "  {probe:width$}  {style}{word:13}{style:#} {DIM}{}{DIM:#}", printable(detail))?;
        }
        let count =
            |test: fn(&Answer) -> bool| self.probes.iter().filter(|tooth| test(&tooth.answer)).count();
        writeln!(
            out,
            "\n{BOLD}{} probes{BOLD:#}: {} kill a mutant, {} vacuous here, {} unsupported, {} without an answer {DIM}in {:.1} s{DIM:#}",
            self.probes.len(),
            count(|answer| matches!(answer, Answer::Kills(_))),
            count(|answer| matches!(answer, Answer::Vacuous(_))),
            count(|answer| matches!(answer, Answer::Unsupported(_))),
            count(|answer| matches!(answer, Answer::Nothing | Answer::Listed(_))),
            self.took.as_secs_f64(),
        )
    }

    pub(super) fn print(&self, options: &Options) -> io::Result<()> {
        match options.format {
            Format::Text => {
                let mut out = AutoStream::new(io::stdout(), options.color).lock();
                self.write_text(&mut out)
            }
            Format::Json => {
                let mut out = io::stdout().lock();
                serde_json::to_writer_pretty(&mut out, self)?;
                writeln!(out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn teeth() -> Teeth {
        let tooth = |probe: &str, answer| Tooth { probe: probe.to_owned(), answer };
        Teeth {
            schema: SCHEMA,
            policy: "default".to_owned(),
            entry: crate::entry::Entry::Run,
            host: "HOST".to_owned(),
            mutants: 300,
            probes: vec![
                tooth("cap/a", Answer::Kills("drop drop_capabilities".to_owned())),
                tooth("life/b", Answer::Vacuous("nothing else can do it")),
                tooth("tty/c", Answer::Unsupported("no terminal \x1b".to_owned())),
            ],
            took: Duration::ZERO,
        }
    }

    #[test]
    fn text_and_json() {
        let mut bytes = Vec::new();
        teeth().write_text(&mut anstream::StripStream::new(&mut bytes as &mut dyn Write)).unwrap();
        insta::assert_snapshot!("text", String::from_utf8(bytes).unwrap());
        insta::assert_json_snapshot!("json", teeth());
    }

    #[test]
    fn neither_silence_nor_a_stale_listing_is_an_answer() {
        assert!(teeth().complete());
        for answer in [Answer::Nothing, Answer::Listed("drop x".to_owned())] {
            let mut teeth = teeth();
            teeth.probes.push(Tooth { probe: "x/y".to_owned(), answer });
            assert!(!teeth.complete());
        }
    }
}

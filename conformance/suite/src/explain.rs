//! What a probe is about, for somebody who reads about it in a report: `palisade probes`.

use std::io::{self, Write};

use palisade_policy::Policy;
use palisade_probe::script::Phase;
use serde::Serialize;

use crate::catalogue::{self, Class, Need, Outside, Probe, Severity, Tier, Workload};
use crate::lab::World;
use crate::report::{CaseReport, printable};

const SPEC: &str = include_str!("../../SPEC.md");

/// A probe in words.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The probe's id.
    pub id: String,
    /// Whether the policy forbids or allows the attempt.
    pub class: Class,
    /// How bad a breach would be.
    pub severity: Severity,
    /// When it runs.
    pub tier: Tier,
    /// The requirement in one sentence.
    pub requirement: String,
    /// The clause of SPEC.md.
    pub spec: String,
    /// The words of that clause.
    pub spec_text: String,
    /// What others call that which it is about: [`catalogue::tags`].
    pub tags: Vec<&'static str>,
    /// The clause of the policy.
    pub clause: String,
    /// The operation that is judged.
    pub operation: String,
    /// The statements of the probe program, or the command.
    pub workload: Vec<String>,
    /// What must be seen inside.
    pub inside: String,
    /// What must be seen without a sandbox, so that the host is known to permit it.
    pub outside: String,
    /// What must succeed in the same sandbox, so that a refusal of everything does not look like success.
    pub controls: Vec<String>,
    /// What the lab watches from the far side.
    pub canary: Option<String>,
    /// What the machine must offer; elsewhere the probe is unsupported.
    pub needs: Vec<String>,
}

/// All probes that apply to a policy, and `custom`, sorted by id, those of every tier; addresses and paths are those of a lab as it
/// would be.
pub fn explanations(policy: &Policy, custom: &[Probe]) -> Vec<Explanation> {
    let catalogue = catalogue::all(&World::described(), policy);
    let mut all: Vec<Explanation> = catalogue.iter().chain(custom).map(explain).collect();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all
}

fn explain(probe: &Probe) -> Explanation {
    // The words are those of the reports.
    let case = CaseReport::unsupported(probe, None, String::new());
    let controls = match &probe.workload {
        Workload::Script(script) => {
            let controls = script.statements().iter().filter(|one| one.phase() == Phase::Control);
            let controls: Vec<String> = controls.map(ToString::to_string).collect();
            if controls.is_empty() { vec!["getpid, which always is allowed".to_owned()] } else { controls }
        }
        Workload::Command(_) => Vec::new(),
    };
    let outside = match &probe.outside {
        Outside::NotExpected => "anything but what is expected inside".to_owned(),
        _ => case.baseline,
    };
    Explanation {
        id: case.id,
        class: probe.class,
        severity: probe.severity,
        tier: probe.tier,
        requirement: case.requirement,
        spec_text: clause(probe.spec).unwrap_or_default(),
        spec: case.spec,
        tags: case.tags,
        clause: case.clause,
        operation: case.operation,
        workload: case.workload,
        inside: case.expected,
        outside,
        controls,
        canary: probe.canary.as_ref().map(ToString::to_string),
        needs: probe.needs.iter().map(|need| in_words(*need)).collect(),
    }
}

fn in_words(need: Need) -> String {
    match need {
        Need::Root => "root".to_owned(),
        Need::Unprivileged => "an ordinary user".to_owned(),
        Need::Ia32 => "system calls by int 0x80".to_owned(),
        Need::X32 => "system calls of the x32 table".to_owned(),
        Need::Ipv6 => "IPv6".to_owned(),
        Need::LandlockAbi(abi) => format!("Landlock, ABI {abi} or newer"),
        Need::Memory(bytes) => format!("{} MiB of free memory", bytes >> 20),
        Need::Command(name) => format!("the command {name}"),
    }
}

/// The name of a clause as SPEC.md has it; `None` where it has no such clause, or it is about evidence and verdicts.
pub(crate) fn clause_name(name: &str) -> Option<&'static str> {
    let names =
        SPEC.lines().filter_map(|line| line.strip_prefix("- **")?.split_once("** ").map(|(name, _)| name));
    names
        .filter(|clause| !clause.starts_with("EV-") && !clause.starts_with("OUT-"))
        .find(|clause| *clause == name)
}

/// The words of a clause of SPEC.md, on one line.
fn clause(name: &str) -> Option<String> {
    let start = format!("- **{name}** ");
    let mut lines = SPEC.lines().skip_while(|line| !line.starts_with(&start));
    let first = lines.next()?.strip_prefix(&start)?.to_owned();
    let more = lines.take_while(|line| line.starts_with("  "));
    Some(more.fold(first, |text, line| text + " " + line.trim()))
}

/// Writes an explanation for a person.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: &mut dyn Write, probe: &Explanation) -> io::Result<()> {
    let class = match probe.class {
        Class::Denied => "must be denied",
        Class::Allowed => "must work",
    };
    let tier = match probe.tier {
        Tier::Standard => "",
        Tier::Soak => ", only when selected",
        Tier::Destructive => ", only with --tier destructive",
    };
    let severity = format!("{:?}", probe.severity).to_lowercase();
    writeln!(out, "{}  {class}, {severity}{tier}", printable(&probe.id))?;
    writeln!(out, "  {}", printable(&probe.requirement))?;
    let mut field = |label: &str, value: &str| writeln!(out, "  {label:10} {}", printable(value));
    field("policy", &probe.clause)?;
    field("contract", &format!("SPEC.md {}: {}", probe.spec, probe.spec_text))?;
    field("tags", &probe.tags.join(" "))?;
    field("operation", &probe.operation)?;
    field("inside", &probe.inside)?;
    field("outside", &probe.outside)?;
    let lists = [("control", &probe.controls), ("needs", &probe.needs), ("runs", &probe.workload)];
    for (label, values) in lists {
        for (number, value) in values.iter().enumerate() {
            field(if number == 0 { label } else { "" }, value)?;
        }
    }
    match &probe.canary {
        Some(canary) => field("canary", canary),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::tests::policies;

    #[test]
    fn every_probe_is_explained_with_the_words_of_its_clause() {
        for policy in policies() {
            for probe in explanations(&policy, &[]) {
                let words =
                    [&probe.requirement, &probe.spec_text, &probe.operation, &probe.inside, &probe.outside];
                assert!(words.iter().all(|text| !text.is_empty()), "{probe:?}");
            }
        }
    }

    #[test]
    fn a_clause_is_told_whole() {
        let text = clause("FS-3").unwrap();
        assert!(text.starts_with("Below a hidden path") && text.ends_with("counts as hidden."), "{text}");
        assert_eq!(clause("FS-99"), None);
        assert_eq!(clause("FS"), None);
    }
}

//! The file of a probe: its keys, and what each may hold.

use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::time::Duration;

use palisade_policy::Clause;
use palisade_policy::units::parse_duration;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::expect::{self, Set};
use super::{GROUP, SPEC, Wrong, workload};
use crate::catalogue::{Class, Need, Probe, Severity, Workload, is_id};
use crate::explain;

/// The sections of a policy that promise something.
pub(crate) const SECTIONS: &[&str] = &["filesystem", "process", "network", "resources", "environment"];

/// How long a run may be asked to take.
const TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    pub(super) id: Spanned<String>,
    pub(super) class: Class,
    severity: Severity,
    clause: Spanned<String>,
    spec: Option<Spanned<String>>,
    requirement: Spanned<String>,
    #[serde(default)]
    pub(super) setup: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) control: Vec<Spanned<String>>,
    pub(super) script: Option<Vec<Spanned<String>>>,
    pub(super) argv: Option<Vec<Spanned<String>>>,
    pub(super) expect: Option<Spanned<Set>>,
    pub(super) outside: Option<Spanned<Set>>,
    #[serde(default)]
    plant: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    needs: Vec<Machine>,
    timeout: Option<Spanned<String>>,
}

/// What a machine may have to offer.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Machine {
    Root,
    Unprivileged,
    Ia32,
    X32,
    Ipv6,
}

impl From<Machine> for Need {
    fn from(machine: Machine) -> Self {
        match machine {
            Machine::Root => Self::Root,
            Machine::Unprivileged => Self::Unprivileged,
            Machine::Ia32 => Self::Ia32,
            Machine::X32 => Self::X32,
            Machine::Ipv6 => Self::Ipv6,
        }
    }
}

impl Form {
    /// The probe.
    pub(super) fn probe(self) -> Result<Probe, Wrong> {
        let id = &self.id;
        let own = id.value.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/'));
        if !own || !is_id(&id.value) || id.value.len() > 100 {
            let wrong = Wrong::at(id, format!("{:?} is not the id of a probe", id.value));
            return Err(
                wrong.hint(format!("{GROUP}/WORD or {GROUP}/WORD/WORD: lower-case words, joined by -"))
            );
        }
        let spec = self.spec()?;
        let clause = self.clause()?;
        let requirement = &self.requirement;
        let text = requirement.value.trim();
        if text.is_empty() || text.ends_with('.') || text.contains('\n') || text.len() >= 160 {
            let wrong = Wrong::at(requirement, "the requirement is not one sentence");
            return Err(wrong.hint("one line of less than 160 bytes, without a full stop"));
        }
        let (expect, outside) = expect::of(&self)?;
        let probe = match self.class {
            Class::Denied => Probe::denies(id.value.clone(), self.severity),
            Class::Allowed => Probe::allows(id.value.clone(), self.severity),
        };
        let mut probe = probe.serves_rule(&clause, spec).requires(text).expect(expect).outside(outside);
        probe.workload = Workload::Script(workload::script(&self, &probe.expect)?);
        let words = self.argv.iter().flatten().map(|word| word.value.as_str());
        probe.operation = words.collect::<Vec<_>>().join(" ");
        for (path, content) in &self.plant {
            let below = |part: Component<'_>| matches!(part, Component::Normal(_));
            if path.is_empty() || !Path::new(path).components().all(below) {
                let wrong = Wrong::at(content, format!("{path:?} does not lie in the working directory"));
                return Err(wrong.hint("a relative path without .."));
            }
            probe = probe.plant(path, content.value.as_bytes());
        }
        probe.needs.extend(self.needs.iter().copied().map(Need::from));
        probe.limit = self.timeout()?;
        Ok(probe)
    }

    fn spec(&self) -> Result<&'static str, Wrong> {
        let Some(spec) = &self.spec else { return Ok(SPEC) };
        explain::clause_name(&spec.value).ok_or_else(|| {
            let wrong = Wrong::at(spec, format!("SPEC.md has no clause {:?}", spec.value));
            wrong.hint(format!("leave it out: {SPEC} is meant then"))
        })
    }

    fn clause(&self) -> Result<Clause, Wrong> {
        let clause = &self.clause;
        let section = clause.value.split(['.', '[']).next().unwrap_or_default();
        if !SECTIONS.contains(&section) {
            let wrong = Wrong::at(clause, format!("{:?} is no clause of a policy", clause.value));
            return Err(wrong.hint(format!("it begins with one of {}", SECTIONS.join(", "))));
        }
        Ok(Clause::from(clause.value.clone()))
    }

    fn timeout(&self) -> Result<Option<Duration>, Wrong> {
        let Some(timeout) = &self.timeout else { return Ok(None) };
        match parse_duration(&timeout.value) {
            Ok(time) if TIMEOUT.contains(&time) => Ok(Some(time)),
            Ok(_) => Err(Wrong::at(timeout, "a time-out is between 1s and 10m")),
            Err(refusal) => Err(Wrong::at(timeout, refusal.message).hint(refusal.help)),
        }
    }
}

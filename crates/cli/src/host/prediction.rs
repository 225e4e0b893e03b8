//! What a policy would get on this host: what `run` decides from, told of every clause.

use palisade_plan::{Coverage, Foreseen, Reason, Status as Covered, Step};
use palisade_policy::{Clause, Document, OnUnavailable, Policy};
use serde::Serialize;

/// What a policy would get.
#[derive(Serialize)]
pub(super) struct Prediction {
    pub(super) name: String,
    pub(super) on_unavailable: &'static str,
    pub(super) outcome: Outcome,
    /// Why nothing would run; empty unless refused.
    pub(super) refusals: Vec<Refusal>,
    /// Every clause, as the plan covers them; then those that could not be planned at all.
    pub(super) clauses: Vec<ClauseGets>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Enforced,
    /// It would run, and some clause would get less than it asks for.
    Partly,
    Refused,
}

#[derive(Serialize)]
pub(super) struct Refusal {
    pub(super) clause: String,
    /// `FILE:LINE:COLUMN`, where the policy says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<String>,
    pub(super) why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
}

/// What one clause would get.
#[derive(Serialize)]
pub(super) struct ClauseGets {
    pub(super) clause: String,
    /// What it asks for, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) requested: Option<String>,
    pub(super) status: Status,
    /// By which means; what it would be where it is refused.
    pub(super) by: Vec<String>,
    /// Why it gets less, or is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Enforced,
    Downgraded,
    Refused,
}

impl Outcome {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Enforced => "enforced",
            Self::Partly => "enforced in part",
            Self::Refused => "refused",
        }
    }
}

impl Status {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Enforced => "enforced",
            Self::Downgraded => "downgraded",
            Self::Refused => "refused",
        }
    }
}

impl Prediction {
    pub(super) fn new(document: &Document, policy: &Policy, foreseen: &Foreseen) -> Self {
        let Foreseen { plan, reasons } = foreseen;
        let mut clauses: Vec<ClauseGets> =
            plan.coverage.iter().map(|coverage| ClauseGets::covered(coverage, foreseen)).collect();
        let mut unplanned: Vec<&Clause> = Vec::new();
        for Reason { clause, .. } in reasons {
            if !unplanned.contains(&clause) && plan.coverage.iter().all(|coverage| coverage.clause != *clause)
            {
                unplanned.push(clause);
            }
        }
        clauses.extend(unplanned.into_iter().map(|clause| ClauseGets {
            clause: clause.to_string(),
            requested: None,
            status: Status::Refused,
            by: Vec::new(),
            why: why(clause, reasons),
            notes: Vec::new(),
        }));
        Self {
            name: policy.name.clone(),
            on_unavailable: match policy.on_unavailable {
                OnUnavailable::Refuse => "refuse",
                OnUnavailable::Degrade => "degrade",
            },
            outcome: match (reasons.is_empty(), plan.downgrades().next()) {
                (false, _) => Outcome::Refused,
                (true, Some(_)) => Outcome::Partly,
                (true, None) => Outcome::Enforced,
            },
            refusals: reasons.iter().map(|reason| Refusal::new(document, reason)).collect(),
            clauses,
        }
    }
}

impl Refusal {
    fn new(document: &Document, reason: &Reason) -> Self {
        let place = document.location(&reason.clause);
        Self {
            clause: reason.clause.to_string(),
            place: place.map(|place| format!("{}:{}:{}", document.name, place.line, place.column)),
            why: reason.message.clone(),
            hint: reason.hint.clone(),
        }
    }
}

impl ClauseGets {
    fn covered(coverage: &Coverage, Foreseen { plan, reasons }: &Foreseen) -> Self {
        let refused = why(&coverage.clause, reasons);
        let (status, why) = match (&coverage.status, refused) {
            (_, Some(why)) => (Status::Refused, Some(why)),
            (Covered::Downgraded(why), None) => (Status::Downgraded, Some(why.clone())),
            (Covered::Enforced, None) => (Status::Enforced, None),
        };
        // What has no mechanism says so.
        let mut by = Vec::from_iter(Some(coverage.mechanism.clone()).filter(|mechanism| mechanism != "none"));
        let second = plan.steps.iter().filter(|step| step.serves == coverage.clause);
        by.extend(second.filter_map(|planned| match &planned.step {
            Step::RestrictLandlock { abi, .. } => Some(format!("Landlock, ABI {abi}")),
            _ => None,
        }));
        Self {
            clause: coverage.clause.to_string(),
            requested: Some(coverage.requested.clone()),
            status,
            by,
            why,
            notes: coverage.notes.clone(),
        }
    }
}

/// Why a clause is refused, if it is.
fn why(clause: &Clause, reasons: &[Reason]) -> Option<String> {
    let told: Vec<&str> = reasons
        .iter()
        .filter(|reason| reason.clause == *clause)
        .map(|reason| reason.message.as_str())
        .collect();
    (!told.is_empty()).then(|| told.join("; "))
}

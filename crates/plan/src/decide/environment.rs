//! The `environment` section.

use palisade_policy::{Clause, Policy};

use super::{Draft, Situation};
use crate::plan::Status;
use crate::step::Variables;

/// Where programs are looked for inside, unless the policy says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The one directory that is writable under every policy.
const HOME: &str = "/tmp";

/// Builds the workload's environment from nothing.
pub(super) fn environment(policy: &Policy, situation: &Situation, draft: &mut Draft) -> Variables {
    let mut variables = Variables::from([("HOME".into(), HOME.into()), ("PATH".into(), PATH.into())]);
    let mut absent = Vec::new();
    for name in &policy.environment.pass {
        match situation.environment.get(name) {
            Some(value) => {
                variables.insert(name.clone(), value.clone());
            }
            None => absent.push(name.as_str()),
        }
    }
    variables.extend(super::network::proxies(&policy.network));
    variables.extend(policy.environment.set.iter().map(|(name, value)| (name.clone(), value.clone())));

    let requested = match policy.environment.pass.as_slice() {
        [] => "nothing".into(),
        names => names.join(" "),
    };
    let notes = if absent.is_empty() { Vec::new() } else { vec![format!("not set: {}", absent.join(" "))] };
    draft.covered(
        &Clause::new("environment.pass"),
        requested,
        "an environment built from nothing",
        Status::Enforced,
        notes,
    );
    if !policy.environment.set.is_empty() {
        let names: Vec<&str> = policy.environment.set.keys().map(String::as_str).collect();
        draft.enforced(&Clause::new("environment.set"), names.join(" "), "an environment built from nothing");
    }
    variables
}

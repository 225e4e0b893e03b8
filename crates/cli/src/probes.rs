//! `palisade probes`: what `verify` would try under a policy, and why.

use std::process::ExitCode;

use palisade_conformance::explain::{self, Explanation};
use palisade_conformance::{glob, verify as suite};

use crate::arguments::{Format, Probes, ProbesVerb};
use crate::{message, source};

pub(crate) fn probes(arguments: &Probes) -> ExitCode {
    let (ProbesVerb::List { policy, format, probes, .. } | ProbesVerb::Show { policy, format, probes, .. }) =
        &arguments.verb;
    let document = match source::load(policy.as_deref()) {
        Ok(document) => document,
        Err(diagnostics) => {
            message::diagnostics(&diagnostics);
            return ExitCode::from(message::USAGE);
        }
    };
    let Ok(custom) = source::probes(probes) else { return ExitCode::from(message::USAGE) };
    let mut probes = explain::explanations(&document.policy, &custom.probes);
    let all = "`palisade probes list` shows all that apply to a policy (--policy)";
    match &arguments.verb {
        ProbesVerb::List { only, .. } => {
            let pattern = only.as_deref().unwrap_or("*");
            probes.retain(|probe| glob::matches_any(pattern, &probe.id));
            if probes.is_empty() {
                message::error(format!("no probe matches {pattern:?}"), Some(all));
                return suite::ExitCode::Inconclusive.into();
            }
            print(probes.as_slice(), *format, list)
        }
        ProbesVerb::Show { id, .. } => {
            let Some(probe) = probes.iter().find(|probe| probe.id == *id) else {
                message::error(format!("no probe {id:?} under the policy {}", document.name), Some(all));
                return ExitCode::from(message::USAGE);
            };
            print(probe, *format, show)
        }
    }
}

fn print<T: serde::Serialize + ?Sized>(value: &T, format: Format, text: impl Fn(&T) -> String) -> ExitCode {
    message::print(&match format {
        Format::Text => text(value),
        Format::Json => serde_json::to_string_pretty(value).unwrap_or_default() + "\n",
    });
    ExitCode::SUCCESS
}

fn list(probes: &[Explanation]) -> String {
    let width = probes.iter().map(|probe| probe.id.len()).max().unwrap_or(0);
    let line = |probe: &Explanation| format!("{:width$}  {}\n", probe.id, probe.requirement);
    message::printable(&probes.iter().map(line).collect::<String>())
}

fn show(probe: &Explanation) -> String {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    let _ = explain::write(&mut bytes, probe);
    String::from_utf8_lossy(&bytes).into_owned()
}

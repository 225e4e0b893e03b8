//! `palisade verify`: hands the policy and the flags to the conformance suite.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use palisade_conformance::adapters;
use palisade_conformance::known::{Source, Words};
use palisade_conformance::mutants::Extent;
use palisade_conformance::verify::{self as suite, Baseline, Options, Update};
use palisade_host::{Depth, survey};
use palisade_policy::{Backend, Document};

use crate::arguments::{Entry, Format, Mutants, Tier, Verify};
use crate::{message, several, source};

/// What stands for every backend, or every runtime.
const ALL: &str = "all";

pub(crate) fn verify(arguments: &Verify, inner: bool) -> ExitCode {
    let mut backends: Vec<Backend> = Vec::new();
    for name in &arguments.backend {
        match name.parse::<Backend>() {
            _ if name == ALL => backends.extend(Backend::MEANS),
            Ok(backend) => backends.push(backend),
            Err(refusal) => {
                message::error(format!("--backend: {}", refusal.message), Some(&refusal.help));
                return ExitCode::from(message::USAGE);
            }
        }
    }
    let runtimes: Vec<String> = match arguments.runtime.as_slice() {
        [all] if all == ALL => adapters::names().map(str::to_owned).collect(),
        named => named.to_vec(),
    };
    if let [_, _, ..] = runtimes.as_slice() {
        if let Some(option) = of_one_run(arguments) {
            message::error(format!("--runtime with several runtimes: {option} is of the run of one"), None);
            return ExitCode::from(message::USAGE);
        }
        return match source::load(arguments.policy.as_deref()) {
            Ok(_) => several::runtimes(&runtimes, arguments),
            Err(diagnostics) => {
                message::diagnostics(&diagnostics);
                ExitCode::from(message::USAGE)
            }
        };
    }
    match backends.as_slice() {
        [] => one(arguments, None, inner),
        [backend] => one(arguments, Some(*backend), inner),
        _ if arguments.against.is_some() => {
            let why = "--against compares with the report of one backend, and several are asked for";
            message::error(
                why,
                Some("compare one backend after the other, each with its own earlier report"),
            );
            ExitCode::from(message::USAGE)
        }
        _ if !arguments.out.is_empty() || arguments.update_known.is_some() => {
            let hint = "verify each backend by itself, with a file of its own";
            message::error("--out, --update-known: a file is of the run of one backend", Some(hint));
            ExitCode::from(message::USAGE)
        }
        // What is wrong with the policy is no backend's fault.
        several => match source::load(arguments.policy.as_deref()) {
            Ok(_) => several::backends(several, arguments.format),
            Err(diagnostics) => {
                message::diagnostics(&diagnostics);
                ExitCode::from(message::USAGE)
            }
        },
    }
}

/// The option, if there is one, that says nothing about several runtimes.
fn of_one_run(arguments: &Verify) -> Option<&'static str> {
    let options = [
        ("--against", arguments.against.is_some()),
        ("--update-known", arguments.update_known.is_some()),
        ("--known", arguments.known.is_some()),
        ("--backend", !arguments.backend.is_empty()),
        ("--mutants", arguments.mutants.is_some()),
        ("--layers", arguments.layers),
        ("--list", arguments.list),
    ];
    options.into_iter().find(|(_, given)| *given).map(|(option, _)| option)
}

fn one(arguments: &Verify, backend: Option<Backend>, inner: bool) -> ExitCode {
    let document = match source::load(arguments.policy.as_deref()) {
        Ok(document) => document,
        Err(diagnostics) => {
            message::diagnostics(&diagnostics);
            return ExitCode::from(message::USAGE);
        }
    };
    let Ok(custom) = source::probes(&arguments.probes) else { return ExitCode::from(message::USAGE) };
    let named = arguments.runtime.first().map(String::as_str).unwrap_or_default();
    let Ok((runtime, brought)) = source::runtime(named) else {
        return ExitCode::from(message::USAGE);
    };
    let against = match arguments.against.as_deref().map(Baseline::read).transpose() {
        Ok(against) => against,
        Err(error) => {
            message::error(&error, Some(error.hint()));
            return ExitCode::from(message::USAGE);
        }
    };
    let known = match known(arguments) {
        Ok(known) => known,
        Err(error) => {
            message::error(error, None);
            return ExitCode::from(message::USAGE);
        }
    };
    let builtin = Document::builtin(&document.name).is_some_and(|known| known == document);
    // Only the stage that reports needs to know the host; the one before is about to unshare its namespaces.
    let host_facts = if inner {
        survey(&document.policy, Path::new("/"), Depth::Full)
            .ok()
            .and_then(|facts| serde_json::to_value(facts).ok())
            .unwrap_or_default()
    } else {
        serde_json::Value::Null
    };
    let mut policy = document.policy;
    if let Some(backend) = backend {
        // What is probed is what will carry it.
        policy.network.backend = backend;
    }
    let options = Options {
        inner,
        policy_argument: arguments
            .policy
            .as_ref()
            .map_or_else(|| source::DEFAULT.to_owned(), |name| name.to_string_lossy().into_owned()),
        policy_text: (!builtin).then(|| document.text.clone()),
        locations: document
            .locations
            .iter()
            .map(|(clause, place)| (clause.to_string(), format!("{}:{}", document.name, place.line)))
            .collect(),
        policy,
        runtime,
        brought,
        entry: match arguments.entry {
            Entry::Run => suite::Entry::Run,
            Entry::Exec => suite::Entry::Exec,
            Entry::Pty => suite::Entry::Pty,
        },
        backend,
        custom,
        only: arguments.only.clone(),
        clause: arguments.clause.clone(),
        tier: match arguments.tier {
            Tier::Smoke => suite::Selection::Smoke,
            Tier::Standard => suite::Selection::Standard,
            Tier::Soak => suite::Selection::Soak,
            Tier::Destructive => suite::Selection::Destructive,
        },
        shard: arguments.shard,
        against,
        known,
        update_known: update(arguments),
        format: match arguments.format {
            Format::Text => suite::Format::Text,
            Format::Json => suite::Format::Json,
        },
        outputs: arguments.out.clone(),
        color: anstream::ColorChoice::Auto,
        layers: arguments.layers,
        list: arguments.list,
        repeat: arguments.repeat,
        jobs: arguments.jobs,
        mutants: arguments.mutants.map(|extent| match extent {
            Mutants::Quick => Extent::Quick,
            Mutants::Sample => Extent::Sample,
            Mutants::Full => Extent::Full,
            Mutants::Probes => Extent::Probes,
        }),
        only_mutants: arguments.mutant.clone(),
        host_facts,
    };
    suite::verify(&options).into()
}

/// The file of known deviations. One that is to be added to need not exist.
fn known(arguments: &Verify) -> Result<Option<Source>, String> {
    let Some(path) = arguments.known.as_ref().or(arguments.update_known.as_ref()) else { return Ok(None) };
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(Source { name, text })),
        Err(error) if error.kind() == io::ErrorKind::NotFound && arguments.update_known.is_some() => {
            Ok(Some(Source { name, text: String::new() }))
        }
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// What to add to it; the parser sees to it that nothing is missing.
fn update(arguments: &Verify) -> Option<Update> {
    Some(Update {
        path: arguments.update_known.clone()?,
        words: Words {
            reason: arguments.reason.clone()?,
            issue: arguments.issue.clone()?,
            owner: arguments.owner.clone()?,
            expires: arguments.expires?,
        },
    })
}

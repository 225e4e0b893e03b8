//! `palisade verify`: hands the policy and the flags to the conformance suite.

use std::path::Path;
use std::process::ExitCode;

use palisade_conformance::mutants::Extent;
use palisade_conformance::verify::{self as suite, Options};
use palisade_host::{Depth, survey};
use palisade_policy::Document;

use crate::arguments::{Entry, Format, Mutants, Runtime, Verify};
use crate::{message, source};

pub(crate) fn verify(arguments: &Verify, inner: bool) -> ExitCode {
    let document = match source::load(arguments.policy.as_deref()) {
        Ok(document) => document,
        Err(diagnostics) => {
            message::diagnostics(&diagnostics);
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
        policy: document.policy,
        runtime: match arguments.runtime {
            Runtime::Palisade => "palisade",
            Runtime::None => "none",
        }
        .to_owned(),
        entry: match arguments.entry {
            Entry::Run => suite::Entry::Run,
            Entry::Exec => suite::Entry::Exec,
            Entry::Pty => suite::Entry::Pty,
        },
        only: arguments.only.clone(),
        format: match arguments.format {
            Format::Text => suite::Format::Text,
            Format::Json => suite::Format::Json,
        },
        color: anstream::ColorChoice::Auto,
        list: arguments.list,
        repeat: arguments.repeat,
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

//! `palisade policy check`: everything that is wrong with a policy, all at once.

use std::process::ExitCode;

use crate::arguments::{Check, CheckVerb};
use crate::{message, source};

pub(crate) fn check(arguments: &Check) -> ExitCode {
    let CheckVerb::Check { policy } = &arguments.verb;
    match source::load(Some(policy)) {
        Ok(document) => {
            message::print(&format!("{}: ok\n", message::printable(&document.name)));
            ExitCode::SUCCESS
        }
        Err(diagnostics) => {
            message::diagnostics(&diagnostics);
            ExitCode::from(message::USAGE)
        }
    }
}

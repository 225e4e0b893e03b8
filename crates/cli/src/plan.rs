//! `palisade plan`: what `run` would do here.

use std::process::ExitCode;

use palisade::code;
use palisade_host::Depth;

use crate::arguments::{self, Format};
use crate::message;
use crate::source::{Told, decided};

pub(crate) fn plan(arguments: &arguments::Plan) -> ExitCode {
    let decided = match decided(&arguments.policy, Depth::Full) {
        Ok(decided) => decided,
        Err(Told) => return ExitCode::from(code::PALISADE),
    };
    let text = match arguments.format {
        Format::Text => message::printable(&decided.plan.to_string()),
        Format::Json => match serde_json::to_string_pretty(&decided.plan) {
            Ok(json) => json + "\n",
            Err(error) => {
                message::error(error, None);
                return ExitCode::from(code::PALISADE);
            }
        },
    };
    message::print(&text);
    ExitCode::SUCCESS
}

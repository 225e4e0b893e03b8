//! `palisade exec`, `ps`, `stop`: into sandboxes that run already.

use std::fmt::Write as _;
use std::process::ExitCode;

use palisade::{Command, Error, Forwarding, Registry, attach, code};

use crate::arguments::{Exec, Format, Ps, Stop};
use crate::message;
use crate::run::{tell, told};

pub(crate) fn exec(arguments: &Exec) -> ExitCode {
    let Some((program, rest)) = arguments.command.split_first().filter(|(program, _)| !program.is_empty())
    else {
        message::error("no command", Some("palisade exec NAME -- CMD ARGS"));
        return ExitCode::from(code::PALISADE);
    };
    let forwarding = match Forwarding::start() {
        Ok(forwarding) => forwarding,
        Err(errno) => return failed(format!("signalfd: {errno}"), None),
    };
    match attach::exec(&arguments.name, Command::new(program).args(rest), Some(&forwarding)) {
        Ok((ending, _)) => {
            tell(&ending, program);
            ExitCode::from(ending.exit_code())
        }
        Err(error) => refused(&error),
    }
}

pub(crate) fn ps(arguments: &Ps) -> ExitCode {
    let records = match Registry::open().and_then(|registry| registry.list()) {
        Ok(records) => records,
        Err(error) => return failed(error.to_string(), None),
    };
    let text = match arguments.format {
        Format::Json => serde_json::to_string_pretty(&records).unwrap_or_default() + "\n",
        Format::Text => records.iter().fold(
            format!("{:<24} {:>10} {:<16} COMMAND\n", "NAME", "SUPERVISOR", "POLICY"),
            |mut text, record| {
                let _ = writeln!(
                    text,
                    "{:<24} {:>10} {:<16} {}",
                    record.name,
                    record.supervisor,
                    message::printable(&record.policy).replace('\n', " "),
                    message::printable(&record.command.join(" ")).replace('\n', " ")
                );
                text
            },
        ),
    };
    message::print(&text);
    ExitCode::SUCCESS
}

pub(crate) fn stop(arguments: &Stop) -> ExitCode {
    match attach::stop(&arguments.name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refused(&error),
    }
}

fn failed(what: String, hint: Option<&str>) -> ExitCode {
    message::error(what, hint);
    ExitCode::from(code::PALISADE)
}

fn refused(error: &Error) -> ExitCode {
    told(error);
    ExitCode::from(code::PALISADE)
}

//! `palisade probe`: looks around where it is, or hands out the program that does.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use palisade_conformance::inside::{self, IMAGE, Options};

use crate::arguments::Probe;
use crate::{message, source};

/// Exit status where nothing could be told.
const FAILED: u8 = 3;

pub(crate) fn probe(arguments: &Probe) -> ExitCode {
    if let Some(path) = &arguments.extract {
        return match extract(path) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&format!("write {}: {error}", path.display())),
        };
    }
    let Ok(custom) = source::probes(&arguments.probes) else { return ExitCode::from(message::USAGE) };
    let options = Options { only: arguments.only.clone(), custom: custom.probes, json: arguments.json };
    match inside::run(&options) {
        Ok(inside::Code::Usage) => {
            let pattern = arguments.only.as_deref().unwrap_or("*");
            message::error(
                format!("nothing matches {pattern:?}"),
                Some("* stands for any run of characters"),
            );
            ExitCode::from(message::USAGE)
        }
        Ok(code) => code.into(),
        Err(error) => failed(&error.to_string()),
    }
}

/// A new file: one that is there may be running.
fn extract(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(path)?;
    file.write_all(IMAGE)
}

fn failed(why: &str) -> ExitCode {
    message::error(why, None);
    ExitCode::from(FAILED)
}

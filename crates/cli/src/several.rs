//! `palisade verify` of several backends or several runtimes: each in a process of its own, one after the other, because a lab is
//! made from a process with one thread.

use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use palisade_conformance::adapters::{self, Brought};
use palisade_conformance::matrix::{self, Axis, Form, Input, Matrix};
use palisade_conformance::verify as suite;
use palisade_policy::Backend;

use crate::arguments::{Format, Verify};
use crate::matrix as shown;
use crate::{message, source};

/// The arguments of this program without these options, each of which has a value.
fn arguments_without(options: &[&str]) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut words = std::env::args_os().skip(1);
    while let Some(word) = words.next() {
        match word.to_str() {
            Some(text) if options.contains(&text) => drop(words.next()),
            Some(text)
                if options
                    .iter()
                    .any(|option| text.strip_prefix(option).is_some_and(|rest| rest.starts_with('='))) => {}
            _ => arguments.push(word),
        }
    }
    arguments
}

/// The status of a process that was waited for; one that a signal ended has told nothing.
fn code(status: std::process::ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(suite::ExitCode::Inconclusive as u8)
}

/// The worse of two: what fails before what could not be told. Nothing can be said of what is not here.
fn worse(code: u8, worst: Option<u8>) -> Option<u8> {
    match (code, worst) {
        (message::USAGE, _) => worst,
        (1, _) | (_, Some(1)) => Some(1),
        (code, worst) => worst.max(Some(code)),
    }
}

/// Verifies with one backend after the other. A backend that is not to be had here is named, and nothing is said against the others.
pub(crate) fn backends(backends: &[Backend], format: Format) -> ExitCode {
    // Between reports for a program nothing is said.
    let tell = |line: &str| match format {
        Format::Text => println!("{line}"),
        Format::Json => eprintln!("{line}"),
    };
    let arguments = arguments_without(&["--backend"]);
    let mut worst = None;
    let mut lines = Vec::new();
    for backend in backends {
        tell(&format!("backend {}", backend.word()));
        let mut command = Command::new("/proc/self/exe");
        command.args(&arguments).arg(format!("--backend={}", backend.word()));
        let code = match command.status() {
            Ok(status) => code(status),
            Err(error) => {
                message::error(error, None);
                return ExitCode::from(message::USAGE);
            }
        };
        let how = match code {
            0 => "held",
            1 => "breached or over-blocked",
            message::USAGE => "absent: not to be had here",
            _ => "inconclusive",
        };
        lines.push(format!("{:12} {how}", backend.word()));
        worst = worse(code, worst);
        tell("");
    }
    tell(&lines.join("\n"));
    // Nothing was shown where none could be had.
    worst.map_or(suite::ExitCode::Inconclusive.into(), ExitCode::from)
}

/// Verifies one runtime after the other and prints the matrix. What the control does counts for nothing: it is there to breach.
pub(crate) fn runtimes(names: &[String], arguments: &Verify) -> ExitCode {
    if names.iter().any(|name| source::runtime(name).is_err()) {
        return ExitCode::from(message::USAGE);
    }
    let is_known = |name: &str| Brought::is_file(name) || adapters::names().any(|known| known == name);
    if let Some(name) = names.iter().find(|name| !is_known(name)) {
        let known = adapters::names().collect::<Vec<_>>().join(", ");
        message::error(
            format!("no adapter for a runtime {name:?}"),
            Some(&format!("the adapters are: {known}")),
        );
        return ExitCode::from(message::USAGE);
    }
    let files =
        arguments.out.iter().map(|output| shown::file(output.path.clone())).collect::<Result<Vec<_>, _>>();
    let files = match files {
        Ok(files) => files,
        Err(why) => {
            message::error(why, None);
            return ExitCode::from(message::USAGE);
        }
    };
    let result = Evidence::at(arguments.evidence.as_deref()).and_then(|evidence| each(names, &evidence));
    let (inputs, worst) = match result {
        Ok(done) => done,
        Err(error) => {
            message::error(error, None);
            return ExitCode::from(message::USAGE);
        }
    };
    let form = match arguments.format {
        Format::Text => Form::Text,
        Format::Json => Form::Json,
    };
    let printed = Matrix::new(Axis::Runtime, inputs)
        .map_err(|error| error.to_string())
        .and_then(|matrix| shown::print(&matrix, None, form, &files).map_err(|error| error.to_string()));
    if let Err(why) = printed {
        message::error(why, None);
        return ExitCode::from(message::USAGE);
    }
    // Nothing was shown where none could be had.
    worst.map_or(suite::ExitCode::Inconclusive.into(), ExitCode::from)
}

fn each(names: &[String], evidence: &Evidence) -> io::Result<(Vec<Input>, Option<u8>)> {
    let arguments = arguments_without(&["--runtime", "--out", "--format", "--evidence"]);
    let mut inputs = Vec::new();
    let mut worst = None;
    for (number, name) in names.iter().enumerate() {
        if io::stderr().is_terminal() {
            eprintln!("{name}: {} of {}", number + 1, names.len());
        }
        let report = evidence.file(name, "json");
        let mut command = Command::new("/proc/self/exe");
        command.args(&arguments).arg(format!("--runtime={name}"));
        command.args([Path::new("--out"), &report]);
        if evidence.kept() {
            command.args([Path::new("--out"), &evidence.file(name, "html")]);
        }
        let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        if fs::metadata(&report).map_or(0, |file| file.len()) == 0 {
            let why = said.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or(said.trim());
            let why = if why.is_empty() { done.status.to_string() } else { why.to_owned() };
            inputs.push(Input { absent: [(name.clone(), why)].into(), ..Input::default() });
            continue;
        }
        inputs.push(matrix::read::one(&report).map_err(io::Error::other)?);
        if name != adapters::CONTROL {
            worst = worse(code(done.status), worst);
        }
    }
    Ok((inputs, worst))
}

/// Where the report of each runtime is: where the caller wants to keep them, or in a directory that is gone afterwards.
struct Evidence {
    directory: PathBuf,
    passing: Option<tempfile::TempDir>,
}

impl Evidence {
    fn at(directory: Option<&Path>) -> io::Result<Self> {
        match directory {
            Some(directory) => {
                fs::create_dir_all(directory)?;
                Ok(Self { directory: directory.to_owned(), passing: None })
            }
            None => {
                let passing = tempfile::tempdir()?;
                Ok(Self { directory: passing.path().to_owned(), passing: Some(passing) })
            }
        }
    }

    fn kept(&self) -> bool {
        self.passing.is_none()
    }

    fn file(&self, name: &str, extension: &str) -> PathBuf {
        // The name may be that of a file.
        let name = Path::new(name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        self.directory.join(format!("{name}.{extension}"))
    }
}

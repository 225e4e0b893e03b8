//! `palisade matrix`: reports of many runtimes or hosts in one table.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use palisade_conformance::matrix::{Axis, Error, Form, Matrix, Regressions, read};

use crate::arguments::{self, By, Page};
use crate::message;

impl From<Page> for Form {
    fn from(page: Page) -> Self {
        match page {
            Page::Text => Self::Text,
            Page::Json => Self::Json,
            Page::Md => Self::Markdown,
            Page::Html => Self::Html,
        }
    }
}

pub(crate) fn matrix(arguments: &arguments::Matrix) -> ExitCode {
    let by = match arguments.by {
        By::Runtime => Axis::Runtime,
        By::Host => Axis::Host,
    };
    let made = (|| -> Result<_, Error> {
        let matrix = Matrix::new(by, read::all(&arguments.files)?)?;
        let then = match arguments.against.as_slice() {
            [] => None,
            files => Some(Matrix::new(by, read::all(files)?)?),
        };
        Ok((then.map(|then| Regressions::between(&then, &matrix)), matrix))
    })();
    let (against, matrix) = match made {
        Ok(made) => made,
        Err(error) => {
            let hint = "`palisade verify --out FILE.json` and `palisade host --format json` write what a matrix is made of";
            message::error(error, Some(hint));
            return ExitCode::from(message::USAGE);
        }
    };
    if let Err(error) = print(&matrix, against.as_ref(), arguments.format.into(), &arguments.out) {
        message::error(error, None);
        return ExitCode::from(message::USAGE);
    }
    ExitCode::from(u8::from(against.is_some_and(|against| against.any())))
}

/// Prints the matrix, and writes it to files in the form that their extensions say.
pub(crate) fn print(
    matrix: &Matrix,
    against: Option<&Regressions>,
    form: Form,
    files: &[(PathBuf, Form)],
) -> io::Result<()> {
    for (path, form) in files {
        let mut text = Vec::new();
        form.write(&mut text, matrix, against)?;
        let written = File::create(path).and_then(|mut file| file.write_all(&text));
        written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    }
    let mut text = Vec::new();
    form.write(&mut text, matrix, against)?;
    message::print(&String::from_utf8_lossy(&text));
    Ok(())
}

/// The file of this name, in the form that its extension says.
pub(crate) fn file(path: PathBuf) -> Result<(PathBuf, Form), String> {
    match Form::of_file(&path) {
        Some(form) => Ok((path, form)),
        None => {
            let known = Form::EXTENSIONS.map(|(extension, _)| format!(".{extension}"));
            Err(format!("the form of a matrix is told by its extension: {}", known.join(" ")))
        }
    }
}

//! Reports in files.
//!
//! The lab sees neither the caller's files nor may it write to them. So the outer stage opens the files, before there is a lab,
//! and the inner stage writes the reports, finished, to a file in memory which the outer one gave it as its standard input: for
//! each file its length, 8 bytes little-endian, and the bytes. When the lab is gone the outer stage puts each where it belongs. The
//! file of known deviations goes the same way, as the last one; of length 0 it is left as it is.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};

use super::{ExitCode, Failure, Options, Update};
use crate::report::{Form, Report};

/// A file for the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where it is.
    pub path: PathBuf,
    /// What it holds.
    pub form: Form,
}

impl Output {
    /// The file of this name, in the form that its extension says.
    ///
    /// # Errors
    /// Says which extensions there are.
    pub fn at(path: PathBuf) -> Result<Self, String> {
        match Form::of_file(&path) {
            Some(form) => Ok(Self { path, form }),
            None => {
                let known = Form::EXTENSIONS.map(|(extension, _)| format!(".{extension}"));
                Err(format!("the form of a report is told by its extension: {}", known.join(" ")))
            }
        }
    }
}

/// The files, open, as the outer stage holds them. One that is empty in the end is of a run that made no report.
pub(super) struct Files {
    files: Vec<(PathBuf, File)>,
    update: Option<(PathBuf, File)>,
    carrier: Option<OwnedFd>,
}

impl Files {
    pub(super) fn create(outputs: &[Output], update: Option<&Update>) -> Result<Self, Failure> {
        // What a file holds is left in it until the lab is gone: it may be the report that this run is compared with.
        let open = |path: &Path| File::options().write(true).create(true).truncate(false).open(path);
        let create = |path: &Path| match open(path) {
            Ok(file) => Ok((path.to_owned(), file)),
            Err(error) => Err(Failure::new(ExitCode::Usage, told(path, &error))),
        };
        let files = outputs.iter().map(|output| create(&output.path)).collect::<Result<Vec<_>, _>>()?;
        let update = update.map(|update| create(&update.path)).transpose()?;
        let carrier = match (files.as_slice(), &update) {
            ([], None) => None,
            _ => Some(memfd_create("palisade-reports", MemfdFlags::CLOEXEC).map_err(io::Error::from)?),
        };
        Ok(Self { files, update, carrier })
    }

    /// What the inner stage is to be given.
    pub(super) fn carrier(&self) -> Option<&OwnedFd> {
        self.carrier.as_ref()
    }

    /// Puts what the inner stage has written where it belongs.
    pub(super) fn fill(self) -> Result<(), Failure> {
        let Some(carrier) = self.carrier else { return Ok(()) };
        for (_, file) in &self.files {
            if file.metadata()?.is_file() {
                file.set_len(0)?;
            }
        }
        let mut carrier = File::from(carrier);
        carrier.rewind()?;
        let mut bytes = Vec::new();
        carrier.read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            // The inner stage has said why there is nothing to report.
            return Ok(());
        }
        let mut rest = bytes.as_slice();
        let mut next = |path: &Path| {
            let (bytes, after) = split(rest).ok_or_else(|| {
                let what = format!("report {}: it did not come out of the lab whole", path.display());
                Failure::new(ExitCode::Inconclusive, what)
            })?;
            rest = after;
            Ok::<_, Failure>(bytes)
        };
        let lost = |path: &Path, error| Failure::new(ExitCode::Inconclusive, told(path, &error));
        for (path, mut file) in self.files {
            file.write_all(next(&path)?).map_err(|error| lost(&path, error))?;
        }
        if let Some((path, mut file)) = self.update {
            let whole = next(&path)?;
            if !whole.is_empty() {
                file.set_len(0).and_then(|()| file.write_all(whole)).map_err(|error| lost(&path, error))?;
            }
        }
        Ok(())
    }
}

fn told(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// The first report of `bytes`, and what comes after it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
}

/// What the outer stage gave to this inner one, taken from standard input, which is empty from then on: no workload is to
/// inherit it. Nothing where no file is asked for.
pub(super) fn inherited(options: &Options) -> io::Result<Option<File>> {
    if options.outputs.is_empty() && options.update_known.is_none() {
        return Ok(None);
    }
    // Not at the lowest number: the lab leaks something there.
    let carrier = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 10)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(Some(carrier.into()))
}

/// Writes the report in each form, and what the file of known deviations is to hold, for the outer stage to put into files.
pub(super) fn carry(
    mut carrier: File,
    outputs: &[Output],
    report: &Report,
    update: Option<&str>,
) -> io::Result<()> {
    let mut pass = |bytes: &[u8]| {
        carrier.write_all(&(bytes.len() as u64).to_le_bytes())?;
        carrier.write_all(bytes)
    };
    for output in outputs {
        let mut bytes = Vec::new();
        let mut plain = anstream::StripStream::new(&mut bytes as &mut dyn io::Write);
        output.form.write(&mut plain, report)?;
        pass(&bytes)?;
    }
    update.map_or(Ok(()), |whole| pass(whole.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("r.json", Some(Form::Json))]
    #[case("a/b.c/r.xml", Some(Form::Junit))]
    #[case("r.JSON", None)]
    #[case("json", None)]
    #[case(".json", None)]
    #[case("r.pdf", None)]
    #[case("", None)]
    fn the_extension_tells_the_form(#[case] path: &str, #[case] form: Option<Form>) {
        assert_eq!(Output::at(PathBuf::from(path)).ok().map(|output| output.form), form);
    }

    #[test]
    fn what_is_carried_arrives_in_each_file() {
        let directory = tempfile::tempdir().unwrap();
        let report = Report {
            subject: crate::report::tests::subject(),
            cases: Vec::new(),
            untested: std::collections::BTreeMap::new(),
            lapsed: std::collections::BTreeMap::new(),
            against: None,
            took: std::time::Duration::ZERO,
        };
        let outputs: Vec<Output> = Form::EXTENSIONS
            .map(|(name, _)| Output::at(directory.path().join("r").with_extension(name)).unwrap())
            .into();
        let files = Files::create(&outputs, None).unwrap();
        let carrier = files.carrier().unwrap().try_clone().unwrap();
        carry(carrier.into(), &outputs, &report, None).unwrap();
        files.fill().unwrap();
        for output in &outputs {
            let mut expected = Vec::new();
            output
                .form
                .write(&mut anstream::StripStream::new(&mut expected as &mut dyn io::Write), &report)
                .unwrap();
            assert_eq!(std::fs::read(&output.path).unwrap(), expected, "{}", output.path.display());
        }
    }

    /// A report that was cut off is told, and the file of one that was never made is empty: what it held before is gone.
    #[test]
    fn half_a_report_is_not_passed_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.json");
        std::fs::write(&path, "of another run").unwrap();
        let outputs = [Output::at(path.clone()).unwrap()];
        Files::create(&outputs, None).unwrap().fill().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        let files = Files::create(&outputs, None).unwrap();
        let mut carrier = File::from(files.carrier().unwrap().try_clone().unwrap());
        carrier.write_all(&100_u64.to_le_bytes()).unwrap();
        carrier.write_all(b"half").unwrap();
        assert_eq!(files.fill().unwrap_err().code, ExitCode::Inconclusive);
    }

    /// The file of known deviations is written where there is something to add, and else is left as it is.
    #[test]
    fn a_file_of_deviations_is_left_or_written_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("known.yaml");
        let words = crate::known::Words {
            reason: "r".to_owned(),
            issue: "i".to_owned(),
            owner: "o".to_owned(),
            expires: "2027-01-31".parse().unwrap(),
        };
        let update = Update { path: path.clone(), words };
        let report = crate::report::tests::mixed();
        let outputs = [Output::at(directory.path().join("r.json")).unwrap()];
        for (segment, expected) in [("", "what it was, and longer"), ("new", "new")] {
            std::fs::write(&path, "what it was, and longer").unwrap();
            let files = Files::create(&outputs, Some(&update)).unwrap();
            let carrier = files.carrier().unwrap().try_clone().unwrap();
            carry(carrier.into(), &outputs, &report, Some(segment)).unwrap();
            files.fill().unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
            assert!(std::fs::read_to_string(&outputs[0].path).unwrap().ends_with("}\n"));
        }
        // A run that came to nothing leaves it too.
        Files::create(&[], Some(&update)).unwrap().fill().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn a_file_that_cannot_be_made_is_a_usage_error() {
        let outputs = [Output::at(PathBuf::from("/proc/no/such/r.json")).unwrap()];
        assert_eq!(Files::create(&outputs, None).err().map(|failure| failure.code), Some(ExitCode::Usage));
    }
}

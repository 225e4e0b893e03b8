//! The probe program, where nobody has prepared a place for it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use palisade_probe::IMAGE;
use palisade_probe::script::Script;
use rustix::fs::{MemfdFlags, memfd_create};

use crate::adapters::None as NoSandbox;
use crate::observation::{Seen, Unseen};
use crate::run::process::{End, Raw};
use crate::run::read;

/// How long one attempt may take. None of them waits for anything.
const LIMIT: Duration = Duration::from_secs(20);

/// The program, where it can be executed; gone when dropped.
pub(super) struct Program {
    path: PathBuf,
    // Held open, since the path leads through it.
    memory: Option<File>,
}

impl Program {
    /// In memory where that can be executed; else in a directory for temporary files, or in the current one.
    ///
    /// # Errors
    /// Says what every place said.
    pub(super) fn place() -> Result<Self, String> {
        let mut reasons = Vec::new();
        let places = [std::env::temp_dir(), "/tmp".into(), "/dev/shm".into(), "/var/tmp".into(), ".".into()];
        let files = places.into_iter().map(|place| (place.display().to_string(), Some(place)));
        for (name, place) in [("memory".to_owned(), None)].into_iter().chain(files) {
            let tried = place.map_or_else(in_memory, in_directory).and_then(|program| {
                // Whether it can be executed there is found out by doing it.
                program.output(&["x".to_owned()]).map(|_| program)
            });
            match tried {
                Ok(program) => return Ok(program),
                Err(error) => reasons.push(format!("{name}: {error}")),
            }
        }
        reasons.dedup();
        Err(format!("not tried: the probe program cannot be executed here ({})", reasons.join("; ")))
    }

    /// What the script's last attempt showed.
    pub(super) fn seen(&self, script: &Script) -> Result<Seen, String> {
        const NONCE: &str = "inside";
        let words = script.argv(NONCE).map_err(|error| error.to_string())?;
        let raw = self.output(&words).map_err(|error| format!("not tried: {error}"))?;
        let observation = read::script(&NoSandbox, script, NONCE, &raw);
        observation.setup.map_err(|why| format!("the set-up failed: {why}"))?;
        observation.control.map_err(|why| format!("what is allowed failed too: {why}"))?;
        observation.attempt.map_err(|unseen| match unseen {
            Unseen::TimedOut => "no answer in time".to_owned(),
            Unseen::NotStarted(why) | Unseen::NotAttempted(why) | Unseen::Harness(why) => why,
        })
    }

    fn output(&self, words: &[String]) -> io::Result<Raw> {
        let mut command = Command::new(&self.path);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let begun = Instant::now();
        let mut child = command.spawn()?;
        // A transcript of two statements fits into a pipe, so that nothing waits for its reader.
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if begun.elapsed() > LIMIT {
                child.kill()?;
                child.wait()?;
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(Duration::from_millis(1));
        };
        let mut raw = Raw::failed(String::new());
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_end(&mut raw.stdout)?;
        }
        raw.end = match status.code() {
            Some(code) => End::Exited(code),
            None => {
                End::Signalled(std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or_default())
            }
        };
        raw.took = begun.elapsed();
        Ok(raw)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.memory.is_none() {
            // Nothing is left to be done about one that cannot be removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn in_memory() -> io::Result<Program> {
    // Executable by what the flag says, or by what the kernel's setting says where it does not know the flag.
    let exec = MemfdFlags::CLOEXEC | MemfdFlags::from_bits_retain(0x10);
    let made =
        memfd_create("palisade-probe", exec).or_else(|_| memfd_create("palisade-probe", MemfdFlags::CLOEXEC));
    let mut file = File::from(made?);
    file.write_all(IMAGE)?;
    Ok(Program { path: format!("/proc/self/fd/{}", file.as_raw_fd()).into(), memory: Some(file) })
}

fn in_directory(place: PathBuf) -> io::Result<Program> {
    let path = place.join(format!(".palisade-probe-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o700).open(&path)?;
    let program = Program { path, memory: None };
    file.write_all(IMAGE)?;
    Ok(program)
}

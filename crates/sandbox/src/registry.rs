//! The names of running sandboxes: a directory of their owner's, with a record and a socket for each.
//!
//! A record is locked (flock(2)) for as long as its sandbox is supervised, so that the end of a supervisor, however it
//! ends, frees the name: whoever finds a record without a lock removes it.

use std::ffi::{CStr, CString, NulError};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, unlinkat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use palisade_plan::Plan;

use crate::channel::Channel;
use crate::janitor::{Janitor, Leftover};
use crate::service::Service;

/// Longest name.
const LONGEST: usize = 64;

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 16;

/// Why a name cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// It is no name.
    #[error(
        "`{0}` is no name for a sandbox: letters, digits, `.`, `_` and `-`, at most 64, the first a letter or digit"
    )]
    Invalid(String),
    /// A sandbox of this name runs.
    #[error("a sandbox named `{0}` runs already")]
    Taken(String),
    /// No sandbox of this name runs.
    #[error("no sandbox named `{0}` runs")]
    Unknown(String),
    /// The directory of names cannot be used.
    #[error("{}: {error}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// What is known about a named sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// The process id of its supervisor.
    pub supervisor: u32,
    /// The name of its policy.
    pub policy: String,
    /// Its first program and the arguments.
    pub command: Vec<String>,
    /// When it was started, in seconds since 1970.
    pub started: u64,
    /// The most bytes of output of a program.
    pub output: Option<u64>,
    /// Whether its programs get a private terminal when their caller has one.
    pub terminal: bool,
}

impl Record {
    /// The record of a sandbox that this process is about to start.
    pub(crate) fn new(name: &str, plan: &Plan, command: Vec<String>) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            name: name.to_owned(),
            supervisor: std::process::id(),
            policy: plan.policy.clone(),
            command,
            started: since.map_or(0, |since| since.as_secs()),
            output: plan.output.map(|size| size.bytes()),
            terminal: plan.terminal,
        }
    }
}

impl Record {
    /// How it begins when it is written: its fields come in their order.
    fn beginning(name: &str, supervisor: u32) -> String {
        format!("{{\"name\":\"{name}\",\"supervisor\":{supervisor},")
    }
}

/// The directory of names of one user.
#[derive(Debug)]
pub struct Registry {
    path: PathBuf,
    directory: OwnedFd,
}

/// A name that is taken by this process. Free when dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    registry: Registry,
    name: String,
    _record: File,
    janitor: Option<Janitor>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.registry.remove(&self.name);
        self.janitor.take().into_iter().for_each(Janitor::dismiss);
    }
}

impl Registry {
    /// The caller's own: `$XDG_RUNTIME_DIR/palisade`, or `/run/palisade` for root, or `/tmp/palisade-UID`. Made when
    /// missing, and refused unless it is a directory of the caller's that nobody else may enter.
    ///
    /// # Errors
    /// [`NameError::Directory`].
    pub fn open() -> Result<Self, NameError> {
        let path = place();
        Self::at(&path).map_err(|error| NameError::Directory { path, error })
    }

    fn at(path: &Path) -> io::Result<Self> {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())?;
        let found = File::from(directory).metadata().map(|metadata| (metadata.uid(), metadata.mode()))?;
        if found.0 != geteuid().as_raw() || found.1 & 0o077 != 0 {
            return Err(io::Error::other("it is not the caller's own, or others may enter it"));
        }
        let directory = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { path: path.to_path_buf(), directory })
    }

    /// What is left of a name if its supervisor is killed.
    fn leftover(&self, record: &Record) -> Result<Leftover, NulError> {
        let Record { name, supervisor, .. } = record;
        Ok(Leftover::Name {
            directory: CString::new(self.path.as_os_str().as_bytes())?,
            record: CString::new(self::record(name))?,
            socket: CString::new(socket(name))?,
            own: CString::new(Record::beginning(name, *supervisor))?,
        })
    }

    /// Takes a name for this process and listens on its socket.
    pub(crate) fn claim(self, record: &Record) -> Result<Service, NameError> {
        let name = checked(&record.name)?.to_owned();
        let failed =
            |registry: &Self, error: io::Error| NameError::Directory { path: registry.path.clone(), error };
        let leftover = self.leftover(record).map_err(|error| failed(&self, error.into()))?;
        let janitor = Janitor::start(vec![leftover]).map_err(|errno| failed(&self, errno.into()))?;
        let taken = self.lock(&name).map_err(|error| failed(&self, error))?;
        let Some(mut file) = taken else {
            // Not by this sandbox: another one, of this process perhaps, has the name for as long as it likes.
            janitor.into_iter().for_each(Janitor::dismiss);
            return Err(NameError::Taken(name));
        };
        let socket = file
            .set_len(0)
            .and_then(|()| Ok(serde_json::to_writer(&mut file, record)?))
            .and_then(|()| file.flush())
            .and_then(|()| self.listen(&name))
            .map_err(|error| failed(&self, error))?;
        Ok(Service::new(socket, Claim { registry: self, name, _record: file, janitor }))
    }

    /// The record's file, locked; `None` when somebody else holds the lock.
    fn lock(&self, name: &str) -> io::Result<Option<File>> {
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let file = File::from(openat(&self.directory, record(name), flags, Mode::from(0o600))?);
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => return Ok(None),
                other => other?,
            }
            // Whoever held it before may have removed it in between: then this lock is on nothing.
            let there = rustix::fs::statat(&self.directory, record(name), AtFlags::SYMLINK_NOFOLLOW);
            if there.is_ok_and(|there| Ok(there.st_ino) == file.metadata().map(|own| own.ino()).map_err(drop))
            {
                return Ok(Some(file));
            }
        }
    }

    fn listen(&self, name: &str) -> io::Result<OwnedFd> {
        // Left by a supervisor that was killed; the lock says that it is gone.
        let _ = unlinkat(&self.directory, socket(name), AtFlags::empty());
        let listening = seqpacket()?;
        bind(&listening, &self.address(name)?)?;
        listen(&listening, BACKLOG)?;
        Ok(listening)
    }

    /// By way of the open directory: its own path may be longer than an address may be (unix(7)).
    fn address(&self, name: &str) -> Result<SocketAddrUnix, Errno> {
        SocketAddrUnix::new(format!("/proc/self/fd/{}/{}", self.directory.as_raw_fd(), socket(name)))
    }

    /// A connection to the supervisor of a sandbox.
    pub(crate) fn connect(&self, name: &str) -> Result<Channel, NameError> {
        let unknown = || NameError::Unknown(name.to_owned());
        let socket = seqpacket()
            .map_err(|errno| NameError::Directory { path: self.path.clone(), error: errno.into() })?;
        let address = self.address(checked(name)?).map_err(|_| unknown())?;
        connect(&socket, &address).map_err(|_| unknown())?;
        Ok(Channel::of(socket))
    }

    /// The record of a sandbox that runs.
    pub(crate) fn find(&self, name: &str) -> Result<Record, NameError> {
        let record = self.read(checked(name)?).ok().flatten();
        record.ok_or_else(|| NameError::Unknown(name.to_owned()))
    }

    /// The sandboxes that run, by name. Records whose supervisor is gone are removed.
    ///
    /// # Errors
    /// [`NameError::Directory`].
    pub fn list(&self) -> Result<Vec<Record>, NameError> {
        let failed = |error| NameError::Directory { path: self.path.clone(), error };
        let mut records = Vec::new();
        for entry in fs::read_dir(format!("/proc/self/fd/{}", self.directory.as_raw_fd())).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(name) = name.to_str().and_then(|name| name.strip_suffix(RECORD)) else { continue };
            if let Ok(Some(record)) = self.read(name) {
                records.push(record);
            }
        }
        records.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(records)
    }

    fn read(&self, name: &str) -> io::Result<Option<Record>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut file = File::from(openat(&self.directory, record(name), flags, Mode::empty())?);
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            self.remove(name);
            return Ok(None);
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(serde_json::from_str(&text).ok())
    }

    /// Under the record's lock only.
    fn remove(&self, name: &str) {
        let _ = unlinkat(&self.directory, socket(name), AtFlags::empty());
        let _ = unlinkat(&self.directory, record(name), AtFlags::empty());
    }
}

/// Takes a name away that nobody supervises. Allocates nothing: the janitor of a killed supervisor calls it.
///
/// # Errors
/// EBUSY when the lock is held although the record is of the supervisor `own`, as it begins there: what has been forked is
/// about to close its copy. Somebody else's is left alone.
pub(crate) fn free(directory: &CStr, record: &CStr, socket: &CStr, own: &CStr) -> Result<(), Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(directory) = rustix::fs::open(directory, flags, Mode::empty()) else { return Ok(()) };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let Ok(file) = openat(&directory, record, flags, Mode::empty()) else { return Ok(()) };
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        let _ = unlinkat(&directory, socket, AtFlags::empty());
        let _ = unlinkat(&directory, record, AtFlags::empty());
        return Ok(());
    }
    let mut text = [0; 128];
    let read = rustix::io::read(&file, &mut text).unwrap_or(0);
    let is_own = text.get(..read).is_some_and(|text| text.starts_with(own.to_bytes()));
    // Nothing is written yet: whoever it is soon writes, or is killed.
    if is_own || read == 0 { Err(Errno::BUSY) } else { Ok(()) }
}

const RECORD: &str = ".json";

fn record(name: &str) -> String {
    format!("{name}{RECORD}")
}

fn socket(name: &str) -> String {
    format!("{name}.sock")
}

fn seqpacket() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

fn checked(name: &str) -> Result<&str, NameError> {
    let valid = name.len() <= LONGEST
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if valid { Ok(name) } else { Err(NameError::Invalid(name.escape_debug().to_string())) }
}

fn place() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    match runtime.filter(|path| path.is_absolute()) {
        Some(runtime) => runtime.join("palisade"),
        None if geteuid().is_root() => "/run/palisade".into(),
        None => format!("/tmp/palisade-{}", geteuid().as_raw()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("names");
        (directory, path)
    }

    fn record(name: &str) -> Record {
        Record {
            name: name.to_owned(),
            supervisor: std::process::id(),
            policy: "default".to_owned(),
            command: vec!["true".to_owned()],
            started: 1,
            output: None,
            terminal: true,
        }
    }

    #[test]
    fn a_name_is_taken_once_and_free_again() {
        let (_directory, path) = registry();
        let open = || Registry::at(&path).expect("opened");
        let service = open().claim(&record("a")).expect("free");
        assert!(matches!(open().claim(&record("a")), Err(NameError::Taken(_))));
        assert_eq!(open().list().expect("listed"), [record("a")]);
        assert!(open().connect("a").is_ok());
        assert!(matches!(open().connect("b"), Err(NameError::Unknown(_))));
        drop(service);
        assert!(open().list().expect("listed").is_empty());
        assert!(matches!(open().connect("a"), Err(NameError::Unknown(_))));
        assert!(open().claim(&record("a")).is_ok());
    }

    #[test]
    fn what_a_killed_supervisor_leaves_is_taken_over_and_cleared_away() {
        let (_directory, path) = registry();
        let open = || Registry::at(&path).expect("opened");
        for file in ["dead.json", "dead.sock"] {
            fs::write(open().path.join(file), "{}").expect("written");
        }
        assert!(open().claim(&record("dead")).is_ok());
        fs::write(path.join("other.json"), "{}").expect("written");
        assert!(open().list().expect("listed").is_empty());
        assert_eq!(fs::read_dir(&path).expect("listed").count(), 0);
    }

    #[test]
    fn a_janitor_frees_a_name_that_nobody_holds_and_no_other() {
        let (_directory, path) = registry();
        let text = |text: &str| CString::new(text).expect("no zero byte");
        let freed = |supervisor| {
            let (directory, own) = (text(path.to_str().expect("UTF-8")), Record::beginning("a", supervisor));
            free(&directory, &text("a.json"), &text("a.sock"), &text(&own))
        };
        let service = Registry::at(&path).expect("opened").claim(&record("a")).expect("free");
        assert!(
            fs::read_to_string(path.join("a.json"))
                .expect("written")
                .starts_with(&Record::beginning("a", std::process::id()))
        );
        assert_eq!(freed(std::process::id()), Err(Errno::BUSY));
        assert_eq!(freed(0), Ok(()));
        assert!(path.join("a.json").exists() && path.join("a.sock").exists(), "somebody has it");
        drop(service);
        for file in ["a.json", "a.sock"] {
            fs::write(path.join(file), "").expect("written");
        }
        assert_eq!(freed(0), Ok(()));
        assert_eq!(fs::read_dir(&path).expect("listed").count(), 0);
    }

    #[test]
    fn a_directory_that_others_may_enter_is_refused() {
        let (_directory, path) = registry();
        fs::DirBuilder::new().mode(0o755).create(&path).expect("made");
        assert!(Registry::at(&path).is_err());
        let (_directory, link) = registry();
        std::os::unix::fs::symlink("/tmp", &link).expect("made");
        assert!(Registry::at(&link).is_err());
    }

    #[test]
    fn only_plain_names_are_names() {
        for name in ["a", "A-1", "build.2_x", &"x".repeat(64)] {
            assert!(checked(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", ".a", "-a", "a/b", "a b", "a\n", "ä", &"x".repeat(65)] {
            assert!(checked(name).is_err(), "{name}");
        }
    }
}

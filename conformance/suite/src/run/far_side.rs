//! The far side of a case: what its canary noticed, and whether it lives.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::streams::Files;
use crate::catalogue::{Canary, Class, Probe, Stream};
use crate::lab::canary::zone;
use crate::lab::{Endpoint, Hit, Lab};
use crate::observation::CanaryReport;
use crate::report::escape;

/// The state of a canary before the case, to compare with.
pub(super) struct Watch<'a> {
    lab: &'a Lab,
    canary: &'a Canary,
    nonce: &'a str,
    /// Whether it must be reached, and there: elsewhere is not what was allowed.
    there: bool,
    before: Option<Vec<u8>>,
}

/// Whether something arrived at this place. A plain name has an address of each family, and whoever connects may choose.
fn is_at(hit: &Hit, place: &Endpoint) -> bool {
    let public = |address: &SocketAddr| {
        address.ip() == IpAddr::from(zone::PUBLIC_V4) || address.ip() == IpAddr::from(zone::PUBLIC_V6)
    };
    match (&hit.local, place) {
        (Endpoint::Inet(found), Endpoint::Inet(wanted)) => {
            found == wanted || (found.port() == wanted.port() && public(found) && public(wanted))
        }
        (found, wanted) => found == wanted,
    }
}

impl<'a> Watch<'a> {
    /// Notes what the probe's canary is like before the case with this nonce; nothing when the probe has none.
    pub(super) fn begin(lab: &'a Lab, probe: &'a Probe, nonce: &'a str) -> Option<Self> {
        let canary = probe.canary.as_ref()?;
        let before = match canary {
            Canary::File(path) => fs::read(in_workspace(lab, path)).ok(),
            Canary::Names(path) => names(&in_workspace(lab, path)).ok(),
            Canary::Mounts => mounts().ok(),
            Canary::Listener(..)
            | Canary::Missing(_)
            | Canary::Process(_)
            | Canary::Terminal
            | Canary::Stream(_) => None,
        };
        Some(Self { lab, canary, nonce, there: probe.class == Class::Allowed, before })
    }

    /// What it noticed of the case, and whether it is alive. `terminal` is what was found to be changed of the case's own.
    pub(super) fn end(self, terminal: Option<String>) -> CanaryReport {
        let nonce = self.nonce;
        let (heard, alive) = match self.canary {
            Canary::Listener(endpoint, proto) => {
                let hits = self.lab.canary().hits(nonce);
                let alive = self.lab.canary().alive_at(endpoint, *proto);
                let full = self.lab.canary().dropped() > 0;
                let alive = match (alive, full) {
                    (true, false) => Ok(()),
                    (_, true) => Err("its log is full".to_owned()),
                    (false, _) => Err("it does not answer".to_owned()),
                };
                let heard = hits.iter().find(|hit| !self.there || is_at(hit, endpoint));
                (heard.map(describe), alive)
            }
            Canary::File(path) => self.file(&in_workspace(self.lab, path), nonce),
            Canary::Missing(path) => {
                let path = in_workspace(self.lab, path);
                match fs::symlink_metadata(&path) {
                    Ok(_) => (Some(format!("{} exists", path.display())), Ok(())),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => (None, Ok(())),
                    Err(error) => (None, Err(format!("look at {}: {error}", path.display()))),
                }
            }
            Canary::Names(path) => self.same(names(&in_workspace(self.lab, path))),
            Canary::Mounts => self.same(mounts()),
            Canary::Process(pid) => process(*pid),
            Canary::Terminal => (terminal, Ok(())),
            Canary::Stream(stream) => self.stream(*stream),
        };
        CanaryReport {
            canary: self.canary.to_string(),
            heard: heard.map(|heard| escape(heard.as_bytes())),
            alive,
        }
    }

    /// Compares lists of lines; the first that was not there before, or is not there any more, is what was noticed.
    fn same(&self, now: io::Result<Vec<u8>>) -> (Option<String>, Result<(), String>) {
        let (before, now) = match (&self.before, now) {
            (Some(before), Ok(now)) => (before, now),
            (None, _) => return (None, Err("it could not be read before the case".to_owned())),
            (_, Err(error)) => return (None, Err(error.to_string())),
        };
        let lines =
            |text: &[u8]| text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<BTreeSet<_>>();
        let (before, now) = (lines(before), lines(&now));
        let difference = now.difference(&before).map(|line| ("new", line));
        let difference = difference.chain(before.difference(&now).map(|line| ("gone", line))).next();
        (difference.map(|(how, line)| format!("{how}: {}", String::from_utf8_lossy(line))), Ok(()))
    }

    /// What stood in the file before must still stand there.
    fn stream(&self, stream: Stream) -> (Option<String>, Result<(), String>) {
        let files = Files::of(self.lab, self.nonce);
        let beginning = Files::beginning(self.nonce);
        let (path, whole) = match stream {
            Stream::Input => (&files.input, true),
            Stream::Output => (&files.output, false),
            Stream::Errors => (&files.errors, false),
        };
        match fs::read(path) {
            Ok(now) if now == beginning || (!whole && now.starts_with(&beginning)) => (None, Ok(())),
            Ok(_) => (Some(format!("the file that is the {stream} was changed")), Ok(())),
            Err(error) => (None, Err(format!("read {}: {error}", path.display()))),
        }
    }

    fn file(&self, path: &Path, nonce: &str) -> (Option<String>, Result<(), String>) {
        let Some(before) = &self.before else {
            return (None, Err(format!("{} could not be read before the case", path.display())));
        };
        match fs::read(path) {
            Ok(now) if now == *before => (None, Ok(())),
            Ok(now) => {
                let with = if contains(&now, nonce.as_bytes()) { "holds the nonce" } else { "was changed" };
                (Some(format!("{} {with}", path.display())), Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (Some(format!("{} is gone", path.display())), Ok(()))
            }
            Err(error) => (None, Err(format!("read {}: {error}", path.display()))),
        }
    }
}

/// The names in a directory, one a line.
fn names(dir: &Path) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        all.extend_from_slice(entry?.file_name().as_bytes());
        all.push(b'\n');
    }
    Ok(all)
}

/// The mounts that the calling worker sees: it has a mount namespace of its own, so `self` would be another one's.
fn mounts() -> io::Result<Vec<u8>> {
    fs::read("/proc/thread-self/mountinfo")
}

fn in_workspace(lab: &Lab, path: &Path) -> PathBuf {
    lab.world().work.dir.join(path)
}

fn describe(hit: &Hit) -> String {
    let from = hit.peer.map(|peer| format!(" from {peer}")).unwrap_or_default();
    format!("the nonce reached {}{from}", hit.local)
}

/// A process that was killed is a zombie until its parent asks for it, so a zombie counts as gone.
fn process(pid: u32) -> (Option<String>, Result<(), String>) {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let zombie = state.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'));
    let there = i32::try_from(pid).is_ok_and(|pid| kill(Pid::from_raw(pid), None).is_ok());
    if there && !zombie { (None, Ok(())) } else { (Some(format!("process {pid} is gone")), Ok(())) }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && haystack.windows(needle.len()).any(|window| window == needle)
}

//! What programs call themselves: each is started with `--version`, and its first line read.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::network;

/// How long a program may take for its first line. One that takes longer has a version that is not known.
const PATIENCE: Duration = Duration::from_millis(500);

/// Programs that have been started.
pub(super) struct Asked(Vec<(&'static str, Option<Child>)>);

/// Starts those that the host has, where a run would take them from.
pub(super) fn ask(names: &[&'static str]) -> Asked {
    let start = |name: &&'static str| {
        let path = network::found(name)?;
        let mut command = Command::new(path);
        command
            .arg("--version")
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Some((*name, command.spawn().ok()))
    };
    Asked(names.iter().filter_map(start).collect())
}

/// What they said, by name; nothing of it may be true.
pub(super) fn heard(asked: Asked) -> BTreeMap<&'static str, String> {
    let said = |child: Option<Child>| child.and_then(first_line).unwrap_or_else(|| "version unknown".into());
    asked.0.into_iter().map(|(name, child)| (name, said(child))).collect()
}

fn first_line(mut child: Child) -> Option<String> {
    let mut bytes = [0; 256];
    let read = child.stdout.as_mut().and_then(|output| {
        let patience = Timespec::try_from(PATIENCE).ok()?;
        let mut waited = [PollFd::new(output, PollFlags::IN)];
        (poll(&mut waited, Some(&patience)) == Ok(1)).then(|| output.read(&mut bytes).ok())?
    });
    // A program of ours, which may not have ended.
    let _ = child.kill();
    let _ = child.wait();
    let text = String::from_utf8_lossy(bytes.get(..read?)?).into_owned();
    text.lines().next().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned)
}

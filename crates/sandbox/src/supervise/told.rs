//! What the last message of a sandbox, or of one program in it, says about how it ended.

use palisade_plan::Plan;
use palisade_sys::Errno;
use palisade_sys::process::WaitStatus;

use super::Supervisor;
use crate::channel::{Message, Part};
use crate::failure::{Failure, NO_SUCH_CALL, words};
use crate::outcome::Ending;

impl Supervisor<'_> {
    pub(super) fn ending_of(&self, message: Message) -> Ending {
        let failed = |action: &str, errno, hint| Ending::NotStarted(other_failure(action, errno, hint));
        match message {
            Message::StepFailed { index, part, errno } => {
                Ending::NotStarted(failed_step(self.plan, index, part, errno))
            }
            Message::ForkFailed { errno, .. } => failed("start the workload", errno, None),
            Message::RequestFailed { errno, .. } => failed("give the workload its descriptors", errno, None),
            Message::TerminalFailed { errno, .. } => {
                failed("make a private terminal", errno, Some("`process: {terminal: none}` runs without one"))
            }
            Message::DirectoryFailed { errno, .. } => failed(
                "enter the working directory",
                errno,
                Some("the workload's user may not search it; name it under read_only or read_write"),
            ),
            Message::ExecFailed { errno, .. } => Ending::NotExecuted(Errno(errno)),
            Message::Ended { status, .. } => ended(status),
            Message::Go
            | Message::Checkpoint { .. }
            | Message::Ready
            | Message::Listener
            | Message::Start { .. }
            | Message::Signal { .. }
            | Message::Stop
            | Message::Workspace
            | Message::FileSystem { .. }
            | Message::NoMoreProcesses
            | Message::Socket { .. }
            | Message::Serve
            | Message::Connect { .. }
            | Message::Connected { .. }
            | Message::Attach
            | Message::Raise
            | Message::Terminal { .. } => Ending::Lost,
        }
    }
}

/// How a wait(2) status word says that a program ended.
pub(crate) fn ended(status: i32) -> Ending {
    match WaitStatus::from_raw(status) {
        Some(WaitStatus::Exited(code)) => Ending::Exited(u8::try_from(code).unwrap_or(u8::MAX)),
        Some(WaitStatus::Signaled(signal)) => Ending::Signaled(u8::try_from(signal).unwrap_or(u8::MAX)),
        None => Ending::Lost,
    }
}

fn failed_step(plan: &Plan, index: i32, part: Part, errno: i32) -> Failure {
    let step = usize::try_from(index).unwrap_or(usize::MAX).saturating_add(1);
    let action = words(plan, step).unwrap_or_else(|| "unknown step".into());
    let hint = match (part, rustix::io::Errno::from_raw_os_error(errno)) {
        (Part::Changed, _) => Some("something replaced the file between the check and the mount; try again"),
        (_, rustix::io::Errno::NOSPC) => {
            Some("a limit of mounts or namespaces is reached (/proc/sys/fs/mount-max, /proc/sys/user)")
        }
        (_, rustix::io::Errno::NOSYS) => Some(NO_SUCH_CALL),
        (Part::Source, rustix::io::Errno::ACCESS) => Some("the caller may not search a directory above it"),
        _ => None,
    };
    Failure { step, action, part: part.word(), errno: Errno(errno), hint }
}

pub(crate) fn other_failure(action: &str, errno: i32, hint: Option<&'static str>) -> Failure {
    Failure { step: 0, action: action.into(), part: None, errno: Errno(errno), hint }
}

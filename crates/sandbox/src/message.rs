//! What the first process of a sandbox tells its supervisor: fixed records on a pipe that the workload never holds.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

/// A part of a step that can fail by itself, so that an error names the call and not only the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Part {
    /// The step's only call.
    Whole,
    /// Opening what is to be mounted.
    Source,
    /// It is not the file that was found when the run was prepared.
    Changed,
    /// Copying the mount.
    Clone,
    /// Setting mount attributes.
    Attributes,
    /// Opening the place where it is to be mounted.
    Target,
    /// Putting the mount in place.
    Attach,
    /// Writing content.
    Write,
    /// Detaching the old root.
    Detach,
    /// Entering a directory.
    Enter,
    /// Making a ruleset.
    Ruleset,
    /// Adding a rule.
    Rule,
    /// Restricting itself.
    Restrict,
}

impl Part {
    const ALL: [Self; 13] = [
        Self::Whole,
        Self::Source,
        Self::Changed,
        Self::Clone,
        Self::Attributes,
        Self::Target,
        Self::Attach,
        Self::Write,
        Self::Detach,
        Self::Enter,
        Self::Ruleset,
        Self::Rule,
        Self::Restrict,
    ];

    fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|part| *part as i32 == number)
    }

    /// The call that the part stands for, for error messages.
    pub(crate) fn word(self) -> Option<&'static str> {
        Some(match self {
            Self::Whole => return None,
            Self::Source => "open source",
            Self::Changed => "source was replaced meanwhile",
            Self::Clone => "open_tree",
            Self::Attributes => "mount_setattr",
            Self::Target => "open mount point",
            Self::Attach => "move_mount",
            Self::Write => "write",
            Self::Detach => "umount",
            Self::Enter => "chdir",
            Self::Ruleset => "landlock_create_ruleset",
            Self::Rule => "landlock_add_rule",
            Self::Restrict => "landlock_restrict_self",
        })
    }
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The step at this index failed; nothing was run.
    StepFailed {
        /// Index into the plan's steps.
        index: i32,
        /// Which part of it.
        part: Part,
        /// Why.
        errno: i32,
    },
    /// The first process could not fork.
    ForkFailed(i32),
    /// The workload's directory could not be entered.
    DirectoryFailed(i32),
    /// The workload's program could not be executed.
    ExecFailed(i32),
    /// The workload ended, with this wait(2) status word.
    Ended(i32),
}

/// Bytes of one record: far below PIPE_BUF, so that it is written whole or not at all (pipe(7)).
pub(crate) const SIZE: usize = 16;

impl Message {
    fn encode(self) -> [u8; SIZE] {
        let words = match self {
            Self::StepFailed { index, part, errno } => [1, index, part as i32, errno],
            Self::ForkFailed(errno) => [2, errno, 0, 0],
            Self::DirectoryFailed(errno) => [3, errno, 0, 0],
            Self::ExecFailed(errno) => [4, errno, 0, 0],
            Self::Ended(status) => [5, status, 0, 0],
        };
        let mut bytes = [0; SIZE];
        for (chunk, word) in bytes.chunks_exact_mut(4).zip(words) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// Reads a record back; `None` for one that no child of this version writes.
    pub(crate) fn decode(bytes: &[u8; SIZE]) -> Option<Self> {
        let mut words = bytes.chunks_exact(4).map(|chunk| {
            let mut word = [0; 4];
            word.copy_from_slice(chunk);
            i32::from_ne_bytes(word)
        });
        let (kind, a, b, c) = (words.next()?, words.next()?, words.next()?, words.next()?);
        Some(match kind {
            1 => Self::StepFailed { index: a, part: Part::from_number(b)?, errno: c },
            2 => Self::ForkFailed(a),
            3 => Self::DirectoryFailed(a),
            4 => Self::ExecFailed(a),
            5 => Self::Ended(a),
            _ => return None,
        })
    }

    /// Writes the record. Nobody is left to tell when that fails: the supervisor is gone.
    pub(crate) fn send(self, pipe: impl AsFd) {
        let bytes = self.encode();
        while rustix::io::write(&pipe, &bytes) == Err(Errno::INTR) {}
    }

    /// Reads one record, blocking. `None` at the end of the pipe.
    pub(crate) fn receive(pipe: BorrowedFd<'_>) -> Option<Self> {
        let mut bytes = [0; SIZE];
        let mut filled = 0;
        while filled < SIZE {
            match rustix::io::read(pipe, &mut bytes[filled..]) {
                Ok(0) => return None,
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
        Self::decode(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{Message, Part};

    #[test]
    fn every_message_survives_its_encoding() {
        let messages =
            Part::ALL.map(|part| Message::StepFailed { index: 17, part, errno: 1 }).into_iter().chain([
                Message::ForkFailed(11),
                Message::DirectoryFailed(2),
                Message::ExecFailed(13),
                Message::Ended(0x8b),
            ]);
        for message in messages {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
        assert_eq!(Message::decode(&[0; super::SIZE]), None);
    }
}

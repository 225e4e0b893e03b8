//! The one channel between a sandbox's first process and its supervisor: fixed records, some with descriptors.
//!
//! A pair of SOCK_SEQPACKET sockets (unix(7)): a record arrives whole or not at all, and either side sees the end of the
//! other. The workload never holds an end. The same records go between the supervisor of a named sandbox and its clients.
//!
//! Both directions allocate nothing, so that the first process may use them.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// Most descriptors that come with one record.
pub(crate) const MOST_DESCRIPTORS: usize = 4;

/// The program that a sandbox was made for. When it ends, the sandbox ends.
pub(crate) const FIRST: i32 = 0;

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

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowSize {
    /// Rows.
    pub(crate) rows: u16,
    /// Columns.
    pub(crate) columns: u16,
}

/// One record. A program of the sandbox is known by a number: [`FIRST`], or what the supervisor gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// To the first process: the ids are mapped, carry out the steps.
    Go,
    /// To the first process, and from a client: start a program. With the descriptors that become its standard ones (with a
    /// terminal: none, or the one that becomes standard error), and then, for any program but the first, one that its words
    /// are read from.
    Start {
        /// Its number.
        program: i32,
        /// The size of the private terminal that it gets, if it gets one.
        terminal: Option<WindowSize>,
    },
    /// To the first process, and from a client: send a signal to a program's process group, or, with a negative number, to
    /// everything in the sandbox.
    Signal {
        /// The program's number.
        program: i32,
        /// The signal's number.
        signal: i32,
    },
    /// From a client: end the sandbox as at its wall-time limit.
    Stop,
    /// From the first process, with a descriptor: it waits at a checkpoint of the plan until that is closed.
    Checkpoint {
        /// The step's number, from 1.
        step: i32,
    },
    /// From the first process, with a descriptor: the directory that takes up the changes of a workspace that is kept apart.
    Workspace,
    /// From the first process, with a descriptor: a file system of the plan whose size is limited.
    FileSystem {
        /// Its number, by which the plan's limits know it.
        number: i32,
    },
    /// From the first process: no further process could be made a moment ago.
    NoMoreProcesses,
    /// From the first process: every step is done; programs can be started.
    Ready,
    /// The step at this index failed; nothing was run.
    StepFailed {
        /// Index into the plan's steps.
        index: i32,
        /// Which part of it.
        part: Part,
        /// Why.
        errno: i32,
    },
    /// No process could be made for a program.
    ForkFailed {
        /// The program's number.
        program: i32,
        /// Why.
        errno: i32,
    },
    /// The words of a program could not be read, or its descriptors not be put in place.
    RequestFailed {
        /// The program's number.
        program: i32,
        /// Why.
        errno: i32,
    },
    /// A program's terminal could not be made.
    TerminalFailed {
        /// The program's number.
        program: i32,
        /// Why.
        errno: i32,
    },
    /// The directory of a program could not be entered.
    DirectoryFailed {
        /// The program's number.
        program: i32,
        /// Why.
        errno: i32,
    },
    /// A program could not be executed.
    ExecFailed {
        /// The program's number.
        program: i32,
        /// Why.
        errno: i32,
    },
    /// With a descriptor: the master side of a program's terminal.
    Terminal {
        /// The program's number.
        program: i32,
    },
    /// With a descriptor: the listener of the filter, from which the supervisor hears of refused calls.
    Listener,
    /// A program ended, with this wait(2) status word.
    Ended {
        /// The program's number.
        program: i32,
        /// The status word.
        status: i32,
    },
}

/// Bytes of one record.
const SIZE: usize = 16;

impl Message {
    fn encode(self) -> [u8; SIZE] {
        let words = match self {
            Self::Go => [1, 0, 0, 0],
            Self::Start { program, terminal: None } => [2, program, 0, 0],
            Self::Start { program, terminal: Some(size) } => {
                [3, program, size.rows.into(), size.columns.into()]
            }
            Self::Signal { program, signal } => [4, program, signal, 0],
            Self::Stop => [5, 0, 0, 0],
            Self::Ready => [6, 0, 0, 0],
            Self::StepFailed { index, part, errno } => [7, index, part as i32, errno],
            Self::ForkFailed { program, errno } => [8, program, errno, 0],
            Self::RequestFailed { program, errno } => [9, program, errno, 0],
            Self::TerminalFailed { program, errno } => [10, program, errno, 0],
            Self::DirectoryFailed { program, errno } => [11, program, errno, 0],
            Self::ExecFailed { program, errno } => [12, program, errno, 0],
            Self::Terminal { program } => [13, program, 0, 0],
            Self::Ended { program, status } => [14, program, status, 0],
            Self::Listener => [15, 0, 0, 0],
            Self::Checkpoint { step } => [16, step, 0, 0],
            Self::Workspace => [17, 0, 0, 0],
            Self::FileSystem { number } => [18, number, 0, 0],
            Self::NoMoreProcesses => [19, 0, 0, 0],
        };
        let mut bytes = [0; SIZE];
        for (chunk, word) in bytes.chunks_exact_mut(4).zip(words) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// Reads a record back; `None` for one that no process of this version writes.
    fn decode(bytes: &[u8; SIZE]) -> Option<Self> {
        let mut words = bytes.chunks_exact(4).map(|chunk| {
            let mut word = [0; 4];
            word.copy_from_slice(chunk);
            i32::from_ne_bytes(word)
        });
        let (kind, a, b, c) = (words.next()?, words.next()?, words.next()?, words.next()?);
        Some(match kind {
            1 => Self::Go,
            2 => Self::Start { program: a, terminal: None },
            3 => {
                let size = WindowSize { rows: u16::try_from(b).ok()?, columns: u16::try_from(c).ok()? };
                Self::Start { program: a, terminal: Some(size) }
            }
            4 => Self::Signal { program: a, signal: b },
            5 => Self::Stop,
            6 => Self::Ready,
            7 => Self::StepFailed { index: a, part: Part::from_number(b)?, errno: c },
            8 => Self::ForkFailed { program: a, errno: b },
            9 => Self::RequestFailed { program: a, errno: b },
            10 => Self::TerminalFailed { program: a, errno: b },
            11 => Self::DirectoryFailed { program: a, errno: b },
            12 => Self::ExecFailed { program: a, errno: b },
            13 => Self::Terminal { program: a },
            14 => Self::Ended { program: a, status: b },
            15 => Self::Listener,
            16 => Self::Checkpoint { step: a },
            17 => Self::Workspace,
            18 => Self::FileSystem { number: a },
            19 => Self::NoMoreProcesses,
            _ => return None,
        })
    }

    /// The program that the record is about, for those that are about one.
    pub(crate) fn program(self) -> Option<i32> {
        match self {
            Self::Start { program, .. }
            | Self::Signal { program, .. }
            | Self::ForkFailed { program, .. }
            | Self::RequestFailed { program, .. }
            | Self::TerminalFailed { program, .. }
            | Self::DirectoryFailed { program, .. }
            | Self::ExecFailed { program, .. }
            | Self::Terminal { program }
            | Self::Ended { program, .. } => Some(program),
            Self::Go
            | Self::Stop
            | Self::Checkpoint { .. }
            | Self::Workspace
            | Self::FileSystem { .. }
            | Self::NoMoreProcesses
            | Self::Ready
            | Self::Listener
            | Self::StepFailed { .. } => None,
        }
    }
}

/// A record that arrived, with its descriptors, which are close-on-exec.
#[derive(Debug)]
pub(crate) struct Received {
    /// The record.
    pub(crate) message: Message,
    /// The descriptors, in the order in which they were sent.
    pub(crate) descriptors: [Option<OwnedFd>; MOST_DESCRIPTORS],
}

/// One end of a channel.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// Both ends of a new channel, close-on-exec.
    pub(crate) fn pair() -> Result<(Self, Self), Errno> {
        let (one, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// The end of a channel that is a socket already.
    pub(crate) fn of(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Sends a record. EPIPE when the other side is gone.
    pub(crate) fn send(&self, message: Message, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        self.send_with(message, descriptors, SendFlags::NOSIGNAL)
    }

    /// Sends a record unless that would have to wait: EAGAIN.
    pub(crate) fn try_send(&self, message: Message, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        self.send_with(message, descriptors, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }

    fn send_with(
        &self,
        message: Message,
        descriptors: &[BorrowedFd<'_>],
        flags: SendFlags,
    ) -> Result<(), Errno> {
        let bytes = message.encode();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        loop {
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
                return Err(Errno::INVAL);
            }
            match sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut control, flags) {
                Err(Errno::INTR) => {}
                other => return other.map(drop),
            }
        }
    }

    /// Receives one record, waiting for it. `None` when the other side is gone, or wrote something else than a record.
    pub(crate) fn receive(&self) -> Option<Received> {
        let mut bytes = [0; SIZE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        loop {
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut data = [IoSliceMut::new(&mut bytes)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let received = match recvmsg(&self.0, &mut data, &mut control, flags) {
                // The other side has ended with records unread, which the kernel tells once, before what it sent last.
                Err(Errno::INTR | Errno::CONNRESET) => continue,
                Err(_) => return None,
                Ok(received) => received,
            };
            let mut descriptors = [const { None }; MOST_DESCRIPTORS];
            let passed = control.drain().filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(passed) => Some(passed),
                _ => None,
            });
            for (place, descriptor) in descriptors.iter_mut().zip(passed.flatten()) {
                *place = Some(descriptor);
            }
            if received.bytes != SIZE {
                return None;
            }
            return Some(Received { message: Message::decode(&bytes)?, descriptors });
        }
    }

    /// Moves the descriptor away from the places of the standard ones.
    pub(crate) fn above_standard(self) -> Result<Self, Errno> {
        /// The first descriptor that is not a standard one.
        const FREE: RawFd = 3;
        if self.0.as_raw_fd() >= FREE {
            return Ok(self);
        }
        rustix::io::fcntl_dupfd_cloexec(&self.0, FREE).map(Self)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::{Channel, Message, Part, WindowSize};
    use std::os::fd::AsFd as _;

    fn all() -> Vec<Message> {
        let size = WindowSize { rows: 24, columns: 80 };
        let mut messages: Vec<Message> =
            Part::ALL.iter().map(|part| Message::StepFailed { index: 17, part: *part, errno: 1 }).collect();
        messages.extend([
            Message::Go,
            Message::Start { program: 3, terminal: None },
            Message::Start { program: 3, terminal: Some(size) },
            Message::Signal { program: -1, signal: 15 },
            Message::Stop,
            Message::Checkpoint { step: 3 },
            Message::Workspace,
            Message::FileSystem { number: 2 },
            Message::NoMoreProcesses,
            Message::Ready,
            Message::Listener,
            Message::ForkFailed { program: 1, errno: 11 },
            Message::RequestFailed { program: 1, errno: 7 },
            Message::TerminalFailed { program: 1, errno: 12 },
            Message::DirectoryFailed { program: 1, errno: 2 },
            Message::ExecFailed { program: 1, errno: 13 },
            Message::Terminal { program: 2 },
            Message::Ended { program: 2, status: 0x8b },
        ]);
        messages
    }

    #[test]
    fn every_record_arrives_as_it_was_sent() {
        let (one, other) = Channel::pair().expect("a pair");
        for message in all() {
            one.send(message, &[]).expect("sent");
            assert_eq!(other.receive().expect("received").message, message);
        }
        drop(one);
        assert!(other.receive().is_none(), "the end is seen");
    }

    #[test]
    fn last_words_arrive_although_the_other_side_has_not_read() {
        let (one, other) = Channel::pair().expect("a pair");
        one.send(Message::Go, &[]).expect("sent");
        other.send(Message::Stop, &[]).expect("sent");
        drop(other);
        assert_eq!(one.receive().expect("received").message, Message::Stop);
        assert!(one.receive().is_none());
    }

    #[test]
    fn descriptors_come_along() {
        let (one, other) = Channel::pair().expect("a pair");
        let (a, b) = Channel::pair().expect("a pair");
        one.send(Message::Terminal { program: 1 }, &[a.as_fd(), b.as_fd()]).expect("sent");
        let received = other.receive().expect("received");
        assert_eq!(received.descriptors.iter().flatten().count(), 2);
        drop(a);
        let copy = Channel::of(received.descriptors.into_iter().flatten().next().expect("one"));
        copy.send(Message::Go, &[]).expect("sent through the copy");
        assert_eq!(b.receive().expect("received").message, Message::Go);
    }
}

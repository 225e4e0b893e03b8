//! The records: what the two sides say to each other, and how that is written in sixteen bytes.

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
    /// Making the network namespace.
    Network,
}

impl Part {
    pub(super) const ALL: [Self; 14] = [
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
        Self::Network,
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
            Self::Network => "make the network namespace",
        })
    }
}

/// What a socket of the sandbox is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum SocketKind {
    /// It accepts connections.
    Streams,
    /// It receives datagrams.
    Datagrams,
    /// It sends packets as they are.
    Raw,
}

impl SocketKind {
    fn from_number(number: i32) -> Option<Self> {
        [Self::Streams, Self::Datagrams, Self::Raw].into_iter().find(|kind| *kind as i32 == number)
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
    /// From the first process, with a descriptor: a socket of the sandbox that the gateway serves.
    Socket {
        /// What it takes.
        kind: SocketKind,
    },
    /// From the first process: those were all; the supervisor may serve them while the rest is done.
    Serve,
    /// To the first process, with a descriptor: connect to this port of the sandbox's loopback, and answer on the channel
    /// that the descriptor is of.
    Connect {
        /// The port.
        port: u16,
    },
    /// The answer, with the connected socket, or without one.
    Connected {
        /// Why there is none.
        errno: i32,
    },
    /// From the first process, with a descriptor: it waits for the link. When the descriptor is closed, the link is there, or
    /// there will be none.
    Attach,
    /// From the first process, with a descriptor that it waits on: the link is up inside, and its other end is to be, too.
    Raise,
    /// From the first process: every step is done, and the first program started if it was to be.
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
pub(super) const SIZE: usize = 16;

impl Message {
    pub(super) fn encode(self) -> [u8; SIZE] {
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
            Self::Socket { kind } => [20, kind as i32, 0, 0],
            Self::Connect { port } => [21, port.into(), 0, 0],
            Self::Connected { errno } => [22, errno, 0, 0],
            Self::Attach => [23, 0, 0, 0],
            Self::Raise => [24, 0, 0, 0],
            Self::Serve => [25, 0, 0, 0],
        };
        let mut bytes = [0; SIZE];
        for (chunk, word) in bytes.chunks_exact_mut(4).zip(words) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// Reads a record back; `None` for one that no process of this version writes.
    pub(super) fn decode(bytes: &[u8; SIZE]) -> Option<Self> {
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
            20 => Self::Socket { kind: SocketKind::from_number(a)? },
            21 => Self::Connect { port: u16::try_from(a).ok()? },
            22 => Self::Connected { errno: a },
            23 => Self::Attach,
            24 => Self::Raise,
            25 => Self::Serve,
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
            | Self::Socket { .. }
            | Self::Serve
            | Self::Connect { .. }
            | Self::Connected { .. }
            | Self::Attach
            | Self::Raise
            | Self::Ready
            | Self::Listener
            | Self::StepFailed { .. } => None,
        }
    }
}

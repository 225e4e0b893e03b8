//! One entry of the catalogue, and how it is written down.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use palisade_policy::Clause;
use palisade_probe::script::{Phase, Script, Statement};
use serde::{Deserialize, Serialize};

use super::{Canary, Expect};
use crate::lab::world::Presence;

/// How bad a breach is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Gives away information.
    Low,
    /// Denial of service, or more attack surface.
    Medium,
    /// Removes one layer, or opens a way out of the network.
    High,
    /// Leaves the sandbox or obtains credentials.
    Critical,
}

impl Severity {
    /// The word of reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// What it means when the expectation is not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The policy forbids the attempt: not meeting the expectation is a breach.
    Denied,
    /// The policy allows the attempt: not meeting the expectation is over-blocking.
    Allowed,
}

/// When an entry runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// With every run.
    Standard,
    /// Only when it is selected by `--only`: slow.
    Soak,
    /// Only with `--tier destructive`: without a sandbox that bounds it, it takes what a machine may miss.
    Destructive,
}

/// What the same statements must show without a sandbox, so that a refusal inside can be credited to it.
#[derive(Clone, Debug)]
pub enum Outside {
    /// Anything but what is expected inside.
    NotExpected,
    /// In this set.
    Shows(Expect),
    /// The expectation too: the default of `allows` entries.
    Same,
    /// Nothing runs outside; the text says why the inside alone is evidence (for example because the expectation
    /// names a value that only the lab knows).
    NotRun(&'static str),
}

impl Outside {
    /// The host gets as far as one of these errors: the sentinel of a bad operand.
    pub fn fails(errors: impl IntoIterator<Item = Errno>) -> Self {
        Self::Shows(Expect::fails(errors))
    }

    /// It succeeds.
    pub fn succeeds() -> Self {
        Self::Shows(Expect::Succeeds)
    }
}

/// What the machine must offer for an entry to mean anything. Found out by trying, never by version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// The suite runs as root of the initial user namespace.
    Root,
    /// The suite runs as an ordinary user.
    Unprivileged,
    /// `int 0x80` reaches the kernel.
    Ia32,
    /// A call number with bit 30 reaches the x32 table.
    X32,
    /// An IPv6 socket can be made.
    Ipv6,
    /// The kernel has Landlock, of this ABI at least.
    LandlockAbi(u32),
    /// This command is in `/usr/bin`, where the sandbox has it too.
    Command(&'static str),
    /// So many bytes of memory are free.
    Memory(u64),
}

/// What runs.
#[derive(Clone, Debug)]
pub enum Workload {
    /// The probe program with these statements.
    Script(Script),
    /// A command.
    Command(Vec<String>),
}

/// A file, directory or link that the case's working directory holds at start.
#[derive(Clone, Debug)]
pub enum Planted {
    /// A file with this content and mode.
    File(PathBuf, Vec<u8>, u32),
    /// An empty directory.
    Directory(PathBuf),
    /// A symbolic link: its path, its target.
    Symlink(PathBuf, PathBuf),
}

impl Planted {
    /// Where it lies, relative to the working directory.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path, ..) | Self::Directory(path) | Self::Symlink(path, _) => path,
        }
    }
}

/// What the standard descriptors of the runtime are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Streams {
    /// Pipes, and `/dev/null` as input.
    #[default]
    Pipes,
    /// A terminal of its own.
    Terminal,
    /// A terminal of its own, the controlling one and for the outputs; `/dev/null` as input.
    Behind,
    /// Regular files outside of every policy, open to everybody by their mode: the input for reading only, the outputs
    /// for appending only, with [`BEFORE`] and the nonce in each of them from before.
    Files,
}

/// Stands, before the nonce, in the files of [`Streams::Files`].
pub const BEFORE: &str = "before-";

/// Something done to the runtime from outside while the workload runs.
#[derive(Clone, Debug)]
pub struct Interference {
    /// It is done when the attempt or control of this number has been announced.
    pub after: usize,
    /// What is done.
    pub action: Action,
}

/// What interference does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Kills the runtime's own process with SIGKILL; then `Seen` is the number of processes that survive it.
    KillRuntime,
    /// Kills the runtime's children, and so the first process of its sandbox; then `Seen` is the number of processes
    /// that survive it, the runtime's own included.
    KillFirst,
    /// Starts the runtime that many times, and kills its own process with SIGKILL after a time that grows from nothing to
    /// somewhat more than it needs to start the workload; then `Seen` is the number of processes that are left. The
    /// entry must be [serial](Probe::serial): every process that was not there before counts. `after` is the
    /// announcement by which that time is measured.
    KillEarly(u32),
    /// Sends this signal to the runtime; then `Seen` is the runtime's exit code.
    Signal(Signal),
    /// Types Ctrl-C on the runtime's terminal; then `Seen` is the runtime's exit code.
    Interrupt,
    /// Types this on the runtime's terminal; the observation stays what the last attempt shows.
    Type(&'static [u8]),
    /// Gives the runtime's terminal this many rows and columns; the observation stays what the last attempt shows.
    Resize(u16, u16),
    /// Does nothing but wait for the end; then `Seen` is the number of processes that survive it.
    LetEnd,
    /// Does nothing but wait for the end. Where the attempt returns, or a signal ends it alone, that is seen; where the run
    /// ends before, `Seen` is `CutShort`, or the number of processes that survive it.
    AwaitLimit,
    /// Mounts a tmpfs on `world.work.mountpoint`, with the file `planted` that holds the nonce; the observation stays what
    /// the last attempt shows. Let a statement wait (`sleep_ms`) between the announcement and the attempt.
    PlantMount,
    /// Looks at the waiting workload from outside, and ends it; then `Seen` is what there is to tell, one fact a line.
    Look(Look),
}

/// What is looked at from outside, in /proc of the suite (proc(5)). Each is told as what is *not* apart or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The namespaces that the workload shares with the suite, by their names in /proc.
    Namespaces,
    /// `SET name` for each capability in any set of any thread inside.
    Capabilities,
    /// `Seccomp MODE` for each mode that a thread inside has.
    Filter,
    /// `NoNewPrivs 0` or `1`, whichever threads inside have.
    NoNewPrivileges,
    /// `NUMBER what` for each descriptor of the workload but the standard ones.
    Descriptors,
    /// For each mount that the workload sees, as it applies: `rw PATH`, `suid PATH`, `dev PATH`, `shared PATH`, `slave PATH`.
    Mounts,
    /// `group ID` for each supplementary group of any thread inside.
    Groups,
    /// The controllers (memory, pids, cpu) in whose control group the suite is too.
    Cgroup,
    /// A line, where the workload is in the session of the suite.
    Session,
}

impl Look {
    /// The file of /proc that is read.
    pub const fn source(self) -> &'static str {
        match self {
            Self::Namespaces => "/proc/PID/ns",
            Self::Capabilities | Self::Filter | Self::NoNewPrivileges | Self::Groups => {
                "/proc/PID/task/*/status"
            }
            Self::Descriptors => "/proc/PID/fd",
            Self::Mounts => "/proc/PID/mountinfo",
            Self::Cgroup => "/proc/PID/cgroup",
            Self::Session => "/proc/PID/stat",
        }
    }
}

/// One entry of the catalogue.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Permanent lower-case words: `group/.../name`.
    pub id: String,
    /// What not meeting the expectation means.
    pub class: Class,
    /// How bad that is.
    pub severity: Severity,
    /// The clause of the policy that is tested.
    pub clause: Clause,
    /// The clause of `SPEC.md`.
    pub spec: &'static str,
    /// The requirement in one sentence.
    pub requirement: String,
    /// The operation as a reader would name it; the last attempt when it is empty.
    pub operation: String,
    /// What runs.
    pub workload: Workload,
    /// What the last attempt must show.
    pub expect: Expect,
    /// What it must show without a sandbox.
    pub outside: Outside,
    /// What must stay untouched in the lab.
    pub canary: Option<Canary>,
    /// What the machine must offer.
    pub needs: Vec<Need>,
    /// Why the lab could not prepare what the entry is aimed at, if it could not.
    pub absent: Option<String>,
    /// What the working directory holds at start.
    pub planted: Vec<Planted>,
    /// What is done to the runtime while the workload runs.
    pub interference: Option<Interference>,
    /// How long the workload may run, below what the policy says.
    pub wall_time: Option<Duration>,
    /// How long a run may take before it is ended from outside, where that is not what is usual.
    pub limit: Option<Duration>,
    /// What runs meanwhile in a second sandbox of the same runtime and policy, in the same workspace. It has done its
    /// set-up before the workload starts, and is killed when that has ended.
    pub beside: Option<Script>,
    /// How long to wait after the end of the run before the canary is looked at.
    pub settle: Duration,
    /// Whether it must run while no other case runs.
    pub serial: bool,
    /// What the runtime's standard descriptors are.
    pub streams: Streams,
    /// Whether a sandbox that refuses the control as it refuses the attempt keeps the policy too: what is denied is all that the
    /// control is a part of (SPEC EV-3).
    pub as_a_whole: bool,
    /// When it runs.
    pub tier: Tier,
}

impl Probe {
    /// An entry for something that the policy forbids.
    pub fn denies(id: impl Into<String>, severity: Severity) -> Self {
        Self::new(id.into(), severity, Class::Denied, Expect::Denied, Outside::NotExpected)
    }

    /// An entry for something that the policy allows.
    pub fn allows(id: impl Into<String>, severity: Severity) -> Self {
        Self::new(id.into(), severity, Class::Allowed, Expect::Succeeds, Outside::Same)
    }

    fn new(id: String, severity: Severity, class: Class, expect: Expect, outside: Outside) -> Self {
        Self {
            id,
            class,
            severity,
            clause: Clause::new(""),
            spec: "",
            requirement: String::new(),
            operation: String::new(),
            workload: Workload::Script(Script::new()),
            expect,
            outside,
            canary: None,
            needs: Vec::new(),
            absent: None,
            planted: Vec::new(),
            interference: None,
            wall_time: None,
            limit: None,
            beside: None,
            settle: Duration::ZERO,
            serial: false,
            streams: Streams::Pipes,
            as_a_whole: false,
            tier: Tier::Standard,
        }
    }

    /// The clause of the policy that is tested, and the clause of `SPEC.md` that requires it.
    #[must_use]
    pub fn serves(mut self, clause: &'static str, spec: &'static str) -> Self {
        self.clause = Clause::new(clause);
        self.spec = spec;
        self
    }

    /// As [`serves`](Self::serves), for a clause that was read from the policy (`filesystem.hidden[2]`).
    #[must_use]
    pub fn serves_rule(mut self, clause: &Clause, spec: &'static str) -> Self {
        self.clause = clause.clone();
        self.spec = spec;
        self
    }

    /// The requirement, one sentence without a full stop.
    #[must_use]
    pub fn requires(mut self, sentence: impl Into<String>) -> Self {
        self.requirement = sentence.into();
        self
    }

    /// The operation as a reader would name it: `mount(2) with a bad pointer`.
    #[must_use]
    pub fn operation(mut self, words: impl Into<String>) -> Self {
        self.operation = words.into();
        self
    }

    /// Adds statements of the probe program: `setup!(..)`, `control!(..)`, `attempt!(..)`. They run in the order written,
    /// are numbered from 0, and the last attempt is judged.
    #[must_use]
    pub fn script(mut self, statements: impl IntoIterator<Item = Statement>) -> Self {
        match &mut self.workload {
            Workload::Script(script) => script.extend(statements),
            Workload::Command(_) => panic!("{}: a command has no statements", self.id),
        }
        self
    }

    /// Runs a command instead of the probe program. `expect` then judges exit code and standard output.
    #[must_use]
    pub fn command<S: Into<String>>(mut self, argv: impl IntoIterator<Item = S>) -> Self {
        self.workload = Workload::Command(argv.into_iter().map(Into::into).collect());
        self
    }

    /// What the last attempt must show.
    #[must_use]
    pub fn expect(mut self, expect: Expect) -> Self {
        self.expect = expect;
        self
    }

    /// What it must show without a sandbox.
    #[must_use]
    pub fn outside(mut self, outside: Outside) -> Self {
        self.outside = outside;
        self
    }

    /// What must stay untouched in the lab (an `allows` entry: what must be reached).
    #[must_use]
    pub fn canary(mut self, canary: Canary) -> Self {
        self.canary = Some(canary);
        self
    }

    /// What the machine must offer.
    #[must_use]
    pub fn needs(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    /// What the lab must have been able to prepare: the `presence` of the object that the entry is aimed at. Where it is absent the
    /// entry is unsupported.
    #[must_use]
    pub fn needs_planted(mut self, presence: &Presence) -> Self {
        if let Presence::Absent(why) = presence {
            self.absent.get_or_insert_with(|| why.clone());
        }
        self
    }

    /// Plants a file with mode 0644 in the working directory.
    #[must_use]
    pub fn plant(self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Self {
        self.plant_entry(Planted::File(path.into(), content.into(), 0o644))
    }

    /// Plants anything in the working directory.
    #[must_use]
    pub fn plant_entry(mut self, planted: Planted) -> Self {
        let stays_below = planted.path().components().all(|part| matches!(part, Component::Normal(_)));
        assert!(stays_below, "{}: planted path {} leaves the directory", self.id, planted.path().display());
        self.planted.push(planted);
        self
    }

    /// Does something to the runtime once statement `after` has been announced.
    #[must_use]
    pub fn interfere(mut self, after: usize, action: Action) -> Self {
        self.interference = Some(Interference { after, action });
        self
    }

    /// Narrows the policy to a run of this length.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.wall_time = Some(time);
        self
    }

    /// Runs statements in a second sandbox meanwhile: set-up, and then at least one attempt that waits.
    #[must_use]
    pub fn beside(mut self, statements: impl IntoIterator<Item = Statement>) -> Self {
        self.beside = Some(statements.into_iter().collect());
        self
    }

    /// Waits after the end of the run before the canary is looked at: for what may happen late.
    #[must_use]
    pub fn settle(mut self, time: Duration) -> Self {
        self.settle = time;
        self
    }

    /// Runs while no other case runs.
    #[must_use]
    pub fn serial(mut self) -> Self {
        self.serial = true;
        self
    }

    /// Starts the runtime on a terminal of its own.
    #[must_use]
    pub fn on_terminal(mut self) -> Self {
        self.streams = Streams::Terminal;
        self
    }

    /// Starts the runtime with a controlling terminal that is not its standard input.
    #[must_use]
    pub fn behind_terminal(mut self) -> Self {
        self.streams = Streams::Behind;
        self
    }

    /// Starts the runtime with regular files as its standard descriptors, see [`Streams::Files`].
    #[must_use]
    pub fn on_files(mut self) -> Self {
        self.streams = Streams::Files;
        self
    }

    /// Runs only when selected.
    #[must_use]
    pub fn soak(mut self) -> Self {
        self.tier = Tier::Soak;
        self
    }

    /// Runs only where that is asked for, alone, and where the machine has so many bytes of memory free.
    #[must_use]
    pub fn destructive(mut self, bytes: u64) -> Self {
        self.tier = Tier::Destructive;
        self.serial().needs(Need::Memory(bytes))
    }

    /// Whether its only control is a connection over the loopback.
    pub(super) fn needs_the_loopback(&self) -> bool {
        let Workload::Script(script) = &self.workload else { return false };
        let mut controls = script.statements().iter().filter(|statement| statement.phase() == Phase::Control);
        controls.next().is_some_and(|control| control.operation() == "loopback_tcp")
            && controls.next().is_none()
    }

    /// The first word of the id.
    pub fn group(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }

    /// The operation as a reader would name it.
    pub fn describe(&self) -> String {
        if !self.operation.is_empty() {
            return self.operation.clone();
        }
        match &self.workload {
            Workload::Script(script) => {
                let attempt = script.statements().iter().rfind(|s| s.phase() == Phase::Attempt);
                let text = attempt.map(ToString::to_string).unwrap_or_default();
                text.trim_start_matches("a:").to_owned()
            }
            Workload::Command(argv) => argv.join(" "),
        }
    }
}

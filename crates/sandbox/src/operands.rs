//! A step with everything that its calls need, built before the fork: C strings, descriptors, numbers, bytes.

use std::ffi::CString;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use palisade_policy::Protocol;
use palisade_sys::exec::StringArray;
use palisade_sys::memory::ArgumentArea;
use palisade_sys::seccomp::SockFilter;
use rustix::mount::MountFlags;
use rustix::process::Resource;
use rustix::thread::CapabilitySet;

use crate::netlink::Request;

/// One step of the child. Paths are relative to the new root.
#[derive(Debug)]
pub(crate) enum Operation {
    /// Belongs to the parent, which has done it.
    Done,
    EnterCgroupNamespace,
    CloseDescriptors,
    WipeArguments(Option<ArgumentArea>),
    ClearGroups,
    SetIds {
        uid: u32,
        gid: u32,
    },
    SetHostname(Vec<u8>),
    LoopbackUp,
    /// An address, and that it is the sandbox's own.
    AddAddress(Vec<Request>),
    Route(Request),
    Listen {
        protocol: Protocol,
        address: SocketAddr,
    },
    ListenTransparent {
        address: SocketAddr,
    },
    OpenRaw {
        ipv6: bool,
    },
    /// The supervisor has all sockets.
    ServeEgress,
    LoadRuleset(Loader),
    AttachLink(String),
    /// What makes it ready to use.
    LinkUp(Vec<Request>),
    PrivateMounts,
    NewRoot {
        options: CString,
    },
    MakeDirectory {
        path: CString,
        mode: u32,
    },
    MakeFile {
        path: CString,
        mode: u32,
        content: Vec<u8>,
    },
    MakeLink {
        path: CString,
        target: CString,
    },
    MountFileSystem {
        kind: CString,
        path: CString,
        flags: MountFlags,
        options: CString,
    },
    MountBind {
        source: Source,
        path: CString,
        attributes: u64,
        recursive: bool,
    },
    ProtectPath {
        path: CString,
    },
    MaskPath {
        path: CString,
        /// Whether it is an entry of the sandbox's own procfs, which no workload can replace by something else.
        fixed: bool,
    },
    /// In the new root; what is made on the host is made before.
    MakePlaceholder {
        parent: CString,
        name: CString,
        directory: bool,
    },
    PinPath {
        path: CString,
        attributes: u64,
    },
    Checkpoint {
        step: i32,
    },
    MountWorkspace {
        options: CString,
    },
    MountOverlay {
        source: Source,
        part: WorkspacePart,
        options: CString,
        path: CString,
        attributes: u64,
    },
    MountCopy {
        source: Source,
        part: WorkspacePart,
        path: CString,
        attributes: u64,
        /// By device and inode.
        empty: Vec<(u64, u64)>,
    },
    CloseWorkspace,
    ForbidUserNamespaces,
    PivotRoot,
    SealMount {
        path: CString,
    },
    NewSession,
    Limit {
        resource: Resource,
        value: u64,
    },
    NotDumpable,
    DropBoundingSet {
        keep: CapabilitySet,
    },
    NoNewPrivileges,
    RestrictLandlock {
        handled: u64,
        scoped: u64,
        rules: Vec<(CString, u64)>,
    },
    DropCapabilities {
        keep: CapabilitySet,
    },
    InstallSeccomp {
        program: Vec<SockFilter>,
        /// The same, but the supervisor hears of what is refused.
        asking: Option<Vec<SockFilter>>,
    },
}

/// When a step can run, as far as the network namespace goes, which is made beside the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Before its making begins.
    Before,
    /// While it is made.
    Beside,
    /// In it.
    Within,
}

impl Operation {
    /// What is made of files needs no network. Whatever gives up a right comes after, since entering the namespace needs some.
    pub(crate) fn when(&self) -> When {
        match self {
            // Closing descriptors would close the maker's, which are the caller's. The others take long enough for the supervisor to
            // have fallen asleep: before, with two processors, the maker would be put behind this process and not beside it.
            Self::Done
            | Self::EnterCgroupNamespace
            | Self::CloseDescriptors
            | Self::WipeArguments(_)
            | Self::ClearGroups
            | Self::SetIds { .. }
            | Self::SetHostname(_)
            | Self::PrivateMounts
            | Self::NewRoot { .. } => When::Before,
            Self::MakeDirectory { .. }
            | Self::MakeFile { .. }
            | Self::MakeLink { .. }
            | Self::MountFileSystem { .. }
            | Self::MountBind { .. }
            | Self::ProtectPath { .. }
            | Self::MaskPath { .. }
            | Self::MakePlaceholder { .. }
            | Self::PinPath { .. }
            | Self::MountWorkspace { .. }
            | Self::MountOverlay { .. }
            | Self::MountCopy { .. }
            | Self::CloseWorkspace
            | Self::ForbidUserNamespaces
            | Self::SealMount { .. } => When::Beside,
            Self::LoopbackUp
            | Self::AddAddress(_)
            | Self::Route(_)
            | Self::Listen { .. }
            | Self::ListenTransparent { .. }
            | Self::OpenRaw { .. }
            | Self::ServeEgress
            | Self::LoadRuleset(_)
            | Self::AttachLink(_)
            | Self::LinkUp(_)
            | Self::Checkpoint { .. }
            | Self::PivotRoot
            | Self::NewSession
            | Self::Limit { .. }
            | Self::NotDumpable
            | Self::DropBoundingSet { .. }
            | Self::NoNewPrivileges
            | Self::RestrictLandlock { .. }
            | Self::DropCapabilities { .. }
            | Self::InstallSeccomp { .. } => When::Within,
        }
    }
}

/// The program that loads a ruleset of nftables, and what it reads.
#[derive(Debug)]
pub(crate) struct Loader {
    pub(crate) program: OwnedFd,
    pub(crate) ruleset: OwnedFd,
    /// What its standard output and standard error lead to: nowhere.
    pub(crate) null: OwnedFd,
    pub(crate) arguments: StringArray,
    pub(crate) environment: StringArray,
}

/// What a bind mount shows.
#[derive(Debug)]
pub(crate) enum Source {
    /// A detached copy of the tree, which a privileged parent has made, and has given its attributes.
    Tree(OwnedFd),
    /// A path that the child opens itself, since only it has the privilege to copy mounts, and what must stand there.
    Path { path: CString, device: u64, inode: u64 },
}

/// The directories of one part of the workspace, in the new root while it is built.
#[derive(Debug)]
pub(crate) struct WorkspacePart {
    /// Where the host's directory is mounted, to lie below.
    pub(crate) lower: CString,
    /// What takes up changes, or the copy.
    pub(crate) upper: CString,
    /// The kernel's own (overlayfs, `workdir`).
    pub(crate) work: CString,
    /// Where the overlay is mounted first.
    pub(crate) merged: CString,
}

/// The program that the sandbox is made for.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) arguments: StringArray,
    pub(crate) environment: StringArray,
}

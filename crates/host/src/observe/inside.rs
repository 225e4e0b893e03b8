//! Trials in a user namespace: each kind of namespace in it, and interfaces and rules in its network.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use palisade_sys::process::{self, Cloned, ForkedChild, namespace};
use palisade_sys::{Errno, surface};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::pipe::{PipeFlags, pipe_with};

use super::netlink::Requests;
use super::{Answer, Trial, errno};

/// In the order in which the child tries them.
const KINDS: [(Trial, u64); 7] = [
    (Trial::MountNamespace, namespace::MOUNT),
    (Trial::PidNamespace, namespace::PID),
    (Trial::NetworkNamespace, namespace::NETWORK),
    (Trial::IpcNamespace, namespace::IPC),
    (Trial::UtsNamespace, namespace::UTS),
    (Trial::CgroupNamespace, namespace::CGROUP),
    (Trial::TimeNamespace, namespace::TIME),
];

/// And then in its network namespace, if it has one.
const NETWORK: [Trial; 4] = [Trial::Nftables, Trial::Tun, Trial::Veth, Trial::Macvlan];

const TRIALS: usize = KINDS.len() + NETWORK.len();

/// In place of an errno: not tried.
const UNTRIED: u8 = u8::MAX;

/// A child that tries them, or why there is none.
pub(super) struct Inside(Result<(i32, OwnedFd), Answer>);

/// Starts it.
pub(super) fn start() -> Inside {
    Inside(attempt())
}

impl Inside {
    /// What became of each, when it has ended.
    pub(super) fn trials(self) -> BTreeMap<Trial, Answer> {
        let all = KINDS.iter().map(|(trial, _)| *trial).chain(NETWORK);
        match self.0.and_then(|(pid, reader)| told(pid, &reader)) {
            Ok(told) => {
                let answers = all.zip(told).map(|(trial, told)| (trial, answer(told)));
                answers.chain([(Trial::UserNamespace, Answer::Done)]).collect()
            }
            Err(said) => {
                let without = all.map(|trial| (trial, Answer::Untried("no user namespace")));
                without.chain([(Trial::UserNamespace, said)]).collect()
            }
        }
    }
}

fn answer(told: u8) -> Answer {
    match told {
        0 => Answer::Done,
        UNTRIED => Answer::Untried("what it needs is missing"),
        errno => Answer::Refused(Errno(errno.into())),
    }
}

/// The child, and where it tells; or why there is no user namespace.
fn attempt() -> Result<(i32, OwnedFd), Answer> {
    let requests = Requests::new();
    let (reader, writer) = errno(pipe_with(PipeFlags::CLOEXEC)).map_err(Answer::Refused)?;
    match process::clone3(namespace::USER).map_err(Answer::Refused)? {
        Cloned::Parent { pid, .. } => Ok((pid, reader)),
        Cloned::Child(proof) => serve(&proof, &requests, &writer),
    }
}

/// What each trial said, an errno or 0, in order.
fn told(pid: i32, reader: &OwnedFd) -> Result<[u8; TRIALS], Answer> {
    let mut told = [UNTRIED; TRIALS];
    let read = rustix::io::read(reader, &mut told);
    let _ = process::wait_for(pid);
    match read {
        Ok(TRIALS) => Ok(told),
        Ok(_) | Err(_) => Err(Answer::Untried("its first process ended early")),
    }
}

/// The child. Allocates nothing. Whatever it makes goes with its namespaces, of which nobody else has a descriptor.
fn serve(proof: &ForkedChild, requests: &Requests, writer: &OwnedFd) -> ! {
    let _ = process::close_except(proof, 3, std::iter::once(writer.as_raw_fd()));
    let byte = |result: Result<(), Errno>| {
        result.err().map_or(0, |Errno(errno)| u8::try_from(errno).unwrap_or(UNTRIED - 1))
    };
    let mut told = [UNTRIED; TRIALS];
    let (kinds, network) = told.split_at_mut(KINDS.len());
    let mut has_network = false;
    for (told, (trial, kind)) in kinds.iter_mut().zip(KINDS) {
        *told = byte(process::unshare(proof, kind));
        has_network |= trial == Trial::NetworkNamespace && *told == 0;
    }
    if has_network && let [nftables, tun, veth, macvlan] = network {
        *nftables = byte(errno(requests.nftables()));
        *tun = byte(make_tun(proof));
        *veth = byte(errno(requests.veth()));
        if *veth == 0 {
            *macvlan = byte(errno(requests.macvlan()));
        }
    }
    let _ = rustix::io::write(writer, &told);
    process::exit(0)
}

fn make_tun(proof: &ForkedChild) -> Result<(), Errno> {
    let device = errno(openat(CWD, c"/dev/net/tun", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()))?;
    surface::make_tun(proof, device.as_fd())
}

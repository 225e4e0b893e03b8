//! `launch`: makes the first process of a sandbox and gives it its ids.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use palisade_plan::Plan;
use palisade_plan::step::IdPair;
use palisade_sys::process::{self, Cloned};
use palisade_sys::signal::{self, SignalSet};
use palisade_sys::user_namespace::{Mapping, write_maps};

use crate::cgroup::{Cgroups, Failed};
use crate::channel::{Channel, Message};
use crate::child;
use crate::egress::Egress;
use crate::failure::{Failure, words};
use crate::limits::Watched;
use crate::link::Link;
use crate::placeholder::Placeholders;
use crate::prepare::Prepared;
use crate::supervise::Forwarding;
use crate::workspace::Workspace;

/// A sandbox whose first process runs. Dropping it kills everything in it: the first process sees the channel end.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) channel: Channel,
    pub(crate) wall_time: Option<Duration>,
    /// Limits that have to be looked at.
    pub(crate) watched: Watched,
    /// The workspace, if it is kept apart from the real directories.
    pub(crate) workspace: Option<Workspace>,
    /// What is carried out of the sandbox.
    pub(crate) egress: Option<Egress>,
    /// The interface that leads out of it.
    pub(crate) link: Option<Link>,
    /// What the run has put on the host.
    pub(crate) _placeholders: Placeholders,
    /// Last: they can only be removed when the sandbox has ended, as it does when the channel ends.
    pub(crate) groups: Cgroups,
}

/// Starts what `prepare` prepared of `plan`.
///
/// With `forwarding`, the workload starts with the signal mask from before the signals were caught.
///
/// Safe in a program with several threads: the child only walks operands that exist already.
///
/// # Errors
/// A [`Failure`] for the steps that the caller's side carries out: the namespaces and the id maps.
pub(crate) fn launch(
    mut prepared: Prepared,
    plan: &Plan,
    forwarding: Option<&Forwarding>,
) -> Result<Launched, Failure> {
    let before = |action: &str| {
        let action = action.to_owned();
        move |errno: rustix::io::Errno| failure(0, action, errno.raw_os_error())
    };
    let groups = prepared.groups.make().map_err(|failed| in_group(plan, failed))?;
    let (channel, childs) = Channel::pair().map_err(before("socketpair"))?;

    // The child inherits the blocked mask, so that no signal ends it before it can pass it on; the workload gets the
    // caller's own mask back.
    let current = signal::block(&SignalSet::all());
    let mask = forwarding.map_or(current, Forwarding::original_mask);
    let cloned = process::clone3_into(prepared.namespaces, groups.to_begin_in());
    if let Ok(Cloned::Child(proof)) = cloned {
        // With its own copy of the supervisor's end the child would never see the channel end.
        drop(channel);
        child::run(&proof, &mut prepared, &mask, childs)
    }
    signal::set_mask(&current);
    let (pid, pidfd) = match cloned {
        Ok(Cloned::Parent { pid, pidfd }) => (pid, pidfd),
        Ok(Cloned::Child(_)) => unreachable_child(),
        Err(errno) => {
            return Err(failure(prepared.namespaces_step, "clone3 with new namespaces".into(), errno.0));
        }
    };
    drop(childs);

    let mut placeholders = prepared.placeholders;
    match pidfd.try_clone() {
        Ok(pidfd) => placeholders.belong_to(pidfd).map_err(before("tell the janitor"))?,
        Err(error) => return Err(failure(0, "dup".into(), error.raw_os_error().unwrap_or(0))),
    }
    let launched = Launched {
        pid,
        pidfd,
        channel,
        wall_time: prepared.wall_time,
        watched: prepared.watched,
        workspace: prepared.workspace,
        egress: prepared.egress,
        link: prepared.link,
        _placeholders: placeholders,
        groups,
    };
    if let Err(failed) = launched.groups.join(pid, launched.pidfd.as_fd()) {
        let failure = in_group(plan, failed);
        return Err(abandoned(launched, failure));
    }
    let give_ids = write_maps(pid, pair(prepared.uid), pair(prepared.gid), !prepared.privileged)
        .and_then(|()| launched.channel.send(Message::Go, &[]).map_err(Into::into));
    if let Err(error) = give_ids {
        let failure = failure(prepared.ids_step, "map ids".into(), error.raw_os_error().unwrap_or(0));
        return Err(abandoned(launched, failure));
    }
    Ok(launched)
}

/// Ends the first process, which waits for its ids, and only then lets go of its groups.
fn abandoned(launched: Launched, failure: Failure) -> Failure {
    let Launched { pid, channel, groups, .. } = launched;
    drop(channel);
    let _ = process::wait_for(pid);
    drop(groups);
    failure
}

fn in_group(plan: &Plan, failed: Failed) -> Failure {
    let word = words(plan, failed.step).unwrap_or_default();
    let hint = match failed.errno {
        rustix::io::Errno::NOENT | rustix::io::Errno::ACCESS => {
            Some("the plan was made for other cgroups; `palisade host` tells which there are")
        }
        rustix::io::Errno::INVAL => Some("a group above it may have a lower limit"),
        _ => None,
    };
    let action = format!("{word}: {}", failed.what);
    let errno = palisade_sys::Errno(failed.errno.raw_os_error());
    Failure { step: failed.step, action, part: None, errno, hint }
}

/// `child::run` does not return.
fn unreachable_child() -> ! {
    process::exit(1)
}

fn failure(step: usize, action: String, errno: i32) -> Failure {
    let hint = match rustix::io::Errno::from_raw_os_error(errno) {
        rustix::io::Errno::PERM | rustix::io::Errno::NOSPC if action.starts_with("clone3") => {
            Some("user namespaces may be restricted here: `palisade host` tells by what")
        }
        rustix::io::Errno::AGAIN => Some("the limit of processes of this user is reached"),
        _ => None,
    };
    Failure { step, action, part: None, errno: palisade_sys::Errno(errno), hint }
}

/// A pair of the plan in the words of the kernel.
pub(crate) fn pair(pair: IdPair) -> Mapping {
    Mapping { inside: pair.inside, outside: pair.outside }
}

//! From a policy to the profile of its filter.

use palisade_policy::{Network, Process, SyscallProfile};
use thiserror::Error;

use super::arguments::{CHECKED, Circumstances};
use super::profile::{Action, Arch, Call, Errno, Profile, Rules, Verdict};
use super::table::{BY_RANK, NEEDED_BY_INIT, NEWER_MOUNT_INTERFACE, USED_IN_NESTED_NAMESPACES};

/// Why a policy has no filter.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Undecidable {
    /// A list of the policy names a call that the table does not know.
    #[error("unknown system call {name:?} in process.syscalls.{list}")]
    UnknownCall {
        /// `allow` or `deny`.
        list: &'static str,
        /// The name.
        name: String,
    },
    /// The policy denies a call that the first process of the sandbox, under the same filter, cannot do without.
    #[error("process.syscalls.deny names {name}, which the first process of the sandbox itself needs")]
    NeededByInit {
        /// The call.
        name: &'static str,
    },
}

impl Profile {
    /// The profile of a policy: the standard or strict table, then what `nested_namespaces` opens, then
    /// `syscalls.allow`, then `syscalls.deny`. Later wins. Capabilities open nothing: those that the plan grants
    /// need no call that is denied here.
    ///
    /// `syscalls.allow` lifts the argument checks of a call too; `allow: [seccomp]` also opens
    /// `prctl(PR_SET_SECCOMP)`, the older way to the same. `syscalls.deny` makes an allowed or checked call fail
    /// with EPERM, and leaves a denied one with the error that it has.
    ///
    /// # Errors
    ///
    /// A name that no call has, or the denial of a call that the sandbox's first process needs.
    pub fn decide(process: &Process, network: &Network) -> Result<Self, Undecidable> {
        let syscalls = &process.syscalls;
        let allow = known("allow", &syscalls.allow)?;
        let deny = known("deny", &syscalls.deny)?;
        let circumstances = Circumstances {
            profile: syscalls.profile,
            network: network.mode,
            nested_namespaces: process.nested_namespaces,
            own_filters: lists(&allow, "seccomp") && !lists(&deny, "seccomp"),
        };
        let mut rules = base_rules(circumstances);
        if process.nested_namespaces {
            set(&mut rules, NEWER_MOUNT_INTERFACE, Action::Fail(Errno::Enosys));
            set(&mut rules, USED_IN_NESTED_NAMESPACES, Action::Allow);
        }
        for call in allow {
            *rules.place(call) = Some(Verdict::Always(Action::Allow));
        }
        for call in deny {
            if NEEDED_BY_INIT.contains(&call.name()) {
                return Err(Undecidable::NeededByInit { name: call.name() });
            }
            let verdict = rules.place(call).get_or_insert(Verdict::Always(Action::Allow));
            if !matches!(verdict, Verdict::Always(Action::Fail(_))) {
                *verdict = Verdict::Always(Action::Fail(Errno::Eperm));
            }
        }
        let absent = Action::Fail(Errno::Enosys);
        Ok(Self { arch: Arch::X86_64, foreign_arch: absent, x32: absent, unknown: absent, rules })
    }
}

fn lists(calls: &[Call], name: &str) -> bool {
    calls.iter().any(|call| call.name() == name)
}

fn known(list: &'static str, names: &[String]) -> Result<Vec<Call>, Undecidable> {
    names
        .iter()
        .map(|name| Call::named(name).ok_or_else(|| Undecidable::UnknownCall { list, name: name.clone() }))
        .collect()
}

fn base_rules(circumstances: Circumstances) -> Rules {
    let listed = Call::all().zip(&BY_RANK).filter_map(|(call, actions)| {
        let (standard, strict) = (*actions)?;
        let action = match circumstances.profile {
            SyscallProfile::Standard => standard,
            SyscallProfile::Strict => strict,
        };
        Some((call, Verdict::Always(action)))
    });
    let mut rules: Rules = listed.collect();
    for (name, check) in CHECKED {
        *rules.place(known_call(name)) = Some(Verdict::Check(check(circumstances)));
    }
    rules
}

fn set(rules: &mut Rules, names: &[&str], action: Action) {
    for name in names {
        *rules.place(known_call(name)) = Some(Verdict::Always(action));
    }
}

fn known_call(name: &str) -> Call {
    Call::named(name)
        .unwrap_or_else(|| panic!("the table of the filter names {name}, which is no system call"))
}

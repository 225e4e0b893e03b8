//! The `process` section: namespaces, ids, session, privilege, filter.

use palisade_policy::{Clause, Identity, Policy, Terminal};

use super::{Draft, Situation};
use crate::facts::HostFacts;
use crate::plan::Status;
use crate::seccomp::Profile;
use crate::step::{IdPair, Namespace, Step};

const IDENTITY: Clause = Clause::new("process.identity");
const CAPABILITIES: Clause = Clause::new("process.capabilities");
const SYSCALLS: Clause = Clause::new("process.syscalls");
const NESTED: Clause = Clause::new("process.nested_namespaces");
const TERMINAL: Clause = Clause::new("process.terminal");
const FILESYSTEM: Clause = Clause::new("filesystem.base");
const ENVIRONMENT: Clause = Clause::new("environment.pass");

/// Capabilities that a workload may keep over its own namespaces: none of them reaches what holds the sandbox
/// together (mounts, network, tracing of PID 1, the sysctls of the user namespace).
const GRANTABLE: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETGID",
    "CAP_SETUID",
];

/// The id that the workload sees as its own.
pub(super) fn inside_id(identity: Identity) -> u32 {
    match identity {
        Identity::User => 1000,
        Identity::Root => 0,
    }
}

/// The ids that the workload's own stand for outside: uid and gid.
pub(super) fn outside_ids(facts: &HostFacts, situation: &Situation) -> (u32, u32) {
    if facts.caller.privileged {
        (situation.kernel_id, situation.kernel_id)
    } else {
        (facts.caller.uid, facts.caller.gid)
    }
}

/// The first process, in all namespaces at once.
pub(super) fn namespaces(policy: &Policy, facts: &HostFacts, situation: &Situation, draft: &mut Draft) {
    if let Some(reason) = facts.namespaces.reason() {
        draft.refuse(
            &IDENTITY,
            format!("a sandbox needs user namespaces: {reason}"),
            Some("`palisade host` tells which setting forbids them"),
        );
    }
    if facts.caller.kernel_root && !facts.caller.privileged {
        draft.refuse(
            &IDENTITY,
            "the caller is the kernel's uid 0 without CAP_SYS_ADMIN, CAP_SETUID and CAP_SETGID: the workload would stay uid 0 outside",
            Some("run as an ordinary user, or with these capabilities"),
        );
    }
    let (uid, gid) = outside_ids(facts, situation);
    let inside = inside_id(policy.process.identity);
    draft.step(&IDENTITY, Step::NewNamespaces { namespaces: Namespace::ALL.to_vec() });
    draft.step(
        &IDENTITY,
        Step::MapIds { uid: IdPair { inside, outside: uid }, gid: IdPair { inside, outside: gid } },
    );
    draft.step(&FILESYSTEM, Step::CloseDescriptors {});
    draft.step(&ENVIRONMENT, Step::WipeArguments {});
}

/// Who the workload is.
pub(super) fn identity(policy: &Policy, facts: &HostFacts, situation: &Situation, draft: &mut Draft) {
    let inside = inside_id(policy.process.identity);
    let (uid, _) = outside_ids(facts, situation);
    let mut notes = Vec::new();
    if facts.caller.privileged {
        draft.step(&IDENTITY, Step::ClearGroups {});
    } else if !facts.caller.groups.is_empty() {
        // setgroups(2) is denied in a user namespace whose gid map was written without privilege
        // (user_namespaces(7), CVE-2014-8989).
        notes.push(format!(
            "an unprivileged caller cannot drop its {} supplementary groups: files that the rules show are checked with them",
            facts.caller.groups.len()
        ));
    }
    if facts.caller.privileged {
        // An ordinary caller's own ids are the ones that are mapped: the first process has them from the beginning.
        draft.step(&IDENTITY, Step::SetIds { uid: inside, gid: inside });
    }
    draft.step(&IDENTITY, Step::SetHostname { name: "palisade".into() });
    draft.covered(
        &IDENTITY,
        format!("uid {inside}"),
        format!("user namespace, kernel uid {uid}"),
        Status::Enforced,
        notes,
    );
}

/// The terminal, and what else a session brings.
pub(super) fn session(policy: &Policy, draft: &mut Draft) {
    draft.step(&TERMINAL, Step::NewSession {});
    let (requested, mechanism) = match policy.process.terminal {
        Terminal::Auto => {
            ("auto", "own session; a terminal of the sandbox's own devpts where the caller has one")
        }
        Terminal::None => ("none", "own session without a controlling terminal; pipes"),
    };
    draft.enforced(&TERMINAL, requested, mechanism);
}

/// What keeps privilege from coming back. The rest of it goes in [`filter`], when nothing needs it any more.
pub(super) fn privilege(policy: &Policy, draft: &mut Draft) {
    let keep = &policy.process.capabilities;
    draft.step(&CAPABILITIES, Step::NotDumpable {});
    draft.step(&CAPABILITIES, Step::DropBoundingSet { keep: keep.clone() });
    draft.step(&CAPABILITIES, Step::NoNewPrivileges {});
    let requested = if keep.is_empty() { "none".into() } else { keep.join(" ") };
    let refused: Vec<&str> =
        keep.iter().map(String::as_str).filter(|name| !GRANTABLE.contains(name)).collect();
    if refused.is_empty() {
        draft.enforced(&CAPABILITIES, requested, "capability sets and bounding set, no_new_privs");
    } else {
        draft.refuse(
            &CAPABILITIES,
            format!("{} would let the workload undo its own sandbox", refused.join(" ")),
            Some("name only capabilities that act on the workload's own files and ports"),
        );
    }
}

/// The last of the privilege, and the system-call filter.
pub(super) fn filter(policy: &Policy, facts: &HostFacts, draft: &mut Draft) {
    draft.step(&CAPABILITIES, Step::DropCapabilities { keep: policy.process.capabilities.clone() });

    match Profile::decide(&policy.process, &policy.network) {
        Ok(profile) => draft.step(&SYSCALLS, Step::InstallSeccomp { profile }),
        Err(undecidable) => draft.refuse(&SYSCALLS, undecidable.to_string(), None),
    }
    let requested = format!("{:?}", policy.process.syscalls.profile).to_lowercase();
    match facts.seccomp.reason() {
        None => draft.enforced(&SYSCALLS, requested, "seccomp filter, unknown calls refused"),
        Some(reason) => {
            draft.refuse(
                &SYSCALLS,
                format!("no system-call filter: {reason}"),
                Some("the kernel needs CONFIG_SECCOMP_FILTER"),
            );
        }
    }
    if policy.process.nested_namespaces {
        draft.enforced(&NESTED, "allowed", "no limit, and the filter lets them pass");
    } else {
        draft.enforced(&NESTED, "denied", "user.max_user_namespaces 0 inside, and the filter");
    }
}

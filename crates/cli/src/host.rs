//! `palisade host`: what this host can enforce, found out by doing it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use palisade::code;
use palisade_host::{Depth, survey};
use palisade_plan::HostFacts;
use palisade_plan::facts::Ability;
use palisade_policy::Document;

use crate::arguments::{self, Format};
use crate::{message, source};

pub(crate) fn host(arguments: &arguments::Host) -> ExitCode {
    let Some(document) = Document::builtin(source::DEFAULT) else {
        message::error("the built-in policy is missing", None);
        return ExitCode::from(code::PALISADE);
    };
    // The root directory stands in for a working directory: its file system is what most of them are on.
    let facts = match survey(&document.policy, Path::new("/"), Depth::Full) {
        Ok(facts) => facts,
        Err(error) => {
            message::error(error, Some("/proc must be mounted"));
            return ExitCode::from(code::PALISADE);
        }
    };
    match arguments.format {
        Format::Text => message::print(&text(&facts)),
        Format::Json => message::print(&(serde_json::to_string_pretty(&facts).unwrap_or_default() + "\n")),
    };
    ExitCode::SUCCESS
}

fn text(facts: &HostFacts) -> String {
    let ability = |ability: &Ability| match ability {
        Ability::Available => "yes".to_owned(),
        Ability::Unavailable(reason) => format!("NO: {reason}"),
    };
    let landlock = match facts.landlock_abi {
        0 => "NO: the mounts are the only layer of file rules".to_owned(),
        abi => format!("yes, abi {abi}"),
    };
    let caller = match (facts.caller.privileged, facts.caller.kernel_root) {
        (true, _) => "privileged: workloads run under kernel ids of their own",
        (false, true) => "uid 0 without the privilege to change ids: nothing can run",
        (false, false) => "unprivileged: workloads run under the caller's own kernel id",
    };
    let rows = [
        ("kernel", facts.kernel.clone()),
        ("caller", format!("uid {}, {caller}", facts.caller.uid)),
        ("namespaces", ability(&facts.namespaces)),
        ("mount attributes", ability(&facts.mount_attributes)),
        ("procfs of its own", ability(&facts.procfs)),
        ("overlay", ability(&facts.overlay)),
        ("system-call filter", ability(&facts.seccomp)),
        ("landlock", landlock),
    ];
    let groups = facts.cgroups.iter().map(|hierarchy| {
        let controllers: Vec<&str> = hierarchy.controllers.iter().map(|one| one.v1_name()).collect();
        let place = format!("{} below {}", controllers.join(" "), hierarchy.parent.display());
        let value = match hierarchy.ability.reason() {
            None => format!("yes, {place}"),
            Some(reason) => format!("NO: {reason} ({place})"),
        };
        (hierarchy.version.cgroup_word(), value)
    });
    rows.into_iter().chain(groups).fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name:<20} {}", message::printable(&value));
        text
    })
}

//! Probes that a reviewer has brought along, as far as they can be run where no lab stands around.

use super::harmless::{Loaded, is_harmless};
use super::program::Program;
use super::{Finding, Verdict};
use crate::catalogue::{Class, Outside, Probe, Workload};

/// What each of them shows here.
pub(super) fn all(probes: &[Probe]) -> Vec<Finding> {
    if probes.is_empty() {
        return Vec::new();
    }
    let (program, loaded) = (Program::place(), Loaded::read());
    probes.iter().map(|probe| one(probe, &program, &loaded)).collect()
}

fn one(probe: &Probe, program: &Result<Program, String>, loaded: &Loaded) -> Finding {
    let found = |verdict, seen: String| {
        let statement = probe.describe();
        let finding = Finding::new(&probe.id, probe.severity, probe.requirement.clone(), verdict, seen);
        Finding { statement: Some(format!("a:{statement}")), ..finding }
    };
    let not_tried = |why: &str| found(Verdict::Unknown, format!("not tried: {why}"));
    let (Workload::Script(script), Outside::Shows(outside)) = (&probe.workload, &probe.outside) else {
        return not_tried("it is about what must work, and nobody knows what works without this sandbox");
    };
    if probe.class == Class::Allowed || !probe.planted.is_empty() {
        return not_tried("it needs files of its own");
    }
    if let Some(statement) = script.statements().iter().find(|one| !is_harmless(one, loaded)) {
        let why =
            format!("{statement} may act, and no lab stands around it; palisade verify --probes has one");
        return not_tried(&why);
    }
    match program.as_ref().map_err(Clone::clone).and_then(|program| program.seen(script)) {
        Ok(seen) if probe.expect.contains(&seen) => {
            let closed = found(Verdict::Closed, seen.to_string());
            closed.note(format!("as expected; that it would be {outside} without this sandbox is not known"))
        }
        Ok(seen) if outside.contains(&seen) => found(Verdict::Open, seen.to_string()),
        Ok(seen) => {
            let unknown = found(Verdict::Unknown, seen.to_string());
            unknown.note(format!("expected {:#}, or {outside:#} where nothing confines", probe.expect))
        }
        Err(why) => found(Verdict::Unknown, why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::custom::parse;

    fn probe(control: &str, script: &str, outside: &str) -> Probe {
        let text = format!(
            "id: own/x\nclass: denied\nseverity: high\nclause: process\nrequirement: x\ncontrol: [{control}]\n\
             script: [{script}]\nexpect: {{errors: [ENOENT]}}\noutside: {outside}\n"
        );
        parse("x.yaml", &text).unwrap_or_else(|problem| panic!("{problem}"))
    }

    fn verdict(probe: &Probe) -> Verdict {
        let found = all(std::slice::from_ref(probe));
        assert_eq!(found.len(), 1);
        found[0].verdict
    }

    #[test]
    fn what_only_reads_is_tried_and_the_rest_is_not() {
        let absent = "read_file /etc/palisade-no-such-file";
        assert_eq!(verdict(&probe("read_file /etc/passwd", absent, "succeeds")), Verdict::Closed);
        assert_eq!(verdict(&probe("sys getpid", "read_file /etc/passwd", "succeeds")), Verdict::Open);
        assert_eq!(
            verdict(&probe("sys getpid", "read_file /etc/passwd", "{errors: [EIO]}")),
            Verdict::Unknown
        );
        assert_eq!(verdict(&probe(absent, absent, "succeeds")), Verdict::Unknown, "its control failed");
        let acts = probe("sys getpid", "write_file /tmp/palisade-inside-brought x", "succeeds");
        assert_eq!(verdict(&acts), Verdict::Unknown);
        assert!(!std::path::Path::new("/tmp/palisade-inside-brought").exists());
        let acts = probe("write_file /tmp/palisade-inside-brought x", absent, "succeeds");
        assert_eq!(verdict(&acts), Verdict::Unknown, "the controls are looked at too");
        assert!(!std::path::Path::new("/tmp/palisade-inside-brought").exists());
    }
}

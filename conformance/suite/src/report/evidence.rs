//! What all reports for people say of a case, in one order and in the same words.

use super::{CaseReport, Report, escape};
use crate::attribution::Finding;
use crate::catalogue::Tier;
use crate::custom;
use crate::entry::Entry;
use crate::observation::{Observation, Unseen};

/// A label, empty where it is that of the line before, and its value: printable ASCII, one line.
pub(super) type Line = (&'static str, String);

/// Everything that is needed to judge a case again.
pub(super) fn evidence(report: &Report, case: &CaseReport) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut say = |label: &'static str, value: &str| lines.push((label, printable(value)));
    // "expected X, saw Y" is what the next lines say.
    if let Some(why) = case.verdict.why().filter(|why| !why.starts_with("expected ")) {
        say("why", &why);
    }
    say("operation", &case.operation);
    say("expected", &case.expected);
    observation(&mut say, "inside", case.inside.as_ref());
    observation(&mut say, "outside", case.outside.as_ref());
    if let Some(canary) = &case.canary {
        let heard = canary.heard.as_deref().unwrap_or("silent");
        let alive = canary.alive.as_ref().map_or_else(|why| format!("dead: {why}"), |()| "alive".to_owned());
        say("canary", &format!("{}: {heard}, {alive}", canary.canary));
    }
    if let Some(found) = &case.layers {
        say("held by", &found.words());
        if found.finding == Finding::WrongReason {
            say("", Finding::WrongReason.words());
        }
    }
    let place = case.location.as_ref().map(|place| format!("  ({place})")).unwrap_or_default();
    say("policy", &format!("{}{place}", case.clause));
    say("contract", &format!("SPEC.md {}", case.spec));
    say("tags", &case.tags.join(" "));
    say("reproduce", &reproduce(report, case));
    lines
}

fn observation(say: &mut impl FnMut(&'static str, &str), label: &'static str, seen: Option<&Observation>) {
    let Some(observation) = seen else { return say(label, "not run") };
    let shown = match &observation.attempt {
        Ok(seen) => seen.to_string(),
        Err(Unseen::NotStarted(why)) => format!("not started: {why}"),
        Err(Unseen::NotAttempted(why)) => format!("not attempted: {why}"),
        Err(Unseen::TimedOut) => "timed out".to_owned(),
        Err(Unseen::Harness(why)) => format!("suite failed: {why}"),
    };
    say(label, &shown);
    if let Err(why) = &observation.setup {
        say("", &format!("set-up failed: {why}"));
    }
    if let Err(why) = &observation.control {
        say("", &format!("control failed: {why}"));
    }
    if !observation.stderr.is_empty() {
        say("", &format!("stderr: {}", observation.stderr));
    }
}

/// The command that runs this one probe again.
pub(super) fn reproduce(report: &Report, case: &CaseReport) -> String {
    let subject = &report.subject;
    let runtime = match subject.runtime_file.as_ref().unwrap_or(&subject.runtime).as_str() {
        "palisade" => String::new(),
        other => format!(" --runtime {other}"),
    };
    let entry = match subject.entry {
        Entry::Run => String::new(),
        entry => format!(" --entry {entry}"),
    };
    let probes: String = match case.group() {
        custom::GROUP => subject.probes.iter().map(|path| format!(" --probes {path}")).collect(),
        _ => String::new(),
    };
    let backend = match subject.backend {
        None | Some("gateway") => String::new(),
        Some(other) => format!(" --backend {other}"),
    };
    let tier = match case.tier {
        Tier::Destructive => " --tier destructive",
        Tier::Standard | Tier::Soak => "",
    };
    format!(
        "palisade verify --policy {}{runtime}{entry}{backend}{probes}{tier} --only {}",
        subject.policy_argument, case.id
    )
}

/// The lines as a block of text, for the formats that have a place for one.
pub(super) fn block(lines: &[Line]) -> String {
    lines.iter().map(|(label, value)| format!("{label:10} {value}\n")).collect()
}

/// Text for one line of a terminal: printable characters as they are, everything else escaped.
pub(crate) fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            ' '..='~' => clean.push(character),
            other => clean.push_str(&escape(other.to_string().as_bytes())),
        }
    }
    clean
}

/// `printable` text for a place in XML or HTML, between tags or in a quoted attribute.
pub fn markup(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            '&' => clean.push_str("&amp;"),
            '<' => clean.push_str("&lt;"),
            '>' => clean.push_str("&gt;"),
            '"' => clean.push_str("&quot;"),
            '\'' => clean.push_str("&#39;"),
            other => clean.push(other),
        }
    }
    clean
}

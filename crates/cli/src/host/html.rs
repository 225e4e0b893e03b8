//! The report as one page, in the style of the pages of `verify`: no script, no other file, nothing from the network.

use std::io::{self, Write};

use palisade_conformance::report::html::head;
use palisade_conformance::report::markup;
use palisade_host::Status as Found;

use super::prediction::{Outcome, Prediction, Status};
use super::{Report, is_bad, name};

/// What the sheet of `verify` has not: pairs of a name and what is said of it.
const STYLE: &str = "dl.rows { grid-template-columns: 14rem 1fr; gap: .3rem .75rem; }\n\
    dl.rows dd { font: inherit; }\n\
    dl.rows b { color: var(--kind); }\n\
    @media (max-width: 36rem) { dl.rows { grid-template-columns: 1fr; gap: 0; } dl.rows dd { margin: 0 0 .6rem; } }\n";

pub(super) fn html(report: &Report) -> String {
    let mut page = Vec::new();
    // Writing to memory cannot fail.
    let _ = write(&mut page, report);
    String::from_utf8(page).unwrap_or_default()
}

fn write(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let place = markup(&report.place());
    match &report.policy {
        Some(policy) => {
            let name = markup(&policy.name);
            head(out, &format!("palisade host: policy {name}"), STYLE)?;
            writeln!(
                out,
                "<h1>Policy {name}</h1>\n<p class=\"faint\">{place}, palisade {}</p>",
                report.version
            )?;
            prediction(out, policy)?;
        }
        None => {
            head(out, "palisade host", STYLE)?;
            writeln!(
                out,
                "<h1>palisade host</h1>\n<p class=\"faint\">{place}, palisade {}</p>",
                report.version
            )?;
            findings(out, report)?;
        }
    }
    writeln!(out, "</body>\n</html>")
}

fn findings(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let (class, headline) = match report.missing() {
        0 => ("held", "nothing that a policy may ask for is missing".to_owned()),
        missing => (
            "inconclusive",
            format!("{missing} of {} take something away from policies", report.findings.len()),
        ),
    };
    writeln!(
        out,
        "<div class=\"banner {class}\"><strong>{headline}</strong></div>\n<p>{}</p>",
        report.caller_means()
    )?;
    for group in report.groups() {
        writeln!(out, "<h2>{}</h2>\n<dl class=\"rows\">", group.first().map_or("", |finding| finding.group))?;
        for finding in group {
            let class = match finding.status {
                Found::Available => "held",
                _ if is_bad(finding) => "breached",
                Found::Partial | Found::Unavailable | Found::Absent => "unsupported",
            };
            let (status, value) = (finding.status.word(), markup(&finding.value));
            write!(out, "<dt>{}</dt><dd class=\"{class}\"><b>{status}</b> {value}", markup(name(finding)))?;
            if let Some(consequence) = &finding.consequence {
                write!(out, "<br>{}", markup(consequence))?;
            }
            if let Some(remedy) = &finding.remedy {
                write!(out, "<br><code>{}</code>", markup(remedy))?;
            }
            writeln!(out, "</dd>")?;
        }
        writeln!(out, "</dl>")?;
    }
    Ok(())
}

fn prediction(out: &mut dyn Write, policy: &Prediction) -> io::Result<()> {
    let class = match policy.outcome {
        Outcome::Enforced => "held",
        Outcome::Partly => "inconclusive",
        Outcome::Refused => "breached",
    };
    writeln!(out, "<div class=\"banner {class}\"><strong>{}</strong></div>", policy.outcome.word())?;
    if !policy.refusals.is_empty() {
        writeln!(out, "<h2>Nothing would run</h2>\n<ul>")?;
        for refusal in &policy.refusals {
            let place =
                refusal.place.as_ref().map(|place| format!("{}: ", markup(place))).unwrap_or_default();
            write!(out, "<li>{place}<code>{}</code>: {}", markup(&refusal.clause), markup(&refusal.why))?;
            if let Some(hint) = &refusal.hint {
                write!(out, "<br><span class=\"faint\">{}</span>", markup(hint))?;
            }
            writeln!(out, "</li>")?;
        }
        writeln!(out, "</ul>")?;
    }
    writeln!(out, "<h2>Clauses</h2>\n<dl class=\"rows\">")?;
    for gets in &policy.clauses {
        let class = match gets.status {
            Status::Enforced => "held",
            Status::Downgraded => "inconclusive",
            Status::Refused => "breached",
        };
        let requested = gets.requested.as_deref().map(markup).unwrap_or_default();
        write!(out, "<dt>{}<br>{requested}</dt>", markup(&gets.clause))?;
        write!(out, "<dd class=\"{class}\"><b>{}</b> {}", gets.status.word(), markup(&gets.by.join("; ")))?;
        for text in gets.why.iter().chain(&gets.notes) {
            write!(out, "<br><span class=\"faint\">{}</span>", markup(text))?;
        }
        writeln!(out, "</dd>")?;
    }
    writeln!(out, "</dl>")
}

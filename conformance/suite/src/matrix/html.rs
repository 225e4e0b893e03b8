//! The matrix as one page: a table that can be sorted by any column, each cell of it a link to its evidence below.
//!
//! The one script in it sorts, and nothing else may run: the page's own policy names the hash of that script.

use std::io::{self, Write};

use super::explain::{described, differences};
use super::text::{LEGEND, few};
use super::{Axis, Cell, Column, Matrix, Regressions, Standing};
use crate::report::markup;

const STYLE: &str = include_str!("../report/html.css");

/// Sorts the table by the column whose head is clicked; a second click turns the order around.
const SCRIPT: &str = include_str!("sort.js");

/// SHA-256 of [`SCRIPT`], in base64: Content Security Policy Level 3, section 2.3.1.
const SCRIPT_HASH: &str = "zXupANicFTvdE5DsBwPRG86In6vbFtmwMKehsuPigzg=";

pub(super) fn write(out: &mut dyn Write, matrix: &Matrix, against: Option<&Regressions>) -> io::Result<()> {
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'sha256-{SCRIPT_HASH}'\">\n<title>palisade matrix</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>palisade matrix</h1>"
    )?;
    let columns = matrix.columns();
    if !columns.is_empty() {
        table(out, matrix, &columns)?;
        writeln!(
            out,
            "<p class=\"faint\">{LEGEND}. A cell leads to its probes, a head sorts.</p>\n<h2>Who was tested</h2>\n<ul>"
        )?;
    }
    for column in &columns {
        writeln!(out, "<li><b>{}</b>: {}</li>", markup(&column.title), markup(&described(column.subject)))?;
        if column.members.len() > 1 {
            writeln!(out, "<li class=\"faint\">{}</li>", markup(&column.members.join(", ")))?;
        }
    }
    for (name, why) in &matrix.absent {
        writeln!(out, "<li><b>{}</b>: not run here: {}</li>", markup(name), markup(why))?;
    }
    if !columns.is_empty() {
        writeln!(out, "</ul>")?;
    }
    for (row, clause) in matrix.clauses().into_iter().enumerate() {
        evidence(out, matrix, &columns, row, clause)?;
    }
    findings(out, matrix)?;
    let disagreements = matrix.disagreements();
    if !disagreements.is_empty() {
        writeln!(out, "<h2>Otherwise than the host said</h2>\n<ul>")?;
        for one in disagreements {
            let line = format!(
                "{}: {}, {}: said {}, observed {}",
                one.label, one.policy, one.clause, one.predicted, one.observed
            );
            writeln!(out, "<li>{}</li>", markup(&line))?;
        }
        writeln!(out, "</ul>")?;
    }
    if let Some(against) = against {
        writeln!(out, "<h2>Changes</h2>\n<ul>")?;
        against.lines().iter().try_for_each(|line| writeln!(out, "<li>{}</li>", markup(line)))?;
        writeln!(out, "</ul>")?;
    }
    writeln!(out, "<script>{SCRIPT}</script>\n</body>\n</html>")
}

fn class(standing: Standing) -> &'static str {
    match standing {
        Standing::Breached => "breached",
        Standing::OverBlocked => "over-blocked",
        Standing::Inconclusive => "inconclusive",
        Standing::Known => "known-deviation",
        Standing::InPart | Standing::NoMeans | Standing::Nothing => "unsupported",
        Standing::Held => "held",
    }
}

fn table(out: &mut dyn Write, matrix: &Matrix, columns: &[Column<'_>]) -> io::Result<()> {
    write!(
        out,
        "<div class=\"wide\"><table class=\"sortable\">\n<thead><tr><th><button>clause</button></th>"
    )?;
    columns
        .iter()
        .try_for_each(|column| write!(out, "<th><button>{}</button></th>", markup(&column.title)))?;
    writeln!(out, "</tr></thead>\n<tbody>")?;
    for (row, clause) in matrix.clauses().into_iter().enumerate() {
        write!(out, "<tr><td data-sort=\"{0}\"><code>{0}</code></td>", markup(clause))?;
        for (number, column) in columns.iter().enumerate() {
            let Some(cell) = column.subject.clauses.get(clause).filter(|cell| cell.asked() > 0) else {
                write!(out, "<td data-sort=\"-1\"></td>")?;
                continue;
            };
            // Of a hundred, so that columns with few probes and with many sort alike.
            let share = 100 * cell.count(crate::verdict::Kind::Held) / cell.asked().max(1);
            write!(
                out,
                "<td class=\"heat {}\" style=\"--part: 30%\" data-sort=\"{share}\"><a href=\"#c{row}-{number}\">{}</a></td>",
                class(cell.standing()),
                markup(&cell.brief())
            )?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody></table></div>")
}

fn evidence(
    out: &mut dyn Write,
    matrix: &Matrix,
    columns: &[Column<'_>],
    row: usize,
    clause: &str,
) -> io::Result<()> {
    writeln!(out, "<h2><code>{}</code></h2>", markup(clause))?;
    for (number, column) in columns.iter().enumerate() {
        let Some(cell) = column.subject.clauses.get(clause) else { continue };
        let standing = cell.standing();
        writeln!(
            out,
            "<details id=\"c{row}-{number}\" class=\"{}\"><summary><b>{}</b> {} <span class=\"faint\">{}</span></summary>\n\
             <pre>{}</pre>",
            class(standing),
            markup(&column.title),
            standing.word(),
            markup(&cell.brief()),
            markup(&column.subject.command(Axis::Host, clause))
        )?;
        for difference in differences(matrix.by, column.subject, cell) {
            writeln!(
                out,
                "<p>{} ({}): {}</p>",
                difference.what,
                difference.probes.len(),
                markup(&difference.why)
            )?;
        }
        listed(out, cell)?;
        writeln!(out, "</details>")?;
    }
    Ok(())
}

fn listed(out: &mut dyn Write, cell: &Cell) -> io::Result<()> {
    writeln!(out, "<ul>")?;
    for (probe, kind, why) in cell.probes() {
        let why = if why.is_empty() { String::new() } else { format!(": {}", markup(why)) };
        writeln!(out, "<li><code>{}</code> {}{why}</li>", markup(probe), kind.word())?;
    }
    writeln!(out, "</ul>")
}

fn findings(out: &mut dyn Write, matrix: &Matrix) -> io::Result<()> {
    let findings = matrix.findings();
    if findings.is_empty() {
        return Ok(());
    }
    writeln!(out, "<h2>Hosts</h2>\n<div class=\"wide\"><table class=\"sortable\">\n<thead><tr>")?;
    for head in ["what", "status", "found", "consequence", "hosts"] {
        write!(out, "<th><button>{head}</button></th>")?;
    }
    writeln!(out, "</tr></thead>\n<tbody>")?;
    for (id, answers) in findings {
        for (finding, labels) in answers {
            let hosts = format!("{}: {}", labels.len(), few(&labels));
            let cells = [id, &finding.status, &finding.value, &finding.consequence, &hosts];
            let cells = cells.map(|cell| format!("<td data-sort=\"{0}\">{0}</td>", markup(cell)));
            writeln!(out, "<tr>{}</tr>", cells.concat())?;
        }
    }
    writeln!(out, "</tbody></table></div>")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::{SCRIPT, SCRIPT_HASH};

    /// The bytes of a base64 text, in hexadecimal.
    fn decoded(text: &str) -> String {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let bits = text.bytes().filter_map(|byte| alphabet.iter().position(|one| *one == byte));
        let bits: String = bits.map(|value| format!("{value:06b}")).collect();
        let bytes = bits.as_bytes().chunks_exact(8).map(|bits| String::from_utf8_lossy(bits).into_owned());
        bytes.map(|bits| format!("{:02x}", u8::from_str_radix(&bits, 2).unwrap())).collect()
    }

    /// A browser runs the script only if this is so.
    #[test]
    fn the_hash_is_that_of_the_script() {
        let mut command = Command::new("sha256sum");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(SCRIPT.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let hash = String::from_utf8(output.stdout).unwrap();
        assert_eq!(hash.split(' ').next().unwrap(), decoded(SCRIPT_HASH));
    }
}

//! The matrix as Markdown: for a page in a repository, or for a job summary.

use std::io::{self, Write};

use super::explain::{described, differences};
use super::text::{LEGEND, few};
use super::{Cell, Column, Matrix, Regressions};
use crate::report::markdown::inline;

pub(super) fn write(out: &mut dyn Write, matrix: &Matrix, against: Option<&Regressions>) -> io::Result<()> {
    let columns = matrix.columns();
    if !columns.is_empty() {
        table(out, matrix, &columns)?;
    }
    for column in &columns {
        writeln!(out, "- **{}**: {}", inline(&column.title), inline(&described(column.subject)))?;
        if column.members.len() > 1 {
            writeln!(out, "  {}", inline(&column.members.join(", ")))?;
        }
    }
    for (name, why) in &matrix.absent {
        writeln!(out, "- **{}**: not run here: {}", inline(name), inline(why))?;
    }
    if !columns.is_empty() {
        writeln!(out, "\n### Differences by clause")?;
    }
    for clause in matrix.clauses() {
        explained(out, matrix, &columns, clause)?;
    }
    findings(out, matrix)?;
    let disagreements = matrix.disagreements();
    if !disagreements.is_empty() {
        writeln!(out, "\n### Otherwise than the host said\n")?;
    }
    for one in disagreements {
        let place = format!("{}: {}, {}", one.label, one.policy, one.clause);
        writeln!(out, "- {}: said {}, observed {}", inline(&place), inline(&one.predicted), one.observed)?;
    }
    if let Some(against) = against {
        writeln!(out, "\n### Changes\n")?;
        against.lines().iter().try_for_each(|line| writeln!(out, "- {}", inline(line)))?;
    }
    Ok(())
}

fn table(out: &mut dyn Write, matrix: &Matrix, columns: &[Column<'_>]) -> io::Result<()> {
    write!(out, "| clause |")?;
    columns.iter().try_for_each(|column| write!(out, " {} |", inline(&column.title)))?;
    writeln!(out, "\n|---|{}", "---:|".repeat(columns.len()))?;
    for clause in matrix.clauses() {
        write!(out, "| `{clause}` |")?;
        for column in columns {
            let brief = column.subject.clauses.get(clause).map_or_else(String::new, Cell::brief);
            write!(out, " {} |", inline(&brief))?;
        }
        writeln!(out)?;
    }
    writeln!(out, "\n{LEGEND}\n")
}

fn explained(out: &mut dyn Write, matrix: &Matrix, columns: &[Column<'_>], clause: &str) -> io::Result<()> {
    let mut headed = false;
    for column in columns {
        let Some(cell) = column.subject.clauses.get(clause) else { continue };
        for difference in differences(matrix.by, column.subject, cell) {
            if !headed {
                let command = column.subject.command(matrix.by, clause);
                writeln!(out, "\n**`{clause}`** (evidence: `{command}`)\n")?;
                headed = true;
            }
            let why = if difference.why.is_empty() { String::new() } else { format!(": {}", difference.why) };
            let line = format!("{} ({}){why}", difference.what, difference.probes.len());
            writeln!(out, "- {} {} [{}]", inline(&column.title), inline(&line), inline(&difference.named()))?;
        }
    }
    Ok(())
}

fn findings(out: &mut dyn Write, matrix: &Matrix) -> io::Result<()> {
    let findings = matrix.findings();
    if findings.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n### Hosts\n\n| what | status | found | consequence | hosts |\n|---|---|---|---|---|")?;
    for (id, answers) in findings {
        for (finding, labels) in answers {
            let hosts = format!("{}: {}", labels.len(), few(&labels));
            let cells = [id, &finding.status, &finding.value, &finding.consequence, &hosts];
            writeln!(out, "| {} |", cells.map(inline).join(" | "))?;
        }
    }
    Ok(())
}

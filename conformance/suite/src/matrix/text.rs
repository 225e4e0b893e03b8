//! The matrix for a person at a terminal.

use std::io::{self, Write};

use super::explain::{described, differences};
use super::{Cell, Column, Matrix, Regressions};
use crate::report::printable;

/// What the letters mean.
pub(super) const LEGEND: &str =
    "held/asked; b breached, o over-blocked, ? inconclusive, k known deviation, - no means for it";

pub(super) fn write(out: &mut dyn Write, matrix: &Matrix, against: Option<&Regressions>) -> io::Result<()> {
    let columns = matrix.columns();
    if !columns.is_empty() {
        table(out, matrix, &columns)?;
        writeln!(out, "\n{LEGEND}\n")?;
        for column in &columns {
            writeln!(out, "{}: {}", printable(&column.title), printable(&described(column.subject)))?;
            if column.members.len() > 1 {
                writeln!(out, "  {}", printable(&column.members.join(", ")))?;
            }
        }
    }
    for (name, why) in &matrix.absent {
        writeln!(out, "{}: not run here: {}", printable(name), printable(why))?;
    }
    for clause in matrix.clauses() {
        explained(out, matrix, &columns, clause)?;
    }
    findings(out, matrix)?;
    let disagreements = matrix.disagreements();
    if !disagreements.is_empty() {
        writeln!(out, "\nOtherwise than the host said")?;
    }
    for one in disagreements {
        let place = printable(&format!("{}: {}, {}", one.label, one.policy, one.clause));
        writeln!(out, "  {place}: said {}, observed {}", printable(&one.predicted), one.observed)?;
    }
    if let Some(against) = against {
        writeln!(out, "\nChanges")?;
        against.lines().iter().try_for_each(|line| writeln!(out, "  {}", printable(line)))?;
    }
    Ok(())
}

fn table(out: &mut dyn Write, matrix: &Matrix, columns: &[Column<'_>]) -> io::Result<()> {
    let brief = |column: &Column<'_>, clause: &str| {
        column.subject.clauses.get(clause).map_or_else(String::new, Cell::brief)
    };
    let clauses = matrix.clauses();
    let first = clauses.iter().map(|clause| clause.len()).max().unwrap_or(0);
    let widths: Vec<usize> = columns
        .iter()
        .map(|column| {
            let cells = clauses.iter().map(|clause| brief(column, clause).len());
            cells.chain([printable(&column.title).len()]).max().unwrap_or(0)
        })
        .collect();
    write!(out, "{:first$}", "clause")?;
    for (column, width) in columns.iter().zip(&widths) {
        write!(out, "  {:width$}", printable(&column.title))?;
    }
    writeln!(out)?;
    for clause in &clauses {
        let mut line = format!("{:first$}", printable(clause));
        for (column, width) in columns.iter().zip(&widths) {
            line += &format!("  {:width$}", brief(column, clause));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn explained(out: &mut dyn Write, matrix: &Matrix, columns: &[Column<'_>], clause: &str) -> io::Result<()> {
    let mut headed = false;
    for column in columns {
        let Some(cell) = column.subject.clauses.get(clause) else { continue };
        for difference in differences(matrix.by, column.subject, cell) {
            if !headed {
                writeln!(out, "\n{}", printable(clause))?;
                headed = true;
            }
            let why = if difference.why.is_empty() { String::new() } else { format!(": {}", difference.why) };
            let (count, named) = (difference.probes.len(), difference.named());
            let line = format!("{} {} ({count}){why}", column.title, difference.what);
            writeln!(out, "  {}\n    {}", printable(&line), printable(&named))?;
        }
    }
    if headed {
        let command =
            columns.first().map_or_else(String::new, |column| column.subject.command(matrix.by, clause));
        writeln!(out, "  evidence: {}", printable(&command))?;
    }
    Ok(())
}

fn findings(out: &mut dyn Write, matrix: &Matrix) -> io::Result<()> {
    let findings = matrix.findings();
    if !findings.is_empty() {
        writeln!(out, "\nHosts")?;
    }
    for (id, answers) in findings {
        writeln!(out, "  {}", printable(id))?;
        for (finding, labels) in answers {
            let mut line = finding.status.clone();
            for part in [&finding.value, &finding.consequence] {
                if !part.is_empty() {
                    line += &format!("; {part}");
                }
            }
            writeln!(out, "    {} ({}): {}", printable(&line), labels.len(), printable(&few(&labels)))?;
        }
    }
    Ok(())
}

/// The first few names, and how many more there are.
pub(super) fn few(names: &[&str]) -> String {
    let first = names.iter().take(8).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(8) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

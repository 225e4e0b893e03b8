//! The kill matrix as data and as text.

use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::report::printable;

/// Name and version of the JSON form.
pub const SCHEMA: &str = "palisade.mutants/1";

/// What became of a mutant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// These probes noticed it; with [`super::Extent::Quick`] only the first that did.
    Killed(Vec<String>),
    /// No workload ran; what the runtime said.
    FailsClosed(String),
    /// It cannot make a difference on this machine; how that is known.
    Inexpressible(String),
    /// Nobody noticed.
    Survived,
}

/// One mutant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What was done to the plan.
    pub mutant: String,
    /// The bug of a real system that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<&'static str>,
    /// What became of it.
    pub fate: Fate,
    /// How long it took to know, in milliseconds.
    pub duration_ms: u64,
}

/// All mutants of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct Matrix {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The policy's name.
    pub policy: String,
    /// One line about the host.
    pub host: String,
    /// How many probes the catalogue has for this policy here.
    pub probes: usize,
    /// One row a mutant, in the order of the plan.
    pub rows: Vec<Row>,
    /// Probes that noticed no mutant; known only when every probe met every mutant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<Vec<String>>,
    /// From the first case to the last.
    #[serde(skip)]
    pub took: Duration,
}

impl Matrix {
    /// The mutants that nobody noticed.
    pub fn survivors(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.fate == Fate::Survived)
    }

    /// Writes the matrix for a person.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        const BOLD: Style = Style::new().bold();
        const DIM: Style = Style::new().dimmed();
        writeln!(
            out,
            "{BOLD}palisade verify --mutants{BOLD:#}  policy {BOLD}{}{BOLD:#}  {DIM}{}, {} probes{DIM:#}\n",
            printable(&self.policy),
            printable(&self.host),
            self.probes,
        )?;
        let width = self.rows.iter().map(|row| row.mutant.len()).max().unwrap_or(0).min(60);
        for row in &self.rows {
            let (style, word, detail) = describe(&row.fate);
            writeln!(
                out,
                "  {:width$}  {style}{word:14}{style:#} {DIM}{}{DIM:#}",
                printable(&row.mutant),
                printable(&detail)
            )?;
        }
        if let Some(idle) = self.idle.as_ref().filter(|idle| !idle.is_empty()) {
            writeln!(out, "\nprobes that noticed no mutant")?;
            idle.iter().try_for_each(|id| writeln!(out, "  {id}"))?;
        }
        let count = |test: fn(&Fate) -> bool| self.rows.iter().filter(|row| test(&row.fate)).count();
        writeln!(
            out,
            "\n{BOLD}{} mutants{BOLD:#}: {} killed, {} fail closed, {} inexpressible here, {} survived {DIM}in {:.1} s{DIM:#}",
            self.rows.len(),
            count(|fate| matches!(fate, Fate::Killed(_))),
            count(|fate| matches!(fate, Fate::FailsClosed(_))),
            count(|fate| matches!(fate, Fate::Inexpressible(_))),
            self.survivors().count(),
            self.took.as_secs_f64(),
        )
    }
}

fn describe(fate: &Fate) -> (Style, &'static str, String) {
    match fate {
        Fate::Killed(probes) => {
            let shown: Vec<&str> = probes.iter().take(3).map(String::as_str).collect();
            let more = probes.len().saturating_sub(shown.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            (AnsiColor::Green.on_default(), "killed", format!("{}{more}", shown.join(" ")))
        }
        Fate::FailsClosed(why) => (AnsiColor::Green.on_default(), "fails closed", why.clone()),
        Fate::Inexpressible(why) => (Style::new().dimmed(), "inexpressible", why.clone()),
        Fate::Survived => (AnsiColor::Red.on_default().bold(), "SURVIVED", String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Matrix {
        let row = |mutant: &str, fate| Row { mutant: mutant.to_owned(), origin: None, fate, duration_ms: 0 };
        let probes = ["mnt/mount", "mnt/umount2", "mnt/chroot", "sys/a"].map(str::to_owned).to_vec();
        Matrix {
            schema: SCHEMA,
            policy: "default".to_owned(),
            host: "HOST".to_owned(),
            probes: 150,
            rows: vec![
                row("drop install_seccomp", Fate::Killed(probes)),
                row("drop pivot_root", Fate::FailsClosed("exit code 125: \\x1b step 3".to_owned())),
                row("weaken install_seccomp: x32 allow", Fate::Inexpressible("no x32 here".to_owned())),
                row("drop mask_path /proc/keys", Fate::Survived),
            ],
            idle: Some(vec!["life/pid1".to_owned()]),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn text() {
        let mut bytes = Vec::new();
        matrix().write_text(&mut anstream::StripStream::new(&mut bytes as &mut dyn Write)).unwrap();
        insta::assert_snapshot!(String::from_utf8(bytes).unwrap());
    }

    #[test]
    fn json() {
        insta::assert_json_snapshot!(matrix());
    }
}

//! The forms of a report.

use std::io::{self, Write};
use std::path::Path;

use super::{Report, html, json, junit, markdown, sarif, tap, text};

/// The form of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// For a person.
    #[default]
    Text,
    /// For a program, complete: [`json::SCHEMA`].
    Json,
    /// For the test view of a CI system: [`junit`].
    Junit,
    /// For a browser: [`html`].
    Html,
    /// For a job summary or a comment: [`markdown`].
    Markdown,
    /// For code scanning: [`sarif`].
    Sarif,
    /// For a test harness: [`tap`].
    Tap,
}

impl Form {
    /// The extensions of files, each with what is in such a file.
    pub const EXTENSIONS: [(&str, Self); 7] = [
        ("txt", Self::Text),
        ("json", Self::Json),
        ("xml", Self::Junit),
        ("sarif", Self::Sarif),
        ("html", Self::Html),
        ("md", Self::Markdown),
        ("tap", Self::Tap),
    ];

    /// What the file of this name is to hold; nothing where the extension is not one of [`Self::EXTENSIONS`].
    pub fn of_file(path: &Path) -> Option<Self> {
        let extension = path.extension()?;
        Self::EXTENSIONS.iter().find(|(name, _)| extension == *name).map(|(_, format)| *format)
    }

    /// Writes the report. Of all forms only [`Form::Text`] has styles, for the caller's stream to strip.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write(self, out: &mut dyn Write, report: &Report) -> io::Result<()> {
        match self {
            Self::Text => text::write(out, report),
            Self::Json => json::write(out, report),
            Self::Junit => junit::write(out, report),
            Self::Html => html::write(out, report),
            Self::Markdown => markdown::write(out, report),
            Self::Sarif => sarif::write(out, report),
            Self::Tap => tap::write(out, report),
        }
    }
}

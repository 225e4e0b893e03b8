//! Diagnostics as rustc shows them.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::printable::escaped;
use super::{Diagnostic, Diagnostics, Location};

/// How many characters of a long line are shown on each side of the offending text.
const CONTEXT: usize = 60;

/// The most characters of offending text that are marked.
const MARKED: usize = 80;

pub(super) fn render(problems: &Diagnostics, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let source = escaped(&problems.source);
    let mut shown: Vec<String> = problems
        .list
        .iter()
        .map(|problem| renderer.render(&[group(problem, &source, &problems.text)]).trim_end().to_owned())
        .collect();
    if problems.omitted > 0 {
        let message = format!("{} more problems are not shown", problems.omitted);
        shown.push(renderer.render(&[Group::with_title(Level::ERROR.primary_title(message))]));
    }
    shown.join("\n\n")
}

fn group<'a>(problem: &'a Diagnostic, source: &'a str, text: &str) -> Group<'a> {
    let mut group = Group::with_title(Level::ERROR.primary_title(problem.message.as_str()));
    match (&problem.span, problem.location) {
        (Some(span), Some(place)) if !text.is_empty() => {
            let excerpt = Excerpt::around(text, span.start);
            let mark = AnnotationKind::Primary.span(excerpt.mark(span)).label(problem.label.as_deref());
            let mut snippet = Snippet::source(excerpt.line()).line_start(place.line).annotation(mark);
            let mut elsewhere = None;
            if let Some((related, label)) = &problem.related {
                if excerpt.contains(related) {
                    let mark = AnnotationKind::Context.span(excerpt.mark(related)).label(label.as_str());
                    snippet = snippet.annotation(mark);
                } else {
                    elsewhere = Some(related_snippet(text, related, label, source));
                }
            }
            // Where the excerpt is not the line itself, its columns are not those of the file.
            group = if excerpt.is_verbatim_before(span) {
                group.element(snippet.path(source))
            } else {
                group.element(origin(source, place)).element(snippet)
            };
            group = group.elements(elsewhere);
        }
        (_, Some(place)) => group = group.element(origin(source, place)),
        _ => group = group.element(Origin::path(source)),
    }
    group.elements(problem.help.iter().map(|help| Level::HELP.message(help.as_str())))
}

fn related_snippet<'a>(
    text: &str,
    span: &Range<usize>,
    label: &'a str,
    source: &'a str,
) -> Snippet<'a, Annotation<'a>> {
    let excerpt = Excerpt::around(text, span.start);
    let mark = AnnotationKind::Context.span(excerpt.mark(span)).label(label);
    let line = Location::of(text, span.start).line;
    let path = excerpt.is_verbatim_before(span).then_some(source);
    Snippet::source(excerpt.line()).line_start(line).path(path).annotation(mark)
}

fn origin(source: &str, place: Location) -> Origin<'_> {
    Origin::path(source).line(place.line).char_column(place.column)
}

/// The line around an offending place, or the part of it that is shown: the cost of a report must not grow with the
/// file.
struct Excerpt<'t> {
    text: &'t str,
    /// The part, in bytes of the text.
    shown: Range<usize>,
    is_cut_before: bool,
    is_cut_after: bool,
}

impl<'t> Excerpt<'t> {
    fn around(text: &'t str, offset: usize) -> Self {
        let mut middle = offset.min(text.len());
        while !text.is_char_boundary(middle) {
            middle -= 1;
        }
        let (before, after) = text.split_at(middle);
        let before = before.rsplit('\n').next().unwrap_or_default();
        let cut_before = before.char_indices().rev().nth(CONTEXT - 1).map_or(0, |(index, _)| index);
        let cut_after = after.char_indices().nth(MARKED + CONTEXT).map_or(after.len(), |(index, _)| index);
        let line_end = after[..cut_after].find(['\r', '\n']);
        Self {
            text,
            shown: middle - before.len() + cut_before..middle + line_end.unwrap_or(cut_after),
            is_cut_before: cut_before > 0,
            is_cut_after: line_end.is_none()
                && !after[cut_after..].is_empty()
                && !after[cut_after..].starts_with(['\r', '\n']),
        }
    }

    /// Whether the mark of `span` begins in the part that is shown.
    fn contains(&self, span: &Range<usize>) -> bool {
        self.shown.contains(&span.start)
    }

    /// Whether what stands before `span` in its line is shown as it stands in the file, so that a column of the
    /// excerpt is one of the file.
    fn is_verbatim_before(&self, span: &Range<usize>) -> bool {
        let before = self.text.get(self.shown.start..span.start).unwrap_or_default();
        !self.is_cut_before && shown(before) == before.replace('\t', " ")
    }

    /// What to show.
    fn line(&self) -> String {
        let mut line = self.lead().to_owned();
        line.push_str(&shown(&self.text[self.shown.clone()]));
        if self.is_cut_after {
            line.push('…');
        }
        line
    }

    fn lead(&self) -> &'static str {
        if self.is_cut_before { "…" } else { "" }
    }

    /// The bytes of [`Excerpt::line`] that show `span`.
    fn mark(&self, span: &Range<usize>) -> Range<usize> {
        let start = span.start.clamp(self.shown.start, self.shown.end);
        let end = span.end.clamp(start, self.shown.end);
        let part = |range: Range<usize>| self.text.get(range).unwrap_or_default();
        let marked = part(start..end);
        let marked = marked.char_indices().nth(MARKED).map_or(marked, |(index, _)| &marked[..index]);
        let from = self.lead().len() + shown(part(self.shown.start..start)).len();
        from..from + shown(marked).len()
    }
}

/// A tab is only wide, not dangerous: shown as one space it keeps the mark under the text.
fn shown(part: &str) -> String {
    escaped(&part.replace('\t', " "))
}

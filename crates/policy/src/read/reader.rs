//! What all sections share: fields of maps, words, texts, switches, and the list of problems.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::KEYS;
use crate::diagnostic::{Diagnostic, Location, printable};
use crate::limits;
use crate::policy::Clause;
use crate::refusal::Refusal;
use crate::suggest::nearest;
use crate::yaml::{Node, Value};

/// Collects the problems and the places of one document.
pub(crate) struct Reader<'t> {
    text: &'t str,
    locations: BTreeMap<Clause, Location>,
    problems: Vec<Diagnostic>,
    omitted: usize,
    rules: usize,
}

/// The fields of a map, by key.
pub(crate) type Fields<'n> = BTreeMap<&'static str, &'n Node>;

impl<'t> Reader<'t> {
    /// A reader of the tree that was made from `text`.
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, locations: BTreeMap::new(), problems: Vec::new(), omitted: 0, rules: 0 }
    }

    /// The problems, how many more there are, and the places of all clauses.
    pub(crate) fn finish(self) -> (Vec<Diagnostic>, usize, BTreeMap<Clause, Location>) {
        (self.problems, self.omitted, self.locations)
    }

    /// What stands at `node` in the file, as it was typed.
    pub(crate) fn text_of(&self, node: &Node) -> &'t str {
        self.text.get(node.span.clone()).unwrap_or_default()
    }

    /// Whether so much is wrong already that suggestions are no longer worth their time.
    pub(crate) fn is_full(&self) -> bool {
        self.problems.len() >= limits::MAX_REPORTED
    }

    /// How many problems there are so far.
    pub(crate) fn problem_count(&self) -> usize {
        self.problems.len() + self.omitted
    }

    /// Reports a problem at `node`; help and labels are added to what is returned.
    pub(crate) fn report(&mut self, node: &Node, message: impl Into<String>) -> Report<'_> {
        if self.is_full() {
            self.omitted += 1;
            return Report(None);
        }
        self.problems.push(Diagnostic::new(message).at(node.span.clone()));
        Report(self.problems.last_mut())
    }

    /// The value that was read at `node`, or `None` once its refusal is reported.
    pub(crate) fn parsed<T>(&mut self, node: &Node, result: Result<T, Refusal>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(refusal) => {
                self.report(node, refusal.message).help(refusal.help);
                None
            }
        }
    }

    /// Remembers that `clause` stands at `node`.
    pub(crate) fn locate(&mut self, clause: Clause, node: &Node) {
        self.locations.insert(clause, node.place);
    }

    /// The fields of the map of `section` at `node`. Reports what is not a map, and unknown, repeated and empty keys.
    pub(crate) fn fields<'n>(&mut self, node: &'n Node, section: &'static str) -> Fields<'n> {
        let keys = KEYS.iter().find(|&&(name, _)| name == section).map_or(&[][..], |&(_, keys)| keys);
        let Value::Map(entries) = &node.value else {
            self.wrong_kind(node, &describe(section), "a map").help(format!("its keys are {}", list(keys)));
            return Fields::new();
        };
        let mut fields = Fields::new();
        let mut seen: BTreeMap<&str, &Node> = BTreeMap::new();
        for (key, value) in entries {
            let Value::Text(word) = &key.value else {
                self.report(key, format!("key is {} instead of a word", key.value.kind()));
                continue;
            };
            if let Some(first) = seen.insert(word, key) {
                self.report(key, format!("key `{}` stands here twice", printable(word)))
                    .related(first, "first here")
                    .help("remove one of them; nothing is merged");
                continue;
            }
            let Some(&known) = keys.iter().find(|&&known| known == word) else {
                self.unknown_key(key, word, section, keys);
                continue;
            };
            if matches!(value.value, Value::Null) {
                self.report(key, format!("key `{known}` has no value"))
                    .help("give it one, or remove the key: what is absent has its strictest value");
                continue;
            }
            fields.insert(known, value);
        }
        fields
    }

    fn unknown_key(&mut self, key: &Node, word: &str, section: &str, keys: &[&str]) {
        let at = if section.is_empty() { String::new() } else { format!(" in {}", describe(section)) };
        let meant = if self.is_full() { None } else { nearest(word, keys.iter().copied()) };
        let mut report = self.report(key, format!("unknown key `{}`{at}", printable(word)));
        if word == "<<" {
            report.help("merge keys are not part of the policy language: write the keys out");
            return;
        }
        if let Some(meant) = meant {
            report.label(format!("did you mean `{meant}`?"));
        } else if let Some((other, _)) = KEYS.iter().find(|&&(_, keys)| keys.contains(&word)) {
            let place =
                if other.is_empty() { "at the top level".to_owned() } else { format!("in `{other}`") };
            report.label(format!("`{word}` belongs {place}"));
        }
        report.help(format!("keys here are {}", list(keys)));
    }

    /// Reports that `node` is not of the kind that `what` needs.
    pub(crate) fn wrong_kind(&mut self, node: &Node, what: &str, wanted: &str) -> Report<'_> {
        self.report(node, format!("{what} must be {wanted}, not {}", node.value.kind()))
    }

    /// The text at `node`. Words that YAML takes for numbers or booleans need quotes.
    pub(crate) fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        if let Value::Text(text) = &node.value {
            return Some(text);
        }
        let written = printable(self.text_of(node));
        let is_scalar = matches!(node.value, Value::Bool(_) | Value::Whole(_) | Value::Number(_));
        let mut report = self.wrong_kind(node, what, "text");
        if is_scalar {
            report.help(format!("put it in quotes if you mean text: \"{written}\""));
        }
        None
    }

    /// The scalar at `node` without quotes: what a value with a unit or a decimal point is read from.
    pub(crate) fn scalar<'n>(&self, node: &'n Node) -> Option<Cow<'n, str>>
    where
        't: 'n,
    {
        let typed = self.text_of(node);
        match &node.value {
            Value::Text(text) => Some(Cow::Borrowed(text)),
            // An alias: the text is elsewhere.
            Value::Whole(number) if typed.starts_with('*') => Some(Cow::Owned(number.to_string())),
            Value::Number(number) if typed.starts_with('*') => Some(Cow::Owned(number.to_string())),
            Value::Whole(_) | Value::Number(_) => Some(Cow::Borrowed(typed)),
            _ => None,
        }
    }

    /// The whole number at `node`, written in decimal without sign or leading zero.
    pub(crate) fn whole(&mut self, node: &Node, what: &str) -> Option<u64> {
        let written = self.scalar(node);
        if let (Value::Whole(number), Some(written)) = (&node.value, &written)
            && number.to_string() == **written
        {
            return Some(*number);
        }
        match written {
            Some(written) => {
                let message = format!("{what} `{}` is not a plain whole number", printable(&written));
                self.report(node, message)
                    .help("write decimal digits only: no quotes, sign, fraction or leading zero");
            }
            None => {
                self.wrong_kind(node, what, "a whole number");
            }
        }
        None
    }

    /// The value of the clause `clause`: one word of `words`.
    pub(crate) fn word<T: Copy>(
        &mut self,
        node: Option<&Node>,
        clause: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        self.locate(Clause::new(clause), node?);
        self.choice(node?, &format!("`{clause}`"), words)
    }

    /// One word of `words` at `node`.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        node: &Node,
        what: &str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|&(name, _)| name).collect();
        let help = format!("it is one of {}", list(&names));
        let Value::Text(word) = &node.value else {
            self.wrong_kind(node, what, "a word").help(help);
            return None;
        };
        if let Some(&(_, meaning)) = words.iter().find(|&&(name, _)| name == word) {
            return Some(meaning);
        }
        let meant = nearest(word, names);
        let mut report = self.report(node, format!("unknown value `{}` for {what}", printable(word)));
        if let Some(meant) = meant {
            report.label(format!("did you mean `{meant}`?"));
        }
        report.help(help);
        None
    }

    /// The value of the clause `clause`: `true` or `false`.
    pub(crate) fn switch(&mut self, node: Option<&Node>, clause: &'static str) -> Option<bool> {
        self.locate(Clause::new(clause), node?);
        self.boolean(node?, &format!("`{clause}`"))
    }

    /// `true` or `false` at `node`.
    pub(crate) fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        if let Value::Bool(value) = node.value {
            return Some(value);
        }
        let meant = match self.text_of(node).to_ascii_lowercase().as_str() {
            "yes" | "on" | "y" => "write `true`",
            "no" | "off" | "n" => "write `false`",
            _ => "",
        };
        let mut report = self.wrong_kind(node, what, "`true` or `false`");
        if !meant.is_empty() {
            report.help(meant);
        }
        None
    }

    /// The entries of the list at `node`, counted as rules.
    pub(crate) fn list<'n>(&mut self, node: Option<&'n Node>, clause: &'static str) -> &'n [Node] {
        let Some(node) = node else { return &[] };
        self.locate(Clause::new(clause), node);
        let Value::List(entries) = &node.value else {
            let written = printable(self.text_of(node));
            let is_text = matches!(node.value, Value::Text(_));
            let mut report = self.wrong_kind(node, &format!("`{clause}`"), "a list");
            if is_text {
                report.help(format!("write [{written}]"));
            }
            return &[];
        };
        if self.count(node, entries.len()) { entries } else { &[] }
    }

    /// Counts `more` rules that stand at `node`; `false`, once reported, when there are too many.
    pub(crate) fn count(&mut self, node: &Node, more: usize) -> bool {
        let before = self.rules;
        self.rules = before.saturating_add(more);
        if self.rules <= limits::MAX_RULES {
            return true;
        }
        if before <= limits::MAX_RULES {
            self.report(node, format!("policy has more than {} rules", limits::MAX_RULES))
                .label(format!("{more} here, {before} before"))
                .help("name a directory or a range instead of each of its parts");
        }
        false
    }
}

/// A problem that was just reported, or nothing when the list is full.
pub(crate) struct Report<'r>(Option<&'r mut Diagnostic>);

impl Report<'_> {
    /// Says `label` under the offending text.
    pub(crate) fn label(&mut self, label: impl Into<String>) -> &mut Self {
        if let Some(problem) = &mut self.0 {
            problem.label = Some(label.into());
        }
        self
    }

    /// Adds a line of advice.
    pub(crate) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        if let Some(problem) = &mut self.0 {
            problem.help.push(help.into());
        }
        self
    }

    /// Points at a second place that the first must be read together with.
    pub(crate) fn related(&mut self, node: &Node, label: impl Into<String>) -> &mut Self {
        if let Some(problem) = &mut self.0 {
            problem.related = Some((node.span.clone(), label.into()));
        }
        self
    }
}

/// What to call the map of `section` in a message.
fn describe(section: &str) -> String {
    match section {
        "" => "a policy".to_owned(),
        "path entry" => "a path entry".to_owned(),
        "network.allow" => "a rule of `network.allow`".to_owned(),
        "network.publish" => "an entry of `network.publish`".to_owned(),
        _ => format!("`{section}`"),
    }
}

/// Words for a message: `a`, `b`, `c`.
fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

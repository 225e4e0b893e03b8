//! YAML text to a tree of nodes that know where they stand.
//!
//! The only module that knows the YAML library. It owns the budgets that keep a hostile file cheap, and it decides
//! nothing about meaning: duplicate keys, merge keys and wrong types are left in the tree, so that the reader can
//! report every problem of a file at once instead of the first. Called by [`crate::Document::parse`].

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::AliasLimits;
use serde_saphyr::{
    DuplicateKeyPolicy, Error, Location, MergeKeyPolicy, NonFiniteFloatPolicy, Options, Spanned,
};

use crate::diagnostic::{Diagnostic, Location as Place, printable};
use crate::limits;

/// One node of a document.
#[derive(Debug)]
pub(crate) struct Node {
    /// What stands there.
    pub(crate) value: Value,
    /// The bytes of the document where it stands; for an alias, the place that uses it.
    pub(crate) span: Range<usize>,
    /// The same place for a reader.
    pub(crate) place: Place,
}

/// The content of a node, as far as YAML itself decides it.
#[derive(Debug)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A plain scalar that YAML takes for a whole number that is not negative.
    Whole(u64),
    /// A plain scalar that YAML takes for another number.
    Number(f64),
    /// A string, quoted or not.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the file, repeated keys included.
    Map(Vec<(Node, Node)>),
}

impl Value {
    /// What to call the content in a message.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Whole(_) | Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// Reads `text` as one YAML document. A document without content is a `Null` node.
///
/// # Errors
///
/// One diagnostic: text that is not YAML, more than one document, a tag or a nesting that no policy has, or a file
/// that costs more than [`crate::limits`] grants.
pub(crate) fn parse(text: &str) -> Result<Node, Box<Diagnostic>> {
    match serde_saphyr::from_str_with_options::<Option<Node>>(text, options()) {
        Ok(Some(node)) => Ok(node),
        Ok(None) => Ok(Node { value: Value::Null, span: 0..0, place: Place { line: 1, column: 1 } }),
        Err(error) => Err(Box::new(diagnose(error.without_snippet(), text))),
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            flow_nesting_limit: limits::MAX_DEPTH,
            max_depth: limits::MAX_DEPTH,
            max_nodes: limits::MAX_NODES,
            max_events: 3 * limits::MAX_NODES,
            max_aliases: limits::MAX_ALIASES,
            max_anchors: limits::MAX_ALIASES,
            max_recorded_anchor_events: limits::MAX_NODES,
            max_recorded_anchor_bytes: limits::MAX_BYTES,
            max_total_scalar_bytes: limits::MAX_BYTES,
            max_documents: 1,
        },
        alias_limits: alias_limits(),
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        // Base64 would hide from the reader of the file what the policy says.
        ignore_binary_tag_for_string: true,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}

fn alias_limits() -> AliasLimits {
    serde_saphyr::alias_limits! {
        max_total_replayed_events: limits::MAX_REPLAYED,
        max_replay_stack_depth: limits::MAX_DEPTH,
        max_alias_expansions_per_anchor: limits::MAX_ALIASES,
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        let at = spanned.referenced;
        Ok(Self { value: spanned.value, span: span(at).unwrap_or(0..0), place: place(at) })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a policy")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Whole(value))
    }

    #[allow(clippy::cast_precision_loss)] // a negative number is an error wherever it stands; only its kind counts
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            list.push(entry);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Value::Map(map))
    }
}

fn span(location: Location) -> Option<Range<usize>> {
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let length = usize::try_from(location.span().byte_len()?).ok()?;
    Some(start..start.checked_add(length)?)
}

fn place(location: Location) -> Place {
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Place { line: count(location.line()), column: count(location.column()) }
}

/// The byte offset of a place.
fn offset(text: &str, place: Place) -> usize {
    let before = text.split_inclusive('\n').take(place.line.saturating_sub(1)).map(str::len).sum::<usize>();
    let rest = text.get(before..).unwrap_or_default();
    let column = rest.char_indices().nth(place.column.saturating_sub(1));
    before + column.map_or(rest.len(), |(index, _)| index)
}

/// What to say about text that was not read: the message and the help.
type Words = (&'static str, &'static str);

const MULTIPLE_DOCUMENTS: Words =
    ("more than one YAML document", "a policy file holds one policy; remove what follows the second `---`");

const TOO_MANY_ALIASES: Words =
    ("YAML aliases expand to more than a policy may hold", "write the values out instead of using aliases");

const TOO_DEEP: Words =
    ("lists and maps are nested too deeply", "the policy language needs five levels; at most eight are read");

const TOO_MUCH: Words = ("file holds more YAML than a policy may", "a policy has at most 4096 rules");

const RECURSIVE: Words = ("alias stands inside what it refers to", "write the values out");

const UNKNOWN_ANCHOR: Words =
    ("alias refers to an anchor that does not exist", "text that starts with `*` needs quotes");

/// What the library found wrong, in our words where the problem is one that a policy's author meets.
fn diagnose(error: &Error, text: &str) -> Diagnostic {
    let at = error.location().map_or(0..0, |location| {
        span(location).unwrap_or_else(|| {
            let start = offset(text, place(location));
            start..start
        })
    });
    let (message, help) = match error {
        Error::AliasError { error, .. } => {
            let inner = diagnose(error, text);
            return if at.is_empty() { inner } else { inner.at(at) };
        }
        Error::Budget { breach, .. } => budget(breach),
        Error::MultipleDocuments { .. } => MULTIPLE_DOCUMENTS,
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => TOO_MANY_ALIASES,
        Error::RecursiveReferencesRequireWeakTypes { .. } => RECURSIVE,
        Error::UnknownAnchor { .. } => UNKNOWN_ANCHOR,
        _ => return other(error, at),
    };
    Diagnostic::new(message).at(at).help(help)
}

fn budget(breach: &BudgetBreach) -> Words {
    match breach {
        BudgetBreach::Depth { .. } => TOO_DEEP,
        BudgetBreach::Documents { .. } => MULTIPLE_DOCUMENTS,
        BudgetBreach::Aliases { .. }
        | BudgetBreach::Anchors { .. }
        | BudgetBreach::AliasAnchorRatio { .. } => TOO_MANY_ALIASES,
        _ => TOO_MUCH,
    }
}

/// Errors of the scanner, which the library tells apart only by their text.
fn other(error: &Error, at: Range<usize>) -> Diagnostic {
    let text = error.to_string();
    // The library ends its messages with the place, which stands in the report already.
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let (message, help) = match message {
        "recursion limit exceeded" => TOO_DEEP,
        "alias references unknown anchor" => UNKNOWN_ANCHOR,
        _ => return Diagnostic::new(format!("not valid YAML: {}", printable(message))).at(at),
    };
    Diagnostic::new(message).at(at).help(help)
}

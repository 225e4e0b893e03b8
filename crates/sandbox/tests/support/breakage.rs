//! Breaks the operands of a step, whatever step it is: by their types in its JSON.

use serde_json::{Value, json};

/// A step with one broken operand.
pub(crate) struct Broken {
    /// The step.
    pub(crate) step: Value,
    /// The operand, as a JSON pointer without the numbers of array elements.
    pub(crate) field: String,
    /// What it has become.
    pub(crate) value: Value,
}

/// Every way to break `step`: a planned step as JSON, `{"serves": .., "step": {NAME: {OPERANDS}}}`.
pub(crate) fn of(step: &Value) -> Vec<Broken> {
    let mut places = Vec::new();
    collect(&step["step"], "/step", &mut places);
    let broken = places.into_iter().flat_map(|(pointer, old)| {
        wrong(old).into_iter().map(move |value| {
            let mut step = step.clone();
            if let Some(place) = step.pointer_mut(&pointer) {
                *place = value.clone();
            }
            Broken { step, field: field(&pointer), value }
        })
    });
    broken.collect()
}

/// The leaves. Of a long list or table the first and the last: the others are like them.
fn collect<'a>(value: &'a Value, pointer: &str, places: &mut Vec<(String, &'a Value)>) {
    let ends = |length: usize| (0..length).filter(move |index| *index == 0 || index + 1 == length);
    match value {
        Value::Array(elements) => {
            ends(elements.len())
                .for_each(|index| collect(&elements[index], &format!("{pointer}/{index}"), places));
        }
        Value::Object(table) if table.len() > 8 => {
            let entries: Vec<_> = table.iter().collect();
            ends(entries.len()).for_each(|index| {
                collect(entries[index].1, &format!("{pointer}/{}", entries[index].0), places);
            });
        }
        Value::Object(table) => {
            table.iter().for_each(|(key, value)| collect(value, &format!("{pointer}/{key}"), places));
        }
        leaf => places.push((pointer.to_owned(), leaf)),
    }
}

/// Values that are no good where `old` is good.
fn wrong(old: &Value) -> Vec<Value> {
    match old {
        Value::String(path) if path.starts_with('/') => vec![json!("/no/such/place"), json!("/no\u{0}zero")],
        Value::String(_) => vec![json!("x".repeat(300)), json!("no\u{0}zero")],
        // Neither an id that is mapped anywhere, nor a size that anything can have.
        Value::Number(_) => vec![json!(u32::MAX - 1), json!(u32::MAX), json!(u64::MAX)],
        _ => Vec::new(),
    }
}

fn field(pointer: &str) -> String {
    let words = pointer.split('/').skip(3).filter(|word| word.parse::<usize>().is_err());
    words.collect::<Vec<_>>().join(".")
}

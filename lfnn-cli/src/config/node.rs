//! A configuration before it has types: values that remember where they were written, so that an error
//! can name the place, and merging of several such trees.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file or an embedded recipe, by its name.
    File(String),
    /// An option of the command line, as typed.
    Option(String),
}

/// A position in a source. Later layers win over earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// The source.
    pub(crate) source: Arc<Source>,
    /// The line in a file, from 1.
    pub(crate) line: u64,
    /// The column in the line, in characters from 1.
    pub(crate) column: u64,
    /// Position of the source among the layers of a configuration.
    pub(crate) layer: usize,
}

impl Location {
    /// The beginning of a source.
    pub(crate) fn start(source: Source, layer: usize) -> Self {
        Self { source: Arc::new(source), line: 1, column: 1, layer }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.source {
            Source::File(name) => write!(f, "{name}, line {}, column {}", self.line, self.column),
            Source::Option(typed) => f.write_str(typed),
        }
    }
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// The value.
    pub(crate) value: Value,
    /// Where it was written.
    pub(crate) place: Location,
}

/// What YAML can hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number from 0.
    Unsigned(u64),
    /// A whole number below 0.
    Signed(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// Values in order.
    Sequence(Vec<Node>),
    /// Keys in order, each once.
    Map(Vec<Entry>),
}

/// A key of a map with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: String,
    /// Where the key was last written.
    pub(crate) place: Location,
    /// Its value.
    pub(crate) value: Node,
}

impl Node {
    /// A value at a place.
    pub(crate) fn new(value: Value, place: Location) -> Self {
        Self { value, place }
    }

    /// An empty map.
    pub(crate) fn empty_map(place: Location) -> Self {
        Self::new(Value::Map(Vec::new()), place)
    }

    /// Whether it is nothing.
    pub(crate) fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// The value of a key, if this is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.value),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Where the value of a path such as `network.units[0].layers[1]` was written, or the innermost value around it
    /// that was written at all.
    pub(crate) fn place_of(&self, path: &str) -> &Location {
        let mut node = self;
        for step in path.split(['.', '[']) {
            let inner = match &node.value {
                Value::Map(entries) => entries.iter().find(|e| e.key == step).map(|e| &e.value),
                Value::Sequence(items) => {
                    step.trim_end_matches(']').parse().ok().and_then(|at: usize| items.get(at))
                }
                _ => None,
            };
            let Some(inner) = inner else { break };
            node = inner;
        }
        &node.place
    }

    /// Lays another tree over this one: maps are merged key by key, anything else is replaced.
    pub(crate) fn overlay(&mut self, over: Node) {
        match (&mut self.value, over.value) {
            (Value::Map(entries), Value::Map(others)) => {
                let known = entries.iter().enumerate().map(|(at, entry)| (entry.key.clone(), at));
                let known: HashMap<String, usize> = known.collect();
                for other in others {
                    match known.get(&other.key).map(|&at| &mut entries[at]) {
                        Some(entry) => {
                            entry.place = other.place;
                            entry.value.overlay(other.value);
                        }
                        None => entries.push(other),
                    }
                }
            }
            (_, value) => *self = Node { value, place: over.place },
        }
    }

    /// Puts a value at a path of keys and positions. Maps and lists that are missing on the way are
    /// made.
    ///
    /// # Errors
    /// A position that is no number or is beyond the end of its sequence, as a message.
    pub(crate) fn set(&mut self, path: &[&str], value: Node) -> Result<(), String> {
        let Some((step, rest)) = path.split_first() else {
            *self = value;
            return Ok(());
        };
        if let Value::Sequence(items) = &mut self.value {
            let len = items.len();
            let index: usize = step.parse().map_err(|_| {
                format!("`{step}` is not a position; expected a number from 0 to {len}")
            })?;
            if index > len {
                let last = len.saturating_sub(1);
                return Err(format!(
                    "position {index} is beyond the end; the last one is {last}, and {len} appends"
                ));
            }
            if index == len {
                items.push(Node::new(Value::Null, value.place.clone()));
            }
            return items[index].set(rest, value);
        }
        if !matches!(self.value, Value::Map(_)) {
            if *step == "0" {
                // A list that nobody has begun yet.
                *self = Node { value: Value::Sequence(Vec::new()), place: value.place.clone() };
                return self.set(path, value);
            }
            *self = Node::empty_map(value.place.clone());
        }
        let Value::Map(entries) = &mut self.value else { return Ok(()) };
        let at = entries.iter().position(|entry| entry.key == *step).unwrap_or_else(|| {
            let (key, place) = ((*step).to_owned(), value.place.clone());
            entries.push(Entry { key, value: Node::new(Value::Null, place.clone()), place });
            entries.len() - 1
        });
        entries[at].place = value.place.clone();
        entries[at].value.set(rest, value)
    }
}

//! The only module that knows YAML: text to [`Node`]s, and values to text.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use serde_json::Value as Json;

use super::diagnostic::ConfigDiagnostic;
use super::node::{Entry, Location, Node, Source, Value};

/// How deep maps and lists may be nested: no configuration comes near, and no stack overflows.
pub(super) const MAX_DEPTH: usize = 64;
/// How many values a file may hold, those that aliases repeat counted: aliases of aliases could otherwise fill the
/// memory.
const MAX_NODES: usize = 100_000;
/// How large a file may be, and how long all of its texts together, those that aliases repeat counted: far above any
/// configuration.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// Reads one YAML (or JSON) document; an empty one is an empty map.
///
/// # Errors
/// Text that is not YAML or too long, a key that stands twice in a map, or more than one document.
pub(crate) fn parse(
    text: &str,
    source: &Arc<Source>,
    layer: usize,
) -> Result<Node, ConfigDiagnostic> {
    let place = |line: usize| Location { source: Arc::clone(source), line, layer };
    let scan = |error: &ScanError| {
        ConfigDiagnostic::at(&place(error.marker().line()), format!("not YAML: {}", error.info()))
    };
    if text.len() > MAX_BYTES {
        let message = format!("{} bytes of text, expected at most {MAX_BYTES}", text.len());
        return Err(ConfigDiagnostic::at(&place(1), message));
    }
    let mut builder = Builder::new(&place);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| scan(&error))?;
        builder.take(event, span)?;
    }
    Ok(builder.root.unwrap_or_else(|| Node::empty_map(place(1))))
}

/// A map or a list that is not over.
struct Open {
    node: Node,
    anchor: usize,
    /// In a map: its keys so far.
    keys: HashSet<String>,
    /// In a map: the key that waits for its value.
    key: Option<(String, Location)>,
}

struct Builder<'a> {
    place: &'a dyn Fn(usize) -> Location,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    /// Values so far, and bytes of texts.
    size: Size,
}

/// Values and bytes of texts.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
}

impl Size {
    fn of(node: &Node) -> Self {
        let own = |bytes| Self { nodes: 1, bytes };
        match &node.value {
            Value::Scalar { text, .. } => own(text.len()),
            Value::Sequence(items) => items.iter().map(Self::of).fold(own(0), Self::plus),
            Value::Map(entries) => {
                let entry = |entry: &Entry| own(entry.key.len()).plus(Self::of(&entry.value));
                entries.iter().map(entry).fold(own(0), Self::plus)
            }
        }
    }

    fn plus(self, other: Self) -> Self {
        Self { nodes: self.nodes + other.nodes, bytes: self.bytes + other.bytes }
    }
}

impl<'a> Builder<'a> {
    fn new(place: &'a dyn Fn(usize) -> Location) -> Self {
        Self { place, open: Vec::new(), anchors: HashMap::new(), root: None, size: Size::default() }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), ConfigDiagnostic> {
        let place = (self.place)(span.start.line());
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(ConfigDiagnostic::at(&place, "a second document; expected one"))
            }
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let value = Value::Scalar { text: text.into_owned(), plain };
                let node = Node { value, place };
                self.size = self.size.plus(Size::of(&node));
                self.put(node, anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(ConfigDiagnostic::at(&place, "an alias to an unfinished node"));
                };
                if self.open.len() + depth(node) > MAX_DEPTH {
                    return Err(too_deep(&place));
                }
                // Counted before it is copied.
                self.size = self.size.plus(Size::of(node));
                self.expect_room(&place)?;
                let node = node.clone();
                self.put(node, 0)
            }
            Event::SequenceStart(anchor, _) => {
                self.start(Value::Sequence(Vec::new()), place, anchor)
            }
            Event::MappingStart(anchor, _) => self.start(Value::Map(Vec::new()), place, anchor),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { node, anchor, .. }) => self.put(node, anchor),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn start(
        &mut self,
        value: Value,
        place: Location,
        anchor: usize,
    ) -> Result<(), ConfigDiagnostic> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(&place));
        }
        let keys = HashSet::new();
        self.open.push(Open { node: Node { value, place }, anchor, keys, key: None });
        self.size.nodes += 1;
        Ok(())
    }

    fn expect_room(&self, place: &Location) -> Result<(), ConfigDiagnostic> {
        let Size { nodes, bytes } = self.size;
        if nodes > MAX_NODES {
            return Err(ConfigDiagnostic::at(place, format!("more than {MAX_NODES} values")));
        }
        if bytes > MAX_BYTES {
            return Err(ConfigDiagnostic::at(
                place,
                format!("more than {MAX_BYTES} bytes of text"),
            ));
        }
        Ok(())
    }

    /// Puts a finished value, which was counted, where it belongs.
    fn put(&mut self, node: Node, anchor: usize) -> Result<(), ConfigDiagnostic> {
        if anchor > 0 {
            self.size = self.size.plus(Size::of(&node));
            self.expect_room(&node.place)?;
            self.anchors.insert(anchor, node.clone());
        }
        self.expect_room(&node.place)?;
        let Some(Open { node: parent, keys, key, .. }) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut parent.value {
            Value::Sequence(items) => items.push(node),
            Value::Map(entries) => match key.take() {
                Some((key, place)) => entries.push(Entry { key, place, value: node }),
                None => {
                    let Some(text) = node.text().map(str::to_owned) else {
                        return Err(ConfigDiagnostic::at(
                            &node.place,
                            "a key that is not a plain name",
                        ));
                    };
                    if !keys.insert(text.clone()) {
                        let message = format!("duplicate key `{text}`");
                        return Err(ConfigDiagnostic::at(&node.place, message));
                    }
                    *key = Some((text, node.place));
                }
            },
            Value::Scalar { .. } => {}
        }
        Ok(())
    }
}

/// How deep maps and lists are nested in a value.
fn depth(node: &Node) -> usize {
    match &node.value {
        Value::Scalar { .. } => 0,
        Value::Sequence(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|e| depth(&e.value)).max().unwrap_or(0),
    }
}

fn too_deep(place: &Location) -> ConfigDiagnostic {
    ConfigDiagnostic::at(place, format!("nested deeper than {MAX_DEPTH} levels"))
}

/// Writes a value as YAML: maps and lists in blocks, those of few scalars on one line.
pub(crate) fn write(value: &Json) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

fn block(value: &Json, indent: usize, text: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Json::Object(map) => {
            for (index, (key, value)) in map.iter().enumerate() {
                if index > 0 || !text.ends_with("- ") {
                    text.push_str(&pad);
                }
                text.push_str(&scalar(&Json::String(key.clone())));
                text.push(':');
                nested(value, indent + 2, text);
            }
        }
        Json::Array(items) => {
            for item in items {
                text.push_str(&pad);
                text.push_str("- ");
                match flow(item) {
                    Some(line) => {
                        text.push_str(&line);
                        text.push('\n');
                    }
                    None => block(item, indent + 2, text),
                }
            }
        }
        other => {
            text.push_str(&scalar(other));
            text.push('\n');
        }
    }
}

/// What follows a key's colon.
fn nested(value: &Json, indent: usize, text: &mut String) {
    match flow(value) {
        Some(line) => {
            text.push(' ');
            text.push_str(&line);
            text.push('\n');
        }
        None => {
            text.push('\n');
            block(value, indent, text);
        }
    }
}

/// A value on one line, if it is a scalar or short and nested at most once.
fn flow(value: &Json) -> Option<String> {
    fn render(value: &Json, depth: usize) -> Option<String> {
        let parts: Option<Vec<String>> = match value {
            Json::Array(items) if depth > 0 => items.iter().map(|v| render(v, depth - 1)).collect(),
            Json::Object(map) if depth > 0 => map
                .iter()
                .map(|(k, v)| {
                    let key = scalar(&Json::String(k.clone()));
                    Some(format!("{key}: {}", render(v, depth - 1)?))
                })
                .collect(),
            Json::Array(items) if items.is_empty() => return Some("[]".into()),
            Json::Object(map) if map.is_empty() => return Some("{}".into()),
            Json::Array(_) | Json::Object(_) => None,
            other => return Some(scalar(other)),
        };
        let parts = parts?.join(", ");
        Some(if value.is_array() { format!("[{parts}]") } else { format!("{{{parts}}}") })
    }
    render(value, 2).filter(|line| line.len() <= 72)
}

fn scalar(value: &Json) -> String {
    let Json::String(text) = value else { return value.to_string() };
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let like_another = text.parse::<f64>().is_ok()
        || matches!(
            text.to_lowercase().as_str(),
            "" | "~" | "null" | "true" | "false" | "yes" | "no"
        )
        || !text.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '/');
    if like_another || !text.chars().all(word) {
        // A JSON string is a double-quoted YAML string.
        return value.to_string();
    }
    text.clone()
}

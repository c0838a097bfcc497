//! What is wrong with a configuration: the place, the path of the key, and the nearest known key.

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

use super::node::Location;

/// Something wrong in a configuration.
#[derive(Debug)]
pub(crate) struct ConfigDiagnostic {
    place: Option<Location>,
    /// Steps from the inside out.
    path: Vec<Step>,
    what: What,
}

#[derive(Debug)]
enum Step {
    Key(String),
    Index(usize),
}

#[derive(Debug)]
enum What {
    Message(String),
    /// A value of the wrong kind.
    Mismatch {
        expected: String,
        found: String,
    },
    Unknown {
        word: &'static str,
        found: String,
        expected: Vec<&'static str>,
    },
}

/// Characters of a value that are repeated in a message.
const LONGEST: usize = 60;

impl ConfigDiagnostic {
    /// A message at a place.
    pub(crate) fn at(place: &Location, message: impl Into<String>) -> Self {
        Self { place: Some(place.clone()), path: Vec::new(), what: What::Message(message.into()) }
    }

    /// Adds the key inside which it happened.
    pub(super) fn inside_key(mut self, key: &str) -> Self {
        self.path.push(Step::Key(key.to_owned()));
        self
    }

    /// Adds the position inside which it happened.
    pub(super) fn inside_index(mut self, index: usize) -> Self {
        self.path.push(Step::Index(index));
        self
    }

    /// Sets the place if nobody nearer to the cause has.
    pub(super) fn or_at(mut self, place: &Location) -> Self {
        self.place.get_or_insert_with(|| place.clone());
        self
    }

    /// Shortens a text of the wrong kind, if it is not yet known where it is, and says that quotes make it a text.
    pub(super) fn of_text(mut self, text: &str, is_quoted: bool) -> Self {
        if let (None, What::Mismatch { found, .. }) = (&self.place, &mut self.what) {
            let more = if text.chars().nth(LONGEST).is_some() { "…" } else { "" };
            *found = format!("`{}{more}`", text.chars().take(LONGEST).collect::<String>());
            if is_quoted {
                *found += " in quotes, which is text: remove the quotes";
            }
        }
        self
    }

    /// Says that a number or a truth value needs quotes where text is expected.
    pub(super) fn of_number(mut self) -> Self {
        if let (None, What::Mismatch { expected, found }) = (&self.place, &mut self.what)
            && expected == "text"
        {
            *found += ": put it in quotes";
        }
        self
    }

    /// Says `value` in place of `key` of what is unknown, if it is not yet known where.
    pub(super) fn of_value(mut self) -> Self {
        if let (None, What::Unknown { word, .. }) = (&self.place, &mut self.what) {
            *word = "value";
        }
        self
    }
}

impl std::error::Error for ConfigDiagnostic {}

impl fmt::Display for ConfigDiagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        for (index, step) in self.path.iter().rev().enumerate() {
            match step {
                Step::Key(key) if index == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(at) => write!(f, "[{at}]")?,
            }
        }
        if !self.path.is_empty() {
            f.write_str(": ")?;
        }
        match &self.what {
            What::Message(message) => f.write_str(message),
            What::Mismatch { expected, found } => write!(f, "expected {expected}, found {found}"),
            What::Unknown { word, found, expected } => {
                let near = did_you_mean(found, expected.iter().copied());
                write!(f, "unknown {word} `{found}`{near}")?;
                match expected.as_slice() {
                    [] => f.write_str(" (no key is expected here)"),
                    [one] => write!(f, " (expected `{one}`)"),
                    many => write!(f, " (expected one of {})", many.join(", ")),
                }
            }
        }
    }
}

impl Error for ConfigDiagnostic {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { place: None, path: Vec::new(), what: What::Message(message.to_string()) }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let (expected, found) = (plain(expected), unexpected(found));
        Self { place: None, path: Vec::new(), what: What::Mismatch { expected, found } }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::custom(format!("expected {}, found {length} items", plain(expected)))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown(field, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::unknown(variant, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format!("the key `{field}` is missing"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::custom(format!("duplicate key `{field}`"))
    }
}

impl ConfigDiagnostic {
    fn unknown(found: &str, expected: &[&'static str]) -> Self {
        let what =
            What::Unknown { word: "key", found: found.to_owned(), expected: expected.to_vec() };
        Self { place: None, path: Vec::new(), what }
    }
}

/// What serde expects, in words for people.
fn plain(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "usize" | "u64" | "u32" => "a whole number from 0 on".into(),
        "f64" | "f32" => "a number".into(),
        "a boolean" => "true or false".into(),
        "a string" | "path string" => "text".into(),
        "a map" => "a map of keys".into(),
        _ if text.starts_with("struct ") || text.contains("variant") => "a map of keys".into(),
        _ if text.contains("sequence") => "a list".into(),
        _ => text.replace("an array of length", "a list of length"),
    }
}

fn unexpected(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Str(text) => format!("`{text}`"),
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("`{value}`"),
        Unexpected::Signed(value) => format!("`{value}`"),
        // With a point, by which it is no whole number.
        Unexpected::Float(value) => format!("`{value:?}`"),
        Unexpected::Unit | Unexpected::Option => "nothing".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a map of keys".into(),
        other => other.to_string(),
    }
}

/// The end of a message about an unknown name: the nearest known one, if any is near.
pub(crate) fn did_you_mean<'a>(found: &str, known: impl Iterator<Item = &'a str>) -> String {
    // Case and the choice of separator are easily wrong, and mean little.
    let plain = |name: &str| name.to_lowercase().replace(['-', '_', ' '], "");
    let near = known
        .map(|name| (strsim::damerau_levenshtein(&plain(found), &plain(name)), name))
        .filter(|(distance, name)| *distance <= 1 + name.len().max(found.len()) / 3)
        .min_by_key(|(distance, _)| *distance);
    near.map(|(_, name)| format!("; did you mean `{name}`?")).unwrap_or_default()
}

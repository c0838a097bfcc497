//! Sizes along the two axes of an image.

use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A height and a width. One number is both of them, also in a configuration.
///
/// ```
/// # use lfnn_core::config::Size2;
/// assert_eq!(serde_json::from_str::<Size2>("3")?, Size2::from(3));
/// assert_eq!(serde_json::from_str::<Size2>("[1, 9]")?, Size2::from([1, 9]));
/// assert_eq!(serde_json::to_string(&Size2([3, 3]))?, "3");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size2(pub [usize; 2]);

impl Size2 {
    /// The larger of the two.
    pub(crate) fn largest(self) -> usize {
        self.0[0].max(self.0[1])
    }
}

impl From<usize> for Size2 {
    fn from(side: usize) -> Self {
        Self([side; 2])
    }
}

impl From<[usize; 2]> for Size2 {
    fn from(size: [usize; 2]) -> Self {
        Self(size)
    }
}

/// `3`, or `1×9`.
impl fmt::Display for Size2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [height, width] if height == width => height.fmt(f),
            [height, width] => write!(f, "{height}×{width}"),
        }
    }
}

impl Serialize for Size2 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [height, width] if height == width => height.serialize(serializer),
            size => size.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Size2 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}

/// Reads one number or two.
struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = Size2;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number from 0 on, or [height, width]")
    }

    fn visit_u64<E: Error>(self, side: u64) -> Result<Size2, E> {
        let too_large = |_| E::custom(format!("{side}, expected at most {}", usize::MAX));
        usize::try_from(side).map(Size2::from).map_err(too_large)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Size2, A::Error> {
        let sizes = Vec::<usize>::deserialize(SeqAccessDeserializer::new(items))?;
        let pair = sizes.try_into().map(Size2);
        pair.map_err(|sizes: Vec<usize>| A::Error::invalid_length(sizes.len(), &self))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Size2 {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size2".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let (one, two) =
            (generator.subschema_for::<usize>(), generator.subschema_for::<[usize; 2]>());
        schemars::json_schema!({ "title": "number or [height, width]", "anyOf": [one, two] })
    }
}

//! From a [`Node`] to any type with serde attributes.
//!
//! An enum is written as a name (`relu`) or as a map of one key (`conv: {filters: 8}`); a name alone
//! stands for a variant whose keys all have defaults (`batch_norm`). Where layers of a configuration
//! name different variants, the last layer's wins.

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::diagnostic::ConfigDiagnostic;
use super::node::{Entry, Node, Value};
use super::yaml;

impl<'de> Deserializer<'de> for &'de Node {
    type Error = ConfigDiagnostic;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigDiagnostic> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Unsigned(number) => visitor.visit_u64(*number),
            Value::Signed(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Sequence(items) => visitor.visit_seq(Items { items, at: 0 }),
            Value::Map(entries) => visitor.visit_map(Entries { entries, at: 0 }),
        }
        .map_err(|diagnostic: ConfigDiagnostic| match &self.value {
            Value::Text(text) => diagnostic.of_text(text, yaml::needs_quotes(text)),
            Value::Sequence(_) | Value::Map(_) | Value::Null => diagnostic,
            _ => diagnostic.of_number(),
        })
        .map_err(|diagnostic| diagnostic.or_at(&self.place))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigDiagnostic> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConfigDiagnostic> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigDiagnostic> {
        if self.is_null() {
            let empty = Entries { entries: &[], at: 0 };
            return visitor
                .visit_map(empty)
                .map_err(|diagnostic: ConfigDiagnostic| diagnostic.or_at(&self.place));
        }
        match &self.value {
            // serde's structs would take a list for their fields in order.
            Value::Sequence(_) => {
                Err(ConfigDiagnostic::invalid_type(Unexpected::Seq, &"a map of keys")
                    .or_at(&self.place))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigDiagnostic> {
        match &self.value {
            Value::Text(text) => visitor
                .visit_enum(Variant { name: text, node: self, content: None })
                .map_err(|diagnostic: ConfigDiagnostic| diagnostic.of_value().or_at(&self.place)),
            Value::Map(entries) if !entries.is_empty() => {
                let entry = chosen(entries)
                    .ok_or_else(|| ConfigDiagnostic::at(&self.place, several(entries)))?;
                visitor
                    .visit_enum(Variant {
                        name: &entry.key,
                        node: self,
                        content: Some(&entry.value),
                    })
                    .map_err(|diagnostic: ConfigDiagnostic| diagnostic.or_at(&entry.place))
            }
            _ => Err(ConfigDiagnostic::at(&self.place, "expected a name, or a map of one key")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string identifier bytes byte_buf unit unit_struct
        seq tuple tuple_struct map ignored_any
    }
}

/// The key of the last layer that wrote one; none if it wrote several.
fn chosen(entries: &[Entry]) -> Option<&Entry> {
    let last = entries.iter().map(|entry| entry.place.layer).max()?;
    let mut of_last = entries.iter().filter(|entry| entry.place.layer == last);
    of_last.next().filter(|_| of_last.next().is_none())
}

fn several(entries: &[Entry]) -> String {
    let names: Vec<String> = entries.iter().map(|entry| format!("`{}`", entry.key)).collect();
    format!("expected one key, found {}", names.join(" and "))
}

struct Items<'de> {
    items: &'de [Node],
    at: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = ConfigDiagnostic;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ConfigDiagnostic> {
        let Some(item) = self.items.get(self.at) else { return Ok(None) };
        let index = self.at;
        self.at += 1;
        seed.deserialize(item).map(Some).map_err(|i| i.or_at(&item.place).inside_index(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.at)
    }
}

struct Entries<'de> {
    entries: &'de [Entry],
    at: usize,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = ConfigDiagnostic;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ConfigDiagnostic> {
        let Some(entry) = self.entries.get(self.at) else { return Ok(None) };
        let key = serde::de::value::BorrowedStrDeserializer::<ConfigDiagnostic>::new(&entry.key);
        seed.deserialize(key).map(Some).map_err(|diagnostic| diagnostic.or_at(&entry.place))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, ConfigDiagnostic> {
        let Some(entry) = self.entries.get(self.at) else {
            return Err(ConfigDiagnostic::custom("a value without a key"));
        };
        self.at += 1;
        let inside = |diagnostic: ConfigDiagnostic| {
            // A name that was read as text and then found unknown.
            let is_scalar = matches!(entry.value.value, Value::Text(_));
            let diagnostic = if is_scalar { diagnostic.of_value() } else { diagnostic };
            diagnostic.or_at(&entry.value.place).inside_key(&entry.key)
        };
        seed.deserialize(&entry.value).map_err(inside)
    }
}

/// A variant: its name and, where it was written as a map, what it holds.
struct Variant<'de> {
    name: &'de str,
    node: &'de Node,
    content: Option<&'de Node>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = ConfigDiagnostic;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), ConfigDiagnostic> {
        let name = serde::de::value::BorrowedStrDeserializer::<ConfigDiagnostic>::new(self.name);
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> Variant<'de> {
    fn inside(&self, diagnostic: ConfigDiagnostic) -> ConfigDiagnostic {
        let place = self.content.map_or(&self.node.place, |content| &content.place);
        diagnostic.or_at(place).inside_key(self.name)
    }

    fn is_empty(&self) -> bool {
        self.content.is_none_or(|content| {
            content.is_null() || matches!(&content.value, Value::Map(all) if all.is_empty())
        })
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = ConfigDiagnostic;

    fn unit_variant(self) -> Result<(), ConfigDiagnostic> {
        if self.is_empty() {
            return Ok(());
        }
        Err(self.inside(ConfigDiagnostic::custom("takes no keys")))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, ConfigDiagnostic> {
        match self.content {
            Some(content) => seed.deserialize(content),
            None => {
                // The name alone: all keys by their defaults.
                let empty = Entries { entries: &[], at: 0 };
                seed.deserialize(serde::de::value::MapAccessDeserializer::new(empty))
            }
        }
        .map_err(|diagnostic| self.inside(diagnostic))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ConfigDiagnostic> {
        match self.content {
            Some(content) => content.deserialize_any(visitor),
            None => Err(ConfigDiagnostic::custom("expected a list")),
        }
        .map_err(|diagnostic| self.inside(diagnostic))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigDiagnostic> {
        match self.content {
            Some(content) => content.deserialize_struct("", fields, visitor),
            None => visitor.visit_map(Entries { entries: &[], at: 0 }),
        }
        .map_err(|diagnostic| self.inside(diagnostic))
    }
}

//! JSON that keeps the order of its keys, so that operations and properties stay in the order of their definition.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::Value;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Keys and values; a key is searched from the beginning.
    Object(Vec<(String, Node)>),
    /// A list.
    List(Vec<Node>),
    /// Null, a flag, a number or a text.
    Leaf(Value),
}

impl Node {
    /// Parses a whole document.
    pub fn parse(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// An object of these entries.
    pub fn object<const N: usize>(entries: [(&str, Self); N]) -> Self {
        let entries = entries.into_iter();
        Self::Object(
            entries
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let found = self.entries().iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value)
    }

    /// The value of a key.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match self {
            Self::Object(entries) => {
                let found = entries.iter_mut().find(|(known, _)| known == key);
                found.map(|(_, value)| value)
            }
            Self::List(_) | Self::Leaf(_) => None,
        }
    }

    /// Sets the value of a key of an object; a new key is the last one.
    pub fn set(&mut self, key: &str, value: impl Into<Self>) {
        let value = value.into();
        if let Some(known) = self.get_mut(key) {
            *known = value;
        } else if let Self::Object(entries) = self {
            entries.push((key.to_owned(), value));
        }
    }

    /// The entries of an object; of any other value none.
    pub fn entries(&self) -> &[(String, Self)] {
        match self {
            Self::Object(entries) => entries,
            Self::List(_) | Self::Leaf(_) => &[],
        }
    }

    /// The entries of an object, whose values may be changed; of any other value none.
    pub fn entries_mut(&mut self) -> impl Iterator<Item = (&str, &mut Self)> {
        let entries = match self {
            Self::Object(entries) => Some(entries),
            Self::List(_) | Self::Leaf(_) => None,
        };
        let entries = entries.into_iter().flatten();
        entries.map(|(key, value)| (key.as_str(), value))
    }

    /// The items of a list; of any other value none.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            Self::Object(_) | Self::Leaf(_) => &[],
        }
    }

    /// The values of an object, or the items of a list.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Self> {
        let (entries, items) = match self {
            Self::Object(entries) => (Some(entries), None),
            Self::List(items) => (None, Some(items)),
            Self::Leaf(_) => (None, None),
        };
        let values = entries.into_iter().flatten().map(|(_, value)| value);
        values.chain(items.into_iter().flatten())
    }

    /// The text of a text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Leaf(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The text of a key.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Self::text)
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::Leaf(text.into())
    }
}

impl From<u64> for Node {
    fn from(number: u64) -> Self {
        Self::Leaf(number.into())
    }
}

impl From<Vec<Self>> for Node {
    fn from(items: Vec<Self>) -> Self {
        Self::List(items)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Object(entries) => {
                serializer.collect_map(entries.iter().map(|(key, value)| (key, value)))
            }
            Self::List(items) => serializer.collect_seq(items),
            Self::Leaf(value) => value.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(Reader)
    }
}

/// Reads one value.
struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Null))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut object = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            object.push(entry);
        }
        Ok(Node::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_keeps_the_order_of_its_keys() {
        let text = r#"{"b":1,"a":{"d":[null,true,-1,1.0,"x"],"c":{}}}"#;
        let node = Node::parse(text).unwrap();
        assert_eq!(serde_json::to_string(&node).unwrap(), text);
    }

    #[test]
    fn a_new_key_is_the_last_one_and_a_known_key_keeps_its_place() {
        let mut node = Node::object([("b", Node::from(1_u64)), ("a", Node::from(2_u64))]);
        node.set("b", 3_u64);
        node.set("0", "x");
        assert_eq!(
            serde_json::to_string(&node).unwrap(),
            r#"{"b":3,"a":2,"0":"x"}"#
        );
        let mut leaf = Node::from("x");
        leaf.set("a", 1_u64);
        assert_eq!(leaf, Node::from("x"));
    }
}

//! A JSON document and its repeated keys. Readers differ in which of two equal keys counts, so a gateway and this service
//! could read different documents; a document with repeated keys is rejected.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::faults::{FAULTS_MAX, shortened};

/// A document and its repeated keys.
#[derive(Debug, PartialEq)]
pub struct Document {
    /// Its value; the last of equal keys counts.
    pub value: Value,
    /// The repeated keys.
    pub repeated: Repeated,
}

/// Keys that an object has more than once, up to the number that a response names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Repeated {
    /// Their paths: `reward.points`, `lines[0].quantity`.
    pub paths: Vec<String>,
    /// Whether there are others.
    pub has_more: bool,
}

impl Repeated {
    fn add(&mut self, path: &Path<'_>) {
        if self.has_more {
            return;
        }
        // A key may occur a third time.
        let path = shortened(path);
        if self.paths.contains(&path) {
            return;
        }
        if self.paths.len() < FAULTS_MAX {
            self.paths.push(path);
        } else {
            self.has_more = true;
        }
    }
}

impl Document {
    /// Parses a whole document.
    pub fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        let mut repeated = Repeated::default();
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let part = Part {
            path: None,
            repeated: &mut repeated,
        };
        let value = part.deserialize(&mut reader)?;
        reader.end()?;
        Ok(Self { value, repeated })
    }
}

/// A part of the document that is to be read.
struct Part<'a> {
    path: Option<&'a Path<'a>>,
    repeated: &'a mut Repeated,
}

/// The path of a part: its parent, and its key or number. It is formatted only for a fault.
struct Path<'a> {
    parent: Option<&'a Self>,
    step: Step<'a>,
}

enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match (&self.step, self.parent) {
            (Step::Key(key), None) => f.write_str(key),
            (Step::Key(key), Some(_)) => write!(f, ".{key}"),
            (Step::Item(number), _) => write!(f, "[{number}]"),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let path = Path {
                parent: self.path,
                step: Step::Item(values.len()),
            };
            let part = Part {
                path: Some(&path),
                repeated: &mut *self.repeated,
            };
            match items.next_element_seed(part)? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = Path {
                parent: self.path,
                step: Step::Key(&key),
            };
            if values.contains_key(&key) {
                self.repeated.add(&path);
            }
            let part = Part {
                path: Some(&path),
                repeated: &mut *self.repeated,
            };
            let value = entries.next_value_seed(part)?;
            values.insert(key, value);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_reader_of_json_gives_the_same_document_as_serde_json() {
        for text in [
            r#"{"a":[1,-1,1.5,1e300,true,null,"x\u0041"],"b":{"c":{}},"":[]}"#,
            "[[[]]]",
            "18446744073709551615",
            "18446744073709551616",
            "\"\"",
            " null ",
        ] {
            let usual: Value = serde_json::from_str(text).unwrap();
            let document = Document::parse(text.as_bytes()).unwrap();
            assert_eq!(
                (document.value, document.repeated),
                (usual, Repeated::default()),
                "{text}"
            );
        }
        let deep = "[".repeat(100_000);
        for text in ["", "{", "{}x", "{1:2}", "\u{0}", "[1,]", &deep] {
            assert!(Document::parse(text.as_bytes()).is_err(), "{text:.20}");
        }
        assert!(Document::parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn a_repeated_key_is_named_once_by_its_path() {
        let text = r#"{"a":1,"a":2,"a":3,"b":{"c":1,"c":2},"d":[{},{"e":[[{"f":0,"f":0}]]}],"\u0067":0,"g":0}"#;
        let document = Document::parse(text.as_bytes()).unwrap();
        let paths = ["a", "b.c", "d[1].e[0][0].f", "g"];
        assert_eq!(document.repeated.paths, paths);
        assert!(!document.repeated.has_more);
        assert_eq!(document.value["a"], json!(3));
    }

    #[test]
    fn repeated_keys_are_named_up_to_the_maximum() {
        for (keys, has_more) in [(FAULTS_MAX, false), (FAULTS_MAX + 1, true), (600, true)] {
            let pairs = (0..keys).map(|key| format!("\"{key}\":0,\"{key}\":0,\"{key}\":0"));
            let pairs = pairs.collect::<Vec<_>>().join(",");
            let text = format!("{{\"{}\":{{{pairs}}}}}", "K".repeat(40));
            let document = Document::parse(text.as_bytes()).unwrap();
            assert_eq!(document.repeated.paths.len(), FAULTS_MAX);
            assert_eq!(document.repeated.has_more, has_more, "{keys} keys");
        }
    }

    #[test]
    fn a_long_path_of_a_repeated_key_is_cut() {
        let long = "K".repeat(9_000);
        let text = format!(r#"{{"{long}":{{"a":0,"a":0,"b":0,"b":0}}}}"#);
        let document = Document::parse(text.as_bytes()).unwrap();
        assert_eq!(document.repeated.paths, [format!("{}…", "K".repeat(64))]);
    }
}

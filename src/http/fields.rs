//! Defines the fields of a JSON object once: the same definition reads a request body and records the schema of the
//! OpenAPI document. A reader collects every fault, so that a client learns all of them at once and by name.

mod defined;
mod request_object;
mod value;

use std::ops::{RangeBounds, RangeInclusive};

use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use serde_json::{Map, Value};
use uuid::Uuid;

pub use self::defined::{Defined, Field};
pub(super) use self::request_object::request_object;
pub use self::request_object::{RequestObject, read, read_document, register, schema_ref};
pub use self::value::{INSTANT_FORM, YEARS, is_storable};
use self::value::{closed, included, instant, integer, one_of, text};
use super::faults::Faults;
use super::object_schema::ObjectSchema;
use super::words::{Vocabulary, Word};
use crate::domain::Timestamp;

/// The largest integer that every JSON reader represents exactly: 2^53 - 1.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// The name of a field, and its description in the OpenAPI document.
pub type Label = (&'static str, &'static str);

/// The fields of one object that are not read yet, and the faults of those that are.
pub struct Fields {
    unread: Map<String, Value>,
    faults: Faults,
    /// Precedes the names of an inner object's fields in faults.
    prefix: String,
    /// Records the definition; none: values are read.
    schema: Option<Box<ObjectSchema>>,
}

impl Fields {
    fn of(value: Value, prefix: String) -> Self {
        let mut faults = Faults::default();
        let unread = if let Value::Object(unread) = value {
            unread
        } else {
            faults.add("body", "must be an object");
            Map::new()
        };
        Self {
            unread,
            faults,
            prefix,
            schema: None,
        }
    }

    /// Notes a fault of a field.
    pub fn wrong(&mut self, name: &str, problem: impl Into<String>) {
        self.faults
            .add(format_args!("{}{name}", self.prefix), problem);
    }

    /// Notes a fault of the object itself, unless a field of it has one: the fault may follow from that.
    pub fn wrong_here(&mut self, problem: &'static str) {
        if self.faults.is_empty() {
            self.faults.add(self.prefix.trim_end_matches('.'), problem);
        }
    }

    /// Notes a fault of a field, unless there are others: it may follow from them.
    pub fn wrong_if_sound(&mut self, name: &str, problem: &'static str) {
        if self.faults.is_empty() {
            self.wrong(name, problem);
        }
    }

    /// All faults. An unread field is one.
    fn finish(mut self) -> Faults {
        for name in std::mem::take(&mut self.unread).keys() {
            self.wrong(name, "is not a field of this object");
        }
        self.faults
    }

    fn define<S: Type, T>(
        &mut self,
        name: &'static str,
        own: impl FnOnce() -> MetaSchema,
        parse: impl FnOnce(Value) -> Result<T, String>,
    ) -> Defined<'_, T> {
        if let Some(schema) = &mut self.schema {
            schema.add::<S>(name, own());
        }
        self.take(name, parse)
    }

    fn take<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(Value) -> Result<T, String>,
    ) -> Defined<'_, T> {
        let value = match self.unread.remove(name) {
            None => Some(Field::Absent),
            Some(Value::Null) => Some(Field::Null),
            Some(value) => match parse(value) {
                Ok(value) => Some(Field::Value(value)),
                Err(problem) => {
                    self.wrong(name, problem);
                    None
                }
            },
        };
        Defined {
            fields: self,
            name,
            value,
        }
    }

    /// A whole number within bounds. A bound that is left out is not part of the schema.
    pub fn integer(
        &mut self,
        (name, description): Label,
        range: impl RangeBounds<u64>,
    ) -> Defined<'_, u64> {
        let own = || bounded(description, &range);
        self.define::<u64, _>(name, own, |value| integer(&value, &closed(&range)))
    }

    /// A whole number within bounds that fit 32 bits.
    pub fn integer32(
        &mut self,
        (name, description): Label,
        range: RangeInclusive<u32>,
    ) -> Defined<'_, u32> {
        let range = u64::from(*range.start())..=u64::from(*range.end());
        let own = || bounded(description, &range);
        self.define::<u32, _>(name, own, |value| {
            let number = integer(&value, &range)?;
            u32::try_from(number).map_err(|error| error.to_string())
        })
    }

    /// Text of a bounded number of characters, without control characters other than line breaks.
    pub fn text(
        &mut self,
        (name, description): Label,
        length: impl RangeBounds<usize>,
    ) -> Defined<'_, String> {
        let own = || MetaSchema {
            min_length: included(length.start_bound()),
            max_length: included(length.end_bound()),
            ..described(description)
        };
        self.define::<String, _>(name, own, |value| text(value, &length))
    }

    /// One of these words; the schema names the whole vocabulary.
    pub fn word<T: Vocabulary>(
        &mut self,
        (name, description): Label,
        words: &[&str],
    ) -> Defined<'_, T> {
        let own = || described(description);
        self.define::<Word<T>, _>(name, own, |value| {
            one_of(&value, words).ok_or_else(|| format!("must be one of {}", words.join(", ")))
        })
    }

    /// A list of words of a vocabulary, not longer than the vocabulary.
    pub fn words<T: Vocabulary>(&mut self, (name, description): Label) -> Defined<'_, Vec<T>> {
        let own = || described(description);
        self.define::<Vec<Word<T>>, _>(name, own, |value| {
            let (words, most) = (T::WORDS.join(", "), T::WORDS.len());
            let items = value.as_array().filter(|items| items.len() <= most);
            items
                .and_then(|items| items.iter().map(|item| one_of(item, T::WORDS)).collect())
                .ok_or_else(|| format!("must be a list of at most {most} of {words}"))
        })
    }

    /// True or false.
    pub fn flag(&mut self, (name, description): Label) -> Defined<'_, bool> {
        let own = || described(description);
        self.define::<bool, _>(name, own, |value| {
            let flag = value.as_bool();
            flag.ok_or_else(|| "must be true or false".to_owned())
        })
    }

    /// An id: a UUID.
    pub fn id(&mut self, (name, description): Label) -> Defined<'_, Uuid> {
        let own = || described(description);
        self.define::<Uuid, _>(name, own, |value| {
            let id = value.as_str().and_then(|text| text.parse().ok());
            id.ok_or_else(|| "must be a UUID, as a string".to_owned())
        })
    }

    /// A time in RFC 3339 that both databases can store.
    pub fn instant(&mut self, (name, description): Label) -> Defined<'_, Timestamp> {
        let own = || described(description);
        self.define::<Timestamp, _>(name, own, |value| instant(&value))
    }

    /// The fields of `T`, as fields of this object.
    pub fn all_of<T: RequestObject>(&mut self, _: Label) -> T {
        T::define(self)
    }

    /// An inner object. Its fields are checked like those of this one.
    pub fn object<T: RequestObject>(&mut self, (name, description): Label) -> Defined<'_, T> {
        if let Some(schema) = &mut self.schema {
            let inner = (schema_ref::<T>(), register::<T> as fn(&mut Registry));
            schema.add_reference(name, inner, described(description));
        }
        let prefix = format!("{}{name}.", self.prefix);
        let mut faults = Faults::default();
        let defined = self.take(name, |value| match value {
            Value::Object(_) => {
                let mut inner = Self::of(value, prefix);
                let read = T::define(&mut inner);
                faults = inner.finish();
                Ok(read)
            }
            _ => Err("must be an object".to_owned()),
        });
        defined.fields.faults.append(faults);
        defined
    }

    /// A list of inner objects, of a bounded number. Their fields are checked like those of this one.
    pub fn objects<T: RequestObject>(
        &mut self,
        (name, description): Label,
        count: RangeInclusive<usize>,
    ) -> Defined<'_, Vec<T>> {
        if let Some(schema) = &mut self.schema {
            let list = MetaSchema {
                items: Some(Box::new(schema_ref::<T>())),
                min_items: Some(*count.start()),
                max_items: Some(*count.end()),
                ..MetaSchema::new("array")
            };
            let list = MetaSchemaRef::Inline(Box::new(list));
            let inner = (list, register::<T> as fn(&mut Registry));
            schema.add_reference(name, inner, described(description));
        }
        let prefix = format!("{}{name}", self.prefix);
        let mut faults = Faults::default();
        let defined = self.take(name, |value| {
            let Value::Array(items) = value else {
                return Err("must be a list".to_owned());
            };
            if !count.contains(&items.len()) {
                let (least, most) = (count.start(), count.end());
                return Err(format!("must have {least} to {most} items"));
            }
            let mut read = |(nth, item): (usize, Value)| {
                let is_object = item.is_object();
                if !is_object {
                    faults.add(format_args!("{prefix}[{nth}]"), "must be an object");
                }
                let mut inner = Self::of(item, format!("{prefix}[{nth}]."));
                let object = T::define(&mut inner);
                if is_object {
                    faults.append(inner.finish());
                }
                object
            };
            Ok(items.into_iter().enumerate().map(&mut read).collect())
        });
        defined.fields.faults.append(faults);
        defined
    }
}

/// A schema with nothing but a description.
fn described(description: &'static str) -> MetaSchema {
    MetaSchema {
        description: Some(description.trim()),
        ..MetaSchema::ANY
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "every bound is at most 2^53 - 1"
)]
fn bounded(description: &'static str, range: &impl RangeBounds<u64>) -> MetaSchema {
    MetaSchema {
        minimum: included(range.start_bound()).map(|bound| bound as f64),
        maximum: included(range.end_bound()).map(|bound| bound as f64),
        ..described(description)
    }
}

#[cfg(test)]
mod tests;

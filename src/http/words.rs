//! The words of the API for the values of domain enums. One newtype gives every such enum its schema, its reader
//! and its writer.

use std::borrow::Cow;

use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{
    ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type,
};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::domain;

/// An enum whose values are words of the API.
pub trait Vocabulary: domain::words::Word + Send + Sync {
    /// Its name in the OpenAPI document.
    const NAME: &'static str;
    /// What its values are.
    const DESCRIPTION: &'static str;
}

/// Makes an enum a vocabulary: with the words that the domain gives it, or with those written here.
macro_rules! vocabulary {
    ($type:ty, $name:literal, $description:literal) => {
        impl $crate::http::words::Vocabulary for $type {
            const NAME: &'static str = $name;
            const DESCRIPTION: &'static str = $description;
        }
    };
    ($type:ty, $name:literal, $description:literal, $($variant:ident = $word:literal),+) => {
        $crate::http::words::vocabulary!($type, $name, $description);

        impl $crate::domain::words::Word for $type {
            const WORDS: &'static [&'static str] = &[$($word),+];

            fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(super) use vocabulary;

/// A value that the API reads and writes as its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<T>(pub T);

impl<T> From<T> for Word<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Vocabulary> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.word())
    }
}

impl<T: Vocabulary> Type for Word<T> {
    const IS_REQUIRED: bool = true;

    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Reference(T::NAME.to_owned())
    }

    fn register(registry: &mut Registry) {
        registry.create_schema::<Self, _>(T::NAME.to_owned(), |_| MetaSchema {
            description: Some(T::DESCRIPTION),
            enum_items: T::WORDS.iter().copied().map(Value::from).collect(),
            ..MetaSchema::new("string")
        });
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl<T: Vocabulary> ParseFromParameter for Word<T> {
    fn parse_from_parameter(value: &str) -> ParseResult<Self> {
        let value = T::parse(value).map(Self);
        value.ok_or_else(|| ParseError::custom("not one of the words"))
    }
}

impl<T: Vocabulary> ParseFromJSON for Word<T> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let value = value.unwrap_or_default();
        Self::parse_from_parameter(value.as_str().unwrap_or_default())
    }
}

impl<T: Vocabulary> ToJSON for Word<T> {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.word().into())
    }
}

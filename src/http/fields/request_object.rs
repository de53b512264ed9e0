//! A JSON object of a request, defined once: its schema, its reader and, mostly, its struct.

use poem_openapi::registry::{MetaSchemaRef, Registry};
use serde_json::{Map, Value};

use super::Fields;
use crate::http::document::{Document, Repeated};
use crate::http::problem::Problem;

/// A JSON object of a request. Its definition is both its schema and its reader.
pub trait RequestObject: Sized {
    /// Its name in the OpenAPI document.
    const NAME: &'static str;
    /// What it is, for the OpenAPI document.
    const DESCRIPTION: &'static str;

    /// An example for the OpenAPI document.
    fn example() -> Option<Value> {
        None
    }

    /// Defines the fields. Faults are noted in `fields`; if there is one, the returned value is discarded.
    fn define(fields: &mut Fields) -> Self;
}

/// Defines a JSON object of a request: the struct, its schema and its reader. Doc comments are the descriptions in the
/// OpenAPI document; each field names the method of [`Fields`] that defines it. `for Name` takes an existing struct.
macro_rules! request_object {
    (
        $(#[doc = $description:literal])+
        $(#[derive($($derive:ident),+)])?
        $vis:vis struct $type:ident as $name:literal {
            $(
                $(#[doc = $doc:literal])+
                $field_vis:vis $field:ident: $field_type:ty =
                    $kind:ident($field_name:literal $(, $arg:expr)*) $(.$adapter:ident($($with:tt)*))*
            ),+ $(,)?
        }
        $($rest:tt)*
    ) => {
        $(#[doc = $description])+
        $(#[derive($($derive),+)])?
        $vis struct $type {
            $(
                $(#[doc = $doc])+
                $field_vis $field: $field_type
            ),+
        }

        $crate::http::fields::request_object! {
            $(#[doc = $description])+
            for $type as $name {
                $(
                    $(#[doc = $doc])+
                    $field = $kind($field_name $(, $arg)*) $(.$adapter($($with)*))*
                ),+
            }
            $($rest)*
        }
    };
    (
        $(#[doc = $description:literal])+
        for $type:ty as $name:literal {
            $(
                $(#[doc = $doc:literal])+
                $field:ident =
                    $kind:ident($field_name:literal $(, $arg:expr)*) $(.$adapter:ident($($with:tt)*))*
            ),+ $(,)?
        }
        $(example $example:tt)?
        $(check $check:path)?
    ) => {
        impl $crate::http::fields::RequestObject for $type {
            const NAME: &'static str = $name;
            const DESCRIPTION: &'static str = concat!($($description),+);

            $(
                fn example() -> Option<serde_json::Value> {
                    Some(serde_json::json!($example))
                }
            )?

            fn define(fields: &mut $crate::http::fields::Fields) -> Self {
                $(
                    let $field = fields.$kind(($field_name, concat!($($doc),+)) $(, $arg)*)
                        $(.$adapter($($with)*))*;
                )+
                let object = Self { $($field),+ };
                $($check(fields, &object);)?
                object
            }
        }
    };
}
pub(in crate::http) use request_object;

/// Reads `T`, or returns every fault.
pub fn read<T: RequestObject>(value: Value) -> Result<T, Problem> {
    read_document(Document {
        value,
        repeated: Repeated::default(),
    })
}

/// Reads `T` from a document, or returns every fault.
pub fn read_document<T: RequestObject>(document: Document) -> Result<T, Problem> {
    let mut fields = Fields::of(document.value, String::new());
    for name in document.repeated.paths {
        fields.wrong(&name, "is given more than once");
    }
    if document.repeated.has_more {
        fields.faults.add_unnamed();
    }
    let value = T::define(&mut fields);
    match fields.finish().into_problem() {
        None => Ok(value),
        Some(problem) => Err(problem),
    }
}

/// Puts the schema of `T` into the OpenAPI document.
pub fn register<T: RequestObject>(registry: &mut Registry) {
    registry.create_schema::<T, _>(T::NAME.to_owned(), |registry| {
        let mut fields = Fields::of(Value::Object(Map::new()), String::new());
        fields.schema = Some(Box::default());
        T::define(&mut fields);
        let schema = fields.schema.unwrap_or_default();
        schema.finish(T::NAME, T::DESCRIPTION.trim(), T::example(), registry)
    });
}

/// The reference to the schema of `T`.
pub fn schema_ref<T: RequestObject>() -> MetaSchemaRef {
    MetaSchemaRef::Reference(T::NAME.to_owned())
}

//! Reads the fields of a JSON object one by one and collects all that is wrong with them, so that a
//! client learns every mistake at once and by name.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::document::{Document, Repeated};
use super::faults::Faults;
use super::problem::Problem;
use crate::domain::{Instant, to_stored_precision};

/// The largest integer that every JSON reader keeps exactly: 2^53 - 1.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// A type that can be read from the fields of an object.
pub trait FromFields: Sized {
    /// Takes the fields there are. What is wrong is noted in `fields`; where something is, the value
    /// answered is thrown away.
    fn from_fields(fields: &mut Fields) -> Self;
}

/// Reads `T`, or says everything that is wrong.
pub fn read<T: FromFields>(value: Value) -> Result<T, Problem> {
    read_document(Document {
        value,
        repeated: Repeated::default(),
    })
}

/// Reads `T` from a document, or says everything that is wrong.
pub fn read_document<T: FromFields>(document: Document) -> Result<T, Problem> {
    let mut fields = Fields::of(document.value, String::new());
    for name in document.repeated.paths {
        fields.wrong(&name, "is given more than once");
    }
    if document.repeated.has_more {
        fields.faults.add_unnamed();
    }
    let value = T::from_fields(&mut fields);
    match fields.finish().into_problem() {
        None => Ok(value),
        Some(problem) => Err(problem),
    }
}

/// What a time looks like.
pub const INSTANT_FORM: &str = "must be a time in RFC 3339, such as 2030-01-31T09:00:00Z";
/// The times that both databases can hold.
pub const YEARS: &str = "must be between the years 1970 and 9999";

/// Whether both databases can hold a time.
pub fn is_storable(at: Instant) -> bool {
    (1970..=9999).contains(&chrono::Datelike::year(&at))
}

/// What a client said about a field that can be set, cleared or left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said<T> {
    /// Not mentioned.
    Nothing,
    /// `null`.
    Null,
    /// A value.
    This(T),
}

impl<T> Said<T> {
    /// The value, where null and silence mean the same.
    pub fn value(self) -> Option<T> {
        match self {
            Self::This(value) => Some(value),
            Self::Nothing | Self::Null => None,
        }
    }

    /// None: leave alone; Some(None): clear.
    #[allow(
        clippy::option_option,
        reason = "the store's change has this shape: leave alone, clear or set"
    )]
    pub fn change(self) -> Option<Option<T>> {
        match self {
            Self::Nothing => None,
            Self::Null => Some(None),
            Self::This(value) => Some(Some(value)),
        }
    }
}

/// The fields of one object that were not taken yet, and what was wrong with those that were.
pub struct Fields {
    left: Map<String, Value>,
    faults: Faults,
    /// Written before the names of an inner object's fields.
    prefix: String,
}

impl Fields {
    fn of(value: Value, prefix: String) -> Self {
        let mut faults = Faults::default();
        let left = if let Value::Object(left) = value {
            left
        } else {
            faults.add("body", "must be an object");
            Map::new()
        };
        Self {
            left,
            faults,
            prefix,
        }
    }

    /// Notes that something is wrong with a field.
    pub fn wrong(&mut self, name: &str, problem: impl Into<String>) {
        self.faults
            .add(format_args!("{}{name}", self.prefix), problem);
    }

    /// Notes that something is wrong with the object itself, unless a field of it is wrong already:
    /// then it is not known what the object would have been.
    pub fn wrong_here(&mut self, problem: &'static str) {
        if self.faults.is_empty() {
            self.faults.add(self.prefix.trim_end_matches('.'), problem);
        }
    }

    /// Notes that something is wrong with a field, unless others are wrong already: it may follow from them.
    pub fn wrong_if_sound(&mut self, name: &str, problem: &'static str) {
        if self.faults.is_empty() {
            self.wrong(name, problem);
        }
    }

    /// Everything that is wrong, the fields nobody took included.
    fn finish(mut self) -> Faults {
        for name in std::mem::take(&mut self.left).keys() {
            self.wrong(name, "is not a field of this object");
        }
        self.faults
    }

    fn take<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(Value) -> Result<T, String>,
    ) -> Said<T> {
        match self.left.remove(name) {
            None => Said::Nothing,
            Some(Value::Null) => Said::Null,
            Some(value) => match parse(value) {
                Ok(value) => Said::This(value),
                Err(problem) => {
                    self.wrong(name, problem);
                    Said::Nothing
                }
            },
        }
    }

    /// A field that must be there. Answers the default after noting that it is not.
    pub fn required<T: Default>(&mut self, name: &'static str, said: Said<T>) -> T {
        match said {
            Said::This(value) => value,
            Said::Null => {
                self.wrong(name, "must not be null");
                T::default()
            }
            Said::Nothing => {
                let field = format!("{}{name}", self.prefix);
                // A value that was there but wrong is noted already.
                if !self.faults.has(&field) {
                    self.wrong(name, "is missing");
                }
                T::default()
            }
        }
    }

    /// A field that may be left out but not be null.
    pub fn not_null<T>(&mut self, name: &'static str, said: Said<T>) -> Option<T> {
        match said {
            Said::This(value) => Some(value),
            Said::Nothing => None,
            Said::Null => {
                self.wrong(name, "must not be null");
                None
            }
        }
    }

    /// A whole number within bounds.
    pub fn integer(&mut self, name: &'static str, range: &RangeInclusive<u64>) -> Said<u64> {
        self.take(name, |value| {
            let Value::Number(number) = &value else {
                return Err("must be an integer".to_owned());
            };
            match number.as_u64() {
                Some(integer) if range.contains(&integer) => Ok(integer),
                None if number.is_f64() => Err("must be an integer".to_owned()),
                _ => Err(format!(
                    "must be between {} and {}",
                    range.start(),
                    range.end()
                )),
            }
        })
    }

    /// A whole number within bounds that fit 32 bits.
    pub fn integer32(&mut self, name: &'static str, range: RangeInclusive<u32>) -> Said<u32> {
        let range = u64::from(*range.start())..=u64::from(*range.end());
        match self.integer(name, &range) {
            Said::This(value) => u32::try_from(value).map_or(Said::Nothing, Said::This),
            Said::Null => Said::Null,
            Said::Nothing => Said::Nothing,
        }
    }

    /// Text of so many characters, without control characters other than line breaks.
    pub fn text(&mut self, name: &'static str, length: &RangeInclusive<usize>) -> Said<String> {
        self.take(name, |value| {
            let Value::String(text) = value else {
                return Err("must be a string".to_owned());
            };
            let characters = text.chars().count();
            let blank = *length.start() > 0 && text.trim().is_empty();
            if !length.contains(&characters) || blank {
                return Err(format!(
                    "must have {} to {} characters",
                    length.start(),
                    length.end()
                ));
            }
            if text
                .chars()
                .any(|c| c.is_control() && !"\n\r\t".contains(c))
            {
                return Err("must not contain control characters".to_owned());
            }
            Ok(text)
        })
    }

    /// One of the words there are.
    pub fn word<T>(
        &mut self,
        name: &'static str,
        words: &[&str],
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Said<T> {
        self.take(name, |value| {
            value
                .as_str()
                .filter(|word| words.contains(word))
                .and_then(parse)
                .ok_or_else(|| format!("must be one of {}", words.join(", ")))
        })
    }

    /// A list of words there are.
    pub fn words(&mut self, name: &'static str, words: &[&str]) -> Said<Vec<String>> {
        self.take(name, |value| {
            let word = |item: &Value| {
                let word = item.as_str().filter(|word| words.contains(word))?;
                Some(word.to_owned())
            };
            let items = value.as_array();
            items
                .and_then(|items| items.iter().map(word).collect())
                .ok_or_else(|| format!("must be a list of {}", words.join(", ")))
        })
    }

    /// True or false.
    pub fn flag(&mut self, name: &'static str) -> Said<bool> {
        self.take(name, |value| {
            value
                .as_bool()
                .ok_or_else(|| "must be true or false".to_owned())
        })
    }

    /// An id: a UUID.
    pub fn id(&mut self, name: &'static str) -> Said<Uuid> {
        self.take(name, |value| {
            value
                .as_str()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| "must be a UUID, as a string".to_owned())
        })
    }

    /// A moment in RFC 3339, within what databases keep.
    pub fn instant(&mut self, name: &'static str) -> Said<Instant> {
        self.take(name, |value| {
            let text = value
                .as_str()
                .ok_or_else(|| "must be a time in RFC 3339, as a string".to_owned())?;
            let at = DateTime::parse_from_rfc3339(text)
                .map_err(|_| INSTANT_FORM.to_owned())?
                .with_timezone(&Utc);
            if is_storable(at) {
                Ok(to_stored_precision(at))
            } else {
                Err(YEARS.to_owned())
            }
        })
    }

    /// An inner object, its fields checked like those of this one.
    pub fn object<T: FromFields>(&mut self, name: &'static str) -> Said<T> {
        let value = match self.take(name, |value| match value {
            Value::Object(_) => Ok(value),
            _ => Err("must be an object".to_owned()),
        }) {
            Said::This(value) => value,
            Said::Null => return Said::Null,
            Said::Nothing => return Said::Nothing,
        };
        let mut inner = Self::of(value, format!("{}{name}.", self.prefix));
        let read = T::from_fields(&mut inner);
        self.faults.append(inner.finish());
        Said::This(read)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Sample {
        count: u32,
        name: Option<String>,
        at: Said<Instant>,
    }

    impl FromFields for Sample {
        fn from_fields(fields: &mut Fields) -> Self {
            let count = fields.integer32("count", 1..=10);
            let name = fields.text("name", &(1..=5));
            Self {
                count: fields.required("count", count),
                name: fields.not_null("name", name),
                at: fields.instant("at"),
            }
        }
    }

    fn wrong(value: Value) -> Vec<(String, String)> {
        let problem = read::<Sample>(value).unwrap_err();
        problem
            .errors
            .into_iter()
            .map(|error| (error.field, error.problem))
            .collect()
    }

    fn names(value: Value) -> Vec<String> {
        wrong(value).into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        assert_eq!(
            names(json!({"count": 0, "name": "too long", "at": "2030-02-30T00:00:00Z", "x": 1})),
            ["count", "name", "at", "x"]
        );
    }

    #[test]
    fn unknown_fields_are_named_up_to_a_bound() {
        let value = (0..600).map(|number| (format!("f{number}"), json!(0)));
        let problem = read::<Sample>(Value::Object(value.collect())).unwrap_err();
        assert_eq!(problem.errors.len(), 20);
        assert_eq!(problem.errors[0].field, "count");
        assert!(problem.detail.ends_with("named."), "{}", problem.detail);
    }

    #[test]
    fn numbers_that_are_not_whole_or_not_numbers_are_refused() {
        for value in [
            json!(1.5),
            json!("1"),
            json!(true),
            json!(-1),
            json!(11),
            json!(1e30),
        ] {
            assert_eq!(names(json!({ "count": value })), ["count"]);
        }
    }

    #[test]
    fn a_missing_field_and_a_null_one_are_told_apart() {
        assert_eq!(
            wrong(json!({})),
            [("count".to_owned(), "is missing".to_owned())]
        );
        assert_eq!(
            wrong(json!({"count": 1, "name": null})),
            [("name".to_owned(), "must not be null".to_owned())]
        );
        let cleared: Sample = read(json!({"count": 1, "at": null})).unwrap();
        assert_eq!(cleared.at, Said::Null);
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for value in [json!(null), json!([]), json!("x")] {
            assert!(names(value).contains(&"body".to_owned()));
        }
    }

    #[test]
    fn times_are_cut_to_what_the_database_keeps() {
        let sample: Sample =
            read(json!({"count": 1, "at": "2030-01-01T00:00:00.123456789+09:00"})).unwrap();
        let Said::This(at) = sample.at else {
            panic!("no time was read");
        };
        assert_eq!(at.to_rfc3339(), "2029-12-31T15:00:00.123456+00:00");
    }
}

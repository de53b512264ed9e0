//! Path and query parameters, checked against the OpenAPI document before anything else is done: every
//! fault is named at once, with what is allowed. The document is made from what operations read, so there is
//! one definition. It must not know what a parameter is for.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::faults::Faults;
use super::fields::{INSTANT_FORM, YEARS, is_storable};
use super::problem::Problem;

/// Parameters of a query that are looked at. No operation has nearly as many.
const QUERY_PARAMETERS_MAX: usize = 32;

/// What a date looks like.
const DATE_FORM: &str = "must be a date, such as 2030-01-31";

/// The parameters of one operation.
#[derive(Debug, Default)]
pub struct Parameters {
    /// In the order of the template.
    path: Vec<Parameter>,
    query: Vec<Parameter>,
}

#[derive(Debug)]
struct Parameter {
    name: String,
    is_required: bool,
    kind: Kind,
}

/// What the text of a parameter must be.
#[derive(Debug)]
enum Kind {
    /// A whole number within bounds.
    Integer(i128, i128),
    Uuid,
    Date,
    Instant,
    Flag,
    /// One of these.
    Word(Vec<String>),
    /// Any text.
    Text,
}

/// What is wrong with the text of a parameter.
enum Fault {
    /// A reader would be told this.
    Value(String),
    /// The value is right, and written as no answer of ours writes it: nothing has this address.
    Address,
}

impl Parameters {
    /// The parameters of an operation of the document. Those in headers are not among them.
    pub fn of(document: &Value, operation: &Value) -> Self {
        let mut parameters = Self::default();
        let listed = operation.get("parameters").and_then(Value::as_array);
        for listed in listed.into_iter().flatten() {
            let text = |key| listed.get(key).and_then(Value::as_str);
            let place = match text("in") {
                Some("path") => &mut parameters.path,
                Some("query") => &mut parameters.query,
                _ => continue,
            };
            place.push(Parameter {
                name: text("name").unwrap_or_default().to_owned(),
                is_required: listed.get("required").and_then(Value::as_bool) == Some(true),
                kind: Kind::of(document, listed.get("schema").unwrap_or(&Value::Null)),
            });
        }
        parameters
    }

    /// Checks an address that matches the template.
    pub fn check(&self, template: &str, path: &str, query: Option<&str>) -> Result<(), Problem> {
        let mut faults = Faults::default();
        let parts = template.split('/').zip(path.split('/'));
        let values = parts.filter(|(part, _)| part.starts_with('{'));
        for (parameter, (_, raw)) in self.path.iter().zip(values) {
            match parameter.kind.check_segment(raw) {
                Ok(()) => {}
                Err(Fault::Address) => return Err(nothing_here()),
                Err(Fault::Value(problem)) => faults.add(&parameter.name, problem),
            }
        }
        self.check_query(query.unwrap_or_default(), &mut faults);
        faults.into_problem().map_or(Ok(()), Err)
    }

    fn check_query(&self, query: &str, faults: &mut Faults) {
        let given = url::form_urlencoded::parse(query.as_bytes());
        let given: Vec<_> = given.take(QUERY_PARAMETERS_MAX + 1).collect();
        if given.len() > QUERY_PARAMETERS_MAX {
            let most = format!("must have at most {QUERY_PARAMETERS_MAX} parameters");
            return faults.add("query", most);
        }
        for parameter in &self.query {
            let mut values = given.iter().filter(|(name, _)| *name == parameter.name);
            let problem = match (values.next(), values.next()) {
                (None, _) if parameter.is_required => Some("is missing".to_owned()),
                (None, _) => None,
                (Some(_), Some(_)) => Some("is given more than once".to_owned()),
                (Some((_, value)), None) => parameter.kind.check(value).err(),
            };
            if let Some(problem) = problem {
                faults.add(&parameter.name, problem);
            }
        }
        let mut unknown: Vec<&Cow<'_, str>> = Vec::new();
        for (name, _) in &given {
            let is_known = self.query.iter().any(|parameter| *name == parameter.name);
            if !is_known && !unknown.contains(&name) {
                unknown.push(name);
            }
        }
        for name in unknown {
            faults.add(name, "is not a parameter of this operation");
        }
    }
}

impl Kind {
    fn of(document: &Value, schema: &Value) -> Self {
        let text = |key| schema.get(key).and_then(Value::as_str);
        if let Some(reference) = text("$ref") {
            let found = document.pointer(reference.trim_start_matches('#'));
            return found.map_or(Self::Text, |found| Self::of(document, found));
        }
        if let Some(words) = schema.get("enum").and_then(Value::as_array) {
            let words = words.iter().filter_map(Value::as_str).map(str::to_owned);
            return Self::Word(words.collect());
        }
        match (text("type"), text("format")) {
            (Some("integer"), format) => {
                let (least, most) = match format {
                    Some("uint64") => (0, i128::from(u64::MAX)),
                    Some("uint32") => (0, i128::from(u32::MAX)),
                    Some("int32") => (i128::from(i32::MIN), i128::from(i32::MAX)),
                    _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
                };
                let bound = |key, otherwise| schema.get(key).and_then(whole).unwrap_or(otherwise);
                Self::Integer(bound("minimum", least), bound("maximum", most))
            }
            (Some("boolean"), _) => Self::Flag,
            (Some("string"), Some("uuid")) => Self::Uuid,
            // The framework's own name for it is in documents that were not put right.
            (Some("string"), Some("date" | "naive-date")) => Self::Date,
            (Some("string"), Some("date-time")) => Self::Instant,
            _ => Self::Text,
        }
    }

    /// Checks a segment of a path as it was sent. An id has one address, so that whoever keeps, counts or
    /// forbids requests by address sees the same ids as this service.
    fn check_segment(&self, raw: &str) -> Result<(), Fault> {
        let sent = format!("v={}", raw.replace('+', "%2B").replace('&', "%26"));
        let decoded = url::form_urlencoded::parse(sent.as_bytes()).next();
        let (_, text) = decoded.unwrap_or_default();
        self.check(&text).map_err(Fault::Value)?;
        let is_canonical = match self {
            Self::Integer(..) => canonical::<i128>(raw).is_some(),
            Self::Uuid => canonical::<Uuid>(raw).is_some(),
            Self::Date | Self::Instant | Self::Flag | Self::Word(_) | Self::Text => true,
        };
        if is_canonical {
            Ok(())
        } else {
            Err(Fault::Address)
        }
    }

    fn check(&self, text: &str) -> Result<(), String> {
        let require = |holds: bool, problem: &str| {
            if holds {
                Ok(())
            } else {
                Err(problem.to_owned())
            }
        };
        match self {
            Self::Text => Ok(()),
            Self::Integer(least, most) => match text.parse::<i128>() {
                Ok(number) if (*least..=*most).contains(&number) => Ok(()),
                Ok(_) => Err(format!("must be between {least} and {most}")),
                Err(_) if is_long_number(text) => {
                    Err(format!("must be between {least} and {most}"))
                }
                Err(_) => Err("must be an integer".to_owned()),
            },
            Self::Uuid => require(text.parse::<Uuid>().is_ok(), "must be a UUID"),
            Self::Date => require(canonical::<NaiveDate>(text).is_some(), DATE_FORM),
            Self::Instant => match DateTime::parse_from_rfc3339(text) {
                Ok(at) => require(is_storable(at.with_timezone(&Utc)), YEARS),
                Err(_) => Err(INSTANT_FORM.to_owned()),
            },
            Self::Flag => require(matches!(text, "true" | "false"), "must be true or false"),
            Self::Word(words) => require(
                words.iter().any(|word| word == text),
                &format!("must be one of {}", words.join(", ")),
            ),
        }
    }
}

/// A value whose text is the one that it is written with.
pub fn canonical<T: FromStr + Display>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

/// Digits, more than any number here has.
fn is_long_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A bound of the document, which writes them as fractions.
#[expect(
    clippy::cast_possible_truncation,
    reason = "bounds are whole and small"
)]
fn whole(bound: &Value) -> Option<i128> {
    bound.as_f64().map(|bound| bound.round() as i128)
}

fn nothing_here() -> Problem {
    Problem::not_found("There is nothing at this address.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(schema: &Value, text: &str) -> Result<(), String> {
        Kind::of(&json!({}), schema).check(text)
    }

    #[test]
    fn numbers_are_within_the_bounds_of_their_schema() {
        let limit =
            json!({"type": "integer", "format": "uint32", "minimum": 1.0, "maximum": 100.0});
        assert_eq!(checked(&limit, "100"), Ok(()));
        for text in [
            "0",
            "101",
            "-1",
            "99999999999999999999999999999999999999999",
        ] {
            let problem = checked(&limit, text).unwrap_err();
            assert_eq!(problem, "must be between 1 and 100", "{text}");
        }
        for text in ["", "ten", "1.0", "1e1", " 1"] {
            assert_eq!(
                checked(&limit, text).unwrap_err(),
                "must be an integer",
                "{text}"
            );
        }
        let id = json!({"type": "integer", "format": "int64"});
        let problem = checked(&id, "9223372036854775808").unwrap_err();
        assert_eq!(
            problem,
            "must be between -9223372036854775808 and 9223372036854775807"
        );
    }

    #[test]
    fn a_query_has_a_bound_on_its_parameters() {
        let parameters = Parameters::default();
        let errors = |count: usize| {
            let names: Vec<String> = (0..count).map(|number| format!("p{number}=%41")).collect();
            let checked = parameters.check("/", "/", Some(&names.join("&")));
            checked.unwrap_err().errors
        };
        assert_eq!(errors(19).len(), 19);
        assert_eq!(errors(QUERY_PARAMETERS_MAX).len(), 20);
        let [refused] = &errors(QUERY_PARAMETERS_MAX + 1)[..] else {
            panic!("one fault is all there is to say");
        };
        assert_eq!(refused.field, "query");
        assert_eq!(refused.problem, "must have at most 32 parameters");
    }

    #[test]
    fn words_are_found_behind_a_reference() {
        let document = json!({"components": {"schemas": {"Kind": {"enum": ["a", "b_c"]}}}});
        let kind = Kind::of(&document, &json!({"$ref": "#/components/schemas/Kind"}));
        assert_eq!(kind.check("b_c"), Ok(()));
        assert_eq!(kind.check("b-c").unwrap_err(), "must be one of a, b_c");
    }

    #[test]
    fn a_value_is_canonical_in_one_form() {
        assert_eq!(canonical::<i64>("-7"), Some(-7));
        for text in ["+7", "07", "-0", "7 ", "", "%37"] {
            assert_eq!(canonical::<i64>(text), None, "{text}");
        }
    }
}

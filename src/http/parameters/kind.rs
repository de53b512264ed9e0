//! The types of parameters, and the check of their text.

use std::fmt::Display;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::http::fields::{INSTANT_FORM, YEARS, is_storable};

const DATE_FORM: &str = "must be a date, such as 2030-01-31";

/// The type of a parameter.
#[derive(Debug)]
pub enum Kind {
    /// A whole number within bounds.
    Integer(i128, i128),
    Uuid,
    Date,
    Timestamp,
    Flag,
    Word(Vec<String>),
    /// Any text.
    Text,
}

/// The fault of a parameter.
pub enum Fault {
    /// The value is not acceptable, for this reason.
    Value(String),
    /// The value is acceptable, but not in canonical form: no resource has this path.
    Address,
}

impl Kind {
    pub fn of(document: &Value, schema: &Value) -> Self {
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
            // The framework's own name, in documents that are not corrected.
            (Some("string"), Some("date" | "naive-date")) => Self::Date,
            (Some("string"), Some("date-time")) => Self::Timestamp,
            _ => Self::Text,
        }
    }

    /// Checks a segment of a path as it was sent. An id has one path, so that proxies that cache, count or block requests
    /// by path see the same ids as this service.
    pub fn check_segment(&self, raw: &str) -> Result<(), Fault> {
        let sent = format!("v={}", raw.replace('+', "%2B").replace('&', "%26"));
        let decoded = url::form_urlencoded::parse(sent.as_bytes()).next();
        let (_, text) = decoded.unwrap_or_default();
        self.check(&text).map_err(Fault::Value)?;
        let is_canonical = match self {
            Self::Integer(..) => canonical::<i128>(raw).is_some(),
            Self::Uuid => canonical::<Uuid>(raw).is_some(),
            Self::Date | Self::Timestamp | Self::Flag | Self::Word(_) | Self::Text => true,
        };
        if is_canonical {
            Ok(())
        } else {
            Err(Fault::Address)
        }
    }

    pub fn check(&self, text: &str) -> Result<(), String> {
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
            Self::Timestamp => match DateTime::parse_from_rfc3339(text) {
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

/// The value of a text that is its canonical form.
pub fn canonical<T: FromStr + Display>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

/// Digits, more than any number has.
fn is_long_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A bound of the document, which writes bounds as fractions.
#[expect(
    clippy::cast_possible_truncation,
    reason = "bounds are whole and small"
)]
fn whole(bound: &Value) -> Option<i128> {
    bound.as_f64().map(|bound| bound.round() as i128)
}

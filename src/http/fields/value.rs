//! The values of single fields, read from JSON.

use std::ops::{Bound, RangeBounds, RangeInclusive};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::domain::{Timestamp, to_stored_precision};
use crate::http::words::Vocabulary;

pub const INSTANT_FORM: &str = "must be a time in RFC 3339, such as 2030-01-31T09:00:00Z";
/// The times that both databases can store.
pub const YEARS: &str = "must be between the years 1970 and 9999";

/// Whether both databases can store a time.
pub fn is_storable(at: Timestamp) -> bool {
    (1970..=9999).contains(&chrono::Datelike::year(&at))
}

/// The bound of a range, if it has one.
pub(super) fn included<T: Copy>(bound: Bound<&T>) -> Option<T> {
    match bound {
        Bound::Included(bound) => Some(*bound),
        Bound::Excluded(_) | Bound::Unbounded => None,
    }
}

pub(super) fn closed(range: &impl RangeBounds<u64>) -> RangeInclusive<u64> {
    let start = included(range.start_bound()).unwrap_or(0);
    start..=included(range.end_bound()).unwrap_or(u64::MAX)
}

pub(super) fn integer(value: &Value, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let Value::Number(number) = value else {
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
}

pub(super) fn text(value: Value, length: &impl RangeBounds<usize>) -> Result<String, String> {
    let Value::String(text) = value else {
        return Err("must be a string".to_owned());
    };
    let least = included(length.start_bound()).unwrap_or(0);
    let blank = least > 0 && text.trim().is_empty();
    if !length.contains(&text.chars().count()) || blank {
        let most = included(length.end_bound()).unwrap_or(usize::MAX);
        return Err(format!("must have {least} to {most} characters"));
    }
    let is_forbidden = |c: char| c.is_control() && !"\n\r\t".contains(c);
    if text.chars().any(is_forbidden) {
        return Err("must not contain control characters".to_owned());
    }
    Ok(text)
}

pub(super) fn one_of<T: Vocabulary>(value: &Value, words: &[&str]) -> Option<T> {
    let word = value.as_str().filter(|word| words.contains(word))?;
    T::parse(word)
}

pub(super) fn instant(value: &Value) -> Result<Timestamp, String> {
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
}

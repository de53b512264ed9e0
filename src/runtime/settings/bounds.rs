//! The bounds of a setting.

use std::ops::{Bound, RangeBounds};

use serde_json::Value;

use super::Setting;

/// The least and the greatest value of a setting, and whether its value is within them.
pub struct Bounds {
    /// The least value.
    pub least: Option<Value>,
    /// The greatest value.
    pub greatest: Option<Value>,
    /// Whether the value is within the bounds.
    pub hold: bool,
}

impl Bounds {
    /// The bounds of a value. Excluded ends count as included.
    #[must_use]
    pub fn of<T: Setting + PartialOrd>(value: &T, range: impl RangeBounds<T>) -> Self {
        let end = |bound: Bound<&T>| match bound {
            Bound::Included(end) | Bound::Excluded(end) => Some(end.value()),
            Bound::Unbounded => None,
        };
        Self {
            least: end(range.start_bound()),
            greatest: end(range.end_bound()),
            hold: range.contains(value),
        }
    }

    /// The bounds in words that follow "must be".
    #[must_use]
    pub fn rule(&self) -> String {
        match (&self.least, &self.greatest) {
            (Some(least), Some(greatest)) => {
                format!("between {} and {}", plain(least), plain(greatest))
            }
            _ => self.text(),
        }
    }

    /// The bounds in words.
    #[must_use]
    pub fn text(&self) -> String {
        match (&self.least, &self.greatest) {
            (Some(least), Some(greatest)) => format!("{} to {}", plain(least), plain(greatest)),
            (Some(least), None) => format!("at least {}", plain(least)),
            (None, Some(greatest)) => format!("at most {}", plain(greatest)),
            (None, None) => String::new(),
        }
    }
}

/// A value without quotation marks.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn bounds_are_checked_and_described() {
        let bounds = Bounds::of(&65_u32, 1..=64);
        assert!(!bounds.hold);
        assert_eq!(bounds.rule(), "between 1 and 64");
        let second = Duration::from_secs(1);
        let bounds = Bounds::of(&second, second..);
        assert!(bounds.hold);
        assert_eq!(bounds.text(), "at least 1s");
        assert_eq!(Bounds::of(&second, ..=second * 60).rule(), "at most 1m");
    }
}

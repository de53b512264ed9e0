//! Values that are stored as JSON in a text column.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;

pub(super) fn to_text(what: &'static str, value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::unreadable(what, error))
}

/// Parses the text.
pub(super) fn from_text<T: DeserializeOwned>(
    what: &'static str,
    text: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::unreadable(what, text))
}
